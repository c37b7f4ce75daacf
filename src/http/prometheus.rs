//! Numbers in Prometheus' text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::fmt::Write as _;

use crate::model::{CacheStats, LATENCY_MILLIS, Latency, TierStats};

/// Name without `tgfs_`, type and help.
pub(super) type Head<'a> = (&'a str, &'a str, &'a str);

pub(super) fn number(text: &mut String, head: Head<'_>, value: u64) {
    let name = begin(text, head);
    let _ = writeln!(text, "tgfs_{name} {value}");
}

fn begin<'a>(text: &mut String, (name, kind, help): Head<'a>) -> &'a str {
    let _ = write!(
        text,
        "# HELP tgfs_{name} {help}\n# TYPE tgfs_{name} {kind}\n"
    );
    name
}

pub(super) fn cache(text: &mut String, cache: &CacheStats) {
    let (counter, gauge) = ("counter", "gauge");
    let rows = [
        ("hits_total", counter, "Blocks found in memory", cache.hits),
        ("hit_bytes_total", counter, "Bytes of them", cache.hit_bytes),
        (
            "misses_total",
            counter,
            "Blocks fetched from the store for a reader",
            cache.misses,
        ),
        (
            "joined_total",
            counter,
            "Readers that waited for a fetch of another",
            cache.joined,
        ),
        (
            "errors_total",
            counter,
            "Fetches from the store that failed",
            cache.errors,
        ),
        (
            "fetched_bytes_total",
            counter,
            "Bytes of blocks from the store",
            cache.fetched_bytes,
        ),
        (
            "evictions_total",
            counter,
            "Blocks dropped from memory for others",
            cache.evictions,
        ),
        ("blocks", gauge, "Blocks held in memory", cache.entries),
        ("bytes", gauge, "Bytes held in memory", cache.bytes),
        (
            "capacity_bytes",
            gauge,
            "Bytes that may be held in memory",
            cache.capacity_bytes,
        ),
        (
            "ahead_fetched_total",
            counter,
            "Blocks brought before a reader came for them",
            cache.ahead_fetched,
        ),
        (
            "ahead_used_total",
            counter,
            "Blocks wanted ahead whose reader came",
            cache.ahead_used,
        ),
        (
            "ahead_wasted_total",
            counter,
            "Blocks brought ahead whose reader never came",
            cache.ahead_wasted,
        ),
        (
            "ahead_errors_total",
            counter,
            "Fetches ahead that failed",
            cache.ahead_errors,
        ),
    ];
    for (name, kind, help, value) in rows {
        number(text, (&format!("cache_{name}"), kind, help), value);
    }
    tiers(text, [("disk", &cache.disk), ("pinned", &cache.pinned)]);
    let latencies = [
        ("store", &cache.store_latency),
        ("disk", &cache.disk_latency),
    ];
    histograms(
        text,
        ("cache_wait_seconds", "histogram", "Waits for a block"),
        latencies,
    );
}

fn tiers(text: &mut String, tiers: [(&str, &TierStats); 2]) {
    type Value = fn(&TierStats) -> u64;
    let rows: [(&str, &str, &str, Value); 9] = [
        (
            "capacity_bytes",
            "gauge",
            "Bytes that files may take",
            |tier| tier.capacity_bytes,
        ),
        ("bytes", "gauge", "Bytes that files take", |tier| tier.bytes),
        ("blocks", "gauge", "Blocks in files", |tier| tier.entries),
        ("hits_total", "counter", "Blocks found in files", |tier| {
            tier.hits
        }),
        ("hit_bytes_total", "counter", "Bytes of them", |tier| {
            tier.hit_bytes
        }),
        (
            "written_bytes_total",
            "counter",
            "Bytes written to files",
            |tier| tier.written_bytes,
        ),
        (
            "evictions_total",
            "counter",
            "Files dropped for others or for free space",
            |tier| tier.evictions,
        ),
        (
            "damaged_total",
            "counter",
            "Files that were damaged, and dropped",
            |tier| tier.damaged,
        ),
        (
            "unwritten_total",
            "counter",
            "Files not written: full, busy or failing disk",
            |tier| tier.unwritten,
        ),
    ];
    for (name, kind, help, value) in rows {
        let name = format!("cache_tier_{name}");
        begin(text, (&name, kind, help));
        for (tier, stats) in tiers {
            let _ = writeln!(text, "tgfs_{name}{{tier=\"{tier}\"}} {}", value(stats));
        }
    }
}

fn histograms(text: &mut String, head: Head<'_>, of: [(&str, &Latency); 2]) {
    let name = begin(text, head);
    for (from, latency) in of {
        let mut sum = 0;
        for (millis, count) in LATENCY_MILLIS.iter().zip(latency.buckets) {
            sum += count;
            let upper = *millis as f64 / 1e3;
            let _ = writeln!(
                text,
                "tgfs_{name}_bucket{{from=\"{from}\",le=\"{upper}\"}} {sum}"
            );
        }
        let (count, seconds) = (latency.count, latency.sum_micros as f64 / 1e6);
        let _ = write!(
            text,
            "tgfs_{name}_bucket{{from=\"{from}\",le=\"+Inf\"}} {count}\n\
             tgfs_{name}_sum{{from=\"{from}\"}} {seconds}\n\
             tgfs_{name}_count{{from=\"{from}\"}} {count}\n"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_and_tiers_are_told_apart() {
        let mut stats = CacheStats::default();
        stats.disk.hits = 7;
        stats.store_latency.buckets[0] = 2;
        stats.store_latency.buckets[2] = 3;
        stats.store_latency.count = 6;
        stats.store_latency.sum_micros = 1_500_000;
        let mut text = String::new();
        cache(&mut text, &stats);
        for line in [
            "tgfs_cache_tier_hits_total{tier=\"disk\"} 7",
            "tgfs_cache_tier_hits_total{tier=\"pinned\"} 0",
            "tgfs_cache_wait_seconds_bucket{from=\"store\",le=\"0.001\"} 2",
            "tgfs_cache_wait_seconds_bucket{from=\"store\",le=\"0.005\"} 5",
            "tgfs_cache_wait_seconds_bucket{from=\"store\",le=\"+Inf\"} 6",
            "tgfs_cache_wait_seconds_sum{from=\"store\"} 1.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
        let types = text.lines().filter(|line| line.starts_with("# TYPE"));
        assert_eq!(types.count(), 14 + 9 + 1);
    }
}
