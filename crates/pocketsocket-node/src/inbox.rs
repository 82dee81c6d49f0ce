//! What waits for one JavaScript thread: records and their payloads, those of each socket in the order in which they were taken.
//!
//! Shards fill one slab while the thread works through the other, so a record costs a short lock and a copy, and no
//! allocation. Messages are bounded to what the hook handles in about 1 ms, as measured; Connect and Close have room of
//! their own, since there can be only one of each a socket.
//!
//! After a swap at which somebody had been refused, the first message of each socket comes before all that is not the first of its
//! own: a socket that sends now and then does not wait behind what a flood has filled the inbox with. Else the order is that of
//! arrival, in which the messages of a burst stay together: their answers leave in one write.

use std::sync::atomic::AtomicUsize;

use pocketsocket::{Error, Event, EventKind, Lane, Offer, SocketId};

use crate::{
    bell::Bell,
    js::Doorbell,
    slab::{Record, SLAB_BYTES, Slab, kind, request_to_text},
    sync::{AtomicBool, Mutex, MutexGuard, lock},
    text::{Form, with_form},
};

/// Messages that are always taken, however slow the hook.
pub const MIN_RECORDS: usize = 16;
/// Messages that are never passed, however fast the hook.
pub const MAX_RECORDS: usize = 16 * 1024;
/// Errors that may wait beside: more of them tell nothing new.
const MAX_ERRORS: usize = 64;

/// The inbox of one JavaScript thread. They live in a table of the process, so that a shard reaches one by its lane.
pub struct Inbox {
    state: Mutex<State>,
    bell: Bell<Doorbell>,
    /// Sockets whose lane this is.
    pub sockets: AtomicUsize,
}

struct State {
    /// A thread owns the inbox.
    owned: bool,
    /// The thread has a hook: sockets may be assigned.
    hooked: bool,
    slab: Slab,
    /// Messages that may wait; once some come before others, half as many of the others.
    limit: usize,
    /// Counts the swaps.
    period: u32,
    errors: usize,
    /// A shard was refused: it is told when there is room.
    refused: bool,
    /// One was before the last swap.
    pressed: bool,
    /// By slot: the sockets whose Connect was taken for the hook that is there now. What else comes is of a socket that an
    /// earlier hook had, and whose shard has not given it a new lane yet.
    known: Vec<Known>,
}

/// What the inbox knows of a slot.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// One more than the generation of its socket.
    socket: u32,
    /// The period of its last message.
    period: u32,
}

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A Connect: with the first messages, unless its socket has one here already.
    First,
    /// A message: before others if it is the first of its socket, with `only_first` or not at all.
    Message { only_first: bool },
    /// Behind all.
    Last,
}

impl State {
    fn known(&mut self, id: SocketId) -> Option<&mut Known> {
        self.known.get_mut(id.slot as usize).filter(|known| known.socket == id.generation + 1)
    }

    /// From its Connect on a socket's events are taken. One that is told of twice, since its hook came and went and came, keeps
    /// its place in the order.
    fn meet(&mut self, id: SocketId) {
        let slot = id.slot as usize;
        if self.known(id).is_some() {
            return;
        }
        if self.known.len() <= slot {
            self.known.resize(slot + 1, Known::default());
        }
        // No period has this number while it lasts.
        let period = self.period.wrapping_sub(1);
        self.known[slot] = Known { socket: id.generation + 1, period };
    }

    /// Takes all that waits, in its order.
    fn take_slab(&mut self) -> Slab {
        self.slab.settle();
        std::mem::take(&mut self.slab)
    }
}

