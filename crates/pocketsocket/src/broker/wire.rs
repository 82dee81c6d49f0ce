//! What nodes tell each other, as it lies in a broker's message.
//!
//! Version 1. Numbers are big-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version |
//! | 1 | what it is: [`ALL`] and so on |
//! | 6 | the node that sent it |
//! | 8 | its number: counts the messages of that node |
//! | 16 | uuid of the socket that is left out; 0 is none |
//! | rest | [`ALL`]: opcode, payload |
//! | | [`TOPICS`]: how many (2), each its length (2) and name; opcode, payload |
//! | | [`SOCKETS`]: how many (4), their uuids; opcode, payload |
//! | | [`CLOSE`]: uuid, code (2), reason |
//! | | [`SUBSCRIBE`], [`UNSUBSCRIBE`]: uuid, topic |
//!
//! What a broker gives is input like any other: whoever can publish there can send anything.

use crate::{MessageKind, Uuid, frame::MAX_REASON, limits::MAX_TOPIC_BYTES};

const VERSION: u8 = 1;
const ALL: u8 = 1;
const TOPICS: u8 = 2;
const SOCKETS: u8 = 3;
const CLOSE: u8 = 4;
const SUBSCRIBE: u8 = 5;
const UNSUBSCRIBE: u8 = 6;

/// One message of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// The node that sent it.
    pub(crate) node: u64,
    /// Counts the messages of that node: what went to several topics comes several times.
    pub(crate) number: u64,
    /// The socket that is left out.
    pub(crate) origin: Option<Uuid>,
    pub(crate) body: Body<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// To every socket.
    All { kind: MessageKind, data: &'a [u8] },
    /// To the sockets of one or several topics.
    Topics { topics: Vec<&'a str>, kind: MessageKind, data: &'a [u8] },
    /// To some sockets of the receiving node.
    Sockets { uuids: Vec<Uuid>, kind: MessageKind, data: &'a [u8] },
    /// Closes a socket of the receiving node.
    Close { uuid: Uuid, code: u16, reason: &'a str },
    /// Changes a topic of a socket of the receiving node.
    Topic { uuid: Uuid, topic: &'a str, subscribe: bool },
}

/// A message that is none of ours, or of another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Message<'_> {
    /// The bytes of the message.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let payload = match &self.body {
            Body::All { data, .. } | Body::Topics { data, .. } | Body::Sockets { data, .. } => {
                data.len()
            }
            Body::Close { reason, .. } => reason.len(),
            Body::Topic { topic, .. } => topic.len(),
        };
        let mut bytes = Vec::with_capacity(payload + 64);
        bytes.push(VERSION);
        bytes.push(match &self.body {
            Body::All { .. } => ALL,
            Body::Topics { .. } => TOPICS,
            Body::Sockets { .. } => SOCKETS,
            Body::Close { .. } => CLOSE,
            Body::Topic { subscribe: true, .. } => SUBSCRIBE,
            Body::Topic { subscribe: false, .. } => UNSUBSCRIBE,
        });
        bytes.extend_from_slice(&self.node.to_be_bytes()[2..]);
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.origin.map_or(0, Uuid::to_bits).to_be_bytes());
        let uuid = |bytes: &mut Vec<u8>, uuid: &Uuid| {
            bytes.extend_from_slice(&uuid.to_bits().to_be_bytes());
        };
        match &self.body {
            Body::All { kind, data } => {
                bytes.push(*kind as u8);
                bytes.extend_from_slice(data);
            }
            Body::Topics { topics, kind, data } => {
                bytes.extend_from_slice(&(topics.len() as u16).to_be_bytes());
                for topic in topics {
                    bytes.extend_from_slice(&(topic.len() as u16).to_be_bytes());
                    bytes.extend_from_slice(topic.as_bytes());
                }
                bytes.push(*kind as u8);
                bytes.extend_from_slice(data);
            }
            Body::Sockets { uuids, kind, data } => {
                bytes.extend_from_slice(&(uuids.len() as u32).to_be_bytes());
                for socket in uuids {
                    uuid(&mut bytes, socket);
                }
                bytes.push(*kind as u8);
                bytes.extend_from_slice(data);
            }
            Body::Close { uuid: socket, code, reason } => {
                uuid(&mut bytes, socket);
                bytes.extend_from_slice(&code.to_be_bytes());
                bytes.extend_from_slice(reason.as_bytes());
            }
            Body::Topic { uuid: socket, topic, .. } => {
                uuid(&mut bytes, socket);
                bytes.extend_from_slice(topic.as_bytes());
            }
        }
        bytes
    }

    /// Reads a message. What is allocated is bounded by the length of `bytes`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
        let mut rest = Rest(bytes);
        if rest.number(1)? != u64::from(VERSION) {
            return Err(Malformed);
        }
        let what = rest.number(1)? as u8;
        let node = rest.number(6)?;
        let number = rest.number(8)?;
        let origin = match rest.bits()? {
            0 => None,
            bits => Some(Uuid::from_bits(bits).map_err(|_| Malformed)?),
        };
        let body = match what {
            ALL => Body::All { kind: rest.kind()?, data: rest.0 },
            TOPICS => {
                let count = rest.number(2)?;
                let topics = (0..count).map(|_| {
                    let len = rest.number(2)? as usize;
                    topic(rest.take(len)?)
                });
                let topics = topics.collect::<Result<Vec<_>, _>>()?;
                Body::Topics { topics, kind: rest.kind()?, data: rest.0 }
            }
            SOCKETS => {
                let count = rest.number(4)?;
                let uuids = (0..count).map(|_| rest.uuid());
                let uuids = uuids.collect::<Result<Vec<_>, _>>()?;
                Body::Sockets { uuids, kind: rest.kind()?, data: rest.0 }
            }
            CLOSE => {
                let uuid = rest.uuid()?;
                let code = rest.number(2)? as u16;
                // RFC 6455 section 7.4: what an endpoint may send.
                if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
                    || rest.0.len() > MAX_REASON
                {
                    return Err(Malformed);
                }
                Body::Close { uuid, code, reason: str::from_utf8(rest.0).map_err(|_| Malformed)? }
            }
            SUBSCRIBE | UNSUBSCRIBE => Body::Topic {
                uuid: rest.uuid()?,
                topic: topic(rest.0)?,
                subscribe: what == SUBSCRIBE,
            },
            _ => return Err(Malformed),
        };
        Ok(Message { node, number, origin, body })
    }
}

