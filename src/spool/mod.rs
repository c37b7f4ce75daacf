//! Local staging area, with one file per blob. The file is named by the blob's id, and has the
//! record of the blob's entry beside it. Only [`Spool::discard`] deletes a spool file. It is called
//! when every entry that named the blob is acknowledged in the remote, or gone.

mod descriptors;
mod file;
mod writing_note;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;

use crate::disk;
use crate::failpoint;
use crate::model::{BlobId, EntryId};
use crate::sync::MutexExt as _;
use descriptors::{DescriptorPool, LazyFile};
use file::Recount;
pub use file::SpoolFile;
pub use writing_note::{NotedStep, NotedWriting, WritingNote};

/// Extension of the record beside each spool file.
const RECORD_EXTENSION: &str = "entry";
/// Extension of the note that says that the user removed the file of a blob.
const REMOVED_EXTENSION: &str = "removed";
/// Extension of the note about a file that is being written, which the file's id names.
const WRITING_EXTENSION: &str = "writing";
/// Mode of spool files. They are readable for all, inside a directory that only we can enter. A
/// media tool that runs as another user opens its one input through a descriptor that it is given.
const FILE_MODE: u32 = 0o644;
/// Low-water mark of the spool: writes begin to wait when less space than this is left. It is
/// enough for every handle of a parallel copy to have a few 1 MiB writes on the way.
const LOW_WATER_BYTES: u64 = 64 << 20;
/// Longest wait of one write when less than the low-water mark is free.
const SLOW_WRITE: Duration = Duration::from_secs(2);

/// Place of the spool, and the limits of its size.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    pub directory: PathBuf,
    /// Largest size of the spool in bytes. The rest of the disk is not ours.
    pub capacity: u64,
    /// Number of bytes of the file system that are left free for index and journal.
    pub reserve: u64,
}

/// State of the way out of the spool: whether sealed files are on their way to the remote, so that
/// space will come free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draining {
    Yes,
    No,
}

/// Answer to a write that asks for space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceGrant {
    Granted,
    Full,
}

/// Function that returns how many bytes others give back when the spool needs them.
struct Lent(Box<dyn Fn() -> u64 + Send + Sync>);

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lent({})", (self.0)())
    }
}

/// The spool. It is cheap to share.
#[derive(Debug)]
pub struct Spool {
    config: SpoolConfig,
    files: Mutex<HashMap<BlobId, Arc<SpoolFile>>>,
    /// Number of bytes held, as the writes counted them. It is corrected from the disk at start.
    used: AtomicU64,
    freed: Notify,
    lent: OnceLock<Lent>,
    descriptors: Arc<DescriptorPool>,
}

