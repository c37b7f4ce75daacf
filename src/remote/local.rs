//! A directory as the remote: `DIR/packs/<2 hex>/<id>`, `DIR/log/<20 digits>-<writer>`,
//! `DIR/snapshots/<20 digits>-<writer>`, `DIR/library`.

use std::fs;
use std::io::{self, ErrorKind, Read as _, Write};
use std::os::unix::fs::{FileExt, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Cipher, ForeignFiles, IsKnown, LibraryMark, Locality, LogKind, LogObject, LogStore,
    MAX_LOG_OBJECT_BYTES, PackStore, RemoteError, RemoteErrorKind, Removal, SealedPack, Urgency,
    WriteHints,
};
use crate::codec::{self, CodecError, Kind, Record};
use crate::disk::{self, DirectoryLock, LockError};
use crate::model::{ByteRange, LibraryId, PackAddress, PackId, PackRef, WriterId};

/// Time that gathers the small files of one `cp -r`. A directory has no limit on objects.
const LINGER: Duration = Duration::from_millis(300);
/// Time that gathers the changes of a copy of many small files.
const MANIFEST_INTERVAL: Duration = Duration::from_secs(1);
const LIBRARY_FILE: &str = "library";
/// Most bytes of the file `library` that are read.
const MAX_MARK_BYTES: u64 = 64 * 1024;
/// Bytes above which a file of the log must not have holes, which take no space and would be read into memory.
const MAX_SPARSE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of a block in which systems count the space of a file.
const COUNTED_BLOCK: u64 = 512;

/// The file `library` of a library that is not encrypted. Version 1; frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LibraryV1 {
    library: LibraryId,
}
impl Record for LibraryV1 {
    const KIND: Kind = Kind::Library;
}

/// The file `library` of an encrypted library. Version 2; frozen. Both versions are still written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LibraryV2 {
    library: LibraryId,
    /// Bytes of the wrap, which is an envelope of its own.
    wrap: Vec<u8>,
}
impl Record for LibraryV2 {
    const KIND: Kind = Kind::Library;
    const SCHEMA: u16 = 2;
}

pub(super) fn encode_mark(mark: &LibraryMark) -> Result<Vec<u8>, CodecError> {
    let library = mark.id;
    match &mark.wrap {
        None => codec::encode(&LibraryV1 { library }),
        Some(wrap) => codec::encode(&LibraryV2 {
            library,
            wrap: wrap.to_vec(),
        }),
    }
}

pub(super) fn decode_mark(bytes: &[u8]) -> Result<LibraryMark, CodecError> {
    match codec::decode::<LibraryV2>(bytes) {
        Ok(found) => Ok(LibraryMark {
            id: found.library,
            wrap: Some(found.wrap.into()),
        }),
        Err(CodecError::UnknownVersion { found: 1, .. }) => Ok(LibraryMark {
            id: codec::decode::<LibraryV1>(bytes)?.library,
            wrap: None,
        }),
        Err(error) => Err(error),
    }
}

/// A store in a directory that this process has locked.
#[derive(Debug, Clone)]
pub struct LocalRemote {
    root: PathBuf,
    _lock: Arc<DirectoryLock>,
}

impl LocalRemote {
    /// Makes the directory if it is absent, and locks it. Blocking.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Locked`] names the process that has locked it.
    pub fn open(root: &Path) -> Result<Self, RemoteError> {
        let op = || format!("open the store {}", root.display());
        for directory in ["packs", "log", "snapshots"] {
            disk::make_private_directory(&root.join(directory))
                .map_err(|error| io_error(op(), error))?;
        }
        let lock = DirectoryLock::take(root).map_err(|error| match error {
            LockError::Held(_) => RemoteError::new(
                RemoteErrorKind::Locked,
                op(),
                format!("{error}; stop it first"),
            ),
            LockError::Io(error) => io_error(op(), error),
        })?;
        let remote = Self {
            root: fs::canonicalize(root).map_err(|error| io_error(op(), error))?,
            _lock: Arc::new(lock),
        };
        remote.sweep();
        Ok(remote)
    }

