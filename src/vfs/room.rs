//! Checks of the room for bytes that are written or announced.

use std::sync::Arc;
use std::time::Duration;

use super::open::OpenTable;
use super::settings::SharedSettings;
use super::settle::SettleTimers;
use crate::ingest::Ingest;
use crate::model::{ErrorKind, FsError, FsResult};
use crate::spool::{Draining, SpaceGrant, Spool};

/// Largest file (16 TiB, as on ext4). This is far above any film and far below the sizes where
/// offsets could overflow.
const MAX_FILE_BYTES: u64 = 1 << 44;

/// Limits of a file: the setting, and the space that the spool can give.
#[derive(Debug)]
pub struct Room {
    spool: Arc<Spool>,
    ingest: Ingest,
    open: Arc<OpenTable>,
    timers: Arc<SettleTimers>,
    settings: SharedSettings,
}

/// Parts that decide about room.
#[derive(Debug)]
pub struct RoomParts {
    pub spool: Arc<Spool>,
    pub ingest: Ingest,
    pub open: Arc<OpenTable>,
    pub timers: Arc<SettleTimers>,
    pub settings: SharedSettings,
}

impl Room {
    pub fn new(parts: RoomParts) -> Self {
        Self {
            spool: parts.spool,
            ingest: parts.ingest,
            open: parts.open,
            timers: parts.timers,
            settings: parts.settings,
        }
    }

    /// Checks the size of a file against `MAX_UPLOAD_SIZE`.
    ///
    /// # Errors
    /// `TooLarge`.
    pub fn check_size(&self, size: u64) -> FsResult<()> {
        check_size(self.settings.get().max_file_size, size)
    }

    /// Refuses a hole at the end of a file that could never be filled. A hole takes no room by
    /// itself, but a program that makes one is about to write into it, and would learn of the limit
    /// only after hours of copying. `current` returns the size that the file has now.
    ///
    /// # Errors
    /// `TooLarge`, and those of `current`.
    pub fn check_growth(&self, size: u64, current: impl FnOnce() -> FsResult<u64>) -> FsResult<()> {
        let capacity = self.spool.capacity();
        if size <= capacity || size.saturating_sub(current()?) <= capacity {
            return Ok(());
        }
        Err(FsError::new(
            ErrorKind::TooLarge,
            self.spool.explain_too_large(),
        ))
    }

    /// Checks that one file may take `bytes` of the spool.
    ///
    /// # Errors
    /// `NoSpace` when the spool can never hold them.
    pub fn check_capacity(&self, bytes: u64) -> FsResult<()> {
        if bytes > self.spool.capacity() {
            return Err(FsError::new(
                ErrorKind::NoSpace,
                self.spool.explain_too_large(),
            ));
        }
        Ok(())
    }

    /// Waits until `bytes` more fit. `own` is the number of bytes that the file already has in the spool.
    ///
    /// # Errors
    /// `NoSpace` when waiting cannot help.
    pub async fn wait_for_space(&self, own: u64, bytes: u64) -> FsResult<()> {
        // The file's own bytes drain only after it is closed, so waiting for them cannot help.
        self.check_capacity(own.saturating_add(bytes))?;
        let deadline: Duration = self.settings.get().write_deadline;
        match self
            .spool
            .wait_for_space(bytes, deadline, || self.draining())
            .await
        {
            SpaceGrant::Granted => Ok(()),
            SpaceGrant::Full => Err(FsError::new(ErrorKind::NoSpace, self.spool.explain_full())),
        }
    }

    /// Returns whether space will come free, because files are on their way out or about to be.
    fn draining(&self) -> Draining {
        if self.timers.any(|id| self.open.writers(id) == 0) {
            return Draining::Yes;
        }
        self.ingest.draining()
    }
}

/// Checks `size` against the setting `max`; 0 means no limit.
fn check_size(max: u64, size: u64) -> FsResult<()> {
    let limit = match max {
        0 => MAX_FILE_BYTES,
        limit => limit,
    };
    if size > limit {
        return Err(FsError::new(
            ErrorKind::TooLarge,
            format!("a file may have {limit} bytes here (MAX_UPLOAD_SIZE)"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_zero_is_that_of_the_file_system() {
        let kind = |result: FsResult<()>| result.err().map(|error| error.kind);
        assert_eq!(kind(check_size(0, MAX_FILE_BYTES)), None);
        assert_eq!(
            kind(check_size(0, MAX_FILE_BYTES + 1)),
            Some(ErrorKind::TooLarge)
        );
        assert_eq!(kind(check_size(10, 10)), None);
        assert_eq!(kind(check_size(10, 11)), Some(ErrorKind::TooLarge));
    }
}
