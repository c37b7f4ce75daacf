//! Locks that stay usable after a panic.
//!
//! The standard library poisons a lock whose holder panicked. The state behind the locks of this
//! program is valid between any two statements, so a poisoned lock is taken as any other: one
//! failed request must not end the daemon.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Access to a [`Mutex`] whether or not an earlier holder panicked.
pub trait MutexExt<T: ?Sized> {
    /// Blocks until the lock is free and takes it.
    fn acquire(&self) -> MutexGuard<'_, T>;
}

impl<T: ?Sized> MutexExt<T> for Mutex<T> {
    fn acquire(&self) -> MutexGuard<'_, T> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Access to a [`RwLock`] whether or not an earlier holder panicked.
pub trait RwLockExt<T: ?Sized> {
    /// Blocks until no writer holds the lock and takes it for reading.
    fn acquire_read(&self) -> RwLockReadGuard<'_, T>;
    /// Blocks until nobody holds the lock and takes it for writing.
    fn acquire_write(&self) -> RwLockWriteGuard<'_, T>;
}

impl<T: ?Sized> RwLockExt<T> for RwLock<T> {
    fn acquire_read(&self) -> RwLockReadGuard<'_, T> {
        self.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn acquire_write(&self) -> RwLockWriteGuard<'_, T> {
        self.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed step is a failed test.
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_lock_whose_holder_panicked_can_be_taken_again() {
        let mutex = Arc::new(Mutex::new(1));
        let held = Arc::clone(&mutex);
        let ended = std::thread::spawn(move || {
            let _guard = held.acquire();
            panic!("the holder ends");
        })
        .join();
        assert!(ended.is_err() && mutex.is_poisoned());
        *mutex.acquire() += 1;
        assert_eq!(*mutex.acquire(), 2);
    }
}
