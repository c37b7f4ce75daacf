//! Sizes and holes: truncate, allocate, seek.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::draft::Draft;
use super::files::blocking;
use super::open::OpenKind;
use super::room::too_large_for_spool;
use super::types::{AllocateMode, HandleId, SeekTarget};
use super::{Inner, Target, Vfs};
use crate::model::{ErrorKind, Extent, ExtentSource, FsResult};

impl Vfs {
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
            inner.set_size(draft, size);
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
    /// Cuts or extends a draft.
    pub(super) fn set_size(&self, draft: &mut Draft, size: u64) {
        draft.truncate(size);
        if let Some(blob) = draft.drop_damaged_blob() {
            self.ingest.disown_blob(blob);
        }
    }
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
