//! Reading and writing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::draft::Draft;
use super::open::{FileHandle, Marked, OpenFile, OpenKind, OpenState};
use super::types::{HandleId, Mutability, SetIdBits};
use super::{Inner, Target, Vfs, attr};
use crate::ingest::extents::{ExtentList, needed};
use crate::model::{
    Blob, ByteRange, EntryId, EntryKind, ErrorKind, Extent, FileContent, FileState, FsError,
    FsResult, Pieces,
};

/// Written bytes are pushed to the disk each time this many have come together, so that the wait
/// at `close` is short.
const WRITE_BACK_BYTES: u64 = 8 << 20;
/// Most that one copy inside the mount moves: fuser's reply is a `u32`.
const MAX_COPY_BYTES: u64 = 1 << 30;
/// Runs a short blocking piece of work (local disk, index) off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> FsResult<T> + Send + 'static,
) -> FsResult<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(FsError::new(ErrorKind::Io, error.to_string())))
}

impl Inner {
    pub(super) fn open_file_of(&self, target: &Target) -> Option<Arc<OpenFile>> {
        match target {
            Target::Real(node) => self.open.file(node.id),
            Target::Unlinked(file) => Some(Arc::clone(file)),
            Target::Virtual(_) => None,
        }
    }

    /// The committed content of an open file.
    pub(super) fn content_of(&self, file: &OpenFile, state: &OpenState) -> FsResult<FileContent> {
        if let Some(entry) = &state.unlinked {
            return match &entry.kind {
                EntryKind::File(content) => Ok((**content).clone()),
                EntryKind::Directory => Err(ErrorKind::IsDirectory.into()),
            };
        }
        match &self.tree.recent_entry(file.id)?.kind {
            EntryKind::File(content) => Ok((**content).clone()),
            EntryKind::Directory => Err(ErrorKind::IsDirectory.into()),
        }
    }

    /// Starts a draft if there is none.
    pub(super) fn with_draft<'a>(
        &self,
        file: &OpenFile,
        state: &'a mut OpenState,
    ) -> FsResult<&'a mut Draft> {
        if state.draft.is_none() {
            self.ingest.hold(file.id);
            state.draft = Some(Draft::over(&self.content_of(file, state)?));
        }
        state.draft.as_mut().ok_or_else(|| ErrorKind::Io.into())
    }

    /// Says in the index that a file is being written: a start that finds this knows that the
    /// bytes may be half of what was meant.
    pub(super) fn mark_writing(&self, file: &OpenFile, state: &mut OpenState) -> FsResult<()> {
        if state.marked != Marked::Yes && state.unlinked.is_none() {
            let version = self.content_of(file, state)?.version;
            self.writing.put(file.id, version)?;
            state.marked = Marked::Yes;
        }
        Ok(())
    }

    /// What was being written is whole.
    pub(super) fn unmark_writing(&self, file: &OpenFile, state: &mut OpenState) -> FsResult<()> {
        if state.marked != Marked::No {
            self.writing.remove(file.id)?;
            state.marked = Marked::No;
        }
        Ok(())
    }

    fn write_blocking(&self, open: &FileHandle, offset: u64, data: &[u8]) -> FsResult<()> {
        let file = &open.file;
        let mut state = file.state();
        self.mark_writing(file, &mut state)?;
        let draft = self.with_draft(file, &mut state)?;
        if draft.own_id().is_none() {
            let blob = draft.own_blob(&self.spool)?.id;
            self.begin_record(file, &state, blob)?;
        }
        let draft = self.with_draft(file, &mut state)?;
        draft.write(&self.spool, offset, data)?;
        open.wrote.store(true, Ordering::Relaxed);
        state.unsynced += data.len() as u64;
        if state.unsynced >= WRITE_BACK_BYTES
            && let Some(draft) = &mut state.draft
        {
            draft.own_blob(&self.spool)?.write_back();
            state.unsynced = 0;
        }
        Ok(())
    }
}

