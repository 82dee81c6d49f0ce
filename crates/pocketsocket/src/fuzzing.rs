//! What `fuzz/` runs: parts that are private, held to their oracles. A panic is a finding.

use crate::{
    Config, RateLimit, Uuid,
    decoder::oracle::{Seen, ours, theirs},
    frame::unmask,
    handshake::Origin,
    model::{self, Op},
};

/// Bytes of a client, cut anywhere: whatever the decoder takes, tungstenite takes in the same way.
pub fn frames(data: &[u8]) {
    let Some((&mode, data)) = data.split_first() else { return };
    // As they are, or as frames whose headers are right: random bytes seldom get past the first.
    let stream = if mode & 1 == 0 { data.to_vec() } else { well_formed(data) };
    let whole = ours(&stream, |n| n - 1);
    let mut cut = usize::from(mode);
    let in_pieces = ours(&stream, |n| {
        cut = cut.wrapping_mul(31).wrapping_add(7);
        cut % n
    });
    assert_eq!(whole, in_pieces, "the cut shows");
    let expected = theirs(&stream);
    match whole.split_last() {
        Some((Seen::Fault(_), before)) => assert!(expected.starts_with(before), "{expected:?}"),
        _ => assert_eq!(whole, expected),
    }
}

/// First byte, length, payload, again and again, as masked frames.
fn well_formed(mut data: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let [first, len, rest @ ..] = data {
        let len = usize::from(*len).min(rest.len());
        let (payload, next) = rest.split_at(len);
        data = next;
        stream.push(*first);
        if len < 126 {
            stream.push(0x80 | len as u8);
        } else {
            stream.extend([0xfe, 0, len as u8]);
        }
        let mask = [1, 2, 3, 4];
        stream.extend(mask);
        let start = stream.len();
        stream.extend(payload);
        unmask(&mut stream[start..], mask, 0);
    }
    stream
}

/// A sequence of commands, four bytes each, against the plain model.
pub fn commands(data: &[u8]) {
    let ops: Vec<Op> = data.as_chunks().0.iter().take(400).map(|&bytes| Op::of(bytes)).collect();
    model::run(&ops);
}

/// Texts that users and clients write: what is taken has one meaning.
pub fn options(data: &[u8]) {
    if let Ok(uuid) = Uuid::parse(data) {
        assert!(uuid.encode().eq_ignore_ascii_case(data));
    }
    let Ok(text) = str::from_utf8(data) else { return };
    let numbers: Vec<usize> = text.split(' ').filter_map(|word| word.parse().ok()).collect();
    let number = |at: usize| numbers.get(at).copied().unwrap_or(1);
    let config = Config {
        max_payload: number(0),
        backpressure_limit: number(1),
        max_connections: number(2),
        threads: number(3),
        rate_limit: numbers
            .get(4)
            .map(|_| RateLimit { messages_per_second: number(4) as u32, burst: number(5) as u32 }),
        allowed_origins: text.split(' ').map(str::to_owned).collect(),
        ..Config::default()
    };
    if let Err(error) = config.validate() {
        assert!(!error.to_string().is_empty());
    }
    if let Some(origin) = Origin::parse(text) {
        assert!(!text.contains(['@', ' ', '/']) || text.contains("://"), "{origin:?}");
        assert_eq!(Origin::parse(&text.to_ascii_uppercase()), Some(origin), "case has no meaning");
    }
}

/// The accept key that tungstenite answers a handshake with, if it takes it for one.
#[must_use]
pub fn tungstenite_accept(data: &[u8]) -> Option<String> {
    use std::io::{Cursor, Read, Write};
    use tokio_tungstenite::tungstenite::accept;
    struct Wire<'a>(Cursor<&'a [u8]>, Vec<u8>);
    impl Read for Wire<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(into)
        }
    }
    impl Write for Wire<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.1.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let answer = |data: &[u8]| {
        // It wants nothing to follow the head before its answer. Where the head ends is its own to say: a line may end with
        // a bare LF (RFC 9112 section 2.2), and empty lines may come before the first.
        let mut ends = (1..=data.len())
            .filter(|&end| data[..end].ends_with(b"\n\r\n") || data[..end].ends_with(b"\n\n"));
        ends.find_map(|end| {
            let socket = accept(Wire(Cursor::new(&data[..end]), Vec::new())).ok()?;
            Some(String::from_utf8_lossy(&socket.get_ref().1).into_owned())
        })
    };
    let text = answer(data).or_else(|| answer(&with_first_fields(data)?))?;
    let start =
        text.to_ascii_lowercase().find("sec-websocket-accept: ")? + "sec-websocket-accept: ".len();
    Some(text[start..].split('\r').next()?.to_owned())
}

/// Where our answer differs on purpose: Connection and Upgrade are lists, and fields that come several times are one list
/// (RFC 9110 section 5.3), of which tungstenite sees the first field alone. Whoever asks for the upgrade in any of them gets it
/// asked for in the first.
fn with_first_fields(data: &[u8]) -> Option<Vec<u8>> {
    let asks = |field: &str, token: &str| {
        data.split(|&byte| byte == b'\n').any(|line| {
            let line = String::from_utf8_lossy(line).to_ascii_lowercase();
            line.split_once(':').is_some_and(|(name, value)| name == field && value.contains(token))
        })
    };
    if !asks("connection", "upgrade") || !asks("upgrade", "websocket") {
        return None;
    }
    let start = data.iter().position(|byte| !b"\r\n".contains(byte))?;
    let end = start + data[start..].iter().position(|&byte| byte == b'\n')? + 1;
    let (line, rest) = data.split_at(end);
    Some([line, b"Connection: Upgrade\r\nUpgrade: websocket\r\n", rest].concat())
}
