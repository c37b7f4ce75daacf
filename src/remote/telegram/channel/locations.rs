//! Locations of documents for each bot: access hash and file reference. They are volatile. They are asked
//! for in batches, and again when the service says that a reference is too old.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::model::{BotId, ChannelId, MessageId};
use crate::remote::telegram::bots::Bots;
use crate::remote::telegram::bots::bot::BotClient;
use crate::remote::telegram::bots::messages::{self, Document, IDS_AT_ONCE};
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::sync::MutexExt as _;

/// Locations kept in each of two generations, about 200 bytes each.
const GENERATION: usize = 20_000;
/// Messages of a batch before the wanted one. The others come after it, where the next packs of the same
/// film are.
const BEFORE: i32 = 9;

/// Lock held by the task that asks for a batch.
type BatchLock = Arc<tokio::sync::Mutex<()>>;

/// Document of one message as one bot reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct LocationKey {
    bot: BotId,
    channel: ChannelId,
    message: MessageId,
}

/// Cache of locations, and of the bots that posted the messages.
#[derive(Debug, Default)]
pub struct DocumentLocations {
    known: Mutex<KnownLocations>,
    /// Locks of the batches. Each bot asks for one batch at a time in a channel, and its answer serves all
    /// that wait.
    asking: Mutex<HashMap<(BotId, ChannelId), BatchLock>>,
}

#[derive(Debug, Default)]
struct KnownLocations {
    young: HashMap<LocationKey, Document>,
    old: HashMap<LocationKey, Document>,
    /// Bots that posted lately. Another bot reads their messages back.
    writers: HashMap<(ChannelId, MessageId), BotId>,
}

impl DocumentLocations {
    fn known(&self) -> MutexGuard<'_, KnownLocations> {
        self.known.acquire()
    }

    /// Keeps the location of a document for a bot.
    pub fn keep(&self, bot: BotId, channel: ChannelId, message: MessageId, document: Document) {
        let mut known = self.known();
        let key = LocationKey {
            bot,
            channel,
            message,
        };
        if known.young.len() >= GENERATION {
            known.old = std::mem::take(&mut known.young);
        }
        known.young.insert(key, document);
    }

    /// Forgets a location that the service no longer takes.
    pub fn forget(&self, bot: BotId, channel: ChannelId, message: MessageId) {
        let mut known = self.known();
        let key = LocationKey {
            bot,
            channel,
            message,
        };
        known.young.remove(&key);
        known.old.remove(&key);
    }

    /// Notes which bot posted a message.
    pub fn note_writer(&self, channel: ChannelId, message: MessageId, bot: BotId) {
        let mut known = self.known();
        if known.writers.len() >= GENERATION {
            known.writers.clear();
        }
        known.writers.insert((channel, message), bot);
    }

    /// Returns the bot that posted a message lately.
    pub fn writer(&self, channel: ChannelId, message: MessageId) -> Option<BotId> {
        self.known().writers.get(&(channel, message)).copied()
    }

    fn get(&self, key: LocationKey) -> Option<Document> {
        let mut known = self.known();
        if let Some(document) = known.young.get(&key) {
            return Some(document.clone());
        }
        let document = known.old.remove(&key)?;
        known.young.insert(key, document.clone());
        Some(document)
    }

    /// Returns the document of a message as `bot` reads it. Returns `None` when there is no such message,
    /// or it has no document.
    ///
    /// # Errors
    /// When the bot is not in the channel, or cannot ask.
    pub async fn find(
        &self,
        bots: &Bots,
        bot: &BotClient,
        channel: ChannelId,
        message: MessageId,
    ) -> Result<Option<Document>, CallError> {
        let key = LocationKey {
            bot: bot.id,
            channel,
            message,
        };
        if let Some(document) = self.get(key) {
            return Ok(Some(document));
        }
        let lock = {
            let mut asking = self.asking.acquire();
            Arc::clone(asking.entry((bot.id, channel)).or_default())
        };
        let _lock = lock.lock().await;
        if let Some(document) = self.get(key) {
            return Ok(Some(document));
        }
        let first = message.get().saturating_sub(BEFORE).max(1);
        let ids = (first..=i32::MAX).take(IDS_AT_ONCE).map(MessageId::new);
        let ids: Vec<MessageId> = ids.collect();
        let asked = bots
            .peers()
            .with_peer(bot, channel, |peer| messages::get(bot, peer, &ids));
        for found in asked.await?.into_iter().flatten() {
            if let Some(document) = found.document {
                self.keep(bot.id, channel, found.id, document);
            }
        }
        Ok(self.get(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(id: i64) -> Document {
        Document {
            id,
            access_hash: 0,
            reference: Vec::new(),
            size: 1,
            dc: 2,
            name: String::new(),
            mime: String::new(),
        }
    }

    #[test]
    fn a_location_is_one_bots_and_is_kept_while_it_is_used() {
        let locations = DocumentLocations::default();
        let (bot, channel) = (BotId::new(1), ChannelId::new(2));
        let at = |message| LocationKey {
            bot,
            channel,
            message: MessageId::new(message),
        };
        locations.keep(bot, channel, MessageId::new(1), document(10));
        assert_eq!(locations.get(at(1)), Some(document(10)));
        let other = LocationKey {
            bot: BotId::new(2),
            ..at(1)
        };
        assert_eq!(locations.get(other), None);
        for message in 2..=30_000 {
            locations.keep(bot, channel, MessageId::new(message), document(11));
        }
        assert_eq!(
            locations.get(at(1)),
            Some(document(10)),
            "in the old generation"
        );
        locations.forget(bot, channel, MessageId::new(1));
        assert_eq!(locations.get(at(1)), None);
    }
}
