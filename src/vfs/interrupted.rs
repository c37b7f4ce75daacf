//! Files that were being written when the daemon ended. Each has a note in the spool, from which it is
//! restored as it was last acknowledged.

use std::sync::Arc;

use super::spool_records::SpoolRecords;
use super::writing_notes::WritingNotes;
use crate::ingest::extents::ExtentList;
use crate::model::{
    Blob, BlobId, EntryId, EntryKind, ErrorKind, Extent, ExtentSource, FileContent, FileState,
    FsResult, ViewsState,
};
use crate::spool::{NotedStep, NotedWriting, Spool, SpoolFile};
use crate::tree::Tree;

/// Reason why an interrupted file is kept and not ingested.
pub const INTERRUPTED: &str =
    "tgfs ended while it was being written; copy it again, or `tgfs retry` it as it is";

/// Part that restores interrupted files and keeps them as failed.
#[derive(Debug)]
pub struct InterruptedFiles {
    tree: Arc<Tree>,
    spool: Arc<Spool>,
    notes: Arc<WritingNotes>,
    records: Arc<SpoolRecords>,
}

impl InterruptedFiles {
    pub fn new(
        tree: Arc<Tree>,
        spool: Arc<Spool>,
        notes: Arc<WritingNotes>,
        records: Arc<SpoolRecords>,
    ) -> Self {
        Self {
            tree,
            spool,
            notes,
            records,
        }
    }

    /// Restores all files whose writing was cut off, and returns their number.
    ///
    /// # Errors
    /// `Io` when index or spool cannot be read.
    pub fn keep_all(&self) -> FsResult<u64> {
        let mut kept = 0;
        for (id, note) in self.notes.left()? {
            kept += u64::from(self.keep(id, &note)?);
            // The entry says from here on that the file is not whole.
            self.tree.sync()?;
            self.notes.forget(id);
        }
        for (id, version) in self.notes.take_marks()? {
            let note = NotedWriting {
                first: version,
                last: version,
                steps: Vec::new(),
            };
            kept += u64::from(self.keep(id, &note)?);
        }
        Ok(kept)
    }

    /// Restores one file. A version that was closed, and that lies in other blobs than those that were
    /// being written, stays as it is.
    fn keep(&self, id: EntryId, note: &NotedWriting) -> FsResult<bool> {
        let kept = self.tree.update(id, |entry| {
            let EntryKind::File(content) = &mut entry.kind else {
                return Ok(false);
            };
            if !note.holds_for(content.version) {
                return Ok(false);
            }
            let written = WrittenFile::by(&note.steps, content);
            let is_in_place = written.own.is_some_and(|own| content.blob(own).is_some());
            // `fsync` made a version of what was written, which may be a hole without any blob.
            let was_committed = content.version > note.first;
            if content.size > 0 && !is_in_place && !was_committed {
                return Ok(false);
            }
            if let Some(own) = written.own.and_then(|own| self.spool.get(own)) {
                lay_into(content, written, &own)?;
            } else if written.own.is_none() {
                lay_out(content, written.extents);
            }
            content.state = FileState::Failed(INTERRUPTED.to_owned());
            Ok(true)
        });
        match kept {
            Ok((entry, true)) => self.records.own(&entry).map(|()| true),
            Ok((_, false)) => Ok(false),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// State of a file after the steps of its note.
#[derive(Debug)]
struct WrittenFile {
    extents: ExtentList,
    /// Blob that was written to.
    own: Option<BlobId>,
    mirror: Mirror,
}

/// Answer whether the blob that was written to has all bytes of the file, its holes and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mirror {
    Yes,
    No,
}

impl WrittenFile {
    /// Follows the steps of a note over the content that it is about.
    fn by(steps: &[NotedStep], content: &FileContent) -> Self {
        let mut written = Self {
            extents: ExtentList::new(content.extents.clone()),
            own: None,
            mirror: Mirror::No,
        };
        for step in steps {
            match *step {
                NotedStep::Blob(id) => written.own = Some(id),
                NotedStep::Mirror => {
                    written.extents = ExtentList::new(Vec::new());
                    written.mirror = Mirror::Yes;
                }
                NotedStep::Write(range) => {
                    if let Some(own) = written.own {
                        let source = ExtentSource::Blob(own);
                        let (offset, len) = (range.offset, range.len);
                        let extent = Extent {
                            source,
                            offset,
                            len,
                        };
                        written.extents.splice(offset, &[extent]);
                    }
                }
                NotedStep::Resize(size) => written.extents.truncate(size),
                NotedStep::Punch(range) => written.extents.punch(range.offset, range.len),
            }
        }
        written
    }
}

/// Gives a file the content that was written for it.
fn lay_into(content: &mut FileContent, written: WrittenFile, own: &SpoolFile) -> FsResult<()> {
    let extents = match written.mirror {
        Mirror::Yes => mirrored(own)?,
        Mirror::No => written.extents,
    };
    let source = ExtentSource::Blob(own.id);
    let named = extents.as_slice().iter().filter(|e| e.source == source);
    let end = named.map(|extent| extent.offset + extent.len).max();
    let end = end.unwrap_or(0);
    // A power cut can take bytes at the end that were not synced. The extents must have something to name.
    if own.length()? < end {
        own.set_len(end)?;
    }
    content.blobs.retain(|blob| blob.id != own.id);
    content.blobs.push(Blob {
        id: own.id,
        len: end,
        digest: None,
        slices: Vec::new(),
    });
    lay_out(content, extents);
    Ok(())
}

/// Makes the extents a new version of the content.
fn lay_out(content: &mut FileContent, extents: ExtentList) {
    content.size = extents.size();
    content.extents = extents.into_vec();
    let extents = &content.extents;
    content.blobs.retain(|blob| {
        let source = ExtentSource::Blob(blob.id);
        extents.iter().any(|extent| extent.source == source)
    });
    content.version += 1;
    content.views = ViewsState::Pending;
}

/// Returns the extents of a file that is exactly its spool file.
fn mirrored(own: &SpoolFile) -> FsResult<ExtentList> {
    let len = own.length()?;
    let source = ExtentSource::Blob(own.id);
    let mut extents = ExtentList::new(Vec::new());
    for run in own.data_runs()? {
        let (offset, len) = (run.offset, run.len);
        extents.truncate(offset);
        extents.splice(
            offset,
            &[Extent {
                source,
                offset,
                len,
            }],
        );
    }
    extents.truncate(len);
    Ok(extents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::extents::zeros;
    use crate::model::ByteRange;

    #[test]
    fn steps_over_their_own_result_change_nothing() {
        let blob = BlobId::from_bytes([1; 16]);
        let base = FileContent {
            size: 50,
            extents: vec![zeros(50)],
            ..FileContent::empty()
        };
        let steps = [
            NotedStep::Blob(blob),
            NotedStep::Write(ByteRange::new(40, 30)),
            NotedStep::Resize(60),
            NotedStep::Punch(ByteRange::new(45, 2)),
            NotedStep::Resize(100),
            NotedStep::Write(ByteRange::new(90, 20)),
        ];
        let once = WrittenFile::by(&steps, &base);
        let after = FileContent {
            size: once.extents.size(),
            extents: once.extents.as_slice().to_vec(),
            ..base
        };
        for from in 0..steps.len() {
            let mut rest = vec![NotedStep::Blob(blob)];
            rest.extend_from_slice(&steps[from..]);
            let twice = WrittenFile::by(&rest, &after);
            assert_eq!(twice.extents.as_slice(), once.extents.as_slice(), "{from}");
        }
    }
}