    /// Removes files that a crash left half written. Nothing names them: a file gets its name last.
    fn sweep(&self) {
        let packs = fs::read_dir(self.root.join("packs")).into_iter().flatten();
        let folders = packs.flatten().map(|folder| folder.path());
        for folder in folders.chain([self.root.join("log"), self.root.join("snapshots")]) {
            for file in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = file.file_name();
                if name.to_string_lossy().ends_with(disk::TEMPORARY_SUFFIX) {
                    // The next start tries again.
                    let _ = fs::remove_file(file.path());
                }
            }
        }
    }

    fn pack_path(&self, pack: PackId) -> PathBuf {
        let name = pack.to_string();
        self.root.join("packs").join(&name[..2]).join(name)
    }
    fn log_directory(&self, kind: LogKind) -> PathBuf {
        self.root.join(match kind {
            LogKind::Manifest => "log",
            LogKind::Snapshot => "snapshots",
        })
    }
    fn log_path(&self, object: LogObject) -> PathBuf {
        self.log_directory(object.kind)
            .join(format!("{:020}-{}", object.number, object.writer))
    }

    /// Runs blocking work on another thread; `op` describes it in errors.
    async fn blocking<T: Send + 'static>(
        &self,
        op: String,
        work: impl FnOnce(Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, RemoteError> {
        let this = self.clone();
        match tokio::task::spawn_blocking(move || work(this)).await {
            Ok(outcome) => outcome.map_err(|error| io_error(op, error)),
            Err(error) => {
                Err(
                    RemoteError::new(RemoteErrorKind::Unavailable, op, "the task ended early")
                        .with_source(error),
                )
            }
        }
    }
}

fn io_error(op: String, error: io::Error) -> RemoteError {
    let kind = match error.kind() {
        ErrorKind::NotFound => RemoteErrorKind::NotFound,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => RemoteErrorKind::Full,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => RemoteErrorKind::Denied,
        // A pack or a log object is too short, or does not decode.
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData => RemoteErrorKind::Corrupt,
        ErrorKind::AlreadyExists | ErrorKind::InvalidInput => RemoteErrorKind::Invalid,
        _ => RemoteErrorKind::Unavailable,
    };
    RemoteError::new(kind, op, error.to_string()).with_source(error)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), disk::sync_directory),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Reads a file that is small when it is ours.
fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    disk::open_regular(path)?
        .take(MAX_MARK_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse_log_name(kind: LogKind, name: &str) -> Option<LogObject> {
    let (number, writer) = name.split_once('-')?;
    Some(LogObject {
        kind,
        number: number.parse().ok()?,
        writer: writer.parse::<WriterId>().ok()?,
    })
}

#[async_trait::async_trait]
impl PackStore for LocalRemote {
    fn locality(&self) -> Locality {
        Locality::Near
    }

    fn write_hints(&self) -> WriteHints {
        WriteHints {
            parallel_packs: 2,
            largest_pack: 0,
            linger: LINGER,
            manifest_interval: MANIFEST_INTERVAL,
        }
    }

    fn cipher(&self) -> &Cipher {
        &Cipher::Plain
    }

    async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError> {
        let op = format!("put pack {}", pack.id);
        let pack = pack.clone();
        self.blocking(op, move |this| {
            let path = this.pack_path(pack.id);
            if let Some(folder) = path.parent()
                && !folder.exists()
            {
                disk::make_private_directory(folder)?;
                disk::sync_directory(&this.root.join("packs"))?;
            }
            disk::write_durably(&path, |file| pack.copy_to(file))?;
            Ok(PackAddress::Local)
        })
        .await
    }

    async fn get(
        &self,
        pack: &PackRef,
        range: ByteRange,
        _urgency: Urgency,
    ) -> Result<Bytes, RemoteError> {
        let id = pack.id;
        self.blocking(format!("read pack {id}"), move |this| {
            let len = usize::try_from(range.len).map_err(io::Error::other)?;
            let file = disk::open_regular(&this.pack_path(id))?;
            if range.end() > file.metadata()?.len() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, range.offset)?;
            Ok(bytes.into())
        })
        .await
    }

    async fn size(&self, pack: &PackRef) -> Result<u64, RemoteError> {
        let id = pack.id;
        self.blocking(format!("look for pack {id}"), move |this| {
            Ok(disk::open_regular(&this.pack_path(id))?.metadata()?.len())
        })
        .await
    }

    async fn delete(&self, pack: &PackRef) -> Result<Removal, RemoteError> {
        let id = pack.id;
        self.blocking(format!("delete pack {id}"), move |this| {
            remove(&this.pack_path(id)).map(|()| Removal::Gone)
        })
        .await
    }

    async fn delete_unnamed(&self, _is_known: &IsKnown) -> Result<u64, RemoteError> {
        // Puts to a directory are not noted. `verify` counts packs that nothing names.
        Ok(0)
    }
}

