//! How events of a shard's sockets reach the host: straight in when there is room, else in turns, one event a socket.
//!
//! A socket that floods fills its own queue and is then not read; the others keep their turns.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::{
    CloseInfo, Event, EventKind, Lane, Offer, Pending, SocketId, Uuid,
    client::{About, Client},
    frame::encode_close,
    limits::ORPHANS,
    outgoing::Outgoing,
    shard::Shard,
};

impl Shard {
    /// Gives an event to the socket's lane, behind what waits of it.
    pub(crate) fn deliver(&mut self, id: SocketId, event: Pending) {
        let Some(client) = self.client(id) else { return };
        if !client.inbound.is_empty() || !self.offer(id, event.kind()) {
            self.wait(id, event);
        }
    }

    /// Gives a message to the socket's lane; it is copied only if it has to wait.
    pub(crate) fn deliver_message(&mut self, id: SocketId, message: EventKind<'_>) {
        let Some(client) = self.client(id) else { return };
        // Who comes while others wait for room waits too, or is the first of its socket: else a flood would keep its lane to
        // itself.
        let lane = usize::from(client.lane.0);
        if client.inbound.is_empty() && self.offer_as(id, message, !self.rounds[lane].is_empty()) {
            return;
        }
        match message {
            EventKind::Text(text) => self.wait(id, Pending::Text(text.into())),
            EventKind::Binary(bytes) => {
                self.wait(id, Pending::Binary(Bytes::copy_from_slice(bytes)));
            }
            EventKind::Connect { .. } | EventKind::Close(_) | EventKind::Drain => {}
        }
    }

    /// Offers one event to the socket's lane; false if it has to wait.
    fn offer(&mut self, id: SocketId, kind: EventKind<'_>) -> bool {
        self.offer_as(id, kind, false)
    }

    fn offer_as(&mut self, id: SocketId, kind: EventKind<'_>, only_first: bool) -> bool {
        let Some(client) = self.clients.get_mut(id.slot as usize).and_then(Option::as_deref_mut)
        else {
            return true;
        };
        let told = Event { id, uuid: client.uuid, kind };
        let offer = match client.lane {
            Lane::NONE => return false,
            Lane::DISCARD => {
                self.shared.counters(self.index).discarded.add(1);
                self.shared.host.discarded(&told);
                Offer::Taken
            }
            lane => {
                if self.offered == 0 {
                    // Behind the tasks that are to run already: their events are part of the same burst.
                    self.burst_ended.notify_one();
                }
                self.offered |= 1 << lane.0;
                if only_first {
                    self.shared.host.offer_first(lane, &told)
                } else {
                    self.shared.host.offer(lane, &told)
                }
            }
        };
        if matches!(offer, Offer::Full | Offer::Gone) {
            return false;
        }
        match kind {
            EventKind::Connect { .. } if client.lane != Lane::DISCARD => client.introduced = true,
            EventKind::Close(_) => {
                self.remove(id);
                if offer == Offer::Taken {
                    self.shared.registry.release(id);
                }
            }
            _ => {}
        }
        true
    }

    /// Puts an event behind what waits of its socket.
    fn wait(&mut self, id: SocketId, event: Pending) {
        let cost = event.cost();
        let Some(client) = self.client(id) else { return };
        client.inbound.push_back(event);
        let (lane, ended) = (client.lane, client.ended);
        self.shared.inbound.fetch_add(cost, Ordering::Relaxed);
        if lane == Lane::NONE {
            if ended {
                self.adopt_orphan(id);
            }
        } else {
            self.join_round(id);
        }
    }

    fn join_round(&mut self, id: SocketId) {
        let Some(client) = self.client(id) else { return };
        if !std::mem::replace(&mut client.in_round, true) {
            let lane = usize::from(client.lane.0);
            self.rounds[lane].push_back(id.slot);
        }
    }

    /// Lanes of the bits of `room` take events again.
    pub(crate) fn give_turns(&mut self, room: u64) {
        for lane in 0..self.rounds.len() {
            if room & 1 << lane != 0 {
                self.give_turns_to(lane);
            }
        }
    }

    /// Round-robin: one event of each socket that waits, until the lane is full or nothing waits.
    fn give_turns_to(&mut self, lane: usize) {
        let enough = self.shared.config.inbound_limit / 2;
        while let Some(slot) = self.rounds[lane].pop_front() {
            let Some(client) = self.clients.get_mut(slot as usize).and_then(Option::as_deref_mut)
            else {
                continue;
            };
            // It moved to another lane, and stands in that one's round.
            if usize::from(client.lane.0) != lane {
                continue;
            }
            client.in_round = false;
            let id = client.uuid.id;
            let Some(event) = client.inbound.pop_front() else { continue };
            if !self.offer(id, event.kind()) {
                if let Some(client) = self.client(id) {
                    client.inbound.push_front(event);
                    client.in_round = true;
                    self.rounds[lane].push_front(slot);
                }
                return;
            }
            let cost = event.cost();
            self.shared.inbound.fetch_sub(cost, Ordering::Relaxed);
            // A Close that was taken has removed its client.
            let Some(client) = self.client(id) else { continue };
            // A held one stays paused, however empty its queue is.
            if client.paused && !client.held && client.inbound.cost() <= enough {
                client.paused = false;
                client.wake();
            }
            if client.inbound.is_empty() {
                client.inbound.clear();
            } else {
                self.join_round(id);
            }
        }
    }

