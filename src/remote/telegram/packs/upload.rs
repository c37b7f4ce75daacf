//! Packs out: each goes to the bot that is free soonest, and elsewhere when that one has to wait.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::parts::{FileUpload, PartSource, SHORT_WAIT, UploadStop, random_id};
use super::pending_posts::PendingPostV1;
use crate::model::{ByteRange, PackAddress, TelegramAddress, Timestamp};
use crate::remote::retry::{Deadline, retry};
use crate::remote::telegram::Shared;
use crate::remote::telegram::bots::Member;
use crate::remote::telegram::bots::bot::BotClient;
use crate::remote::telegram::bots::messages::{self, ChannelMessage, ChannelPeer};
use crate::remote::telegram::bots::rate_limit::PostPriority;
use crate::remote::telegram::channel::caption::{Caption, CaptionBody};
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::connection_pool::CallPurpose;
use crate::remote::{RemoteError, RemoteErrorKind, SealedPack};

/// Packs of one bot side by side: one is sent while the other is posted and read back.
pub const PACKS_A_BOT: usize = 2;
/// How often a bot that is awaited is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long an answer to a post is asked for again before the channel is searched for the post.
const REPLY_PATIENCE: Duration = Duration::from_secs(20);
/// A wait to post that is longer sends the pack to another bot, which has to send all bytes again.
const LONG_WAIT: Duration = Duration::from_secs(12);
/// Parts that the service may lose of one file before it is begun anew.
const MAX_LOST_PARTS: usize = 64;

/// A post that is being made.
#[derive(Debug, Clone, Copy)]
pub struct DocumentPost<'a> {
    pub bot: &'a BotClient,
    pub peer: ChannelPeer,
    /// Unlike that of any other post.
    pub caption: &'a str,
    /// For people, e.g. `post manifest 7`.
    pub op: &'a str,
    /// The highest number that was given in the channel before.
    pub above: i32,
}

/// Packs under way a bot, by its place in the bots.
#[derive(Debug)]
pub struct UploadSlots {
    busy: Vec<AtomicUsize>,
    freed: Notify,
}

impl UploadSlots {
    pub fn new(bots: usize) -> Self {
        Self {
            busy: (0..bots).map(|_| AtomicUsize::new(0)).collect(),
            freed: Notify::new(),
        }
    }
    pub fn busy(&self, place: usize) -> usize {
        self.busy
            .get(place)
            .map_or(usize::MAX, |busy| busy.load(Ordering::Relaxed))
    }
    fn take(self: &Arc<Self>, place: usize) -> UploadSlot {
        if let Some(busy) = self.busy.get(place) {
            busy.fetch_add(1, Ordering::Relaxed);
        }
        UploadSlot {
            slots: Arc::clone(self),
            place,
        }
    }
}

/// A pack's place at a bot; given back when it is dropped.
struct UploadSlot {
    slots: Arc<UploadSlots>,
    place: usize,
}

impl Drop for UploadSlot {
    fn drop(&mut self) {
        if let Some(busy) = self.slots.busy.get(self.place) {
            busy.fetch_sub(1, Ordering::Relaxed);
        }
        self.slots.freed.notify_waiters();
    }
}

