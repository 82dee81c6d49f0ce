//! Memory of batches that shards have worked off, for the producers' next ones.
//!
//! A batch is filled on one thread and emptied on another. Freed there, its memory would go back to an allocator that the first
//! thread is using: both wait for its lock, and an allocator that gives free memory back to the system at once, as glibc's does,
//! faults it in again for the next batch. At rest nothing is kept: [`Spares::clear`] runs with the timers.

use bytes::Bytes;

use crate::{
    mailbox::{Batch, Command},
    sync::{Mutex, lock},
};

/// How many of each are kept.
const KEPT: usize = 16;
/// Capacities worth keeping, in bytes and in commands: a larger one is of a message or a burst that is not the rule.
const BYTES: std::ops::RangeInclusive<usize> = 4 * 1024..=256 * 1024;
const COMMANDS: std::ops::RangeInclusive<usize> = 16..=4 * 1024;

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<Vec<u8>>,
    commands: Vec<Vec<Command>>,
}

/// What is kept for all threads of a server.
#[derive(Debug, Default)]
pub(crate) struct Spares(Mutex<Kept>);

impl Spares {
    /// An empty batch for a producer whose last one was as large as `last`.
    pub(crate) fn take(&self, last: &Batch) -> Batch {
        // A producer of broadcasts and closes needs no bytes.
        let sends = !last.bytes.is_empty();
        let (bytes, commands) = {
            let mut kept = lock(&self.0);
            (if sends { kept.bytes.pop() } else { Some(Vec::new()) }, kept.commands.pop())
        };
        // It will be about as large: growing it step by step would copy it each time.
        let room = last.bytes.len().max(*BYTES.start());
        let places = last.commands.len().max(*COMMANDS.start());
        Batch {
            bytes: bytes.unwrap_or_else(|| Vec::with_capacity(room)),
            commands: commands.unwrap_or_else(|| Vec::with_capacity(places)),
        }
    }

    /// Commands that are done.
    pub(crate) fn give_commands(&self, mut commands: Vec<Command>) {
        if !COMMANDS.contains(&commands.capacity()) {
            return;
        }
        commands.clear();
        let mut kept = lock(&self.0);
        if kept.commands.len() < KEPT {
            kept.commands.push(commands);
        }
    }

    /// A batch's bytes, or frames cut from them: kept if these were the last that somebody held.
    pub(crate) fn give_bytes(&self, bytes: Bytes) {
        let Ok(mut bytes) = bytes.try_into_mut() else { return };
        bytes.clear();
        // The whole memory, also behind and before what was cut from it.
        let bytes = Vec::from(bytes);
        if !BYTES.contains(&bytes.capacity()) {
            return;
        }
        let mut kept = lock(&self.0);
        if kept.bytes.len() < KEPT {
            kept.bytes.push(bytes);
        }
    }

    /// Gives all of it back.
    pub(crate) fn clear(&self) {
        let kept = std::mem::take(&mut *lock(&self.0));
        drop(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_comes_back_once_its_last_frame_was_sent() {
        let spares = Spares::default();
        let batch = Batch { bytes: vec![1; 64 * 1024], commands: Vec::with_capacity(100) };
        let place = batch.bytes.as_ptr();
        let bytes = Bytes::from(batch.bytes);
        let (first, second) = (bytes.slice(..100), bytes.slice(40_000..));
        spares.give_bytes(bytes);
        spares.give_bytes(first);
        let last = Batch { bytes: vec![0; 5000], commands: Vec::new() };
        assert_ne!(spares.take(&last).bytes.as_ptr(), place, "a frame waits to be sent");
        spares.give_bytes(second);
        let next = spares.take(&last).bytes;
        assert_eq!((next.as_ptr(), next.len(), next.capacity()), (place, 0, 64 * 1024));
    }

    #[test]
    fn what_is_kept_is_bounded_and_given_back_at_rest() {
        let spares = Spares::default();
        for _ in 0..2 * KEPT {
            spares.give_bytes(vec![0; 8192].into());
            spares.give_commands(Vec::with_capacity(64));
        }
        spares.give_bytes(vec![0; 1 << 20].into());
        spares.give_bytes(vec![0; 64].into());
        spares.give_commands(Vec::new());
        {
            let kept = lock(&spares.0);
            assert_eq!((kept.bytes.len(), kept.commands.len()), (KEPT, KEPT));
            assert!(kept.bytes.iter().all(|bytes| bytes.is_empty() && bytes.capacity() == 8192));
        }
        spares.clear();
        assert_eq!(spares.take(&Batch::default()).commands.capacity(), *COMMANDS.start());
    }
}
