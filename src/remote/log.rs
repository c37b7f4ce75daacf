//! The library's log: manifests with the changes, and snapshots with all entries.
//!
//! Both are one zstd stream of frames: a header, records, and an end record that counts them. Records
//! are absolute and by id, so replay in any order, or twice, gives the same result.

use std::io::{self, BufReader, Read, Write};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cipher::{LogForm, log_form};
use super::{RemoteError, RemoteErrorKind};
use crate::codec::{FrameError, Kind, Record, read_record, write_frame};
use crate::model::{Digest, Ino, LibraryId, LogRecord, Seq, WriterId};

/// Level of compression, which is zstd's own default. Manifests are small, and most of their bytes are
/// random ids.
const ZSTD_LEVEL: i32 = 3;
/// Largest window that a decoder may be asked to keep: 2^27 bytes, zstd's own default limit.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Most bytes that one object of the log may unpack to. Records are read one by one, so this limits
/// time, not memory.
const MAX_UNPACKED_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// First record of each object in the log. Version 1; frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHeader {
    pub library: LibraryId,
    /// Chosen at random for each start of the daemon.
    pub writer: WriterId,
    /// Raised when a daemon takes over the library from another one.
    pub epoch: u64,
    /// Number of the manifest, or of the last manifest that a snapshot covers.
    pub number: u64,
    /// Digest of the previous manifest as it was sent; zeros in the first one and in snapshots.
    pub previous: Digest,
    /// Lowest and highest change in it.
    pub first: Seq,
    pub last: Seq,
    /// A number above any inode number that was in use when this was written.
    pub next_ino: Ino,
    pub last_seq: Seq,
}
impl Record for LogHeader {
    const KIND: Kind = Kind::ManifestHeader;
}

/// The last record, which shows that the object is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LogEndV1 {
    records: u64,
}
impl Record for LogEndV1 {
    const KIND: Kind = Kind::LogEnd;
}

/// An encoder of one object of the log, compressed, in memory.
pub struct LogEncoder {
    output: zstd::stream::write::Encoder<'static, Vec<u8>>,
    records: u64,
}

impl std::fmt::Debug for LogEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogEncoder({} records)", self.records)
    }
}

impl LogEncoder {
    /// Starts an object with its header.
    ///
    /// # Errors
    /// When the header cannot be encoded.
    pub fn new(header: &LogHeader) -> Result<Self, RemoteError> {
        let output =
            zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(encode_error)?;
        let mut encoder = Self { output, records: 0 };
        write_frame(header, &mut encoder.output).map_err(encode_error)?;
        Ok(encoder)
    }
    /// Adds a record.
    ///
    /// # Errors
    /// When the record cannot be encoded.
    pub fn push(&mut self, record: &LogRecord) -> Result<(), RemoteError> {
        write_frame(record, &mut self.output).map_err(encode_error)?;
        self.records += 1;
        Ok(())
    }
    /// Ends the object and returns its bytes.
    ///
    /// # Errors
    /// When the end record cannot be encoded.
    pub fn finish(mut self) -> Result<Bytes, RemoteError> {
        let end = LogEndV1 {
            records: self.records,
        };
        write_frame(&end, &mut self.output).map_err(encode_error)?;
        self.output.flush().map_err(encode_error)?;
        Ok(self.output.finish().map_err(encode_error)?.into())
    }
}

fn encode_error(error: impl std::error::Error + Send + Sync + 'static) -> RemoteError {
    RemoteError::new(
        RemoteErrorKind::Invalid,
        "write a manifest",
        error.to_string(),
    )
    .with_source(error)
}

/// A decoder of one object of the log, record by record.
pub struct LogDecoder<'a> {
    input: io::Take<BufReader<zstd::stream::read::Decoder<'a, &'a [u8]>>>,
    header: LogHeader,
    seen: u64,
}

impl std::fmt::Debug for LogDecoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogDecoder({:?})", self.header)
    }
}