impl ForeignFiles for LocalRemote {}

#[async_trait::async_trait]
impl LogStore for LocalRemote {
    fn describe(&self) -> String {
        format!("local:{}", self.root.display())
    }

    async fn library(&self) -> Result<Option<LibraryMark>, RemoteError> {
        let op = format!("read which library {} holds", self.describe());
        self.blocking(op, |this| {
            let bytes = match read_small(&this.root.join(LIBRARY_FILE)) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return this.surely_empty().map(|()| None);
                }
                Err(error) => return Err(error),
            };
            match decode_mark(&bytes) {
                Ok(mark) => Ok(Some(mark)),
                Err(error @ CodecError::NewerVersion { .. }) => {
                    Err(io::Error::new(ErrorKind::PermissionDenied, error))
                }
                Err(error) => Err(io::Error::new(ErrorKind::InvalidData, error)),
            }
        })
        .await
    }

    async fn create_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        if self.library().await?.is_some() {
            return Err(self.foreign("create a library", "it holds one already"));
        }
        self.write_mark(mark).await
    }

    async fn update_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        match self.library().await? {
            Some(found) if found.id == mark.id => self.write_mark(mark).await,
            _ => Err(self.foreign("change the library's mark", "it holds another library")),
        }
    }

    async fn append_log(&self, object: LogObject, bytes: Bytes) -> Result<(), RemoteError> {
        let op = format!(
            "write the library's log ({:?} {})",
            object.kind, object.number
        );
        self.blocking(op, move |this| {
            disk::write_durably(&this.log_path(object), |file| file.write_all(&bytes))
        })
        .await
    }

    async fn list_log(&self, kind: LogKind, after: u64) -> Result<Vec<LogObject>, RemoteError> {
        self.blocking("list the library's log".into(), move |this| {
            let mut found = Vec::new();
            for file in fs::read_dir(this.log_directory(kind))? {
                let name = file?.file_name();
                let object = name.to_str().and_then(|name| parse_log_name(kind, name));
                found.extend(object.filter(|object| object.number > after));
            }
            found.sort_unstable();
            Ok(found)
        })
        .await
    }

    async fn read_log(&self, object: LogObject) -> Result<Bytes, RemoteError> {
        let op = format!(
            "read the library's log ({:?} {})",
            object.kind, object.number
        );
        self.blocking(op, move |this| {
            let mut file = disk::open_regular(&this.log_path(object))?;
            let metadata = file.metadata()?;
            let len = metadata.len();
            // Some file systems compress, but not what is compressed already.
            let is_sparse = metadata.blocks().saturating_mul(COUNTED_BLOCK) < len / 2;
            if len > MAX_LOG_OBJECT_BYTES || is_sparse && len > MAX_SPARSE_BYTES {
                return Err(ErrorKind::InvalidData.into());
            }
            let mut bytes = Vec::with_capacity(usize::try_from(len).map_err(io::Error::other)?);
            file.read_to_end(&mut bytes)?;
            Ok(bytes.into())
        })
        .await
    }

    async fn endorse_snapshot(&self, _snapshot: LogObject) -> Result<(), RemoteError> {
        // The newest snapshot is found by its name.
        Ok(())
    }

    async fn delete_log(&self, object: LogObject) -> Result<(), RemoteError> {
        self.blocking("shorten the library's log".into(), move |this| {
            remove(&this.log_path(object))
        })
        .await
    }
}

