//! Blocks and tables in files, below the memory cache. They stay within a budget and above a floor of free
//! space. One thread writes them, and a restart finds them again.
//!
//! The files hold the bytes of the remote, so an encrypted library is encrypted here too. A reader of a
//! file checks it as if it came from the remote.

mod directory;
mod ledger;
mod limits;
mod selection;
mod state;
mod writer;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;

use bytes::Bytes;

use super::counters::count;
use crate::disk::{DirectoryLock, LockError, make_private_directory};
use crate::model::{PackId, TierStats};
pub use directory::CachedFile;
use directory::now;
pub use limits::{DiskLimits, Eviction};
pub use selection::{DropSelection, Dropped};
use state::DiskState;
use writer::{CacheWriter, WriteOffer, WriterRequest};

/// Most files that wait to be written: 16 MiB of blocks. Further ones are not cached.
const MAX_WAITING: usize = 32;
/// Shortest time between two updates of a file's time of use on the disk. A restart takes the order from
/// these times.
const NOTED_EVERY: Duration = Duration::from_secs(600);

/// The files of one directory, and the thread that writes them.
#[derive(Debug)]
pub struct DiskStore {
    state: Arc<DiskState>,
    requests: SyncSender<WriterRequest>,
}

impl DiskStore {
    /// Makes the directory and begins to scan it, in a thread of its own.
    ///
    /// # Errors
    /// When the directory cannot be made, is not ours, or another process uses it.
    pub fn open(limits: DiskLimits) -> io::Result<Self> {
        let directory = &limits.directory;
        make_private_directory(directory)?;
        let held = DirectoryLock::take(directory).map_err(|error| match error {
            LockError::Io(error) => error,
            held @ LockError::Held(_) => io::Error::other(held),
        })?;
        let state = Arc::new(DiskState::new(limits));
        let (requests, received): (_, Receiver<WriterRequest>) = sync_channel(MAX_WAITING);
        let writer = CacheWriter::new(Arc::clone(&state), held);
        std::thread::Builder::new()
            .name("disk-cache".to_owned())
            .spawn(move || writer.run(&received))?;
        Ok(Self { state, requests })
    }

    /// Tells whether a file may be there: unknown files may until the scan is over.
    pub fn may_hold(&self, file: CachedFile) -> bool {
        // Only one lock is held here. When both are needed, the lock of the scan is taken first.
        let is_over = self.state.start_scan.lock().is_over;
        !is_over || self.holds(file)
    }

    /// Tells whether a file is known to be there.
    pub fn holds(&self, file: CachedFile) -> bool {
        self.state.ledger().contains(file)
    }

    /// Returns the bytes of a file, unchecked. Blocking.
    pub fn read(&self, file: CachedFile) -> Option<Bytes> {
        let found = self.state.directory.read(file).unwrap_or_else(|error| {
            tracing::debug!(?file, %error, "a cached file cannot be read");
            None
        });
        match found {
            None => {
                // Somebody else removed it.
                self.state.ledger().remove(file);
            }
            Some(_) => self.note_use(file),
        }
        found
    }

    /// Records a use of a file. The use of a block also keeps its table, since one is of no use without
    /// the other.
    fn note_use(&self, file: CachedFile) {
        let now = now();
        for file in [file, CachedFile::Table(file.pack())] {
            let before = self.state.ledger().touch(file, now);
            let is_due = before.is_some_and(|ago| u128::from(ago) >= NOTED_EVERY.as_millis());
            if is_due && let Err(error) = self.state.directory.touch(file, now) {
                tracing::debug!(?file, %error, "the time of use of a cached file is not updated");
            }
        }
    }

    /// Counts `len` bytes that were read and passed their check.
    pub fn count_hit(&self, len: u64) {
        count(&self.state.counters.hits, 1);
        count(&self.state.counters.hit_bytes, len);
    }

    /// Removes a file that failed its check. Blocking.
    pub fn remove_damaged(&self, file: CachedFile) {
        count(&self.state.counters.damaged, 1);
        tracing::warn!(
            directory = %self.state.directory.root().display(),
            ?file,
            "a cached file is damaged and was removed; check the disk for errors"
        );
        // The file is removed at once, since its replacement is offered next.
        self.state.remove_file(file);
        self.state.ledger().remove(file);
    }

    /// Queues a file to be written. Never waits: when the queue is full, the file is not cached.
    pub fn offer(&self, file: CachedFile, bytes: Bytes) {
        let Some(request) = self.write_request(file, bytes) else {
            return;
        };
        match self.requests.try_send(request) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                count(&self.state.counters.unwritten, 1);
            }
        }
    }

    /// Queues a file to be written, and waits while the queue is full. Blocking.
    pub fn put(&self, file: CachedFile, bytes: Bytes) {
        let Some(request) = self.write_request(file, bytes) else {
            return;
        };
        if self.requests.send(request).is_err() {
            count(&self.state.counters.unwritten, 1);
        }
    }

    fn write_request(&self, file: CachedFile, bytes: Bytes) -> Option<WriterRequest> {
        let generation = self.state.generation();
        (!self.holds(file)).then_some(WriterRequest::Write(WriteOffer {
            file,
            bytes,
            generation,
        }))
    }

    /// Drops files: from here on nobody finds them, and the thread removes them.
    pub fn drop_files(&self, selection: &DropSelection) -> Dropped {
        let dropped = self.state.drop_files(selection);
        // A full queue wakes the thread as well.
        let _ = self.requests.try_send(WriterRequest::Wake);
        dropped
    }

    /// Returns the packs that have files here.
    pub fn packs(&self) -> HashSet<PackId> {
        self.state.ledger().packs().collect()
    }

    /// Waits until every file that the last run left is known. Blocking.
    pub fn wait_for_scan(&self) {
        self.state.start_scan.wait();
    }

    /// Writes the files that wait, and unlocks the directory. Blocking.
    pub fn stop(&self) {
        self.state.stop_soon();
        let (done, ended) = channel();
        if self.requests.send(WriterRequest::Stop(done)).is_ok() {
            // An error says that the thread ended without an answer.
            let _ = ended.recv();
        }
    }

    /// Returns the bytes that all files take on the disk.
    pub fn bytes(&self) -> u64 {
        self.state.ledger().bytes()
    }

    /// Returns the tier's numbers for people.
    pub fn stats(&self) -> TierStats {
        self.state.stats()
    }
}
