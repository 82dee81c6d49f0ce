//! The queue of a mailbox, and when its owner is woken for it: a wake costs it a turn, so there is one a batch, and none is
//! missing.
//!
//! loom/ compiles this file with atomics of its own, and goes through the orders in which threads may take turns.

use crate::{
    Lane,
    sync::{AtomicBool, AtomicU64, Mutex, Notify, Ordering, lock},
};

#[derive(Debug)]
struct Queue<T> {
    items: Vec<T>,
    closed: bool,
}

/// What other threads have for one that sleeps without it.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    queue: Mutex<Queue<T>>,
    /// Lanes that have room again, a bit each.
    room: AtomicU64,
    /// Whether the shard was woken and has not drained yet.
    scheduled: AtomicBool,
    notify: Notify,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self {
            queue: Mutex::new(Queue { items: Vec::new(), closed: false }),
            room: AtomicU64::new(0),
            scheduled: AtomicBool::new(false),
            notify: Notify::new(),
        }
    }
}

impl<T> Mailbox<T> {
    pub(crate) fn post(&self, item: T) {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return;
        }
        queue.items.push(item);
        drop(queue);
        self.wake();
    }

    /// A lane takes events again.
    pub(crate) fn room(&self, lane: Lane) {
        self.room.fetch_or(1 << lane.0, Ordering::SeqCst);
        self.wake();
    }

    /// Wakes the shard's loop, which then looks at its own state too.
    pub(crate) fn wake(&self) {
        if !self.scheduled.swap(true, Ordering::SeqCst) {
            self.notify.notify_one();
        }
    }

    /// Waits for the next wake.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Takes all there is: items in order, and the lanes that have room.
    pub(crate) fn drain(&self, into: &mut Vec<T>) -> u64 {
        // Before the take: who posts after it wakes again.
        self.scheduled.swap(false, Ordering::SeqCst);
        std::mem::swap(&mut lock(&self.queue).items, into);
        self.room.swap(0, Ordering::SeqCst)
    }

    /// The shard has ended: what is left is given up, and what comes is not kept.
    pub(crate) fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        let left = std::mem::take(&mut queue.items);
        drop(queue);
        drop(left);
    }
}
