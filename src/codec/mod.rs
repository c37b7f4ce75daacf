//! The envelope around every stored record. `docs/FORMAT.md` has the table of kinds.
//!
//! ```text
//! magic u8 | kind u8 | schema u16 LE | payload (bincode, legacy configuration) | crc32 u32 LE
//! ```
//! The CRC covers everything before it. Payloads are decoded with a limit (a hostile length would
//! otherwise abort the process) and must be consumed to their last byte (an added field would
//! otherwise be dropped silently by an older program).

mod frame;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::LogRecord;
use crate::model::stored::{EntryForm, EntryV1, LogRecordV1, StoredForm};

pub use frame::{FrameError, read_frame, read_frame_within, read_record, write_frame};

/// First byte of each envelope.
pub const MAGIC: u8 = 0xB7;
/// Most bytes of memory that decoding one payload may claim. The largest records are files with views
/// of many tracks (about 100 KB) and the table of a 2 GiB pack (128 KB).
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024 * 1024;

const HEADER_BYTES: usize = 4;
const CRC_BYTES: usize = 4;

/// Kind of the record in an envelope. Append-only: the numbers are on disks and in remotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    JournalHeader = 1,
    JournalRecord = 2,
    Node = 3,
    Content = 4,
    Child = 5,
    Inode = 6,
    Reference = 7,
    Dying = 8,
    Dirty = 9,
    LogRecord = 10,
    Meta = 11,
    Row = 12,
    ManifestHeader = 13,
    PackTable = 14,
    LogEnd = 15,
    Library = 16,
    SpoolRecord = 17,
    UploadedSlices = 18,
    KeyWrap = 19,
    /// A pack on its way to a channel.
    Dispatch = 20,
}

/// A form that is stored in an envelope of its own. Fields of a released version never change: a new
/// form is a new struct, a new schema number, and a conversion from the old one.
pub trait Record: Serialize + DeserializeOwned {
    const KIND: Kind;
    const SCHEMA: u16 = 1;
    /// Oldest version that is read. It is below `SCHEMA` when variants of an enum in the payload tell the
    /// versions apart.
    const OLDEST: u16 = Self::SCHEMA;

    /// Returns the version that this record is written as: the oldest that can hold it.
    fn schema(&self) -> u16 {
        Self::SCHEMA
    }
}

/// A value that is stored in an envelope of its own: a [`Record`], or a value of the domain whose
/// form follows from the schema number.
pub trait Stored: Sized {
    /// Returns the envelope of this value, in the oldest form that can hold it.
    ///
    /// # Errors
    /// When the value cannot be serialised, or would not be readable again ([`MAX_PAYLOAD_BYTES`]).
    fn to_envelope(&self) -> Result<Vec<u8>, CodecError>;

    /// Returns the value in an envelope.
    ///
    /// # Errors
    /// See [`CodecError`].
    fn from_envelope(bytes: &[u8]) -> Result<Self, CodecError>;
}

impl<R: Record> Stored for R {
    fn to_envelope(&self) -> Result<Vec<u8>, CodecError> {
        encode_record(self)
    }
    fn from_envelope(bytes: &[u8]) -> Result<Self, CodecError> {
        decode_record(bytes)
    }
}

impl<E: EntryForm> Record for LogRecordV1<E> {
    const KIND: Kind = Kind::LogRecord;
    const SCHEMA: u16 = E::SCHEMA;
    const OLDEST: u16 = E::OLDEST;

    fn schema(&self) -> u16 {
        self.change.schema()
    }
}

/// A record of manifests and snapshots, and of the index while an entry's newest state is unpublished.
impl Stored for LogRecord {
    fn to_envelope(&self) -> Result<Vec<u8>, CodecError> {
        encode_record(&LogRecordV1::<EntryV1>::of(self))
    }
    fn from_envelope(bytes: &[u8]) -> Result<Self, CodecError> {
        decode_record::<LogRecordV1<EntryV1>>(bytes).map(LogRecordV1::restore)
    }
}

