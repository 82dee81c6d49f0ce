//! When a thread is woken for what lies in its inbox: a ring costs it a turn, so at most one is out, and none is missing.
//!
//! loom/ compiles this file with atomics of its own, and goes through the orders in which threads may take turns.

use crate::sync::{AtomicBool, Mutex, Ordering, lock};

pub struct Bell<D> {
    /// Whether the door-bell was rung and the thread has not yet found the inbox empty.
    pub rung: AtomicBool,
    /// `None` while no thread owns the inbox.
    pub doorbell: Mutex<Option<D>>,
}

impl<D> Bell<D> {
    /// A thread comes, with its door-bell.
    pub fn hang(&self, doorbell: D) {
        self.rung.store(false, Ordering::SeqCst);
        *lock(&self.doorbell) = Some(doorbell);
    }

    /// The thread goes. Waits for a ring that is under way: after this the door-bell may be destroyed.
    pub fn take_down(&self) {
        *lock(&self.doorbell) = None;
    }

    /// Wakes the thread for what was put there before, unless somebody has, or it has found it by itself.
    pub fn ring(&self, is_empty: impl FnOnce() -> bool, ring: impl FnOnce(&D)) {
        if self.rung.load(Ordering::SeqCst) || is_empty() {
            return;
        }
        if self.rung.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(doorbell) = &*lock(&self.doorbell) {
            ring(doorbell);
        }
    }

    /// The thread goes to sleep; false if something came meanwhile, and it has to look again.
    pub fn sleep(&self, is_empty: impl FnOnce() -> bool) -> bool {
        self.rung.swap(false, Ordering::SeqCst);
        is_empty() || self.rung.swap(true, Ordering::SeqCst)
    }
}
