//! Orphans: packs that an interrupted run posted and that no record names.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::pending_posts::{PendingPost, PendingPosts};
use crate::model::{ChannelId, MessageId, PackId, Timestamp};
use crate::remote::telegram::bots::messages::{ChannelMessage, IDS_AT_ONCE};
use crate::remote::telegram::channel::caption::{Caption, CaptionBody};
use crate::remote::telegram::channel::scan::ChannelHistory;
use crate::remote::{IsKnown, RemoteError};

/// Finder of orphans, which it deletes by the notes of earlier runs.
#[derive(Debug)]
pub struct OrphanedPacks {
    history: Arc<ChannelHistory>,
    pending: Arc<PendingPosts>,
    /// Start of this run. Older notes belong to an earlier run.
    started: Timestamp,
}

impl OrphanedPacks {
    /// Makes a finder of the orphans of runs before now.
    pub fn new(history: Arc<ChannelHistory>, pending: Arc<PendingPosts>) -> Self {
        Self {
            history,
            pending,
            started: Timestamp::now(),
        }
    }

    /// Reads the notes of earlier runs and deletes the messages of packs that are not known, since no read
    /// will ever ask for them. Returns the number of deleted messages.
    ///
    /// # Errors
    /// When a channel cannot be read now, or a message cannot be deleted.
    pub async fn delete(&self, is_known: &IsKnown) -> Result<u64, RemoteError> {
        let mut orphans: BTreeMap<ChannelId, Vec<PendingPost>> = BTreeMap::new();
        for pending in self.pending.all()? {
            if is_known(pending.pack)? {
                self.pending.remove(pending.pack)?;
            } else if pending.since < self.started {
                orphans.entry(pending.channel).or_default().push(pending);
            }
            // A pack of this run may still be named.
        }
        let mut deleted = 0;
        for (channel, orphans) in orphans {
            deleted += self.delete_in(channel, &orphans).await?;
            for orphan in orphans {
                self.pending.remove(orphan.pack)?;
            }
        }
        Ok(deleted)
    }

    async fn delete_in(
        &self,
        channel: ChannelId,
        orphans: &[PendingPost],
    ) -> Result<u64, RemoteError> {
        let found = self.find(channel, orphans).await?;
        if found.is_empty() {
            return Ok(0);
        }
        for (pack, post) in &found {
            tracing::info!(%pack, %post, "a pack that an earlier run left without a record is deleted");
        }
        let ids: Vec<MessageId> = found.values().copied().collect();
        let left = self.history.delete(channel, &ids).await?;
        Ok((ids.len() as u64).saturating_sub(left))
    }

    /// Finds the messages of earlier runs' notes. One scan finds all whose numbers are not known, because
    /// asking for the end of a channel costs a post.
    async fn find(
        &self,
        channel: ChannelId,
        orphans: &[PendingPost],
    ) -> Result<HashMap<PackId, MessageId>, RemoteError> {
        let mut found = HashMap::new();
        let mut see = |messages: Vec<ChannelMessage>| {
            for message in messages {
                if let Some(pack) = pack_of(&message)
                    && orphans.iter().any(|orphan| orphan.pack == pack)
                {
                    found.insert(pack, message.id);
                }
            }
        };
        let known: Vec<MessageId> = orphans.iter().filter_map(|orphan| orphan.message).collect();
        for ids in known.chunks(IDS_AT_ONCE) {
            let messages = self.history.messages_at(channel, ids).await?;
            see(messages.into_iter().flatten().collect());
        }
        let unknown = orphans.iter().filter(|orphan| orphan.message.is_none());
        if let Some(above) = unknown.map(|orphan| orphan.above).min() {
            let end = self.history.upper_end(channel).await?;
            see(self.history.scan(channel, above.next()..end).await?);
        }
        Ok(found)
    }
}

fn pack_of(message: &ChannelMessage) -> Option<PackId> {
    match Caption::read(&message.text)?.body {
        CaptionBody::Pack { id } => Some(id),
        _ => None,
    }
}
