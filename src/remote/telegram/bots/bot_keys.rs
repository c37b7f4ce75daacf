//! Rows of one bot in the key store: keys of data centres, home, name. Their names are frozen.

use std::sync::Arc;

use crate::model::{BotId, KeyStore};
use crate::remote::telegram::mtproto::auth_key::AuthKeyBytes;
use crate::remote::telegram::mtproto::connection_pool::PoolSizeMemory;

/// One bot's rows. A row that cannot be written is logged, and the next start signs in again.
#[derive(Debug)]
pub struct BotKeys {
    /// Number of the bot, for the log.
    number: u32,
    id: BotId,
    keys: Arc<dyn KeyStore>,
}

impl BotKeys {
    /// Makes the rows of the bot with this id.
    pub fn new(number: u32, id: BotId, keys: Arc<dyn KeyStore>) -> Self {
        Self { number, id, keys }
    }

    /// Returns the data centre that the bot is at home in, as of the last sign-in.
    pub fn home(&self) -> Option<i32> {
        let bytes = self.keys.get(self.home_row().as_bytes()).ok()??;
        bytes.try_into().ok().map(i32::from_le_bytes)
    }

    /// Keeps the bot's home.
    pub fn keep_home(&self, dc: i32) {
        self.keep(&self.home_row(), &dc.to_le_bytes());
    }

    /// Returns the `@name` that the service told at the last sign-in.
    pub fn username(&self) -> Option<String> {
        let stored = self.keys.get(self.name_row().as_bytes());
        String::from_utf8(stored.ok()??).ok()
    }

    /// Keeps the bot's name.
    pub fn keep_username(&self, username: &str) {
        self.keep(&self.name_row(), username.as_bytes());
    }

    /// Returns the key for a data centre.
    pub fn key(&self, dc: i32) -> Option<AuthKeyBytes> {
        match self.keys.get(self.key_row(dc).as_bytes()) {
            Ok(key) => key.and_then(|bytes| bytes.try_into().ok()),
            Err(error) => {
                // A new key costs a sign-in, and nothing is lost.
                tracing::warn!(%error, bot = self.number, "a key cannot be read");
                None
            }
        }
    }

    /// Keeps the key for a data centre.
    pub fn keep_key(&self, dc: i32, key: &AuthKeyBytes) {
        self.keep(&self.key_row(dc), key);
    }

    /// Removes the key for a data centre.
    pub fn remove_key(&self, dc: i32) {
        if let Err(error) = self.keys.remove(self.key_row(dc).as_bytes()) {
            tracing::warn!(%error, bot = self.number, "a key cannot be removed");
        }
    }

    /// Returns the row that keeps the size of a pool of connections; `kind` is `read` or `write`.
    pub fn pool_size(&self, dc: i32, kind: &str) -> PoolSizeMemory {
        PoolSizeMemory {
            keys: Arc::clone(&self.keys),
            row: format!("bot/{}/dc/{dc}/lanes/{kind}", self.id),
        }
    }

    fn home_row(&self) -> String {
        format!("bot/{}/home", self.id)
    }
    fn name_row(&self) -> String {
        format!("bot/{}/name", self.id)
    }
    fn key_row(&self, dc: i32) -> String {
        format!("bot/{}/dc/{dc}/key", self.id)
    }

    fn keep(&self, row: &str, value: &[u8]) {
        if let Err(error) = self.keys.put(row.as_bytes(), value) {
            tracing::warn!(%error, bot = self.number, "the result of a sign-in cannot be kept");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed step is a failed test.
mod tests {
    use super::*;
    use crate::remote::MemoryKeys;

    /// The names are frozen. A renamed row would sign every bot in again at an upgrade.
    #[test]
    fn rows_keep_their_names() {
        let store: Arc<dyn KeyStore> = Arc::new(MemoryKeys::default());
        let keys = BotKeys::new(1, BotId::new(77), Arc::clone(&store));
        keys.keep_home(4);
        keys.keep_username("films_bot");
        keys.keep_key(4, &[9; 256]);
        assert_eq!(store.get(b"bot/77/home").unwrap().unwrap(), [4, 0, 0, 0]);
        assert_eq!(store.get(b"bot/77/name").unwrap().unwrap(), b"films_bot");
        assert_eq!(store.get(b"bot/77/dc/4/key").unwrap().unwrap(), [9; 256]);
        assert_eq!(keys.pool_size(4, "read").row, "bot/77/dc/4/lanes/read");
        assert_eq!((keys.home(), keys.key(4)), (Some(4), Some([9; 256])));
    }
}
