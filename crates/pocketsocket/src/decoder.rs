//! From bytes to messages, wherever the bytes were cut on their way.
//!
//! A frame that came in one piece is unmasked where it lies and lent out: no copy, no allocation. Only a frame that is
//! still on its way, or a message of several frames, has memory of its own, and gives it back when it is whole.

use crate::frame::{self, Fault, Header, MAX_HEADER, opcode, unmask};

/// What a fragment costs beside its bytes, against twice the largest payload: empty fragments are bounded too.
const FRAGMENT_BYTES: usize = 16;

/// What a client's message may be at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageLimits {
    /// Bytes of its payload.
    pub(crate) payload: usize,
    /// Frames that it comes in.
    pub(crate) fragments: usize,
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    Pong,
    Close(Option<(u16, &'a str)>),
}

/// The part of a stream that has been seen and not been given out.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// A frame of which only a part has come.
    frame: Option<Box<PartialFrame>>,
    /// A message of which some frames have come.
    message: Option<Box<PartialMessage>>,
    /// What was lent out last, when it did not lie in the input.
    lent: Vec<u8>,
}

#[derive(Debug)]
enum PartialFrame {
    Header {
        bytes: [u8; MAX_HEADER],
        len: usize,
    },
    /// Unmasked as it comes; grows with what has come, not with what was announced.
    Payload {
        header: Header,
        bytes: Vec<u8>,
    },
}

#[derive(Debug)]
struct PartialMessage {
    text: bool,
    bytes: Vec<u8>,
    /// How much of a text is known to be UTF-8: all but at most three bytes of a character that is cut.
    valid: usize,
    fragments: usize,
}

impl Decoder {
    /// Whether nothing is under way: then the decoder holds no memory.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.frame.is_none() && self.message.is_none() && self.lent.is_empty()
    }

    /// Takes bytes from the start of `input`: how many, and what they completed, if anything. All of it is taken unless
    /// something was completed.
    pub(crate) fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: MessageLimits,
    ) -> Result<(usize, Option<Received<'a>>), Fault> {
        self.lent = Vec::new();
        let mut at = 0;
        loop {
            let Some((header, end)) = self.advance(input, at, limits.payload)? else {
                return Ok((input.len(), None));
            };
            at = end;
            // A whole frame: its payload is in `lent`, or the last bytes that were taken.
            if header.opcode > opcode::BINARY || (header.fin && self.message.is_none()) {
                let payload = if self.lent.is_empty() {
                    &input[end - header.len..end]
                } else {
                    &self.lent[..]
                };
                return Ok((end, Some(whole(header, payload)?)));
            }
            let payload =
                if self.lent.is_empty() { &input[end - header.len..end] } else { &self.lent[..] };
            let complete = append(&mut self.message, header, payload, limits)?;
            self.lent = Vec::new();
            if complete && let Some(message) = self.message.take() {
                self.lent = message.bytes;
                let received = if message.text {
                    Received::Text(utf8(&self.lent)?)
                } else {
                    Received::Binary(&self.lent)
                };
                return Ok((end, Some(received)));
            }
        }
    }

    /// Goes on to the end of the next frame, if it is there: its header, and where it ends in `input`.
    fn advance(
        &mut self,
        input: &mut [u8],
        mut at: usize,
        max_payload: usize,
    ) -> Result<Option<(Header, usize)>, Fault> {
        let header = match self.frame.as_deref_mut() {
            None => match Header::parse(&input[at..], max_payload)? {
                Some(header) => {
                    at += header.size;
                    header
                }
                None => {
                    let rest = &input[at..];
                    if !rest.is_empty() {
                        let mut bytes = [0; MAX_HEADER];
                        bytes[..rest.len()].copy_from_slice(rest);
                        self.frame =
                            Some(Box::new(PartialFrame::Header { bytes, len: rest.len() }));
                    }
                    return Ok(None);
                }
            },
            Some(PartialFrame::Header { bytes, len }) => {
                let before = *len;
                let more = (input.len() - at).min(MAX_HEADER - before);
                bytes[before..before + more].copy_from_slice(&input[at..at + more]);
                *len += more;
                let Some(header) = Header::parse(&bytes[..*len], max_payload)? else {
                    return Ok(None);
                };
                self.frame = None;
                at += header.size - before;
                header
            }
            Some(PartialFrame::Payload { header, bytes }) => {
                let missing = header.len - bytes.len();
                let here = missing.min(input.len() - at);
                let start = bytes.len();
                bytes.extend_from_slice(&input[at..at + here]);
                unmask(&mut bytes[start..], header.mask, start);
                if here < missing {
                    return Ok(None);
                }
                let header = *header;
                self.lent = std::mem::take(bytes);
                self.frame = None;
                return Ok(Some((header, at + here)));
            }
        };
        self.check_order(header)?;
        let here = header.len.min(input.len() - at);
        let payload = &mut input[at..at + here];
        unmask(payload, header.mask, 0);
        if here < header.len {
            // Room for all of it, unless most is still to come: a client may announce more than it sends.
            let mut bytes = Vec::with_capacity(header.len.min(2 * here));
            bytes.extend_from_slice(payload);
            self.frame = Some(Box::new(PartialFrame::Payload { header, bytes }));
            return Ok(None);
        }
        Ok(Some((header, at + here)))
    }

    /// Section 5.4: fragments of one message follow each other, with nothing but control frames in between.
    fn check_order(&self, header: Header) -> Result<(), Fault> {
        match (header.opcode, self.message.is_some()) {
            (opcode::CONTINUATION, false) => {
                Err(Fault::Protocol("a continuation without a message to continue"))
            }
            (opcode::TEXT | opcode::BINARY, true) => {
                Err(Fault::Protocol("a new message inside of a fragmented one"))
            }
            _ => Ok(()),
        }
    }
}

