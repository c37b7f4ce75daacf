//! Space on the index's disk that is kept free of other files, so that the index can still be opened
//! when that disk is full.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::posix_fallocate;

use super::error::IndexError;
use crate::disk;

/// Bytes that are kept. The database writes a summary of itself when it is opened: a few MiB for a
/// library of 300,000 files.
const HEADROOM_BYTES: i64 = 16 * 1024 * 1024;

/// A file that only takes space. The index accepts changes while it exists.
#[derive(Debug)]
pub(super) struct Headroom {
    path: PathBuf,
    is_kept: AtomicBool,
}

impl Headroom {
    /// Returns the headroom of the index in `directory`; the file lies beside it.
    pub fn beside(directory: &Path) -> Self {
        Self {
            path: directory.with_extension("headroom"),
            is_kept: AtomicBool::new(false),
        }
    }

    /// Takes the space unless it is taken already.
    ///
    /// # Errors
    /// [`IndexError::NoSpace`] when the disk is full, or another disk error.
    pub fn keep(&self) -> Result<(), IndexError> {
        if self.is_kept.load(Ordering::Acquire) {
            return Ok(());
        }
        self.allocate().map_err(|error| {
            // A part of the space would only be missing elsewhere.
            let _ = fs::remove_file(&self.path);
            IndexError::io("reserve space in", &self.path, error)
        })?;
        self.is_kept.store(true, Ordering::Release);
        Ok(())
    }

    fn allocate(&self) -> io::Result<()> {
        let mut options = disk::regular_only();
        options.write(true).create(true).mode(0o600);
        let file = disk::open_regular_as(&self.path, &options)?;
        posix_fallocate(&file, 0, HEADROOM_BYTES).map_err(io::Error::from)
    }

    /// Frees the space. Returns whether there was any.
    pub fn give(&self) -> bool {
        self.is_kept.store(false, Ordering::Release);
        fs::remove_file(&self.path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_taken_once_and_given_back() {
        let state = tempfile::tempdir().unwrap();
        let headroom = Headroom::beside(&state.path().join("index"));
        headroom.keep().unwrap();
        headroom.keep().unwrap();
        let taken = fs::metadata(state.path().join("index.headroom")).unwrap();
        assert_eq!(i64::try_from(taken.len()).unwrap(), HEADROOM_BYTES);
        assert!(headroom.give());
        assert!(!headroom.give());
        headroom.keep().unwrap();
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let state = tempfile::tempdir().unwrap();
        let victim = state.path().join("victim");
        fs::write(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, state.path().join("index.headroom")).unwrap();
        let headroom = Headroom::beside(&state.path().join("index"));
        headroom.keep().unwrap_err();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        // The link is gone with the failure.
        headroom.keep().unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }
}
