//! What a child process may take: limits, priority, devices, and the flag that stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The job's input file, as the program sees it.
pub const INPUT_PATH: &str = "/proc/self/fd/0";

/// What bounds a job.
#[derive(Debug, Clone, Copy)]
pub struct ProcessLimits {
    /// Longest time without a byte of output while we wait for one.
    pub stall: Duration,
    /// Longest time from start to end.
    pub wall: Duration,
    /// Address space of the program in bytes (`RLIMIT_AS`).
    pub memory: u64,
}

/// How much a job may hold up others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    #[default]
    Usual,
    /// It takes only what nobody else wants.
    Low,
}

/// Which devices a job may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Devices {
    #[default]
    None,
    /// Graphics processors, which want much address space too.
    Graphics,
}

/// Tells a job to stop, from another thread.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Stops the job.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    /// Returns whether the job is to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
