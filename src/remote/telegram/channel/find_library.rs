//! Search for the library that a set of channels holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::caption::{Caption, CaptionBody};
use super::scan::ChannelHistory;
use crate::model::{ChannelId, KeyStore, LibraryId, MessageId};
use crate::remote::telegram::bots::Bots;
use crate::remote::{RemoteError, RemoteErrorKind};

/// Library that was found.
#[derive(Debug, Clone)]
pub struct FoundLibrary {
    /// Its id.
    pub library: LibraryId,
    /// Channel that holds its log.
    pub home: ChannelId,
    /// Its mark in `home`.
    pub mark: Option<MessageId>,
    /// Wrapped key of an encrypted library, as the mark says it.
    pub wrap: Option<Bytes>,
}

/// Caption of one message.
#[derive(Debug)]
pub struct ReadCaption {
    /// The message.
    pub message: MessageId,
    /// The caption that its text holds.
    pub caption: Caption,
}

/// Mark in the home channel. Without a mark, each object of the log holds the key as well.
#[derive(Debug, Default)]
struct HomeMark {
    message: Option<MessageId>,
    wrap: Option<Bytes>,
}

/// Home channels that this state knows. Whoever may write to a channel can pin a mark there that names a channel of
/// their own as home; the log would be read there, and be written there with all names.
#[derive(Debug)]
struct KnownHomes(Arc<dyn KeyStore>);

impl KnownHomes {
    /// Returns the caption with the home that is known for its library.
    fn correct(&self, channel: ChannelId, caption: Caption) -> Result<Caption, RemoteError> {
        let kept = self.0.get(&home_row(channel, caption.library));
        let kept = kept.map_err(|error| {
            let op = "look for the library";
            RemoteError::new(RemoteErrorKind::Unavailable, op, error.to_string())
        })?;
        let Some(bytes) = kept.and_then(|bytes| bytes.try_into().ok()) else {
            return Ok(caption);
        };
        let home = ChannelId::new(i64::from_le_bytes(bytes));
        if home != caption.home {
            tracing::warn!(
                "somebody changed the library's mark in channel {channel}: it names channel {} as the place of \
                 the log, which is in channel {home}. The log in channel {home} is used",
                caption.home
            );
        }
        Ok(Caption { home, ..caption })
    }

    fn keep(&self, channel: ChannelId, library: LibraryId, home: ChannelId) {
        let row = home_row(channel, library);
        if matches!(self.0.get(&row), Ok(Some(_))) {
            return;
        }
        if let Err(error) = self.0.put(&row, &home.get().to_le_bytes()) {
            tracing::warn!(%error, "the channel of the library's log cannot be kept");
        }
    }
}

/// Returns the row of the home of a library that a channel holds; the name is frozen.
fn home_row(channel: ChannelId, library: LibraryId) -> Vec<u8> {
    format!("home/{}/{library}", channel.get()).into_bytes()
}

/// Search over the channels of all bots.
#[derive(Debug)]
pub struct LibraryFinder {
    bots: Arc<Bots>,
    history: Arc<ChannelHistory>,
    homes: KnownHomes,
}

impl LibraryFinder {
    /// Makes a search over the channels of `bots`. `keys` keeps the homes that it found.
    pub fn new(bots: Arc<Bots>, history: Arc<ChannelHistory>, keys: Arc<dyn KeyStore>) -> Self {
        Self {
            bots,
            history,
            homes: KnownHomes(keys),
        }
    }

    /// Keeps the home of a library whose mark is in a channel.
    pub fn keep_home(&self, channel: ChannelId, library: LibraryId, home: ChannelId) {
        self.homes.keep(channel, library, home);
    }

