//! Numbers in Prometheus' text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>). Names, types, labels and help texts
//! are read by the operator's dashboards, so they are frozen.

use std::fmt::Write as _;

use crate::model::{CacheStats, LATENCY_MILLIS, Latency, PendingInfo, TierStats};

use super::metrics::MetricsSnapshot;

use self::MetricKind::{Counter, Gauge, Histogram};

/// Type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

impl MetricKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric of a value of type `T`.
struct Metric<T> {
    /// Name without `tgfs_`.
    name: &'static str,
    kind: MetricKind,
    help: &'static str,
    read: fn(&T) -> u64,
}

const fn metric<T>(
    name: &'static str,
    kind: MetricKind,
    help: &'static str,
    read: fn(&T) -> u64,
) -> Metric<T> {
    Metric {
        name,
        kind,
        help,
        read,
    }
}

/// State of the gateway and of ingest at one moment.
pub(super) struct GatewayNumbers {
    pub http: MetricsSnapshot,
    pub pending: PendingInfo,
    pub jobs: u64,
}

const GATEWAY: [Metric<GatewayNumbers>; 9] = [
    metric(
        "uptime_seconds",
        Gauge,
        "Seconds since the gateway started",
        |now| now.http.uptime_seconds,
    ),
    metric(
        "http_body_bytes_total",
        Counter,
        "Bytes of files and views sent",
        |now| now.http.body_bytes,
    ),
    metric(
        "http_connections_total",
        Counter,
        "Connections accepted",
        |now| now.http.connections,
    ),
    metric(
        "http_connections_refused_total",
        Counter,
        "Connections over the limit of one address",
        |now| now.http.refused_connections,
    ),
    metric("http_connections", Gauge, "Connections open", |now| {
        now.http.open_connections
    }),
    metric(
        "pending_files",
        Gauge,
        "Files that are only in the spool",
        |now| now.pending.files,
    ),
    metric(
        "pending_bytes",
        Gauge,
        "Bytes that are only in the spool",
        |now| now.pending.bytes,
    ),
    metric(
        "pending_oldest_seconds",
        Gauge,
        "Age of the oldest of them",
        |now| now.pending.oldest_seconds,
    ),
    metric("jobs", Gauge, "Jobs of ingest", |now| now.jobs),
];

const CACHE: [Metric<CacheStats>; 14] = [
    metric(
        "cache_hits_total",
        Counter,
        "Blocks found in memory",
        |cache| cache.hits,
    ),
    metric("cache_hit_bytes_total", Counter, "Bytes of them", |cache| {
        cache.hit_bytes
    }),
    metric(
        "cache_misses_total",
        Counter,
        "Blocks fetched from the store for a reader",
        |cache| cache.misses,
    ),
    metric(
        "cache_joined_total",
        Counter,
        "Readers that waited for a fetch of another",
        |cache| cache.joined,
    ),
    metric(
        "cache_errors_total",
        Counter,
        "Fetches from the store that failed",
        |cache| cache.errors,
    ),
    metric(
        "cache_fetched_bytes_total",
        Counter,
        "Bytes of blocks from the store",
        |cache| cache.fetched_bytes,
    ),
    metric(
        "cache_evictions_total",
        Counter,
        "Blocks dropped from memory for others",
        |cache| cache.evictions,
    ),
    metric("cache_blocks", Gauge, "Blocks held in memory", |cache| {
        cache.entries
    }),
    metric("cache_bytes", Gauge, "Bytes held in memory", |cache| {
        cache.bytes
    }),
    metric(
        "cache_capacity_bytes",
        Gauge,
        "Bytes that may be held in memory",
        |cache| cache.capacity_bytes,
    ),
    metric(
        "cache_ahead_fetched_total",
        Counter,
        "Blocks brought before a reader came for them",
        |cache| cache.ahead_fetched,
    ),
    metric(
        "cache_ahead_used_total",
        Counter,
        "Blocks wanted ahead whose reader came",
        |cache| cache.ahead_used,
    ),
    metric(
        "cache_ahead_wasted_total",
        Counter,
        "Blocks brought ahead whose reader never came",
        |cache| cache.ahead_wasted,
    ),
    metric(
        "cache_ahead_errors_total",
        Counter,
        "Fetches ahead that failed",
        |cache| cache.ahead_errors,
    ),
];

const TIER: [Metric<TierStats>; 9] = [
    metric(
        "cache_tier_capacity_bytes",
        Gauge,
        "Bytes that files may take",
        |tier| tier.capacity_bytes,
    ),
    metric("cache_tier_bytes", Gauge, "Bytes that files take", |tier| {
        tier.bytes
    }),
    metric("cache_tier_blocks", Gauge, "Blocks in files", |tier| {
        tier.entries
    }),
    metric(
        "cache_tier_hits_total",
        Counter,
        "Blocks found in files",
        |tier| tier.hits,
    ),
    metric(
        "cache_tier_hit_bytes_total",
        Counter,
        "Bytes of them",
        |tier| tier.hit_bytes,
    ),
    metric(
        "cache_tier_written_bytes_total",
        Counter,
        "Bytes written to files",
        |tier| tier.written_bytes,
    ),
    metric(
        "cache_tier_evictions_total",
        Counter,
        "Files dropped for others or for free space",
        |tier| tier.evictions,
    ),
    metric(
        "cache_tier_damaged_total",
        Counter,
        "Files that were damaged, and dropped",
        |tier| tier.damaged,
    ),
    metric(
        "cache_tier_unwritten_total",
        Counter,
        "Files not written: full, busy or failing disk",
        |tier| tier.unwritten,
    ),
];

