//! What waits for one JavaScript thread: records and their payloads, in the order in which they were taken.
//!
//! Shards fill one slab while the thread works through the other, so a record costs a short lock and a copy, and no
//! allocation. Messages are bounded to what the hook handles in about 5 ms, as measured; Connect and Close have room of
//! their own, since there can be only one of each a socket.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use pocketsocket::{CloseInfo, Error, Event, EventKind, Lane, Offer, Pending, Request, SocketId};

use crate::{
    js::Doorbell,
    text::{Form, with_form},
};

/// Messages that are always taken, however slow the hook.
pub const MIN_RECORDS: usize = 64;
/// Messages that are never passed, however fast the hook.
pub const MAX_RECORDS: usize = 16 * 1024;
/// Payload bytes above which a slab that holds something is full.
const SLAB_BYTES: usize = 1 << 20;
/// Errors that may wait beside: more of them tell nothing new.
const MAX_ERRORS: usize = 64;

/// Kinds of record, as JavaScript knows them: the event types, then two of our own.
pub mod kind {
    pub const CONNECT: u8 = 0;
    pub const TEXT: u8 = 1;
    pub const BINARY: u8 = 2;
    pub const CLOSE: u8 = 3;
    pub const ERROR: u8 = 4;
    pub const DRAIN: u8 = 5;
    /// The server's threads have ended; this was its last event here.
    pub const STOPPED: u8 = 6;
    /// Every thread has handled its last event.
    pub const FINISHED: u8 = 7;
}

/// Where a record's payload lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// In the slab's bytes, as Latin-1 text or as binary.
    Bytes,
    /// In the slab's UTF-16 units.
    Wide,
}

/// One event.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    pub id: SocketId,
    pub kind: u8,
    pub payload: Payload,
    /// Close: whether it was clean. Connect: whether the socket is resumed.
    pub flag: bool,
    /// Close: the code.
    pub code: u16,
    pub start: usize,
    pub len: usize,
}

/// Records with their payloads.
#[derive(Debug, Default)]
pub struct Slab {
    pub records: Vec<Record>,
    pub bytes: Vec<u8>,
    pub wide: Vec<u16>,
}

impl Slab {
    /// Empties it, and gives back what a burst of large messages made it grow to.
    pub fn clear(&mut self) {
        self.records.clear();
        self.bytes.clear();
        self.wide.clear();
        self.bytes.shrink_to(SLAB_BYTES);
        self.wide.shrink_to(SLAB_BYTES / 2);
    }

    fn size(&self) -> usize {
        self.bytes.len() + 2 * self.wide.len()
    }

    fn push_text(&mut self, record: Record, form: Form<'_>) {
        let record = match form {
            Form::Latin1(bytes) => {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(bytes);
                Record { payload: Payload::Bytes, start, len: bytes.len(), ..record }
            }
            Form::Utf16(units) => {
                let start = self.wide.len();
                self.wide.extend_from_slice(units);
                Record { payload: Payload::Wide, start, len: units.len(), ..record }
            }
        };
        self.records.push(record);
    }

    fn push_bytes(&mut self, record: Record, bytes: &[u8]) {
        self.push_text(record, Form::Latin1(bytes));
    }

    /// The payload of a text record, as a String again.
    fn text(&self, record: &Record) -> String {
        match record.payload {
            Payload::Bytes => self.bytes[record.start..record.start + record.len]
                .iter()
                .map(|&byte| byte as char)
                .collect(),
            Payload::Wide => {
                String::from_utf16_lossy(&self.wide[record.start..record.start + record.len])
            }
        }
    }

    /// Kinds of the records from `first` on that are for the thread itself, not of a socket.
    pub fn own_records(&self, first: usize) -> Vec<u8> {
        let records = self.records.iter().skip(first).map(|record| record.kind);
        records.filter(|kind| matches!(*kind, kind::STOPPED | kind::FINISHED)).collect()
    }

