//! Adopted documents: documents of others as packs. Their bytes stay where they are, and a small
//! document of ours holds the digests of their blocks.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};

use std::sync::Arc;

use super::download::{DocumentReader, StoredDocument};
use super::posting::{DocumentPoster, SmallDocument};
use crate::model::{
    AdoptedAddress, BLOCK_BYTES, ByteRange, ChannelId, Digest, MessageId, PackAddress, PackId,
    PackRef, TelegramAddress, Timestamp,
};
use crate::remote::retry::{Deadline, retry};
use crate::remote::telegram::bots::Bots;
use crate::remote::telegram::bots::messages::ChannelMessage;
use crate::remote::telegram::channel::binding::LibraryBinding;
use crate::remote::telegram::channel::caption::{Caption, CaptionBody};
use crate::remote::telegram::channel::scan::ChannelHistory;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::{
    ForeignDocument, ForeignDocuments, ListingReach, RemoteError, RemoteErrorKind, Urgency,
    tail_of_plain,
};

/// Numbers scanned in one step.
const STEP: i32 = 800;
/// Length of a run of numbers without messages that ends the scan of a channel that we do not post to.
const GAP: i32 = 4000;
/// Blocks of 512 KiB in flight while a document is read for its digests.
const BLOCKS: usize = 16;
/// Time limit of retries of reading one block.
const BLOCK_PATIENCE: std::time::Duration = std::time::Duration::from_secs(300);

/// Finder of documents of others, which it reads as packs.
#[derive(Debug)]
pub struct AdoptedDocuments {
    bots: Arc<Bots>,
    binding: Arc<LibraryBinding>,
    history: Arc<ChannelHistory>,
    reader: Arc<DocumentReader>,
    poster: Arc<DocumentPoster>,
}

impl AdoptedDocuments {
    /// Makes a reader of such documents that reads with `reader` and posts tables with `poster`.
    pub const fn new(
        bots: Arc<Bots>,
        binding: Arc<LibraryBinding>,
        history: Arc<ChannelHistory>,
        reader: Arc<DocumentReader>,
        poster: Arc<DocumentPoster>,
    ) -> Self {
        Self {
            bots,
            binding,
            history,
            reader,
            poster,
        }
    }

    /// Lists all documents in a channel that are not ours.
    ///
    /// # Errors
    /// When no bot is in the channel.
    pub async fn list(&self, place: &str) -> Result<ForeignDocuments, RemoteError> {
        let channel = self.find_channel(place).await?;
        // In a channel of others we leave no trace. Only a message of our own would reveal the newest
        // number.
        let ours = self.bots.channels().await?.contains(&channel);
        let end = match ours {
            true => Some(self.history.upper_end(channel).await?),
            false => None,
        };
        let mut documents = Vec::new();
        let (mut from, mut last) = (MessageId::FIRST, MessageId::ZERO);
        let is_done = |from: MessageId, last: MessageId| match end {
            Some(end) => from >= end,
            None => from.get().saturating_sub(last.get()) > GAP || from.get() == i32::MAX,
        };
        while !is_done(from, last) {
            let to = MessageId::new(from.get().saturating_add(STEP));
            let to = end.map_or(to, |end| to.min(end));
            for message in self.history.scan(channel, from..to).await? {
                last = message.id;
                documents.extend(foreign_document(channel, message));
            }
            from = to;
        }
        Ok(ForeignDocuments {
            documents,
            reach: match ours {
                true => ListingReach::Everything,
                false => ListingReach::UpToAGap(GAP.unsigned_abs()),
            },
        })
    }

    /// Returns a channel that some bot is in.
    async fn find_channel(&self, place: &str) -> Result<ChannelId, RemoteError> {
        let mut first = None;
        for member in self.bots.members() {
            let bot = &member.bot;
            let found = async {
                let channel = self.bots.peers().id_of(bot, place).await?;
                self.bots.peers().look(bot, channel).await?;
                Ok::<_, CallError>(channel)
            };
            match found.await {
                Ok(channel) => return Ok(channel),
                Err(error) => {
                    let op = format!("look at channel {place} with bot {}", bot.number);
                    first.get_or_insert(error.into_remote(op));
                }
            }
        }
        Err(first.unwrap_or_else(|| {
            RemoteError::new(
                RemoteErrorKind::Denied,
                "look at a channel",
                "there is no bot",
            )
        }))
    }

