//! Library marks: the pinned messages that say which library a channel belongs to.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::binding::{BoundLibrary, LibraryBinding};
use super::caption::{Caption, CaptionBody};
use super::find_library::{FoundLibrary, LibraryFinder, ReadCaption};
use super::scan::ChannelHistory;
use crate::model::{ChannelId, KeyStore, MessageId};
use crate::remote::retry::{Deadline, retry};
use crate::remote::telegram::bots::Bots;
use crate::remote::telegram::bots::messages;
use crate::remote::telegram::bots::random_id::random_id;
use crate::remote::telegram::bots::rate_limit::PostPriority;
use crate::remote::{LibraryMark, RemoteError, RemoteErrorKind};
use crate::sync::MutexExt as _;

/// Time limit of retries of pinning. Without a pin the library is still found, but more slowly.
const PIN_PATIENCE: Duration = Duration::from_secs(90);

/// Marks in the channels of all bots.
#[derive(Debug)]
pub struct LibraryMarks {
    bots: Arc<Bots>,
    binding: Arc<LibraryBinding>,
    history: Arc<ChannelHistory>,
    finder: LibraryFinder,
    keys: Arc<dyn KeyStore>,
    /// Channels that are known to have a mark.
    marked: Mutex<BTreeSet<ChannelId>>,
    /// Lets one channel be marked at a time.
    joining: tokio::sync::Mutex<()>,
}

impl LibraryMarks {
    /// Makes the marks, none of which is known. `keys` keeps their numbers over restarts.
    pub fn new(
        bots: Arc<Bots>,
        binding: Arc<LibraryBinding>,
        history: Arc<ChannelHistory>,
        keys: Arc<dyn KeyStore>,
    ) -> Self {
        Self {
            finder: LibraryFinder::new(Arc::clone(&bots), Arc::clone(&history), Arc::clone(&keys)),
            bots,
            binding,
            history,
            keys,
            marked: Mutex::default(),
            joining: tokio::sync::Mutex::default(),
        }
    }

    /// Finds the library that the channels hold, and binds it. Returns `None` when there surely is none.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Foreign`] when they hold two.
    pub async fn find(&self) -> Result<Option<LibraryMark>, RemoteError> {
        let Some(FoundLibrary {
            library,
            home,
            mark,
            wrap,
        }) = self.finder.find().await?
        else {
            return Ok(None);
        };
        self.binding.bind(BoundLibrary {
            library,
            home,
            mark,
        });
        Ok(Some(LibraryMark { id: library, wrap }))
    }

    /// Makes the channels the place of a library by marking each of them. The log's home is the channel of
    /// the first bot.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Foreign`] when they hold one already.
    pub async fn create(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        let op = "create the library";
        if self.find().await?.is_some() {
            let message = "the channels hold one already";
            return Err(RemoteError::new(RemoteErrorKind::Foreign, op, message));
        }
        let channels = self.bots.channels().await?;
        let home = *channels.first().ok_or_else(|| {
            RemoteError::new(RemoteErrorKind::Invalid, op, "no bot has a channel")
        })?;
        let mut bound = BoundLibrary {
            library: mark.id,
            home,
            mark: None,
        };
        bound.mark = Some(self.mark(home, bound, mark.wrap.clone()).await?);
        self.binding.bind(bound);
        for channel in channels.into_iter().skip(1) {
            self.mark(channel, bound, None).await?;
        }
        Ok(())
    }

    /// Replaces the wrapped key of the library.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Foreign`] when the channels hold another library.
    pub async fn change(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        let op = "change the library's mark";
        let found = self.find().await?;
        if found.is_none_or(|found| found.id != mark.id) {
            let message = "the channels hold another library";
            return Err(RemoteError::new(RemoteErrorKind::Foreign, op, message));
        }
        let bound = self.binding.bound()?;
        let Some(known) = bound.mark else {
            let made = self.mark(bound.home, bound, mark.wrap.clone()).await?;
            self.binding.bind(BoundLibrary {
                mark: Some(made),
                ..bound
            });
            return Ok(());
        };
        let body = CaptionBody::Library {
            wrap: mark.wrap.clone(),
        };
        let text = &bound.caption(body).to_string();
        self.bots.wait_to_post(bound.home, PostPriority::Log).await;
        self.bots
            .with_any(op, bound.home, |member, peer| async move {
                messages::edit(&member.bot, peer, known, text, None).await
            })
            .await
    }

