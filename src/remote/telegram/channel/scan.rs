//! History of channels. Bots cannot ask for it, but only for messages by number, so it is scanned.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::binding::LibraryBinding;
use super::caption::{Caption, CaptionBody};
use super::locations::DocumentLocations;
use crate::model::{ChannelId, LibraryId, MessageId};
use crate::remote::RemoteError;
use crate::remote::retry::{Deadline, retry};
use crate::remote::telegram::bots::Bots;
use crate::remote::telegram::bots::messages::{self, ChannelMessage, IDS_AT_ONCE};
use crate::remote::telegram::bots::random_id::random_id;
use crate::remote::telegram::bots::rate_limit::PostPriority;
use crate::remote::telegram::mtproto::rpc_error::RpcErrorName;
use crate::sync::MutexExt as _;

/// Time limit of retries of deleting a probe.
const DELETE_PATIENCE: Duration = Duration::from_secs(20);
/// Batches of 100 messages that are asked for side by side, over all bots.
const BATCHES: usize = 8;

/// Message of ours, with the content of its caption.
#[derive(Debug)]
pub struct OurMessage {
    /// The message.
    pub message: ChannelMessage,
    /// Its kind.
    pub body: CaptionBody,
}

/// Access to the messages of channels, by number.
#[derive(Debug)]
pub struct ChannelHistory {
    bots: Arc<Bots>,
    binding: Arc<LibraryBinding>,
    locations: Arc<DocumentLocations>,
    /// The highest number seen in each channel.
    newest: Mutex<HashMap<ChannelId, MessageId>>,
}

impl ChannelHistory {
    /// Makes a history of which nothing has been seen. `locations` learns the documents that are seen.
    pub fn new(
        bots: Arc<Bots>,
        binding: Arc<LibraryBinding>,
        locations: Arc<DocumentLocations>,
    ) -> Self {
        Self {
            bots,
            binding,
            locations,
            newest: Mutex::default(),
        }
    }

    /// Returns the highest number known to have been given in `channel`.
    pub fn newest(&self, channel: ChannelId) -> Option<MessageId> {
        self.newest.acquire().get(&channel).copied()
    }

    /// Notes that a message with this number was seen.
    pub fn see(&self, channel: ChannelId, message: MessageId) {
        let mut newest = self.newest.acquire();
        let highest = newest.entry(channel).or_insert(message);
        *highest = (*highest).max(message);
    }

    /// Returns the highest number known to have been given. Asks the service when none is known.
    ///
    /// # Errors
    /// See [`Self::upper_end`].
    pub async fn newest_or_ask(&self, channel: ChannelId) -> Result<MessageId, RemoteError> {
        match self.newest(channel) {
            Some(newest) => Ok(newest),
            None => self.upper_end(channel).await,
        }
    }

    /// Returns a number above that of every message. It is the number of a probe, which is posted and
    /// deleted again. A run of numbers without messages proves nothing, since a deleted series leaves tens
    /// of thousands.
    ///
    /// # Errors
    /// When no bot may post in the channel.
    pub async fn upper_end(&self, channel: ChannelId) -> Result<MessageId, RemoteError> {
        let text = &self.binding.probe();
        let random_id = random_id()?;
        self.bots.wait_to_post(channel, PostPriority::Log).await;
        let op = "look how far a channel goes";
        let probe = self
            .bots
            .with_any(op, channel, |member, peer| async move {
                messages::send_text(&member.bot, peer, text, random_id).await
            })
            .await?;
        self.see(channel, probe.id);
        let deleting = || {
            let op = "delete a probe";
            self.bots.with_any(op, channel, |member, peer| async move {
                messages::delete(&member.bot, peer, &[probe.id]).await
            })
        };
        let deleted = retry(Deadline::after(DELETE_PATIENCE), deleting).await;
        if let Err(error) = deleted {
            // Its caption says that it is a probe, so it does no harm.
            tracing::warn!(%error, post = %probe.id, "a probe stays in the channel");
        }
        Ok(probe.id)
    }

    /// Reads messages by number with any bot; `None` for a message that does not exist, or no longer.
    ///
    /// # Errors
    /// When no bot can read the channel now.
    pub async fn messages_at(
        &self,
        channel: ChannelId,
        ids: &[MessageId],
    ) -> Result<Vec<Option<ChannelMessage>>, RemoteError> {
        let op = "read messages of a channel";
        self.bots
            .with_any(op, channel, |member, peer| async move {
                let found = messages::get(&member.bot, peer, ids).await?;
                for message in found.iter().flatten() {
                    // The answer saves the bot a question later.
                    if let Some(document) = &message.document {
                        let document = document.clone();
                        self.locations
                            .keep(member.bot.id, channel, message.id, document);
                    }
                }
                Ok(found)
            })
            .await
    }

