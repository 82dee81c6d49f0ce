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

use super::{
    Decoder, Received,
    tests::{MAX, masked},
};

/// xorshift64: the same streams in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.below(256) as u8).collect()
    }

    /// Mostly UTF-8, cut anywhere, and now and then broken.
    fn text(&mut self) -> Vec<u8> {
        let mut text = String::new();
        for _ in 0..self.below(40) {
            text.push(['a', '\0', 'é', 'я', '€', '\u{ffff}', '😀', '\u{10ffff}'][self.below(8)]);
        }
        let mut bytes = text.into_bytes();
        if self.below(6) == 0 && !bytes.is_empty() {
            let at = self.below(bytes.len());
            bytes[at] = self.below(256) as u8;
        }
        bytes
    }

    /// A few frames: messages whole and in pieces, control frames in between, and now and then a fault.
    fn stream(&mut self) -> Vec<u8> {
        let mut stream = Vec::new();
        for _ in 0..=self.below(6) {
            match self.below(10) {
                0..=3 => {
                    let text = self.text();
                    self.pieces(&mut stream, 1, &text);
                }
                4..=6 => {
                    let most = [20, 130, MAX.payload + 20][self.below(3)];
                    let bytes = self.bytes(most);
                    self.pieces(&mut stream, 2, &bytes);
                }
                7 => self.control(&mut stream),
                8 => {
                    let first = self.below(256) as u8;
                    let payload = self.bytes(130);
                    stream.extend(masked(first, &payload));
                }
                _ => {
                    let code = [1000, 1001, 1005, 1011, 1016, 3000, 4999, 5000, 0][self.below(9)];
                    let mut payload = u16::to_be_bytes(code).to_vec();
                    payload.extend(self.text());
                    let len = [0, 1, 2, payload.len().min(125)][self.below(4)].min(payload.len());
                    stream.extend(masked(0x88, &payload[..len]));
                }
            }
        }
        stream
    }

    fn pieces(&mut self, stream: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
        let mut rest = payload;
        let mut opcode = opcode;
        while self.below(3) == 0 {
            let (piece, next) = rest.split_at(self.below(rest.len() + 1));
            stream.extend(masked(opcode, piece));
            (rest, opcode) = (next, 0);
            if self.below(3) == 0 {
                self.control(stream);
            }
        }
        stream.extend(masked(0x80 | opcode, rest));
    }

    fn control(&mut self, stream: &mut Vec<u8>) {
        let first = [0x89, 0x8a][self.below(2)];
        let payload = self.bytes(126);
        stream.extend(masked(first, &payload));
    }
}

/// What a stream came to, in one form for both.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<(u16, String)>),
    Fault(u16),
    End,
}

fn ours(stream: &[u8], random: &mut Random) -> Vec<Seen> {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let (piece, next) = rest.split_at(1 + random.below(rest.len()));
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
                    Seen::Close(close.map(|(code, reason)| (code, reason.to_owned())))
                }
            }));
            if let Some(Seen::Close(_)) = seen.last() {
                return seen;
            }
        }
    }
    seen.push(Seen::End);
    seen
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

fn theirs(stream: &[u8]) -> Vec<Seen> {
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
            Ok(Message::Close(Some(frame))) if frame.reason == "Protocol violation" => {
                Seen::Fault(1002)
            }
            Ok(Message::Close(close)) => Seen::Close(
                close.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned())),
            ),
            Ok(Message::Frame(_)) => continue,
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Seen::End,
            Err(Error::Protocol(_)) => Seen::Fault(1002),
            Err(Error::Utf8(_)) => Seen::Fault(1007),
            Err(Error::Capacity(_)) => Seen::Fault(1009),
            Err(error) => panic!("{error}"),
        };
        let last = matches!(next, Seen::Close(_) | Seen::Fault(_) | Seen::End);
        seen.push(next);
        if last {
            return seen;
        }
    }
}

#[test]
fn whole_streams_give_what_tungstenite_gives_wherever_they_are_cut() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut faults = 0;
    for round in 0..20_000 {
        let stream = random.stream();
        let expected = theirs(&stream);
        faults += usize::from(matches!(expected.last(), Some(Seen::Fault(_))));
        for _ in 0..3 {
            assert_eq!(ours(&stream, &mut random), expected, "round {round}: {stream:02x?}");
        }
    }
    // Streams that are all good, or all bad, would show little.
    assert!((2_000..18_000).contains(&faults), "{faults} of 20,000 streams have a fault");
}

#[test]
fn streams_that_end_early_give_what_tungstenite_gives_or_tell_of_a_fault_sooner() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for round in 0..20_000 {
        let mut stream = random.stream();
        stream.truncate(random.below(stream.len() + 1));
        let expected = theirs(&stream);
        let seen = ours(&stream, &mut random);
        if seen != expected {
            let (last, before) = seen.split_last().unwrap();
            let sooner = matches!(last, Seen::Fault(1002 | 1009))
                && expected.last() == Some(&Seen::End)
                && *before == expected[..expected.len() - 1];
            assert!(sooner, "round {round}: {seen:?}, not {expected:?}: {stream:02x?}");
        }
    }
}
