//! tungstenite as the oracle: the same bytes, cut anywhere, give the same messages and the same close codes.
//!
//! Where the decoder is stricter, on purpose:
//! - a length that is not in its shortest form, or has its top bit set, is 1002; tungstenite takes the first and answers 1009
//!   to the second;
//! - a close code that may not be sent is a fault; tungstenite gives out a Close of 1002 in its place;
//! - faults of a header are told when the header is there, not when its payload is: a stream that ends inside of such a
//!   frame has ended for tungstenite, and is at fault here;
//! - a message has at most 16,384 fragments, and fragments have a cost beside their bytes.

use std::io::{self, Read, Write};

use tokio_tungstenite::tungstenite::{
    Error, Message,
    error::ProtocolError,
    protocol::{Role, WebSocket, WebSocketConfig},
};

use super::{Decoder, MessageLimits, Received};

/// Small, so that streams meet it.
pub(crate) const MAX: MessageLimits = MessageLimits { payload: 1000, fragments: 16_384 };

/// What a stream came to, in one form for both.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<(u16, String)>),
    Fault(u16),
    End,
}

/// The decoder's view; `below` says where to cut: a number below the one that it is given.
pub(crate) fn ours(stream: &[u8], mut below: impl FnMut(usize) -> usize) -> Vec<Seen> {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let (piece, next) = rest.split_at(1 + below(rest.len()));
        rest = next;
        let mut piece = piece.to_vec();
        let mut at = 0;
        while at < piece.len() {
            let (taken, received) = match decoder.next(&mut piece[at..], MAX) {
                Ok(next) => next,
                Err(fault) => {
                    seen.push(Seen::Fault(fault.code()));
                    return seen;
                }
            };
            at += taken;
            seen.extend(received.map(|received| match received {
                Received::Text(text) => Seen::Text(text.to_owned()),
                Received::Binary(bytes) => Seen::Binary(bytes.to_vec()),
                Received::Ping(bytes) => Seen::Ping(bytes.to_vec()),
                Received::Pong => Seen::Pong,
                Received::Close(close) => {
                    closed(close.map(|(code, reason)| (code, reason.to_owned())))
                }
            }));
            if let Some(Seen::Close(_) | Seen::Fault(_)) = seen.last() {
                return seen;
            }
        }
    }
    seen.push(Seen::End);
    seen
}

/// A Close, or the one that tungstenite gives out in place of a code that may not be sent. A client may send the very same, which
/// is then taken for it on both sides.
fn closed(close: Option<(u16, String)>) -> Seen {
    match close {
        Some((1002, reason)) if reason == "Protocol violation" => Seen::Fault(1002),
        close => Seen::Close(close),
    }
}

/// Bytes to read, and nowhere to write.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// tungstenite's view.
pub(crate) fn theirs(stream: &[u8]) -> Vec<Seen> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX.payload))
        .max_frame_size(Some(MAX.payload));
    let mut socket = WebSocket::from_raw_socket(Wire(stream), Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        let next = match socket.read() {
            Ok(Message::Text(text)) => Seen::Text(text.as_str().to_owned()),
            Ok(Message::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
            Ok(Message::Ping(bytes)) => Seen::Ping(bytes.to_vec()),
            Ok(Message::Pong(_)) => Seen::Pong,
            Ok(Message::Close(close)) => {
                closed(close.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned())))
            }
            Ok(Message::Frame(_)) => continue,
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Seen::End,
            Err(Error::Protocol(_)) => Seen::Fault(1002),
            Err(Error::Utf8(_)) => Seen::Fault(1007),
            Err(Error::Capacity(_)) => Seen::Fault(1009),
            // Nothing is written, so nothing else can fail.
            Err(_) => Seen::End,
        };
        let last = matches!(next, Seen::Close(_) | Seen::Fault(_) | Seen::End);
        seen.push(next);
        if last {
            return seen;
        }
    }
}

/// Whether the two views are the same but for what is listed above.
#[cfg(test)]
pub(crate) fn agree(ours: &[Seen], theirs: &[Seen]) -> bool {
    let Some((last, before)) = ours.split_last() else { return theirs.is_empty() };
    let sooner = matches!(last, Seen::Fault(1002 | 1009))
        && theirs.last() == Some(&Seen::End)
        && *before == theirs[..theirs.len() - 1];
    ours == theirs || sooner
}
