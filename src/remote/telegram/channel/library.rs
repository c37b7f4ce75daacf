//! Which library a set of channels holds, and what can be removed from them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::caption::{Caption, CaptionBody};
use crate::model::{LibraryId, TelegramAddress, TombstonePolicy};
use crate::remote::retry::{Deadline, retry};
use crate::remote::telegram::bots::Member;
use crate::remote::telegram::bots::messages::{self, ChannelMessage, IDS_AT_ONCE};
use crate::remote::telegram::bots::rate_limit::PostPriority;
use crate::remote::telegram::mtproto::connection_pool::CallPurpose;
use crate::remote::telegram::packs::parts::{FileUpload, random_id};
use crate::remote::telegram::{BoundLibrary, Shared};
use crate::remote::{LibraryMark, Outlook, RemoteError, RemoteErrorKind};
use crate::sync::MutexExt as _;

/// A channel shows about its last million posts; from here on a warning says so
/// (docs/OPERATIONS.md).
pub const VISIBLE_POSTS: i32 = 1_000_000;
/// A post with fewer than this many to go before it is hidden is near the edge. At 20 posts a minute
/// that is three days and a half, without a pause.
const EDGE_POSTS: i32 = 100_000;
/// How long a wait to pin is waited out: without a pin the library is found all the same, slower.
const PIN_PATIENCE: Duration = Duration::from_secs(90);
/// Bytes in place of a pack that cannot be deleted any more.
const TOMBSTONE: &[u8] = b"tgfs: deleted";

/// What a library's posts say, the post of its mark (0: none), and the wrapped key in it.
type FoundLibrary = (Caption, i32, Option<Bytes>);

impl Shared {
    /// What was found or made; an error before.
    fn bound(&self) -> Result<BoundLibrary, RemoteError> {
        let bound = *self.bound.acquire();
        bound.ok_or_else(|| {
            RemoteError::new(
                RemoteErrorKind::Invalid,
                "use the channels",
                "it is not known yet which library they hold",
            )
        })
    }
    pub fn home(&self) -> Result<i64, RemoteError> {
        Ok(self.bound()?.home)
    }
    pub fn library(&self) -> Option<LibraryId> {
        let bound = *self.bound.acquire();
        bound.map(|bound| bound.library)
    }
    /// The post in the home channel that says which library this is; 0: not known.
    pub fn mark_post(&self) -> i32 {
        self.bound().map_or(0, |bound| bound.mark)
    }
    pub fn library_or_none(&self) -> LibraryId {
        self.bound()
            .map_or(LibraryId::from_bytes([0; 16]), |bound| bound.library)
    }
    pub fn home_or_none(&self) -> i64 {
        self.bound().map_or(0, |bound| bound.home)
    }
    fn bind(&self, bound: BoundLibrary) {
        *self.bound.acquire() = Some(bound);
    }

    pub fn caption(&self, body: CaptionBody) -> Result<Caption, RemoteError> {
        let bound = self.bound()?;
        Ok(Caption {
            library: bound.library,
            home: bound.home,
            body,
        })
    }

    /// Looks through the channels of all bots for the library that they hold. `None`: there surely is
    /// none in any of them.
    ///
    /// # ReadErrors
    /// [`RemoteErrorKind::Foreign`] when they hold two.
    pub async fn find_library(&self) -> Result<Option<LibraryMark>, RemoteError> {
        let channels = self.bots.channels().await?;
        let mut found: Option<(i64, Caption)> = None;
        let mut silent = Vec::new();
        for channel in channels {
            let Some((_, caption)) = self.pinned(channel).await? else {
                silent.push(channel);
                continue;
            };
            match &found {
                Some((other, known)) if known.library != caption.library => {
                    return Err(RemoteError::new(
                        RemoteErrorKind::Foreign,
                        "look for the library",
                        format!(
                            "channel -100{other} belongs to library {}, and channel -100{channel} to library {}: use the channels of one of them",
                            known.library, caption.library
                        ),
                    ));
                }
                Some(_) => {}
                None => found = Some((channel, caption)),
            }
        }
        let found = match found {
            Some((_, caption)) => {
                let (mark, wrap) = self.home_mark(&caption).await?;
                Some((caption, mark, wrap))
            }
            None => self.find_unpinned(&silent).await?,
        };
        let Some((caption, mark, wrap)) = found else {
            return Ok(None);
        };
        self.bind(BoundLibrary {
            library: caption.library,
            home: caption.home,
            mark,
        });
        Ok(Some(LibraryMark {
            id: caption.library,
            wrap,
        }))
    }

