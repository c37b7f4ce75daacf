//! Where the files of one tier lie, and how much room they may take.

use std::path::PathBuf;
use std::time::Duration;

/// Which files go when there is no room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// The least recently used.
    Oldest,
    /// Only files that were not used for this long; otherwise new ones stay out.
    Unused(Duration),
}

/// The directory of one tier and its limits.
#[derive(Debug, Clone)]
pub struct DiskLimits {
    /// Made when it is not there.
    pub directory: PathBuf,
    /// Most bytes that the files may take on the disk.
    pub budget: u64,
    /// Free bytes that the file system must keep for others.
    pub floor: u64,
    /// Which files go when either limit is reached.
    pub eviction: Eviction,
}