    /// Makes sure that a channel has a mark before the first pack goes there.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Foreign`] when it belongs to another library.
    pub async fn join(&self, channel: ChannelId) -> Result<(), RemoteError> {
        if self.is_marked(channel) {
            return Ok(());
        }
        let bound = self.binding.bound()?;
        let _joining = self.joining.lock().await;
        if self.is_marked(channel) {
            return Ok(());
        }
        match self.finder.pinned(channel).await? {
            Some(ReadCaption { caption, .. }) if caption.library == bound.library => {
                self.marked.acquire().insert(channel);
                Ok(())
            }
            Some(ReadCaption { caption, .. }) => Err(RemoteError::new(
                RemoteErrorKind::Foreign,
                format!("post in channel {channel}"),
                format!(
                    "it belongs to library {}, not to {}: give this bot another channel",
                    caption.library, bound.library
                ),
            )),
            None => match self.known_mark(channel, bound).await? {
                Some(mark) => {
                    self.pin(channel, mark).await;
                    Ok(())
                }
                None => self.mark(channel, bound, None).await.map(drop),
            },
        }
    }

    fn is_marked(&self, channel: ChannelId) -> bool {
        self.marked.acquire().contains(&channel)
    }

    /// Posts and pins a mark, and returns its number.
    async fn mark(
        &self,
        channel: ChannelId,
        bound: BoundLibrary,
        wrap: Option<Bytes>,
    ) -> Result<MessageId, RemoteError> {
        let text = &bound.caption(CaptionBody::Library { wrap }).to_string();
        let random_id = random_id()?;
        self.bots.wait_to_post(channel, PostPriority::Log).await;
        let op = format!("post the library's mark in channel {channel}");
        let mark = self
            .bots
            .with_any(&op, channel, |member, peer| async move {
                messages::send_text(&member.bot, peer, text, random_id).await
            })
            .await?;
        self.history.see(channel, mark.id);
        self.finder.keep_home(channel, bound.library, bound.home);
        let number = mark.id.get().to_le_bytes();
        if let Err(error) = self.keys.put(&mark_row(channel), &number) {
            tracing::warn!(%error, "the number of the library's mark cannot be kept");
        }
        self.pin(channel, mark.id).await;
        Ok(mark.id)
    }

    async fn pin(&self, channel: ChannelId, mark: MessageId) {
        let pinning = || {
            let op = "pin the library's mark";
            self.bots.with_any(op, channel, |member, peer| async move {
                messages::pin(&member.bot, peer, mark).await
            })
        };
        let pinned = retry(Deadline::after(PIN_PATIENCE), pinning).await;
        if let Err(error) = pinned {
            // A scan of the channel finds the mark without a pin.
            tracing::warn!(%error, "the library's mark is not pinned; give a bot the right to pin messages, which makes recovery quicker");
        }
        self.marked.acquire().insert(channel);
    }

    /// Returns the mark of a channel where something else is pinned. The mark of the home channel must be
    /// found again and not made anew, because it holds the key.
    async fn known_mark(
        &self,
        channel: ChannelId,
        bound: BoundLibrary,
    ) -> Result<Option<MessageId>, RemoteError> {
        if channel == bound.home && bound.mark.is_some() {
            return Ok(bound.mark);
        }
        let kept = self.keys.get(&mark_row(channel)).ok().flatten();
        let Some(kept) = kept.and_then(|bytes| bytes.try_into().ok()) else {
            return Ok(None);
        };
        let mark = MessageId::new(i32::from_le_bytes(kept));
        let found = self.history.message_at(channel, mark).await?;
        let caption = found.and_then(|message| Caption::read(&message.text));
        let is_mark = caption.is_some_and(|caption| {
            caption.library == bound.library && matches!(caption.body, CaptionBody::Library { .. })
        });
        Ok(is_mark.then_some(mark))
    }
}

/// Returns the row of the number of a channel's mark; the name is frozen.
fn mark_row(channel: ChannelId) -> Vec<u8> {
    format!("mark/{}", channel.get()).into_bytes()
}
