//! What waits to be sent to one client: frames in order, small ones put together, so that a burst costs one call of the
//! system and no allocation a message.
//!
//! A client without anything to send has none of this: what it used goes back to its shard's pool for the next one.

use std::{collections::VecDeque, io::IoSlice};

use bytes::Bytes;

use crate::{
    frame::sent_frame_len,
    limits::{COPY_FRAMES, TURN_BYTES},
};

/// Chunks that one call of the system may take.
const SLICES: usize = 16;
/// What a pool keeps: queues with buffers of at most so many bytes each, and so many in all.
const POOLED_BUFFER: usize = 8 * 1024;
const POOLED: usize = 2 * 1024 * 1024;

/// Frames that lie one behind the other, with what is reserved for them in the registry.
#[derive(Debug, Default)]
struct Chunk<B> {
    bytes: B,
    /// Frames that are messages: those of the server's own are not counted.
    messages: usize,
    cost: usize,
}

/// What the system has taken: whole chunks only.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) messages: usize,
    pub(crate) cost: usize,
}

/// The frames of one client that the system has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Large frames, and small ones before them.
    queue: VecDeque<Chunk<Bytes>>,
    /// The small frames behind those.
    gathered: Chunk<Vec<u8>>,
    /// How much of the first chunk the system has taken.
    written: usize,
}

impl Outgoing {
    /// Puts a frame behind the others; a small one is copied. `cost` is 0 for a frame of the server's own.
    pub(crate) fn push(&mut self, frame: &Bytes, cost: usize) {
        if frame.len() <= COPY_FRAMES {
            self.push_copy(frame, cost);
        } else {
            self.queue_gathered();
            let messages = usize::from(cost > 0);
            self.queue.push_back(Chunk { bytes: frame.clone(), messages, cost });
        }
    }

    /// The same for a small frame that is only lent.
    pub(crate) fn push_copy(&mut self, frame: &[u8], cost: usize) {
        if self.gathered.bytes.len() + frame.len() > TURN_BYTES {
            self.queue_gathered();
        }
        self.gathered.bytes.extend_from_slice(frame);
        self.gathered.messages += usize::from(cost > 0);
        self.gathered.cost += cost;
    }

    fn queue_gathered(&mut self) {
        if !self.gathered.bytes.is_empty() {
            let Chunk { bytes, messages, cost } = std::mem::take(&mut self.gathered);
            self.queue.push_back(Chunk { bytes: bytes.into(), messages, cost });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.gathered.bytes.is_empty()
    }

    /// Gives `send` what is to go out next, in one or several slices.
    pub(crate) fn with_slices<R>(&self, send: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        if self.queue.is_empty() {
            return send(&[IoSlice::new(&self.gathered.bytes[self.written..])]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut skip = self.written;
        let gathered = (!self.gathered.bytes.is_empty()).then_some(&self.gathered.bytes[..]);
        let chunks = self.queue.iter().map(|chunk| &chunk.bytes[..]).chain(gathered);
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
            *slice = IoSlice::new(&chunk[std::mem::take(&mut skip)..]);
            count += 1;
        }
        send(&slices[..count])
    }

    /// The system has taken `bytes`. What of it were whole chunks is done with; `spent` gets the memory of large ones.
    pub(crate) fn sent(&mut self, mut bytes: usize, mut spent: impl FnMut(Bytes)) -> Sent {
        let mut sent = Sent::default();
        while let Some(first) = self.queue.front() {
            let left = first.bytes.len() - self.written;
            if bytes < left {
                self.written += bytes;
                return sent;
            }
            bytes -= left;
            self.written = 0;
            sent.messages += first.messages;
            sent.cost += first.cost;
            if let Some(chunk) = self.queue.pop_front() {
                spent(chunk.bytes);
            }
        }
        self.written += bytes;
        if self.written >= self.gathered.bytes.len() {
            self.written = 0;
            sent.messages += std::mem::take(&mut self.gathered.messages);
            sent.cost += std::mem::take(&mut self.gathered.cost);
            self.gathered.bytes.clear();
        }
        sent
    }

    /// What is reserved for all that has not left.
    pub(crate) fn cost(&self) -> usize {
        self.queue.iter().map(|chunk| chunk.cost).sum::<usize>() + self.gathered.cost
    }

    /// What an empty one takes.
    fn size(&self) -> usize {
        let queue = self.queue.capacity() * size_of::<Chunk<Bytes>>();
        size_of::<Self>() + self.gathered.bytes.capacity() + queue
    }

    /// Bytes that have not left.
    pub(crate) fn len(&self) -> usize {
        let queued: usize = self.queue.iter().map(|chunk| chunk.bytes.len()).sum();
        queued + self.gathered.bytes.len() - self.written
    }

    /// What the system has not taken of the frame that it has begun to take.
    pub(crate) fn rest_of_frame(&self) -> &[u8] {
        let first = self.queue.front().map_or(&self.gathered.bytes[..], |chunk| &chunk.bytes[..]);
        let mut end = 0;
        while end < self.written {
            end += sent_frame_len(&first[end..]);
        }
        &first[self.written..end.min(first.len())]
    }
}

/// Queues that were used and are empty, until the timers look.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    #[expect(clippy::vec_box, reason = "a box goes to a client and comes back as it is")]
    kept: Vec<Box<Outgoing>>,
    /// What they take.
    bytes: usize,
}

impl Pool {
    pub(crate) fn take(&mut self) -> Box<Outgoing> {
        let Some(out) = self.kept.pop() else { return Box::default() };
        self.bytes -= out.size();
        out
    }