impl Inbox {
    pub const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                owned: false,
                hooked: false,
                slab: Slab {
                    records: Vec::new(),
                    later: Vec::new(),
                    bytes: Vec::new(),
                    wide: Vec::new(),
                },
                limit: MIN_RECORDS,
                period: 0,
                errors: 0,
                refused: false,
                pressed: false,
                known: Vec::new(),
            }),
            bell: Bell { rung: AtomicBool::new(false), doorbell: Mutex::new(None) },
            sockets: AtomicUsize::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes the inbox for a thread; false if another has it.
    pub fn claim(&self, doorbell: Doorbell) -> bool {
        let mut state = self.state();
        if std::mem::replace(&mut state.owned, true) {
            return false;
        }
        state.limit = MIN_RECORDS;
        self.bell.hang(doorbell);
        true
    }

    /// The thread ends: no ring after this, and nothing is taken. Gives what had not been swapped out.
    pub fn abandon(&self) -> Slab {
        self.bell.take_down();
        let mut state = self.state();
        state.owned = false;
        state.hooked = false;
        state.refused = false;
        state.known = Vec::new();
        state.take_slab()
    }

    pub fn is_owned(&self) -> bool {
        self.state().owned
    }

    pub fn is_hooked(&self) -> bool {
        self.state().hooked
    }

    /// The thread has a hook from now on, or no longer. Gives what waited if it has none any more.
    pub fn set_hooked(&self, hooked: bool) -> Slab {
        let mut state = self.state();
        state.hooked = hooked;
        state.known = Vec::new();
        if hooked { Slab::default() } else { state.take_slab() }
    }

    /// Takes an event of a socket; with `only_first` a message only if its socket has none here since the last swap.
    pub fn offer(&self, event: &Event<'_>, only_first: bool) -> Offer {
        let record = |kind| Record::new(event.id, kind);
        match event.kind {
            EventKind::Text(text) => with_form(text, |form| {
                let size = match form {
                    Form::Latin1(bytes) => bytes.len(),
                    Form::Utf16(units) => 2 * units.len(),
                };
                self.push(event, size, Place::Message { only_first }, |slab, later| {
                    slab.push_text(record(kind::TEXT), form, later);
                })
            }),
            EventKind::Binary(bytes) => {
                self.push(event, bytes.len(), Place::Message { only_first }, |slab, later| {
                    slab.push_bytes(record(kind::BINARY), bytes, later);
                })
            }
            EventKind::Connect { request, resumed } => {
                let text = request_to_text(request, &event.uuid.to_string());
                let record = Record { flag: resumed, ..record(kind::CONNECT) };
                with_form(&text, |form| {
                    self.push(event, 0, Place::First, |slab, later| {
                        slab.push_text(record, form, later);
                    })
                })
            }
            EventKind::Close(info) => {
                let record =
                    Record { flag: info.was_clean, code: info.code, ..record(kind::CLOSE) };
                let offer = with_form(&info.reason, |form| {
                    self.push(event, 0, Place::Last, |slab, later| {
                        slab.push_text(record, form, later);
                    })
                });
                // The slot is released once JavaScript was told.
                if offer == Offer::Taken { Offer::Kept } else { offer }
            }
            EventKind::Drain => self.push(event, 0, Place::Last, |slab, later| {
                slab.push_bytes(record(kind::DRAIN), &[], later);
            }),
        }
    }

    fn push(
        &self,
        event: &Event<'_>,
        size: usize,
        place: Place,
        append: impl FnOnce(&mut Slab, bool),
    ) -> Offer {
        {
            let mut state = self.state();
            let state = &mut *state;
            if !state.hooked {
                return Offer::Gone;
            }
            if place == Place::First {
                state.meet(event.id);
            }
            let period = state.period;
            let Some(known) = state.known(event.id) else { return Offer::Gone };
            let comes_later = match place {
                Place::First | Place::Message { .. } => known.period == period,
                Place::Last => true,
            };
            let later = state.pressed && comes_later;
            if let Place::Message { only_first } = place {
                let (count, limit) = if later {
                    (state.slab.later.len(), state.limit / 2)
                } else {
                    (state.slab.records.len(), state.limit)
                };
                let full = !state.slab.is_empty()
                    && (count >= limit || state.slab.size() + size > SLAB_BYTES);
                if full || (comes_later && only_first) {
                    state.refused = true;
                    return Offer::Full;
                }
                if let Some(known) = state.known(event.id) {
                    known.period = period;
                }
            }
            append(&mut state.slab, later);
        }
        Offer::Taken
    }

    /// Tells of an error of the server, if there is a hook to be told.
    pub fn error(&self, error: &Error) {
        let text = format!("{}\n{error}", error.code());
        {
            let mut state = self.state();
            if !state.hooked || state.errors >= MAX_ERRORS {
                return;
            }
            state.errors += 1;
            with_form(&text, |form| state.slab.push_text(internal(kind::ERROR), form, true));
        }
        self.ring();
    }

    /// Appends a record of our own; false if no thread is there.
    pub fn notify(&self, kind: u8) -> bool {
        {
            let mut state = self.state();
            if !state.owned {
                return false;
            }
            state.slab.push_bytes(internal(kind), &[], true);
        }
        self.ring();
        true
    }

    /// Wakes the thread for what was taken, unless somebody has, or it has found it by itself.
    pub fn ring(&self) {
        self.bell.ring(|| self.is_empty(), Doorbell::ring);
    }

    fn is_empty(&self) -> bool {
        self.state().slab.is_empty()
    }

    /// Exchanges the filled slab for an empty one, and sets how many messages may wait. Gives whether shards were refused.
    pub fn swap(&self, empty: &mut Slab, limit: usize) -> bool {
        let mut state = self.state();
        state.slab.settle();
        std::mem::swap(&mut state.slab, empty);
        state.period = state.period.wrapping_add(1);
        state.errors = 0;
        state.limit = limit.clamp(MIN_RECORDS, MAX_RECORDS);
        state.pressed = std::mem::take(&mut state.refused);
        state.pressed
    }

    /// The thread goes to sleep; false if something came meanwhile, and it has to look again.
    pub fn sleep(&self) -> bool {
        self.bell.sleep(|| self.is_empty())
    }
}

