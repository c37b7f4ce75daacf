//! Verified blocks in memory, one fetch a block whoever asks.

mod held;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use serde::{Deserialize, Serialize};

use crate::model::{BlockIndex, PackId, PackRef};
use crate::remote::retry::{Deadline, retry};
use crate::remote::{self, PackTable, Remote, RemoteError, RemoteErrorKind, Urgency};
pub use held::Held;
use held::{Found, HeldBlocks};

/// Pack tables kept decoded: one covers 64 MiB of film, so this is 256 GiB of working set.
const MAX_TABLES: u64 = 4096;

/// A block of a pack.
pub type Key = (PackId, BlockIndex);

/// An error that several readers of one block share.
pub type SharedError = Arc<RemoteError>;

/// Counters since the start, and what is held now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStats {
    pub capacity_bytes: u64,
    pub held_bytes: u64,
    pub held_blocks: u64,
    pub hits: u64,
    pub misses: u64,
    /// Fetches from the remote that failed.
    pub errors: u64,
    pub evictions: u64,
    pub fetched_bytes: u64,
    /// Blocks that were fetched before a reader came for them.
    pub ahead_fetched: u64,
    /// Of those that were wanted ahead: the reader came...
    pub ahead_used: u64,
    /// ...or never did.
    pub ahead_wasted: u64,
    pub ahead_errors: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
    evictions: AtomicU64,
    fetched_bytes: AtomicU64,
    ahead_fetched: AtomicU64,
    ahead_used: AtomicU64,
    ahead_wasted: AtomicU64,
    ahead_errors: AtomicU64,
}

/// A block is keyed by its pack and number, and was checked against the pack's table when it came.
#[derive(Debug)]
pub struct BlockCache {
    remote: Arc<dyn Remote>,
    blocks: Cache<Key, Bytes>,
    tables: Cache<PackId, Arc<PackTable>>,
    held: Arc<HeldBlocks>,
    counters: Arc<Counters>,
    capacity: u64,
    deadline: Duration,
}

