//! The steps that a new field of `Entry` takes, shown by a release that adds a label to each entry. It
//! needs a form of the entry, the next schema number, and a choice between the forms. The forms of records
//! take the new form as their parameter, and stay as they are.

use super::super::*;
use super::{Deserialize, Serialize};
use crate::model::stored::{ChangeV1, ENTRY_SCHEMA};
use crate::model::{
    Attributes, Change, Entry, EntryId, EntryKind, FileContent, Ino, Name, Seq, Timestamp, XattrMap,
};

/// The number that the next release would take.
const LABEL_SCHEMA: u16 = ENTRY_SCHEMA + 1;

/// The entry of the next release.
#[derive(Debug, Clone, PartialEq)]
struct LabelledEntry {
    entry: Entry,
    label: String,
}

/// Its form: the earlier fields, then the new one.
#[derive(Debug, Serialize, Deserialize)]
struct EntryV4 {
    first: EntryV1,
    label: String,
}

/// In the next release the domain's entry is the labelled one; here it stands beside today's.
impl StoredForm<LabelledEntry> for EntryV4 {
    fn of(labelled: &LabelledEntry) -> Self {
        Self {
            first: EntryV1::of(&labelled.entry),
            label: labelled.label.clone(),
        }
    }
    fn restore(self) -> LabelledEntry {
        LabelledEntry {
            entry: self.first.restore(),
            label: self.label,
        }
    }
}

impl EntryForm for EntryV4 {
    const SCHEMA: u16 = LABEL_SCHEMA;
    const OLDEST: u16 = LABEL_SCHEMA;

    fn schema(&self) -> u16 {
        LABEL_SCHEMA
    }
}

/// The next release's replacement of today's [`LogRecord`].
#[derive(Debug, Clone, PartialEq)]
struct LabelledRecord {
    seq: Seq,
    put: LabelledEntry,
}

impl Stored for LabelledRecord {
    fn to_envelope(&self) -> Result<Vec<u8>, CodecError> {
        // The oldest form that can hold it is written.
        if self.put.label.is_empty() {
            return encode(&log_record(self.seq, self.put.entry.clone()));
        }
        encode(&LogRecordV1 {
            seq: self.seq,
            change: ChangeV1::Put(Box::new(EntryV4::of(&self.put))),
        })
    }

    fn from_envelope(bytes: &[u8]) -> Result<Self, CodecError> {
        if schema_of(bytes)? < LABEL_SCHEMA {
            let record: LogRecord = decode(bytes)?;
            let Change::Put(entry) = record.change else {
                panic!("no entry in it");
            };
            let put = LabelledEntry {
                entry: *entry,
                label: String::new(),
            };
            return Ok(Self {
                seq: record.seq,
                put,
            });
        }
        let record: LogRecordV1<EntryV4> = decode(bytes)?;
        let ChangeV1::Put(entry) = record.change else {
            panic!("no entry in it");
        };
        Ok(Self {
            seq: record.seq,
            put: (*entry).restore(),
        })
    }
}

fn log_record(seq: Seq, entry: Entry) -> LogRecord {
    LogRecord {
        seq,
        change: Change::Put(Box::new(entry)),
    }
}

fn entry() -> Entry {
    let time = Timestamp {
        seconds: 1_700_000_000,
        nanos: 5,
    };
    Entry {
        id: EntryId::from_bytes([1; 16]),
        parent: EntryId::ROOT,
        name: Name::new("film.mkv").unwrap(),
        ino: Ino(7),
        attributes: Attributes {
            mode: 0o644,
            uid: 1,
            gid: 2,
            atime: time,
            mtime: time,
            ctime: time,
            created: time,
            xattrs: XattrMap::new(),
        },
        kind: EntryKind::File(Box::new(FileContent::empty())),
    }
}

fn labelled(label: &str) -> LabelledRecord {
    LabelledRecord {
        seq: Seq(3),
        put: LabelledEntry {
            entry: entry(),
            label: label.to_owned(),
        },
    }
}

#[test]
fn old_bytes_are_read_with_the_default() {
    let old = encode(&log_record(Seq(3), entry())).unwrap();
    assert_eq!(decode::<LabelledRecord>(&old).unwrap(), labelled(""));
}

#[test]
fn without_the_new_field_the_bytes_are_the_old_ones() {
    let old = encode(&log_record(Seq(3), entry())).unwrap();
    assert_eq!(encode(&labelled("")).unwrap(), old);
}

#[test]
fn new_bytes_are_written_and_read() {
    let bytes = encode(&labelled("seen twice")).unwrap();
    assert_eq!(schema_of(&bytes).unwrap(), LABEL_SCHEMA);
    assert_eq!(
        decode::<LabelledRecord>(&bytes).unwrap(),
        labelled("seen twice")
    );
}

/// FORMAT.md: a newer record is told apart from damage, and is left alone.
#[test]
fn an_older_release_refuses_the_new_field_by_its_number() {
    let bytes = encode(&labelled("seen twice")).unwrap();
    assert_eq!(
        decode::<LogRecord>(&bytes).unwrap_err(),
        CodecError::NewerVersion {
            kind: Kind::LogRecord,
            found: LABEL_SCHEMA,
            known: ENTRY_SCHEMA,
        }
    );
}