/// A record that is for the thread itself, not of a socket.
fn internal(kind: u8) -> Record {
    Record::new(SocketId { slot: u32::MAX, generation: 0 }, kind)
}

/// Inboxes of the process, by lane.
pub static INBOXES: [Inbox; Lane::MAX] = [const { Inbox::new() }; Lane::MAX];

#[cfg(test)]
mod tests {
    use pocketsocket::{CloseInfo, Pending, Request, Uuid};

    use super::*;

    fn id(slot: u32) -> SocketId {
        SocketId { slot, generation: 1 }
    }

    /// An inbox of a thread with a hook that has met sockets 0 to 9, and takes `limit` first messages.
    fn inbox(limit: usize) -> Inbox {
        let inbox = Inbox::new();
        inbox.set_hooked(true);
        let request = Request::default();
        for slot in 0..10 {
            let connect = EventKind::Connect { request: &request, resumed: false };
            assert_eq!(offer(&inbox, slot, connect, false), Offer::Taken);
        }
        inbox.swap(&mut Slab::default(), limit);
        inbox
    }

    /// Refuses somebody, so that after the next swap firsts come first.
    fn press(inbox: &Inbox) {
        while text(inbox, 0, "flood") == Offer::Taken {}
        inbox.swap(&mut Slab::default(), MIN_RECORDS);
    }

    fn offer(inbox: &Inbox, slot: u32, kind: EventKind<'_>, only_first: bool) -> Offer {
        // Version 8 and variant 2: all that is looked at.
        let uuid = Uuid::from_bits(0x8 << 76 | 0b10 << 62).unwrap();
        inbox.offer(&Event { id: id(slot), uuid, kind }, only_first)
    }

    fn text(inbox: &Inbox, slot: u32, text: &str) -> Offer {
        offer(inbox, slot, EventKind::Text(text), false)
    }

    /// What is swapped out: slots with their texts, and `close`.
    fn swapped(inbox: &Inbox, limit: usize) -> Vec<(u32, String)> {
        let mut slab = Slab::default();
        inbox.swap(&mut slab, limit);
        let told = |record: &Record| match slab.event(record) {
            Some(Pending::Text(text)) => text.to_string(),
            Some(Pending::Close(_)) => "close".to_owned(),
            other => panic!("{other:?}"),
        };
        slab.records.iter().map(|record| (record.id.slot, told(record))).collect()
    }

    #[test]
    fn the_first_message_of_each_socket_comes_before_the_rest_of_a_flood() {
        let inbox = inbox(MIN_RECORDS);
        press(&inbox);
        for n in 0..4 {
            assert_eq!(text(&inbox, 0, &n.to_string()), Offer::Taken);
        }
        assert_eq!(text(&inbox, 1, "quiet"), Offer::Taken);
        let info = CloseInfo { code: 1000, reason: String::new(), was_clean: true };
        assert_eq!(offer(&inbox, 1, EventKind::Close(&info), false), Offer::Kept);
        let expected = [(0, "0"), (1, "quiet"), (0, "1"), (0, "2"), (0, "3"), (1, "close")];
        assert_eq!(swapped(&inbox, 16), expected.map(|(slot, text)| (slot, text.to_owned())));
    }