/// Reason why bytes are not the expected record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("a record of {0} bytes is too short")]
    Truncated(usize),
    #[error("the checksum does not match")]
    Checksum,
    #[error("this is no {expected:?} record (magic {magic:#04x}, kind {kind})")]
    WrongKind { expected: Kind, magic: u8, kind: u8 },
    /// A later release wrote it. The data is whole and must not be touched.
    #[error(
        "a {kind:?} record has version {found}, and this program knows versions up to {known}; use a newer tgfs"
    )]
    NewerVersion { kind: Kind, found: u16, known: u16 },
    #[error("version {found} of a {kind:?} record was never released")]
    UnknownVersion { kind: Kind, found: u16 },
    #[error("cannot decode a {kind:?} record: {reason}")]
    Payload { kind: Kind, reason: String },
}

/// Returns the envelope of a value.
///
/// # Errors
/// When the record cannot be serialised or would not be readable again ([`MAX_PAYLOAD_BYTES`]).
pub fn encode<S: Stored>(value: &S) -> Result<Vec<u8>, CodecError> {
    value.to_envelope()
}

fn encode_record<R: Record>(record: &R) -> Result<Vec<u8>, CodecError> {
    let fail = |reason: String| CodecError::Payload {
        kind: R::KIND,
        reason,
    };
    let payload = bincode::serde::encode_to_vec(record, bincode::config::legacy())
        .map_err(|error| fail(error.to_string()))?;
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(fail(format!("{} bytes are too many", payload.len())));
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len() + CRC_BYTES);
    bytes.extend_from_slice(&[MAGIC, R::KIND as u8]);
    bytes.extend_from_slice(&record.schema().to_le_bytes());
    bytes.extend_from_slice(&payload);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    Ok(bytes)
}

/// Returns the value in an envelope.
///
/// # Errors
/// See [`CodecError`]; [`CodecError::NewerVersion`] is told apart from damage.
pub fn decode<S: Stored>(bytes: &[u8]) -> Result<S, CodecError> {
    S::from_envelope(bytes)
}

fn decode_record<R: Record>(bytes: &[u8]) -> Result<R, CodecError> {
    let found = schema_of(bytes)?;
    let (magic, kind) = (bytes[0], bytes[1]);
    if magic != MAGIC || kind != R::KIND as u8 {
        return Err(CodecError::WrongKind {
            expected: R::KIND,
            magic,
            kind,
        });
    }
    if found > R::SCHEMA {
        return Err(CodecError::NewerVersion {
            kind: R::KIND,
            found,
            known: R::SCHEMA,
        });
    }
    if found < R::OLDEST {
        return Err(CodecError::UnknownVersion {
            kind: R::KIND,
            found,
        });
    }
    decode_payload(&bytes[HEADER_BYTES..bytes.len() - CRC_BYTES])
}

fn decode_payload<R: Record>(payload: &[u8]) -> Result<R, CodecError> {
    let fail = |reason: String| CodecError::Payload {
        kind: R::KIND,
        reason,
    };
    let limited = bincode::config::legacy().with_limit::<MAX_PAYLOAD_BYTES>();
    let (record, consumed) = bincode::serde::decode_from_slice(payload, limited)
        .map_err(|error| fail(error.to_string()))?;
    if consumed != payload.len() {
        return Err(fail(format!(
            "{} bytes are left over",
            payload.len() - consumed
        )));
    }
    Ok(record)
}

/// Returns the schema number of an envelope, which decides between the forms of its payload.
///
/// # Errors
/// [`CodecError::Truncated`] and [`CodecError::Checksum`].
pub fn schema_of(bytes: &[u8]) -> Result<u16, CodecError> {
    check(bytes)?;
    Ok(u16::from_le_bytes([bytes[2], bytes[3]]))
}

/// Checks that an envelope is whole, without decoding it.
///
/// # Errors
/// [`CodecError::Truncated`] and [`CodecError::Checksum`].
pub fn check(bytes: &[u8]) -> Result<(), CodecError> {
    if bytes.len() < HEADER_BYTES + CRC_BYTES {
        return Err(CodecError::Truncated(bytes.len()));
    }
    let (body, crc) = bytes.split_at(bytes.len() - CRC_BYTES);
    if crc32fast::hash(body).to_le_bytes() == crc {
        Ok(())
    } else {
        Err(CodecError::Checksum)
    }
}

#[cfg(test)]
mod tests;
