//! Verified blocks in memory, and below it on the disk. A block is fetched once, however many readers ask
//! for it.

mod block_key;
mod counters;
mod disk;
mod failures;
mod fetch;
mod pins;
mod readahead_blocks;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use moka::policy::EvictionPolicy;

use crate::model::{BlockIndex, CacheStats, PackId, PackRef};
use crate::remote::{Remote, RemoteError, RemoteErrorKind, Urgency};
pub use block_key::BlockKey;
use counters::{CacheCounters, count};
use disk::DropSelection;
pub use disk::{DiskLimits, DiskStore, Dropped, Eviction};
use failures::FetchFailures;
use fetch::BlockFetcher;
pub use fetch::SharedError;
pub use readahead_blocks::ReadaheadBlock;
use readahead_blocks::{ReadaheadBlocks, ReadaheadLookup};

/// Most pack tables kept decoded. One covers 64 MiB of film, so this covers 256 GiB.
const MAX_TABLES: u64 = 4096;

/// The tiers below the memory.
#[derive(Debug, Default)]
pub struct Tiers {
    /// Recently fetched blocks, within a budget.
    pub disk: Option<DiskStore>,
    /// Blocks that a scan of the library reads.
    pub pinned: Option<DiskStore>,
}

/// The cache of blocks. Each block was checked against its pack's table when it arrived.
#[derive(Debug)]
pub struct BlockCache {
    fetcher: Arc<BlockFetcher>,
    readahead: Arc<ReadaheadBlocks>,
    capacity: u64,
}

impl BlockCache {
    /// Makes a cache of `capacity` bytes. No fetch outlives `deadline`: when a remote hangs, later readers
    /// of a block must not wait for the fetch of the first.
    #[must_use]
    pub fn new(remote: Arc<dyn Remote>, capacity: u64, deadline: Duration) -> Self {
        Self::with_tiers(remote, capacity, deadline, Tiers::default())
    }

    /// Does the same as [`Self::new`], with files below the memory.
    #[must_use]
    pub fn with_tiers(
        remote: Arc<dyn Remote>,
        capacity: u64,
        deadline: Duration,
        tiers: Tiers,
    ) -> Self {
        let counters = Arc::new(CacheCounters::default());
        let evicted = Arc::clone(&counters);
        // The policy is LRU. TinyLFU dropped nearly all blocks that were read ahead, as measured.
        let blocks = Cache::builder()
            .max_capacity(capacity)
            .eviction_policy(EvictionPolicy::lru())
            .support_invalidation_closures()
            .weigher(|_, block: &Bytes| u32::try_from(block.len()).unwrap_or(u32::MAX))
            .eviction_listener(move |_, _, cause| {
                if cause.was_evicted() {
                    count(&evicted.evictions, 1);
                }
            })
            .build();
        let tables = Cache::builder()
            .max_capacity(MAX_TABLES)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        let readahead = ReadaheadBlocks::new(Arc::clone(&counters));
        let fetcher = Arc::new(BlockFetcher {
            remote,
            blocks,
            tables,
            pinned: tiers.pinned.map(Arc::new),
            disk: tiers.disk.map(Arc::new),
            failures: FetchFailures::default(),
            counters,
            deadline,
        });
        Self {
            fetcher,
            readahead,
            capacity,
        }
    }

    /// Returns a verified block.
    ///
    /// # Errors
    /// The error of the fetch, shared by all readers that waited for it, and not kept.
    pub async fn block(&self, pack: &PackRef, block: BlockIndex) -> Result<Bytes, SharedError> {
        let key = BlockKey::of(pack, block);
        let ahead = self.readahead.take(key);
        if let Some(bytes) = self.fetcher.blocks.get(&key).await {
            self.fetcher.counters.hit(bytes.len());
            return Ok(bytes);
        }
        if let ReadaheadLookup::Arrived(bytes) = ahead {
            // The block was evicted before its reader came. From here on it counts as recently used.
            self.fetcher.blocks.insert(key, bytes.clone()).await;
            self.fetcher.counters.hit(bytes.len());
            return Ok(bytes);
        }
        let joined = self.fetch_apart(pack, block).await;
        // The error of a fetch that nobody waited for is not the reader's, so the block is fetched again.
        match (joined, ahead) {
            (Err(_), ReadaheadLookup::Pending) => self.fetch_apart(pack, block).await,
            (joined, _) => joined,
        }
    }

    /// Fetches in a task of its own. The first reader may go away (a seek). The fetch then goes on for the
    /// readers that joined it and for the cache.
    async fn fetch_apart(&self, pack: &PackRef, block: BlockIndex) -> Result<Bytes, SharedError> {
        let (fetcher, pack) = (Arc::clone(&self.fetcher), pack.clone());
        let fetched =
            tokio::spawn(async move { fetcher.block(&pack, block, Urgency::Waited).await });
        fetched
            .await
            .unwrap_or_else(|error| Err(ended_early(&error)))
    }

    /// Returns the most bytes of blocks that the memory may hold.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Tells whether a block is in memory.
    #[must_use]
    pub fn has(&self, key: BlockKey) -> bool {
        self.fetcher.blocks.contains_key(&key)
    }

