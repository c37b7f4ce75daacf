//! Opening, reading, writing, and what makes written bytes a version of the file.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::draft::Draft;
use super::open::{FileHandle, Marked, OpenFile, OpenKind, OpenState};
use super::types::{AllocateMode, HandleId, Mutability, SeekTarget, SetIdBits};
use super::{Inner, Target, Vfs, attributes};
use crate::ingest::extents::ExtentList;
use crate::model::{
    Blob, EntryId, EntryKind, ErrorKind, Extent, ExtentSource, FileContent, FileState, FsError,
    FsResult,
};
use crate::spool::{Draining, Space};

/// Written bytes are pushed to the disk each time this many have come together, so that the wait
/// at `close` is short.
const WRITE_BACK_BYTES: u64 = 8 << 20;
/// Most that one copy inside the mount moves: fuser's reply is a `u32`.
const MAX_COPY_BYTES: u64 = 1 << 30;
/// Largest file (16 TiB, as on ext4): far above any film, far below where offsets could overflow.
const MAX_FILE_BYTES: u64 = 1 << 44;

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

    fn check_size(&self, size: u64) -> FsResult<()> {
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
    fn check_growth(&self, file: &OpenFile, state: &OpenState, size: u64) -> FsResult<()> {
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
    /// Exactly the bytes asked for, up to the end of the file.
    ///
    /// # Errors
    /// `BadHandle`, `RemoteUnavailable`, `Corrupt`, or `Io`.
    pub async fn read(&self, handle: HandleId, offset: u64, len: u64) -> FsResult<Bytes> {
        match &*self.0.open.get(handle)? {
            OpenKind::Fixed(bytes) => {
                let from = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                Ok(bytes.slice(from..from.saturating_add(len).min(bytes.len())))
            }
            OpenKind::View(view) => view.read(&self.0.reader, offset, len).await,
            OpenKind::Snapshot { content } => {
                let extents = ExtentList::new(content.extents.clone()).range(offset, len);
                self.0.reader.read(&extents, &content.blobs).await
            }
            OpenKind::File(open) => self.read_file(&open.file, offset, len).await,
        }
    }

    async fn read_file(&self, file: &OpenFile, offset: u64, len: u64) -> FsResult<Bytes> {
        let (extents, blobs) = self.0.extents_at(file, offset, len)?;
        match self.0.reader.read(&extents, &blobs).await {
            // Between looking and reading the spooled copy may have gone, since packs hold the
            // bytes now: the newer record says where.
            Err(error) if error.kind == ErrorKind::Io => {
                let (extents, blobs) = self.0.extents_at(file, offset, len)?;
                self.0.reader.read(&extents, &blobs).await
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

    /// Reserves nothing: room that is asked for is what the spool can ever take, not what is free
    /// now, since writes wait for what drains.
    ///
    /// # Errors
    /// `NoSpace` when the spool can never hold it, `TooLarge`, `BadHandle`, or `Io`.
    pub async fn fallocate(
        &self,
        handle: HandleId,
        offset: u64,
        len: u64,
        mode: AllocateMode,
    ) -> FsResult<()> {
        let end = offset.saturating_add(len);
        self.0.check_size(end)?;
        let inner = Arc::clone(&self.0);
        let kind = inner.open.get(handle)?;
        blocking(move || {
            let OpenKind::File(open) = &*kind else {
                return Err(ErrorKind::BadHandle.into());
            };
            open.require_write()?;
            let mut state = open.file.state();
            match mode {
                AllocateMode::Extend | AllocateMode::KeepSize => {
                    let draft = state.draft.as_ref();
                    let filled = draft.map_or(len, |draft| draft.bytes_when_filled(offset, len));
                    if filled > inner.spool.capacity() {
                        return Err(too_large_for_spool());
                    }
                }
                AllocateMode::ZeroRange => inner.check_growth(&open.file, &state, end)?,
                AllocateMode::PunchHole | AllocateMode::ZeroRangeKeepSize => {}
            }
            inner.mark_writing(&open.file, &mut state)?;
            let draft = inner.with_draft(&open.file, &mut state)?;
            match mode {
                AllocateMode::KeepSize => {}
                AllocateMode::Extend => draft.truncate(draft.size().max(end)),
                AllocateMode::PunchHole | AllocateMode::ZeroRangeKeepSize => {
                    draft.punch(offset, len);
                }
                AllocateMode::ZeroRange => {
                    draft.truncate(draft.size().max(end));
                    draft.punch(offset, len);
                }
            }
            open.wrote.store(true, Ordering::Relaxed);
            Ok(())
        })
        .await
    }

    /// `SEEK_DATA` and `SEEK_HOLE`: runs of zeros that were never written are holes.
    ///
    /// # Errors
    /// `NoSuchPosition` behind the end or when no data follows, `BadHandle`, or `Io`.
    pub fn seek(&self, handle: HandleId, offset: u64, target: SeekTarget) -> FsResult<u64> {
        let kind = self.0.open.get(handle)?;
        let OpenKind::File(open) = &*kind else {
            return Err(ErrorKind::NotSupported.into());
        };
        let (extents, size) = {
            let state = open.file.state();
            match &state.draft {
                Some(draft) => (draft.extents.as_slice().to_vec(), draft.size()),
                None => {
                    let content = self.0.content_of(&open.file, &state)?;
                    (content.extents, content.size)
                }
            }
        };
        find_position(&extents, size, offset, target)
    }

    pub(super) async fn resize(
        &self,
        target: &Target,
        handle: Option<HandleId>,
        size: u64,
    ) -> FsResult<()> {
        self.0.check_size(size)?;
        let (id, ino) = match target {
            Target::Real(node) => {
                if matches!(node.kind, crate::index::NodeKind::Directory) {
                    return Err(ErrorKind::IsDirectory.into());
                }
                (node.id, node.ino)
            }
            Target::Unlinked(file) => (file.id, file.ino),
            Target::Virtual(_) => return Err(ErrorKind::ReadOnly.into()),
        };
        let handle = handle.and_then(|id| self.0.open.get(id).ok());
        let inner = Arc::clone(&self.0);
        blocking(move || {
            let held = inner.open.hold(id, ino);
            let file = &held.file;
            let mut state = file.state();
            inner.check_growth(file, &state, size)?;
            if size == 0 {
                // Whoever writes from here on begins anew.
                state.quarantine = None;
            }
            let draft = inner.with_draft(file, &mut state)?;
            let changes = draft.size() != size;
            draft.truncate(size);
            match handle.as_deref() {
                Some(OpenKind::File(open)) => {
                    if changes {
                        open.wrote.store(true, Ordering::Relaxed);
                    }
                }
                // By name there is no close to wait for: it is committed at once.
                _ => {
                    inner.commit_draft(file, &mut state)?;
                    drop(state);
                    inner.settle.touch(file.id);
                }
            }
            Ok(())
        })
        .await
    }
}

impl Inner {
    /// What a range of an open file consists of, the draft's changes included.
    fn extents_at(
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
        if attributes::without_set_id(node.attributes.mode) != node.attributes.mode {
            self.tree.update(file.id, |entry| {
                entry.attributes.mode = attributes::without_set_id(entry.attributes.mode);
                Ok(())
            })?;
        }
        Ok(())
    }

    async fn wait_for_space(&self, file: &OpenFile, bytes: u64) -> FsResult<()> {
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
}

impl Inner {
    /// Whether space will come free: files are on their way out, or about to be.
    fn draining(&self) -> Draining {
        if self.settle.any(|id| self.open.writers(id) == 0) {
            return Draining::Yes;
        }
        self.ingest.draining()
    }
}

const LARGER_THAN_SPOOL: &str =
    "the file is larger than the spool can ever take; raise TGFS_SPOOL_SIZE or free disk space";

fn too_large_for_spool() -> FsError {
    FsError::new(ErrorKind::NoSpace, LARGER_THAN_SPOOL)
}

fn needed(content: &FileContent, offset: u64, len: u64) -> (Vec<Extent>, Vec<Blob>) {
    let extents = ExtentList::new(content.extents.clone()).range(offset, len);
    let named = |blob: &&Blob| {
        extents
            .iter()
            .any(|e| e.source == ExtentSource::Blob(blob.id))
    };
    let blobs = content.blobs.iter().filter(named).cloned().collect();
    (extents, blobs)
}

fn find_position(extents: &[Extent], size: u64, offset: u64, target: SeekTarget) -> FsResult<u64> {
    if offset >= size {
        return Err(ErrorKind::NoSuchPosition.into());
    }
    let mut start = 0;
    for extent in extents {
        let end = start + extent.len;
        let is_hole = extent.source == ExtentSource::Zeros;
        if end > offset && is_hole == (target == SeekTarget::Hole) {
            return Ok(offset.max(start));
        }
        start = end;
    }
    match target {
        SeekTarget::Hole => Ok(size),
        SeekTarget::Data => Err(ErrorKind::NoSuchPosition.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::extents::zeros;
    use crate::model::BlobId;

    #[test]
    fn holes_and_data_are_found() {
        let source = ExtentSource::Blob(BlobId::from_bytes([1; 16]));
        let data = Extent {
            source,
            offset: 0,
            len: 10,
        };
        let extents = [data, zeros(10), data];
        let at = |offset, target| find_position(&extents, 30, offset, target);
        assert_eq!(at(0, SeekTarget::Data), Ok(0));
        assert_eq!(at(5, SeekTarget::Hole), Ok(10));
        assert_eq!(at(12, SeekTarget::Data), Ok(20));
        assert_eq!(at(25, SeekTarget::Hole), Ok(30));
        assert_eq!(
            at(30, SeekTarget::Data),
            Err(ErrorKind::NoSuchPosition.into())
        );
        assert_eq!(
            find_position(&[data, zeros(5)], 15, 11, SeekTarget::Data),
            Err(ErrorKind::NoSuchPosition.into())
        );
    }
}
