//! Telegram as the remote: packs are documents in channels, posted and read by several bots over
//! MTProto.
//!
//! From the wire up: [`connection`] (one socket), [`lane`] and [`lanes`] (as many as help), [`bot`]
//! (sign-in, keys, health).

mod bots;
mod channel;
mod check;
mod mtproto;
mod packs;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::telegram::bots::Bots;
use super::telegram::bots::rate_limit::RateLimiter;
use super::telegram::channel::log::LogMap;
use super::telegram::packs::download::{Readers, StoredDocument};
use super::telegram::packs::locations::Locations;
use super::telegram::packs::pending_posts::PendingPosts;
use super::telegram::packs::upload::{PACKS_A_BOT, UploadSlots};
use super::{
    Cipher, ForeignDocument, ForeignDocuments, ForeignFiles, IsKnown, LibraryMark, Locality,
    LogKind, LogObject, LogStore, Outlook, PackStore, RemoteError, RemoteErrorKind, Removal,
    SealedPack, Urgency, WriteHints,
};
use crate::model::{
    ByteRange, KeyStore, LibraryId, PackAddress, PackRef, RateLimit, TelegramAddress, Timestamp,
    TombstonePolicy,
};
use crate::sync::MutexExt as _;

pub use super::telegram::bots::{ChannelInfo, ChannelKind, Right, Rights, SlowMode};
pub use super::telegram::check::measure::{BotMeasured, BotSpeeds, Measured, OldPosts};
pub use super::telegram::check::probe::{
    BotCheck, BotFinding, BotFindings, ChannelAccess, ChannelFinding, RequestedWait,
};
pub use super::telegram::check::round_trip::RoundTrip;
pub use super::telegram::mtproto::data_centres::{Server, ServerKey};

/// A text that never reaches a log: a token, the hash of the application.
#[derive(Clone, PartialEq, Eq)]
pub struct HiddenText(Arc<str>);

impl HiddenText {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
    fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// `TELEGRAM_API_ID` and `TELEGRAM_API_HASH`, from my.telegram.org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiId {
    pub id: i32,
    pub hash: HiddenText,
}

/// A bot's token as @BotFather gives it: its id, a colon, a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotToken(HiddenText);

impl BotToken {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(HiddenText::new(text))
    }
    fn reveal(&self) -> &str {
        self.0.reveal()
    }
    /// The public half.
    fn bot_id(&self) -> i64 {
        let half = self.reveal().split(':').next().unwrap_or_default();
        half.parse().unwrap_or(0)
    }
}

/// One bot, and the channel that it posts to: `-100…`, or `@name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotSettings {
    /// The n of BOT_TOKEN_n.
    pub number: u32,
    pub token: BotToken,
    pub chat: String,
}

/// Everything that a [`TelegramRemote`] is made from.
#[derive(Debug, Clone)]
pub struct Settings {
    pub api: ApiId,
    pub server: Server,
    /// At least one; numbers and tokens are unique.
    pub bots: Vec<BotSettings>,
    pub rate_limit: RateLimit,
    pub tombstones: TombstonePolicy,
    /// Posts in a channel from which on it takes no more packs.
    pub rollover: u32,
    pub publicity: Publicity,
}

/// Whether it matters that everybody can read a public channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publicity {
    Matters,
    /// What is stored is encrypted.
    Harmless,
}

/// Packs grow up to this while much waits: a quarter of what the service takes in one document.
const LARGEST_PACK: u64 = 512 * 1024 * 1024;
/// Small blobs wait this long for others: a message for each would fill the minute.
const LINGER: Duration = Duration::from_secs(30);
const MANIFEST_INTERVAL: Duration = Duration::from_secs(15);
/// Edits are limited much harder than posts.
const TOMBSTONE_INTERVAL: Duration = Duration::from_secs(60);

/// Channels as the place of packs and log. Made without the network; a clone is another reference to
/// the same bots.
#[derive(Debug, Clone)]
pub struct TelegramRemote(Arc<Shared>);

/// Which library the channels hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BoundLibrary {
    library: LibraryId,
    /// The channel that holds the log.
    home: i64,
    /// The post there that says so; 0: not known.
    mark: i32,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    bots: Bots,
    keys: Arc<dyn KeyStore>,
    rate_limiter: RateLimiter,
    slots: Arc<UploadSlots>,
    readers: Readers,
    locations: Locations,
    pending_posts: Arc<PendingPosts>,
    /// The highest number seen a channel.
    newest: Mutex<HashMap<i64, i32>>,
    bound: Mutex<Option<BoundLibrary>>,
    /// Channels that are known to say whose they are.
    marked: Mutex<BTreeSet<i64>>,
    /// One channel is marked at a time.
    joining: tokio::sync::Mutex<()>,
    /// Channels whose users were told that they are full.
    warned: Mutex<BTreeSet<i64>>,
    log: tokio::sync::Mutex<LogMap>,
    last_tombstone: tokio::sync::Mutex<Option<Instant>>,
    /// Posts of before belong to an earlier run.
    started: Timestamp,
    warming: std::sync::Once,
}

impl Shared {
    fn newest_messages(&self) -> MutexGuard<'_, HashMap<i64, i32>> {
        self.newest.acquire()
    }
    fn marked(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.marked.acquire()
    }
    fn warned(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.warned.acquire()
    }
}

