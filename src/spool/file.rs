//! One blob in the spool.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::model::BlobId;

/// A blob in the spool. The file stays readable through this after it was discarded.
#[derive(Debug)]
pub struct SpoolFile {
    pub id: BlobId,
    pub path: PathBuf,
    file: File,
    writing_back: AtomicBool,
    /// Set when the disk ever failed to take the file's bytes. The kernel reports that once and
    /// then forgets it.
    damaged: AtomicBool,
    /// Number of bytes on the disk that the spool counts for this file.
    counted: AtomicU64,
}

impl SpoolFile {
    /// Reads exactly the bytes of a range.
    ///
    /// # Errors
    /// When the file is shorter than the range, or the disk fails.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// Writes all of `data`.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    /// Returns the number of bytes on the disk.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }

    pub(super) fn new(id: BlobId, path: PathBuf, file: File) -> Arc<Self> {
        Arc::new(Self {
            id,
            path,
            file,
            writing_back: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            counted: AtomicU64::new(0),
        })
    }

    /// Starts to flush written bytes to the disk, unless that is already being done. Nobody waits
    /// for it: `close` syncs again and sees an error. Must be called inside a tokio runtime.
    pub fn write_back(self: &Arc<Self>) {
        // Only one flush runs per file. Several would only queue up at the file's lock, ahead of writers.
        if self.writing_back.swap(true, Ordering::Relaxed) {
            return;
        }
        let file = Arc::clone(self);
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = file.sync() {
                tracing::debug!(%error, "early write-back");
            }
            file.writing_back.store(false, Ordering::Relaxed);
        }));
    }

    /// Makes the written bytes durable.
    ///
    /// # Errors
    /// When the disk fails, or ever failed to take bytes of this file.
    pub fn sync(&self) -> io::Result<()> {
        let synced = self.file.sync_data();
        if synced.is_err() {
            self.damaged.store(true, Ordering::Relaxed);
        }
        if self.damaged.load(Ordering::Relaxed) {
            return Err(synced.err().unwrap_or_else(|| {
                io::Error::other("the disk of the spool could not take all bytes of this file")
            }));
        }
        Ok(())
    }

    /// Returns whether [`Self::sync`] can never succeed any more.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Acts as if the disk had failed to take the file's bytes, for tests of the consequences.
    #[cfg(debug_assertions)]
    pub fn damage(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    /// Asks the disk how many bytes the file takes. Returns that number and the one before.
    pub(super) fn recount(&self) -> io::Result<Recount> {
        let now = self.file.metadata()?.blocks() * 512;
        let before = self.counted.swap(now, Ordering::Relaxed);
        Ok(Recount { before, now })
    }
}

/// Bytes that a file takes on the disk, before and after a change.
pub(super) struct Recount {
    pub before: u64,
    pub now: u64,
}