    /// The server has failed at this socket, or at all of its shard: it ends with 1011. The client is told if that can be
    /// done at once.
    pub(crate) fn fail(&mut self, id: SocketId) {
        const REASON: &str = "the server failed";
        if let Some(client) = self.client(id).filter(|client| client.closing.is_none())
            && let Some(stream) = &client.stream
        {
            let rest = client.out.as_deref().map_or(&[][..], Outgoing::rest_of_frame);
            // What the system does not take is not waited for: nothing is left that could.
            let _ = stream.try_write(&[rest, &encode_close(1011, REASON)].concat());
        }
        self.end(id, CloseInfo { code: 1011, reason: REASON.to_owned(), was_clean: false });
    }

    /// The connection has ended: its Close is the last event, once.
    pub(crate) fn end(&mut self, id: SocketId, info: CloseInfo) {
        self.shared.registry.close(id);
        self.leave_topics(id);
        let Some(client) = self.client(id).filter(|client| !client.ended) else { return };
        client.ended = true;
        client.waker = None;
        let (uuid, address) = (client.uuid, client.about.take_place());
        client.stream = None;
        if let Some(out) = client.out.take() {
            self.shared.registry.unreserve(id, out.cost());
        }
        self.shared.addresses.leave(address);
        self.shared.counters(self.index).closed.add(1);
        log::debug!("{uuid} closed: {} {}", info.code, info.reason);
        self.deliver(id, Pending::Close(Box::new(info)));
    }

    /// Takes the client out; its slot stays taken in the registry until its Close was delivered.
    fn remove(&mut self, id: SocketId) {
        let Some(client) = self.clients.get_mut(id.slot as usize).and_then(Option::take) else {
            return;
        };
        self.population -= 1;
        if self.is_stopping() {
            self.wake_loop();
        }
        if client.lane.index().is_some() {
            self.shared.host.unassign(client.lane);
        }
        if self.clients.len() > 1024 && self.population == 0 {
            self.clients = Vec::new();
        }
    }

    /// Gives up what waits of a socket that has ended, counted.
    pub(crate) fn discard(&mut self, id: SocketId) {
        let Some(client) = self.client(id) else { return };
        let (events, cost) = (client.inbound.len(), client.inbound.cost());
        self.shared.inbound.fetch_sub(cost, Ordering::Relaxed);
        self.shared.counters(self.index).discarded.add(events);
        self.remove(id);
        self.shared.registry.release(id);
    }

    /// Gives up what waits of a socket that has ended, but for its Close: the host is told of that.
    pub(crate) fn cut_short(&mut self, id: SocketId) {
        let Some(client) = self.client(id) else { return };
        let close = client.inbound.back().cloned();
        if let (Some(close @ Pending::Close(_)), true) = (close, client.lane.index().is_some()) {
            let messages = client.inbound.len() - 1;
            let cost = client.inbound.cost();
            client.inbound.clear();
            self.shared.inbound.fetch_sub(cost, Ordering::Relaxed);
            self.shared.counters(self.index).discarded.add(messages);
            if self.offer(id, close.kind()) {
                return;
            }
        }
        self.discard(id);
    }

    /// Keeps a socket that ended before any host came, and lets the oldest of too many go.
    fn adopt_orphan(&mut self, id: SocketId) {
        self.orphans.push_back(id);
        if self.is_stopping() {
            self.wake_loop();
        }
        // They hold slots: most of them must stay free for those who are alive.
        let most = ORPHANS.min(self.shared.config.max_connections / 4);
        if self.orphans.len() > most
            && let Some(oldest) = self.orphans.pop_front()
        {
            self.discard(oldest);
        }
    }