fn topic(bytes: &[u8]) -> Result<&str, Malformed> {
    if !(1..=MAX_TOPIC_BYTES).contains(&bytes.len()) {
        return Err(Malformed);
    }
    str::from_utf8(bytes).map_err(|_| Malformed)
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, len: usize) -> Result<u64, Malformed> {
        Ok(self.take(len)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn bits(&mut self) -> Result<u128, Malformed> {
        Ok(u128::from(self.number(8)?) << 64 | u128::from(self.number(8)?))
    }

    fn uuid(&mut self) -> Result<Uuid, Malformed> {
        Uuid::from_bits(self.bits()?).map_err(|_| Malformed)
    }

    fn kind(&mut self) -> Result<MessageKind, Malformed> {
        MessageKind::from_opcode(self.number(1)? as u8).ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SocketId;

    fn uuid(slot: u32) -> Uuid {
        Uuid { node: 0xfedc_ba98_7654, id: SocketId { slot, generation: 7 }, random: 9 }
    }

    fn samples() -> Vec<Message<'static>> {
        let kind = MessageKind::Text;
        static LONG: [u8; MAX_TOPIC_BYTES] = [b't'; MAX_TOPIC_BYTES];
        let long = str::from_utf8(&LONG).unwrap();
        [
            Body::All { kind, data: b"" },
            Body::All { kind: MessageKind::Binary, data: &[0; 1000] },
            Body::Topics { topics: vec!["a", "\u{1f600} b.*", long], kind, data: b"hello" },
            Body::Sockets { uuids: vec![uuid(0), uuid(5)], kind: MessageKind::Ping, data: b"x" },
            Body::Sockets { uuids: vec![], kind, data: b"x" },
            Body::Close { uuid: uuid(1), code: 4000, reason: "bye" },
            Body::Topic { uuid: uuid(1), topic: "news", subscribe: true },
            Body::Topic { uuid: uuid(1), topic: "news", subscribe: false },
        ]
        .into_iter()
        .flat_map(|body| {
            let node = 0xffff_ffff_ffff;
            [
                Message { node, number: u64::MAX, origin: None, body: body.clone() },
                Message { node: 0, number: 0, origin: Some(uuid(3)), body },
            ]
        })
        .collect()
    }

    #[test]
    fn every_message_comes_back_as_it_was() {
        for message in samples() {
            assert_eq!(Message::decode(&message.encode()), Ok(message.clone()));
        }
    }

    #[test]
    fn a_message_cut_anywhere_is_malformed_or_shorter_and_never_a_panic() {
        for message in samples() {
            let bytes = message.encode();
            for end in 0..bytes.len() {
                if let Ok(shorter) = Message::decode(&bytes[..end]) {
                    // Payloads, reasons and topics end where the message does.
                    assert_ne!(shorter, message);
                }
            }
        }
    }

    #[test]
    fn a_message_with_any_byte_changed_is_read_or_refused() {
        for message in samples() {
            let bytes = message.encode();
            for at in 0..bytes.len().min(80) {
                for change in [1, 0x80, 0xff] {
                    let mut changed = bytes.clone();
                    changed[at] ^= change;
                    let _ = Message::decode(&changed);
                }
            }
        }
    }

    #[test]
    fn what_is_not_allowed_is_refused() {
        let all = Message {
            node: 1,
            number: 1,
            origin: None,
            body: Body::All { kind: MessageKind::Text, data: b"x" },
        };
        let bytes = all.encode();
        for (at, value) in [(0, 0), (0, 2), (1, 0), (1, 7), (32, 8), (32, 0)] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            assert_eq!(Message::decode(&wrong), Err(Malformed), "byte {at} is {value}");
        }
        // More sockets than there are bytes: nothing is allocated for them.
        let sockets = Body::Sockets { uuids: vec![uuid(1)], kind: MessageKind::Text, data: b"" };
        let mut many = Message { body: sockets, ..all.clone() }.encode();
        many[32..36].fill(0xff);
        assert_eq!(Message::decode(&many), Err(Malformed));
        for (code, reason) in [
            (999, "".to_owned()),
            (1005, String::new()),
            (5000, String::new()),
            (1000, "r".repeat(124)),
        ] {
            let body = Body::Close { uuid: uuid(1), code, reason: &reason };
            assert_eq!(
                Message::decode(&Message { body, ..all.clone() }.encode()),
                Err(Malformed),
                "{code}"
            );
        }
        for topic in ["", &"t".repeat(257)] {
            let body = Body::Topic { uuid: uuid(1), topic, subscribe: true };
            assert_eq!(Message::decode(&Message { body, ..all.clone() }.encode()), Err(Malformed));
        }
    }
}