/// Bytes.
impl Vfs {
    /// Exactly the bytes asked for, up to the end of the file, in one run.
    ///
    /// # Errors
    /// Those of [`Self::read_pieces`].
    pub async fn read(&self, handle: HandleId, offset: u64, len: u64) -> FsResult<Bytes> {
        self.read_pieces(handle, offset, len)
            .await
            .map(Pieces::joined)
    }

    /// Exactly the bytes asked for, up to the end of the file, where they lie.
    ///
    /// # Errors
    /// `BadHandle`, `RemoteUnavailable`, `Corrupt`, or `Io`.
    pub async fn read_pieces(&self, handle: HandleId, offset: u64, len: u64) -> FsResult<Pieces> {
        match &*self.0.open.get(handle)? {
            OpenKind::Fixed(bytes) => {
                let from = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                Ok(bytes
                    .slice(from..from.saturating_add(len).min(bytes.len()))
                    .into())
            }
            OpenKind::View(view) => view.read(&self.0.reader, offset, len).await,
            OpenKind::Snapshot { content, follower } => {
                let range = ByteRange::new(offset, len);
                self.0.follow_version(follower, content, range);
                let extents = ExtentList::new(content.extents.clone()).range(offset, len);
                self.0.reader.read_pieces(&extents, &content.blobs).await
            }
            OpenKind::File(open) => {
                self.0.follow_file(open, ByteRange::new(offset, len));
                self.read_file(&open.file, offset, len).await
            }
        }
    }

    async fn read_file(&self, file: &OpenFile, offset: u64, len: u64) -> FsResult<Pieces> {
        let (extents, blobs) = self.0.extents_at(file, offset, len)?;
        match self.0.reader.read_pieces(&extents, &blobs).await {
            // Between looking and reading the spooled copy may have gone, since packs hold the
            // bytes now: the newer record says where.
            Err(error) if error.kind == ErrorKind::Io => {
                let (extents, blobs) = self.0.extents_at(file, offset, len)?;
                self.0.reader.read_pieces(&extents, &blobs).await
            }
            result => result,
        }
    }

    /// All of `data`, or an error; then the handle is marked, and what it leaves is not ingested.
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
        let kind = self.0.open.get(handle)?;
        let OpenKind::File(open) = &*kind else {
            return Err(ErrorKind::BadHandle.into());
        };
        open.require_write()?;
        let result = self.write_checked(&kind, offset, data, bits).await;
        if let Err(error) = &result {
            open.failed.store(true, Ordering::Relaxed);
            open.wrote.store(true, Ordering::Relaxed);
            open.file.state().quarantine.get_or_insert_with(|| {
                format!("a write failed ({error}), so the file is not whole; copy it again")
            });
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
        self.0
            .check_size(offset.saturating_add(data.len() as u64))?;
        if let OpenKind::File(open) = &**kind {
            self.0.wait_for_space(&open.file, data.len() as u64).await?;
        }
        let inner = Arc::clone(&self.0);
        let kind = Arc::clone(kind);
        blocking(move || {
            let OpenKind::File(open) = &*kind else {
                return Err(ErrorKind::BadHandle.into());
            };
            if bits == SetIdBits::Clear {
                inner.clear_set_id(&open.file)?;
            }
            inner.write_blocking(open, offset, &data)
        })
        .await
    }

