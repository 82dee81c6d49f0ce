//! Locking that outlives a panic, and the atomics and locks for which loom/ has its own.
//!
//! A panic is caught at the edge of its shard. The data behind our locks is whole at each unlock, so a poisoned lock is
//! taken over instead of spreading the panic to threads that have nothing to do with it.

use std::sync::PoisonError;
pub(crate) use std::sync::{
    Mutex, MutexGuard, OnceLock,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

pub(crate) use tokio::sync::Notify;

/// Locks, whether or not a holder panicked before.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
