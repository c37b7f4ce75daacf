//! The library's log: manifests with the changes, and snapshots with all entries.
//!
//! Both are one zstd stream of frames: a header, records, and an end record that counts them. Records
//! are absolute and by id, so replay in any order, or twice, gives the same result.

use std::io::{self, BufReader, Read, Write};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cipher::{LogForm, log_form};
use super::{RemoteError, RemoteErrorKind};
use crate::codec::{
    CodecError, FrameError, Kind, Record, read_frame_within, read_record, write_frame,
};
use crate::model::{Change, Digest, Ino, LibraryId, LogRecord, Seq, Unsound, WriterId};

/// Level of compression, which is zstd's own default. Manifests are small, and most of their bytes are
/// random ids.
const ZSTD_LEVEL: i32 = 3;
/// Largest window that a decoder may be asked to keep: 2^24 bytes. Objects are written with 2^21.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;
/// Most bytes that one object of the log may unpack to. Records are read one by one, so this limits
/// time, not memory.
const MAX_UNPACKED_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// Bytes that an object may unpack to whatever its size.
const FREE_UNPACKED_BYTES: u64 = 256 * 1024 * 1024;
/// Length in bytes that a record may have whatever the size of its object.
const FREE_RECORD_BYTES: usize = 1024 * 1024;
/// Most that one byte of an object may unpack to, for larger ones. Records are full of random ids, so a
/// few times is usual. Without this a small object could ask for much memory.
const MAX_UNPACKING: u64 = 256;
/// Most records that are described when they are passed over.
const DESCRIBED_RECORDS: usize = 8;

/// Records of an object that were passed over, since no tgfs can have written them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PassedOver {
    pub records: u64,
    /// The first of them, each with its reason.
    pub examples: Vec<String>,
}

impl PassedOver {
    fn add(&mut self, described: impl FnOnce() -> String) {
        self.records = self.records.saturating_add(1);
        if self.examples.len() < DESCRIBED_RECORDS {
            self.examples.push(described());
        }
    }
}

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
    /// Bytes of the records that were read.
    unpacked: u64,
    /// Longest record that is read, in bytes.
    longest: usize,
    passed_over: PassedOver,
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
        let unpacked = (bytes.len() as u64).saturating_mul(MAX_UNPACKING);
        let limit = FREE_UNPACKED_BYTES.saturating_add(unpacked);
        let mut input = BufReader::new(decoder).take(limit.min(MAX_UNPACKED_BYTES));
        let header = read_record(&mut input)
            .map_err(decode_error)?
            .ok_or_else(|| decode_error(FrameError::Torn))?;
        Ok(Self {
            input,
            header,
            seen: 0,
            unpacked: 0,
            longest: FREE_RECORD_BYTES.max(usize::try_from(unpacked).unwrap_or(usize::MAX)),
            passed_over: PassedOver::default(),
        })
    }
    /// Returns the bytes of the records that were read so far.
    #[must_use]
    pub const fn unpacked(&self) -> u64 {
        self.unpacked
    }
    /// Returns the records that were passed over so far.
    #[must_use]
    pub const fn passed_over(&self) -> &PassedOver {
        &self.passed_over
    }
    /// Returns the header of the log object.
    #[must_use]
    pub fn header(&self) -> &LogHeader {
        &self.header
    }
    /// Returns the next record; `None` after the last one, when the object is whole. Records that no tgfs
    /// can have written are passed over.
    ///
    /// # Errors
    /// See [`Self::new`].
    pub fn next_record(&mut self) -> Result<Option<LogRecord>, RemoteError> {
        loop {
            let frame = read_frame_within(&mut self.input, self.longest)
                .map_err(decode_error)?
                .ok_or_else(|| decode_error(FrameError::Torn))?;
            self.unpacked = self.unpacked.saturating_add(frame.len() as u64);
            match crate::codec::decode::<LogRecord>(&frame) {
                Ok(record) => {
                    self.seen += 1;
                    match record.check(self.header.last_seq, self.header.next_ino) {
                        Ok(()) => return Ok(Some(record)),
                        Err(reason) => self.passed_over.add(|| describe(&record, reason)),
                    }
                }
                Err(CodecError::WrongKind { .. }) => return self.end(&frame).map(|()| None),
                // The frame is whole, so the records behind it can be read.
                Err(error @ CodecError::Payload { .. }) => {
                    self.seen += 1;
                    self.passed_over.add(|| error.to_string());
                }
                Err(error) => return Err(decode_error(error.into())),
            }
        }
    }

    /// Checks that this frame is the last one and that none is missing.
    fn end(&mut self, frame: &[u8]) -> Result<(), RemoteError> {
        let end: LogEndV1 =
            crate::codec::decode(frame).map_err(|error| decode_error(error.into()))?;
        // The end of the zstd stream must follow. Otherwise the object was cut inside it.
        let behind = self
            .input
            .read(&mut [0])
            .map_err(|error| decode_error(error.into()))?;
        match end.records == self.seen && behind == 0 {
            true => Ok(()),
            false => Err(decode_error(FrameError::Torn)),
        }
    }
}

