//! Frames as they lie on the wire: RFC 6455 section 5.2, and what a server may not accept of it.

use std::fmt;

use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Opcodes: RFC 6455 section 11.8.
pub(crate) mod opcode {
    pub(crate) const CONTINUATION: u8 = 0;
    pub(crate) const TEXT: u8 = 1;
    pub(crate) const BINARY: u8 = 2;
    pub(crate) const CLOSE: u8 = 8;
    pub(crate) const PING: u8 = 9;
    pub(crate) const PONG: u8 = 10;
}

/// The longest header of a frame that we send: without a mask.
pub(crate) const MAX_SENT_HEADER: usize = 10;
/// The longest header of a frame that a client sends.
pub(crate) const MAX_HEADER: usize = 14;
/// The longest payload of a control frame: section 5.5.
pub(crate) const MAX_CONTROL: usize = 125;
/// The longest reason of a Close frame: a control frame's payload less the code.
pub(crate) const MAX_REASON: usize = MAX_CONTROL - 2;

/// What a client may not do. Its connection is failed (section 7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It broke the protocol.
    Protocol(&'static str),
    /// Its message is larger than is allowed.
    TooBig,
    /// Its text is not UTF-8.
    NotUtf8,
}

impl Fault {
    /// The close code that tells of it: section 7.4.1.
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotUtf8 => 1007,
            Self::TooBig => 1009,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol(what) => what,
            Self::TooBig => "the message is larger than is allowed",
            Self::NotUtf8 => "the text is not UTF-8",
        })
    }
}

