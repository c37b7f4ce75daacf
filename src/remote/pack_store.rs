//! The trait of a store for packs, and the words that its methods use.

use std::time::Duration;

use bytes::Bytes;

use super::{Cipher, RemoteError, SealedPack};
use crate::model::{ByteRange, PackAddress, PackId, PackRef};

/// A store for packs: immutable objects that are written once and read in ranges.
///
/// Each call may be repeated after an error. An object that is there already with the same id is the same
/// object. Dropping a future leaves the object whole, or absent.
#[async_trait::async_trait]
pub trait PackStore: std::fmt::Debug + Send + Sync + 'static {
    /// Returns the place of new packs.
    fn locality(&self) -> Locality;

    /// Returns the place of one pack. It differs from [`Self::locality`] only while a library moves from
    /// one store to another.
    fn locality_of(&self, _pack: &PackRef) -> Locality {
        self.locality()
    }

    /// Returns the store's preferences for writes.
    fn write_hints(&self) -> WriteHints;

    /// Returns the cipher that packs for this store must be sealed with.
    fn cipher(&self) -> &Cipher;

    /// Returns what goes wrong with the store now although it works, a line for people each.
    fn troubles(&self) -> Vec<String> {
        Vec::new()
    }

    /// Stores a pack under its id, and tells its meter how much of it is there. The pack is durable when this
    /// returns.
    ///
    /// # Errors
    /// The reason why the pack may not be there.
    async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError>;

    /// Returns exactly `range.len` bytes of the stored pack, its table included. Dropping the future
    /// cancels a request that has not been sent yet.
    ///
    /// # Errors
    /// [`NotFound`](super::RemoteErrorKind::NotFound) only when the pack is surely absent.
    async fn get(
        &self,
        pack: &PackRef,
        range: ByteRange,
        urgency: Urgency,
    ) -> Result<Bytes, RemoteError>;

    /// Returns the length of the stored object in bytes.
    ///
    /// # Errors
    /// See [`Self::get`].
    async fn size(&self, pack: &PackRef) -> Result<u64, RemoteError>;

    /// Tells whether a pack that is there now will stay readable.
    ///
    /// # Errors
    /// When the store cannot be asked.
    async fn outlook(&self, _pack: &PackRef) -> Result<Outlook, RemoteError> {
        Ok(Outlook::Lasting)
    }

    /// Deletes a pack. Deleting an absent pack succeeds.
    ///
    /// # Errors
    /// When the pack may still be there.
    async fn delete(&self, pack: &PackRef) -> Result<Removal, RemoteError>;

    /// Deletes packs that this state stored and that nothing names, which a crash between a put and its
    /// record leaves. Returns their number.
    ///
    /// `is_known` tells whether the index or a note names a pack. Packs that only the store knows
    /// stay, since they may belong to another state.
    ///
    /// # Errors
    /// The first error. Packs that were deleted before it stay deleted.
    async fn delete_unnamed(&self, is_known: &IsKnown) -> Result<u64, RemoteError>;
}

/// Place where a store keeps its bytes.
///
/// It decides whether blocks are cached on this machine's disk. Only blocks of a far store are, since a
/// near one has them on a disk already. It also decides whether a command that only looks opens the store
/// at all. Only a near store is opened, since a far one may not answer for a long time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locality {
    /// On a disk of this machine.
    Near,
    /// Behind a network.
    Far,
}

/// The outcome of deleting a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The bytes are gone.
    Gone,
    /// The service no longer allows the deletion: the object stays, and nothing names it.
    Left,
}

/// Time for which a store continues to show a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// For as long as nobody deletes it.
    Lasting,
    /// The store shows only its newest objects, and this one is among the oldest of them.
    Fading,
}

/// Urgency of a read. A store with several connections serves waiting readers first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// A reader or a check waits for the bytes.
    Waited,
    /// The bytes are read ahead, since they will probably be wanted soon.
    Ahead,
}

/// Function that tells whether a pack is known. An error keeps the pack.
pub type IsKnown = dyn Fn(PackId) -> Result<bool, RemoteError> + Send + Sync;

/// Preferences of a store for writes. A directory takes any number of small objects. A channel takes about
/// 20 messages a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteHints {
    /// Number of packs to send in parallel.
    pub parallel_packs: usize,
    /// Bytes that a pack may grow to beyond the configured size while many wait.
    pub largest_pack: u64,
    /// Time that a pack of small blobs waits for more after its first.
    pub linger: Duration,
    /// Shortest time between two manifests, unless many changes wait.
    pub manifest_interval: Duration,
}