    /// Reads one message.
    ///
    /// # Errors
    /// See [`Self::messages_at`].
    pub async fn message_at(
        &self,
        channel: ChannelId,
        id: MessageId,
    ) -> Result<Option<ChannelMessage>, RemoteError> {
        Ok(self.messages_at(channel, &[id]).await?.pop().flatten())
    }

    /// Reads the pinned message.
    ///
    /// # Errors
    /// See [`Self::messages_at`].
    pub async fn pinned(&self, channel: ChannelId) -> Result<Option<ChannelMessage>, RemoteError> {
        let op = "read the pinned message";
        self.bots
            .with_any(op, channel, |member, peer| async move {
                messages::pinned(&member.bot, peer).await
            })
            .await
    }

    /// Reads all messages with numbers in `range`, ascending.
    ///
    /// # Errors
    /// See [`Self::messages_at`].
    pub async fn scan(
        &self,
        channel: ChannelId,
        range: Range<MessageId>,
    ) -> Result<Vec<ChannelMessage>, RemoteError> {
        // Made one by one: a service that names an absurd number must not fill the memory with numbers.
        let mut batches = stream::iter(batches(&range))
            .map(|ids| async move { self.messages_at(channel, &ids).await })
            .buffered(BATCHES);
        let mut found = Vec::new();
        while let Some(messages) = batches.try_next().await? {
            found.extend(messages.into_iter().flatten());
        }
        Ok(found)
    }

    /// Reads the messages of `library` in `range`, ascending.
    ///
    /// # Errors
    /// See [`Self::messages_at`].
    pub async fn scan_ours(
        &self,
        channel: ChannelId,
        range: Range<MessageId>,
        library: LibraryId,
    ) -> Result<Vec<OurMessage>, RemoteError> {
        let found = self.scan(channel, range).await?;
        let ours = found.into_iter().filter_map(|message| {
            let Caption {
                library: of, body, ..
            } = Caption::read(&message.text)?;
            (of == library).then_some(OurMessage { message, body })
        });
        Ok(ours.collect())
    }

    /// Returns the last caption in `range` of any library that is not in `passed`.
    ///
    /// # Errors
    /// See [`Self::messages_at`].
    pub async fn last_of_ours(
        &self,
        channel: ChannelId,
        range: Range<MessageId>,
        passed: &BTreeSet<LibraryId>,
    ) -> Result<Option<Caption>, RemoteError> {
        let mut found = stream::iter(batches(&range).rev())
            .map(|ids| async move { self.messages_at(channel, &ids).await })
            .buffered(BATCHES);
        while let Some(messages) = found.next().await {
            let captions = messages?.into_iter().flatten().rev();
            let mut captions = captions.filter_map(|message| Caption::read(&message.text));
            // A probe says nothing. One may be left from the time before there was a library.
            let counts = |caption: &Caption| {
                caption.body != CaptionBody::Probe && !passed.contains(&caption.library)
            };
            if let Some(caption) = captions.find(counts) {
                return Ok(Some(caption));
            }
        }
        Ok(None)
    }

    /// Deletes messages. Returns the number that the service keeps: bots cannot delete messages older than
    /// 48 hours.
    ///
    /// # Errors
    /// When messages stay because no bot could ask.
    pub async fn delete(&self, channel: ChannelId, ids: &[MessageId]) -> Result<u64, RemoteError> {
        let mut left = 0;
        for ids in ids.chunks(IDS_AT_ONCE) {
            let deleted = self
                .bots
                .with_any("delete messages", channel, |member, peer| async move {
                    match messages::delete(&member.bot, peer, ids).await {
                        // They are too old, or another bot's. The messages that stay are determined below.
                        Err(error) if error.is(&RpcErrorName::MessageDeleteForbidden) => Ok(()),
                        outcome => outcome,
                    }
                })
                .await;
            let after = self.messages_at(channel, ids).await?;
            let stay = after.iter().flatten().count() as u64;
            // An error is none when nothing is left to delete.
            if stay > 0 {
                deleted?;
            }
            left += stay;
        }
        Ok(left)
    }
}

fn batches(range: &Range<MessageId>) -> impl DoubleEndedIterator<Item = Vec<MessageId>> + use<> {
    let (start, end) = (range.start.get(), range.end.get());
    (start..end).step_by(IDS_AT_ONCE).map(move |first| {
        let batch = (first..end).take(IDS_AT_ONCE);
        batch.map(MessageId::new).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_cover_a_range_once() {
        let range = MessageId::new(5)..MessageId::new(230);
        let all: Vec<i32> = batches(&range).flatten().map(MessageId::get).collect();
        assert_eq!(all, (5..230).collect::<Vec<_>>());
        assert!(batches(&range).all(|batch| batch.len() <= IDS_AT_ONCE));
        assert_eq!(batches(&(MessageId::new(5)..MessageId::new(5))).count(), 0);
    }
}
