//! What the block cache holds and how it fares. Counters run since the start.

use serde::{Deserialize, Serialize};

/// The block cache. Without a word of a tier a counter is of the memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStats {
    /// Blocks that a reader found.
    pub hits: u64,
    pub hit_bytes: u64,
    /// Blocks that had to come from the store.
    pub misses: u64,
    /// Readers that waited for what another had asked for already.
    pub joined: u64,
    /// Fetches from the store that failed.
    pub errors: u64,
    /// Bytes of blocks from the store.
    pub fetched_bytes: u64,
    pub evictions: u64,
    /// Blocks held now.
    pub entries: u64,
    /// Bytes held now.
    pub bytes: u64,
    /// Bytes it may hold.
    pub capacity_bytes: u64,
    /// Blocks that were brought before a reader came for them.
    pub ahead_fetched: u64,
    /// Of those wanted ahead: the reader came...
    pub ahead_used: u64,
    /// ...or never did.
    pub ahead_wasted: u64,
    pub ahead_errors: u64,
    /// The disk cache.
    pub disk: TierStats,
    /// Blocks that a scan of the library reads.
    pub pinned: TierStats,
    /// How long readers waited for the store, tries included.
    pub store_latency: Latency,
    /// The same for disk cache and pinned blocks.
    pub disk_latency: Latency,
}

/// Blocks in files.
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
    /// Files dropped for others, or for free space.
    pub evictions: u64,
    /// Files that were not what they should be: dropped, and fetched again.
    pub damaged: u64,
    /// Files that were not written: no room, too many waiting, or the disk failed.
    pub unwritten: u64,
}

/// Upper ends of [`Latency`]'s buckets, milliseconds; the last bucket has none.
pub const LATENCY_MILLIS: [u64; 11] = [1, 2, 5, 10, 25, 50, 100, 250, 1000, 5000, 30_000];

/// A histogram of times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    pub count: u64,
    pub sum_micros: u64,
    /// How many took no longer than each of [`LATENCY_MILLIS`], and not within the one before; then
    /// those that took longer.
    pub buckets: [u64; LATENCY_MILLIS.len() + 1],
}
