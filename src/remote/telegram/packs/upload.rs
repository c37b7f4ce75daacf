//! Upload of packs. Each pack goes to the bot that is free soonest, and to another one when that bot has
//! to wait.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::parts::{FileUpload, PartSource, UploadStop};
use super::pending_posts::{PendingPost, PendingPosts};
use super::posting::{DocumentPost, DocumentPoster, write_wait};
use super::slots::{UploadSlot, UploadSlots, wait_for};
use crate::model::{ByteRange, ChannelId, PackAddress, TelegramAddress, Timestamp};
use crate::remote::telegram::bots::bot::BotClient;
use crate::remote::telegram::bots::messages::ChannelMessage;
use crate::remote::telegram::bots::random_id::random_id;
use crate::remote::telegram::bots::rate_limit::PostPriority;
use crate::remote::telegram::bots::{Bots, Member};
use crate::remote::telegram::channel::binding::LibraryBinding;
use crate::remote::telegram::channel::caption::{Caption, CaptionBody};
use crate::remote::telegram::channel::rollover::PackChannels;
use crate::remote::telegram::channel::scan::ChannelHistory;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::connection_pool::CallPurpose;
use crate::remote::{RemoteError, RemoteErrorKind, SealedPack};

/// Longest pause between two looks for a free bot.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

#[async_trait::async_trait]
impl PartSource for SealedPack {
    fn len(&self) -> u64 {
        Self::len(self)
    }
    fn acknowledged(&self, bytes: u64) {
        self.meter().reach(bytes);
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

/// Uploader of packs, which posts each exactly once.
#[derive(Debug)]
pub struct PackUploads {
    bots: Arc<Bots>,
    binding: Arc<LibraryBinding>,
    history: Arc<ChannelHistory>,
    channels: Arc<PackChannels>,
    poster: Arc<DocumentPoster>,
    slots: Arc<UploadSlots>,
    pending: Arc<PendingPosts>,
}

/// Parts that [`PackUploads`] works with.
#[derive(Debug)]
pub struct PackUploadParts {
    /// All bots.
    pub bots: Arc<Bots>,
    /// The library that the packs belong to.
    pub binding: Arc<LibraryBinding>,
    /// Messages of the channels.
    pub history: Arc<ChannelHistory>,
    /// Choice of the channel.
    pub channels: Arc<PackChannels>,
    /// Posts the documents.
    pub poster: Arc<DocumentPoster>,
    /// Slots of the bots.
    pub slots: Arc<UploadSlots>,
    /// Notes on packs that are being posted.
    pub pending: Arc<PendingPosts>,
}

impl PackUploads {
    /// Makes the uploads with these parts.
    pub fn new(parts: PackUploadParts) -> Self {
        let PackUploadParts {
            bots,
            binding,
            history,
            channels,
            poster,
            slots,
            pending,
        } = parts;
        Self {
            bots,
            binding,
            history,
            channels,
            poster,
            slots,
            pending,
        }
    }

    /// Posts a pack with the bot that is ready first. Waits that the service asks for are no failures.
    ///
    /// # Errors
    /// When every bot failed. A temporary error is preferred to a permanent one.
    pub async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError> {
        if let Some(address) = self.find_pending(pack).await? {
            return Ok(address);
        }
        let mut failed: HashSet<usize> = HashSet::new();
        let mut last: Option<RemoteError> = None;
        loop {
            let Some(slot) = self.free_bot(&failed).await else {
                return Err(last.unwrap_or_else(|| {
                    RemoteError::new(
                        RemoteErrorKind::Denied,
                        format!("put pack {}", pack.id),
                        "there is no bot that may post",
                    )
                }));
            };
            let Some(member) = self.bots.members().get(slot.place()) else {
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
                    failed.insert(slot.place());
                    if last.as_ref().is_none_or(|last| !last.is_retryable()) {
                        last = Some(error);
                    }
                }
            }
        }
    }

    /// Returns a slot of the bot that shall take the next pack, once a bot has room and need not wait.
    /// Returns `None` when all failed.
    async fn free_bot(&self, failed: &HashSet<usize>) -> Option<UploadSlot> {
        loop {
            let freed = self.slots.freed();
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
                let busy = self.slots.busy(place);
                if let Some(wait) = write_wait(&member.bot) {
                    soonest = soonest.min(wait);
                } else if self.slots.has_room(place) && best.is_none_or(|(_, least)| busy < least) {
                    best = Some((place, busy));
                }
            }
            if let Some((place, _)) = best {
                return Some(self.slots.take(place));
            }
            wait_for(freed, soonest).await;
        }
    }