fn describe(record: &LogRecord, reason: Unsound) -> String {
    let id = record.change.entry_id();
    match &record.change {
        Change::Put(entry) => format!("{:?} ({id}): {reason}", entry.name),
        Change::Remove { .. } => format!("the removal of {id}: {reason}"),
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
        FrameError::Codec(CodecError::NewerVersion { .. }) => RemoteErrorKind::Foreign,
        FrameError::Io(_) | FrameError::Torn | FrameError::Codec(_) => RemoteErrorKind::Corrupt,
    };
    RemoteError::new(kind, "read the library's log", error.to_string()).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EntryId;

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

    /// Returns an object of the log with these envelopes as its records.
    fn of_frames(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut output = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        write_frame(&header(), &mut output).unwrap();
        for frame in frames {
            let len = u32::try_from(frame.len()).unwrap();
            output.write_all(&len.to_le_bytes()).unwrap();
            output.write_all(frame).unwrap();
        }
        let records = frames.len() as u64;
        write_frame(&LogEndV1 { records }, &mut output).unwrap();
        output.finish().unwrap()
    }

    fn directory(name: &str) -> LogRecord {
        let entry = crate::model::Entry {
            id: EntryId::random(),
            parent: EntryId::ROOT,
            name: crate::model::Name::new(name).unwrap(),
            ino: Ino(3),
            attributes: crate::model::Attributes {
                mode: 0o755,
                uid: 0,
                gid: 0,
                atime: crate::model::Timestamp::default(),
                mtime: crate::model::Timestamp::default(),
                ctime: crate::model::Timestamp::default(),
                created: crate::model::Timestamp::default(),
                xattrs: crate::model::XattrMap::new(),
            },
            kind: crate::model::EntryKind::Directory,
        };
        LogRecord {
            seq: Seq(1),
            change: Change::Put(Box::new(entry)),
        }
    }

    /// Returns the envelope of a directory's record whose name has these bytes.
    fn named(name: &[u8]) -> Vec<u8> {
        let plain = "x".repeat(name.len());
        let mut frame = crate::codec::encode(&directory(&plain)).unwrap();
        let at = frame
            .windows(name.len())
            .position(|bytes| bytes == plain.as_bytes())
            .unwrap();
        frame[at..at + name.len()].copy_from_slice(name);
        let end = frame.len() - 4;
        let crc = crc32fast::hash(&frame[..end]).to_le_bytes();
        frame[end..].copy_from_slice(&crc);
        frame
    }

    #[test]
    fn names_that_are_none_are_passed_over_and_the_rest_is_read() {
        let frames: Vec<Vec<u8>> = [&b"../../etc"[..], b"a/b", b"nul\0", b"..", b"fine name"]
            .into_iter()
            .map(named)
            .collect();
        let bytes = of_frames(&frames);
        let mut decoder = LogDecoder::new(&bytes).unwrap();
        let mut names = Vec::new();
        while let Some(record) = decoder.next_record().unwrap() {
            if let Change::Put(entry) = record.change {
                names.push(entry.name.display());
            }
        }
        assert_eq!(names, ["fine name"]);
        assert_eq!(decoder.passed_over().records, 4);
        let told = decoder.passed_over().examples.join("; ");
        assert!(told.contains("name"), "{told}");
    }

    /// A small object must not ask for much memory.
    #[test]
    fn a_long_record_in_a_small_object_is_refused() {
        let mut record = directory("fine name");
        if let Change::Put(entry) = &mut record.change {
            let value = vec![0; 60 * 1024 * 1024];
            entry.attributes.xattrs.insert(b"user.long".to_vec(), value);
        }
        let bytes = of_frames(&[crate::codec::encode(&record).unwrap()]);
        assert!(bytes.len() < 10_000, "{}", bytes.len());
        let error = LogDecoder::new(&bytes).unwrap().next_record().unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Corrupt);
        // Small ones are read.
        let frames = vec![named(&[b'y'; 200]); 20_000];
        let bytes = of_frames(&frames);
        assert_eq!(read_all(&bytes).unwrap().len(), 20_000);
    }
}
