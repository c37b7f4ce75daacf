//! Notes about unfinished work for the next start: packs of a blob that are already acknowledged, and
//! files that are not done. They are rows outside the journal. Losing them costs work, not bytes: a start after a
//! kill looks for files without views instead.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::codec::{self, Kind, Record};
use crate::index::{Index, Rows};
use crate::model::stored::{PackSliceV1, StoredForm as _};
use crate::model::{BlobId, EntryId, ErrorKind, FsError, FsResult, PackId, PackSlice};

/// Slices of a blob that acknowledged packs hold. They are stored, so their bytes are frozen.
#[derive(Debug, Serialize, Deserialize)]
struct SlicesV1 {
    slices: Vec<PackSliceV1>,
}

impl Record for SlicesV1 {
    const KIND: Kind = Kind::UploadedSlices;
}

/// Rows of the notes.
#[derive(Debug)]
pub struct Notes {
    uploads: Rows,
    jobs: Rows,
}

impl Notes {
    /// Opens the rows.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn open(index: &Index) -> FsResult<Self> {
        Ok(Self {
            uploads: index.rows("uploads").map_err(io)?,
            jobs: index.rows("jobs").map_err(io)?,
        })
    }

    /// Notes that a file is not done. Its content may be published before its views are made, and then
    /// only this note shows that it is not done.
    pub fn note_job(&self, id: EntryId) {
        if let Err(error) = self.jobs.put(id.as_bytes(), b"") {
            tracing::warn!(%id, %error, "a job could not be noted; a restart would forget it");
        }
    }

    /// Forgets that a file is not done.
    pub fn forget_job(&self, id: EntryId) {
        if let Err(error) = self.jobs.remove(id.as_bytes()) {
            tracing::debug!(%id, %error, "a note of a job stays behind");
        }
    }

    /// Returns the files that are not done.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn jobs(&self) -> FsResult<Vec<EntryId>> {
        let rows = self.jobs.scan(b"").map_err(io)?;
        let ids = rows.into_iter().filter_map(|(key, _)| key.try_into().ok());
        Ok(ids.map(EntryId::from_bytes).collect())
    }

    /// Returns the slices of a blob that acknowledged packs hold.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn slices(&self, blob: BlobId) -> FsResult<Vec<PackSlice>> {
        let Some(row) = self.uploads.get(blob.as_bytes()).map_err(io)? else {
            return Ok(Vec::new());
        };
        // A note that cannot be decoded is no error: the slices are sent once more.
        Ok(codec::decode::<SlicesV1>(&row)
            .map_or_else(|_| Vec::new(), |note| note.slices.restore()))
    }

    /// Notes the slices of a blob that acknowledged packs hold.
    ///
    /// # Errors
    /// `Io` when the index cannot be written.
    pub fn note_slices(&self, blob: BlobId, slices: &[PackSlice]) -> FsResult<()> {
        let row = codec::encode(&SlicesV1 {
            slices: slices.iter().map(PackSliceV1::of).collect(),
        })
        .map_err(|error| FsError::caused_by(ErrorKind::Io, error))?;
        self.uploads.put(blob.as_bytes(), &row).map_err(io)
    }

    /// Returns the packs that unfinished uploads continue with.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn packs(&self) -> FsResult<BTreeSet<PackId>> {
        let rows = self.uploads.scan(b"").map_err(io)?;
        let notes = rows
            .into_iter()
            .filter_map(|(_, row)| codec::decode::<SlicesV1>(&row).ok());
        Ok(notes
            .flat_map(|note| note.slices.restore())
            .map(|slice| slice.pack.id)
            .collect())
    }

    /// Forgets the slices of a blob.
    pub fn forget_blob(&self, blob: BlobId) {
        if let Err(error) = self.uploads.remove(blob.as_bytes()) {
            tracing::debug!(%blob, %error, "a note of uploaded slices stays behind");
        }
    }
}

/// Turns an error of the index into that of a file.
pub fn io(error: crate::index::IndexError) -> FsError {
    FsError::new(
        ErrorKind::Io,
        format!("the index in the state directory: {error}"),
    )
}