/// The header of a client's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    pub(crate) opcode: u8,
    pub(crate) mask: [u8; 4],
    /// Of the payload.
    pub(crate) len: usize,
    /// Of the header itself.
    pub(crate) size: usize,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` if they end before it does.
    ///
    /// A fault is told as soon as the bytes that make it are there: nothing is allocated, and nothing awaited, for a frame
    /// that will be refused.
    pub(crate) fn parse(bytes: &[u8], max_payload: usize) -> Result<Option<Self>, Fault> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let fin = first & 0x80 != 0;
        let opcode = first & 0x0f;
        if first & 0x70 != 0 {
            return Err(Fault::Protocol("a reserved bit is set without an extension"));
        }
        let control = match opcode {
            opcode::CONTINUATION | opcode::TEXT | opcode::BINARY => false,
            opcode::CLOSE | opcode::PING | opcode::PONG => true,
            _ => return Err(Fault::Protocol("the opcode is reserved")),
        };
        if second & 0x80 == 0 {
            return Err(Fault::Protocol("a client's frame must be masked"));
        }
        let short = usize::from(second & 0x7f);
        if control && !fin {
            return Err(Fault::Protocol("a control frame must not be fragmented"));
        }
        if control && short > MAX_CONTROL {
            return Err(Fault::Protocol("a control frame has at most 125 bytes"));
        }
        let (len, rest) = match short {
            126 => {
                let Some((len, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
                (u64::from(u16::from_be_bytes(*len)), rest)
            }
            127 => {
                let Some((len, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
                (u64::from_be_bytes(*len), rest)
            }
            _ => (short as u64, rest),
        };
        let minimal = match short {
            126 => len > 125,
            127 => len > 0xffff && len >> 63 == 0,
            _ => true,
        };
        if !minimal {
            return Err(Fault::Protocol("the payload's length is not in its shortest form"));
        }
        let len = usize::try_from(len).map_err(|_| Fault::TooBig)?;
        if len > max_payload && !control {
            return Err(Fault::TooBig);
        }
        let Some((mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        Ok(Some(Self { fin, opcode, mask: *mask, len, size: bytes.len() - rest.len() }))
    }
}

/// Takes the mask off: section 5.3. `offset` is how much of the payload came before.
pub(crate) fn unmask(bytes: &mut [u8], mut mask: [u8; 4], offset: usize) {
    mask.rotate_left(offset % 4);
    let word = u32::from_ne_bytes(mask);
    let wide = u128::from(word) * 0x0000_0001_0000_0001_0000_0001_0000_0001;
    let mut chunks = bytes.chunks_exact_mut(16);
    for chunk in &mut chunks {
        // Whole words: the compiler makes vector instructions of it.
        if let Ok(array) = <[u8; 16]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u128::from_ne_bytes(array) ^ wide).to_ne_bytes());
        }
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Writes the header of a frame of ours, whole and without a mask, so that it ends where `space` ends. Gives where it
/// starts: the payload can thus be written first, when its length is not known yet.
pub(crate) fn write_header(space: &mut [u8; MAX_SENT_HEADER], opcode: u8, len: usize) -> usize {
    let start = match len {
        0..=125 => {
            space[9] = len as u8;
            8
        }
        126..=0xffff => {
            space[7] = 126;
            space[8..].copy_from_slice(&(len as u16).to_be_bytes());
            6
        }
        _ => {
            space[1] = 127;
            space[2..].copy_from_slice(&(len as u64).to_be_bytes());
            0
        }
    };
    space[start] = 0x80 | opcode;
    start
}

/// How long the frame of ours is that `bytes` begin with, header and all.
pub(crate) fn sent_frame_len(bytes: &[u8]) -> usize {
    match *bytes {
        [_, 126, high, low, ..] => 4 + usize::from(u16::from_be_bytes([high, low])),
        [_, 127, a, b, c, d, e, f, g, h, ..] => {
            // As we encoded it, it fits.
            10 + u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize
        }
        [_, len, ..] => 2 + usize::from(len),
        _ => bytes.len().max(1),
    }
}

/// A whole frame of ours.
pub(crate) fn encode(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut space = [0; MAX_SENT_HEADER];
    let start = write_header(&mut space, opcode, payload.len());
    let mut frame = Vec::with_capacity(MAX_SENT_HEADER - start + payload.len());
    frame.extend_from_slice(&space[start..]);
    frame.extend_from_slice(payload);
    frame
}

/// A Close frame of ours: without a payload for 1005, which is never sent (section 7.4.1).
pub(crate) fn encode_close(code: u16, reason: &str) -> Vec<u8> {
    if code == 1005 {
        return encode(opcode::CLOSE, &[]);
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(cut(reason).as_bytes());
    encode(opcode::CLOSE, &payload)
}

/// A reason that fits, cut between characters.
pub(crate) fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

/// Reads the payload of a client's Close frame: sections 5.5.1 and 7.4.
pub(crate) fn parse_close(payload: &[u8]) -> Result<Option<(u16, &str)>, Fault> {
    match payload {
        [] => Ok(None),
        [_] => Err(Fault::Protocol("a Close frame has no payload, or at least two bytes")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            let reason = str::from_utf8(reason).map_err(|_| Fault::NotUtf8)?;
            if !CloseCode::from(code).is_allowed() {
                return Err(Fault::Protocol("the close code may not be sent"));
            }
            Ok(Some((code, reason)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmask_is_the_same_at_any_length_and_offset() {
        let mask = [0x12, 0x34, 0x56, 0x78];
        for len in 0..70 {
            for offset in 0..9 {
                let plain: Vec<u8> = (0..len).collect();
                let mut bytes = plain.clone();
                unmask(&mut bytes, mask, offset);
                for (at, byte) in bytes.iter().enumerate() {
                    assert_eq!(*byte, plain[at] ^ mask[(at + offset) % 4]);
                }
            }
        }
    }

    #[test]
    fn what_is_encoded_has_the_shortest_length() {
        for (len, header) in [(0, 2), (125, 2), (126, 4), (0xffff, 4), (0x10000, 10)] {
            assert_eq!(encode(opcode::BINARY, &vec![0; len]).len(), header + len);
        }
        assert_eq!(encode(opcode::TEXT, b"hi"), [0x81, 2, b'h', b'i']);
        assert_eq!(encode_close(1005, "x"), [0x88, 0]);
        assert_eq!(encode_close(1000, "é"), [0x88, 4, 0x03, 0xe8, 0xc3, 0xa9]);
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(cut(&"é".repeat(100)).len(), 122);
        assert_eq!(cut("short"), "short");
    }

    #[test]
    fn headers_that_end_early_are_awaited_and_faults_are_told_at_once() {
        let max = 1000;
        let whole = [0x82, 0xfe, 0, 200, 1, 2, 3, 4];
        for end in 0..whole.len() {
            assert_eq!(Header::parse(&whole[..end], max), Ok(None));
        }
        let header = Header::parse(&whole, max).unwrap().unwrap();
        assert_eq!((header.len, header.size, header.mask), (200, 8, [1, 2, 3, 4]));
        for (bytes, fault) in [
            (&[0xc1, 0x80][..], "reserved bit"),
            (&[0x83, 0x80], "reserved"),
            (&[0x81, 0x05], "masked"),
            (&[0x09, 0x80], "fragmented"),
            (&[0x89, 0xfe], "125"),
            (&[0x81, 0xfe, 0, 5], "shortest"),
            (&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 1, 0], "shortest"),
            (&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], "shortest"),
        ] {
            let error = Header::parse(bytes, max).unwrap_err();
            assert_eq!(error.code(), 1002);
            assert!(error.to_string().contains(fault), "{error}: {fault}");
        }
        let large = [0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0];
        assert_eq!(Header::parse(&large, max), Err(Fault::TooBig));
    }
}
