//! Selection of the files that are dropped on request, and the count of the dropped ones.

use std::collections::HashSet;
use std::time::Duration;

use super::directory::{CachedFile, Millis, now};
use crate::model::PackId;

/// A set of files to be dropped.
#[derive(Debug, Clone)]
pub enum DropSelection {
    /// Every file.
    All,
    /// The files of these packs.
    Packs(HashSet<PackId>),
    /// The files that were last used at this time or before.
    UnusedSince(Millis),
}

impl DropSelection {
    /// Selects the files that were not used for `time`.
    pub fn unused_for(time: Duration) -> Self {
        let ago = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self::UnusedSince(now().saturating_sub(ago))
    }

    /// Tells whether the selection has a file that was last used at `used`.
    pub fn takes(&self, file: CachedFile, used: Millis) -> bool {
        match self {
            Self::All => true,
            Self::Packs(packs) => packs.contains(&file.pack()),
            Self::UnusedSince(time) => used <= *time,
        }
    }
}

/// The amount that was dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Number of blocks.
    pub blocks: u64,
    /// Their bytes. On a disk they are counted in whole pages.
    pub bytes: u64,
}

impl std::ops::Add for Dropped {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            blocks: self.blocks + other.blocks,
            bytes: self.bytes + other.bytes,
        }
    }
}
