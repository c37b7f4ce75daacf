//! Local staging: one file a blob, named by the blob's id, beside it the record of the entry it
//! belongs to. A spool file is deleted only by [`Spool::discard`], which is
//! called when every entry that named the blob is acknowledged in the remote or gone.

mod file;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;

use crate::disk;
use crate::failpoint;
use crate::model::{BlobId, EntryId};
use crate::sync::MutexExt as _;
use file::Recount;
pub use file::SpoolFile;

/// Extension of the record beside each spool file.
const RECORD_EXTENSION: &str = "entry";
/// Extension of the note that the user removed the file of a blob.
const REMOVED_EXTENSION: &str = "removed";
/// Readable for all, inside a directory that only we can enter: a media tool that runs as another
/// user opens its one input through a descriptor that it is handed.
const FILE_MODE: u32 = 0o644;
/// Writes begin to wait when less than this is left of the spool: enough for every handle of a
/// parallel copy to have a few 1 MiB writes on the way.
const LOW_WATER_BYTES: u64 = 64 << 20;
/// Longest wait of one write below the low-water mark.
const SLOW_WRITE: Duration = Duration::from_secs(2);

/// Where the spool lies and how much it may hold.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    pub directory: PathBuf,
    /// Bytes; the rest of the disk is not ours.
    pub capacity: u64,
    /// Bytes of the file system that are left free for index and journal.
    pub reserve: u64,
}

/// Whether sealed files are on their way to the remote, so that space will come free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draining {
    Yes,
    No,
}

/// What a write finds when it asks for space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceGrant {
    Granted,
    Full,
}

/// How many bytes others give back when the spool needs them.
struct Lent(Box<dyn Fn() -> u64 + Send + Sync>);

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lent({})", (self.0)())
    }
}

/// The spool; cheap to share.
#[derive(Debug)]
pub struct Spool {
    config: SpoolConfig,
    files: Mutex<HashMap<BlobId, Arc<SpoolFile>>>,
    /// Bytes held, as the writes counted them; corrected from the disk at start.
    used: AtomicU64,
    freed: Notify,
    lent: OnceLock<Lent>,
}

impl Spool {
    /// Opens the directory (made 0700 when it is not there) and everything in it.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(config: SpoolConfig) -> io::Result<Self> {
        disk::make_private_directory(&config.directory)?;
        let mut files = HashMap::new();
        let mut used = 0;
        for item in std::fs::read_dir(&config.directory)? {
            let item = item?;
            let Some(id) = item.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let path = item.path();
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            let file = SpoolFile::new(id, path, file);
            used += file.recount()?.now;
            files.insert(id, file);
        }
        Ok(Self {
            config,
            files: Mutex::new(files),
            used: used.into(),
            freed: Notify::new(),
            lent: OnceLock::new(),
        })
    }

    /// Bytes of the same file system that another part takes and gives back when little is free:
    /// they count as free here. Once.
    pub fn count_as_free(&self, lent: impl Fn() -> u64 + Send + Sync + 'static) {
        // A second one changes nothing.
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

    /// A new, empty file.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn create(&self) -> io::Result<Arc<SpoolFile>> {
        let id = BlobId::random();
        let path = self.config.directory.join(id.to_string());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)?;
        let file = SpoolFile::new(id, path, file);
        self.files().insert(id, Arc::clone(&file));
        Ok(file)
    }

    /// Takes a finished file (a derived blob) into the spool under its id.
    ///
    /// # Errors
    /// When it cannot be moved or opened.
    pub fn adopt(&self, id: BlobId, from: &Path) -> io::Result<Arc<SpoolFile>> {
        let path = self.config.directory.join(id.to_string());
        std::fs::rename(from, &path)?;
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
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

    /// Ids of all blobs here.
    #[must_use]
    pub fn ids(&self) -> Vec<BlobId> {
        self.files().keys().copied().collect()
    }

    /// Deletes a blob that nothing needs any more. Whoever has it open reads on.
    ///
    /// # Errors
    /// When the disk fails; the file is then found again at the next start.
    pub fn discard(&self, id: BlobId) -> io::Result<()> {
        let Some(file) = self.files().remove(&id) else {
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

    /// Notes that the user removed the file `of` that a blob was written for, so that a start does
    /// not take it for lost. Survives the end of this process, not a power cut: the journal does.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn note_removed(&self, id: BlobId, of: EntryId) -> io::Result<()> {
        std::fs::write(self.beside(id, REMOVED_EXTENSION), of.as_bytes())
    }

    /// Whether [`Self::note_removed`] was called for the blob and this file.
    #[must_use]
    pub fn was_removed(&self, id: BlobId, of: EntryId) -> bool {
        std::fs::read(self.beside(id, REMOVED_EXTENSION)).is_ok_and(|note| note == of.as_bytes())
    }

    /// As [`Self::write_record`], for a blob that nothing names yet: survives the end of this
    /// process, not a power cut, which may take the bytes as well.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn begin_record(&self, id: BlobId, record: &[u8]) -> io::Result<()> {
        std::fs::write(self.record_path(id), record)
    }

    /// Writes the record beside a blob: temp, fsync, rename.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn write_record(&self, id: BlobId, record: &[u8]) -> io::Result<()> {
        let temporary = self
            .config
            .directory
            .join(format!("{id}.{RECORD_EXTENSION}.new"));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all_at(record, 0)?;
        file.sync_data()?;
        std::fs::rename(&temporary, self.record_path(id))
    }

    /// The record beside a blob.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn read_record(&self, id: BlobId) -> io::Result<Vec<u8>> {
        std::fs::read(self.record_path(id))
    }

    /// Counts what a file takes now; called after each write. The disk is asked, since rewritten
    /// ranges take nothing and small writes a whole block.
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

    /// Bytes that fit: what the setting leaves, and what the disk leaves beside the reserve.
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

    /// The most that one file can ever take here.
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

    /// Names no path: the text may become the reason of a failed file, which is stored.
    fn explain_disk(&self) -> String {
        format!(
            "only {} MiB free; tgfs keeps {} MiB (TGFS_SPOOL_RESERVE). Free space or move TGFS_SPOOL_DIR",
            self.disk_available() >> 20,
            self.config.reserve >> 20
        )
    }

    /// Waits until `bytes` fit. Close to full, each write waits a little, so that copies slow down
    /// to the rate at which packs are acknowledged; it fails only when nothing drains, or after
    /// `deadline`.
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
mod tests {
    use super::*;