    async fn put_with(
        &self,
        member: &Member,
        pack: &SealedPack,
    ) -> Result<PackAddress, UploadStop> {
        let bot = &member.bot;
        let op = || format!("put pack {} with bot {}", pack.id, bot.number);
        let fail = |error: CallError| UploadStop::Failed(error.into_remote(op()));
        let channel = self.channels.choose(member).await?;
        let peer = self.bots.peers().peer(bot, channel).await.map_err(fail)?;
        let mut upload = FileUpload::new(pack, format!("{}.tgfspack", pack.id))?;
        self.poster.send_parts(bot, pack, &mut upload).await?;
        let pending = PendingPost {
            pack: pack.id,
            bot: bot.id,
            channel,
            random_id: random_id()?,
            above: self.history.newest_or_ask(channel).await?,
            message: None,
            since: Timestamp::now(),
        };
        self.note(&pending).await?;
        let post = DocumentPost {
            bot,
            peer,
            caption: &self.binding.caption(CaptionBody::Pack { id: pack.id })?,
            op: &format!("post pack {}", pack.id),
            above: pending.above,
            random_id: pending.random_id,
        };
        self.bots.wait_to_post(channel, PostPriority::Pack).await;
        let message = self.poster.post_once(&post, pack, &mut upload).await?;
        let address = self.take_message(bot, channel, pack, &message)?;
        self.note(&PendingPost {
            message: Some(message.id),
            ..pending
        })
        .await?;
        Ok(address)
    }

    /// Finds a pack that an earlier try may have posted without learning of it.
    async fn find_pending(&self, pack: &SealedPack) -> Result<Option<PackAddress>, RemoteError> {
        let Some(pending) = self.pending.get(pack.id)? else {
            return Ok(None);
        };
        let Some(message) = self.search_pending(&pending).await? else {
            return Ok(None);
        };
        let Some(member) = self.bots.members().first() else {
            return Ok(None);
        };
        self.take_message(&member.bot, pending.channel, pack, &message)
            .map(Some)
    }

    /// Searches for the message of a note, among all that came after it was made. Returns `None` when
    /// there surely is none.
    async fn search_pending(
        &self,
        pending: &PendingPost,
    ) -> Result<Option<ChannelMessage>, RemoteError> {
        let matches = |message: &ChannelMessage| {
            let caption = Caption::read(&message.text);
            caption.is_some_and(|caption| caption.body == CaptionBody::Pack { id: pending.pack })
        };
        if let Some(known) = pending.message {
            let known = self.history.message_at(pending.channel, known).await?;
            if let Some(message) = known.filter(matches) {
                return Ok(Some(message));
            }
        }
        self.poster
            .search(pending.channel, pending.above, matches)
            .await
    }

    /// Checks the message of a pack and remembers it.
    fn take_message(
        &self,
        bot: &BotClient,
        channel: ChannelId,
        pack: &SealedPack,
        message: &ChannelMessage,
    ) -> Result<PackAddress, RemoteError> {
        let op = || format!("put pack {}", pack.id);
        let document = message.document.as_ref().ok_or_else(|| {
            let reason = "its message holds no document";
            RemoteError::new(RemoteErrorKind::Corrupt, op(), reason)
        })?;
        if document.size != pack.len() {
            let reason = format!("its document has {} bytes", document.size);
            return Err(RemoteError::new(RemoteErrorKind::Corrupt, op(), reason));
        }
        self.poster.take_message(bot, channel, message);
        Ok(PackAddress::Telegram(TelegramAddress {
            channel,
            message: message.id,
            document: document.id,
            dc: document.dc,
        }))
    }

    /// Writes a note, off the threads of the runtime.
    async fn note(&self, pending: &PendingPost) -> Result<(), RemoteError> {
        let (notes, pending) = (Arc::clone(&self.pending), pending.clone());
        let noted = tokio::task::spawn_blocking(move || notes.put(&pending)).await;
        noted.unwrap_or_else(|error| {
            Err(RemoteError::new(
                RemoteErrorKind::Unavailable,
                "note a pack",
                error.to_string(),
            ))
        })
    }
}
