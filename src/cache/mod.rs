//! Verified blocks in memory, one fetch a block whoever asks.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use serde::{Deserialize, Serialize};

use crate::model::{BlockIndex, PackId, PackRef};
use crate::remote::{self, PackTable, Remote, RemoteError, RemoteErrorKind};

/// Pack tables kept decoded: one covers 64 MiB of film, so this is 256 GiB of working set.
const MAX_TABLES: u64 = 4096;

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
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
    evictions: AtomicU64,
    fetched_bytes: AtomicU64,
}

/// A block is keyed by its pack and number, and was checked against the pack's table when it came.
#[derive(Debug)]
pub struct BlockCache {
    remote: Arc<dyn Remote>,
    blocks: Cache<(PackId, BlockIndex), Bytes>,
    tables: Cache<PackId, Arc<PackTable>>,
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
        if let Some(bytes) = self.blocks.get(&key).await {
            self.counters.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(bytes);
        }
        // The cache itself is asked from a task of its own: the reader that comes first may go away
        // (a seek), and the fetch then goes on for those who joined it and for the cache.
        let fetch = Fetch {
            remote: Arc::clone(&self.remote),
            blocks: self.blocks.clone(),
            tables: self.tables.clone(),
            counters: Arc::clone(&self.counters),
            deadline: self.deadline,
        };
        let pack = pack.clone();
        let fetched = tokio::spawn(async move { fetch.block(&pack, block).await });
        fetched
            .await
            .unwrap_or_else(|error| Err(ended_early(&error)))
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
        }
    }

    /// Drops everything; how many bytes.
    pub fn clear(&self) -> u64 {
        let held = self.blocks.weighted_size();
        self.blocks.invalidate_all();
        self.tables.invalidate_all();
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
    blocks: Cache<(PackId, BlockIndex), Bytes>,
    tables: Cache<PackId, Arc<PackTable>>,
    counters: Arc<Counters>,
    deadline: Duration,
}

impl Fetch {
    async fn block(self, pack: &PackRef, block: BlockIndex) -> Result<Bytes, SharedError> {
        let entry = self
            .blocks
            .entry((pack.id, block))
            .or_try_insert_with(self.fetch(pack, block))
            .await
            .map_err(|error: Arc<SharedError>| (*error).clone())?;
        if entry.is_fresh() {
            self.counters.misses.fetch_add(1, Ordering::Relaxed);
        } else {
            self.counters.hits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(entry.into_value())
    }

    async fn fetch(&self, pack: &PackRef, block: BlockIndex) -> Result<Bytes, SharedError> {
        let fetching = async {
            let table = table_of(&self.remote, &self.tables, pack).await?;
            let fetched = remote::fetch_block(&self.remote, pack, &table, block).await;
            fetched.map_err(Arc::new)
        };
        let fetched = tokio::time::timeout(self.deadline, fetching)
            .await
            .unwrap_or_else(|_| {
                Err(Arc::new(RemoteError::new(
                    RemoteErrorKind::Unavailable,
                    format!("read pack {}", pack.id),
                    format!("no answer within {} s", self.deadline.as_secs()),
                )))
            });
        match &fetched {
            Ok(bytes) => self
                .counters
                .fetched_bytes
                .fetch_add(bytes.len() as u64, Ordering::Relaxed),
            Err(_) => self.counters.errors.fetch_add(1, Ordering::Relaxed),
        };
        fetched
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
