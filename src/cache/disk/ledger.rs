//! The files of a directory, ordered by their time of use.

use std::collections::{BTreeSet, HashMap};

use super::directory::{CachedFile, Millis};

/// Bytes of a page. A file occupies whole pages of the disk.
const PAGE_BYTES: u64 = 4096;

#[derive(Debug, Clone, Copy)]
struct Kept {
    /// Bytes that the file occupies on the disk.
    bytes: u64,
    used: Millis,
}

/// The known files of a directory, their size on the disk and their time of use.
#[derive(Debug, Default)]
pub struct Ledger {
    items: HashMap<CachedFile, Kept>,
    by_use: BTreeSet<(Millis, CachedFile)>,
    bytes: u64,
}

/// Returns the bytes that a file of `len` bytes occupies on the disk.
pub const fn taken(len: u64) -> u64 {
    len.next_multiple_of(PAGE_BYTES)
}

impl Ledger {
    /// Adds a file of `len` bytes, or replaces its entry.
    pub fn insert(&mut self, item: CachedFile, len: u64, used: Millis) {
        self.remove(item);
        let bytes = taken(len);
        self.items.insert(item, Kept { bytes, used });
        self.by_use.insert((used, item));
        self.bytes += bytes;
    }

    /// Removes a file. Returns the bytes that it occupied.
    pub fn remove(&mut self, item: CachedFile) -> Option<u64> {
        let kept = self.items.remove(&item)?;
        self.by_use.remove(&(kept.used, item));
        self.bytes -= kept.bytes;
        Some(kept.bytes)
    }

    /// Sets the time of use. Returns the milliseconds since the previous one.
    pub fn touch(&mut self, item: CachedFile, now: Millis) -> Option<Millis> {
        let kept = self.items.get_mut(&item)?;
        let before = std::mem::replace(&mut kept.used, now);
        self.by_use.remove(&(before, item));
        self.by_use.insert((now, item));
        Some(now.saturating_sub(before))
    }

    /// Tells whether a file is known.
    pub fn contains(&self, item: CachedFile) -> bool {
        self.items.contains_key(&item)
    }

    /// Returns the least recently used file.
    pub fn oldest(&self) -> Option<(Millis, CachedFile)> {
        self.by_use.first().copied()
    }

    /// Returns the bytes that all files occupy on the disk.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the number of blocks.
    pub fn blocks(&self) -> u64 {
        let is_block = |item: &&CachedFile| matches!(item, CachedFile::Block(..));
        self.items.keys().filter(is_block).count() as u64
    }

    /// Returns the packs of the files, each as often as it has files.
    pub fn packs(&self) -> impl Iterator<Item = crate::model::PackId> {
        self.items.keys().map(CachedFile::pack)
    }

    /// Removes and returns the files that `is_meant` accepts, by content and time of use.
    pub fn take(&mut self, is_meant: impl Fn(CachedFile, Millis) -> bool) -> Vec<CachedFile> {
        let meant = self
            .by_use
            .iter()
            .filter(|(used, item)| is_meant(*item, *used));
        let meant: Vec<CachedFile> = meant.map(|(_, item)| *item).collect();
        for item in &meant {
            self.remove(*item);
        }
        meant
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BlockIndex, PackId};

    #[test]
    fn the_sum_and_the_order_follow_each_change() {
        let pack = PackId::from_bytes([1; 16]);
        let block = |number| CachedFile::Block(pack, BlockIndex(number));
        let mut ledger = Ledger::default();
        ledger.insert(CachedFile::Table(pack), 100, 5);
        ledger.insert(block(0), 5000, 5);
        ledger.insert(block(1), 4096, 4);
        ledger.insert(block(0), 4000, 5);
        assert_eq!(ledger.bytes(), 3 * PAGE_BYTES);
        assert_eq!(ledger.oldest(), Some((4, block(1))));
        assert_eq!(ledger.touch(block(1), 9), Some(5));
        assert_eq!(ledger.oldest(), Some((5, block(0))), "before its table");
        assert_eq!(ledger.take(|_, used| used < 6).len(), 2);
        assert_eq!((ledger.bytes(), ledger.blocks()), (PAGE_BYTES, 1));
    }
}
