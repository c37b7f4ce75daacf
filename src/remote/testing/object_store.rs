//! A store over a bucket of objects, as S3 has them. It is the model for a real store of this kind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::super::local::{decode_mark, encode_mark};
use super::super::{
    Cipher, ForeignFiles, IsKnown, LibraryMark, Locality, LogKind, LogObject, LogStore, PackStore,
    RemoteError, RemoteErrorKind, Removal, SealedPack, Urgency, WriteHints,
};
use crate::model::{ByteRange, PackAddress, PackRef};
use crate::sync::MutexExt as _;

/// The key of the library's mark.
const MARK: &str = "library";

/// A bucket in memory, with the calls of an object service that a store needs.
#[derive(Debug, Default)]
pub struct ObjectBucket(Mutex<BTreeMap<String, Bytes>>);

impl ObjectBucket {
    /// Returns an object.
    fn get(&self, key: &str) -> Option<Bytes> {
        self.0.acquire().get(key).cloned()
    }
    /// Writes an object, replacing the one that has the key.
    fn put(&self, key: &str, bytes: Bytes) {
        self.0.acquire().insert(key.to_owned(), bytes);
    }
    /// Writes an object unless the key is taken (`If-None-Match: *`). Tells whether it was written.
    fn create(&self, key: &str, bytes: Bytes) -> bool {
        let mut objects = self.0.acquire();
        let is_free = !objects.contains_key(key);
        if is_free {
            objects.insert(key.to_owned(), bytes);
        }
        is_free
    }
    fn delete(&self, key: &str) {
        self.0.acquire().remove(key);
    }
    /// Lists the keys that begin with `prefix`, ascending.
    fn list(&self, prefix: &str) -> Vec<String> {
        let objects = self.0.acquire();
        let keys = objects.keys().filter(|key| key.starts_with(prefix));
        keys.cloned().collect()
    }
}

/// A library in a [`ObjectBucket`]: packs and objects of the log by their names.
#[derive(Debug, Clone, Default)]
pub struct ObjectRemote(Arc<ObjectBucket>);

impl ObjectRemote {
    /// Opens the library in a bucket.
    #[must_use]
    pub const fn new(bucket: Arc<ObjectBucket>) -> Self {
        Self(bucket)
    }

    fn object(&self, key: &str) -> Result<Bytes, RemoteError> {
        let found = self.0.get(key);
        found.ok_or_else(|| error(RemoteErrorKind::NotFound, key, "there is no such object"))
    }
}

fn pack_key(pack: &PackRef) -> String {
    format!("packs/{}", pack.id)
}

const fn log_prefix(kind: LogKind) -> &'static str {
    match kind {
        LogKind::Manifest => "log/",
        LogKind::Snapshot => "snapshots/",
    }
}

fn log_key(object: LogObject) -> String {
    let prefix = log_prefix(object.kind);
    format!("{prefix}{:020}-{}", object.number, object.writer)
}

fn parse_log_key(kind: LogKind, key: &str) -> Option<LogObject> {
    let (number, writer) = key.strip_prefix(log_prefix(kind))?.split_once('-')?;
    Some(LogObject {
        kind,
        number: number.parse().ok()?,
        writer: writer.parse().ok()?,
    })
}

fn error(kind: RemoteErrorKind, key: &str, message: &str) -> RemoteError {
    RemoteError::new(kind, format!("use the object {key}"), message)
}

#[async_trait::async_trait]
impl PackStore for ObjectRemote {
    fn locality(&self) -> Locality {
        Locality::Far
    }
    fn write_hints(&self) -> WriteHints {
        WriteHints {
            parallel_packs: 4,
            largest_pack: 0,
            linger: Duration::from_millis(300),
            manifest_interval: Duration::from_secs(1),
        }
    }
    fn cipher(&self) -> &Cipher {
        &Cipher::Plain
    }
    async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError> {
        let key = format!("packs/{}", pack.id);
        let bytes = pack.read(ByteRange::new(0, pack.len())).map_err(|source| {
            error(RemoteErrorKind::Corrupt, &key, "the spool cannot be read").with_source(source)
        })?;
        self.0.put(&key, bytes);
        pack.meter().reach(pack.len());
        Ok(PackAddress::Local)
    }
    async fn get(
        &self,
        pack: &PackRef,
        range: ByteRange,
        _urgency: Urgency,
    ) -> Result<Bytes, RemoteError> {
        let key = pack_key(pack);
        let object = self.object(&key)?;
        let end = usize::try_from(range.end()).ok();
        match (usize::try_from(range.offset), end) {
            (Ok(from), Some(end)) if end <= object.len() => Ok(object.slice(from..end)),
            _ => Err(error(RemoteErrorKind::Corrupt, &key, "it is too short")),
        }
    }
    async fn size(&self, pack: &PackRef) -> Result<u64, RemoteError> {
        Ok(self.object(&pack_key(pack))?.len() as u64)
    }
    async fn delete(&self, pack: &PackRef) -> Result<Removal, RemoteError> {
        self.0.delete(&pack_key(pack));
        Ok(Removal::Gone)
    }
    async fn delete_unnamed(&self, _is_known: &IsKnown) -> Result<u64, RemoteError> {
        Ok(0)
    }
}

#[async_trait::async_trait]
impl LogStore for ObjectRemote {
    fn describe(&self) -> String {
        "objects".to_owned()
    }
    async fn library(&self) -> Result<Option<LibraryMark>, RemoteError> {
        let Some(bytes) = self.0.get(MARK) else {
            return Ok(None);
        };
        decode_mark(&bytes).map(Some).map_err(|source| {
            error(RemoteErrorKind::Corrupt, MARK, "it cannot be read").with_source(source)
        })
    }
    async fn create_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        match self.0.create(MARK, encoded(mark)?) {
            true => Ok(()),
            false => Err(error(
                RemoteErrorKind::Foreign,
                MARK,
                "there is a library already",
            )),
        }
    }
    async fn update_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        match self.library().await? {
            Some(found) if found.id == mark.id => {
                self.0.put(MARK, encoded(mark)?);
                Ok(())
            }
            _ => Err(error(
                RemoteErrorKind::Foreign,
                MARK,
                "it is another library's",
            )),
        }
    }
    async fn append_log(&self, object: LogObject, bytes: Bytes) -> Result<(), RemoteError> {
        self.0.put(&log_key(object), bytes);
        Ok(())
    }
    async fn list_log(&self, kind: LogKind, after: u64) -> Result<Vec<LogObject>, RemoteError> {
        let keys = self.0.list(log_prefix(kind)).into_iter();
        let objects = keys.filter_map(|key| parse_log_key(kind, &key));
        let mut found: Vec<_> = objects.filter(|object| object.number > after).collect();
        found.sort_unstable();
        Ok(found)
    }
    async fn read_log(&self, object: LogObject) -> Result<Bytes, RemoteError> {
        self.object(&log_key(object))
    }
    async fn endorse_snapshot(&self, _snapshot: LogObject) -> Result<(), RemoteError> {
        Ok(())
    }
    async fn delete_log(&self, object: LogObject) -> Result<(), RemoteError> {
        self.0.delete(&log_key(object));
        Ok(())
    }
}

impl ForeignFiles for ObjectRemote {}

fn encoded(mark: &LibraryMark) -> Result<Bytes, RemoteError> {
    encode_mark(mark).map(Bytes::from).map_err(|source| {
        error(RemoteErrorKind::Invalid, MARK, "it cannot be written").with_source(source)
    })
}
