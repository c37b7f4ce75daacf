//! Blocks that are fetched ahead of a reader. They are kept until the reader has passed them, regardless
//! of other reads, and are counted as used or wasted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::block_key::BlockKey;
use super::counters::CacheCounters;
use crate::sync::MutexExt as _;

/// State of the bytes of a block.
#[derive(Debug)]
enum Arrival {
    Pending,
    Arrived(Bytes),
}

#[derive(Debug)]
struct ReadaheadSlot {
    state: Arrival,
    /// Number of [`ReadaheadBlock`]s that name it.
    holders: usize,
    /// True if a reader has taken it.
    read: bool,
}

/// All blocks that are fetched or kept ahead of readers.
#[derive(Debug)]
pub struct ReadaheadBlocks {
    slots: Mutex<HashMap<BlockKey, ReadaheadSlot>>,
    /// Length of `slots`. While it is 0, a read takes no lock.
    count: AtomicUsize,
    counters: Arc<CacheCounters>,
}

/// Result of a reader's look-up of a block.
#[derive(Debug)]
pub enum ReadaheadLookup {
    /// Nobody fetches it ahead.
    Absent,
    /// It is being fetched.
    Pending,
    /// It was fetched.
    Arrived(Bytes),
}

/// A block that is fetched or kept ahead of a reader until this is dropped. The budget of
/// `read::ahead` limits their number.
#[derive(Debug)]
pub struct ReadaheadBlock {
    key: BlockKey,
    blocks: Arc<ReadaheadBlocks>,
}

impl ReadaheadBlocks {
    /// Makes an empty set that counts into `counters`.
    pub fn new(counters: Arc<CacheCounters>) -> Arc<Self> {
        Arc::new(Self {
            slots: Mutex::default(),
            count: AtomicUsize::new(0),
            counters,
        })
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<BlockKey, ReadaheadSlot>> {
        self.slots.acquire()
    }

    /// Registers a block that is wanted ahead of its reader.
    pub fn hold(self: &Arc<Self>, key: BlockKey) -> ReadaheadBlock {
        let mut slots = self.slots();
        let slot = slots.entry(key).or_insert(ReadaheadSlot {
            state: Arrival::Pending,
            holders: 0,
            read: false,
        });
        slot.holders += 1;
        self.count.store(slots.len(), Ordering::Relaxed);
        ReadaheadBlock {
            key,
            blocks: Arc::clone(self),
        }
    }

    /// Looks up a block for a reader, which makes it count as used.
    pub fn take(&self, key: BlockKey) -> ReadaheadLookup {
        if self.count.load(Ordering::Relaxed) == 0 {
            return ReadaheadLookup::Absent;
        }
        match self.slots().get_mut(&key) {
            None => ReadaheadLookup::Absent,
            Some(slot) => {
                slot.read = true;
                match &slot.state {
                    Arrival::Pending => ReadaheadLookup::Pending,
                    Arrival::Arrived(bytes) => ReadaheadLookup::Arrived(bytes.clone()),
                }
            }
        }
    }

    /// Drops the bytes of blocks that have arrived. Fetches that are under way go on.
    pub fn clear(&self, is_meant: impl Fn(&BlockKey) -> bool) {
        for (key, slot) in self.slots().iter_mut() {
            if is_meant(key) && matches!(slot.state, Arrival::Arrived(_)) {
                slot.state = Arrival::Pending;
            }
        }
    }
}

impl ReadaheadBlock {
    /// Returns which block it is.
    #[must_use]
    pub const fn key(&self) -> BlockKey {
        self.key
    }

    /// Stores the bytes that have arrived.
    pub fn fill(&self, bytes: Bytes) {
        if let Some(slot) = self.blocks.slots().get_mut(&self.key) {
            slot.state = Arrival::Arrived(bytes);
        }
    }
}

impl Drop for ReadaheadBlock {
    fn drop(&mut self) {
        let mut slots = self.blocks.slots();
        let Some(slot) = slots.get_mut(&self.key) else {
            return;
        };
        slot.holders -= 1;
        if slot.holders > 0 {
            return;
        }
        let counters = &self.blocks.counters;
        match (&slot.state, slot.read) {
            (_, true) => counters.ahead_used.fetch_add(1, Ordering::Relaxed),
            (Arrival::Arrived(_), false) => counters.ahead_wasted.fetch_add(1, Ordering::Relaxed),
            // The fetch was cancelled before the block arrived.
            (Arrival::Pending, false) => 0,
        };
        slots.remove(&self.key);
        self.blocks.count.store(slots.len(), Ordering::Relaxed);
    }
}
