//! The trait of a store for a library's log and mark, and the names of the log's objects.

use bytes::Bytes;

use super::RemoteError;
use crate::model::{LibraryId, WriterId};

/// Largest object of the log that is read, in bytes: a snapshot of some millions of entries. It is read as a whole.
pub const MAX_LOG_OBJECT_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// A store for the log of one library, and for the mark that says which library it is.
///
/// Each call may be repeated after an error.
#[async_trait::async_trait]
pub trait LogStore: std::fmt::Debug + Send + Sync + 'static {
    /// Returns a name for messages, such as `local:DIR`. The state also recognises its store by it.
    fn describe(&self) -> String;

    /// Returns the mark of the library that is stored here; `None` when there is surely none.
    ///
    /// # Errors
    /// When the store cannot be asked, or the mark cannot be read.
    async fn library(&self) -> Result<Option<LibraryMark>, RemoteError>;

    /// Stores the mark of a new library.
    ///
    /// # Errors
    /// [`Foreign`](super::RemoteErrorKind::Foreign) when there is a library already.
    async fn create_library(&self, mark: &LibraryMark) -> Result<(), RemoteError>;

    /// Replaces the wrap in the library's mark. The change is durable when this returns. A crash leaves
    /// the old mark or the new one.
    ///
    /// # Errors
    /// [`Foreign`](super::RemoteErrorKind::Foreign) when another library, or none, is stored here.
    async fn update_library(&self, mark: &LibraryMark) -> Result<(), RemoteError>;

    /// Adds an object to the log. Two writers may use the same number; both objects stay.
    ///
    /// # Errors
    /// The reason why the object may not be there.
    async fn append_log(&self, object: LogObject, bytes: Bytes) -> Result<(), RemoteError>;

    /// Lists the objects of a kind with a number above `after`, ascending by number and writer.
    ///
    /// # Errors
    /// When the list may be incomplete.
    async fn list_log(&self, kind: LogKind, after: u64) -> Result<Vec<LogObject>, RemoteError>;

    /// Returns the bytes of an object.
    ///
    /// # Errors
    /// [`NotFound`](super::RemoteErrorKind::NotFound) only when the object is surely absent.
    async fn read_log(&self, object: LogObject) -> Result<Bytes, RemoteError>;

    /// Makes a snapshot that was read back and decoded the one that recovery finds first.
    ///
    /// # Errors
    /// When recovery may find another one first.
    async fn endorse_snapshot(&self, snapshot: LogObject) -> Result<(), RemoteError>;

    /// Deletes an object. Deleting an absent object succeeds.
    ///
    /// # Errors
    /// When the object may still be there.
    async fn delete_log(&self, object: LogObject) -> Result<(), RemoteError>;
}

/// Identity of the library in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryMark {
    pub id: LibraryId,
    /// The wrapped key ([`Wrap`](super::Wrap)) of an encrypted library, readable by everybody. It has at
    /// most [`MAX_WRAP_BYTES`], and the store does not interpret it.
    pub wrap: Option<Bytes>,
}

/// Largest wrap in bytes: a caption in Telegram has room for this much.
pub const MAX_WRAP_BYTES: usize = 200;

/// The two kinds of objects in a library's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogKind {
    /// The changes since the previous manifest.
    Manifest,
    /// All published entries as of the manifest with the same number.
    Snapshot,
}

/// The name of one object of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogObject {
    pub kind: LogKind,
    /// Number of the object. Manifests count from 1.
    pub number: u64,
    pub writer: WriterId,
}
