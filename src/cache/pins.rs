//! Pinned blocks: those that a scanner reads of each film, so that a scan of the library reads nothing
//! from the remote. They come from the spool at ingest, and from later readers.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use super::BlockCache;
use super::block_key::BlockKey;
use super::disk::{CachedFile, DiskStore, DropSelection};
use super::fetch::BlockFetcher;
use crate::model::{BLOCK_BYTES, BlockIndex, ByteRange, PackId, PackRef};
use crate::remote::{PackTable, SealedPack};

impl BlockCache {
    /// Tells whether there is a tier for pinned blocks.
    #[must_use]
    pub fn has_pins(&self) -> bool {
        self.fetcher.pinned.is_some()
    }

    /// Tells whether blocks of a pack can be pinned. Packs of a near store need not be pinned.
    #[must_use]
    pub fn pins(&self, pack: &PackRef) -> bool {
        self.fetcher.pinned.is_some() && !self.fetcher.is_near(pack)
    }

    /// Tells whether a block is pinned.
    #[must_use]
    pub fn is_pinned(&self, key: BlockKey) -> bool {
        let pinned = self.fetcher.pinned.as_ref();
        pinned.is_some_and(|pinned| pinned.holds(CachedFile::Block(key.pack, key.block)))
    }

    /// Pins the blocks of a pack that `ranges` touch, from the bytes that were just stored. Blocking.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn pin_stored(
        &self,
        pack: &PackRef,
        sealed: &SealedPack,
        ranges: &[ByteRange],
    ) -> io::Result<()> {
        let Some(pinned) = self
            .fetcher
            .pinned
            .as_ref()
            .filter(|_| !self.fetcher.is_near(pack))
        else {
            return Ok(());
        };
        let mut blocks: Vec<u32> = ranges.iter().copied().flat_map(blocks_of).collect();
        blocks.sort_unstable();
        blocks.dedup();
        for block in blocks.into_iter().map(BlockIndex) {
            let Some(range) = sealed.table().block_range(block) else {
                continue;
            };
            let stored = sealed.read(range)?;
            pin(pinned, sealed.table(), block, stored);
        }
        Ok(())
    }

    /// Pins blocks that were read a moment ago and are still in memory. Returns at once. Must be called
    /// inside a tokio runtime.
    pub fn pin_read(&self, blocks: Vec<(PackRef, BlockIndex)>) {
        let Some(pinned) = self.fetcher.pinned.clone() else {
            return;
        };
        let is_new = |(pack, block): &(PackRef, BlockIndex)| {
            !self.fetcher.is_near(pack) && !pinned.holds(CachedFile::Block(pack.id, *block))
        };
        let blocks: Vec<_> = blocks.into_iter().filter(is_new).collect();
        if !blocks.is_empty() {
            tokio::spawn(pin_from_memory(Arc::clone(&self.fetcher), pinned, blocks));
        }
    }

    /// Unpins the blocks of packs that `is_known` does not accept. Blocking.
    pub fn unpin_unknown(&self, is_known: impl Fn(PackId) -> bool) {
        if let Some(pinned) = &self.fetcher.pinned {
            let unknown: HashSet<PackId> = pinned
                .packs()
                .into_iter()
                .filter(|pack| !is_known(*pack))
                .collect();
            if !unknown.is_empty() {
                pinned.drop_files(&DropSelection::Packs(unknown));
            }
        }
    }
}

fn blocks_of(range: ByteRange) -> impl Iterator<Item = u32> {
    let numbers = range.offset / BLOCK_BYTES..range.end().div_ceil(BLOCK_BYTES);
    numbers.filter_map(|number| u32::try_from(number).ok())
}

fn pin(pinned: &DiskStore, table: &PackTable, block: BlockIndex, stored: bytes::Bytes) {
    let item = CachedFile::Table(table.pack());
    if !pinned.holds(item) {
        match table.encode() {
            Ok(bytes) => pinned.put(item, bytes.into()),
            Err(error) => tracing::debug!(?item, %error, "a table is not pinned"),
        }
    }
    pinned.put(CachedFile::Block(table.pack(), block), stored);
}

async fn pin_from_memory(
    fetcher: Arc<BlockFetcher>,
    pinned: Arc<DiskStore>,
    blocks: Vec<(PackRef, BlockIndex)>,
) {
    for (pack, block) in blocks {
        let Some(plain) = fetcher.blocks.get(&BlockKey::of(&pack, block)).await else {
            continue;
        };
        // The table is in memory too, since the block was checked against it.
        let Ok(table) = fetcher.table(&pack).await else {
            continue;
        };
        let (pinned, cipher) = (Arc::clone(&pinned), fetcher.remote.cipher().clone());
        let pinning =
            tokio::task::spawn_blocking(move || match table.stored_block(block, plain, &cipher) {
                Ok(stored) => pin(&pinned, &table, block, stored),
                Err(error) => tracing::debug!(%error, "a block is not pinned"),
            });
        if pinning.await.is_err() {
            return;
        }
    }
}