/// A frame that is a message, or a control frame.
fn whole(header: Header, payload: &[u8]) -> Result<Received<'_>, Fault> {
    Ok(match header.opcode {
        opcode::TEXT => Received::Text(utf8(payload)?),
        opcode::PING => Received::Ping(payload),
        opcode::PONG => Received::Pong,
        opcode::CLOSE => Received::Close(frame::parse_close(payload)?),
        _ => Received::Binary(payload),
    })
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| Fault::NotUtf8)
}

/// Adds a fragment; true if it is the last.
fn append(
    message: &mut Option<Box<PartialMessage>>,
    header: Header,
    payload: &[u8],
    limits: MessageLimits,
) -> Result<bool, Fault> {
    let message = message.get_or_insert_with(|| {
        let text = header.opcode == opcode::TEXT;
        Box::new(PartialMessage { text, bytes: Vec::new(), valid: 0, fragments: 0 })
    });
    message.fragments += 1;
    let len = message.bytes.len() + payload.len();
    let cost = len + message.fragments * FRAGMENT_BYTES;
    // A small limit still allows a message in a few pieces.
    let too_many =
        message.fragments > limits.fragments || cost > 2 * limits.payload + 64 * FRAGMENT_BYTES;
    if len > limits.payload || too_many {
        return Err(Fault::TooBig);
    }
    message.bytes.extend_from_slice(payload);
    if message.text {
        // A character may be cut between fragments, by nothing else than the end of one.
        match simdutf8::compat::from_utf8(&message.bytes[message.valid..]) {
            Ok(_) => message.valid = len,
            Err(error) if error.error_len().is_none() && !header.fin => {
                message.valid += error.valid_up_to();
            }
            Err(_) => return Err(Fault::NotUtf8),
        }
    }
    Ok(header.fin)
}

#[cfg(test)]
mod differential;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod oracle;

#[cfg(test)]
mod tests {
    use super::{oracle::MAX, *};

