//! The place of the files of one tier, and the room that they may take.

use std::path::PathBuf;
use std::time::Duration;

/// Choice of the files that are removed when there is no room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// The least recently used files.
    Oldest,
    /// Only files that were not used for this long. When there are none, new files are not stored.
    Unused(Duration),
}

/// The directory of one tier and its limits.
#[derive(Debug, Clone)]
pub struct DiskLimits {
    /// The directory, which is created when it does not exist.
    pub directory: PathBuf,
    /// Most bytes that the files may take on the disk.
    pub budget: u64,
    /// Free bytes that the file system must keep for others.
    pub floor: u64,
    /// Which files go when either limit is reached.
    pub eviction: Eviction,
}
