//! Durable marks of the files that are being written.

use crate::index::{IndexError, Rows};
use crate::model::{EntryId, ErrorKind, FsError, FsResult};

/// Marks of the files that are being written, one row each. If a start finds a mark, the file may
/// be incomplete.
#[derive(Debug)]
pub struct WritingMarks {
    rows: Rows,
}

impl WritingMarks {
    #[must_use]
    pub fn new(rows: Rows) -> Self {
        Self { rows }
    }

    /// Marks a file. `version` is the version that is being overwritten.
    ///
    /// # Errors
    /// `Io` when the index cannot be written.
    pub fn put(&self, id: EntryId, version: u64) -> FsResult<()> {
        self.rows
            .put(id.as_bytes(), &version.to_le_bytes())
            .map_err(io)
    }

    /// Removes the mark of a file.
    ///
    /// # Errors
    /// `Io` when the index cannot be written.
    pub fn remove(&self, id: EntryId) -> FsResult<()> {
        self.rows.remove(id.as_bytes()).map_err(io)
    }

    /// Returns the marked files and the version that each overwrites. After a crash the newest marks
    /// may be missing, and removed ones may be back.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn all(&self) -> FsResult<Vec<(EntryId, u64)>> {
        let rows = self.rows.scan(b"").map_err(io)?;
        Ok(rows
            .into_iter()
            .filter_map(|(key, version)| {
                let version = u64::from_le_bytes(version.try_into().ok()?);
                Some((EntryId::from_bytes(key.try_into().ok()?), version))
            })
            .collect())
    }
}

fn io(error: IndexError) -> FsError {
    FsError::caused_by(ErrorKind::Io, error)
}
