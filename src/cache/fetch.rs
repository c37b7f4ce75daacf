//! Fetches a block into the memory: from a file on the disk, otherwise from the remote.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::future::Cache;

use super::block_key::BlockKey;
use super::counters::{CacheCounters, count};
use super::disk::{CachedFile, DiskStore};
use super::failures::FetchFailures;
use crate::model::{BlockIndex, PackId, PackRef};
use crate::remote::retry::{Deadline, retry};
use crate::remote::{self, Locality, PackTable, Remote, RemoteError, RemoteErrorKind, Urgency};

/// The part of the deadline (one in this many) that a pause after a failed fetch may take.
const PAUSE_PART: u32 = 4;

/// An error that several readers of one block share.
pub type SharedError = Arc<RemoteError>;

/// The parts that all fetches share.
#[derive(Debug)]
pub struct BlockFetcher {
    pub remote: Arc<dyn Remote>,
    pub blocks: Cache<BlockKey, Bytes>,
    pub tables: Cache<PackId, Arc<PackTable>>,
    /// Store of pinned blocks, which is asked before `disk`.
    pub pinned: Option<Arc<DiskStore>>,
    pub disk: Option<Arc<DiskStore>>,
    pub failures: FetchFailures,
    pub counters: Arc<CacheCounters>,
    pub deadline: Duration,
}

impl BlockFetcher {
    /// Tells whether the pack is on a disk of this machine already, where caching it gains nothing.
    pub fn is_near(&self, pack: &PackRef) -> bool {
        self.remote.locality_of(pack) == Locality::Near
    }

    fn stores(&self) -> impl Iterator<Item = &Arc<DiskStore>> {
        self.pinned.iter().chain(&self.disk)
    }

    /// Returns a block through the memory cache.
    ///
    /// # Errors
    /// The error of the fetch, shared by all who waited for it.
    pub async fn block(
        self: Arc<Self>,
        pack: &PackRef,
        block: BlockIndex,
        urgency: Urgency,
    ) -> Result<Bytes, SharedError> {
        let entry = self
            .blocks
            .entry(BlockKey::of(pack, block))
            .or_try_insert_with(self.fetch(pack, block, urgency))
            .await
            .map_err(|error: Arc<SharedError>| (*error).clone())?;
        match (entry.is_fresh(), urgency) {
            (true, Urgency::Ahead) => count(&self.counters.ahead_fetched, 1),
            (false, Urgency::Waited) => count(&self.counters.joined, 1),
            (true, Urgency::Waited) | (false, Urgency::Ahead) => {}
        }
        Ok(entry.into_value())
    }

    async fn fetch(
        &self,
        pack: &PackRef,
        block: BlockIndex,
        urgency: Urgency,
    ) -> Result<Bytes, SharedError> {
        let begun = Instant::now();
        if let Some(bytes) = self.find_on_disk(pack, block).await {
            self.counters.disk_latency.note(begun.elapsed());
            return Ok(bytes);
        }
        let key = BlockKey::of(pack, block);
        if let Some(until) = self.failures.pause_of(key) {
            let latest = tokio::time::Instant::now() + self.deadline / PAUSE_PART;
            tokio::time::sleep_until(until.min(latest)).await;
        }
        let is_again = AtomicBool::new(false);
        let attempt = || async {
            // The key of an encrypted block may have come meanwhile.
            if is_again.swap(true, Ordering::Relaxed)
                && let Some(bytes) = self.find_on_disk(pack, block).await
            {
                return Ok(bytes);
            }
            self.ask_remote(pack, block, urgency).await
        };
        let fetched = match urgency {
            // A broken connection is not the reader's error while there is time to try again.
            Urgency::Waited => retry(Deadline::after(self.deadline), attempt).await,
            Urgency::Ahead => tokio::time::timeout(self.deadline, attempt())
                .await
                .unwrap_or_else(|_| Err(Arc::new(late(pack)))),
        };
        let counters = &self.counters;
        match (&fetched, urgency) {
            (Ok(bytes), _) => {
                self.failures.succeeded(key);
                count(&counters.fetched_bytes, bytes.len() as u64);
                if urgency == Urgency::Waited {
                    count(&counters.misses, 1);
                    counters.store_latency.note(begun.elapsed());
                }
            }
            (Err(error), Urgency::Waited) => {
                self.failures.failed(key, error.retry_after);
                count(&counters.errors, 1);
            }
            // Nobody waited for that fetch. The reader fetches for itself, without a pause.
            (Err(_), Urgency::Ahead) => count(&counters.ahead_errors, 1),
        }
        fetched
    }