    /// Registers a block that is wanted before its reader comes; [`Self::fetch_ahead`] fetches it.
    #[must_use]
    pub fn hold(&self, key: BlockKey) -> ReadaheadBlock {
        self.readahead.hold(key)
    }

    /// Fetches a block that nobody waits for yet. Dropping the future cancels the request.
    ///
    /// # Errors
    /// The error of the fetch. It is counted apart from errors of readers.
    pub async fn fetch_ahead(
        &self,
        pack: &PackRef,
        readahead: &ReadaheadBlock,
    ) -> Result<(), SharedError> {
        let fetcher = Arc::clone(&self.fetcher);
        let fetched = fetcher
            .block(pack, readahead.key().block, Urgency::Ahead)
            .await;
        fetched.map(|bytes| readahead.fill(bytes))
    }

    /// Returns the counters and sizes of all tiers.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tier = |store: &Option<Arc<DiskStore>>| {
            store
                .as_ref()
                .map(|store| store.stats())
                .unwrap_or_default()
        };
        let counters = &self.fetcher.counters;
        CacheStats {
            capacity_bytes: self.capacity,
            bytes: self.fetcher.blocks.weighted_size(),
            entries: self.fetcher.blocks.entry_count(),
            hits: load(&counters.hits),
            hit_bytes: load(&counters.hit_bytes),
            misses: load(&counters.misses),
            joined: load(&counters.joined),
            errors: load(&counters.errors),
            evictions: load(&counters.evictions),
            fetched_bytes: load(&counters.fetched_bytes),
            ahead_fetched: load(&counters.ahead_fetched),
            ahead_used: load(&counters.ahead_used),
            ahead_wasted: load(&counters.ahead_wasted),
            ahead_errors: load(&counters.ahead_errors),
            disk: tier(&self.fetcher.disk),
            pinned: tier(&self.fetcher.pinned),
            store_latency: counters.store_latency.latency(),
            disk_latency: counters.disk_latency.latency(),
        }
    }

    /// Drops everything except pinned blocks.
    pub fn clear(&self) -> Dropped {
        let blocks = &self.fetcher.blocks;
        let memory = self.in_memory(|_| true);
        blocks.invalidate_all();
        self.fetcher.tables.invalidate_all();
        self.readahead.clear(|_| true);
        memory + self.drop_from_disk(&DropSelection::All)
    }

    /// Drops the blocks of some packs, except pinned ones.
    pub fn clear_packs(&self, packs: &[PackRef]) -> Dropped {
        let ids: HashSet<PackId> = packs.iter().map(|pack| pack.id).collect();
        let memory = self.in_memory(|key| ids.contains(&key.pack));
        self.readahead.clear(|key| ids.contains(&key.pack));
        let dropped = self.drop_from_disk(&DropSelection::Packs(ids.clone()));
        if let Err(error) = self
            .fetcher
            .blocks
            .invalidate_entries_if(move |key, _| ids.contains(&key.pack))
        {
            tracing::warn!(%error, "cached blocks of a file could not be dropped");
        }
        memory + dropped
    }

    /// Drops blocks that nobody read for `time`. The memory keeps no times of use, so it is dropped
    /// only when `time` is zero.
    pub fn clear_unused(&self, time: Duration) -> Dropped {
        match time.is_zero() {
            true => self.clear(),
            false => self.drop_from_disk(&DropSelection::unused_for(time)),
        }
    }

    fn in_memory(&self, is_meant: impl Fn(&BlockKey) -> bool) -> Dropped {
        let mut found = Dropped::default();
        for (key, block) in &self.fetcher.blocks {
            if is_meant(&key) {
                found.blocks += 1;
                found.bytes += block.len() as u64;
            }
        }
        found
    }

    fn drop_from_disk(&self, selection: &DropSelection) -> Dropped {
        let disk = self.fetcher.disk.as_ref();
        disk.map(|disk| disk.drop_files(selection))
            .unwrap_or_default()
    }

    /// Waits until the files that the last run left on the disk are known.
    pub async fn found(&self) {
        let stores = self.stores();
        // A panic in that task only means that fewer files are known.
        let _ = tokio::task::spawn_blocking(move || {
            stores.iter().for_each(|store| store.wait_for_scan());
        })
        .await;
    }

    /// Writes the files that wait and unlocks the directories for other processes.
    pub async fn close(&self) {
        let stores = self.stores();
        // A file that is not written is a miss later.
        let _ =
            tokio::task::spawn_blocking(move || stores.iter().for_each(|store| store.stop())).await;
    }

    /// Returns the bytes on the disk that the cache gives up when others need the space.
    #[must_use]
    pub fn yielding_bytes(&self) -> u64 {
        self.fetcher.disk.as_ref().map_or(0, |disk| disk.bytes())
    }

    fn stores(&self) -> Vec<Arc<DiskStore>> {
        let fetcher = &self.fetcher;
        fetcher
            .pinned
            .iter()
            .chain(&fetcher.disk)
            .cloned()
            .collect()
    }
}

fn ended_early(error: &tokio::task::JoinError) -> SharedError {
    let message = format!("a fetch ended early: {error}");
    Arc::new(RemoteError::new(
        RemoteErrorKind::Unavailable,
        "read",
        message,
    ))
}

#[cfg(test)]
mod tests;