    /// A record as an event again: for a thread that ends before its hook began it.
    pub fn event(&self, record: &Record) -> Option<Pending> {
        Some(match record.kind {
            kind::CONNECT => Pending::Connect {
                request: Box::new(request_from_text(&self.text(record))),
                resumed: record.flag,
            },
            kind::TEXT => Pending::Text(self.text(record).into()),
            kind::BINARY => {
                let bytes = &self.bytes[record.start..record.start + record.len];
                Pending::Binary(bytes.to_vec().into())
            }
            kind::CLOSE => Pending::Close(Box::new(CloseInfo {
                code: record.code,
                reason: self.text(record),
                was_clean: record.flag,
            })),
            kind::DRAIN => Pending::Drain,
            _ => return None,
        })
    }
}

/// A request in one text, its parts separated by line ends, which no part can contain: url, address, protocol, then names
/// and values in turn.
fn request_to_text(request: &Request, uuid: &str) -> String {
    let mut text = String::with_capacity(256);
    text.push_str(uuid);
    text.push('\n');
    text.push_str(&request.url);
    text.push('\n');
    if let Some(address) = request.remote_address {
        text.push_str(&address.to_string());
    }
    text.push('\n');
    text.push_str(&request.protocol);
    for (name, value) in &request.headers {
        for part in [name, value] {
            text.push('\n');
            text.push_str(part);
        }
    }
    text
}

fn request_from_text(text: &str) -> Request {
    let mut parts = text.split('\n').skip(1).map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    let (url, address, protocol) = (next(), next(), next());
    let mut headers = Vec::new();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        headers.push((name, value));
    }
    Request { url, headers, remote_address: address.parse().ok(), protocol }
}

/// The inbox of one JavaScript thread. They live in a table of the process, so that a shard reaches one by its lane.
pub struct Inbox {
    state: Mutex<State>,
    doorbell: Mutex<Option<Doorbell>>,
    /// Whether the door-bell was rung and the thread has not yet found the inbox empty.
    rung: AtomicBool,
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
            doorbell: Mutex::new(None),
            rung: AtomicBool::new(false),
            sockets: AtomicUsize::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the inbox for a thread; false if another has it.
    pub fn claim(&self, doorbell: Doorbell) -> bool {
        let mut state = self.state();
        if std::mem::replace(&mut state.owned, true) {
            return false;
        }
        state.limit = MIN_RECORDS;
        self.rung.store(false, Ordering::SeqCst);
        *self.doorbell.lock().unwrap_or_else(PoisonError::into_inner) = Some(doorbell);
        true
    }

    /// The thread ends: no ring after this, and nothing is taken. Gives what had not been swapped out.
    pub fn abandon(&self) -> Slab {
        // Waits for a ring that is under way: after this the door-bell may be destroyed.
        *self.doorbell.lock().unwrap_or_else(PoisonError::into_inner) = None;
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
        let record = |kind| Record {
            id: event.id,
            kind,
            payload: Payload::Bytes,
            flag: false,
            code: 0,
            start: 0,
            len: 0,
        };
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
        if self.rung.load(Ordering::SeqCst) || self.state().slab.records.is_empty() {
            return;
        }
        if self.rung.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(doorbell) = &*self.doorbell.lock().unwrap_or_else(PoisonError::into_inner) {
            doorbell.ring();
        }
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
        self.rung.store(false, Ordering::SeqCst);
        let empty = self.state().slab.records.is_empty();
        empty || self.rung.swap(true, Ordering::SeqCst)
    }
}

fn internal(kind: u8) -> Record {
    Record {
        id: SocketId { slot: u32::MAX, generation: 0 },
        kind,
        payload: Payload::Bytes,
        flag: false,
        code: 0,
        start: 0,
        len: 0,
    }
}

/// Inboxes of the process, by lane.
pub static INBOXES: [Inbox; Lane::MAX] = [const { Inbox::new() }; Lane::MAX];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_its_way_through_text() {
        let request = Request {
            url: "/a?b".into(),
            headers: vec![("host".into(), "x".into()), ("cookie".into(), String::new())],
            remote_address: "::1".parse().ok(),
            protocol: "chat".into(),
        };
        assert_eq!(request_from_text(&request_to_text(&request, "uuid")), request);
    }
}
