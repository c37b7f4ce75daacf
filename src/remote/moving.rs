//! A remote of a library that moves from a directory to Telegram. New packs go to the new store, each
//! pack is read from the store that has it, and the log is in one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::{
    ForeignFiles, ForeignLayer, IsKnown, Locality, LogLayer, LogStore, Outlook, PackLayer,
    PackStore, Remote, RemoteError, Removal, Urgency,
};
use crate::model::{ByteRange, PackAddress, PackRef};

/// The store that has the library's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogPlace {
    Old,
    New,
}

/// Tells whether a pack of a moving library is still in the old store. Only that store gives packs
/// [`PackAddress::Local`].
#[must_use]
pub fn is_in_old_store(pack: &PackRef) -> bool {
    pack.address == PackAddress::Local
}

/// Two stores of one library.
#[derive(Debug)]
pub struct MovingRemote {
    old: Arc<dyn Remote>,
    new: Arc<dyn Remote>,
    is_log_new: AtomicBool,
}

impl MovingRemote {
    /// Joins two stores. `old` must give its packs [`PackAddress::Local`], `new` another address.
    #[must_use]
    pub fn new(old: Arc<dyn Remote>, new: Arc<dyn Remote>, log: LogPlace) -> Arc<Self> {
        Arc::new(Self {
            old,
            new,
            is_log_new: AtomicBool::new(log == LogPlace::New),
        })
    }

    /// Returns which store has the log.
    #[must_use]
    pub fn log_place(&self) -> LogPlace {
        match self.is_log_new.load(Ordering::Acquire) {
            true => LogPlace::New,
            false => LogPlace::Old,
        }
    }

    /// Makes the new store the one with the log and the mark.
    pub fn take_log_along(&self) {
        self.is_log_new.store(true, Ordering::Release);
    }

    /// Returns the new store.
    #[must_use]
    pub fn new_place(&self) -> &Arc<dyn Remote> {
        &self.new
    }

    fn of_pack(&self, pack: &PackRef) -> &Arc<dyn Remote> {
        match is_in_old_store(pack) {
            true => &self.old,
            false => &self.new,
        }
    }
}

#[async_trait::async_trait]
impl PackLayer for MovingRemote {
    /// Returns the new store. Encryption is above both stores, so its cipher is as plain as the old one's.
    fn inner_packs(&self) -> &dyn PackStore {
        &*self.new
    }
    fn locality_of(&self, pack: &PackRef) -> Locality {
        self.of_pack(pack).locality_of(pack)
    }
    async fn get(
        &self,
        pack: &PackRef,
        range: ByteRange,
        urgency: Urgency,
    ) -> Result<Bytes, RemoteError> {
        self.of_pack(pack).get(pack, range, urgency).await
    }
    async fn size(&self, pack: &PackRef) -> Result<u64, RemoteError> {
        self.of_pack(pack).size(pack).await
    }
    async fn outlook(&self, pack: &PackRef) -> Result<Outlook, RemoteError> {
        self.of_pack(pack).outlook(pack).await
    }
    async fn delete(&self, pack: &PackRef) -> Result<Removal, RemoteError> {
        self.of_pack(pack).delete(pack).await
    }
    async fn delete_unnamed(&self, is_known: &IsKnown) -> Result<u64, RemoteError> {
        Ok(self.old.delete_unnamed(is_known).await? + self.new.delete_unnamed(is_known).await?)
    }
}

impl LogLayer for MovingRemote {
    /// Returns the store that has the log. It also names the library's store.
    fn inner_log(&self) -> &dyn LogStore {
        match self.log_place() {
            LogPlace::Old => &*self.old,
            LogPlace::New => &*self.new,
        }
    }
}

impl ForeignLayer for MovingRemote {
    fn inner_foreign(&self) -> &dyn ForeignFiles {
        &*self.new
    }
}