    async fn ask_remote(
        &self,
        pack: &PackRef,
        block: BlockIndex,
        urgency: Urgency,
    ) -> Result<Bytes, SharedError> {
        let stored = async {
            let stored = remote::fetch_stored(&self.remote, pack, block, urgency).await;
            stored.map_err(Arc::new)
        };
        // Both requests run in parallel, so the first block of a pack takes one round trip instead of two.
        let (table, stored) = futures_util::future::try_join(self.table(pack), stored).await?;
        let disk = self.disk.as_ref().filter(|_| !self.is_near(pack));
        // A second reference makes decryption copy. It is taken only when the disk keeps the block.
        let kept = disk.map(|_| stored.clone());
        let bytes = remote::open_block(pack, &table, block, stored, self.remote.cipher())
            .map_err(Arc::new)?;
        if let (Some(disk), Some(stored)) = (disk, kept) {
            keep(disk, &table, block, stored);
        }
        Ok(bytes)
    }

    /// Returns a block from the disk if it is there and passes its check.
    async fn find_on_disk(&self, pack: &PackRef, block: BlockIndex) -> Option<Bytes> {
        if self.is_near(pack) {
            return None;
        }
        let item = CachedFile::Block(pack.id, block);
        for store in self.stores() {
            if store.may_hold(item)
                && let Some(bytes) = self.find_in(store, pack, block).await
            {
                return Some(bytes);
            }
        }
        None
    }

    async fn find_in(
        &self,
        store: &Arc<DiskStore>,
        pack: &PackRef,
        block: BlockIndex,
    ) -> Option<Bytes> {
        let item = CachedFile::Block(pack.id, block);
        let reading = {
            let store = Arc::clone(store);
            tokio::task::spawn_blocking(move || store.read(item))
        };
        let stored = reading.await.ok()??;
        // Without its table the block cannot be checked. The remote is then asked for both.
        let table = self.table(pack).await.ok()?;
        let (store, pack) = (Arc::clone(store), pack.clone());
        let cipher = self.remote.cipher().clone();
        let checking = tokio::task::spawn_blocking(move || {
            let len = stored.len() as u64;
            match remote::open_block(&pack, &table, block, stored, &cipher) {
                Ok(bytes) => {
                    store.count_hit(len);
                    keep_table(&store, &table);
                    Some(bytes)
                }
                Err(error) => {
                    if error.kind == RemoteErrorKind::Corrupt {
                        store.remove_damaged(item);
                    }
                    None
                }
            }
        });
        checking.await.ok()?
    }

    /// Returns the pack's table, from memory, a file, or the remote.
    ///
    /// # Errors
    /// The error of the fetch, shared by all who waited for it.
    pub async fn table(&self, pack: &PackRef) -> Result<Arc<PackTable>, SharedError> {
        let fetch = async {
            if let Some(table) = self.table_on_disk(pack).await {
                return Ok(Arc::new(table));
            }
            remote::fetch_table(&self.remote, pack).await.map(Arc::new)
        };
        self.tables
            .try_get_with(pack.id, fetch)
            .await
            .map_err(|error: Arc<RemoteError>| error)
    }

    async fn table_on_disk(&self, pack: &PackRef) -> Option<PackTable> {
        let item = CachedFile::Table(pack.id);
        if self.is_near(pack) {
            return None;
        }
        for store in self.stores().filter(|store| store.may_hold(item)) {
            let (store, pack) = (Arc::clone(store), pack.clone());
            let reading = tokio::task::spawn_blocking(move || {
                let bytes = store.read(item)?;
                match remote::open_table(&pack, &bytes) {
                    Ok(table) => Some(table),
                    Err(_) => {
                        store.remove_damaged(item);
                        None
                    }
                }
            });
            if let Ok(Some(table)) = reading.await {
                return Some(table);
            }
        }
        None
    }
}

/// Offers a block and the table that it is checked against to a tier.
pub fn keep(store: &DiskStore, table: &PackTable, block: BlockIndex, stored: Bytes) {
    // The table is kept first. Without it the block cannot be used while the remote is down.
    keep_table(store, table);
    store.offer(CachedFile::Block(table.pack(), block), stored);
}

fn keep_table(store: &DiskStore, table: &PackTable) {
    let item = CachedFile::Table(table.pack());
    if store.holds(item) {
        return;
    }
    match table.encode() {
        Ok(bytes) => store.offer(item, bytes.into()),
        Err(error) => tracing::debug!(?item, %error, "a table is not cached"),
    }
}

fn late(pack: &PackRef) -> RemoteError {
    RemoteError::new(
        RemoteErrorKind::Unavailable,
        format!("read pack {}", pack.id),
        "the store did not answer in time",
    )
}
