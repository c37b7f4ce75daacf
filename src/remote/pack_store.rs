//! The trait of a store for packs, and the words that its methods use.

use std::time::Duration;

use bytes::Bytes;

use super::{Cipher, RemoteError, SealedPack};
use crate::model::{ByteRange, PackAddress, PackId, PackRef};

/// A store for packs: immutable objects that are written once and read in ranges.
///
/// Each call may be repeated after an error: an object that is there already with the same id is
/// the same object. Dropping a future leaves the object whole, or absent.
#[async_trait::async_trait]
pub trait PackStore: std::fmt::Debug + Send + Sync + 'static {
    /// Returns where new packs go.
    fn locality(&self) -> Locality;

    /// Returns where one pack is. Differs from [`Self::locality`] only while a library moves from
    /// one store to another.
    fn locality_of(&self, _pack: &PackRef) -> Locality {
        self.locality()
    }

    /// Returns how the store prefers to be written to.
    fn write_hints(&self) -> WriteHints;

    /// Returns the cipher that packs for this store must be sealed with.
    fn cipher(&self) -> &Cipher;

    /// Stores a pack under its id. The pack is durable when this returns.
    ///
    /// # Errors
    /// Why the pack may not be there.
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

    /// Deletes packs that this state stored and that nothing names: a crash between a put and its
    /// record leaves them. Returns their number.
    ///
    /// `is_known` tells whether the index or a note names a pack. Packs that only the store knows
    /// stay, since they may belong to another state.
    ///
    /// # Errors
    /// The first error; what was deleted before it stays deleted.
    async fn delete_unnamed(&self, is_known: &IsKnown) -> Result<u64, RemoteError>;
}

/// Where a store keeps its bytes.
///
/// It decides whether blocks are cached on this machine's disk (only of a far store: a near one has
/// them on a disk already), and whether a command that only looks opens the store at all (only a near
/// one: a far one may not answer for a long time).
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

/// How long a store goes on showing a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// For as long as nobody deletes it.
    Lasting,
    /// The store shows only its newest objects, and this one is among the oldest of them.
    Fading,
}

/// Who waits for bytes. A store with several connections serves waiting readers first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// A reader or a check waits for them.
    Waited,
    /// Read ahead: they will probably be wanted soon.
    Ahead,
}

/// Tells whether a pack is known; an error keeps the pack.
pub type IsKnown = dyn Fn(PackId) -> Result<bool, RemoteError> + Send + Sync;

/// How a store prefers to be written to. A directory takes any number of small objects; a channel
/// takes about 20 messages a minute.
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
