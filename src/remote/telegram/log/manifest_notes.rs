//! Notes on the messages of our newest manifests, which shorten the scan at the next start.

use std::sync::Arc;

use crate::model::{KeyStore, KeyStoreError, MessageId};
use crate::remote::{RemoteError, RemoteErrorKind};

/// Manifests whose messages are noted.
const REMEMBERED: usize = 8;
/// Prefix of the rows; frozen.
const ROWS: &str = "log/";

/// The notes, in the key store.
#[derive(Debug)]
pub struct ManifestNotes {
    keys: Arc<dyn KeyStore>,
}

impl ManifestNotes {
    /// Makes the notes in `keys`.
    pub const fn new(keys: Arc<dyn KeyStore>) -> Self {
        Self { keys }
    }

    /// Notes the message of a manifest. A failure only costs time at the next start.
    pub fn remember(&self, number: u64, message: MessageId) {
        if let Err(error) = self.write(number, message) {
            tracing::warn!(%error, "where the manifest is cannot be kept; the next start takes longer");
        }
    }

    fn write(&self, number: u64, message: MessageId) -> Result<(), KeyStoreError> {
        let row = format!("{ROWS}{number:020}").into_bytes();
        self.keys.put(&row, &message.get().to_le_bytes())?;
        let rows = self.keys.scan(ROWS.as_bytes())?;
        for (old, _) in rows.iter().take(rows.len().saturating_sub(REMEMBERED)) {
            self.keys.remove(old)?;
        }
        Ok(())
    }

    /// Returns the message of the newest noted manifest up to `number`.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Unavailable`] when the notes cannot be read.
    pub fn message_before(&self, number: u64) -> Result<Option<MessageId>, RemoteError> {
        let rows = self.keys.scan(ROWS.as_bytes()).map_err(|error| {
            RemoteError::new(
                RemoteErrorKind::Unavailable,
                "look for the newest manifest",
                error.to_string(),
            )
        })?;
        let notes = rows.into_iter().filter_map(parse);
        let before = notes.filter(|(noted, _)| *noted <= number);
        Ok(before.map(|(_, message)| message).max())
    }
}

fn parse((row, value): (Vec<u8>, Vec<u8>)) -> Option<(u64, MessageId)> {
    let digits = std::str::from_utf8(row.get(ROWS.len()..)?).ok()?;
    let message = i32::from_le_bytes(value.try_into().ok()?);
    Some((digits.parse().ok()?, MessageId::new(message)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed step is a failed test.
mod tests {
    use super::*;
    use crate::remote::MemoryKeys;

    #[test]
    fn the_newest_manifests_are_remembered() {
        let keys: Arc<dyn KeyStore> = Arc::new(MemoryKeys::default());
        let notes = ManifestNotes::new(Arc::clone(&keys));
        for number in 1..=20 {
            notes.remember(number, MessageId::new(100 + number as i32));
        }
        assert_eq!(keys.scan(b"log/").unwrap().len(), REMEMBERED);
        assert_eq!(notes.message_before(15).unwrap(), Some(MessageId::new(115)));
        assert_eq!(notes.message_before(3).unwrap(), None);
        assert!(keys.get(b"log/00000000000000000020").unwrap().is_some());
    }
}
