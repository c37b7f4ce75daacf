//! Records beside spool files. Each names the entry that its file belongs to.

use crate::codec::{self, Kind, Record};
use crate::model::stored::{EntryForm, EntryV1, StoredForm as _};
use crate::model::{Entry, ErrorKind, FsError, FsResult};

/// Stored form of a spool record whose entry has the form `E`. Its bytes are frozen.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(bound = "E: EntryForm")]
struct SpoolRecordV1<E> {
    entry: E,
}

impl<E: EntryForm> Record for SpoolRecordV1<E> {
    const KIND: Kind = Kind::SpoolRecord;
    const SCHEMA: u16 = E::SCHEMA;
    const OLDEST: u16 = E::OLDEST;

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
        entry: EntryV1::of(entry),
    })
    .map_err(|error| FsError::caused_by(ErrorKind::Io, error))
}

/// Returns the entry that a spool record names; `None` when the record cannot be read.
#[must_use]
pub fn read_spool_record(bytes: &[u8]) -> Option<Entry> {
    codec::decode::<SpoolRecordV1<EntryV1>>(bytes)
        .ok()
        .map(|record| record.entry.restore())
}
