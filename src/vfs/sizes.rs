//! Sizes and holes of files: truncate, allocate, seek.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::blocking::blocking;
use super::draft::FileDraft;
use super::drafts::Drafts;
use super::namespace::ResolvedNode;
use super::open::{OpenFile, OpenFileState, OpenKind, OpenTable};
use super::room::Room;
use super::settle::SettleTimers;
use super::types::{AllocateMode, HandleId, SeekTarget};
use crate::index::NodeKind;
use crate::model::{ByteRange, ErrorKind, Extent, ExtentSource, FsResult};

/// What emptying a file came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emptying {
    /// It had bytes.
    Emptied,
    WasEmpty,
}

/// Part that changes the sizes of files and finds their holes.
#[derive(Debug)]
pub struct FileSizes {
    open: Arc<OpenTable>,
    drafts: Arc<Drafts>,
    room: Arc<Room>,
    timers: Arc<SettleTimers>,
}

impl FileSizes {
    /// Creates the part that sizes the files of `open`.
    pub fn new(
        open: Arc<OpenTable>,
        drafts: Arc<Drafts>,
        room: Arc<Room>,
        timers: Arc<SettleTimers>,
    ) -> Self {
        Self {
            open,
            drafts,
            room,
            timers,
        }
    }

    /// Allocates or frees a range. Nothing is reserved. An allocation is checked against the most that the
    /// spool can ever take, not against the free space, because writes wait until space is drained.
    ///
    /// # Errors
    /// `NoSpace` when the spool can never hold it, `TooLarge`, `BadHandle`, or `Io`.
    pub async fn allocate(
        &self,
        handle: HandleId,
        offset: u64,
        len: u64,
        mode: AllocateMode,
    ) -> FsResult<()> {
        let end = offset.saturating_add(len);
        self.room.check_size(end)?;
        let (drafts, room) = (Arc::clone(&self.drafts), Arc::clone(&self.room));
        let kind = self.open.get(handle)?;
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
                    room.check_capacity(filled)?;
                }
                AllocateMode::ZeroRange => {
                    room.check_growth(end, || current_size(&drafts, &open.file, &state))?;
                }
                AllocateMode::PunchHole | AllocateMode::ZeroRangeKeepSize => {}
            }
            if mode == AllocateMode::KeepSize {
                return Ok(());
            }
            let file = &open.file;
            drafts.begin_change(file, &mut state, Some(open.id))?;
            if matches!(mode, AllocateMode::Extend | AllocateMode::ZeroRange) {
                let size = current_size(&drafts, file, &state)?.max(end);
                drafts.set_size(file, &mut state, size)?;
            }
            if mode != AllocateMode::Extend {
                drafts.punch(file, &mut state, ByteRange::new(offset, len))?;
            }
            open.wrote.store(true, Ordering::Relaxed);
            Ok(())
        })
        .await
    }

    /// Returns the next data or hole at or behind `offset`. Runs of zeros that were never written are
    /// holes.
    ///
    /// # Errors
    /// `NoSuchPosition` behind the end or when no data follows, `BadHandle`, or `Io`.
    pub fn seek(&self, handle: HandleId, offset: u64, target: SeekTarget) -> FsResult<u64> {
        let kind = self.open.get(handle)?;
        let OpenKind::File(open) = &*kind else {
            return Err(ErrorKind::NotSupported.into());
        };
        let (extents, size) = {
            let state = open.file.state();
            match &state.draft {
                Some(draft) => (draft.extents.as_slice().to_vec(), draft.size()),
                None => {
                    let content = self.drafts.committed(&open.file, &state)?;
                    (content.extents, content.size)
                }
            }
        };
        find_position(&extents, size, offset, target)
    }

    /// Truncates or extends a file, through `handle` if there is one.
    ///
    /// # Errors
    /// `TooLarge`, `IsDirectory`, `ReadOnly` (a view), `NoSpace`, or `Io`.
    pub async fn resize(
        &self,
        node: &ResolvedNode,
        handle: Option<HandleId>,
        size: u64,
    ) -> FsResult<()> {
        self.room.check_size(size)?;
        let (id, ino) = match node {
            ResolvedNode::Real(node) => {
                if matches!(node.kind, NodeKind::Directory) {
                    return Err(ErrorKind::IsDirectory.into());
                }
                (node.id, node.ino)
            }
            ResolvedNode::Unlinked(file) => (file.id, file.ino),
            ResolvedNode::Virtual(_) => return Err(ErrorKind::ReadOnly.into()),
        };
        let handle = handle.and_then(|id| self.open.get(id).ok());
        let (drafts, room) = (Arc::clone(&self.drafts), Arc::clone(&self.room));
        let (open, timers) = (Arc::clone(&self.open), Arc::clone(&self.timers));
        blocking(move || {
            let held = open.hold(id, ino);
            let file = &held.file;
            let mut state = file.state();
            room.check_growth(size, || current_size(&drafts, file, &state))?;
            let open = match handle.as_deref() {
                Some(OpenKind::File(open)) => Some(open),
                _ => None,
            };
            if size == 0 || open.is_none() {
                // A writer from here on starts over, and a change by name is complete in itself.
                state.quarantine = None;
            }
            let changes = current_size(&drafts, file, &state)? != size;
            if changes {
                drafts.begin_change(file, &mut state, open.map(|open| open.id))?;
                drafts.set_size(file, &mut state, size)?;
            }
            match open {
                Some(open) if changes => open.wrote.store(true, Ordering::Relaxed),
                Some(_) => {}
                // A truncation by name has no close to wait for, so it is committed at once.
                None => {
                    drafts.commit(file, &mut state)?;
                    drop(state);
                    timers.touch(file.id);
                }
            }
            Ok(())
        })
        .await
    }

    /// Empties the file of a handle that was just opened with `O_TRUNC`.
    ///
    /// # Errors
    /// `BadHandle` or `Io`.
    pub async fn empty(&self, handle: HandleId) -> FsResult<Emptying> {
        let drafts = Arc::clone(&self.drafts);
        let open = self.open.get(handle)?;
        blocking(move || {
            let OpenKind::File(open) = &*open else {
                return Err(ErrorKind::BadHandle.into());
            };
            let mut state = open.file.state();
            // The copy that is being replaced may have been cut short, but the new one has not been.
            state.quarantine = None;
            if current_size(&drafts, &open.file, &state)? == 0 {
                return Ok(Emptying::WasEmpty);
            }
            drafts.begin_change(&open.file, &mut state, Some(open.id))?;
            drafts.set_size(&open.file, &mut state, 0)?;
            open.wrote.store(true, Ordering::Relaxed);
            Ok(Emptying::Emptied)
        })
        .await
    }
}

/// Returns the size of a file with its uncommitted changes.
fn current_size(drafts: &Drafts, file: &OpenFile, state: &OpenFileState) -> FsResult<u64> {
    match state.draft.as_ref().map(FileDraft::size) {
        Some(size) => Ok(size),
        None => Ok(drafts.committed(file, state)?.size),
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
