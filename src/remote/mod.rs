//! The remote of a library: packs out and in, the log of manifests, and files of others.
//!
//! A new store implements [`PackStore`], [`LogStore`] and [`ForeignFiles`]; a decorator implements
//! [`PackLayer`], [`LogLayer`] and [`ForeignLayer`], whose methods forward unless they are overridden.
//! One contract suite (`contract`) runs against each.

mod cipher;
mod encrypted;
mod error;
mod foreign;
mod keys;
mod layer;
mod local;
mod locked;
mod log;
mod log_store;
mod moving;
mod pack;
mod pack_store;
pub mod retry;
pub mod telegram;
pub mod testing;
mod transfer;
mod unlock;

#[cfg(test)]
mod contract;

pub use cipher::{Cipher, KdfCost, MasterKey, Wrap, WrapError};
pub use encrypted::EncryptedRemote;
pub use error::{RemoteError, RemoteErrorKind};
pub use foreign::{ForeignDocument, ForeignDocuments, ForeignFiles, ListingReach};
pub use keys::MemoryKeys;
pub use layer::{ForeignLayer, LogLayer, PackLayer, Underlying};
pub use local::LocalRemote;
pub use locked::LockedRemote;
pub use log::{LogDecoder, LogEncoder, LogHeader, PassedOver, is_superseded};
pub use log_store::{
    LibraryMark, LogKind, LogObject, LogStore, MAX_LOG_OBJECT_BYTES, MAX_WRAP_BYTES,
};
pub use moving::{LogPlace, MovingRemote, is_in_old_store};
pub use pack::{PackError, PackInput, PackTable, SealedPack, SendMeter, tail_of_plain};
pub use pack_store::{IsKnown, Locality, Outlook, PackStore, Removal, Urgency, WriteHints};
pub use transfer::{
    fetch_block, fetch_stored, fetch_table, open_block, open_table, store_pack, store_pack_telling,
};
pub use unlock::{KnownKey, Passphrases, Unlocked, unlock};

/// A place for packs and for the log of one library.
pub trait Remote: PackStore + LogStore + ForeignFiles {}

impl<R: PackStore + LogStore + ForeignFiles> Remote for R {}
