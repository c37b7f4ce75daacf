//! Posting of documents: one bot sends all parts, and then posts one message exactly once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::parts::{FileUpload, PartSource, SHORT_WAIT, UploadStop};
use super::slots::UploadSlots;
use crate::model::{ChannelId, MessageId};
use crate::remote::retry::{Backoff, Deadline, retry};
use crate::remote::telegram::bots::bot::BotClient;
use crate::remote::telegram::bots::membership::Evidence;
use crate::remote::telegram::bots::messages::{self, ChannelMessage, ChannelPeer};
use crate::remote::telegram::bots::random_id::random_id;
use crate::remote::telegram::bots::rate_limit::PostPriority;
use crate::remote::telegram::bots::{Bots, Member};
use crate::remote::telegram::channel::locations::DocumentLocations;
use crate::remote::telegram::channel::scan::ChannelHistory;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::connection_pool::CallPurpose;
use crate::remote::telegram::mtproto::rpc_error::RpcErrorName;
use crate::remote::{RemoteError, RemoteErrorKind};

/// Pause before a post without an answer is repeated. Each further one is about twice as long.
const REPEAT_AFTER: Duration = Duration::from_millis(500);
/// Longest of these pauses.
const REPEAT_AT_MOST: Duration = Duration::from_secs(8);
/// Time for which a post without an answer is repeated before the channel is searched for the message.
const REPLY_PATIENCE: Duration = Duration::from_secs(20);
/// Wait to post from which on the document goes to another bot, which has to send all bytes again.
const LONG_WAIT: Duration = Duration::from_secs(12);
/// Parts of one file that the service may lose before the upload fails.
const MAX_LOST_PARTS: usize = 64;

/// Message that is being made.
#[derive(Debug, Clone, Copy)]
pub struct DocumentPost<'a> {
    /// Bot that posts it.
    pub bot: &'a BotClient,
    /// Channel that it goes to.
    pub peer: ChannelPeer,
    /// Caption, unlike that of any other message.
    pub caption: &'a str,
    /// Name of the task for people, e.g. `post manifest 7`.
    pub op: &'a str,
    /// The highest number that was given in the channel before.
    pub above: MessageId,
    /// Random id that the post is repeated with.
    pub random_id: i64,
}

/// Small document that any bot may post.
#[derive(Debug, Clone, Copy)]
pub struct SmallDocument<'a> {
    /// Channel that it goes to.
    pub channel: ChannelId,
    /// Its bytes.
    pub bytes: &'a Bytes,
    /// Its file name.
    pub name: &'a str,
    /// Caption, unlike that of any other message.
    pub caption: &'a str,
    /// Name of the task for people, e.g. `post manifest 7`.
    pub op: &'a str,
}

/// Poster of documents, with the bots that are ready first.
#[derive(Debug)]
pub struct DocumentPoster {
    bots: Arc<Bots>,
    history: Arc<ChannelHistory>,
    locations: Arc<DocumentLocations>,
    slots: Arc<UploadSlots>,
}

impl DocumentPoster {
    /// Makes a poster that shares `slots` with the uploads of packs.
    pub const fn new(
        bots: Arc<Bots>,
        history: Arc<ChannelHistory>,
        locations: Arc<DocumentLocations>,
        slots: Arc<UploadSlots>,
    ) -> Self {
        Self {
            bots,
            history,
            locations,
            slots,
        }
    }