impl Spool {
    /// Opens the directory and everything in it. Creates the directory with mode 0700 if it does not exist.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(config: SpoolConfig) -> io::Result<Self> {
        Self::open_with(config, DescriptorPool::of_process())
    }

    fn open_with(config: SpoolConfig, descriptors: Arc<DescriptorPool>) -> io::Result<Self> {
        disk::make_private_directory(&config.directory)?;
        let mut files = HashMap::new();
        let mut used = 0;
        for item in std::fs::read_dir(&config.directory)? {
            let item = item?;
            let Some(id) = item.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let path = item.path();
            let found = item.metadata()?;
            if !found.is_file() {
                tracing::warn!(path = %path.display(), "no regular file: it is passed over in the spool");
                continue;
            }
            let file = SpoolFile::new(id, path.clone(), LazyFile::closed(path, &descriptors));
            used += file.count_as(&found).now;
            files.insert(id, file);
        }
        Ok(Self {
            config,
            files: Mutex::new(files),
            used: used.into(),
            freed: Notify::new(),
            lent: OnceLock::new(),
            descriptors,
        })
    }

    /// Counts bytes as free that another part takes from the same file system, and that it gives
    /// back when little is free. Has an effect only once.
    pub fn count_as_free(&self, lent: impl Fn() -> u64 + Send + Sync + 'static) {
        // A second call changes nothing.
        let _ = self.lent.set(Lent(Box::new(lent)));
    }

    fn files(&self) -> MutexGuard<'_, HashMap<BlobId, Arc<SpoolFile>>> {
        self.files.acquire()
    }

    /// Returns the directory that holds the spool.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.config.directory
    }

    /// Creates a new, empty file.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn create(&self) -> io::Result<Arc<SpoolFile>> {
        let id = BlobId::random();
        let path = self.config.directory.join(id.to_string());
        let file = LazyFile::create(path.clone(), FILE_MODE, &self.descriptors)?;
        let file = SpoolFile::new(id, path, file);
        self.files().insert(id, Arc::clone(&file));
        Ok(file)
    }

    /// Moves a finished file (a derived blob) into the spool under its id.
    ///
    /// # Errors
    /// When it cannot be moved or opened.
    pub fn adopt(&self, id: BlobId, from: &Path) -> io::Result<Arc<SpoolFile>> {
        let path = self.config.directory.join(id.to_string());
        std::fs::rename(from, &path)?;
        let file = LazyFile::closed(path.clone(), &self.descriptors);
        let file = SpoolFile::new(id, path, file);
        self.count(&file)?;
        self.files().insert(id, Arc::clone(&file));
        Ok(file)
    }

    /// Returns the file of a blob.
    #[must_use]
    pub fn get(&self, id: BlobId) -> Option<Arc<SpoolFile>> {
        self.files().get(&id).cloned()
    }

    /// Returns the ids of all blobs in the spool.
    #[must_use]
    pub fn ids(&self) -> Vec<BlobId> {
        self.files().keys().copied().collect()
    }

    /// Deletes a blob that nothing needs any more. Readers that have it open can still read it.
    ///
    /// # Errors
    /// When the disk fails; the file is then found again at the next start.
    pub fn discard(&self, id: BlobId) -> io::Result<()> {
        let Some(file) = self.take_out(id)? else {
            return Ok(());
        };
        let held = file.counted();
        remove_if_there(&file.path)?;
        remove_if_there(&self.record_path(id))?;
        remove_if_there(&self.beside(id, REMOVED_EXTENSION))?;
        failpoint::pass(failpoint::Step::SpoolReleased);
        self.release(held);
        self.freed.notify_waiters();
        Ok(())
    }

    /// Takes a file out of the table. Whoever has it can read it when its name is gone.
    fn take_out(&self, id: BlobId) -> io::Result<Option<Arc<SpoolFile>>> {
        let mut files = self.files();
        if let Some(file) = files.get(&id)
            && Arc::strong_count(file) > 1
        {
            file.keep_open()?;
        }
        Ok(files.remove(&id))
    }

    /// Begins the note of a file that is being written, in place of an older one.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn begin_note(
        &self,
        of: EntryId,
        version: u64,
        steps: &[NotedStep],
    ) -> io::Result<WritingNote> {
        WritingNote::begin(self.note_path(of), version, steps)
    }

    /// Returns the notes of the files that were being written when the last run ended.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn notes(&self) -> io::Result<Vec<(EntryId, NotedWriting)>> {
        let mut notes = Vec::new();
        for item in std::fs::read_dir(&self.config.directory)? {
            let name = item?.file_name();
            let id = name
                .to_str()
                .and_then(|name| name.strip_suffix(WRITING_EXTENSION)?.strip_suffix('.'));
            let Some(id) = id.and_then(|id| id.parse().ok()) else {
                continue;
            };
            // A note that a power cut has emptied was never promised to survive one.
            let bytes = match disk::read_regular(&self.note_path(id)) {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::warn!(%error, "a note of the spool is passed over");
                    continue;
                }
                read => read?,
            };
            notes.extend(NotedWriting::decode(&bytes).map(|note| (id, note)));
        }
        Ok(notes)
    }

    /// Removes the note of a file. Does nothing when there is none.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn forget_note(&self, of: EntryId) -> io::Result<()> {
        remove_if_there(&self.note_path(of))
    }

    fn note_path(&self, of: EntryId) -> PathBuf {
        self.config
            .directory
            .join(format!("{of}.{WRITING_EXTENSION}"))
    }

    /// Makes names in the spool directory durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.config.directory)?.sync_all()
    }

    fn beside(&self, id: BlobId, extension: &str) -> PathBuf {
        self.config.directory.join(format!("{id}.{extension}"))
    }

    fn record_path(&self, id: BlobId) -> PathBuf {
        self.beside(id, RECORD_EXTENSION)
    }

    /// Records that the user removed the file `of` that a blob was written for, so that a start
    /// does not take the blob for lost. The note survives the end of this process, but not a power
    /// cut; the journal survives that.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn note_removed(&self, id: BlobId, of: EntryId) -> io::Result<()> {
        disk::write_regular(&self.beside(id, REMOVED_EXTENSION), of.as_bytes())
    }

    /// Returns whether [`Self::note_removed`] was called for the blob and this file.
    #[must_use]
    pub fn was_removed(&self, id: BlobId, of: EntryId) -> bool {
        disk::read_regular(&self.beside(id, REMOVED_EXTENSION))
            .is_ok_and(|note| note == of.as_bytes())
    }

    /// Does the same as [`Self::write_record`], for a blob that nothing names yet. The record
    /// survives the end of this process, but not a power cut, which may take the bytes as well.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn begin_record(&self, id: BlobId, record: &[u8]) -> io::Result<()> {
        disk::write_regular(&self.record_path(id), record)
    }

    /// Writes the record beside a blob, by temporary file, fsync and rename.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn write_record(&self, id: BlobId, record: &[u8]) -> io::Result<()> {
        self.new_record(id, record)?.sync_data()?;
        self.place_record(id)
    }

    /// Replaces the record beside a blob. The old or the new one survives the end of this process.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn replace_record(&self, id: BlobId, record: &[u8]) -> io::Result<()> {
        self.new_record(id, record)?;
        self.place_record(id)
    }

    fn new_record(&self, id: BlobId, record: &[u8]) -> io::Result<File> {
        let file = disk::create_regular(&self.new_record_path(id))?;
        file.write_all_at(record, 0)?;
        Ok(file)
    }

    fn place_record(&self, id: BlobId) -> io::Result<()> {
        std::fs::rename(self.new_record_path(id), self.record_path(id))
    }

    fn new_record_path(&self, id: BlobId) -> PathBuf {
        self.beside(id, &format!("{RECORD_EXTENSION}.new"))
    }

    /// Returns the record beside a blob.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn read_record(&self, id: BlobId) -> io::Result<Vec<u8>> {
        disk::read_regular(&self.record_path(id))
    }

    /// Counts the bytes that a file takes now. Called after each write. The disk is asked, because
    /// rewritten ranges take no space and small writes take a whole block.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn count(&self, file: &SpoolFile) -> io::Result<()> {
        let Recount { before, now } = file.recount()?;
        self.used
            .fetch_add(now.saturating_sub(before), Ordering::Relaxed);
        self.release(before.saturating_sub(now));
        Ok(())
    }

    fn release(&self, bytes: u64) {
        let _ = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                Some(used.saturating_sub(bytes))
            });
    }

    /// Returns the bytes that the spool holds.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes that fit, within the setting and within the space that the disk
    /// has left beside the reserve.
    #[must_use]
    pub fn free(&self) -> u64 {
        let by_setting = self.config.capacity.saturating_sub(self.used());
        by_setting.min(self.disk_free())
    }

    /// Bytes that the spool may take of its disk.
    fn disk_free(&self) -> u64 {
        self.disk_available().saturating_sub(self.config.reserve)
    }

    /// Bytes that are free on the spool's disk, the reserve among them.
    fn disk_available(&self) -> u64 {
        nix::sys::statvfs::statvfs(&self.config.directory).map_or(u64::MAX, |space| {
            let lent = self.lent.get().map_or(0, |lent| (lent.0)());
            space.blocks_available() * space.fragment_size() + lent
        })
    }

    /// Returns the most that one file can ever take here.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.config
            .capacity
            .min(self.used().saturating_add(self.disk_free()))
    }

    /// Explains to a user why one file can never fit, and what to do.
    #[must_use]
    pub fn explain_too_large(&self) -> String {
        let by_disk = self.disk_free();
        if self.config.capacity > self.used().saturating_add(by_disk) {
            return self.explain_disk();
        }
        format!(
            "the file is larger than the spool, which holds at most {} MiB; raise TGFS_SPOOL_SIZE",
            self.config.capacity >> 20
        )
    }

    /// Explains to a user why no more bytes fit now, and what to do.
    #[must_use]
    pub fn explain_full(&self) -> String {
        let by_setting = self.config.capacity.saturating_sub(self.used());
        let by_disk = self.disk_free();
        if by_setting >= by_disk {
            return self.explain_disk();
        }
        format!(
            "only {} of {} MiB are free in the spool, and nothing in it can be sent; raise TGFS_SPOOL_SIZE",
            by_setting >> 20,
            self.config.capacity >> 20
        )
    }

    /// Explains that the disk is full. Names no path: the text may become the reason of a failed file, which is stored.
    fn explain_disk(&self) -> String {
        format!(
            "only {} MiB free; tgfs keeps {} MiB (TGFS_SPOOL_RESERVE). Free space or move TGFS_SPOOL_DIR",
            self.disk_available() >> 20,
            self.config.reserve >> 20
        )
    }

    /// Waits until `bytes` fit. When the spool is close to full, each write waits a little, so that
    /// copies slow down to the rate at which packs are acknowledged. A write fails only when
    /// nothing drains, or after `deadline`.
    pub async fn wait_for_space(
        &self,
        bytes: u64,
        deadline: Duration,
        draining: impl Fn() -> Draining,
    ) -> SpaceGrant {
        let begun = tokio::time::Instant::now();
        loop {
            let freed = self.freed.notified();
            let free = self.free();
            if free >= bytes.saturating_add(LOW_WATER_BYTES.min(self.config.capacity / 4)) {
                return SpaceGrant::Granted;
            }
            let waited = begun.elapsed();
            let drains = draining() == Draining::Yes;
            if free >= bytes && (!drains || waited >= SLOW_WRITE) {
                return SpaceGrant::Granted;
            }
            if free < bytes && (!drains || waited >= deadline) {
                return SpaceGrant::Full;
            }
            // Draining may end without freeing anything, so the wait is polled as well.
            let _ = tokio::time::timeout(Duration::from_millis(200), freed).await;
        }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
