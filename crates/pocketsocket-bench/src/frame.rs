//! Frames as the loads need them: the same message again and again, encoded once, and compared instead of decoded.
//!
//! A server answers each message with one frame whose every byte is known (RFC 6455 section 5.2 leaves an unmasked,
//! unfragmented frame one encoding). So its stream is that frame repeated, with control frames in between.

use crate::Failure;

/// Opcodes of RFC 6455 section 11.8.
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Bytes of messages that one write may take.
const WRITE_BYTES: usize = 64 * 1024;

/// The message of a load, as it goes out and as it has to come back.
#[derive(Debug)]
pub(crate) struct Message {
    /// Client frames, one after the other: as many as one write may take, at least one.
    pub(crate) out: Vec<u8>,
    /// The length of one of them.
    pub(crate) out_len: usize,
    /// The server's frame.
    pub(crate) back: Vec<u8>,
}

impl Message {
    /// A message of `size` bytes, ASCII that does not repeat soon, so that a shifted stream is seen.
    pub(crate) fn new(size: usize, binary: bool) -> Self {
        let payload: Vec<u8> = (0..size).map(|i| b' ' + (i % 89) as u8).collect();
        Self::of(if binary { BINARY } else { TEXT }, &payload)
    }

    /// A text message.
    pub(crate) fn text(text: &str) -> Self {
        Self::of(TEXT, text.as_bytes())
    }

    fn of(opcode: u8, payload: &[u8]) -> Self {
        let one = client_frame(opcode, payload);
        let copies = (WRITE_BYTES / one.len()).max(1);
        let mut back = Vec::new();
        push_header(&mut back, opcode, payload.len(), 0);
        back.extend_from_slice(payload);
        Self { out: one.repeat(copies), out_len: one.len(), back }
    }
}

/// A frame with the mask of zero, which leaves the payload as it is (RFC 6455 section 5.3).
fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    push_header(&mut frame, opcode, payload.len(), 0x80);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn push_header(frame: &mut Vec<u8>, opcode: u8, len: usize, masked: u8) {
    frame.push(0x80 | opcode);
    match len {
        0..=125 => frame.push(masked | len as u8),
        126..=0xffff => {
            frame.push(masked | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            frame.push(masked | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// A ping without a payload, and the pong that answers it.
pub(crate) const EMPTY_PING: [u8; 6] = [0x80 | PING, 0x80, 0, 0, 0, 0];
pub(crate) const EMPTY_PONG: [u8; 2] = [0x80 | PONG, 0];

/// Where one socket stands in the server's stream.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Bytes of the message's frame that came.
    position: usize,
    /// The control frame that has begun.
    control: Vec<u8>,
}

impl Reader {
    /// Takes what came; gives how many messages are now complete. The answers to pings are appended to `pongs`.
    ///
    /// # Errors
    /// It differs from what has to come.
    #[inline]
    pub(crate) fn read(
        &mut self,
        mut bytes: &[u8],
        frame: &[u8],
        pongs: &mut Vec<u8>,
    ) -> Result<usize, Failure> {
        let mut messages = 0;
        while let Some(&first) = bytes.first() {
            if self.position == 0 && (first != frame[0] || !self.control.is_empty()) {
                bytes = self.read_control(bytes, pongs)?;
                continue;
            }
            let due = &frame[self.position..];
            let len = due.len().min(bytes.len());
            let (came, rest) = bytes.split_at(len);
            if came != &due[..len] {
                return Err("a message came back changed, or with another size".into());
            }
            bytes = rest;
            self.position += len;
            if self.position == frame.len() {
                self.position = 0;
                messages += 1;
            }
        }
        Ok(messages)
    }

    #[cold]
    fn read_control<'a>(
        &mut self,
        bytes: &'a [u8],
        pongs: &mut Vec<u8>,
    ) -> Result<&'a [u8], Failure> {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            self.control.push(byte);
            let &[first, len, ref payload @ ..] = self.control.as_slice() else { continue };
            let opcode = first & 0x0f;
            if first & 0xf0 != 0x80 || !matches!(opcode, CLOSE | PING | PONG) || len > 125 {
                return Err(format!("a frame came that has no place here: {first:02x}").into());
            }
            if payload.len() < usize::from(len) {
                continue;
            }
            match opcode {
                CLOSE => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    return Err(format!("the server closed a socket, with code {code}").into());
                }
                PING => pongs.extend_from_slice(&client_frame(PONG, payload)),
                _ => {}
            }
            self.control.clear();
            break;
        }
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(reader: &mut Reader, bytes: &[u8], frame: &[u8]) -> Result<usize, String> {
        reader.read(bytes, frame, &mut Vec::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn frames_have_the_headers_of_rfc_6455() {
        assert_eq!(Message::new(2, false).back, [0x81, 2, b' ', b'!']);
        assert_eq!(Message::new(126, true).back[..4], [0x82, 126, 0, 126]);
        assert_eq!(Message::new(65_536, true).back[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        let message = Message::new(2, false);
        assert_eq!(message.out[..message.out_len], [0x81, 0x82, 0, 0, 0, 0, b' ', b'!']);
        assert!(
            message.out.len() <= WRITE_BYTES && message.out.len().is_multiple_of(message.out_len)
        );
    }

    #[test]
    fn messages_are_counted_however_the_stream_is_cut() {
        let message = Message::new(300, false);
        let stream = message.back.repeat(5);
        for cut in 1..700 {
            let mut reader = Reader::default();
            let came: usize = stream
                .chunks(cut)
                .map(|part| messages(&mut reader, part, &message.back).unwrap())
                .sum();
            assert_eq!(came, 5);
        }
    }

    #[test]
    fn a_ping_between_messages_is_answered() {
        let message = Message::new(3, false);
        let mut stream = message.back.clone();
        stream.extend_from_slice(&[0x89, 2, b'h', b'i']);
        stream.extend_from_slice(&message.back);
        let (mut reader, mut pongs, mut came) = (Reader::default(), Vec::new(), 0);
        for byte in stream {
            came += reader.read(&[byte], &message.back, &mut pongs).unwrap();
        }
        assert_eq!((came, pongs), (2, vec![0x8a, 0x82, 0, 0, 0, 0, b'h', b'i']));
    }

    #[test]
    fn what_differs_is_an_error() {
        let message = Message::new(3, false);
        let mut changed = message.back.clone();
        changed[4] ^= 1;
        for wrong in [&changed[..], &[0x81, 2, b' ', b'!'], &[0x82, 3], &[0x01, 3], &[0x88, 0]] {
            assert!(messages(&mut Reader::default(), wrong, &message.back).is_err(), "{wrong:?}");
        }
        let closed = messages(&mut Reader::default(), &[0x88, 2, 3, 233], &message.back);
        assert_eq!(closed, Err("the server closed a socket, with code 1001".to_owned()));
    }
}