    /// Takes an empty one back, unless it has grown large.
    pub(crate) fn give_back(&mut self, mut out: Box<Outgoing>) {
        if out.gathered.bytes.capacity() > POOLED_BUFFER {
            return;
        }
        if out.queue.capacity() > SLICES {
            out.queue = VecDeque::new();
        }
        let size = out.size();
        if self.bytes + size <= POOLED {
            self.bytes += size;
            self.kept.push(out);
        }
    }

    /// Gives all of it back to the system.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{encode, opcode};

    fn frame(len: usize) -> Bytes {
        encode(opcode::BINARY, &vec![len as u8; len]).into()
    }

    /// What goes out if the system takes `step` bytes a call, and what is settled meanwhile.
    fn drain(out: &mut Outgoing, step: usize) -> (Vec<u8>, Sent) {
        let (mut wire, mut total) = (Vec::new(), Sent::default());
        while !out.is_empty() {
            let taken = out.with_slices(|slices| {
                let all = slices.concat_slices();
                let taken = all.len().min(step);
                wire.extend_from_slice(&all[..taken]);
                taken
            });
            let sent = out.sent(taken, drop);
            total.messages += sent.messages;
            total.cost += sent.cost;
        }
        (wire, total)
    }

    trait ConcatSlices {
        fn concat_slices(&self) -> Vec<u8>;
    }

    impl ConcatSlices for [IoSlice<'_>] {
        fn concat_slices(&self) -> Vec<u8> {
            self.iter().flat_map(|slice| slice.iter().copied()).collect()
        }
    }

    #[test]
    fn frames_leave_in_order_however_much_the_system_takes() {
        let sizes = [5, 10_000, 0, 300, 70_000, 4000, 4000, 9];
        let expected: Vec<u8> = sizes.iter().flat_map(|&len| frame(len)).collect();
        for step in [1, 7, 1000, 66_000, usize::MAX] {
            let mut out = Outgoing::default();
            for len in sizes {
                out.push(&frame(len), len + 16);
            }
            out.push_copy(&encode(opcode::PING, b""), 0);
            assert_eq!(out.len(), expected.len() + 2);
            let cost = out.cost();
            let (wire, sent) = drain(&mut out, step);
            assert_eq!(wire[..expected.len()], expected);
            assert_eq!(sent, Sent { messages: sizes.len(), cost });
            assert_eq!(out.len(), 0);
        }
    }

    #[test]
    fn the_rest_of_a_begun_frame_ends_where_the_frame_does() {
        for sizes in [vec![3, 200, 7], vec![5000, 3, 200]] {
            let frames: Vec<Bytes> = sizes.into_iter().map(frame).collect();
            let total: usize = frames.iter().map(Bytes::len).sum();
            for taken in 0..total {
                let mut out = Outgoing::default();
                for frame in &frames {
                    out.push(frame, 1);
                }
                out.sent(taken, drop);
                let mut left = taken;
                let begun = frames.iter().find(|frame| {
                    let inside = left < frame.len();
                    if !inside {
                        left -= frame.len();
                    }
                    inside
                });
                let expected =
                    begun.map_or(&[][..], |frame| if left > 0 { &frame[left..] } else { &[] });
                assert_eq!(out.rest_of_frame(), expected, "{taken} of {total}");
            }
        }
    }

    #[test]
    fn a_pool_is_bounded_by_what_its_queues_take() {
        let mut pool = Pool::default();
        let used = |len| {
            let mut out = Box::<Outgoing>::default();
            out.gathered.bytes = Vec::with_capacity(len);
            out
        };
        pool.give_back(used(POOLED_BUFFER + 1));
        assert!(pool.kept.is_empty(), "too large");
        for _ in 0..2 * POOLED / POOLED_BUFFER {
            pool.give_back(used(POOLED_BUFFER));
        }
        assert!(pool.kept.len() < POOLED / POOLED_BUFFER);
        let kept = pool.kept.len();
        assert_eq!(pool.take().gathered.bytes.capacity(), POOLED_BUFFER);
        pool.give_back(used(POOLED_BUFFER));
        assert_eq!(pool.kept.len(), kept);
        pool.clear();
        assert_eq!((pool.take().gathered.bytes.capacity(), pool.bytes), (0, 0));
    }

    #[test]
    fn small_frames_beyond_a_turn_are_several_chunks() {
        let mut out = Outgoing::default();
        for _ in 0..100 {
            out.push(&frame(4000), 4016);
        }
        assert!(out.with_slices(|slices| slices.len()) > 1);
        assert_eq!(drain(&mut out, usize::MAX).1.messages, 100);
    }
}