    /// A pin can be taken away by anybody who may pin: only the posts themselves say that there is
    /// nothing. Posts of another library can have been forwarded here, so that one counts which has
    /// its mark; with none, the newest.
    async fn find_unpinned(&self, channels: &[i64]) -> Result<Option<FoundLibrary>, RemoteError> {
        let mut unmarked = None;
        for channel in channels {
            let end = self.upper_end(*channel).await?;
            let mut passed = BTreeSet::new();
            while let Some(caption) = self.last_of_ours(*channel, 1..end, &passed).await? {
                passed.insert(caption.library);
                let (mark, wrap) = match self.home_mark(&caption).await {
                    Ok(found) => found,
                    Err(error) if error.is_retryable() => return Err(error),
                    Err(error) => {
                        unmarked.get_or_insert(Err(error));
                        continue;
                    }
                };
                if mark != 0 {
                    return Ok(Some((caption, mark, wrap)));
                }
                unmarked.get_or_insert(Ok((caption, mark, wrap)));
            }
        }
        unmarked.transpose()
    }

    /// The mark in the home channel that a caption names, and the wrapped key in it. Without a mark
    /// there is none: each object of the log holds the key as well.
    async fn home_mark(&self, known: &Caption) -> Result<(i32, Option<Bytes>), RemoteError> {
        let home = known.home;
        let of_library = |caption: &Caption| caption.library == known.library;
        let mut candidate = self
            .pinned(home)
            .await?
            .filter(|(_, found)| of_library(found));
        if let Some((_, caption)) = &candidate
            && let CaptionBody::Log(piece) = &caption.body
        {
            let post = self
                .messages_at(home, &[piece.mark.max(1)])
                .await?
                .pop()
                .flatten();
            let read = |post: ChannelMessage| Some((post.id, Caption::read(&post.text)?));
            candidate = post.and_then(read).filter(|(_, found)| of_library(found));
        }
        match candidate {
            Some((
                post,
                Caption {
                    body: CaptionBody::Library { wrap },
                    ..
                },
            )) => Ok((post, wrap)),
            _ => self.search_mark(known).await,
        }
    }

    /// Looks for the mark among all posts of the home channel: what is pinned is somebody else's.
    async fn search_mark(&self, known: &Caption) -> Result<(i32, Option<Bytes>), RemoteError> {
        let end = self.upper_end(known.home).await?;
        let ours = self.scan_ours(known.home, 1..end, known.library).await?;
        let mark = ours.into_iter().rev().find_map(|(post, body)| match body {
            CaptionBody::Library { wrap } => Some((post.id, wrap)),
            _ => None,
        });
        Ok(mark.unwrap_or((0, None)))
    }

    /// What the pinned post says, if it is one of ours.
    async fn pinned(&self, channel: i64) -> Result<Option<(i32, Caption)>, RemoteError> {
        let op = "read the pinned post";
        let pinned = self
            .bots
            .with_any(op, channel, |member, peer| async move {
                messages::pinned(&member.bot, peer).await
            })
            .await?;
        Ok(pinned.and_then(|post| Some((post.id, Caption::read(&post.text)?))))
    }

