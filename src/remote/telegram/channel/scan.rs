//! Walking through a channel: bots cannot ask for its history, only for posts by number.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::caption::{Caption, CaptionBody};
use crate::model::LibraryId;
use crate::remote::RemoteError;
use crate::remote::retry::{Deadline, retry};
use crate::remote::telegram::Shared;
use crate::remote::telegram::bots::messages::{self, ChannelMessage, IDS_AT_ONCE};
use crate::remote::telegram::bots::rate_limit::PostPriority;
use crate::remote::telegram::packs::parts::random_id;

/// How long a wait to delete a probe is waited out.
const DELETE_PATIENCE: Duration = Duration::from_secs(20);
/// Batches of 100 posts asked for side by side, over all bots.
const BATCHES: usize = 8;

impl Shared {
    /// The highest number that is known to have been given in `channel`; 0: none.
    pub fn newest(&self, channel: i64) -> i32 {
        let newest = self.newest_messages();
        newest.get(&channel).copied().unwrap_or(0)
    }

    /// Notes that a post with this number was there.
    pub fn see(&self, channel: i64, post: i32) {
        let mut newest = self.newest_messages();
        let highest = newest.entry(channel).or_default();
        *highest = (*highest).max(post);
    }

    /// A number above that of every post that is there now: that of a post made for it, and deleted
    /// again. A run of numbers without posts says nothing: a deleted series leaves tens of thousands.
    pub async fn upper_end(&self, channel: i64) -> Result<i32, RemoteError> {
        let text = &Caption {
            library: self.library_or_none(),
            home: self.home_or_none(),
            body: CaptionBody::Probe,
        }
        .to_string();
        let random_id = random_id()?;
        self.rate_limiter.turn(channel, PostPriority::Log).await;
        let post = self
            .bots
            .with_any(
                "look how far a channel goes",
                channel,
                |member, peer| async move {
                    messages::send_text(&member.bot, peer, text, random_id).await
                },
            )
            .await?;
        self.see(channel, post.id);
        let deleting = || {
            let op = "delete a probe";
            self.bots.with_any(op, channel, |member, peer| async move {
                messages::delete(&member.bot, peer, &[post.id]).await
            })
        };
        let deleted = retry(Deadline::after(DELETE_PATIENCE), deleting).await;
        if let Err(error) = deleted {
            // It says of itself what it is, and harms nothing.
            tracing::warn!(%error, post = post.id, "a probe stays in the channel");
        }
        Ok(post.id)
    }

    /// Posts by number, `None` where there is none (any more). Any member of the channel asks.
    pub async fn messages_at(
        &self,
        channel: i64,
        ids: &[i32],
    ) -> Result<Vec<Option<ChannelMessage>>, RemoteError> {
        self.bots
            .with_any(
                "read posts of a channel",
                channel,
                |member, peer| async move {
                    let found = messages::get(&member.bot, peer, ids).await?;
                    for post in found.iter().flatten() {
                        // What one bot was told spares it a question later.
                        if let Some(document) = &post.document {
                            let document = Some(document.clone());
                            self.locations
                                .keep(member.bot.id, channel, post.id, document);
                        }
                    }
                    Ok(found)
                },
            )
            .await
    }

    /// All posts with numbers in `range`, ascending.
    pub async fn scan(
        &self,
        channel: i64,
        range: Range<i32>,
    ) -> Result<Vec<ChannelMessage>, RemoteError> {
        let batches: Vec<Vec<i32>> = batches(&range).collect();
        let found: Vec<Vec<Option<ChannelMessage>>> = stream::iter(batches)
            .map(|ids| async move { self.messages_at(channel, &ids).await })
            .buffered(BATCHES)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().flatten().collect())
    }

    /// Our posts of `library` in `range` with what they say, ascending.
    pub async fn scan_ours(
        &self,
        channel: i64,
        range: Range<i32>,
        library: LibraryId,
    ) -> Result<Vec<(ChannelMessage, CaptionBody)>, RemoteError> {
        let posts = self.scan(channel, range).await?;
        let ours = posts.into_iter().filter_map(|post| {
            let caption = Caption::read(&post.text)?;
            (caption.library == library).then_some((post, caption.body))
        });
        Ok(ours.collect())
    }

    /// The first post of any library in `range` but those that were `passed`, going back from its
    /// end.
    pub async fn last_of_ours(
        &self,
        channel: i64,
        range: Range<i32>,
        passed: &BTreeSet<LibraryId>,
    ) -> Result<Option<Caption>, RemoteError> {
        let batches: Vec<Vec<i32>> = batches(&range).collect();
        let mut found = stream::iter(batches.into_iter().rev())
            .map(|ids| async move { self.messages_at(channel, &ids).await })
            .buffered(BATCHES);
        while let Some(posts) = found.next().await {
            let captions = posts?.into_iter().flatten().rev();
            let mut captions = captions.filter_map(|post| Caption::read(&post.text));
            // Probes say nothing: one may be left from before there was a library.
            let counts = |caption: &Caption| {
                caption.body != CaptionBody::Probe && !passed.contains(&caption.library)
            };
            if let Some(caption) = captions.find(counts) {
                return Ok(Some(caption));
            }
        }
        Ok(None)
    }
}

fn batches(range: &Range<i32>) -> impl Iterator<Item = Vec<i32>> + use<> {
    let end = range.end;
    (range.start..end)
        .step_by(IDS_AT_ONCE)
        .map(move |first| (first..end).take(IDS_AT_ONCE).collect())
}
