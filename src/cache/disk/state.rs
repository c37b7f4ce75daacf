//! The state of one tier that its callers and its writer thread share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::directory::{CacheDirectory, CachedFile};
use super::ledger::Ledger;
use super::limits::DiskLimits;
use super::selection::{DropSelection, Dropped};
use crate::model::TierStats;
use crate::sync::MutexExt as _;

/// Everything that is known of the files in one directory.
#[derive(Debug)]
pub struct DiskState {
    pub directory: CacheDirectory,
    pub limits: DiskLimits,
    pub counters: DiskCounters,
    pub start_scan: StartScan,
    ledger: Mutex<Ledger>,
    /// Files that left the ledger and are still on the disk.
    doomed: Mutex<Vec<CachedFile>>,
    is_stopping: AtomicBool,
    /// Number that grows with each drop. A file that was offered before a drop must not be written after
    /// it.
    generation: AtomicU64,
}

impl DiskState {
    /// Makes a state that knows of no file yet.
    pub fn new(limits: DiskLimits) -> Self {
        Self {
            directory: CacheDirectory::new(limits.directory.clone()),
            limits,
            counters: DiskCounters::default(),
            start_scan: StartScan::default(),
            ledger: Mutex::default(),
            doomed: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            generation: AtomicU64::new(0),
        }
    }

    /// Locks the ledger. When the scan is locked too, the scan must be locked first.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.acquire()
    }

    /// Returns the number of drops so far.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Asks the scan to end early.
    pub fn stop_soon(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Tells whether [`Self::stop_soon`] was called.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Marks files for removal by the writer thread.
    pub fn doom(&self, files: impl IntoIterator<Item = CachedFile>) {
        self.doomed.acquire().extend(files);
    }

    /// Takes the files that are marked for removal.
    pub fn take_doomed(&self) -> Vec<CachedFile> {
        std::mem::take(&mut *self.doomed.acquire())
    }

    /// Removes a file from the disk. A failure is of no consequence, since nothing names the file.
    pub fn remove_file(&self, file: CachedFile) {
        if let Err(error) = self.directory.remove(file) {
            tracing::debug!(?file, %error, "a cached file cannot be removed");
        }
    }

    /// Takes files out of the ledger and marks them for removal. The scan drops files that it has not
    /// reached yet when it reaches them.
    pub fn drop_files(&self, selection: &DropSelection) -> Dropped {
        if !matches!(selection, DropSelection::UnusedSince(_)) {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        let mut scan = self.start_scan.lock();
        let mut ledger = self.ledger();
        let before = (ledger.blocks(), ledger.bytes());
        let doomed = ledger.take(|file, used| selection.takes(file, used));
        let dropped = Dropped {
            blocks: before.0 - ledger.blocks(),
            bytes: before.1 - ledger.bytes(),
        };
        drop(ledger);
        if !scan.is_over {
            scan.dropped.push(selection.clone());
        }
        drop(scan);
        self.doom(doomed);
        dropped
    }

    /// Returns the tier's numbers for people.
    pub fn stats(&self) -> TierStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let ledger = self.ledger();
        TierStats {
            capacity_bytes: self.limits.budget,
            bytes: ledger.bytes(),
            entries: ledger.blocks(),
            hits: load(&counters.hits),
            hit_bytes: load(&counters.hit_bytes),
            written_bytes: load(&counters.written_bytes),
            evictions: load(&counters.evictions),
            damaged: load(&counters.damaged),
            unwritten: load(&counters.unwritten),
        }
    }
}

/// Counts since the tier was opened.
#[derive(Debug, Default)]
pub struct DiskCounters {
    pub hits: AtomicU64,
    pub hit_bytes: AtomicU64,
    pub written_bytes: AtomicU64,
    pub evictions: AtomicU64,
    pub damaged: AtomicU64,
    /// Files that were not written because the queue or the disk was full, or because the disk failed.
    pub unwritten: AtomicU64,
}

/// The scan, at the start, of the files that the last run left.
#[derive(Debug, Default)]
pub struct StartScan {
    progress: Mutex<ScanProgress>,
    over: Condvar,
}

/// Progress of the scan.
#[derive(Debug, Default)]
pub struct ScanProgress {
    /// True if every file is known.
    pub is_over: bool,
    /// Drops that were asked for before the scan was over.
    pub dropped: Vec<DropSelection>,
}

impl StartScan {
    /// Locks the progress.
    pub fn lock(&self) -> MutexGuard<'_, ScanProgress> {
        self.progress.acquire()
    }

    /// Records that every file is known.
    pub fn finish(&self) {
        let mut progress = self.lock();
        progress.is_over = true;
        progress.dropped.clear();
    }

    /// Wakes those that wait in [`Self::wait`].
    pub fn notify(&self) {
        self.over.notify_all();
    }

    /// Waits until every file is known. Blocking.
    pub fn wait(&self) {
        let mut progress = self.lock();
        while !progress.is_over {
            progress = self
                .over
                .wait(progress)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::limits::Eviction;
    use super::*;
    use crate::model::{BlockIndex, PackId};

    #[test]
    fn a_drop_reaches_known_files_and_those_that_the_scan_still_finds() {
        let state = DiskState::new(DiskLimits {
            directory: "/nowhere".into(),
            budget: 1 << 20,
            floor: 0,
            eviction: Eviction::Unused(Duration::ZERO),
        });
        let pack = PackId::from_bytes([1; 16]);
        let block = CachedFile::Block(pack, BlockIndex(0));
        state.ledger().insert(block, 4096, 1);
        let dropped = state.drop_files(&DropSelection::All);
        assert_eq!((dropped.blocks, dropped.bytes), (1, 4096));
        assert_eq!(state.take_doomed(), [block]);
        assert_eq!(state.generation(), 1, "what was offered before is stale");
        assert_eq!(state.start_scan.lock().dropped.len(), 1);
        state.start_scan.finish();
        state.drop_files(&DropSelection::UnusedSince(0));
        assert_eq!(state.generation(), 1, "what is offered now was used now");
        assert!(state.start_scan.lock().dropped.is_empty());
    }
}
