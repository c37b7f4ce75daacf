//! Posts that a crash left: made, and never named by a record.

use std::collections::{BTreeMap, HashMap};

use super::pending_posts::DispatchV1;
use crate::model::PackId;
use crate::remote::telegram::Shared;
use crate::remote::telegram::bots::messages::{IDS_AT_ONCE, Post};
use crate::remote::telegram::channel::caption::{Body, Caption};
use crate::remote::{IsKnown, RemoteError};

impl Shared {
    /// Goes through the notes of earlier runs. A pack that is known needs its note no more; the post
    /// of any other one is a spare copy that no read will ever ask for, and is deleted.
    pub async fn delete_unnamed(&self, is_known: &IsKnown) -> Result<u64, RemoteError> {
        let mut spare: BTreeMap<i64, Vec<DispatchV1>> = BTreeMap::new();
        for dispatch in self.dispatches.all()? {
            if is_known(dispatch.pack)? {
                self.dispatches.remove(dispatch.pack)?;
            } else if dispatch.since < self.started {
                spare.entry(dispatch.channel).or_default().push(dispatch);
            }
            // One of this run may still be named.
        }
        let mut deleted = 0;
        for (channel, dispatches) in spare {
            deleted += self.delete_spare(channel, &dispatches).await?;
            for dispatch in dispatches {
                self.dispatches.remove(dispatch.pack)?;
            }
        }
        Ok(deleted)
    }

    async fn delete_spare(
        &self,
        channel: i64,
        dispatches: &[DispatchV1],
    ) -> Result<u64, RemoteError> {
        let found = self.find_all_dispatched(channel, dispatches).await?;
        if found.is_empty() {
            return Ok(0);
        }
        for (pack, post) in &found {
            tracing::info!(%pack, post, "a pack that an earlier run left without a record is deleted");
        }
        let ids: Vec<i32> = found.values().copied().collect();
        let left = self.delete_posts(channel, &ids).await?;
        Ok((ids.len() as u64).saturating_sub(left))
    }

    /// The posts of earlier runs' dispatches. Where the number is not known, one walk finds all: each
    /// end of a channel that is asked for is a post.
    async fn find_all_dispatched(
        &self,
        channel: i64,
        dispatches: &[DispatchV1],
    ) -> Result<HashMap<PackId, i32>, RemoteError> {
        let mut found = HashMap::new();
        let mut see = |posts: Vec<Post>| {
            for post in posts {
                if let Some(pack) = pack_of(&post)
                    && dispatches.iter().any(|dispatch| dispatch.pack == pack)
                {
                    found.insert(pack, post.id);
                }
            }
        };
        let known: Vec<i32> = dispatches.iter().map(|dispatch| dispatch.post).collect();
        let known: Vec<i32> = known.into_iter().filter(|post| *post != 0).collect();
        for ids in known.chunks(IDS_AT_ONCE) {
            let posts = self.posts_at(channel, ids).await?;
            see(posts.into_iter().flatten().collect());
        }
        let unknown = dispatches.iter().filter(|dispatch| dispatch.post == 0);
        if let Some(above) = unknown.map(|dispatch| dispatch.above).min() {
            let end = self.upper_end(channel).await?;
            see(self.walk(channel, above.saturating_add(1)..end).await?);
        }
        Ok(found)
    }
}

fn pack_of(post: &Post) -> Option<PackId> {
    match Caption::read(&post.text)?.body {
        Body::Pack { id } => Some(id),
        _ => None,
    }
}
