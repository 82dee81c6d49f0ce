//! What waits for one JavaScript thread: records and their payloads, in the order in which they were taken.
//!
//! Shards fill one slab while the thread works through the other, so a record costs a short lock and a copy, and no
//! allocation. Messages are bounded to what the hook handles in about 1 ms, as measured; Connect and Close have room of
//! their own, since there can be only one of each a socket.

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
    /// Records of messages that may wait.
    limit: usize,
    errors: usize,
    /// A shard was refused: it is told when there is room.
    refused: bool,
    /// By slot, one more than the generation of the socket whose Connect was taken for the hook that is there now. What
    /// else comes is of a socket that an earlier hook had, and whose shard has not given it a new lane yet.
    known: Vec<u32>,
}

impl State {
    fn knows(&self, id: SocketId) -> bool {
        self.known.get(id.slot as usize).is_some_and(|&known| known == id.generation + 1)
    }

    fn meet(&mut self, id: SocketId) {
        let slot = id.slot as usize;
        if self.known.len() <= slot {
            self.known.resize(slot + 1, 0);
        }
        self.known[slot] = id.generation + 1;
    }
}

impl Inbox {
    pub const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                owned: false,
                hooked: false,
                slab: Slab { records: Vec::new(), bytes: Vec::new(), wide: Vec::new() },
                limit: MIN_RECORDS,
                errors: 0,
                refused: false,
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
        std::mem::take(&mut state.slab)
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
        if hooked { Slab::default() } else { std::mem::take(&mut state.slab) }
    }

    /// Takes an event of a socket.
    pub fn offer(&self, event: &Event<'_>) -> Offer {
        let record = |kind| Record::new(event.id, kind);
        match event.kind {
            EventKind::Text(text) => with_form(text, |form| {
                let size = match form {
                    Form::Latin1(bytes) => bytes.len(),
                    Form::Utf16(units) => 2 * units.len(),
                };
                self.push(event, size, true, |slab| slab.push_text(record(kind::TEXT), form))
            }),
            EventKind::Binary(bytes) => self.push(event, bytes.len(), true, |slab| {
                slab.push_bytes(record(kind::BINARY), bytes);
            }),
            EventKind::Connect { request, resumed } => {
                let text = request_to_text(request, &event.uuid.to_string());
                let record = Record { flag: resumed, ..record(kind::CONNECT) };
                with_form(&text, |form| {
                    self.push(event, 0, false, |slab| slab.push_text(record, form))
                })
            }
            EventKind::Close(info) => {
                let record =
                    Record { flag: info.was_clean, code: info.code, ..record(kind::CLOSE) };
                let offer = with_form(&info.reason, |form| {
                    self.push(event, 0, false, |slab| slab.push_text(record, form))
                });
                // The slot is released once JavaScript was told.
                if offer == Offer::Taken { Offer::Kept } else { offer }
            }
            EventKind::Drain => {
                self.push(event, 0, false, |slab| slab.push_bytes(record(kind::DRAIN), &[]))
            }
        }
    }

    fn push(
        &self,
        event: &Event<'_>,
        size: usize,
        bounded: bool,
        append: impl FnOnce(&mut Slab),
    ) -> Offer {
        {
            let mut state = self.state();
            let is_connect = matches!(event.kind, EventKind::Connect { .. });
            if !state.hooked || !(is_connect || state.knows(event.id)) {
                return Offer::Gone;
            }
            let full = bounded
                && !state.slab.records.is_empty()
                && (state.slab.records.len() >= state.limit
                    || state.slab.size() + size > SLAB_BYTES);
            if full {
                state.refused = true;
                return Offer::Full;
            }
            if is_connect {
                state.meet(event.id);
            }
            append(&mut state.slab);
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
            with_form(&text, |form| state.slab.push_text(internal(kind::ERROR), form));
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
            state.slab.push_bytes(internal(kind), &[]);
        }
        self.ring();
        true
    }

    /// Wakes the thread for what was taken, unless somebody has, or it has found it by itself.
    pub fn ring(&self) {
        self.bell.ring(|| self.is_empty(), Doorbell::ring);
    }

    fn is_empty(&self) -> bool {
        self.state().slab.records.is_empty()
    }

    /// Exchanges the filled slab for an empty one, and sets how many messages may wait. Gives whether shards were refused.
    pub fn swap(&self, empty: &mut Slab, limit: usize) -> bool {
        let mut state = self.state();
        std::mem::swap(&mut state.slab, empty);
        state.errors = 0;
        state.limit = limit.clamp(MIN_RECORDS, MAX_RECORDS);
        std::mem::take(&mut state.refused)
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