impl TelegramRemote {
    /// `keys` keeps sign-ins and notes over restarts.
    #[must_use]
    pub fn new(settings: Settings, keys: Arc<dyn KeyStore>) -> Self {
        let bots = settings.bots.len();
        Self(Arc::new(Shared {
            bots: Bots::new(&settings, &keys),
            rate_limiter: RateLimiter::new(settings.rate_limit),
            slots: Arc::new(UploadSlots::new(bots)),
            readers: Readers::new(bots),
            locations: Locations::default(),
            pending_posts: Arc::new(PendingPosts::new(&keys)),
            newest: Mutex::default(),
            bound: Mutex::default(),
            marked: Mutex::default(),
            joining: tokio::sync::Mutex::default(),
            warned: Mutex::default(),
            log: tokio::sync::Mutex::default(),
            last_tombstone: tokio::sync::Mutex::default(),
            started: Timestamp::now(),
            warming: std::sync::Once::new(),
            settings,
            keys,
        }))
    }
}

impl TelegramRemote {
    /// Lets all bots sign in and connect in the background, so that the first read waits for none of
    /// it.
    fn warm(&self) {
        self.0.warming.call_once(|| {
            for member in self.0.bots.members() {
                let (shared, member) = (Arc::clone(&self.0), Arc::clone(member));
                tokio::spawn(async move { shared.bots.warm(&member).await });
            }
        });
    }
}

/// The address of a pack that this remote holds.
fn address(pack: &PackRef) -> Result<TelegramAddress, RemoteError> {
    match pack.address {
        PackAddress::Telegram(address) => Ok(address),
        PackAddress::Local | PackAddress::Adopted(_) => Err(RemoteError::new(
            RemoteErrorKind::Invalid,
            format!("look for pack {}", pack.id),
            "it is no document of ours in a channel",
        )),
    }
}

#[async_trait::async_trait]
impl PackStore for TelegramRemote {
    fn locality(&self) -> Locality {
        Locality::Far
    }

    fn write_hints(&self) -> WriteHints {
        WriteHints {
            parallel_packs: self.0.settings.bots.len() * PACKS_A_BOT,
            largest_pack: LARGEST_PACK,
            linger: LINGER,
            manifest_interval: MANIFEST_INTERVAL,
        }
    }

    fn cipher(&self) -> &Cipher {
        &Cipher::Plain
    }

    async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError> {
        self.0.put_pack(pack).await
    }

    async fn get(
        &self,
        pack: &PackRef,
        range: ByteRange,
        urgency: Urgency,
    ) -> Result<Bytes, RemoteError> {
        let op = format!("read pack {}", pack.id);
        if let PackAddress::Adopted(adopted) = pack.address {
            return self.0.read_adopted(pack, adopted, range, urgency).await;
        }
        let document = StoredDocument {
            address: address(pack)?,
            len: pack.len,
        };
        self.0.read(&op, document, range, urgency).await
    }

    async fn size(&self, pack: &PackRef) -> Result<u64, RemoteError> {
        if let PackAddress::Adopted(adopted) = pack.address {
            return self.0.size_of_adopted(pack, adopted).await;
        }
        let size = self.0.size_at(address(pack)?).await?;
        size.ok_or_else(|| {
            RemoteError::new(
                RemoteErrorKind::NotFound,
                format!("look for pack {}", pack.id),
                "the post that holds it is gone from the channel",
            )
        })
    }

    async fn outlook(&self, pack: &PackRef) -> Result<Outlook, RemoteError> {
        match pack.address {
            PackAddress::Adopted(adopted) => Ok(self.0.known_outlook(adopted.document)),
            _ => self.0.outlook_of(address(pack)?).await,
        }
    }

    async fn delete(&self, pack: &PackRef) -> Result<Removal, RemoteError> {
        let address = match pack.address {
            // The data is not ours.
            PackAddress::Adopted(adopted) => adopted.table,
            _ => address(pack)?,
        };
        let left = self
            .0
            .delete_messages(address.channel, &[address.message])
            .await?;
        if left == 0 {
            return Ok(Removal::Gone);
        }
        self.0.bury(address.channel, address.message).await?;
        Ok(match self.0.settings.tombstones {
            TombstonePolicy::Leave => Removal::Left,
            TombstonePolicy::Write => Removal::Gone,
        })
    }

    async fn delete_unnamed(&self, is_known: &IsKnown) -> Result<u64, RemoteError> {
        self.0.delete_unnamed(is_known).await
    }
}

#[async_trait::async_trait]
impl ForeignFiles for TelegramRemote {
    async fn foreign(&self, place: &str) -> Result<ForeignDocuments, RemoteError> {
        self.0.foreign(place).await
    }
    async fn adopt(&self, document: &ForeignDocument) -> Result<PackRef, RemoteError> {
        self.0.adopt(document).await
    }
}

#[async_trait::async_trait]
impl LogStore for TelegramRemote {
    fn describe(&self) -> String {
        "telegram".to_owned()
    }

    async fn library(&self) -> Result<Option<LibraryMark>, RemoteError> {
        self.warm();
        self.0.find_library().await
    }

    async fn create_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        if self.0.find_library().await?.is_some() {
            return Err(RemoteError::new(
                RemoteErrorKind::Foreign,
                "create a library in the channels",
                "they hold one already",
            ));
        }
        self.0.make_library(mark).await
    }

    async fn update_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        self.0.change_mark(mark).await
    }

    async fn append_log(&self, object: LogObject, bytes: Bytes) -> Result<(), RemoteError> {
        self.0.append_log(object, &bytes).await
    }

    async fn list_log(&self, kind: LogKind, after: u64) -> Result<Vec<LogObject>, RemoteError> {
        self.0.list_log(kind, after).await
    }

    async fn read_log(&self, object: LogObject) -> Result<Bytes, RemoteError> {
        self.0.read_log(object).await
    }

    async fn endorse_snapshot(&self, snapshot: LogObject) -> Result<(), RemoteError> {
        self.0.endorse(snapshot).await
    }

    async fn delete_log(&self, object: LogObject) -> Result<(), RemoteError> {
        self.0.delete_log(object).await
    }
}

#[cfg(test)]
mod tests;
