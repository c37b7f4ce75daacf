//! Documents of others as packs: their bytes stay where they are, and a small document of ours holds
//! the digests of their blocks.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::download::StoredDocument;
use crate::model::{
    AdoptedAddress, BLOCK_BYTES, ByteRange, Digest, PackAddress, PackId, PackRef, TelegramAddress,
    Timestamp,
};
use crate::remote::retry::{Deadline, retry};
use crate::remote::telegram::Shared;
use crate::remote::telegram::bots::messages::ChannelMessage;
use crate::remote::telegram::channel::caption::{Caption, CaptionBody};
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::{
    ForeignDocument, ForeignDocuments, Reach, RemoteError, RemoteErrorKind, Urgency, tail_of_plain,
};

/// Numbers looked at in one step.
const STEP: i32 = 800;
/// So many numbers in a row without a post end the look at a channel that we do not post to.
const GAP: i32 = 4000;
/// Blocks of 512 KiB on their way while a document is read for its digests.
const BLOCKS: usize = 16;
/// How long one of them is asked for.
const BLOCK_PATIENCE: std::time::Duration = std::time::Duration::from_secs(300);

impl Shared {
    /// All documents in a channel that are not ours.
    pub async fn foreign(&self, place: &str) -> Result<ForeignDocuments, RemoteError> {
        let channel = self.find_channel(place).await?;
        // Elsewhere we leave no trace: only a post of our own would tell how far the numbers go.
        let ours = self.bots.channels().await?.contains(&channel);
        let end = match ours {
            true => Some(self.upper_end(channel).await?),
            false => None,
        };
        let mut documents = Vec::new();
        let (mut from, mut last) = (1, 0);
        let is_done = |from: i32, last: i32| match end {
            Some(end) => from >= end,
            None => from - last > GAP,
        };
        while !is_done(from, last) {
            let to = from.saturating_add(STEP).min(end.unwrap_or(i32::MAX));
            for post in self.scan(channel, from..to).await? {
                last = post.id;
                documents.extend(foreign_document(channel, post));
            }
            from = to;
        }
        Ok(ForeignDocuments {
            documents,
            reach: match ours {
                true => Reach::Everything,
                false => Reach::UpToAGap(GAP.unsigned_abs()),
            },
        })
    }

    /// A channel that some bot is in.
    async fn find_channel(&self, place: &str) -> Result<i64, RemoteError> {
        let mut first = None;
        for member in self.bots.members() {
            let bot = &member.bot;
            let found = async {
                let channel = self.bots.channel_named(bot, place).await?;
                self.bots.look(bot, channel).await?;
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
    pub async fn adopt(&self, document: &ForeignDocument) -> Result<PackRef, RemoteError> {
        let ForeignDocument { address, size, .. } = *document;
        let op = format!(
            "take over post {} of channel -100{}",
            address.message, address.channel
        );
        let stored = StoredDocument { address, len: size };
        let op = op.as_str();
        let digest = |block: u64| async move {
            let offset = block * BLOCK_BYTES;
            let range = ByteRange::new(offset, BLOCK_BYTES.min(size - offset));
            let read = || self.read(op, stored, range, Urgency::Ahead);
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
        let home = self.home()?;
        let (tail, name) = (&tail, &format!("{id}.tgfstable"));
        let post = retry(Deadline::after(BLOCK_PATIENCE), || {
            self.post_ours(home, tail, name, CaptionBody::Table { id }, op)
        })
        .await?;
        let table = post.document.ok_or_else(|| {
            let message = "the new post has no document";
            RemoteError::new(RemoteErrorKind::Unavailable, op, message)
        })?;
        let table = TelegramAddress {
            channel: home,
            message: post.id,
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

    /// From one of the two documents, or from the end of the first and the begin of the second.
    pub async fn read_adopted(
        &self,
        pack: &PackRef,
        adopted: AdoptedAddress,
        range: ByteRange,
        urgency: Urgency,
    ) -> Result<Bytes, RemoteError> {
        let op = format!(
            "read pack {}, which is post {} of channel -100{}",
            pack.id, adopted.document.message, adopted.document.channel
        );
        let parts = [
            (adopted.document, 0, pack.data_len),
            (adopted.table, pack.data_len, pack.len - pack.data_len),
        ];
        let mut whole = BytesMut::new();
        for (address, begin, len) in parts {
            let from = range.offset.max(begin);
            let to = range.end().min(begin + len);
            if from < to {
                let stored = StoredDocument { address, len };
                let part = ByteRange::new(from - begin, to - from);
                let bytes = self.read(&op, stored, part, urgency).await?;
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

    /// Bytes of both documents together.
    pub async fn size_of_adopted(
        &self,
        pack: &PackRef,
        adopted: AdoptedAddress,
    ) -> Result<u64, RemoteError> {
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
        let document = self.size_at(adopted.document).await?.ok_or_else(|| {
            gone(&format!("post {message} of channel -100{channel}, which was taken over, is gone: its bytes are lost"))
        })?;
        let table = self.size_at(adopted.table).await?;
        let table =
            table.ok_or_else(|| gone("the post with its table is gone from the channel"))?;
        Ok(document + table)
    }

    /// Bytes of the document at an address; `None` when it is not there any more.
    pub async fn size_at(&self, address: TelegramAddress) -> Result<Option<u64>, RemoteError> {
        let posts = self
            .messages_at(address.channel, &[address.message])
            .await?;
        let document = posts.into_iter().flatten().find_map(|post| post.document);
        let same = document.filter(|document| document.id == address.document);
        Ok(same.map(|document| document.size))
    }
}

fn foreign_document(channel: i64, post: ChannelMessage) -> Option<ForeignDocument> {
    if Caption::read(&post.text).is_some() {
        return None;
    }
    let document = post.document.filter(|document| document.size > 0)?;
    Some(ForeignDocument {
        address: TelegramAddress {
            channel,
            message: post.id,
            document: document.id,
            dc: document.dc,
        },
        name: document.name,
        mime: document.mime,
        text: post.text,
        size: document.size,
        date: Timestamp {
            seconds: i64::from(post.date),
            nanos: 0,
        },
    })
}
