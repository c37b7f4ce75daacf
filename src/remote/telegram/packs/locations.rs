//! Where documents are for one bot: access hash and file reference. Volatile, asked for in batches,
//! and asked for again when the service says that a reference is too old.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::remote::telegram::bots::Bots;
use crate::remote::telegram::bots::bot::BotClient;
use crate::remote::telegram::bots::messages::{self, Document, IDS_AT_ONCE};
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::sync::MutexExt as _;

/// Locations kept in each of two generations, about 200 bytes each.
const GENERATION: usize = 20_000;
/// Posts asked for before the one that is wanted; the rest of the batch lies behind it, where the
/// next packs of the same film are.
const BEFORE: i32 = 9;

/// Held by who asks.
type BatchLock = Arc<tokio::sync::Mutex<()>>;

/// BotClient, channel, post.
type LocationKey = (i64, i64, i32);

#[derive(Debug, Default)]
pub struct Locations {
    known: Mutex<KnownLocations>,
    /// One question at a time a bot and channel: its answer serves those who wait.
    asking: Mutex<HashMap<(i64, i64), BatchLock>>,
}

#[derive(Debug, Default)]
struct KnownLocations {
    young: HashMap<LocationKey, Document>,
    old: HashMap<LocationKey, Document>,
    /// Which bot posted what lately: reading back goes to another one.
    writers: HashMap<(i64, i32), i64>,
}

impl Locations {
    fn known(&self) -> MutexGuard<'_, KnownLocations> {
        self.known.acquire()
    }

    pub fn keep(&self, bot: i64, channel: i64, post: i32, document: Option<Document>) {
        let mut known = self.known();
        let key = (bot, channel, post);
        match document {
            Some(document) => {
                if known.young.len() >= GENERATION {
                    known.old = std::mem::take(&mut known.young);
                }
                known.young.insert(key, document);
            }
            None => {
                known.young.remove(&key);
                known.old.remove(&key);
            }
        }
    }

    pub fn written_by(&self, channel: i64, post: i32, bot: i64) {
        let mut known = self.known();
        if known.writers.len() >= GENERATION {
            known.writers.clear();
        }
        known.writers.insert((channel, post), bot);
    }
    pub fn writer(&self, channel: i64, post: i32) -> Option<i64> {
        self.known().writers.get(&(channel, post)).copied()
    }

    pub fn get(&self, bot: i64, channel: i64, post: i32) -> Option<Document> {
        let key = (bot, channel, post);
        let mut known = self.known();
        if let Some(document) = known.young.get(&key) {
            return Some(document.clone());
        }
        let document = known.old.remove(&key)?;
        known.young.insert(key, document.clone());
        Some(document)
    }

    /// The document of a post, as `bot` reads it. `None`: there is no such post, or no document.
    pub async fn find(
        &self,
        bots: &Bots,
        bot: &BotClient,
        channel: i64,
        post: i32,
    ) -> Result<Option<Document>, CallError> {
        if let Some(document) = self.get(bot.id, channel, post) {
            return Ok(Some(document));
        }
        let turn = {
            let mut asking = self.asking.acquire();
            Arc::clone(asking.entry((bot.id, channel)).or_default())
        };
        let _turn = turn.lock().await;
        if let Some(document) = self.get(bot.id, channel, post) {
            return Ok(Some(document));
        }
        let peer = bots.peer(bot, channel).await?;
        let first = post.saturating_sub(BEFORE).max(1);
        let ids: Vec<i32> = (first..).take(IDS_AT_ONCE).collect();
        for found in messages::get(bot, peer, &ids).await?.into_iter().flatten() {
            if let Some(document) = found.document {
                self.keep(bot.id, channel, found.id, Some(document));
            }
        }
        Ok(self.get(bot.id, channel, post))
    }
}
