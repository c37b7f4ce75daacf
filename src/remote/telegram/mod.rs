//! Telegram as the remote: packs are documents in channels, posted and read by several bots over
//! MTProto.

mod bots;
mod channel;
mod check;
mod log;
mod mtproto;
mod packs;
mod server;
mod settings;
pub mod untrusted;

use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::Bytes;

use self::bots::Bots;
use self::channel::binding::LibraryBinding;
use self::channel::library::LibraryMarks;
use self::channel::locations::DocumentLocations;
use self::channel::scan::ChannelHistory;
use self::log::ChannelLog;
use self::packs::slots::SLOTS_A_BOT;
use self::packs::store::{ChannelPacks, ChannelParts};
use super::{
    Cipher, ForeignDocument, ForeignDocuments, ForeignFiles, IsKnown, LibraryMark, Locality,
    LogKind, LogObject, LogStore, Outlook, PackStore, RemoteError, Removal, SealedPack, Urgency,
    WriteHints,
};
use crate::model::{ByteRange, KeyStore, PackAddress, PackRef};

pub use self::bots::channel_info::{ChannelInfo, ChannelKind, Right, Rights, SlowMode};
pub use self::check::findings::{BotFinding, BotFindings, ChannelAccess, ChannelFinding};
pub use self::check::measure::{BotMeasured, BotSpeeds, Measured, OldPosts};
pub use self::check::patience::RequestedWait;
pub use self::check::probe::BotCheck;
pub use self::check::round_trip::RoundTrip;
pub use self::server::{ServerKey, TelegramServer};
pub use self::settings::{
    ApiId, BotSettings, BotToken, HiddenText, Publicity, TelegramRemoteSettings,
};

/// Largest size that packs grow to while many blobs wait: a quarter of the size that the service takes in
/// one document.
const LARGEST_PACK: u64 = 512 * 1024 * 1024;
/// Time that small blobs wait for others. A message for each would use up the posts of a minute.
const LINGER: Duration = Duration::from_secs(30);
/// Pause between two manifests.
const MANIFEST_INTERVAL: Duration = Duration::from_secs(15);

/// Channels as the store of packs and log. It is made without the network. A clone is another handle of
/// the same bots.
#[derive(Debug, Clone)]
pub struct TelegramRemote {
    bots: Arc<Bots>,
    marks: Arc<LibraryMarks>,
    packs: Arc<ChannelPacks>,
    log: Arc<ChannelLog>,
    /// Done once the bots have been told to connect.
    warming: Arc<Once>,
}

impl TelegramRemote {
    /// Makes the remote. `keys` keeps sign-ins and notes over restarts.
    #[must_use]
    pub fn new(settings: &TelegramRemoteSettings, keys: &Arc<dyn KeyStore>) -> Self {
        let bots = Arc::new(Bots::new(settings, keys));
        let binding = Arc::new(LibraryBinding::default());
        let locations = Arc::new(DocumentLocations::default());
        let history = Arc::new(ChannelHistory::new(
            Arc::clone(&bots),
            Arc::clone(&binding),
            Arc::clone(&locations),
        ));
        let marks = Arc::new(LibraryMarks::new(
            Arc::clone(&bots),
            Arc::clone(&binding),
            Arc::clone(&history),
            Arc::clone(keys),
        ));
        let parts = ChannelParts {
            bots: Arc::clone(&bots),
            binding,
            history,
            locations,
            marks: Arc::clone(&marks),
        };
        let packs = ChannelPacks::new(settings, &parts, Arc::clone(keys));
        let log = ChannelLog::new(&parts, &packs, Arc::clone(keys));
        Self {
            bots,
            marks,
            packs: Arc::new(packs),
            log: Arc::new(log),
            warming: Arc::new(Once::new()),
        }
    }

    /// Lets all bots sign in and connect in the background. The first read then need not wait for them.
    fn warm(&self) {
        self.warming.call_once(|| {
            for member in self.bots.members() {
                let (bots, member) = (Arc::clone(&self.bots), Arc::clone(member));
                tokio::spawn(async move { bots.warm(&member).await });
            }
            tokio::spawn(Bots::watch(Arc::downgrade(&self.bots)));
        });
    }
}

#[async_trait::async_trait]
impl PackStore for TelegramRemote {
    fn locality(&self) -> Locality {
        Locality::Far
    }

    fn write_hints(&self) -> WriteHints {
        WriteHints {
            parallel_packs: self.bots.members().len() * SLOTS_A_BOT,
            largest_pack: LARGEST_PACK,
            linger: LINGER,
            manifest_interval: MANIFEST_INTERVAL,
        }
    }

    fn cipher(&self) -> &Cipher {
        &Cipher::Plain
    }

    fn troubles(&self) -> Vec<String> {
        self.bots.troubles()
    }

    async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError> {
        self.packs.put(pack).await
    }

    async fn get(
        &self,
        pack: &PackRef,
        range: ByteRange,
        urgency: Urgency,
    ) -> Result<Bytes, RemoteError> {
        self.packs.get(pack, range, urgency).await
    }

    async fn size(&self, pack: &PackRef) -> Result<u64, RemoteError> {
        self.packs.size(pack).await
    }

    async fn outlook(&self, pack: &PackRef) -> Result<Outlook, RemoteError> {
        self.packs.outlook(pack).await
    }

    async fn delete(&self, pack: &PackRef) -> Result<Removal, RemoteError> {
        self.packs.delete(pack).await
    }

    async fn delete_unnamed(&self, is_known: &IsKnown) -> Result<u64, RemoteError> {
        self.packs.delete_unnamed(is_known).await
    }
}

#[async_trait::async_trait]
impl ForeignFiles for TelegramRemote {
    async fn foreign(&self, place: &str) -> Result<ForeignDocuments, RemoteError> {
        self.packs.foreign(place).await
    }

    async fn adopt(&self, document: &ForeignDocument) -> Result<PackRef, RemoteError> {
        self.packs.adopt(document).await
    }
}

#[async_trait::async_trait]
impl LogStore for TelegramRemote {
    fn describe(&self) -> String {
        "telegram".to_owned()
    }

    async fn library(&self) -> Result<Option<LibraryMark>, RemoteError> {
        self.warm();
        self.marks.find().await
    }

    async fn create_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        self.marks.create(mark).await
    }

    async fn update_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        self.marks.change(mark).await
    }

    async fn append_log(&self, object: LogObject, bytes: Bytes) -> Result<(), RemoteError> {
        self.log.append(object, &bytes).await
    }

    async fn list_log(&self, kind: LogKind, after: u64) -> Result<Vec<LogObject>, RemoteError> {
        self.log.list(kind, after).await
    }

    async fn read_log(&self, object: LogObject) -> Result<Bytes, RemoteError> {
        self.log.read(object).await
    }

    async fn endorse_snapshot(&self, snapshot: LogObject) -> Result<(), RemoteError> {
        self.log.endorse(snapshot).await
    }

    async fn delete_log(&self, object: LogObject) -> Result<(), RemoteError> {
        self.log.delete(object).await
    }
}

#[cfg(test)]
mod tests;
