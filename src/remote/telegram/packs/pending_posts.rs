//! Notes on packs that are being posted. A note is durable before its message is posted. After a lost
//! answer or a crash the message is therefore found again, and none is left behind unknown.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::codec::{self, Kind, Record};
use crate::model::{BotId, ChannelId, KeyStore, MessageId, PackId, Timestamp};
use crate::remote::{RemoteError, RemoteErrorKind};

const PREFIX: &[u8] = b"dispatch/";

/// Stored form of a [`PendingPost`], version 1; frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PendingPostV1 {
    pack: PackId,
    bot: i64,
    channel: i64,
    random_id: i64,
    above: i32,
    /// Number of the message; 0 when it is not known.
    post: i32,
    since: Timestamp,
}

impl Record for PendingPostV1 {
    const KIND: Kind = Kind::Dispatch;
}

/// Note on one pack that is being posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingPost {
    /// The pack.
    pub pack: PackId,
    /// Bot that posts it.
    pub bot: BotId,
    /// Channel that it goes to.
    pub channel: ChannelId,
    /// Random id that `messages.sendMedia` is repeated with.
    pub random_id: i64,
    /// Highest message number from before the post. A search begins behind it.
    pub above: MessageId,
    /// The message, once its number is known.
    pub message: Option<MessageId>,
    /// Time at which the note was made.
    pub since: Timestamp,
}

impl From<&PendingPost> for PendingPostV1 {
    fn from(pending: &PendingPost) -> Self {
        Self {
            pack: pending.pack,
            bot: pending.bot.get(),
            channel: pending.channel.get(),
            random_id: pending.random_id,
            above: pending.above.get(),
            post: pending.message.map_or(0, MessageId::get),
            since: pending.since,
        }
    }
}

impl From<PendingPostV1> for PendingPost {
    fn from(stored: PendingPostV1) -> Self {
        Self {
            pack: stored.pack,
            bot: BotId::new(stored.bot),
            channel: ChannelId::new(stored.channel),
            random_id: stored.random_id,
            above: MessageId::new(stored.above),
            message: MessageId::from_stored(stored.post),
            since: stored.since,
        }
    }
}

/// The notes, in the key store.
#[derive(Debug)]
pub struct PendingPosts {
    keys: Arc<dyn KeyStore>,
}

impl PendingPosts {
    /// Makes the notes in `keys`.
    pub const fn new(keys: Arc<dyn KeyStore>) -> Self {
        Self { keys }
    }

    fn key(pack: PackId) -> Vec<u8> {
        [PREFIX, pack.as_bytes()].concat()
    }

    /// Writes a note, which is durable when this returns. Blocking.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Unavailable`] when the disk fails, as for all functions here.
    pub fn put(&self, pending: &PendingPost) -> Result<(), RemoteError> {
        let stored = PendingPostV1::from(pending);
        let bytes = codec::encode(&stored).map_err(|error| failed(error.to_string()))?;
        self.keys
            .put(&Self::key(pending.pack), &bytes)
            .map_err(|error| failed(error.to_string()))
    }

    /// Reads the note on a pack.
    ///
    /// # Errors
    /// See [`Self::put`].
    pub fn get(&self, pack: PackId) -> Result<Option<PendingPost>, RemoteError> {
        let bytes = self.keys.get(&Self::key(pack));
        let bytes = bytes.map_err(|error| failed(error.to_string()))?;
        // A damaged note counts as none. The pack is sent again, and may be there twice.
        Ok(bytes.and_then(|bytes| decode(&bytes)))
    }

    /// Removes the note on a pack.
    ///
    /// # Errors
    /// See [`Self::put`].
    pub fn remove(&self, pack: PackId) -> Result<(), RemoteError> {
        self.keys
            .remove(&Self::key(pack))
            .map_err(|error| failed(error.to_string()))
    }

    /// Reads all notes.
    ///
    /// # Errors
    /// See [`Self::put`].
    pub fn all(&self) -> Result<Vec<PendingPost>, RemoteError> {
        let rows = self.keys.scan(PREFIX);
        let rows = rows.map_err(|error| failed(error.to_string()))?;
        Ok(rows
            .into_iter()
            .filter_map(|(_, bytes)| decode(&bytes))
            .collect())
    }
}

fn decode(bytes: &[u8]) -> Option<PendingPost> {
    let stored: PendingPostV1 = codec::decode(bytes).ok()?;
    Some(stored.into())
}

fn failed(message: String) -> RemoteError {
    // The disk may have room again later. A pack must not be posted without its note.
    RemoteError::new(
        RemoteErrorKind::Unavailable,
        "note which pack is being posted",
        message,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form is frozen. A note of an older version must be read, or its message stays for ever.
    #[test]
    fn notes_keep_their_bytes() {
        let stored = PendingPostV1 {
            pack: PackId::from_bytes([1; 16]),
            bot: 2,
            channel: 3,
            random_id: -4,
            above: 5,
            post: 6,
            since: Timestamp {
                seconds: 7,
                nanos: 8,
            },
        };
        let bytes = codec::encode(&stored).unwrap();
        assert_eq!(bytes[..4], [0xb7, 20, 1, 0]);
        let digest = blake3::hash(&bytes).to_hex();
        assert_eq!(&digest[..16], "cfc12ccae06a03ad");
        assert_eq!(codec::decode::<PendingPostV1>(&bytes).unwrap(), stored);
        let pending = PendingPost::from(stored.clone());
        assert_eq!(PendingPostV1::from(&pending), stored);
    }
}
