//! loom's atomics and locks under the names by which the files of the server take theirs.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use loom::sync::Condvar;

pub use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
/// Filled before a model's threads start.
pub use std::sync::OnceLock;

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In place of tokio's: one permit, and one that waits for it.
#[derive(Debug)]
pub struct Notify {
    permit: Mutex<Permit>,
}

#[derive(Debug)]
struct Permit {
    given: bool,
    waiting: Option<Waker>,
}

impl Notify {
    pub fn new() -> Self {
        Self { permit: Mutex::new(Permit { given: false, waiting: None }) }
    }

    pub fn notify_one(&self) {
        let waiting = {
            let mut permit = lock(&self.permit);
            let given = std::mem::replace(&mut permit.given, true);
            assert!(!given, "a second wake is out");
            permit.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    pub async fn notified(&self) {
        poll_fn(|cx| {
            let mut permit = lock(&self.permit);
            if std::mem::take(&mut permit.given) {
                return Poll::Ready(());
            }
            permit.waiting = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A thread that waits for its future.
struct Parked {
    woken: Mutex<bool>,
    wake: Condvar,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        *lock(&self.woken) = true;
        self.wake.notify_one();
    }
}

/// In place of loom's own, whose wakes without a cause only make more orders.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let parked = Arc::new(Parked { woken: Mutex::new(false), wake: Condvar::new() });
    let waker = Waker::from(Arc::clone(&parked));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let mut woken = lock(&parked.woken);
        while !std::mem::take(&mut *woken) {
            woken = parked.wake.wait(woken).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