#[async_trait::async_trait]
impl PartSource for SealedPack {
    fn len(&self) -> u64 {
        Self::len(self)
    }
    async fn read(&self, range: ByteRange) -> Result<Bytes, RemoteError> {
        let op = format!("read pack {} from the spool", self.id);
        let pack = self.clone();
        let read = tokio::task::spawn_blocking(move || Self::read(&pack, range)).await;
        let failed = |error: String| RemoteError::new(RemoteErrorKind::Invalid, op, error);
        match read {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(failed(error.to_string()).with_source(error)),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

impl Shared {
    /// Posts a pack with whichever bot can soonest. Ends with an error when every bot failed at it;
    /// waits that the service asks for are no failures.
    pub async fn put_pack(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError> {
        if let Some(address) = self.find_pending(pack).await? {
            return Ok(address);
        }
        let mut failed: HashSet<usize> = HashSet::new();
        let mut last_error = None;
        loop {
            let Some((place, slot)) = self.free_bot(&failed).await else {
                return Err(last_error.unwrap_or_else(|| {
                    RemoteError::new(
                        RemoteErrorKind::Denied,
                        format!("put pack {}", pack.id),
                        "there is no bot that may post",
                    )
                }));
            };
            let Some(member) = self.bots.members().get(place) else {
                continue;
            };
            match self.put_with(member, pack).await {
                Ok(address) => return Ok(address),
                Err(UploadStop::Wait(wait)) => {
                    tracing::info!(
                        bot = member.bot.number,
                        ?wait,
                        "told to wait; its pack goes elsewhere if that is sooner"
                    );
                    member.bot.set_aside(CallPurpose::Write, wait);
                }
                Err(UploadStop::Failed(error)) => {
                    if error.kind == RemoteErrorKind::Invalid {
                        return Err(error);
                    }
                    failed.insert(place);
                    // What may pass is told rather than what needs somebody's hand.
                    if last_error
                        .as_ref()
                        .is_none_or(|last: &RemoteError| !last.is_retryable())
                    {
                        last_error = Some(error);
                    }
                }
            }
            drop(slot);
        }
    }

    /// The bot that shall take the next pack, once one has room and need not wait; `None` when all
    /// failed.
    async fn free_bot(&self, failed: &HashSet<usize>) -> Option<(usize, UploadSlot)> {
        loop {
            let freed = self.slots.freed.notified();
            let members = self.bots.members();
            if failed.len() >= members.len() {
                return None;
            }
            let mut best: Option<(usize, usize)> = None;
            let mut soonest = LOOK_AGAIN;
            for (place, member) in members.iter().enumerate() {
                if failed.contains(&place) {
                    continue;
                }
                let wait = member
                    .bot
                    .aside(CallPurpose::Write)
                    .max(member.bot.aside(CallPurpose::Post));
                let busy = self.slots.busy(place);
                if let Some(wait) = wait {
                    soonest = soonest.min(wait);
                } else if busy < PACKS_A_BOT && best.is_none_or(|(_, least)| busy < least) {
                    best = Some((place, busy));
                }
            }
            if let Some((place, _)) = best {
                return Some((place, self.slots.take(place)));
            }
            // Whichever comes first; a wake-up that is missed costs half a second.
            let _ = tokio::time::timeout(soonest, freed).await;
        }
    }

    /// Whether another bot could take a pack now.
    fn other_bot_is_free(&self, than: &BotClient) -> bool {
        self.bots
            .members()
            .iter()
            .enumerate()
            .any(|(place, member)| {
                member.bot.id != than.id
                    && self.slots.busy(place) < PACKS_A_BOT
                    && member.bot.aside(CallPurpose::Write).is_none()
                    && member.bot.aside(CallPurpose::Post).is_none()
            })
    }

    async fn put_with(
        &self,
        member: &Member,
        pack: &SealedPack,
    ) -> Result<PackAddress, UploadStop> {
        let bot = &member.bot;
        let op = || format!("put pack {} with bot {}", pack.id, bot.number);
        let fail = |error: CallError| UploadStop::Failed(error.into_remote(op()));
        let channel = self.channel_for_packs(member).await?;
        let peer = self.bots.peer(bot, channel).await.map_err(fail)?;
        let name = format!("{}.tgfspack", pack.id);
        let mut upload = FileUpload::new(pack, name)?;
        self.send_parts(bot, pack, &mut upload).await?;
        if self.newest(channel) == 0 {
            self.upper_end(channel).await?;
        }
        let pending = PendingPostV1 {
            pack: pack.id,
            bot: bot.id,
            channel,
            random_id: random_id()?,
            above: self.newest(channel),
            post: 0,
            since: Timestamp::now(),
        };
        self.note(&pending).await?;
        let caption = self.caption(CaptionBody::Pack { id: pack.id })?.to_string();
        let poster = DocumentPost {
            bot,
            peer,
            caption: &caption,
            op: &format!("post pack {}", pack.id),
            above: pending.above,
        };
        self.rate_limiter.turn(channel, PostPriority::Pack).await;
        let random_id = pending.random_id;
        let post = self
            .post_once(&poster, pack, &mut upload, random_id)
            .await?;
        let address = self.take_post(bot, channel, pack, &post)?;
        self.note(&PendingPostV1 {
            post: post.id,
            ..pending
        })
        .await?;
        Ok(address)
    }

    /// All parts of a file to one bot, waiting where that is sooner than another bot would be.
    pub async fn send_parts(
        &self,
        bot: &BotClient,
        source: &dyn PartSource,
        upload: &mut FileUpload,
    ) -> Result<(), UploadStop> {
        let begun = Instant::now();
        loop {
            match upload.send(bot, source).await {
                Err(UploadStop::Wait(wait)) => {
                    bot.set_aside(CallPurpose::Write, wait);
                    // Elsewhere the pack begins anew, which takes about as long as it took so far.
                    let again = begun.elapsed().max(SHORT_WAIT);
                    if wait > again && self.other_bot_is_free(bot) {
                        return Err(UploadStop::Wait(wait));
                    }
                    tokio::time::sleep(wait).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Makes a post, once, however often the answer is lost: the same `random_id` makes no second one,
    /// and a post that was made without our hearing of it is found by its text.
    pub async fn post_once(
        &self,
        poster: &DocumentPost<'_>,
        source: &dyn PartSource,
        upload: &mut FileUpload,
        random_id: i64,
    ) -> Result<ChannelMessage, UploadStop> {
        let DocumentPost {
            bot,
            peer,
            caption,
            op,
            above,
        } = *poster;
        let failed = |error: CallError| {
            UploadStop::Failed(error.into_remote(format!("{op} with bot {}", bot.number)))
        };
        let mut lost = 0;
        let mut unanswered_since: Option<Instant> = None;
        loop {
            let uploaded = upload.finished(source);
            let sent = messages::send_document(bot, peer, &uploaded, caption, random_id).await;
            let error = match sent {
                Ok(post) => return Ok(post),
                Err(error) => error,
            };
            if let Some(wait) = error.wait() {
                let moves = wait > LONG_WAIT && unanswered_since.is_none();
                if moves && self.other_bot_is_free(bot) {
                    return Err(UploadStop::Wait(wait));
                }
                tokio::time::sleep(wait).await;
            } else if let CallError::Rpc { name, value, .. } = &error
                && name == "FILE_PART_MISSING"
                && lost < MAX_LOST_PARTS
            {
                lost += 1;
                upload.lost(value.unwrap_or(u32::MAX));
                self.send_parts(bot, source, upload).await?;
            } else if error.is("RANDOM_ID_DUPLICATE") {
                // It is there: an answer of before was lost.
                let found = self.search(peer.channel, above, |post| post.text == caption);
                return found.await?.ok_or_else(|| failed(error));
            } else if error.is_passing() {
                let since = *unanswered_since.get_or_insert_with(Instant::now);
                if since.elapsed() > REPLY_PATIENCE {
                    // Another bot may only send once it is certain that this one did not.
                    let found = self.search(peer.channel, above, |post| post.text == caption);
                    return found.await?.ok_or_else(|| failed(error));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            } else {
                if error.is_missing_right() {
                    self.bots.forget_peer(bot, peer.channel);
                }
                return Err(failed(error));
            }
        }
    }

    /// The first post above a number that `matches`, in everything up to now.
    async fn search(
        &self,
        channel: i64,
        above: i32,
        matches: impl Fn(&ChannelMessage) -> bool,
    ) -> Result<Option<ChannelMessage>, RemoteError> {
        let end = retry(Deadline::None, || self.upper_end(channel)).await?;
        let range = above.saturating_add(1)..end;
        let found = retry(Deadline::None, || self.scan(channel, range.clone())).await?;
        Ok(found.into_iter().find(matches))
    }

    /// A pack that an earlier try may have posted without hearing of it.
    async fn find_pending(&self, pack: &SealedPack) -> Result<Option<PackAddress>, RemoteError> {
        let Some(pending) = self.pending_posts.get(pack.id)? else {
            return Ok(None);
        };
        let Some(post) = self.search_pending(&pending).await? else {
            return Ok(None);
        };
        let Some(member) = self.bots.members().first() else {
            return Ok(None);
        };
        match self.take_post(&member.bot, pending.channel, pack, &post) {
            Ok(address) => Ok(Some(address)),
            Err(UploadStop::Failed(error)) => Err(error),
            Err(UploadStop::Wait(_)) => Ok(None),
        }
    }

    /// The post of a pending, looked for in everything that came after it began. `None`: there
    /// surely is none.
    async fn search_pending(
        &self,
        pending: &PendingPostV1,
    ) -> Result<Option<ChannelMessage>, RemoteError> {
        let matches = |post: &ChannelMessage| {
            Caption::read(&post.text)
                .is_some_and(|caption| caption.body == CaptionBody::Pack { id: pending.pack })
        };
        if pending.post != 0 {
            let known = self.messages_at(pending.channel, &[pending.post]).await?;
            if let Some(post) = known.into_iter().flatten().find(|post| matches(post)) {
                return Ok(Some(post));
            }
        }
        self.search(pending.channel, pending.above, matches).await
    }

    fn take_post(
        &self,
        bot: &BotClient,
        channel: i64,
        pack: &SealedPack,
        post: &ChannelMessage,
    ) -> Result<PackAddress, UploadStop> {
        let op = || format!("put pack {}", pack.id);
        let document = post.document.as_ref().ok_or_else(|| {
            RemoteError::new(RemoteErrorKind::Corrupt, op(), "its post holds no document")
        })?;
        if document.size != pack.len() {
            let message = format!("its document has {} bytes", document.size);
            return Err(RemoteError::new(RemoteErrorKind::Corrupt, op(), message).into());
        }
        self.see(channel, post.id);
        self.locations
            .keep(bot.id, channel, post.id, Some(document.clone()));
        self.locations.written_by(channel, post.id, bot.id);
        Ok(PackAddress::Telegram(TelegramAddress {
            channel,
            message: post.id,
            document: document.id,
            dc: document.dc,
        }))
    }

    async fn note(&self, pending: &PendingPostV1) -> Result<(), RemoteError> {
        let pending_posts = Arc::clone(&self.pending_posts);
        let pending = pending.clone();
        let noted = tokio::task::spawn_blocking(move || pending_posts.put(&pending)).await;
        noted.unwrap_or_else(|error| {
            Err(RemoteError::new(
                RemoteErrorKind::Unavailable,
                "note a pack",
                error.to_string(),
            ))
        })
    }
}
