//! Counters of the block cache, since the start.

use serde::{Deserialize, Serialize};

/// Counters of the block cache. Those that name no tier count blocks in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStats {
    /// Blocks that a reader found in memory.
    pub hits: u64,
    pub hit_bytes: u64,
    /// Blocks that had to be fetched from the store.
    pub misses: u64,
    /// Readers that shared a fetch which another reader had started.
    pub joined: u64,
    /// Fetches from the store that failed.
    pub errors: u64,
    /// Bytes fetched from the store.
    pub fetched_bytes: u64,
    pub evictions: u64,
    /// Blocks held now.
    pub entries: u64,
    /// Bytes held now.
    pub bytes: u64,
    /// Bytes it may hold.
    pub capacity_bytes: u64,
    /// Prefetched blocks.
    pub ahead_fetched: u64,
    /// Prefetched blocks that a reader used.
    pub ahead_used: u64,
    /// Prefetched blocks that no reader used.
    pub ahead_wasted: u64,
    pub ahead_errors: u64,
    /// The disk cache.
    pub disk: TierStats,
    /// Pinned blocks: those that a scan of the library reads.
    pub pinned: TierStats,
    /// Time that readers waited for the store, retries included.
    pub store_latency: Latency,
    /// Time that readers waited for the disk cache and pinned blocks.
    pub disk_latency: Latency,
}

/// Counters of a tier that keeps blocks in files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierStats {
    /// Bytes it may take.
    pub capacity_bytes: u64,
    /// Bytes on the disk, tables of packs included.
    pub bytes: u64,
    /// Blocks.
    pub entries: u64,
    pub hits: u64,
    pub hit_bytes: u64,
    pub written_bytes: u64,
    /// Files removed to make room for others, or to keep free space.
    pub evictions: u64,
    /// Damaged files, which were removed and fetched again.
    pub damaged: u64,
    /// Files not written: no room, queue full, or a disk error.
    pub unwritten: u64,
}

/// Upper bounds of the buckets of [`Latency`] in milliseconds; the last bucket has none.
pub const LATENCY_MILLIS: [u64; 11] = [1, 2, 5, 10, 25, 50, 100, 250, 1000, 5000, 30_000];

/// A histogram of latencies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    pub count: u64,
    pub sum_micros: u64,
    /// Number of measurements in each bucket: up to each bound of [`LATENCY_MILLIS`], then above.
    pub buckets: [u64; LATENCY_MILLIS.len() + 1],
}