impl<'a> LogDecoder<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Corrupt`], [`RemoteErrorKind::Foreign`] for a newer program's object, or
    /// [`RemoteErrorKind::Denied`] for one that is still encrypted.
    pub fn new(bytes: &'a [u8]) -> Result<Self, RemoteError> {
        if log_form(bytes) != LogForm::Plain {
            return Err(RemoteError::new(
                RemoteErrorKind::Denied,
                "read the library's log",
                "it is encrypted: set TGFS_PASSPHRASE",
            ));
        }
        let mut decoder =
            zstd::stream::read::Decoder::with_buffer(bytes).map_err(|e| decode_error(e.into()))?;
        decoder
            .window_log_max(ZSTD_WINDOW_LOG_MAX)
            .map_err(|error| decode_error(error.into()))?;
        let mut input = BufReader::new(decoder).take(MAX_UNPACKED_BYTES);
        let header = read_record(&mut input)
            .map_err(decode_error)?
            .ok_or_else(|| decode_error(FrameError::Torn))?;
        Ok(Self {
            input,
            header,
            seen: 0,
        })
    }
    /// Returns the header of the log object.
    #[must_use]
    pub fn header(&self) -> &LogHeader {
        &self.header
    }
    /// Returns the next record; `None` after the last one, when the object is whole.
    ///
    /// # Errors
    /// See [`Self::new`].
    pub fn next_record(&mut self) -> Result<Option<LogRecord>, RemoteError> {
        let frame = crate::codec::read_frame(&mut self.input)
            .map_err(decode_error)?
            .ok_or_else(|| decode_error(FrameError::Torn))?;
        match crate::codec::decode::<LogRecord>(&frame) {
            Ok(record) => {
                self.seen += 1;
                Ok(Some(record))
            }
            Err(crate::codec::CodecError::WrongKind { .. }) => {
                let end: LogEndV1 =
                    crate::codec::decode(&frame).map_err(|error| decode_error(error.into()))?;
                // The end of the zstd stream must follow. Otherwise the object was cut inside it.
                let behind = self
                    .input
                    .read(&mut [0])
                    .map_err(|error| decode_error(error.into()))?;
                if end.records == self.seen && behind == 0 {
                    Ok(None)
                } else {
                    Err(decode_error(FrameError::Torn))
                }
            }
            Err(error) => Err(decode_error(error.into())),
        }
    }
}

/// Tells whether another writer's manifest belongs to a writer from which this library was taken over.
/// A damaged manifest counts as not superseded, since nothing shows that we may go on.
///
/// # Errors
/// When the manifest cannot be read at the moment, or its key is missing.
pub fn is_superseded(read: Result<Bytes, RemoteError>, epoch: u64) -> Result<bool, RemoteError> {
    let header = read.and_then(|bytes| Ok(LogDecoder::new(&bytes)?.header));
    match header {
        Ok(header) => Ok(header.epoch < epoch),
        Err(error)
            if matches!(
                error.kind,
                RemoteErrorKind::Corrupt | RemoteErrorKind::Foreign
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn decode_error(error: FrameError) -> RemoteError {
    let kind = match &error {
        FrameError::Codec(crate::codec::CodecError::NewerVersion { .. }) => {
            RemoteErrorKind::Foreign
        }
        FrameError::Io(_) | FrameError::Torn | FrameError::Codec(_) => RemoteErrorKind::Corrupt,
    };
    RemoteError::new(kind, "read the library's log", error.to_string()).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Change, EntryId};

    fn header() -> LogHeader {
        LogHeader {
            library: LibraryId::random(),
            writer: WriterId::random(),
            epoch: 0,
            number: 1,
            previous: Digest([0; 32]),
            first: Seq(1),
            last: Seq(2),
            next_ino: Ino(9),
            last_seq: Seq(2),
        }
    }
    fn record(seq: u64) -> LogRecord {
        LogRecord {
            seq: Seq(seq),
            change: Change::Remove {
                id: EntryId::random(),
                released: Vec::new(),
            },
        }
    }
    fn read_all(bytes: &[u8]) -> Result<Vec<LogRecord>, RemoteError> {
        let mut decoder = LogDecoder::new(bytes)?;
        let mut records = Vec::new();
        while let Some(record) = decoder.next_record()? {
            records.push(record);
        }
        Ok(records)
    }

    #[test]
    fn records_survive_and_cuts_are_noticed() {
        let records = vec![record(1), record(2)];
        let mut encoder = LogEncoder::new(&header()).unwrap();
        for record in &records {
            encoder.push(record).unwrap();
        }
        let bytes = encoder.finish().unwrap();
        assert_eq!(read_all(&bytes).unwrap(), records);
        for end in 0..bytes.len() {
            assert!(read_all(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_missing_record_is_noticed() {
        let mut output = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        write_frame(&header(), &mut output).unwrap();
        write_frame(&record(1), &mut output).unwrap();
        write_frame(&LogEndV1 { records: 2 }, &mut output).unwrap();
        let error = read_all(&output.finish().unwrap()).unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Corrupt);
    }
}