    /// Makes the channels the place of a library: a pinned post in each says so. The log's home is
    /// the channel of the first bot.
    pub async fn make_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        let channels = self.bots.channels().await?;
        let home = *channels.first().ok_or_else(|| {
            RemoteError::new(
                RemoteErrorKind::Invalid,
                "create the library",
                "there is no channel",
            )
        })?;
        let mut bound = BoundLibrary {
            library: mark.id,
            home,
            mark: 0,
        };
        bound.mark = self.mark(home, bound, mark.wrap.clone()).await?;
        self.bind(bound);
        for channel in channels.into_iter().skip(1) {
            self.mark(channel, bound, None).await?;
        }
        Ok(())
    }

    /// Another wrapped key for the same library.
    pub async fn change_mark(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        let op = "change the library's mark";
        let found = self.find_library().await?;
        if found.is_none_or(|found| found.id != mark.id) {
            let message = "the channels hold another library";
            return Err(RemoteError::new(RemoteErrorKind::Foreign, op, message));
        }
        let bound = self.bound()?;
        if bound.mark == 0 {
            let post = self.mark(bound.home, bound, mark.wrap.clone()).await?;
            self.bind(BoundLibrary {
                mark: post,
                ..bound
            });
            return Ok(());
        }
        let body = CaptionBody::Library {
            wrap: mark.wrap.clone(),
        };
        let text = &self.caption(body)?.to_string();
        self.rate_limiter.turn(bound.home, PostPriority::Log).await;
        self.bots
            .with_any(op, bound.home, |member, peer| async move {
                messages::edit(&member.bot, peer, bound.mark, text, None).await
            })
            .await
    }

    /// Posts and pins what says whose channel this is; the post's number.
    async fn mark(
        &self,
        channel: i64,
        bound: BoundLibrary,
        wrap: Option<Bytes>,
    ) -> Result<i32, RemoteError> {
        let text = &Caption {
            library: bound.library,
            home: bound.home,
            body: CaptionBody::Library { wrap },
        }
        .to_string();
        let random_id = random_id()?;
        self.rate_limiter.turn(channel, PostPriority::Log).await;
        let op = format!("post the library's mark in channel -100{channel}");
        let post = self
            .bots
            .with_any(&op, channel, |member, peer| async move {
                messages::send_text(&member.bot, peer, text, random_id).await
            })
            .await?;
        self.see(channel, post.id);
        let kept = self.keys.put(&mark_row(channel), &post.id.to_le_bytes());
        if let Err(error) = kept {
            tracing::warn!(%error, "where the library's mark is cannot be kept");
        }
        self.pin_mark(channel, post.id).await;
        Ok(post.id)
    }

    async fn pin_mark(&self, channel: i64, post: i32) {
        let pinning = || {
            let op = "pin the library's mark";
            self.bots.with_any(op, channel, |member, peer| async move {
                messages::pin(&member.bot, peer, post).await
            })
        };
        let pinned = retry(Deadline::after(PIN_PATIENCE), pinning).await;
        if let Err(error) = pinned {
            // It is found without, by scanning through the channel.
            tracing::warn!(%error, "the library's mark is not pinned; give a bot the right to pin messages, which makes recovery quicker");
        }
        self.marked().insert(channel);
    }

    /// The mark in a channel where something else is pinned. That of the home channel must be found
    /// again and not made anew: it holds the key.
    async fn known_mark(
        &self,
        channel: i64,
        bound: BoundLibrary,
    ) -> Result<Option<i32>, RemoteError> {
        if channel == bound.home && bound.mark != 0 {
            return Ok(Some(bound.mark));
        }
        let kept = self.keys.get(&mark_row(channel)).ok().flatten();
        let Some(post) = kept.and_then(|bytes| bytes.try_into().ok()) else {
            return Ok(None);
        };
        let post = i32::from_le_bytes(post);
        let found = self.messages_at(channel, &[post]).await?.pop().flatten();
        let caption = found.and_then(|post| Caption::read(&post.text));
        let is_mark = caption.is_some_and(|caption| {
            caption.library == bound.library && matches!(caption.body, CaptionBody::Library { .. })
        });
        Ok(is_mark.then_some(post))
    }

    /// The channel that a bot's next pack goes to: its own, until that one is nearly full.
    pub async fn channel_for_packs(&self, member: &Member) -> Result<i64, RemoteError> {
        let bot = &member.bot;
        let op = format!("look for the channel of bot {}", bot.number);
        let own = self
            .bots
            .channel_of(member)
            .await
            .map_err(|error| error.into_remote(op))?;
        if self.newest(own) == 0 {
            self.upper_end(own).await?;
        }
        let limit = i32::try_from(self.settings.rollover).unwrap_or(i32::MAX);
        let mut chosen = own;
        if self.newest(own) >= limit {
            let others = self.bots.channels().await?;
            let mut others: Vec<i64> = others
                .into_iter()
                .filter(|channel| self.newest(*channel) < limit)
                .filter(|channel| self.bots.may_enter(bot, *channel))
                .collect();
            others.sort_by_key(|channel| self.newest(*channel));
            match others.first() {
                Some(other) => chosen = *other,
                None => self.warn_full(own),
            }
        }
        self.join(chosen).await?;
        Ok(chosen)
    }

    /// Whether a post of ours is about to be hidden behind newer ones.
    pub async fn outlook_of(&self, post: TelegramAddress) -> Result<Outlook, RemoteError> {
        if self.newest(post.channel) == 0 {
            self.upper_end(post.channel).await?;
        }
        Ok(self.known_outlook(post))
    }

    /// The same where we cannot post, as far as is known.
    pub fn known_outlook(&self, post: TelegramAddress) -> Outlook {
        let behind = self.newest(post.channel).saturating_sub(post.message);
        match behind >= VISIBLE_POSTS - EDGE_POSTS {
            true => Outlook::Fading,
            false => Outlook::Lasting,
        }
    }

    fn warn_full(&self, channel: i64) {
        if self.warned().insert(channel) {
            tracing::warn!(
                posts = self.newest(channel),
                "channel -100{channel} has passed TGFS_ROLLOVER, and Telegram shows about the last {VISIBLE_POSTS} posts of a channel: make another one, add all bots to it, and give it to one of them as CHAT_ID_n; keep this one for the others"
            );
        }
    }

    /// Makes sure that a channel says whose it is before the first pack goes there.
    async fn join(&self, channel: i64) -> Result<(), RemoteError> {
        if self.marked().contains(&channel) {
            return Ok(());
        }
        let bound = self.bound()?;
        let _turn = self.joining.lock().await;
        if self.marked().contains(&channel) {
            return Ok(());
        }
        match self.pinned(channel).await?.map(|(_, caption)| caption) {
            Some(caption) if caption.library == bound.library => {
                self.marked().insert(channel);
                Ok(())
            }
            Some(caption) => Err(RemoteError::new(
                RemoteErrorKind::Foreign,
                format!("post in channel -100{channel}"),
                format!(
                    "it belongs to library {}, not to {}: give this bot another channel",
                    caption.library, bound.library
                ),
            )),
            None => match self.known_mark(channel, bound).await? {
                Some(post) => {
                    self.pin_mark(channel, post).await;
                    Ok(())
                }
                None => self.mark(channel, bound, None).await.map(drop),
            },
        }
    }

    /// Removes posts. What the service keeps (posts older than 48 hours, for bots) is counted.
    pub async fn delete_messages(&self, channel: i64, ids: &[i32]) -> Result<u64, RemoteError> {
        let mut left = 0;
        for ids in ids.chunks(IDS_AT_ONCE) {
            let asked = self
                .bots
                .with_any("delete posts", channel, |member, peer| async move {
                    match messages::delete(&member.bot, peer, ids).await {
                        // Too old, or another bot's: which of them stay is looked at below.
                        Err(error) if error.is("MESSAGE_DELETE_FORBIDDEN") => Ok(()),
                        outcome => outcome,
                    }
                })
                .await;
            let after = self.messages_at(channel, ids).await?;
            let stay = after.iter().flatten().count() as u64;
            // An error with nothing left to delete is none.
            if stay > 0 {
                asked?;
            }
            left += stay;
        }
        Ok(left)
    }

    /// Replaces what cannot be deleted any more by a few bytes, where that is asked for and it is not
    /// one bot's time that is needed for uploads.
    pub async fn bury(&self, channel: i64, post: i32) -> Result<(), RemoteError> {
        if self.settings.tombstones == TombstonePolicy::Leave {
            return Ok(());
        }
        {
            let mut last = self.last_tombstone.lock().await;
            if last.is_some_and(|at| at.elapsed() < crate::remote::telegram::TOMBSTONE_INTERVAL) {
                return Err(RemoteError::new(
                    RemoteErrorKind::RateLimited,
                    "blank a post that is too old to be deleted",
                    "one was blanked within the last minute",
                ));
            }
            *last = Some(tokio::time::Instant::now());
        }
        let text = &self.caption(CaptionBody::Tombstone)?.to_string();
        let bytes = &Bytes::from_static(TOMBSTONE);
        self.rate_limiter.turn(channel, PostPriority::Log).await;
        self.bots
            .with_any("blank an old post", channel, |member, peer| async move {
                let upload = FileUpload::new(bytes, "deleted.tgfs".into());
                let mut upload = upload.map_err(|error| unexpected(&error))?;
                match upload.send(&member.bot, bytes).await {
                    Ok(()) => {}
                    Err(crate::remote::telegram::packs::parts::UploadStop::Wait(wait)) => {
                        let seconds = wait.as_secs();
                        return Err(
                            crate::remote::telegram::mtproto::call_error::CallError::rpc(
                                420,
                                &format!("FLOOD_WAIT_{seconds}"),
                            ),
                        );
                    }
                    Err(crate::remote::telegram::packs::parts::UploadStop::Failed(error)) => {
                        return Err(unexpected(&error));
                    }
                }
                let file = upload.finished(bytes);
                messages::edit(&member.bot, peer, post, text, Some(&file)).await
            })
            .await
    }

    /// Bots that may post now, the least busy first.
    pub fn posters(&self) -> Vec<Arc<Member>> {
        let mut members: Vec<(bool, usize, Arc<Member>)> = self
            .bots
            .members()
            .iter()
            .enumerate()
            .map(|(place, member)| {
                let bot = &member.bot;
                let aside = bot.aside(CallPurpose::Post).is_some()
                    || bot.aside(CallPurpose::Write).is_some();
                (aside, self.slots.busy(place), Arc::clone(member))
            })
            .collect();
        members.sort_by_key(|(aside, busy, member)| (*aside, *busy, member.bot.number));
        members.into_iter().map(|(_, _, member)| member).collect()
    }
}

/// Under which the number of a channel's mark is kept.
fn mark_row(channel: i64) -> Vec<u8> {
    format!("mark/{channel}").into_bytes()
}

fn unexpected(error: &RemoteError) -> crate::remote::telegram::mtproto::call_error::CallError {
    crate::remote::telegram::mtproto::call_error::CallError::Disconnected(error.to_string())
}
