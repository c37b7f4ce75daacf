//! Locking that outlives a panic of another task.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The guard, whatever happened to its last holder: one broken connection must not end the server.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
