//! One sender a blob: files that share spooled bytes must not send them twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::OwnedMutexGuard;

use crate::model::BlobId;
use crate::sync::MutexExt as _;

/// Blobs that are being sent; one entry a step that runs or waits.
#[derive(Debug, Default)]
pub struct Sending {
    blobs: Mutex<HashMap<BlobId, Arc<tokio::sync::Mutex<()>>>>,
}

/// Held while a blob is sent.
#[derive(Debug)]
pub struct Turn<'a> {
    sending: &'a Sending,
    blob: BlobId,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Sending {
    /// Waits until nobody else sends the blob.
    pub async fn turn(&self, blob: BlobId) -> Turn<'_> {
        let lock = Arc::clone(self.blobs().entry(blob).or_default());
        // Made first: a step that is dropped while it waits cleans up as well.
        let mut turn = Turn {
            sending: self,
            blob,
            guard: None,
        };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }

    fn blobs(&self) -> std::sync::MutexGuard<'_, HashMap<BlobId, Arc<tokio::sync::Mutex<()>>>> {
        self.blobs.acquire()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut blobs = self.sending.blobs();
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
        let sending = Sending::default();
        let (blob, other) = (BlobId::random(), BlobId::random());
        let first = sending.turn(blob).await;
        let _other = sending.turn(other).await;
        let second = tokio::time::timeout(std::time::Duration::ZERO, sending.turn(blob));
        assert!(second.await.is_err());
        drop(first);
        drop(sending.turn(blob).await);
        assert_eq!(sending.blobs().len(), 1);
    }
}
