//! Locking that outlives a panic.
//!
//! A panic is caught at the edge of its shard. The data behind our locks is whole at each unlock, so a poisoned lock is
//! taken over instead of spreading the panic to threads that have nothing to do with it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, whether or not a holder panicked before.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
