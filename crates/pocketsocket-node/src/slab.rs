//! Events as records with their payloads: what lies in an inbox, and is worked through by a drain.

use pocketsocket::{CloseInfo, Pending, Request, SocketId};

use crate::text::Form;

/// Payload bytes above which a slab that holds something is full.
pub const SLAB_BYTES: usize = 1 << 20;

/// Numbers of a record that JavaScript gets.
pub const FIELDS: usize = 4;

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

impl Record {
    pub fn new(id: SocketId, kind: u8) -> Self {
        Self { id, kind, payload: Payload::Bytes, flag: false, code: 0, start: 0, len: 0 }
    }

    /// What JavaScript gets beside the text: slot, generation, kind with flag, length or close code.
    pub fn fields(&self) -> [u32; FIELDS] {
        let last = match self.kind {
            kind::CLOSE => u32::from(self.code),
            _ => self.len as u32,
        };
        let kind_and_flag = u32::from(self.kind) | u32::from(self.flag) << 8;
        [self.id.slot, self.id.generation, kind_and_flag, last]
    }
}

/// Records with their payloads.
#[derive(Debug, Default)]
pub struct Slab {
    pub records: Vec<Record>,
    /// Those that come behind all others, until [`Slab::settle`].
    pub later: Vec<Record>,
    pub bytes: Vec<u8>,
    pub wide: Vec<u16>,
}

impl Slab {
    /// Empties it, and gives back what a burst of large messages made it grow to.
    pub fn clear(&mut self) {
        self.records.clear();
        self.later.clear();
        self.bytes.clear();
        self.wide.clear();
        self.bytes.shrink_to(SLAB_BYTES);
        self.wide.shrink_to(SLAB_BYTES / 2);
    }

    pub fn size(&self) -> usize {
        self.bytes.len() + 2 * self.wide.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.later.is_empty()
    }

    /// Puts all records into their order.
    pub fn settle(&mut self) {
        self.records.append(&mut self.later);
    }

    pub fn push_text(&mut self, record: Record, form: Form<'_>, later: bool) {
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
        if later {
            self.later.push(record);
        } else {
            self.records.push(record);
        }
    }

    pub fn push_bytes(&mut self, record: Record, bytes: &[u8], later: bool) {
        self.push_text(record, Form::Latin1(bytes), later);
    }

    /// A record's payload as it lies here.
    pub fn form(&self, record: &Record) -> Form<'_> {
        let range = record.start..record.start + record.len;
        match record.payload {
            Payload::Bytes => Form::Latin1(&self.bytes[range]),
            Payload::Wide => Form::Utf16(&self.wide[range]),
        }
    }

    /// The first characters of a text record, if they are ASCII.
    pub fn ascii<const N: usize>(&self, record: &Record) -> Option<[u8; N]> {
        let end = record.start + N;
        match record.payload {
            Payload::Bytes => self.bytes.get(record.start..end)?.try_into().ok(),
            Payload::Wide => {
                let mut text = [0; N];
                for (byte, unit) in text.iter_mut().zip(self.wide.get(record.start..end)?) {
                    *byte = u8::try_from(*unit).ok()?;
                }
                Some(text)
            }
        }
    }

    /// The payload of a text record, as a String again.
    fn text(&self, record: &Record) -> String {
        match self.form(record) {
            Form::Latin1(bytes) => bytes.iter().map(|&byte| byte as char).collect(),
            Form::Utf16(units) => String::from_utf16_lossy(units),
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

/// A request in one text. A line each: uuid, url, address, protocol, and how many UTF-16 units the application's data has; then
/// that data, the only part that may contain line ends; then names and values of the headers in turn, each behind a line end.
pub fn request_to_text(request: &Request, uuid: &str) -> String {
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
    text.push('\n');
    let data = if request.data.is_ascii() {
        request.data.len()
    } else {
        request.data.encode_utf16().count()
    };
    text.push_str(&data.to_string());
    text.push('\n');
    text.push_str(&request.data);
    for (name, value) in &request.headers {
        for part in [name, value] {
            text.push('\n');
            text.push_str(part);
        }
    }
    text
}

fn request_from_text(text: &str) -> Request {
    let mut rest = text;
    let mut next = || {
        let (part, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        part.to_owned()
    };
    let [_uuid, url, address, protocol, units] = std::array::from_fn(|_| next());
    let mut units: usize = units.parse().unwrap_or(0);
    let end = rest.char_indices().find_map(|(at, char)| {
        let ends = units == 0;
        units = units.saturating_sub(char.len_utf16());
        ends.then_some(at)
    });
    let (data, lines) = rest.split_at(end.unwrap_or(rest.len()));
    let mut lines = lines.split('\n').skip(1).map(str::to_owned);
    let mut headers = Vec::new();
    while let (Some(name), Some(value)) = (lines.next(), lines.next()) {
        headers.push((name, value));
    }
    let remote_address = address.parse().ok();
    Request { url, headers, remote_address, protocol, data: data.to_owned() }
}

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
            data: "a\n\nb 😀 é".into(),
        };
        assert_eq!(request_from_text(&request_to_text(&request, "uuid")), request);
        let bare = Request { headers: Vec::new(), ..request };
        assert_eq!(request_from_text(&request_to_text(&bare, "uuid")), bare);
        let none = Request::default();
        assert_eq!(request_from_text(&request_to_text(&none, "uuid")), none);
    }
}
