//! Notes on packs that are being posted. They are durable before the post is made, so that after a
//! lost answer, or a crash, a post is found again and none is left behind that nobody knows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::codec::{self, Kind, Record};
use crate::model::{KeyStore, PackId, Timestamp};
use crate::remote::{RemoteError, RemoteErrorKind};

const PREFIX: &[u8] = b"dispatch/";

/// Version 1; frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingPostV1 {
    pub pack: PackId,
    pub bot: i64,
    pub channel: i64,
    /// What `messages.sendMedia` is repeated with.
    pub random_id: i64,
    /// Posts up to this number were there before: a search begins behind it.
    pub above: i32,
    /// Number of the post once it is known, else 0.
    pub post: i32,
    pub since: Timestamp,
}

impl Record for PendingPostV1 {
    const KIND: Kind = Kind::Dispatch;
}

#[derive(Debug)]
pub struct PendingPosts {
    keys: Arc<dyn KeyStore>,
}

impl PendingPosts {
    pub fn new(keys: &Arc<dyn KeyStore>) -> Self {
        Self {
            keys: Arc::clone(keys),
        }
    }

    fn key(pack: PackId) -> Vec<u8> {
        [PREFIX, pack.as_bytes()].concat()
    }

    /// Durable when it returns.
    pub fn put(&self, pending: &PendingPostV1) -> Result<(), RemoteError> {
        let bytes = codec::encode(pending).map_err(|error| failed(error.to_string()))?;
        self.keys
            .put(&Self::key(pending.pack), &bytes)
            .map_err(|error| failed(error.to_string()))
    }

    pub fn get(&self, pack: PackId) -> Result<Option<PendingPostV1>, RemoteError> {
        let bytes = self
            .keys
            .get(&Self::key(pack))
            .map_err(|error| failed(error.to_string()))?;
        // A note that is damaged is no note; the pack is then sent, and perhaps there twice.
        Ok(bytes.and_then(|bytes| codec::decode(&bytes).ok()))
    }

    pub fn remove(&self, pack: PackId) -> Result<(), RemoteError> {
        self.keys
            .remove(&Self::key(pack))
            .map_err(|error| failed(error.to_string()))
    }

    pub fn all(&self) -> Result<Vec<PendingPostV1>, RemoteError> {
        let rows = self
            .keys
            .scan(PREFIX)
            .map_err(|error| failed(error.to_string()))?;
        let notes = rows.into_iter();
        Ok(notes
            .filter_map(|(_, bytes)| codec::decode(&bytes).ok())
            .collect())
    }
}

fn failed(message: String) -> RemoteError {
    // The disk may get room again; a pack must not be posted without its note.
    RemoteError::new(
        RemoteErrorKind::Unavailable,
        "note which pack is being posted",
        message,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frozen: a note of an older version must be read, or its post stays for ever.
    #[test]
    fn notes_keep_their_bytes() {
        let pending = PendingPostV1 {
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
        let bytes = codec::encode(&pending).unwrap();
        assert_eq!(bytes[..4], [0xb7, 20, 1, 0]);
        let digest = blake3::hash(&bytes).to_hex();
        assert_eq!(&digest[..16], "cfc12ccae06a03ad");
        assert_eq!(codec::decode::<PendingPostV1>(&bytes).unwrap(), pending);
    }
}