    /// Gives the sockets of `from` another lane: first a Connect, then what the old lane had not begun, then the rest.
    pub(crate) fn rehome(&mut self, from: Lane, returned: Vec<(Uuid, Vec<Pending>)>) {
        for (uuid, events) in returned {
            if self.client(uuid.id).is_none() {
                // The old lane had taken its Close, and nobody was told of it.
                let now = self.shared.now();
                let mut client = Client::new(uuid, from, About::default(), None, now);
                client.introduced = true;
                client.ended = true;
                self.insert(client);
            }
            let Some(client) = self.client(uuid.id) else { continue };
            // A Connect among them was not begun either: nobody knows this socket.
            let unknown = matches!(events.first(), Some(Pending::Connect { resumed: false, .. }));
            client.introduced &= !unknown;
            let cost: usize = events.iter().map(Pending::cost).sum();
            for event in events.into_iter().rev() {
                client.inbound.push_front(event);
            }
            self.shared.inbound.fetch_add(cost, Ordering::Relaxed);
        }
        self.rounds[usize::from(from.0)].clear();
        if from == Lane::NONE {
            // Those that get no host again are adopted again.
            self.orphans.clear();
        }
        for slot in 0..self.clients.len() {
            let Some(client) =
                self.clients[slot].as_deref_mut().filter(|client| client.lane == from)
            else {
                continue;
            };
            client.lane = self.shared.host.assign();
            client.in_round = false;
            // Who paused it may be gone, and the next host knows nothing of it.
            client.resume();
            if !matches!(client.inbound.front(), Some(Pending::Connect { .. })) {
                let introduction = client.introduction();
                self.shared.inbound.fetch_add(introduction.cost(), Ordering::Relaxed);
                client.inbound.push_front(introduction);
            }
            let (id, lane, ended) = (client.uuid.id, client.lane, client.ended);
            if lane == Lane::NONE {
                if ended {
                    self.adopt_orphan(id);
                }
            } else {
                self.join_round(id);
            }
        }
        self.give_turns(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicUsize},
        },
        task::{Wake, Waker},
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{Config, Host, page::Page, registry::Registry, server::Shared};

    const LANE: Lane = Lane::host(0);
    const OTHER: Lane = Lane::host(1);

    /// Takes all or nothing.
    struct Door(Arc<AtomicBool>);

    impl Host for Door {
        fn assign(&self) -> Lane {
            OTHER
        }

        fn offer(&self, _lane: Lane, _event: &Event<'_>) -> Offer {
            if self.0.load(Ordering::Relaxed) { Offer::Taken } else { Offer::Full }
        }
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Wakes {
        fn take(&self) -> usize {
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    struct Rig {
        shard: Shard,
        id: SocketId,
        open: Arc<AtomicBool>,
        wakes: Arc<Wakes>,
    }

    impl Rig {
        fn new() -> Self {
            let open = Arc::new(AtomicBool::new(false));
            let (host, config) = (Box::new(Door(Arc::clone(&open))), Config::default());
            let registry = Registry::new(1, 1000, 1 << 20);
            let uuid = registry.open(0).unwrap();
            let address = ([127, 0, 0, 1], 0).into();
            let shared = Shared::new(config, address, host, Page::new(None), registry, None);
            let mut shard = Shard::new(shared, 0);
            let wakes = Arc::<Wakes>::default();
            let now = shard.shared.now();
            let mut client = Client::new(uuid, LANE, About::default(), None, now);
            client.waker = Some(Waker::from(Arc::clone(&wakes)));
            shard.insert(client);
            Self { shard, id: uuid.id, open, wakes }
        }

        fn client(&mut self) -> &mut Client {
            self.shard.client(self.id).unwrap()
        }

        fn may_read(&mut self) -> bool {
            let shared = Arc::clone(&self.shard.shared);
            self.client().may_read(&shared.config, 0)
        }
    }

    #[test]
    fn a_held_socket_stays_paused_when_its_queue_runs_empty_and_is_woken_at_its_resume() {
        let mut rig = Rig::new();
        rig.shard.deliver_message(rig.id, EventKind::Binary(&[0; 64 * 1024]));
        rig.client().hold(true);
        rig.client().hold(true);
        rig.open.store(true, Ordering::Relaxed);
        rig.shard.give_turns(u64::MAX);
        let client = rig.client();
        assert!(client.inbound.is_empty() && client.paused);
        assert!(!rig.may_read());
        assert_eq!(rig.wakes.take(), 0);
        rig.client().hold(false);
        assert!(rig.may_read());
        assert_eq!(rig.wakes.take(), 1);
        rig.client().hold(false);
        assert_eq!(rig.wakes.take(), 0, "it was not held");
    }

    #[test]
    fn a_held_socket_whose_lane_ends_is_woken_and_held_no_more_and_no_other_is() {
        let mut rig = Rig::new();
        rig.client().hold(true);
        rig.shard.rehome(OTHER, Vec::new());
        assert!(!rig.may_read(), "of another lane");
        rig.shard.rehome(LANE, Vec::new());
        assert!(rig.may_read() && !rig.client().held);
        assert!(rig.wakes.take() > 0);
    }

    #[test]
    fn a_held_socket_that_is_closed_is_woken_and_cannot_be_held_again() {
        let mut rig = Rig::new();
        rig.client().hold(true);
        let deadline = Instant::now() + Duration::from_secs(1);
        rig.client().close(1000, "", deadline);
        assert_eq!(rig.wakes.take(), 1);
        rig.client().hold(true);
        assert!(!rig.client().held);
    }
}
