//! Objects of the remote's log: manifests and snapshots as bytes, and the rule for when a snapshot is due.

use bytes::Bytes;

use super::error::PublishError;
use crate::index::{Index, IndexError, LogHead, Rows};
use crate::model::{Digest, LogRecord, WriterId};
use crate::remote::{
    LogDecoder, LogEncoder, LogHeader, LogKind, LogObject, RemoteError, RemoteErrorKind,
};

/// Bytes of the log since the last snapshot from which a new one can be due.
const SNAPSHOT_LOG_BYTES: u64 = 1024 * 1024;
/// Divides the snapshot's size. A new snapshot is due only when the log has at least that many bytes.
const SNAPSHOT_LOG_PART: u64 = 4;
/// Rows of the publisher in the index.
const ROWS: &str = "publisher";
const LOG_BYTES_ROW: &[u8] = b"log-bytes";
const SNAPSHOT_BYTES_ROW: &[u8] = b"snapshot-bytes";

/// Sizes of the last snapshot and of the log behind it, in bytes. They are kept in rows of the index.
#[derive(Debug)]
pub struct LogSizes(Rows);

impl LogSizes {
    /// Opens the rows.
    ///
    /// # Errors
    /// When the database fails.
    pub fn open(index: &Index) -> Result<Self, IndexError> {
        Ok(Self(index.rows(ROWS)?))
    }

    /// Adds a manifest's bytes to the size of the log.
    ///
    /// # Errors
    /// When the database fails.
    pub fn add_log(&self, sent: u64) -> Result<(), IndexError> {
        let sum = self.read(LOG_BYTES_ROW)?.saturating_add(sent);
        self.0.put(LOG_BYTES_ROW, &sum.to_le_bytes())
    }

    /// Begins a new log behind a snapshot of this many bytes.
    ///
    /// # Errors
    /// When the database fails.
    pub fn begin_log(&self, snapshot: u64) -> Result<(), IndexError> {
        self.0.put(SNAPSHOT_BYTES_ROW, &snapshot.to_le_bytes())?;
        self.0.put(LOG_BYTES_ROW, &0_u64.to_le_bytes())
    }

    /// Makes a snapshot due: the log has lost manifests that the index knows.
    ///
    /// # Errors
    /// When the database fails.
    pub fn make_snapshot_due(&self) -> Result<(), IndexError> {
        self.0.put(LOG_BYTES_ROW, &u64::MAX.to_le_bytes())
    }

    /// Returns true if the log is so large that recovery should find a new snapshot.
    ///
    /// # Errors
    /// When the database fails.
    pub fn is_snapshot_due(&self) -> Result<bool, IndexError> {
        let log = self.read(LOG_BYTES_ROW)?;
        let snapshot = self.read(SNAPSHOT_BYTES_ROW)?;
        Ok(log >= SNAPSHOT_LOG_BYTES.max(snapshot / SNAPSHOT_LOG_PART))
    }

    fn read(&self, row: &[u8]) -> Result<u64, IndexError> {
        let bytes = self.0.get(row)?;
        let bytes = bytes.as_deref().and_then(|bytes| bytes.try_into().ok());
        Ok(bytes.map_or(0, u64::from_le_bytes))
    }
}

/// Encodes a manifest.
///
/// # Errors
/// When a record cannot be encoded.
pub fn encode(header: &LogHeader, records: &[LogRecord]) -> Result<Bytes, RemoteError> {
    let mut encoder = LogEncoder::new(header)?;
    records.iter().try_for_each(|record| encoder.push(record))?;
    encoder.finish()
}

/// Encodes a snapshot: the log's newest record of every entry, in one object. Blocking.
///
/// # Errors
/// When the index cannot be read.
pub fn encode_snapshot(
    index: &Index,
    writer: WriterId,
) -> Result<(LogObject, Bytes), PublishError> {
    let head = index.log_head();
    let mut header = header(index, writer, head.number, &head, &[]);
    header.last = header.last_seq;
    let mut encoder = LogEncoder::new(&header)?;
    index.published::<PublishError>(&mut |record| Ok(encoder.push(&record)?))?;
    let object = LogObject {
        kind: LogKind::Snapshot,
        number: head.number,
        writer,
    };
    Ok((object, encoder.finish()?))
}

/// Returns the header of an object of the log that holds `records`.
pub fn header(
    index: &Index,
    writer: WriterId,
    number: u64,
    head: &LogHead,
    records: &[LogRecord],
) -> LogHeader {
    let seqs = || records.iter().map(|record| record.seq);
    LogHeader {
        library: index.library_id(),
        writer,
        epoch: head.epoch,
        number,
        previous: Digest(head.digest),
        first: seqs().min().unwrap_or_default(),
        last: seqs().max().unwrap_or_default(),
        next_ino: index.ino_bound(),
        last_seq: index.last_seq(),
    }
}

/// Decodes all records of an object of the log.
///
/// # Errors
/// When the object is not whole.
pub fn decode_all(bytes: &Bytes) -> Result<(), RemoteError> {
    let mut decoder = LogDecoder::new(bytes)?;
    while decoder.next_record()?.is_some() {}
    match decoder.passed_over().examples.first() {
        None => Ok(()),
        Some(example) => Err(RemoteError::new(
            RemoteErrorKind::Corrupt,
            "read the snapshot back",
            format!("a recovery would pass over {example}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Owner;

    #[test]
    fn a_snapshot_is_due_when_the_log_is_large_beside_the_last_one() {
        let directory = tempfile::tempdir().unwrap();
        let (index, _) = Index::open(directory.path(), Owner::of_process()).unwrap();
        let sizes = LogSizes::open(&index).unwrap();
        sizes.add_log(SNAPSHOT_LOG_BYTES - 1).unwrap();
        assert!(!sizes.is_snapshot_due().unwrap(), "too small a log");
        sizes.add_log(1).unwrap();
        assert!(sizes.is_snapshot_due().unwrap());
        let snapshot = 8 * SNAPSHOT_LOG_BYTES;
        sizes.begin_log(snapshot).unwrap();
        sizes.add_log(snapshot / SNAPSHOT_LOG_PART - 1).unwrap();
        assert!(!sizes.is_snapshot_due().unwrap(), "a small part of it");
        sizes.add_log(1).unwrap();
        assert!(sizes.is_snapshot_due().unwrap());
    }
}
