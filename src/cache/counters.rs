//! Counters of the cache since the start.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::{LATENCY_MILLIS, Latency};

/// Counts of the memory cache and of the fetches below it.
#[derive(Debug, Default)]
pub struct CacheCounters {
    pub hits: AtomicU64,
    pub hit_bytes: AtomicU64,
    pub misses: AtomicU64,
    pub joined: AtomicU64,
    pub errors: AtomicU64,
    pub evictions: AtomicU64,
    pub fetched_bytes: AtomicU64,
    pub ahead_fetched: AtomicU64,
    pub ahead_used: AtomicU64,
    pub ahead_wasted: AtomicU64,
    pub ahead_errors: AtomicU64,
    pub store_latency: Histogram,
    pub disk_latency: Histogram,
}

impl CacheCounters {
    /// Counts a block of `len` bytes that a reader found in memory.
    pub fn hit(&self, len: usize) {
        count(&self.hits, 1);
        count(&self.hit_bytes, len as u64);
    }
}

/// Adds to a counter.
pub fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// Durations in the buckets of [`LATENCY_MILLIS`].
#[derive(Debug, Default)]
pub struct Histogram {
    sum_micros: AtomicU64,
    buckets: [AtomicU64; LATENCY_MILLIS.len() + 1],
}

impl Histogram {
    /// Adds a duration.
    pub fn note(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_MILLIS.partition_point(|millis| millis * 1000 < micros);
        count(&self.buckets[bucket], 1);
        count(&self.sum_micros, micros);
    }

    /// Returns the sum and the buckets so far.
    pub fn latency(&self) -> Latency {
        let buckets = std::array::from_fn(|at| self.buckets[at].load(Ordering::Relaxed));
        Latency {
            count: buckets.iter().sum(),
            sum_micros: self.sum_micros.load(Ordering::Relaxed),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_counts_in_the_first_bucket_that_it_fits() {
        let histogram = Histogram::default();
        for millis in [0, 1, 2, 3, 60_000] {
            histogram.note(Duration::from_millis(millis));
        }
        let latency = histogram.latency();
        assert_eq!(latency.buckets[..4], [2, 1, 1, 0]);
        assert_eq!(latency.buckets.last(), Some(&1));
        assert_eq!((latency.count, latency.sum_micros), (5, 60_006_000));
    }
}
