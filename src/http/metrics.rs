//! Counters of the gateway's own work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::StatusCode;

/// Counters since the start. Several tasks update them without a lock.
#[derive(Debug)]
pub(super) struct Metrics {
    started: Instant,
    /// By class of status: 1xx to 5xx.
    answers: [AtomicU64; 5],
    body_bytes: AtomicU64,
    connections: AtomicU64,
    refused_connections: AtomicU64,
    open_connections: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            answers: Default::default(),
            body_bytes: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            refused_connections: AtomicU64::new(0),
            open_connections: AtomicU64::new(0),
        }
    }
}

/// Values of the counters at one moment.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct MetricsSnapshot {
    pub uptime_seconds: u64,
    pub answers: [u64; 5],
    pub body_bytes: u64,
    pub connections: u64,
    pub refused_connections: u64,
    pub open_connections: u64,
}

impl Metrics {
    pub(super) fn count_answer(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(counter) = self.answers.get(class.wrapping_sub(1)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
    pub(super) fn add_body_bytes(&self, count: u64) {
        self.body_bytes.fetch_add(count, Ordering::Relaxed);
    }
    pub(super) fn connection_opened(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.open_connections.fetch_add(1, Ordering::Relaxed);
    }
    pub(super) fn connection_closed(&self) {
        self.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
    pub(super) fn connection_refused(&self) {
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }
    pub(super) fn snapshot(&self) -> MetricsSnapshot {
        MetricsSnapshot {
            uptime_seconds: self.started.elapsed().as_secs(),
            answers: [0, 1, 2, 3, 4]
                .map(|class: usize| self.answers[class].load(Ordering::Relaxed)),
            body_bytes: self.body_bytes.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            refused_connections: self.refused_connections.load(Ordering::Relaxed),
            open_connections: self.open_connections.load(Ordering::Relaxed),
        }
    }
}
