//! Packs out and in, and the library's log. Implementations: [`LocalRemote`]; decorators wrap an
//! `Arc<dyn Remote>`. One contract suite (`contract`) runs against each.

mod cipher;
mod encrypted;
mod error;
mod foreign;
mod keys;
mod local;
mod locked;
mod log;
mod moving;
mod pack;
pub mod retry;
pub mod telegram;
pub mod testing;
mod transfer;
mod unlock;

#[cfg(test)]
mod contract;

use std::time::Duration;

use bytes::Bytes;

use crate::model::{ByteRange, LibraryId, PackAddress, PackId, PackRef, WriterId};
pub use cipher::{Cipher, KdfCost, MasterKey, Wrap, WrapError};
pub use encrypted::EncryptedRemote;
pub use error::{RemoteError, RemoteErrorKind};
pub use foreign::{ForeignDocument, ForeignDocuments, Reach};
pub use keys::MemoryKeys;
pub use local::LocalRemote;
pub use locked::LockedRemote;
pub use log::{LogDecoder, LogEncoder, LogHeader, is_superseded};
pub use moving::{LogPlace, MovingRemote};
pub use pack::{PackError, PackInput, PackTable, SealedPack, tail_of_plain};
pub use transfer::{
    fetch_block, fetch_stored, fetch_table, open_block, open_table, store_pack, store_pack_telling,
};
pub use unlock::{Passphrases, Unlocked, unlock};

/// A place for packs and for the log of one library.
///
/// Each call may be repeated after an error: an object that is there already with the same id is
/// the same object. Dropping a future leaves the object whole, or absent.
#[async_trait::async_trait]
pub trait Remote: std::fmt::Debug + Send + Sync + 'static {
    /// For people, and to know the store again: `local:DIR`.
    fn describe(&self) -> String;

    /// How it likes to be written to.
    fn appetite(&self) -> Appetite;

    /// How packs that go there are to be sealed; a decorator passes on what is below it.
    fn cipher(&self) -> &Cipher;

    /// Stores a pack under its id. Durable when it returns.
    async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError>;
    /// Exactly `range.len` bytes of the pack, its table included, or an error. Dropping the future
    /// takes a request back that was not sent yet.
    async fn get(
        &self,
        pack: &PackRef,
        range: ByteRange,
        urgency: Urgency,
    ) -> Result<Bytes, RemoteError>;
    /// Length of the stored object in bytes.
    async fn size(&self, pack: &PackRef) -> Result<u64, RemoteError>;
    /// Whether a pack that is there now will stay readable.
    async fn outlook(&self, _pack: &PackRef) -> Result<Outlook, RemoteError> {
        Ok(Outlook::Lasting)
    }
    /// Deleting what is not there is success.
    async fn delete(&self, pack: &PackRef) -> Result<Removal, RemoteError>;

    /// Deletes packs that this state put there and that nothing came to name: what a crash leaves
    /// between a put and its record. `is_known` tells whether index or notes know a pack. How many.
    ///
    /// Packs of which only the remote knows stay: they may be another state's.
    async fn delete_unnamed(&self, is_known: &IsKnown) -> Result<u64, RemoteError>;

    /// Files that others put into a place (a channel, by id or `@name`).
    async fn foreign(&self, place: &str) -> Result<ForeignDocuments, RemoteError> {
        Err(foreign::no_such_places(place))
    }
    /// Makes a pack of such a file without copying its bytes: reads them once for their digests.
    async fn adopt(&self, document: &ForeignDocument) -> Result<PackRef, RemoteError> {
        Err(foreign::no_such_places(&document.name))
    }

    /// The library that is kept here; `None` when there surely is none.
    async fn library(&self) -> Result<Option<LibraryMark>, RemoteError>;
    /// Makes this the place of a library; refused when there is one already.
    async fn create_library(&self, mark: &LibraryMark) -> Result<(), RemoteError>;
    /// Replaces the wrap of the library that is here; refused when it is another one. Durable when
    /// it returns; a crash leaves the old mark or the new one.
    async fn update_library(&self, mark: &LibraryMark) -> Result<(), RemoteError>;

    /// Adds an object to the log. Two writers may use the same number; both objects stay.
    async fn append_log(&self, object: LogObject, bytes: Bytes) -> Result<(), RemoteError>;
    /// Objects of a kind with a number above `after`, ascending by number and writer.
    async fn list_log(&self, kind: LogKind, after: u64) -> Result<Vec<LogObject>, RemoteError>;
    async fn read_log(&self, object: LogObject) -> Result<Bytes, RemoteError>;
    /// Makes a snapshot that was read back and decoded the one that recovery finds first.
    async fn endorse_snapshot(&self, snapshot: LogObject) -> Result<(), RemoteError>;
    /// Deleting what is not there is success.
    async fn delete_log(&self, object: LogObject) -> Result<(), RemoteError>;
}

/// What became of a pack that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Its bytes are not there any more.
    Gone,
    /// The service does not let it be deleted any more: it stays, and nothing names it.
    Left,
}

/// How long a place goes on showing what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    Lasting,
    /// It shows only the newest, and so many have come since that this one is near the edge.
    Fading,
}

/// Who waits for bytes. A remote with lanes lets those go first that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// A reader, or a check, stands still until they come.
    Waited,
    /// They are probably wanted soon.
    Ahead,
}

/// Whether a pack is known; an error leaves it as it is.
pub type IsKnown = dyn Fn(PackId) -> Result<bool, RemoteError> + Send + Sync;

/// What says that a remote is the place of a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryMark {
    pub id: LibraryId,
    /// The wrapped key ([`Wrap`]) of an encrypted library, for everybody to see. At most
    /// [`MAX_WRAP_BYTES`]; not looked at by the remote.
    pub wrap: Option<Bytes>,
}

/// Room for a wrap, in bytes, where a remote has little (a caption in Telegram).
pub const MAX_WRAP_BYTES: usize = 200;

/// How a remote likes to be written to: what is cheap in a directory is not in a channel, which
/// takes about 20 messages a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appetite {
    /// Packs that it takes side by side.
    pub parallel_packs: usize,
    /// While much waits, packs grow from the size that is set up to this many bytes.
    pub largest_pack: u64,
    /// How long a pack of small blobs waits for more after its first.
    pub linger: Duration,
    /// Shortest time between two manifests, unless much waits.
    pub manifest_interval: Duration,
}

/// The two kinds of objects in a library's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogKind {
    /// The changes since the manifest before.
    Manifest,
    /// All published entries as of the manifest with the same number.
    Snapshot,
}

/// Names one object of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogObject {
    pub kind: LogKind,
    /// Manifests count from 1.
    pub number: u64,
    pub writer: WriterId,
}
