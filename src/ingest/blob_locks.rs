//! Locks that let only one step at a time send a blob, because files that share spooled bytes must not
//! send them twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::OwnedMutexGuard;

use crate::model::BlobId;
use crate::sync::MutexExt as _;

/// Locks of the blobs that are being sent, one for each blob that a step sends or waits for.
#[derive(Debug, Default)]
pub struct BlobLocks {
    blobs: Mutex<HashMap<BlobId, Arc<tokio::sync::Mutex<()>>>>,
}

/// Lock of one blob, released when this is dropped.
#[derive(Debug)]
pub struct BlobLock<'a> {
    locks: &'a BlobLocks,
    blob: BlobId,
    guard: Option<OwnedMutexGuard<()>>,
}

impl BlobLocks {
    /// Waits until no other step sends the blob.
    pub async fn lock(&self, blob: BlobId) -> BlobLock<'_> {
        let lock = Arc::clone(self.blobs().entry(blob).or_default());
        // The lock is created first, so that a step that is dropped while it waits cleans up as well.
        let mut held = BlobLock {
            locks: self,
            blob,
            guard: None,
        };
        held.guard = Some(lock.lock_owned().await);
        held
    }

    fn blobs(&self) -> std::sync::MutexGuard<'_, HashMap<BlobId, Arc<tokio::sync::Mutex<()>>>> {
        self.blobs.acquire()
    }
}

impl Drop for BlobLock<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut blobs = self.locks.blobs();
        let unused = blobs
            .get(&self.blob)
            .is_some_and(|lock| Arc::strong_count(lock) == 1);
        if unused {
            blobs.remove(&self.blob);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_stays_behind() {
        let locks = BlobLocks::default();
        let (blob, other) = (BlobId::random(), BlobId::random());
        let first = locks.lock(blob).await;
        let _other = locks.lock(other).await;
        let second = tokio::time::timeout(std::time::Duration::ZERO, locks.lock(blob));
        assert!(second.await.is_err());
        drop(first);
        drop(locks.lock(blob).await);
        assert_eq!(locks.blobs().len(), 1);
    }
}
