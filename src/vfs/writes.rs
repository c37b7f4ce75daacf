//! Writes through handles, and copies inside the mount.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::blocking::blocking;
use super::draft::FileDraft;
use super::drafts::Drafts;
use super::open::{OpenKind, OpenTable};
use super::room::Room;
use super::types::{HandleId, SetIdBits};
use crate::model::{ErrorKind, FsResult};

/// Largest copy inside the mount. fuser's reply is a `u32`.
const MAX_COPY_BYTES: u64 = 1 << 30;

/// A range of one handle that is to be copied to a position of another.
#[derive(Debug, Clone, Copy)]
pub struct CopyRange {
    pub from: HandleId,
    pub from_offset: u64,
    pub to: HandleId,
    pub to_offset: u64,
    /// Length in bytes.
    pub len: u64,
}

/// Writer to the objects that handles are open on.
#[derive(Debug)]
pub struct HandleWriter {
    open: Arc<OpenTable>,
    drafts: Arc<Drafts>,
    room: Arc<Room>,
}

impl HandleWriter {
    /// Creates a writer to the handles in `open`.
    pub fn new(open: Arc<OpenTable>, drafts: Arc<Drafts>, room: Arc<Room>) -> Self {
        Self { open, drafts, room }
    }

    /// Writes all of `data`, or fails. After a failure the handle is marked, and its file is not ingested.
    ///
    /// # Errors
    /// `BadHandle`, `TooLarge`, `NoSpace`, or `Io`.
    pub async fn write(
        &self,
        handle: HandleId,
        offset: u64,
        data: Bytes,
        bits: SetIdBits,
    ) -> FsResult<()> {
        let kind = self.open.get(handle)?;
        let OpenKind::File(open) = &*kind else {
            return Err(ErrorKind::BadHandle.into());
        };
        open.require_write()?;
        let result = self.write_checked(&kind, offset, data, bits).await;
        if let Err(error) = &result {
            // The first failure says why the file is not whole.
            let _ = open.failed.set(error.kind);
            open.wrote.store(true, Ordering::Relaxed);
            let reason =
                || format!("a write failed ({error}), so the file is not whole; copy it again");
            open.file.state().set_apart(reason, self.open.newest());
        }
        result
    }

    async fn write_checked(
        &self,
        kind: &Arc<OpenKind>,
        offset: u64,
        data: Bytes,
        bits: SetIdBits,
    ) -> FsResult<()> {
        let len = data.len() as u64;
        self.room.check_size(offset.saturating_add(len))?;
        if let OpenKind::File(open) = &**kind {
            let draft = open.file.state().draft.as_ref().map(FileDraft::spool_bytes);
            self.room.wait_for_space(draft.unwrap_or(0), len).await?;
        }
        let drafts = Arc::clone(&self.drafts);
        let kind = Arc::clone(kind);
        blocking(move || {
            let OpenKind::File(open) = &*kind else {
                return Err(ErrorKind::BadHandle.into());
            };
            if bits == SetIdBits::Clear {
                drafts.clear_set_id(&open.file)?;
            }
            drafts.write(open, offset, &data)
        })
        .await
    }

    /// Shares stored bytes instead of copying them, and returns the number of shared bytes.
    ///
    /// # Errors
    /// `NotSupported` where the bytes can still change (the kernel then copies by reading and
    /// writing), `BadHandle`, `TooLarge`, or `Io`.
    pub async fn copy(&self, range: CopyRange) -> FsResult<u64> {
        let (from, to) = (self.open.get(range.from)?, self.open.get(range.to)?);
        let (drafts, room) = (Arc::clone(&self.drafts), Arc::clone(&self.room));
        let len = range.len.min(MAX_COPY_BYTES);
        blocking(move || {
            let (OpenKind::File(from), OpenKind::File(to)) = (&*from, &*to) else {
                return Err(ErrorKind::NotSupported.into());
            };
            to.require_write()?;
            if from.file.id == to.file.id {
                return Err(ErrorKind::NotSupported.into());
            }
            let (extents, blobs) = drafts.shareable(&from.file, range.from_offset, len)?;
            let copied: u64 = extents.iter().map(|extent| extent.len).sum();
            if copied == 0 {
                return Ok(0);
            }
            room.check_size(range.to_offset.saturating_add(copied))?;
            let mut state = to.file.state();
            drafts.begin_change(&to.file, &mut state, Some(to.id))?;
            let draft = drafts.start(&to.file, &mut state)?;
            let before = draft.layout();
            draft.share(range.to_offset, &extents, &blobs);
            // The entry refers to the bytes from now on. The source may be removed, or its spooled
            // copy deleted, before this file is closed.
            if let Err(error) = drafts.place(&to.file, &mut state) {
                tracing::debug!(%error, "bytes could not be shared; they are copied");
                if let Some(draft) = state.draft.as_mut() {
                    draft.restore(before);
                }
                return Err(ErrorKind::NotSupported.into());
            }
            state.restate_note()?;
            to.wrote.store(true, Ordering::Relaxed);
            Ok(copied)
        })
        .await
    }
}
