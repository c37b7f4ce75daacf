//! Small blobs share packs: a channel takes about 20 messages a minute, and ten thousand posters
//! must not take ten thousand of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::content::{remote_error, send};
use crate::model::{ErrorKind, FsError, FsResult, PackRef};
use crate::remote::{PackInput, Remote};

/// Blobs below this share packs; from here on a message of its own is cheap enough.
pub const SHARED_BELOW_BYTES: u64 = 4 << 20;
/// Slices of one pack: its table stays far below a block.
const MAX_SLICES: usize = 4096;
/// Blobs that wait for the collector; each waits with its task, so more gains nothing.
const QUEUE: usize = 1024;

/// Where a small blob's bytes went, slice by slice.
pub type Placed = Vec<(u64, PackRef)>;

struct Item {
    inputs: Vec<PackInput>,
    reply: oneshot::Sender<FsResult<Placed>>,
}

impl Item {
    fn bytes(&self) -> u64 {
        self.inputs.iter().map(|input| input.len).sum()
    }
}

#[derive(Debug)]
pub struct Packer {
    items: mpsc::Sender<Item>,
    pack_bytes: Arc<AtomicU64>,
}

impl Packer {
    /// `linger`: how long a pack waits for more after its first blob.
    #[must_use]
    pub fn start(remote: Arc<dyn Remote>, pack_bytes: u64, linger: Duration) -> Self {
        let (items, receiver) = mpsc::channel(QUEUE);
        let pack_bytes = Arc::new(AtomicU64::new(pack_bytes));
        tokio::spawn(collect(remote, receiver, Arc::clone(&pack_bytes), linger));
        Self { items, pack_bytes }
    }

    pub fn set_pack_bytes(&self, bytes: u64) {
        self.pack_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Waits until a pack with these bytes is acknowledged.
    ///
    /// # Errors
    /// What the remote or the local disk says.
    pub async fn add(&self, inputs: Vec<PackInput>) -> FsResult<Placed> {
        let (reply, answer) = oneshot::channel();
        let stopped = || FsError::new(ErrorKind::Io, "ingest is stopping");
        self.items
            .send(Item { inputs, reply })
            .await
            .map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

async fn collect(
    remote: Arc<dyn Remote>,
    mut receiver: mpsc::Receiver<Item>,
    pack_bytes: Arc<AtomicU64>,
    linger: Duration,
) {
    while let Some(first) = receiver.recv().await {
        let closes = Instant::now() + linger;
        let mut bytes = first.bytes();
        let mut slices = first.inputs.len();
        let mut items = vec![first];
        while bytes < pack_bytes.load(Ordering::Relaxed) && slices < MAX_SLICES {
            // Cancel safe: `recv` loses nothing when the time runs out.
            let Ok(Some(next)) = tokio::time::timeout_at(closes, receiver.recv()).await else {
                break;
            };
            bytes += next.bytes();
            slices += next.inputs.len();
            items.push(next);
        }
        // Sent beside the collecting of the next one; the retry loop below waits out a remote that
        // is down, and the jobs that wait bound how many there are.
        tokio::spawn(send_shared(Arc::clone(&remote), items));
    }
}

async fn send_shared(remote: Arc<dyn Remote>, items: Vec<Item>) {
    let inputs: Vec<PackInput> = items.iter().flat_map(|item| item.inputs.clone()).collect();
    match send(&remote, inputs).await {
        Ok((pack, offsets)) => {
            let mut offsets = offsets.into_iter();
            for item in items {
                let placed = offsets
                    .by_ref()
                    .take(item.inputs.len())
                    .map(|offset| (offset, pack.clone()))
                    .collect();
                // Whoever asked may have gone: then the pack holds a slice that nobody names.
                let _ = item.reply.send(Ok(placed));
            }
        }
        // One input may be the cause (a spool file that was unlinked): each is tried by itself.
        Err(_) if items.len() > 1 => {
            for item in items {
                let result = send(&remote, item.inputs).await;
                let placed = result.map(|(pack, offsets)| {
                    offsets
                        .into_iter()
                        .map(|offset| (offset, pack.clone()))
                        .collect()
                });
                let _ = item.reply.send(placed.map_err(remote_error));
            }
        }
        Err(error) => {
            let error = remote_error(error);
            for item in items {
                let _ = item.reply.send(Err(error.clone()));
            }
        }
    }
}
