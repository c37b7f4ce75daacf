//! What lies in a directory, by when it was used.

use std::collections::{BTreeSet, HashMap};

use super::directory::{CachedFile, Millis};

/// A file takes whole pages of the disk.
const PAGE_BYTES: u64 = 4096;

#[derive(Debug, Clone, Copy)]
struct Kept {
    /// On the disk.
    bytes: u64,
    used: Millis,
}

#[derive(Debug, Default)]
pub struct Ledger {
    items: HashMap<CachedFile, Kept>,
    by_use: BTreeSet<(Millis, CachedFile)>,
    bytes: u64,
}

/// What a file of `len` bytes takes.
pub const fn taken(len: u64) -> u64 {
    len.next_multiple_of(PAGE_BYTES)
}

impl Ledger {
    pub fn insert(&mut self, item: CachedFile, len: u64, used: Millis) {
        self.remove(item);
        let bytes = taken(len);
        self.items.insert(item, Kept { bytes, used });
        self.by_use.insert((used, item));
        self.bytes += bytes;
    }

    /// The bytes that it took.
    pub fn remove(&mut self, item: CachedFile) -> Option<u64> {
        let kept = self.items.remove(&item)?;
        self.by_use.remove(&(kept.used, item));
        self.bytes -= kept.bytes;
        Some(kept.bytes)
    }

    /// Says that it was used; how long ago it was before.
    pub fn touch(&mut self, item: CachedFile, now: Millis) -> Option<Millis> {
        let kept = self.items.get_mut(&item)?;
        let before = std::mem::replace(&mut kept.used, now);
        self.by_use.remove(&(before, item));
        self.by_use.insert((now, item));
        Some(now.saturating_sub(before))
    }

    pub fn contains(&self, item: CachedFile) -> bool {
        self.items.contains_key(&item)
    }

    /// What was used longest ago.
    pub fn oldest(&self) -> Option<(Millis, CachedFile)> {
        self.by_use.first().copied()
    }

    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn blocks(&self) -> u64 {
        let is_block = |item: &&CachedFile| matches!(item, CachedFile::Block(..));
        self.items.keys().filter(is_block).count() as u64
    }

    pub fn packs(&self) -> impl Iterator<Item = crate::model::PackId> {
        self.items.keys().map(CachedFile::pack)
    }

    /// Takes out all that `is_meant`, by what it is and when it was used.
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
