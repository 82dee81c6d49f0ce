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
mod tests;