/// Writes all metrics.
pub(super) fn text(numbers: &GatewayNumbers, cache: &CacheStats) -> String {
    let mut text = String::new();
    values(&mut text, &GATEWAY, numbers);
    values(&mut text, &CACHE, cache);
    tiers(
        &mut text,
        [("disk", &cache.disk), ("pinned", &cache.pinned)],
    );
    waits(
        &mut text,
        [
            ("store", &cache.store_latency),
            ("disk", &cache.disk_latency),
        ],
    );
    answers(&mut text, numbers.http.answers);
    text
}

fn begin(text: &mut String, name: &str, kind: MetricKind, help: &str) {
    let kind = kind.as_str();
    let _infallible = write!(
        text,
        "# HELP tgfs_{name} {help}\n# TYPE tgfs_{name} {kind}\n"
    );
}

/// Appends metrics without labels.
fn values<T>(text: &mut String, metrics: &[Metric<T>], of: &T) {
    for metric in metrics {
        begin(text, metric.name, metric.kind, metric.help);
        let _infallible = writeln!(text, "tgfs_{} {}", metric.name, (metric.read)(of));
    }
}

/// Appends the metrics of the cache's tiers in files, with the tier as a label.
fn tiers(text: &mut String, tiers: [(&str, &TierStats); 2]) {
    for metric in &TIER {
        begin(text, metric.name, metric.kind, metric.help);
        for (tier, stats) in tiers {
            let value = (metric.read)(stats);
            let _infallible = writeln!(text, "tgfs_{}{{tier=\"{tier}\"}} {value}", metric.name);
        }
    }
}

/// Appends the histogram of waits for a block, with the block's source as a label.
fn waits(text: &mut String, sources: [(&str, &Latency); 2]) {
    let name = "cache_wait_seconds";
    begin(text, name, Histogram, "Waits for a block");
    for (from, latency) in sources {
        let mut sum = 0;
        for (millis, count) in LATENCY_MILLIS.iter().zip(latency.buckets) {
            sum += count;
            let upper = *millis as f64 / 1e3;
            let _infallible = writeln!(
                text,
                "tgfs_{name}_bucket{{from=\"{from}\",le=\"{upper}\"}} {sum}"
            );
        }
        let (count, seconds) = (latency.count, latency.sum_micros as f64 / 1e6);
        let _infallible = write!(
            text,
            "tgfs_{name}_bucket{{from=\"{from}\",le=\"+Inf\"}} {count}\n\
             tgfs_{name}_sum{{from=\"{from}\"}} {seconds}\n\
             tgfs_{name}_count{{from=\"{from}\"}} {count}\n"
        );
    }
}

/// Appends the count of answers, with the class of the status as a label.
fn answers(text: &mut String, answers: [u64; 5]) {
    let name = "http_answers_total";
    begin(text, name, Counter, "Answers by class of status");
    for (class, count) in (1..).zip(answers) {
        let _infallible = writeln!(text, "tgfs_{name}{{class=\"{class}xx\"}} {count}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache_text(stats: &CacheStats) -> String {
        let numbers = GatewayNumbers {
            http: MetricsSnapshot {
                uptime_seconds: 1,
                answers: [0, 2, 3, 4, 5],
                body_bytes: 6,
                connections: 7,
                refused_connections: 8,
                open_connections: 9,
            },
            pending: PendingInfo::default(),
            jobs: 10,
        };
        text(&numbers, stats)
    }

    #[test]
    fn buckets_add_up_and_tiers_are_told_apart() {
        let mut stats = CacheStats::default();
        stats.disk.hits = 7;
        stats.store_latency.buckets[0] = 2;
        stats.store_latency.buckets[2] = 3;
        stats.store_latency.count = 6;
        stats.store_latency.sum_micros = 1_500_000;
        let text = cache_text(&stats);
        for line in [
            "tgfs_cache_tier_hits_total{tier=\"disk\"} 7",
            "tgfs_cache_tier_hits_total{tier=\"pinned\"} 0",
            "tgfs_cache_wait_seconds_bucket{from=\"store\",le=\"0.001\"} 2",
            "tgfs_cache_wait_seconds_bucket{from=\"store\",le=\"0.005\"} 5",
            "tgfs_cache_wait_seconds_bucket{from=\"store\",le=\"+Inf\"} 6",
            "tgfs_cache_wait_seconds_sum{from=\"store\"} 1.5",
            "tgfs_http_answers_total{class=\"5xx\"} 5",
            "tgfs_jobs 10",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
        let types = text.lines().filter(|line| line.starts_with("# TYPE"));
        assert_eq!(types.count(), 9 + 14 + 9 + 1 + 1);
    }

    /// Dashboards and alarms depend on every name, type, label and help text.
    #[test]
    fn the_text_is_frozen() {
        let text = cache_text(&CacheStats::default());
        assert_eq!(text, include_str!("tests/metrics.txt"));
    }
}
