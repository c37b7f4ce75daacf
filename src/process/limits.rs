//! Limits of a child process: resources, priority, devices, and the flag that stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Path of the job's input file, as the program sees it.
pub const INPUT_PATH: &str = "/proc/self/fd/0";

/// Limits of a job.
#[derive(Debug, Clone, Copy)]
pub struct ProcessLimits {
    /// Longest time without a byte of output while we wait for one.
    pub stall: Duration,
    /// Longest time from start to end.
    pub wall: Duration,
    /// Address space of the program in bytes (`RLIMIT_AS`).
    pub memory: u64,
}

/// Priority of a job, which decides how much it may hold up others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    #[default]
    Usual,
    /// The job takes only what nobody else wants.
    Low,
}

/// Devices that a job may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Devices {
    #[default]
    None,
    /// Graphics processors. They also need much address space.
    Graphics,
}

/// Owner of a flag that stops the job when nobody waits for it any more.
#[derive(Debug, Default)]
pub struct CancelOnDrop(pub CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Flag that tells a job to stop, set from another thread.
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