    /// Reads a document once, block by block, and posts its table.
    ///
    /// # Errors
    /// When a block cannot be read or the table cannot be posted.
    pub async fn adopt(&self, document: &ForeignDocument) -> Result<PackRef, RemoteError> {
        let ForeignDocument { address, size, .. } = *document;
        let op = format!(
            "take over post {} of channel {}",
            address.message, address.channel
        );
        let stored = StoredDocument { address, len: size };
        let op = op.as_str();
        let digest = |block: u64| async move {
            let offset = block * BLOCK_BYTES;
            let range = ByteRange::new(offset, BLOCK_BYTES.min(size - offset));
            let read = || self.reader.read(op, stored, range, Urgency::Ahead);
            let bytes = retry(Deadline::after(BLOCK_PATIENCE), read).await?;
            Ok::<_, RemoteError>(Digest::of(&bytes))
        };
        let digests: Vec<Digest> = stream::iter(0..size.div_ceil(BLOCK_BYTES))
            .map(digest)
            .buffered(BLOCKS)
            .try_collect()
            .await?;
        let id = PackId::random();
        let (tail, table_digest) = tail_of_plain(id, size, digests)
            .map_err(|error| RemoteError::new(RemoteErrorKind::Invalid, op, error.to_string()))?;
        let home = self.binding.bound()?.home;
        let small = SmallDocument {
            channel: home,
            bytes: &tail,
            name: &format!("{id}.tgfstable"),
            caption: &self.binding.caption(CaptionBody::Table { id })?,
            op,
        };
        let posting = || self.poster.post_small(small);
        let posted = retry(Deadline::after(BLOCK_PATIENCE), posting).await?;
        let table = posted.document.ok_or_else(|| {
            let message = "the new message has no document";
            RemoteError::new(RemoteErrorKind::Unavailable, op, message)
        })?;
        let table = TelegramAddress {
            channel: home,
            message: posted.id,
            document: table.id,
            dc: table.dc,
        };
        Ok(PackRef {
            id,
            address: PackAddress::Adopted(AdoptedAddress {
                document: address,
                table,
            }),
            data_len: size,
            len: size + tail.len() as u64,
            table_digest,
        })
    }

    /// Reads from one of the two documents, or from the end of the first and the start of the second.
    ///
    /// # Errors
    /// See [`DocumentReader::read`].
    pub async fn read(
        &self,
        pack: &PackRef,
        adopted: AdoptedAddress,
        range: ByteRange,
        urgency: Urgency,
    ) -> Result<Bytes, RemoteError> {
        let op = format!(
            "read pack {}, which is post {} of channel {}",
            pack.id, adopted.document.message, adopted.document.channel
        );
        let parts = [
            (adopted.document, 0, pack.data_len),
            (
                adopted.table,
                pack.data_len,
                pack.len.saturating_sub(pack.data_len),
            ),
        ];
        let mut whole = BytesMut::new();
        for (address, begin, len) in parts {
            let from = range.offset.max(begin);
            let to = range.end().min(begin.saturating_add(len));
            if from < to {
                let stored = StoredDocument { address, len };
                let part = ByteRange::new(from - begin, to - from);
                let bytes = self.reader.read(&op, stored, part, urgency).await?;
                if bytes.len() as u64 == range.len {
                    return Ok(bytes);
                }
                whole.extend_from_slice(&bytes);
            }
        }
        if whole.len() as u64 != range.len {
            let message = "the range passes the end of the pack";
            return Err(RemoteError::new(RemoteErrorKind::Corrupt, op, message));
        }
        Ok(whole.freeze())
    }

    /// Returns the bytes of both documents together.
    ///
    /// # Errors
    /// [`RemoteErrorKind::NotFound`] when one of them is gone.
    pub async fn size(&self, pack: &PackRef, adopted: AdoptedAddress) -> Result<u64, RemoteError> {
        let gone = |what: &str| {
            RemoteError::new(
                RemoteErrorKind::NotFound,
                format!("look for pack {}", pack.id),
                what,
            )
        };
        let TelegramAddress {
            channel, message, ..
        } = adopted.document;
        let document = size_at(&self.history, adopted.document).await?.ok_or_else(|| {
            gone(&format!("post {message} of channel {channel}, which was taken over, is gone: its bytes are lost"))
        })?;
        let table = size_at(&self.history, adopted.table).await?;
        let table =
            table.ok_or_else(|| gone("the post with its table is gone from the channel"))?;
        Ok(document.saturating_add(table))
    }
}

/// Returns the bytes of the document at an address; `None` when it is no longer there.
///
/// # Errors
/// When no bot can read the channel now.
pub async fn size_at(
    history: &ChannelHistory,
    address: TelegramAddress,
) -> Result<Option<u64>, RemoteError> {
    let message = history.message_at(address.channel, address.message).await?;
    let document = message.and_then(|message| message.document);
    let same = document.filter(|document| document.id == address.document);
    Ok(same.map(|document| document.size))
}

fn foreign_document(channel: ChannelId, message: ChannelMessage) -> Option<ForeignDocument> {
    if Caption::read(&message.text).is_some() {
        return None;
    }
    let document = message.document.filter(|document| document.size > 0)?;
    Some(ForeignDocument {
        address: TelegramAddress {
            channel,
            message: message.id,
            document: document.id,
            dc: document.dc,
        },
        name: document.name,
        mime: document.mime,
        text: message.text,
        size: document.size,
        date: Timestamp {
            seconds: i64::from(message.date),
            nanos: 0,
        },
    })
}