    /// A client's frame, with a mask that is not zero.
    pub(super) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x11, 0x22, 0x33, 0x44];
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..=125 => frame.push(0x80 | len as u8),
            len => {
                frame.push(0x80 | 126);
                frame.extend((len as u16).to_be_bytes());
            }
        }
        frame.extend(mask);
        let start = frame.len();
        frame.extend(payload);
        unmask(&mut frame[start..], mask, 0);
        frame
    }

    /// What a stream gives when it comes in pieces of `size` bytes.
    fn decode(stream: &[u8], size: usize) -> Vec<String> {
        let mut decoder = Decoder::default();
        let mut out = Vec::new();
        for piece in stream.chunks(size) {
            let mut piece = piece.to_vec();
            let mut at = 0;
            while at < piece.len() {
                match decoder.next(&mut piece[at..], MAX) {
                    Ok((taken, received)) => {
                        at += taken;
                        out.extend(received.map(|received| format!("{received:?}")));
                    }
                    Err(fault) => {
                        out.push(format!("{}", fault.code()));
                        return out;
                    }
                }
            }
        }
        decoder.lent = Vec::new();
        if decoder.is_empty() {
            out.push("empty".to_owned());
        }
        out
    }

    #[test]
    fn any_cut_gives_the_same_messages() {
        let mut stream = Vec::new();
        stream.extend(masked(0x81, "héllo".as_bytes()));
        stream.extend(masked(0x82, &[7; 300]));
        stream.extend(masked(0x01, "😀".as_bytes().split_at(1).0));
        stream.extend(masked(0x89, b"ping"));
        stream.extend(masked(0x00, "😀".as_bytes().split_at(1).1));
        stream.extend(masked(0x80, b"!"));
        stream.extend(masked(0x8a, b""));
        stream.extend(masked(0x82, b""));
        stream.extend(masked(0x88, b"\x03\xe8bye"));
        let expected = decode(&stream, stream.len());
        assert_eq!(expected.len(), 8);
        assert_eq!(expected[3], "Text(\"😀!\")");
        for size in 1..stream.len() {
            assert_eq!(decode(&stream, size), expected, "pieces of {size}");
        }
    }

    #[test]
    fn faults_end_the_stream_with_their_code() {
        for (frames, code) in [
            (vec![masked(0x80, b"")], "1002"),
            (vec![masked(0x01, b""), masked(0x81, b"")], "1002"),
            (vec![masked(0x81, b"\xc3\x28")], "1007"),
            (vec![masked(0x01, b"\xe2"), masked(0x80, b"\x82")], "1007"),
            (vec![masked(0x01, b"\xed\xa0")], "1007"),
            (vec![masked(0x02, &[0; 600]), masked(0x80, &[0; 401])], "1009"),
            (vec![masked(0x88, b"\x03")], "1002"),
            (vec![masked(0x88, b"\x03\xed")], "1002"),
            (vec![masked(0x88, b"\x03\xe8\xff")], "1007"),
        ] {
            let stream = frames.concat();
            for size in [1, 3, stream.len()] {
                assert_eq!(decode(&stream, size), [code], "{frames:?}");
            }
        }
        let empties = [masked(0x01, b""), masked(0x00, b"").repeat(1000)].concat();
        assert_eq!(decode(&empties, 64), ["1009"]);
    }

    #[test]
    fn empty_fragments_are_taken_up_to_their_cost_and_not_one_more() {
        // 16 bytes each, against twice the largest payload and 64 fragments.
        let most = (2 * MAX.payload + 64 * 16) / 16;
        let stream = |fragments: usize| {
            let between = masked(0x00, b"").repeat(fragments - 2);
            [masked(0x01, b""), between, masked(0x80, b"")].concat()
        };
        assert_eq!(decode(&stream(most), 100), ["Text(\"\")", "empty"]);
        assert_eq!(decode(&stream(most + 1), 100), ["1009"]);
    }
}
