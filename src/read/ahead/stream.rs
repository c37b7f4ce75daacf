//! A sequence of reads and the blocks that are fetched ahead of it.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::super::window::{FURTHEST_BACK, Window};
use crate::cache::{BlockKey, ReadaheadBlock};
use crate::model::BlobId;

/// A sequence of reads and the blocks that are fetched ahead of it.
#[derive(Debug, Default)]
pub struct ReadStream {
    /// The blob that positions are in; `None` when no other handle can continue the stream.
    pub of: Option<BlobId>,
    pub window: Window,
    pub fetches: VecDeque<ReadaheadFetch>,
    /// Place among the readers that blocks are fetched ahead for.
    pub place: Option<OwnedSemaphorePermit>,
    /// True if the last read reached the end of the handle.
    pub at_end: bool,
    pub read_at: Option<Instant>,
}

impl ReadStream {
    /// Cancels and releases everything that was fetched ahead.
    pub fn let_go(&mut self) {
        self.fetches.clear();
        self.place = None;
        self.window.give_back(0);
    }

    /// Releases the blocks behind all reads that can still come.
    pub fn drop_passed(&mut self, offset: u64) {
        while let Some(first) = self.fetches.front()
            && first.end.saturating_add(FURTHEST_BACK) <= offset
        {
            self.fetches.pop_front();
        }
    }
}

/// A block that is fetched or kept for a reader, until this is dropped.
#[derive(Debug)]
pub struct ReadaheadFetch {
    pub key: BlockKey,
    /// Position at which the reader has passed the block.
    pub end: u64,
    pub task: AbortHandle,
    pub _block: Arc<ReadaheadBlock>,
    pub _room: OwnedSemaphorePermit,
}

impl Drop for ReadaheadFetch {
    fn drop(&mut self) {
        // A block that has arrived stays in the cache. A request that has not been answered is cancelled.
        self.task.abort();
    }
}