    #[test]
    fn while_nobody_is_refused_the_order_is_that_of_arrival() {
        let inbox = inbox(MIN_RECORDS);
        for (slot, message) in [(0, "0"), (0, "1"), (1, "2"), (0, "3"), (1, "4")] {
            assert_eq!(text(&inbox, slot, message), Offer::Taken);
        }
        let expected = [(0, "0"), (0, "1"), (1, "2"), (0, "3"), (1, "4")];
        assert_eq!(swapped(&inbox, 16), expected.map(|(slot, text)| (slot, text.to_owned())));
    }

    #[test]
    fn a_full_inbox_takes_the_first_message_of_a_socket_and_no_second_one() {
        let inbox = inbox(MIN_RECORDS);
        press(&inbox);
        let mut taken = 0;
        while text(&inbox, 0, "flood") == Offer::Taken {
            taken += 1;
        }
        assert_eq!(taken, 1 + MIN_RECORDS / 2);
        assert_eq!(offer(&inbox, 1, EventKind::Text("quiet"), true), Offer::Taken);
        assert_eq!(offer(&inbox, 1, EventKind::Text("again"), true), Offer::Full);
        assert_eq!(offer(&inbox, 0, EventKind::Text("flood"), true), Offer::Full);
        let mut slab = Slab::default();
        assert!(inbox.swap(&mut slab, MIN_RECORDS), "who was refused is told of room");
        assert_eq!(slab.records[1].id, id(1));
        assert_eq!(text(&inbox, 0, "a new period"), Offer::Taken);
    }

    #[test]
    fn a_second_connect_changes_nothing_about_the_order_of_a_sockets_messages() {
        let inbox = inbox(MIN_RECORDS);
        press(&inbox);
        let request = Request::default();
        let again = EventKind::Connect { request: &request, resumed: true };
        assert_eq!(text(&inbox, 0, "0"), Offer::Taken);
        assert_eq!(text(&inbox, 0, "1"), Offer::Taken);
        assert_eq!(offer(&inbox, 0, again, false), Offer::Taken);
        assert_eq!(text(&inbox, 0, "2"), Offer::Taken);
        let mut slab = Slab::default();
        inbox.swap(&mut slab, MIN_RECORDS);
        let told: Vec<_> = slab.records.iter().map(|record| slab.event(record)).collect();
        assert!(matches!(
            &told[..],
            [
                Some(Pending::Text(_)),
                Some(Pending::Text(one)),
                Some(Pending::Connect { resumed: true, .. }),
                Some(Pending::Text(two)),
            ] if &**one == "1" && &**two == "2"
        ));
    }

    #[test]
    fn first_messages_are_bounded_too() {
        let inbox = inbox(MIN_RECORDS);
        let request = Request::default();
        let connect = EventKind::Connect { request: &request, resumed: false };
        for slot in 10..10 + MIN_RECORDS as u32 + 1 {
            offer(&inbox, slot, connect, false);
        }
        inbox.swap(&mut Slab::default(), MIN_RECORDS);
        for slot in 0..MIN_RECORDS as u32 {
            assert_eq!(text(&inbox, slot, "first"), Offer::Taken);
        }
        assert_eq!(text(&inbox, MIN_RECORDS as u32, "one more"), Offer::Full);
    }

    #[test]
    fn an_empty_inbox_takes_a_message_of_any_size() {
        let inbox = inbox(MIN_RECORDS);
        let large = "x".repeat(2 * SLAB_BYTES);
        assert_eq!(text(&inbox, 0, &large), Offer::Taken);
        assert_eq!(text(&inbox, 1, "beside it"), Offer::Full);
    }

    #[test]
    fn events_of_a_socket_that_this_hook_has_not_met_are_gone() {
        let inbox = inbox(MIN_RECORDS);
        assert_eq!(text(&inbox, 50, "unknown"), Offer::Gone);
        inbox.set_hooked(false);
        inbox.set_hooked(true);
        assert_eq!(text(&inbox, 0, "of the hook before"), Offer::Gone);
    }
}
