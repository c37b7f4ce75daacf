//! Two remotes of one library while it moves from a directory to Telegram: packs are read from where
//! they are and written to the new one; the log is in one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::{
    Appetite, Cipher, ForeignDocument, ForeignDocuments, IsKnown, LibraryMark, LogKind, LogObject,
    Outlook, Remote, RemoteError, Removal, SealedPack, Urgency,
};
use crate::model::{ByteRange, PackAddress, PackRef};

/// Where the library's log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogPlace {
    Old,
    New,
}

#[derive(Debug)]
pub struct MovingRemote {
    old: Arc<dyn Remote>,
    new: Arc<dyn Remote>,
    is_log_new: AtomicBool,
}

impl MovingRemote {
    /// `old` gives its packs [`PackAddress::Local`], `new` another address.
    #[must_use]
    pub fn new(old: Arc<dyn Remote>, new: Arc<dyn Remote>, log: LogPlace) -> Arc<Self> {
        Arc::new(Self {
            old,
            new,
            is_log_new: AtomicBool::new(log == LogPlace::New),
        })
    }

    #[must_use]
    pub fn log_place(&self) -> LogPlace {
        match self.is_log_new.load(Ordering::Acquire) {
            true => LogPlace::New,
            false => LogPlace::Old,
        }
    }

    /// From here on the log is read from and written to the new remote, and so is the mark.
    pub fn take_log_along(&self) {
        self.is_log_new.store(true, Ordering::Release);
    }

    #[must_use]
    pub fn new_place(&self) -> &Arc<dyn Remote> {
        &self.new
    }

    fn of_log(&self) -> &Arc<dyn Remote> {
        match self.log_place() {
            LogPlace::Old => &self.old,
            LogPlace::New => &self.new,
        }
    }

    fn of_pack(&self, pack: &PackRef) -> &Arc<dyn Remote> {
        match pack.address {
            PackAddress::Local => &self.old,
            PackAddress::Telegram(_) | PackAddress::Adopted(_) => &self.new,
        }
    }
}

#[async_trait::async_trait]
impl Remote for MovingRemote {
    /// The place of the log: it makes a store the library's.
    fn describe(&self) -> String {
        self.of_log().describe()
    }
    fn appetite(&self) -> Appetite {
        self.new.appetite()
    }
    /// Of neither: what encrypts stands above.
    fn cipher(&self) -> &Cipher {
        self.new.cipher()
    }

    async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError> {
        self.new.put(pack).await
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

    async fn foreign(&self, place: &str) -> Result<ForeignDocuments, RemoteError> {
        self.new.foreign(place).await
    }
    async fn adopt(&self, document: &ForeignDocument) -> Result<PackRef, RemoteError> {
        self.new.adopt(document).await
    }

    async fn library(&self) -> Result<Option<LibraryMark>, RemoteError> {
        self.of_log().library().await
    }
    async fn create_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        self.of_log().create_library(mark).await
    }
    async fn update_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        self.of_log().update_library(mark).await
    }
    async fn append_log(&self, object: LogObject, bytes: Bytes) -> Result<(), RemoteError> {
        self.of_log().append_log(object, bytes).await
    }
    async fn list_log(&self, kind: LogKind, after: u64) -> Result<Vec<LogObject>, RemoteError> {
        self.of_log().list_log(kind, after).await
    }
    async fn read_log(&self, object: LogObject) -> Result<Bytes, RemoteError> {
        self.of_log().read_log(object).await
    }
    async fn endorse_snapshot(&self, snapshot: LogObject) -> Result<(), RemoteError> {
        self.of_log().endorse_snapshot(snapshot).await
    }
    async fn delete_log(&self, object: LogObject) -> Result<(), RemoteError> {
        self.of_log().delete_log(object).await
    }
}