    fn spool(capacity: u64) -> (tempfile::TempDir, Spool) {
        let directory = tempfile::tempdir().unwrap();
        let config = SpoolConfig {
            directory: directory.path().join("spool"),
            capacity,
            reserve: 0,
        };
        (directory, Spool::open(config).unwrap())
    }

    #[test]
    fn files_and_records_survive_a_restart() {
        let (_keep, spool) = spool(1 << 30);
        let file = spool.create().unwrap();
        file.write_all_at(b"film", 0).unwrap();
        spool.write_record(file.id, b"whose").unwrap();
        let again = Spool::open(spool.config.clone()).unwrap();
        assert_eq!(again.ids(), [file.id]);
        let mut bytes = [0; 4];
        again
            .get(file.id)
            .unwrap()
            .read_exact_at(&mut bytes, 0)
            .unwrap();
        assert_eq!(&bytes, b"film");
        assert_eq!(again.read_record(file.id).unwrap(), b"whose");
    }

    #[test]
    fn what_others_give_back_counts_as_free() {
        let directory = tempfile::tempdir().unwrap();
        let config = SpoolConfig {
            directory: directory.path().join("spool"),
            capacity: 1 << 30,
            // No disk has as much: nothing is free but what is lent.
            reserve: 1 << 60,
        };
        let spool = Spool::open(config).unwrap();
        assert_eq!((spool.free(), spool.capacity()), (0, 0));
        spool.count_as_free(|| (1 << 60) + (1 << 20));
        assert!(spool.free() >= 1 << 20 && spool.capacity() >= 1 << 20);
    }

    /// The text may be stored as the reason of a failed file, where others can read it.
    #[test]
    fn the_text_about_a_full_disk_names_no_path() {
        let directory = tempfile::tempdir().unwrap();
        let config = SpoolConfig {
            directory: directory.path().join("spool"),
            capacity: 1 << 62,
            reserve: 1 << 60,
        };
        let spool = Spool::open(config).unwrap();
        for text in [spool.explain_full(), spool.explain_too_large()] {
            assert!(text.contains("TGFS_SPOOL_RESERVE"), "{text}");
            assert!(!text.contains(directory.path().to_str().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_discarded_file_is_still_read_by_those_who_have_it() {
        let (_keep, spool) = spool(1 << 30);
        let file = spool.create().unwrap();
        file.write_all_at(b"film", 0).unwrap();
        spool.discard(file.id).unwrap();
        assert!(spool.get(file.id).is_none() && !file.path.exists());
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"film");
    }

    #[test]
    fn a_disk_that_failed_once_is_never_success_again() {
        let (_keep, spool) = spool(1 << 30);
        let file = spool.create().unwrap();
        file.write_all_at(b"film", 0).unwrap();
        file.sync().unwrap();
        file.damage();
        assert!(file.sync().is_err() && file.sync().is_err());
    }

    #[test]
    fn a_removal_is_noted_for_one_file_only() {
        let (_keep, spool) = spool(1 << 30);
        let (file, entry) = (spool.create().unwrap(), EntryId::random());
        assert!(!spool.was_removed(file.id, entry));
        spool.note_removed(file.id, entry).unwrap();
        assert!(spool.was_removed(file.id, entry));
        assert!(!spool.was_removed(file.id, EntryId::random()));
        spool.discard(file.id).unwrap();
        assert!(!spool.was_removed(file.id, entry));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_spool_waits_while_it_drains_and_refuses_when_it_does_not() {
        let (_keep, spool) = spool(1000);
        spool.used.store(1000, Ordering::Relaxed);
        let deadline = Duration::from_secs(300);
        assert_eq!(
            spool.wait_for_space(1, deadline, || Draining::No).await,
            SpaceGrant::Full
        );
        let freeing = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            spool.used.store(0, Ordering::Relaxed);
            spool.freed.notify_waiters();
        };
        let waiting = spool.wait_for_space(1, deadline, || Draining::Yes);
        let (space, ()) = tokio::join!(waiting, freeing);
        assert_eq!(space, SpaceGrant::Granted);
    }
}
