//! Records beside spool files, which name the file that the bytes belong to.

use std::sync::Arc;

use crate::ingest::{self, Ingest};
use crate::model::{BlobId, Entry, EntryKind, FsResult};
use crate::spool::Spool;

/// Part that keeps spool files and their owners in step: on the disk for the next start, and in
/// ingest for this run.
#[derive(Debug)]
pub struct SpoolRecords {
    spool: Arc<Spool>,
    ingest: Ingest,
}

impl SpoolRecords {
    pub fn new(spool: Arc<Spool>, ingest: Ingest) -> Self {
        Self { spool, ingest }
    }

    /// Records the future owner of a new blob. If the daemon is killed before the first commit, the
    /// next start finds the bytes under the name of their owner.
    ///
    /// # Errors
    /// `NoSpace` or `Io`.
    pub fn begin(&self, blob: BlobId, owner: &Entry) -> FsResult<()> {
        let record = ingest::spool_record(owner)?;
        Ok(self.spool.begin_record(blob, &record)?)
    }

    /// Does the same as [`Self::begin`] for a file that is already removed. No start brings its bytes back.
    ///
    /// # Errors
    /// `NoSpace` or `Io`.
    pub fn begin_removed(&self, blob: BlobId, owner: &Entry) -> FsResult<()> {
        self.begin(blob, owner)?;
        Ok(self.spool.note_removed(blob, owner.id)?)
    }

    /// Records that a file was removed, so that no start takes its spooled bytes for lost ones.
    /// `draft` is the blob that an open handle was writing.
    pub fn note_removed(&self, entry: &Entry, draft: Option<BlobId>) {
        let EntryKind::File(content) = &entry.kind else {
            return;
        };
        let mut blobs = ingest::spooled_blobs(content);
        blobs.extend(draft);
        blobs.retain(|blob| self.spool.get(*blob).is_some());
        for blob in blobs {
            if let Err(error) = self.spool.note_removed(blob, entry.id) {
                tracing::debug!(%blob, %error, "a removal is not noted in the spool");
            }
        }
    }

    /// Writes the records of a file again, because its name or attributes changed. `draft` is the blob that
    /// an open handle writes. The records survive the end of this process; the journal survives a power cut.
    pub fn follow(&self, entry: &Entry, draft: Option<BlobId>) {
        let EntryKind::File(content) = &entry.kind else {
            return;
        };
        let mut blobs = ingest::spooled_blobs(content);
        blobs.extend(draft);
        blobs.retain(|blob| self.spool.get(*blob).is_some());
        blobs.dedup();
        if blobs.is_empty() {
            return;
        }
        let written = ingest::spool_record(entry).and_then(|record| {
            let mut blobs = blobs.iter();
            Ok(blobs.try_for_each(|blob| self.spool.replace_record(*blob, &record))?)
        });
        if let Err(error) = written {
            tracing::warn!(file = %entry.id, %error, "the spool keeps an older name of a file");
        }
    }

    /// Makes `entry` the owner of its spooled blobs, and writes their records. A start without
    /// index and journal finds the name of the bytes in these records.
    ///
    /// # Errors
    /// `NoSpace` or `Io`.
    pub fn own(&self, entry: &Entry) -> FsResult<()> {
        let EntryKind::File(content) = &entry.kind else {
            return Ok(());
        };
        let blobs = ingest::spooled_blobs(content);
        let record = ingest::spool_record(entry)?;
        for id in &blobs {
            if self.spool.get(*id).is_some() {
                self.spool.write_record(*id, &record)?;
            }
        }
        self.ingest.own(entry.id, blobs);
        Ok(())
    }
}
