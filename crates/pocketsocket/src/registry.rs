//! Which socket holds which slot, how much waits for it, and what it subscribed to: all that other threads may ask.
//!
//! A slot is a few words of memory at a fixed place, so that a sender on any thread checks a socket and reserves its
//! bytes with two atomic operations and no lock. The shard that owns the socket is the only one to open and end it.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    SendStatus, SocketId, Uuid,
    id::GENERATION_MASK,
    limits::{CHUNK, MAX_SLOTS, MAX_TOPICS},
    sync::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Mutex, OnceLock, Ordering, lock,
    },
};

/// The names of the states below.
const FREE: u8 = 0;
/// Takes messages.
const OPEN: u8 = 1;
/// A close was asked for, or the socket has ended: nothing is taken, its Close is still to be delivered.
const CLOSING: u8 = 2;

#[derive(Debug, Default)]
struct Slot {
    state: AtomicU8,
    shard: AtomicU8,
    /// Messages were dropped: the host is told when there is room again.
    dropped: AtomicBool,
    generation: AtomicU32,
    random: AtomicU32,
    /// Bytes reserved by senders and not yet given to the system.
    buffered: AtomicUsize,
    topics: Mutex<BTreeSet<Arc<str>>>,
}

/// All slots of a server.
#[derive(Debug)]
pub(crate) struct Registry {
    node: u64,
    limit: usize,
    backpressure_limit: usize,
    backpressure_total: usize,
    /// Allocated when first needed, they stay: readers need no lock.
    chunks: Box<[OnceLock<Box<[Slot]>>]>,
    free: Mutex<FreeSlots>,
    open: AtomicUsize,
    /// Bytes that wait to be sent, over all sockets and broadcasts in flight.
    outbound: AtomicUsize,
    /// Shards, a bit each, whose sockets may have been refused for all of that: they are told when there is room again.
    starved: AtomicU64,
}

/// What came of reserving room for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reserved {
    Ok,
    /// The socket is closed, or never was.
    Unknown,
    /// Too much waits for this socket.
    Full,
    /// Too much waits for all of them together: no fault of this one.
    Starved,
}

impl Reserved {
    pub(crate) fn status(self) -> SendStatus {
        match self {
            Self::Ok => SendStatus::Ok,
            Self::Unknown => SendStatus::Unknown,
            Self::Full | Self::Starved => SendStatus::Dropped,
        }
    }
}

#[derive(Debug, Default)]
struct FreeSlots {
    released: Vec<u32>,
    next: u32,
    random: Random,
}

/// Random bits of the system, asked for in blocks: a call of it for each connection is a fiftieth of what one costs.
#[derive(Debug, Default)]
struct Random {
    block: [[u8; 4]; 32],
    left: usize,
}

impl Random {
    fn next(&mut self) -> u32 {
        if self.left == 0 {
            if getrandom::fill(self.block.as_flattened_mut()).is_err() {
                return random();
            }
            self.left = self.block.len();
        }
        self.left -= 1;
        u32::from_ne_bytes(self.block[self.left])
    }
}

impl Registry {
    pub(crate) fn new(
        max_connections: usize,
        backpressure_limit: usize,
        backpressure_total: usize,
    ) -> Self {
        let limit = max_connections.min(MAX_SLOTS);
        Self {
            node: u64::from(random()) << 16 | u64::from(random() >> 16),
            limit,
            backpressure_limit,
            backpressure_total,
            chunks: (0..limit.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect(),
            free: Mutex::default(),
            open: AtomicUsize::new(0),
            outbound: AtomicUsize::new(0),
            starved: AtomicU64::new(0),
        }
    }

    /// Which node this is: the upper 48 bits of its uuids.
    pub(crate) fn node(&self) -> u64 {
        self.node
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        let slot = slot as usize;
        self.chunks.get(slot / CHUNK)?.get()?.get(slot % CHUNK)
    }

    /// The slot, if `id` is still its holder.
    fn held(&self, id: SocketId) -> Option<&Slot> {
        let slot = self.slot(id.slot)?;
        (slot.generation.load(Ordering::Acquire) == id.generation
            && slot.state.load(Ordering::Acquire) != FREE)
            .then_some(slot)
    }

    fn open_slot(&self, id: SocketId) -> Option<&Slot> {
        self.held(id).filter(|slot| slot.state.load(Ordering::Acquire) == OPEN)
    }

    /// Opens a socket on `shard`; `None` when all slots are taken.
    pub(crate) fn open(&self, shard: u8) -> Option<Uuid> {
        let (index, random) = {
            let mut free = lock(&self.free);
            let index = match free.released.pop() {
                Some(slot) => slot,
                None if (free.next as usize) < self.limit => {
                    free.next += 1;
                    free.next - 1
                }
                None => return None,
            };
            (index, free.random.next())
        };
        let chunk = self.chunks.get(index as usize / CHUNK)?;
        let slots = chunk.get_or_init(|| (0..CHUNK).map(|_| Slot::default()).collect());
        let slot = &slots[index as usize % CHUNK];
        let before = slot.generation.load(Ordering::Relaxed);
        // A slot's first holder: a stale id of an earlier server of the process should not fit it.
        let before = if before == 0 { self.node as u32 } else { before };
        // Never 0, which would make it a first holder's again: the generations of so few after it would repeat.
        let generation = (before.wrapping_add(1) & GENERATION_MASK).max(1);
        slot.shard.store(shard, Ordering::Relaxed);
        slot.dropped.store(false, Ordering::Relaxed);
        slot.buffered.store(0, Ordering::Relaxed);
        slot.random.store(random, Ordering::Relaxed);
        slot.generation.store(generation, Ordering::Release);
        slot.state.store(OPEN, Ordering::Release);
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Uuid { node: self.node, id: SocketId { slot: index, generation }, random })
    }

