//! One blob in the spool.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

use super::descriptors::LazyFile;
use crate::model::{BlobId, ByteRange};

/// A blob in the spool. The file stays readable through this after it was discarded.
#[derive(Debug)]
pub struct SpoolFile {
    pub id: BlobId,
    pub path: PathBuf,
    file: Arc<LazyFile>,
    writing_back: AtomicBool,
    /// Number of bytes on the disk that the spool counts for this file.
    counted: AtomicU64,
}

impl SpoolFile {
    /// Reads exactly the bytes of a range.
    ///
    /// # Errors
    /// When the file is shorter than the range, or the disk fails.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read(|file| file.read_exact_at(buffer, offset))
    }

    /// Writes all of `data`.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.change(|file| file.write_all_at(data, offset))
    }

    /// Cuts or extends the file. Bytes that come in between are holes.
    ///
    /// # Errors
    /// When the disk fails, or cannot hold a file of this size.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.change(|file| file.set_len(len))
    }

    /// Returns the length of the file.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn length(&self) -> io::Result<u64> {
        self.file.read(|file| Ok(file.metadata()?.len()))
    }

    /// Turns a range into zeros, and gives its space back where the disk can do that. The length stays.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn punch(&self, range: ByteRange) -> io::Result<()> {
        let end = range.end().min(self.length()?);
        if range.offset >= end {
            return Ok(());
        }
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let (Ok(from), Ok(len)) = (range.offset.try_into(), (end - range.offset).try_into()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let punched = self
            .file
            .change(|file| Ok(fallocate(file, flags, from, len)));
        match punched? {
            Err(Errno::EOPNOTSUPP) => self.write_zeros(range.offset, end),
            outcome => Ok(outcome?),
        }
    }

    fn write_zeros(&self, from: u64, end: u64) -> io::Result<()> {
        let zeros = vec![0; 1 << 20];
        let mut at = from;
        while at < end {
            let piece = zeros
                .len()
                .min(usize::try_from(end - at).unwrap_or(usize::MAX));
            self.write_all_at(&zeros[..piece], at)?;
            at += piece as u64;
        }
        Ok(())
    }

    /// Returns the runs of data, in order. What lies between them and behind them is zeros.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn data_runs(&self) -> io::Result<Vec<ByteRange>> {
        self.file.read(data_runs)
    }

    /// Returns the number of bytes on the disk.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }

    pub(super) fn new(id: BlobId, path: PathBuf, file: Arc<LazyFile>) -> Arc<Self> {
        Arc::new(Self {
            id,
            path,
            file,
            writing_back: AtomicBool::new(false),
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
        self.file.sync()
    }

    /// Returns whether [`Self::sync`] can never succeed any more.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.file.is_damaged()
    }

    /// Acts as if the disk had failed to take the file's bytes, for tests of the consequences.
    #[cfg(debug_assertions)]
    pub fn damage(&self) {
        self.file.set_damaged(io::ErrorKind::Other);
    }

    /// Acts as if the disk had failed with an error of this kind.
    #[cfg(test)]
    pub(super) fn fail_with(&self, kind: io::ErrorKind) {
        self.file.set_damaged(kind);
    }

    /// Keeps the file readable for those who have it, before its name goes.
    pub(super) fn keep_open(&self) -> io::Result<()> {
        self.file.keep_open()
    }

    /// Asks the disk how many bytes the file takes. Returns that number and the one before.
    pub(super) fn recount(&self) -> io::Result<Recount> {
        let found = self.file.read(File::metadata)?;
        Ok(self.count_as(&found))
    }

    /// Counts the bytes that the disk says the file takes.
    pub(super) fn count_as(&self, found: &Metadata) -> Recount {
        let now = found.blocks() * 512;
        let before = self.counted.swap(now, Ordering::Relaxed);
        Recount { before, now }
    }
}

/// Bytes that a file takes on the disk, before and after a change.
pub(super) struct Recount {
    pub before: u64,
    pub now: u64,
}

fn data_runs(file: &File) -> io::Result<Vec<ByteRange>> {
    let mut runs = Vec::new();
    let mut at = 0;
    loop {
        let from = match lseek(file, at, Whence::SeekData) {
            // No data follows.
            Err(Errno::ENXIO) => return Ok(runs),
            from => from?,
        };
        at = lseek(file, from, Whence::SeekHole)?;
        let (Ok(start), Ok(end)) = (u64::try_from(from), u64::try_from(at)) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        runs.push(ByteRange::new(start, end - start));
    }
}
