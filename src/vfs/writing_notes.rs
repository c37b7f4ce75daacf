//! Notes of the files that are being written. If a start finds one, the file may be incomplete.

use std::sync::Arc;

use crate::index::{IndexError, Rows};
use crate::model::{EntryId, ErrorKind, FsError, FsResult};
use crate::spool::{NotedStep, NotedWriting, Spool, WritingNote};

/// Notes in the spool, and the marks that earlier releases left in the index instead.
#[derive(Debug)]
pub struct WritingNotes {
    spool: Arc<Spool>,
    marks: Rows,
}

impl WritingNotes {
    #[must_use]
    pub fn new(spool: Arc<Spool>, marks: Rows) -> Self {
        Self { spool, marks }
    }

    /// Begins the note of a file. `steps` tell how far it differs from `version`.
    ///
    /// # Errors
    /// `NoSpace` or `Io`.
    pub fn begin(&self, id: EntryId, version: u64, steps: &[NotedStep]) -> FsResult<WritingNote> {
        Ok(self.spool.begin_note(id, version, steps)?)
    }

    /// Removes the note of a file, if there is one.
    pub fn forget(&self, id: EntryId) {
        if let Err(error) = self.spool.forget_note(id) {
            tracing::warn!(file = %id, %error, "the note of a file that was written stays behind");
        }
    }

    /// Removes a note, because its file is closed.
    pub fn end(&self, id: EntryId, note: WritingNote) {
        if let Err(error) = note.remove() {
            tracing::warn!(file = %id, %error, "the note of a file that was written stays behind");
        }
    }

    /// Returns the notes that the last run left.
    ///
    /// # Errors
    /// `Io` when the spool cannot be read.
    pub fn left(&self) -> FsResult<Vec<(EntryId, NotedWriting)>> {
        Ok(self.spool.notes()?)
    }

    /// Returns the files that an earlier release marked, with the version that each overwrites, and
    /// removes the marks.
    ///
    /// # Errors
    /// `Io` when the index cannot be read or written.
    pub fn take_marks(&self) -> FsResult<Vec<(EntryId, u64)>> {
        let rows = self.marks.scan(b"").map_err(io)?;
        let mut marked = Vec::new();
        for (key, version) in rows {
            self.marks.remove(&key).map_err(io)?;
            if let (Ok(id), Ok(version)) = (key.try_into(), version.try_into()) {
                marked.push((EntryId::from_bytes(id), u64::from_le_bytes(version)));
            }
        }
        Ok(marked)
    }
}

fn io(error: IndexError) -> FsError {
    FsError::caused_by(ErrorKind::Io, error)
}