    /// The socket takes nothing from now on. True if it was open until now.
    pub(crate) fn close(&self, id: SocketId) -> bool {
        let closed = self.held(id).is_some_and(|slot| {
            slot.state.compare_exchange(OPEN, CLOSING, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        });
        if closed {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        closed
    }

    /// The socket's Close was delivered: its slot may be used again.
    pub(crate) fn release(&self, id: SocketId) {
        self.close(id);
        let Some(slot) = self.held(id) else { return };
        let freed =
            slot.state.compare_exchange(CLOSING, FREE, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if freed {
            lock(&slot.topics).clear();
            lock(&self.free).released.push(id.slot);
        }
    }

    /// Which socket a uuid names, if it is an open one of this server.
    pub(crate) fn resolve(&self, uuid: Uuid) -> Option<SocketId> {
        if uuid.node != self.node {
            return None;
        }
        let slot = self.open_slot(uuid.id)?;
        (slot.random.load(Ordering::Relaxed) == uuid.random).then_some(uuid.id)
    }

    /// Whether the socket takes messages.
    pub(crate) fn is_open(&self, id: SocketId) -> bool {
        self.open_slot(id).is_some()
    }

    /// The name of a slot's holder, open or closing.
    pub(crate) fn uuid(&self, id: SocketId) -> Option<Uuid> {
        let random = self.held(id)?.random.load(Ordering::Relaxed);
        Some(Uuid { node: self.node, id, random })
    }

    pub(crate) fn shard_of(&self, slot: u32) -> u8 {
        self.slot(slot).map_or(0, |slot| slot.shard.load(Ordering::Relaxed))
    }

    /// Sockets that are open.
    pub(crate) fn len(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// The uuids of all sockets that are open.
    pub(crate) fn uuids(&self) -> Vec<Uuid> {
        let next = lock(&self.free).next;
        (0..next)
            .filter_map(|index| {
                let slot = self.slot(index)?;
                let generation = slot.generation.load(Ordering::Acquire);
                let uuid = Uuid {
                    node: self.node,
                    id: SocketId { slot: index, generation },
                    random: slot.random.load(Ordering::Relaxed),
                };
                self.resolve(uuid).map(|_| uuid)
            })
            .collect()
    }

    /// Counts `bytes` for a message to this socket, or says why it cannot be sent.
    ///
    /// An empty queue takes one message of any size: else a limit below a message's size would be a dead end.
    pub(crate) fn reserve(&self, id: SocketId, bytes: usize) -> Reserved {
        self.reserve_in(|| self.open_slot(id), id, bytes, self.backpressure_total)
    }

    /// The same for a broadcast, in the socket's own shard, which knows the order: a close that was asked for after the
    /// message was sent does not stop it. For all sockets together it was reserved once, as its bytes are there once.
    pub(crate) fn reserve_in_order(&self, id: SocketId, bytes: usize) -> Reserved {
        self.reserve_in(|| self.held(id), id, bytes, usize::MAX)
    }

    fn reserve_in<'a>(
        &self,
        slot: impl Fn() -> Option<&'a Slot>,
        id: SocketId,
        bytes: usize,
        total: usize,
    ) -> Reserved {
        loop {
            let Some(slot) = slot() else { return Reserved::Unknown };
            let before = slot.buffered.fetch_add(bytes, Ordering::SeqCst);
            if slot.generation.load(Ordering::Acquire) != id.generation {
                // The slot changed hands between the check and the count.
                subtract(&slot.buffered, bytes);
                return Reserved::Unknown;
            }
            if before == 0 || before + bytes <= self.backpressure_limit {
                let waiting = self.outbound.fetch_add(bytes, Ordering::Relaxed);
                if waiting.saturating_add(bytes) <= total {
                    return Reserved::Ok;
                }
                self.outbound.fetch_sub(bytes, Ordering::Relaxed);
                slot.dropped.store(true, Ordering::SeqCst);
                subtract(&slot.buffered, bytes);
                // After the mark: a shard takes its bit before it looks at the marks.
                self.starved.fetch_or(1 << slot.shard.load(Ordering::Relaxed), Ordering::SeqCst);
                return Reserved::Starved;
            }
            // Marked before the count is taken back: whoever takes off what is left sees the mark. If nothing is left,
            // nobody would tell of the room any more: the message is tried again instead.
            slot.dropped.store(true, Ordering::SeqCst);
            if subtract(&slot.buffered, bytes) > 0 {
                return Reserved::Full;
            }
        }
    }

    /// `bytes` of this socket have left, or were given up. True if the host should be told that there is room again.
    pub(crate) fn unreserve(&self, id: SocketId, bytes: usize) -> bool {
        if bytes > 0 {
            self.outbound.fetch_sub(bytes, Ordering::Relaxed);
        }
        let Some(slot) = self.held(id) else { return false };
        let left = subtract(&slot.buffered, bytes);
        left <= self.backpressure_limit / 2 && slot.dropped.swap(false, Ordering::SeqCst)
    }

    /// Whether sockets of a shard were refused for what waits in all, and half of that is free again: then each that
    /// [`Registry::has_room_again`] is to be told.
    pub(crate) fn may_send_again(&self, shard: u8) -> bool {
        let bit = 1 << shard;
        self.starved.load(Ordering::SeqCst) & bit != 0
            && self.buffered_total() <= self.backpressure_total / 2
            && self.starved.fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// Whether a socket dropped messages and has room now; true once.
    pub(crate) fn has_room_again(&self, id: SocketId) -> bool {
        self.open_slot(id).is_some_and(|slot| {
            slot.buffered.load(Ordering::SeqCst) <= self.backpressure_limit / 2
                && slot.dropped.swap(false, Ordering::SeqCst)
        })
    }

    /// Counts `bytes` of a broadcast, once; false if the process has no room for it.
    pub(crate) fn reserve_shared(&self, bytes: usize) -> bool {
        let before = self.outbound.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.backpressure_total;
        if !fits {
            self.outbound.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// A broadcast was fanned out, or given up.
    pub(crate) fn unreserve_shared(&self, bytes: usize) {
        self.outbound.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that wait for this socket; 0 for an unknown one.
    pub(crate) fn buffered(&self, id: SocketId) -> usize {
        self.held(id).map_or(0, |slot| slot.buffered.load(Ordering::Relaxed))
    }

    /// Bytes that wait, over all.
    pub(crate) fn buffered_total(&self) -> usize {
        self.outbound.load(Ordering::Relaxed)
    }

    /// Adds a topic to what the socket subscribed to: `Ok` if it is new or was there, with whether it is new.
    pub(crate) fn subscribe(&self, id: SocketId, topic: &Arc<str>) -> Result<bool, SendStatus> {
        let slot = self.open_slot(id).ok_or(SendStatus::Unknown)?;
        let mut topics = lock(&slot.topics);
        if topics.len() >= MAX_TOPICS && !topics.contains(topic) {
            return Err(SendStatus::Dropped);
        }
        Ok(topics.insert(Arc::clone(topic)))
    }

    /// Takes a topic from what the socket subscribed to, with whether it was there.
    pub(crate) fn unsubscribe(&self, id: SocketId, topic: &str) -> Result<bool, SendStatus> {
        let slot = self.open_slot(id).ok_or(SendStatus::Unknown)?;
        Ok(lock(&slot.topics).remove(topic))
    }

    /// The socket has ended: what it subscribed to, for the last time.
    pub(crate) fn take_topics(&self, id: SocketId) -> BTreeSet<Arc<str>> {
        self.held(id).map(|slot| std::mem::take(&mut *lock(&slot.topics))).unwrap_or_default()
    }

    /// What an open socket subscribed to, sorted.
    pub(crate) fn topics(&self, id: SocketId) -> Vec<Arc<str>> {
        let Some(slot) = self.open_slot(id) else { return Vec::new() };
        lock(&slot.topics).iter().cloned().collect()
    }
}

/// Subtracts and gives what is left. Stops at 0: a slot that changed hands meanwhile counts anew from there.
fn subtract(counter: &AtomicUsize, bytes: usize) -> usize {
    counter
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(bytes)))
        .map_or(0, |before| before.saturating_sub(bytes))
}

/// 32 random bits of the system. A system without randomness gives a constant: a uuid is an address, not a secret.
pub(crate) fn random() -> u32 {
    getrandom::u32().unwrap_or(0x706f_636b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bits_differ_within_a_block_and_beyond_it() {
        let mut random = Random::default();
        let seen: std::collections::HashSet<u32> = (0..256).map(|_| random.next()).collect();
        // 256 of 2^32: that three of them are others' equals is not to be seen in the age of the universe.
        assert!(seen.len() > 252, "{}", seen.len());
    }

    #[test]
    fn a_slot_is_used_again_only_after_its_close_was_delivered() {
        let registry = Registry::new(1, 100, 1 << 20);
        let first = registry.open(0).unwrap();
        assert!(registry.open(0).is_none(), "the only slot is taken");
        assert!(registry.close(first.id));
        assert!(registry.open(0).is_none(), "its Close is not delivered yet");
        registry.release(first.id);
        let second = registry.open(0).unwrap();
        assert_eq!(first.id.slot, second.id.slot);
        assert_eq!(registry.resolve(first), None, "the old name does not reach the new socket");
        assert_eq!(registry.resolve(second), Some(second.id));
    }

    #[test]
    fn generations_do_not_repeat_where_their_bits_run_over() {
        for node in [0, 1, 0xf_fffd, 0xf_fffe, 0xf_ffff, 0x1f_ffff] {
            let mut registry = Registry::new(1, 100, 1 << 20);
            registry.node = node;
            let mut seen = Vec::new();
            for _ in 0..6 {
                let id = registry.open(0).unwrap().id;
                assert!(!seen.contains(&id.generation), "{node:x}: {seen:x?} {:x}", id.generation);
                seen.push(id.generation);
                registry.release(id);
            }
        }
    }

    #[test]
    fn a_guess_or_another_node_is_unknown() {
        let registry = Registry::new(4, 100, 1 << 20);
        let uuid = registry.open(0).unwrap();
        assert_eq!(uuid.node, registry.node());
        assert_eq!(registry.resolve(Uuid { random: uuid.random ^ 1, ..uuid }), None);
        assert_eq!(registry.resolve(Uuid { node: uuid.node ^ 1, ..uuid }), None);
        let beyond = SocketId { slot: u32::MAX, generation: 1 };
        assert_eq!(registry.resolve(Uuid { id: beyond, ..uuid }), None);
    }

    #[test]
    fn a_broadcast_is_counted_once_and_refused_when_too_much_waits_in_all() {
        let registry = Registry::new(1, 100, 150);
        assert!(registry.reserve_shared(150), "up to the limit");
        assert!(!registry.reserve_shared(1));
        assert_eq!(registry.buffered_total(), 150);
        registry.unreserve_shared(150);
        assert_eq!(registry.buffered_total(), 0);
    }

    #[test]
    fn topics_are_left_once_and_taken_at_the_end() {
        let registry = Registry::new(1, 100, 1 << 20);
        let id = registry.open(0).unwrap().id;
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        assert_eq!((registry.subscribe(id, &a), registry.subscribe(id, &b)), (Ok(true), Ok(true)));
        assert_eq!(registry.unsubscribe(id, "a"), Ok(true));
        assert_eq!(registry.unsubscribe(id, "a"), Ok(false));
        assert!(registry.take_topics(id).into_iter().eq([b]));
        assert!(registry.topics(id).is_empty());
    }

    #[test]
    fn slots_are_given_in_turn_and_each_holder_of_one_is_told_apart() {
        let registry = Registry::new(4, 100, 1 << 20);
        let (a, b) = (registry.open(3).unwrap(), registry.open(5).unwrap());
        assert_eq!((a.id.slot, b.id.slot), (0, 1));
        assert_eq!((registry.shard_of(0), registry.shard_of(1)), (3, 5));
        // A server that starts later counts from elsewhere.
        assert_eq!(a.id.generation, (registry.node() as u32).wrapping_add(1) & GENERATION_MASK);
        registry.release(a.id);
        let again = registry.open(0).unwrap();
        assert_eq!(again.id.slot, 0);
        assert_eq!(again.id.generation, a.id.generation.wrapping_add(1) & GENERATION_MASK);
        assert_eq!((registry.uuid(a.id), registry.uuid(again.id)), (None, Some(again)));
        assert_eq!(registry.uuids(), [again, b]);
        registry.close(again.id);
        assert_eq!((registry.is_open(again.id), registry.is_open(b.id)), (false, true));
        assert_eq!(registry.uuid(again.id), Some(again), "until its Close was delivered");
        assert_eq!(registry.uuids(), [b]);
        registry.release(again.id);
        assert_eq!(registry.uuid(again.id), None);
    }

    #[test]
    fn an_empty_queue_takes_any_message_a_full_one_drops_and_then_tells_of_room() {
        let registry = Registry::new(4, 100, 1 << 20);
        let id = registry.open(0).unwrap().id;
        assert_eq!(registry.reserve(id, 1000), Reserved::Ok);
        assert_eq!(registry.reserve(id, 1), Reserved::Full);
        assert_eq!(registry.buffered(id), 1000);
        assert!(!registry.unreserve(id, 900), "100 left is more than half of the limit");
        assert!(registry.unreserve(id, 60), "40 left: room again");
        assert!(!registry.unreserve(id, 40), "told once");
        assert_eq!(registry.buffered_total(), 0);
    }

    #[test]
    fn a_message_that_does_not_fit_behind_a_small_one_is_dropped_at_once() {
        let registry = Registry::new(4, 100, 1 << 20);
        let id = registry.open(0).unwrap().id;
        assert_eq!(registry.reserve(id, 10), Reserved::Ok);
        assert_eq!(registry.reserve(id, 95), Reserved::Full);
        assert!(registry.unreserve(id, 10), "and told of when the small one has left");
        assert_eq!(registry.reserve(id, 95), Reserved::Ok);
    }

    #[test]
    fn when_too_much_waits_in_all_even_an_empty_queue_takes_nothing_and_is_told_of_room() {
        let registry = Registry::new(4, 100, 150);
        let (a, b) = (registry.open(0).unwrap().id, registry.open(1).unwrap().id);
        assert_eq!(registry.reserve(a, 100), Reserved::Ok);
        assert_eq!(registry.reserve(b, 60), Reserved::Starved);
        assert_eq!(registry.buffered(b), 0);
        assert_eq!(registry.reserve(b, 50), Reserved::Ok);
        assert!(!registry.may_send_again(1), "all of it waits still");
        assert!(!registry.unreserve(a, 100));
        assert!(registry.may_send_again(1));
        assert!(!registry.may_send_again(1), "told once");
        assert!(!registry.may_send_again(0), "nothing of this shard was refused");
        assert!(registry.has_room_again(b));
        assert!(!registry.has_room_again(b), "told once");
        assert_eq!(registry.reserve_in_order(a, 100), Reserved::Ok);
        assert_eq!(
            registry.reserve_in_order(b, 50),
            Reserved::Ok,
            "a broadcast's bytes count once"
        );
    }

    #[test]
    fn a_closed_socket_takes_nothing_and_closes_once() {
        let registry = Registry::new(4, 100, 1 << 20);
        let id = registry.open(0).unwrap().id;
        assert_eq!(registry.len(), 1);
        assert!(registry.close(id));
        assert!(!registry.close(id));
        assert_eq!(registry.reserve(id, 1), Reserved::Unknown);
        assert_eq!(registry.len(), 0);
    }

    #[test]
    fn a_socket_has_at_most_max_topics_and_loses_them_with_its_slot() {
        let registry = Registry::new(1, 100, 1 << 20);
        let uuid = registry.open(0).unwrap();
        for n in 0..MAX_TOPICS {
            assert_eq!(registry.subscribe(uuid.id, &Arc::from(n.to_string())), Ok(true));
        }
        assert_eq!(registry.subscribe(uuid.id, &Arc::from("0")), Ok(false));
        assert_eq!(registry.subscribe(uuid.id, &Arc::from("one more")), Err(SendStatus::Dropped));
        assert_eq!(registry.topics(uuid.id).len(), MAX_TOPICS);
        registry.release(uuid.id);
        let next = registry.open(0).unwrap();
        assert!(registry.topics(next.id).is_empty());
    }
}
