//! What `pocketsocket-bench`'s benches measure: parts that are private.

use bytes::Bytes;

use crate::{
    decoder::{Decoder, MessageLimits},
    frame,
    outgoing::{Outgoing, Pool},
};

/// A stream of masked frames with the same payload.
#[must_use]
pub fn stream(payload: &[u8], text: bool, count: usize) -> Vec<u8> {
    let opcode = if text { frame::opcode::TEXT } else { frame::opcode::BINARY };
    let mask = [1, 2, 3, 4];
    let plain = frame::encode(opcode, payload);
    let header = plain.len() - payload.len();
    let mut one = plain[..header].to_vec();
    one[1] |= 0x80;
    one.extend(mask);
    let start = one.len();
    one.extend(payload);
    frame::unmask(&mut one[start..], mask, 0);
    one.repeat(count)
}

/// Decodes a stream in place, unmasking and checking it; gives how many messages it had.
///
/// # Panics
/// If the stream is not as [`stream`] makes it.
pub fn decode(stream: &mut [u8]) -> usize {
    let mut decoder = Decoder::default();
    let limits = MessageLimits { payload: 1 << 20, fragments: 16 };
    let (mut at, mut messages) = (0, 0);
    while at < stream.len() {
        let Ok((taken, received)) = decoder.next(&mut stream[at..], limits) else { return 0 };
        at += taken;
        messages += usize::from(received.is_some());
    }
    messages
}

/// Takes a mask off.
pub fn unmask(bytes: &mut [u8]) {
    frame::unmask(bytes, [1, 2, 3, 4], 0);
}

/// A frame of the server's.
#[must_use]
pub fn encode(payload: &[u8]) -> Vec<u8> {
    frame::encode(frame::opcode::BINARY, payload)
}

/// The queues of so many sockets, all empty.
pub struct Receivers {
    pool: Pool,
    sockets: Vec<Option<Box<Outgoing>>>,
}

impl Receivers {
    /// So many.
    #[must_use]
    pub fn new(sockets: usize) -> Self {
        Self { pool: Pool::default(), sockets: (0..sockets).map(|_| None).collect() }
    }

    /// A broadcast up to the system's door: queued for each, then taken as if the system took all at once. Gives the bytes.
    pub fn fan_out(&mut self, frame: &Bytes) -> usize {
        let Self { pool, sockets } = self;
        for out in &mut *sockets {
            out.get_or_insert_with(|| pool.take()).push(frame, frame.len());
        }
        let mut bytes = 0;
        for slot in sockets {
            let Some(mut out) = slot.take() else { continue };
            let len = out.with_slices(|slices| slices.iter().map(|slice| slice.len()).sum());
            out.sent(len, drop);
            bytes += len;
            pool.give_back(out);
        }
        bytes
    }
}