    /// Searches the channels of all bots: the pinned messages first, then all others. Returns `None` when
    /// there surely is no library in any of them.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Foreign`] when they hold two.
    pub async fn find(&self) -> Result<Option<FoundLibrary>, RemoteError> {
        let mut found: Option<(ChannelId, Caption)> = None;
        let mut unpinned = Vec::new();
        for channel in self.bots.channels().await? {
            let Some(ReadCaption { caption, .. }) = self.pinned(channel).await? else {
                unpinned.push(channel);
                continue;
            };
            match &found {
                Some((other, known)) if known.library != caption.library => {
                    return Err(RemoteError::new(
                        RemoteErrorKind::Foreign,
                        "look for the library",
                        format!(
                            "channel {other} belongs to library {}, and channel {channel} to library {}: use the channels of one of them",
                            known.library, caption.library
                        ),
                    ));
                }
                Some(_) => {}
                None => found = Some((channel, caption)),
            }
        }
        match found {
            Some((channel, caption)) => {
                let caption = self.homes.correct(channel, caption)?;
                let mark = self.home_mark(&caption).await?;
                let found = found_library(&caption, mark);
                self.keep_home(channel, found.library, found.home);
                Ok(Some(found))
            }
            None => self.find_unpinned(&unpinned).await,
        }
    }

    /// Reads the caption of the pinned message, if it is ours.
    ///
    /// # Errors
    /// When no bot can read the channel now.
    pub async fn pinned(&self, channel: ChannelId) -> Result<Option<ReadCaption>, RemoteError> {
        let pinned = self.history.pinned(channel).await?;
        Ok(pinned.and_then(|message| {
            Some(ReadCaption {
                message: message.id,
                caption: Caption::read(&message.text)?,
            })
        }))
    }

    /// Searches all messages, since anybody who may pin can take a pin away. Messages of another library
    /// can have been forwarded here. A library with its mark therefore counts; without any mark, the
    /// newest library counts.
    async fn find_unpinned(
        &self,
        channels: &[ChannelId],
    ) -> Result<Option<FoundLibrary>, RemoteError> {
        let mut unmarked = None;
        for channel in channels {
            let range = MessageId::FIRST..self.history.upper_end(*channel).await?;
            let mut passed = BTreeSet::new();
            while let Some(caption) = self
                .history
                .last_of_ours(*channel, range.clone(), &passed)
                .await?
            {
                passed.insert(caption.library);
                let caption = self.homes.correct(*channel, caption)?;
                let mark = match self.home_mark(&caption).await {
                    Ok(mark) => mark,
                    Err(error) if error.is_retryable() => return Err(error),
                    Err(error) => {
                        unmarked.get_or_insert(Err(error));
                        continue;
                    }
                };
                let is_marked = mark.message.is_some();
                let found = found_library(&caption, mark);
                if is_marked {
                    self.keep_home(*channel, found.library, found.home);
                    return Ok(Some(found));
                }
                unmarked.get_or_insert(Ok(found));
            }
        }
        unmarked.transpose()
    }

    /// Finds the mark in the home channel that a caption names.
    async fn home_mark(&self, known: &Caption) -> Result<HomeMark, RemoteError> {
        let home = known.home;
        let of_library = |read: &ReadCaption| read.caption.library == known.library;
        let mut candidate = self.pinned(home).await?.filter(of_library);
        if let Some(ReadCaption { caption, .. }) = &candidate
            && let CaptionBody::Log(piece) = &caption.body
        {
            let mark = piece.mark.unwrap_or(MessageId::FIRST);
            let message = self.history.message_at(home, mark).await?;
            let read = message.and_then(|message| {
                Some(ReadCaption {
                    message: message.id,
                    caption: Caption::read(&message.text)?,
                })
            });
            candidate = read.filter(of_library);
        }
        match candidate {
            Some(ReadCaption {
                message,
                caption:
                    Caption {
                        body: CaptionBody::Library { wrap },
                        ..
                    },
            }) => Ok(HomeMark {
                message: Some(message),
                wrap,
            }),
            _ => self.search_mark(known).await,
        }
    }

    /// Searches all messages of the home channel for the mark, because something else is pinned.
    async fn search_mark(&self, known: &Caption) -> Result<HomeMark, RemoteError> {
        let range = MessageId::FIRST..self.history.upper_end(known.home).await?;
        let ours = self.history.scan_ours(known.home, range, known.library);
        let mark = ours
            .await?
            .into_iter()
            .rev()
            .find_map(|ours| match ours.body {
                CaptionBody::Library { wrap } => Some(HomeMark {
                    message: Some(ours.message.id),
                    wrap,
                }),
                _ => None,
            });
        Ok(mark.unwrap_or_default())
    }
}

fn found_library(caption: &Caption, mark: HomeMark) -> FoundLibrary {
    FoundLibrary {
        library: caption.library,
        home: caption.home,
        mark: mark.message,
        wrap: mark.wrap,
    }
}
