//! Whether there is room for what is written or announced.

use std::time::Duration;

use super::Inner;
use super::draft::Draft;
use super::open::{OpenFile, OpenState};
use crate::model::{ErrorKind, FsError, FsResult};
use crate::spool::{Draining, Space};

/// Largest file (16 TiB, as on ext4): far above any film, far below where offsets could overflow.
const MAX_FILE_BYTES: u64 = 1 << 44;

const LARGER_THAN_SPOOL: &str =
    "the file is larger than the spool can ever take; raise TGFS_SPOOL_SIZE or free disk space";

impl Inner {
    pub(super) fn check_size(&self, size: u64) -> FsResult<()> {
        let limit = match self.settings().max_file_size {
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

    /// Refuses a hole at the end that could never be filled. It takes no room by itself, but who
    /// makes one is about to write into it, and would learn of it only after hours of copying.
    pub(super) fn check_growth(
        &self,
        file: &OpenFile,
        state: &OpenState,
        size: u64,
    ) -> FsResult<()> {
        let capacity = self.spool.capacity();
        if size <= capacity {
            return Ok(());
        }
        let now = match &state.draft {
            Some(draft) => draft.size(),
            None => self.content_of(file, state)?.size,
        };
        if size.saturating_sub(now) > capacity {
            return Err(FsError::new(ErrorKind::TooLarge, LARGER_THAN_SPOOL));
        }
        Ok(())
    }

    pub(super) async fn wait_for_space(&self, file: &OpenFile, bytes: u64) -> FsResult<()> {
        let own = file.state().draft.as_ref().map_or(0, Draft::spool_bytes);
        // Waiting cannot help: what this file itself has written drains only when it is closed.
        if own.saturating_add(bytes) > self.spool.capacity() {
            return Err(too_large_for_spool());
        }
        let deadline: Duration = self.settings().write_deadline;
        match self
            .spool
            .wait_for_space(bytes, deadline, || self.draining())
            .await
        {
            Space::Granted => Ok(()),
            Space::Full => Err(FsError::new(
                ErrorKind::NoSpace,
                "the spool is full and nothing in it can be sent; free disk space or raise TGFS_SPOOL_SIZE",
            )),
        }
    }

    /// Whether space will come free: files are on their way out, or about to be.
    fn draining(&self) -> Draining {
        if self.settle.any(|id| self.open.writers(id) == 0) {
            return Draining::Yes;
        }
        self.ingest.draining()
    }
}

pub(super) fn too_large_for_spool() -> FsError {
    FsError::new(ErrorKind::NoSpace, LARGER_THAN_SPOOL)
}
