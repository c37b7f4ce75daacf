//! Records beside spool files: each names the entry that its file belongs to.

use crate::codec::{self, Kind, Record};
use crate::model::{Entry, ErrorKind, FsError, FsResult, OLDEST_VIEWS_SCHEMA, VIEWS_SCHEMA};

/// Stored form of a spool record; its bytes are frozen.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct SpoolRecordV1 {
    entry: Entry,
}

impl Record for SpoolRecordV1 {
    const KIND: Kind = Kind::SpoolRecord;
    const SCHEMA: u16 = VIEWS_SCHEMA;
    const OLDEST: u16 = OLDEST_VIEWS_SCHEMA;

    fn schema(&self) -> u16 {
        self.entry.schema()
    }
}

/// Encodes the record of a spool file that belongs to `entry`.
///
/// # Errors
/// `Io` when the entry cannot be encoded.
pub fn spool_record(entry: &Entry) -> FsResult<Vec<u8>> {
    codec::encode(&SpoolRecordV1 {
        entry: entry.clone(),
    })
    .map_err(|error| FsError::new(ErrorKind::Io, error.to_string()))
}

/// Returns the entry that a spool record names; `None` when the record cannot be read.
#[must_use]
pub fn read_spool_record(bytes: &[u8]) -> Option<Entry> {
    codec::decode::<SpoolRecordV1>(bytes)
        .ok()
        .map(|record| record.entry)
}