    /// Posts a small document with any bot that can.
    ///
    /// # Errors
    /// When every bot failed. A temporary error is preferred to a permanent one.
    pub async fn post_small(
        &self,
        document: SmallDocument<'_>,
    ) -> Result<ChannelMessage, RemoteError> {
        let SmallDocument { channel, op, .. } = document;
        let random_id = random_id()?;
        self.bots.wait_to_post(channel, PostPriority::Log).await;
        let mut last: Option<RemoteError> = None;
        for member in self.members_by_load() {
            match self.post_small_with(&member, document, random_id).await {
                Ok(message) => {
                    self.take_message(&member.bot, channel, &message);
                    return Ok(message);
                }
                Err(UploadStop::Wait(wait)) => {
                    let message = "Telegram asks to wait";
                    let mut error = RemoteError::new(RemoteErrorKind::RateLimited, op, message);
                    error.retry_after = Some(wait);
                    last = Some(error);
                }
                Err(UploadStop::Failed(error)) => {
                    if last.as_ref().is_none_or(|last| !last.is_retryable()) {
                        last = Some(error);
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| {
            RemoteError::new(RemoteErrorKind::Denied, op, "there is no bot that may post")
        }))
    }

    async fn post_small_with(
        &self,
        member: &Member,
        document: SmallDocument<'_>,
        random_id: i64,
    ) -> Result<ChannelMessage, UploadStop> {
        let SmallDocument {
            channel,
            bytes,
            name,
            caption,
            op,
        } = document;
        let bot = &member.bot;
        let peer = self.bots.peers().peer(bot, channel).await;
        let peer = peer.map_err(|error| UploadStop::Failed(error.into_remote(op)))?;
        let mut upload = FileUpload::new(bytes, name.to_owned())?;
        self.send_parts(bot, bytes, &mut upload).await?;
        let post = DocumentPost {
            bot,
            peer,
            caption,
            op,
            above: self.history.newest(channel).unwrap_or(MessageId::ZERO),
            random_id,
        };
        self.post_once(&post, bytes, &mut upload).await
    }

    /// Remembers a new message: its number, the location of its document, and the bot that posted it.
    pub fn take_message(&self, bot: &BotClient, channel: ChannelId, message: &ChannelMessage) {
        self.history.see(channel, message.id);
        if let Some(document) = &message.document {
            let document = document.clone();
            self.locations.keep(bot.id, channel, message.id, document);
            self.locations.note_writer(channel, message.id, bot.id);
        }
    }

    /// Returns the bots. Those that need not wait and have the fewest packs under way come first.
    fn members_by_load(&self) -> Vec<Arc<Member>> {
        let places = self.bots.members().iter().enumerate();
        let mut members: Vec<(bool, usize, Arc<Member>)> = places
            .map(|(place, member)| {
                let aside = write_wait(&member.bot).is_some();
                (aside, self.slots.busy(place), Arc::clone(member))
            })
            .collect();
        members.sort_by_key(|(aside, busy, member)| (*aside, *busy, member.bot.number));
        members.into_iter().map(|(_, _, member)| member).collect()
    }

    /// Returns whether another bot could take a pack now.
    fn other_bot_is_free(&self, than: &BotClient) -> bool {
        let mut places = self.bots.members().iter().enumerate();
        places.any(|(place, member)| {
            member.bot.id != than.id
                && self.slots.has_room(place)
                && write_wait(&member.bot).is_none()
        })
    }

    /// Sends all parts of a file with one bot. Waits when that is sooner than another bot would be.
    ///
    /// # Errors
    /// [`UploadStop::Wait`] when another bot would be sooner.
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
                    // Another bot has to send all bytes again, which takes about as long as this one took
                    // so far.
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

    /// Posts a document once, regardless of lost answers. The same random id makes no second message, and
    /// a message whose answer was lost is found by its caption.
    ///
    /// # Errors
    /// [`UploadStop::Wait`] when another bot would be sooner.
    pub async fn post_once(
        &self,
        post: &DocumentPost<'_>,
        source: &dyn PartSource,
        upload: &mut FileUpload,
    ) -> Result<ChannelMessage, UploadStop> {
        let DocumentPost {
            bot,
            mut peer,
            caption,
            ..
        } = *post;
        let peers = self.bots.peers();
        let mut renewed = false;
        let mut backoff = Backoff::new(REPEAT_AFTER, REPEAT_AT_MOST);
        let mut lost = 0;
        let mut unanswered_since: Option<Instant> = None;
        loop {
            let file = upload.finished(source);
            let sent = messages::send_document(bot, peer, &file, caption, post.random_id).await;
            let error = match sent {
                Ok(message) => {
                    peers
                        .problems()
                        .end(bot.number, peer.channel, Evidence::Posted);
                    return Ok(message);
                }
                Err(error) => error,
            };
            if let Some(wait) = error.wait() {
                let moves = wait > LONG_WAIT && unanswered_since.is_none();
                if moves && self.other_bot_is_free(bot) {
                    return Err(UploadStop::Wait(wait));
                }
                tokio::time::sleep(wait).await;
            } else if let CallError::Rpc {
                name: RpcErrorName::FilePartMissing,
                value,
                ..
            } = &error
                && lost < MAX_LOST_PARTS
            {
                lost += 1;
                upload.lost(value.unwrap_or(u32::MAX));
                self.send_parts(bot, source, upload).await?;
            } else if error.is(&RpcErrorName::RandomIdDuplicate) {
                // The message is there, because an earlier answer was lost.
                return self.find_posted(post, error).await;
            } else if error.is_passing() {
                let since = *unanswered_since.get_or_insert_with(Instant::now);
                if since.elapsed() > REPLY_PATIENCE {
                    // Another bot may only post once it is certain that this one did not.
                    return self.find_posted(post, error).await;
                }
                tokio::time::sleep(backoff.pause()).await;
            } else if !renewed && let Some(fresh) = peers.renew(bot, peer, &error).await {
                renewed = true;
                peer = fresh;
            } else {
                if error.is_missing_right() {
                    let by = Evidence::Posted;
                    peers.problems().begin(bot.number, peer.channel, by, &error);
                }
                return Err(failed(post, error));
            }
        }
    }

    /// Searches for the message of a post whose answer was lost. Returns `error` when there is none.
    async fn find_posted(
        &self,
        post: &DocumentPost<'_>,
        error: CallError,
    ) -> Result<ChannelMessage, UploadStop> {
        let is_it = |message: &ChannelMessage| message.text == post.caption;
        let found = self.search(post.peer.channel, post.above, is_it).await?;
        found.ok_or_else(|| failed(post, error))
    }

    /// Returns the first message above a number that `matches`, among all messages up to now.
    ///
    /// # Errors
    /// A permanent error. Temporary ones are waited out.
    pub async fn search(
        &self,
        channel: ChannelId,
        above: MessageId,
        matches: impl Fn(&ChannelMessage) -> bool,
    ) -> Result<Option<ChannelMessage>, RemoteError> {
        let end = retry(Deadline::None, || self.history.upper_end(channel)).await?;
        let range = above.next()..end;
        let found = retry(Deadline::None, || self.history.scan(channel, range.clone())).await?;
        Ok(found.into_iter().find(matches))
    }
}

fn failed(post: &DocumentPost<'_>, error: CallError) -> UploadStop {
    UploadStop::Failed(error.into_remote(format!("{} with bot {}", post.op, post.bot.number)))
}

/// Returns how long a bot has to wait before it can upload and post.
pub fn write_wait(bot: &BotClient) -> Option<Duration> {
    bot.aside(CallPurpose::Write)
        .max(bot.aside(CallPurpose::Post))
}