    /// Shares stored bytes instead of copying them.
    ///
    /// # Errors
    /// `NotSupported` where the bytes can still change (the kernel then copies by reading and
    /// writing), `BadHandle`, `TooLarge`, or `Io`.
    pub async fn copy_file_range(
        &self,
        from: HandleId,
        from_offset: u64,
        to: HandleId,
        to_offset: u64,
        len: u64,
    ) -> FsResult<u64> {
        let inner = Arc::clone(&self.0);
        let (from, to) = (inner.open.get(from)?, inner.open.get(to)?);
        let len = len.min(MAX_COPY_BYTES);
        blocking(move || {
            let (OpenKind::File(from), OpenKind::File(to)) = (&*from, &*to) else {
                return Err(ErrorKind::NotSupported.into());
            };
            to.require_write()?;
            if from.file.id == to.file.id {
                return Err(ErrorKind::NotSupported.into());
            }
            let (extents, blobs) = inner.shareable(&from.file, from_offset, len)?;
            let copied: u64 = extents.iter().map(|extent| extent.len).sum();
            if copied == 0 {
                return Ok(0);
            }
            inner.check_size(to_offset.saturating_add(copied))?;
            let mut state = to.file.state();
            inner.mark_writing(&to.file, &mut state)?;
            let draft = inner.with_draft(&to.file, &mut state)?;
            let before = draft.layout();
            draft.share(to_offset, &extents, &blobs);
            // Refers to the bytes from now on: the source may be removed, or its spooled copy go,
            // before this file is closed.
            if let Err(error) = inner.place_draft(&to.file, &mut state) {
                tracing::debug!(%error, "bytes could not be shared; they are copied");
                if let Some(draft) = state.draft.as_mut() {
                    draft.restore(before);
                }
                return Err(ErrorKind::NotSupported.into());
            }
            to.wrote.store(true, Ordering::Relaxed);
            Ok(copied)
        })
        .await
    }
}

impl Inner {
    /// What a range of an open file consists of, the draft's changes included.
    pub(super) fn extents_at(
        &self,
        file: &OpenFile,
        offset: u64,
        len: u64,
    ) -> FsResult<(Vec<Extent>, Vec<Blob>)> {
        let mut state = file.state();
        if state.draft.is_some() && state.unlinked.is_none() {
            let content = self.content_of(file, &state)?;
            if let Some(draft) = &mut state.draft {
                draft.refresh_base(&content);
            }
        }
        if let Some(draft) = &state.draft {
            return Ok((draft.extents.range(offset, len), draft.blobs().to_vec()));
        }
        if state.unlinked.is_none() {
            // The common case, a stored film being played: no copy of its whole record.
            let entry = self.tree.recent_entry(file.id)?;
            if let EntryKind::File(content) = &entry.kind {
                return Ok(needed(content, offset, len));
            }
        }
        let content = self.content_of(file, &state)?;
        Ok(needed(&content, offset, len))
    }

    /// Extents of a file whose bytes cannot change any more.
    fn shareable(
        &self,
        file: &OpenFile,
        offset: u64,
        len: u64,
    ) -> FsResult<(Vec<Extent>, Vec<Blob>)> {
        if self.open.writers(file.id) > 0 {
            return Err(ErrorKind::NotSupported.into());
        }
        let mut state = file.state();
        // Nothing refers to a removed file's packs any more.
        if state.unlinked.is_some() {
            return Err(ErrorKind::NotSupported.into());
        }
        self.commit_draft(file, &mut state)?;
        // Sealed: the next write begins a blob of its own.
        state.draft = None;
        let content = self.content_of(file, &state)?;
        Ok(needed(&content, offset, len))
    }

    pub(super) fn mutability(&self, id: EntryId) -> Mutability {
        let stored = self
            .tree
            .recent_entry(id)
            .is_ok_and(|entry| match &entry.kind {
                EntryKind::File(content) => content.state == FileState::Stored,
                EntryKind::Directory => false,
            });
        if stored && self.open.writers(id) == 0 {
            Mutability::Immutable
        } else {
            Mutability::Mutable
        }
    }

    fn clear_set_id(&self, file: &OpenFile) -> FsResult<()> {
        if file.state().unlinked.is_some() {
            return Ok(());
        }
        let node = self.tree.node(file.id)?;
        if attr::without_set_id(node.attributes.mode) != node.attributes.mode {
            self.tree.update(file.id, |entry| {
                entry.attributes.mode = attr::without_set_id(entry.attributes.mode);
                Ok(())
            })?;
        }
        Ok(())
    }
}