impl LocalRemote {
    fn foreign(&self, what: &str, reason: &str) -> RemoteError {
        let op = format!("{what} in {}", self.describe());
        RemoteError::new(RemoteErrorKind::Foreign, op, reason)
    }

    async fn write_mark(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        let bytes = encode_mark(mark);
        self.blocking("write the library's mark".into(), move |this| {
            let bytes = bytes.map_err(io::Error::other)?;
            disk::write_durably(&this.root.join(LIBRARY_FILE), |file| file.write_all(&bytes))
        })
        .await
    }

    /// Fails when there are packs or a log without the `library` file. Such a directory is damaged, not
    /// new.
    fn surely_empty(&self) -> io::Result<()> {
        for directory in ["packs", "log", "snapshots"] {
            if fs::read_dir(self.root.join(directory))?.next().is_some() {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "there are packs or manifests, and the file `library` is missing",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, PackAddress};

    /// A file of holes takes no space, but would take as much memory as it is long.
    #[tokio::test]
    async fn a_log_of_holes_is_not_read() {
        let place = tempfile::tempdir().unwrap();
        let remote = LocalRemote::open(place.path()).unwrap();
        let object = LogObject {
            kind: LogKind::Manifest,
            number: 1,
            writer: WriterId::from_bytes([4; 16]),
        };
        for len in [MAX_SPARSE_BYTES + 1, 3 << 30, 1 << 50] {
            let file = fs::File::create(remote.log_path(object)).unwrap();
            // Not every file system has files of such lengths.
            if file.set_len(len).is_err() {
                continue;
            }
            let error = remote.read_log(object).await.unwrap_err();
            assert_eq!(error.kind, RemoteErrorKind::Corrupt, "{error}");
        }
    }

    /// A FIFO would hold a read up for ever, and a link to a device would never end.
    #[tokio::test]
    async fn what_is_no_regular_file_is_damaged() {
        let place = tempfile::tempdir().unwrap();
        let remote = LocalRemote::open(place.path()).unwrap();
        let object = LogObject {
            kind: LogKind::Manifest,
            number: 1,
            writer: WriterId::from_bytes([4; 16]),
        };
        let pack = PackRef {
            id: PackId::from_bytes([7; 16]),
            address: PackAddress::Local,
            data_len: 10,
            len: 20,
            table_digest: Digest([0; 32]),
        };
        let paths = [
            remote.pack_path(pack.id),
            remote.log_path(object),
            place.path().join(LIBRARY_FILE),
        ];
        fs::create_dir_all(paths[0].parent().unwrap()).unwrap();
        for target in ["fifo", "/dev/zero"] {
            for path in &paths {
                let _ = fs::remove_file(path);
                match target {
                    "fifo" => nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
                    device => std::os::unix::fs::symlink(device, path).unwrap(),
                }
            }
            let range = ByteRange::new(0, 10);
            let kinds = [
                remote.get(&pack, range, Urgency::Waited).await.unwrap_err(),
                remote.size(&pack).await.unwrap_err(),
                remote.read_log(object).await.unwrap_err(),
                remote.library().await.unwrap_err(),
            ]
            .map(|error| error.kind);
            assert_eq!(kinds, [RemoteErrorKind::Corrupt; 4], "{target}");
        }
    }
}
