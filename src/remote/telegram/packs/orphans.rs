//! Posts that a crash left: made, and never named by a record.

use std::collections::{BTreeMap, HashMap};

use super::pending_posts::PendingPostV1;
use crate::model::PackId;
use crate::remote::telegram::Shared;
use crate::remote::telegram::bots::messages::{ChannelMessage, IDS_AT_ONCE};
use crate::remote::telegram::channel::caption::{Caption, CaptionBody};
use crate::remote::{IsKnown, RemoteError};

impl Shared {
    /// Goes through the notes of earlier runs. A pack that is known needs its note no more; the post
    /// of any other one is a spare copy that no read will ever ask for, and is deleted.
    pub async fn delete_unnamed(&self, is_known: &IsKnown) -> Result<u64, RemoteError> {
        let mut orphans: BTreeMap<i64, Vec<PendingPostV1>> = BTreeMap::new();
        for pending in self.pending_posts.all()? {
            if is_known(pending.pack)? {
                self.pending_posts.remove(pending.pack)?;
            } else if pending.since < self.started {
                orphans.entry(pending.channel).or_default().push(pending);
            }
            // One of this run may still be named.
        }
        let mut deleted = 0;
        for (channel, pending_posts) in orphans {
            deleted += self.delete_orphans(channel, &pending_posts).await?;
            for pending in pending_posts {
                self.pending_posts.remove(pending.pack)?;
            }
        }
        Ok(deleted)
    }

    async fn delete_orphans(
        &self,
        channel: i64,
        pending_posts: &[PendingPostV1],
    ) -> Result<u64, RemoteError> {
        let found = self.find_all_pending(channel, pending_posts).await?;
        if found.is_empty() {
            return Ok(0);
        }
        for (pack, post) in &found {
            tracing::info!(%pack, post, "a pack that an earlier run left without a record is deleted");
        }
        let ids: Vec<i32> = found.values().copied().collect();
        let left = self.delete_messages(channel, &ids).await?;
        Ok((ids.len() as u64).saturating_sub(left))
    }

    /// The posts of earlier runs' pending_posts. Where the number is not known, one scan finds all: each
    /// end of a channel that is asked for is a post.
    async fn find_all_pending(
        &self,
        channel: i64,
        pending_posts: &[PendingPostV1],
    ) -> Result<HashMap<PackId, i32>, RemoteError> {
        let mut found = HashMap::new();
        let mut see = |posts: Vec<ChannelMessage>| {
            for post in posts {
                if let Some(pack) = pack_of(&post)
                    && pending_posts.iter().any(|pending| pending.pack == pack)
                {
                    found.insert(pack, post.id);
                }
            }
        };
        let known: Vec<i32> = pending_posts.iter().map(|pending| pending.post).collect();
        let known: Vec<i32> = known.into_iter().filter(|post| *post != 0).collect();
        for ids in known.chunks(IDS_AT_ONCE) {
            let posts = self.messages_at(channel, ids).await?;
            see(posts.into_iter().flatten().collect());
        }
        let unknown = pending_posts.iter().filter(|pending| pending.post == 0);
        if let Some(above) = unknown.map(|pending| pending.above).min() {
            let end = self.upper_end(channel).await?;
            see(self.scan(channel, above.saturating_add(1)..end).await?);
        }
        Ok(found)
    }
}

fn pack_of(post: &ChannelMessage) -> Option<PackId> {
    match Caption::read(&post.text)?.body {
        CaptionBody::Pack { id } => Some(id),
        _ => None,
    }
}