impl BlockCache {
    /// `capacity` in bytes of blocks. No fetch outlives `deadline`: a remote that hangs must not
    /// hold later readers of the same block in the fetch of the first.
    #[must_use]
    pub fn new(remote: Arc<dyn Remote>, capacity: u64, deadline: Duration) -> Self {
        let counters = Arc::new(Counters::default());
        let evicted = Arc::clone(&counters);
        // LRU, since TinyLFU was measured to drop nearly all blocks that were read ahead.
        let blocks = Cache::builder()
            .max_capacity(capacity)
            .eviction_policy(EvictionPolicy::lru())
            .support_invalidation_closures()
            .weigher(|_, block: &Bytes| u32::try_from(block.len()).unwrap_or(u32::MAX))
            .eviction_listener(move |_, _, cause| {
                if cause.was_evicted() {
                    evicted.evictions.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build();
        let tables = Cache::builder()
            .max_capacity(MAX_TABLES)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self {
            remote,
            blocks,
            tables,
            held: HeldBlocks::new(Arc::clone(&counters)),
            counters,
            capacity,
            deadline,
        }
    }

    /// One verified block.
    ///
    /// # Errors
    /// What the remote says; shared by all who waited for it and not kept.
    pub async fn block(&self, pack: &PackRef, block: BlockIndex) -> Result<Bytes, SharedError> {
        let key = (pack.id, block);
        let ahead = self.held.take(key);
        if let Some(bytes) = self.blocks.get(&key).await {
            self.counters.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(bytes);
        }
        if let Found::Here(bytes) = ahead {
            // Others pushed it out before its reader came; from here on it counts as used.
            self.blocks.insert(key, bytes.clone()).await;
            self.counters.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(bytes);
        }
        let joined = self.fetch_apart(pack, block).await;
        // What went wrong while nobody waited is no reader's error: it asks for itself.
        match (joined, ahead) {
            (Err(_), Found::UnderWay) => self.fetch_apart(pack, block).await,
            (joined, _) => joined,
        }
    }

    /// The cache is asked from a task of its own: the reader that comes first may go away (a seek),
    /// and the fetch then goes on for those who joined it and for the cache.
    async fn fetch_apart(&self, pack: &PackRef, block: BlockIndex) -> Result<Bytes, SharedError> {
        let fetch = self.fetch(Urgency::Waited);
        let pack = pack.clone();
        let fetched = tokio::spawn(async move { fetch.block(&pack, block).await });
        fetched
            .await
            .unwrap_or_else(|error| Err(ended_early(&error)))
    }

    fn fetch(&self, urgency: Urgency) -> Fetch {
        Fetch {
            remote: Arc::clone(&self.remote),
            blocks: self.blocks.clone(),
            tables: self.tables.clone(),
            counters: Arc::clone(&self.counters),
            deadline: self.deadline,
            urgency,
        }
    }

    /// Bytes of blocks that it may hold.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Whether a block would be read without the remote.
    #[must_use]
    pub fn has(&self, key: Key) -> bool {
        self.blocks.contains_key(&key)
    }

    /// Says that a block is wanted before its reader comes; [`Self::fetch_ahead`] brings it.
    #[must_use]
    pub fn hold(&self, key: Key) -> Held {
        self.held.hold(key)
    }

    /// Brings a block that nobody waits for yet. Dropping the future takes the request back.
    ///
    /// # Errors
    /// What the remote says; counted, and for nobody to see.
    pub async fn fetch_ahead(&self, pack: &PackRef, held: &Held) -> Result<(), SharedError> {
        let fetched = self.fetch(Urgency::Ahead).block(pack, held.key().1).await;
        fetched.map(|bytes| held.fill(bytes))
    }

    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheStats {
            capacity_bytes: self.capacity,
            held_bytes: self.blocks.weighted_size(),
            held_blocks: self.blocks.entry_count(),
            hits: load(&self.counters.hits),
            misses: load(&self.counters.misses),
            errors: load(&self.counters.errors),
            evictions: load(&self.counters.evictions),
            fetched_bytes: load(&self.counters.fetched_bytes),
            ahead_fetched: load(&self.counters.ahead_fetched),
            ahead_used: load(&self.counters.ahead_used),
            ahead_wasted: load(&self.counters.ahead_wasted),
            ahead_errors: load(&self.counters.ahead_errors),
        }
    }

    /// Drops everything; how many bytes.
    pub fn clear(&self) -> u64 {
        let held = self.blocks.weighted_size();
        self.blocks.invalidate_all();
        self.tables.invalidate_all();
        self.held.clear(|_| true);
        held
    }

    /// Drops the blocks of some packs; how many bytes.
    pub fn clear_packs(&self, packs: &[PackRef]) -> u64 {
        let ids: HashSet<PackId> = packs.iter().map(|pack| pack.id).collect();
        let held = self
            .blocks
            .iter()
            .filter(|(key, _)| ids.contains(&key.0))
            .map(|(_, b)| b.len() as u64);
        let held = held.sum();
        self.held.clear(|key| ids.contains(&key.0));
        if let Err(error) = self
            .blocks
            .invalidate_entries_if(move |key, _| ids.contains(&key.0))
        {
            tracing::warn!(%error, "cached blocks of a file could not be dropped");
        }
        held
    }
}

/// What a detached fetch needs.
struct Fetch {
    remote: Arc<dyn Remote>,
    blocks: Cache<Key, Bytes>,
    tables: Cache<PackId, Arc<PackTable>>,
    counters: Arc<Counters>,
    deadline: Duration,
    urgency: Urgency,
}

impl Fetch {
    async fn block(self, pack: &PackRef, block: BlockIndex) -> Result<Bytes, SharedError> {
        let entry = self
            .blocks
            .entry((pack.id, block))
            .or_try_insert_with(self.fetch(pack, block))
            .await
            .map_err(|error: Arc<SharedError>| (*error).clone())?;
        let counter = match (entry.is_fresh(), self.urgency) {
            (true, Urgency::Waited) => &self.counters.misses,
            (true, Urgency::Ahead) => &self.counters.ahead_fetched,
            (false, Urgency::Waited) => &self.counters.hits,
            (false, Urgency::Ahead) => return Ok(entry.into_value()),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(entry.into_value())
    }

    async fn fetch(&self, pack: &PackRef, block: BlockIndex) -> Result<Bytes, SharedError> {
        let attempt = || {
            // Side by side: the first block of a pack takes one round trip and not two.
            let table = table_of(&self.remote, &self.tables, pack);
            remote::fetch_block_beside(&self.remote, pack, table, block, self.urgency)
        };
        let fetched = match self.urgency {
            // A connection that broke is no reader's error while there is time to try again.
            Urgency::Waited => retry(Deadline::after(self.deadline), attempt).await,
            Urgency::Ahead => tokio::time::timeout(self.deadline, attempt())
                .await
                .unwrap_or_else(|_| Err(Arc::new(late(pack)))),
        };
        match &fetched {
            Ok(bytes) => self
                .counters
                .fetched_bytes
                .fetch_add(bytes.len() as u64, Ordering::Relaxed),
            Err(_) => match self.urgency {
                Urgency::Waited => self.counters.errors.fetch_add(1, Ordering::Relaxed),
                Urgency::Ahead => self.counters.ahead_errors.fetch_add(1, Ordering::Relaxed),
            },
        };
        fetched
    }
}

fn late(pack: &PackRef) -> RemoteError {
    RemoteError::new(
        RemoteErrorKind::Unavailable,
        format!("read pack {}", pack.id),
        "the store did not answer in time",
    )
}

fn ended_early(error: &tokio::task::JoinError) -> SharedError {
    let message = format!("a fetch ended early: {error}");
    Arc::new(RemoteError::new(
        RemoteErrorKind::Unavailable,
        "read",
        message,
    ))
}

async fn table_of(
    remote: &Arc<dyn Remote>,
    tables: &Cache<PackId, Arc<PackTable>>,
    pack: &PackRef,
) -> Result<Arc<PackTable>, SharedError> {
    let fetch = async { remote::fetch_table(remote, pack).await.map(Arc::new) };
    tables
        .try_get_with(pack.id, fetch)
        .await
        .map_err(|error: Arc<RemoteError>| error)
}

#[cfg(test)]
mod tests;
