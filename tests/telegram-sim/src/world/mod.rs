//! Everything the server knows: keys, channels, documents, uploads.
//!
//! All lasting changes are [`Event`]s: [`World::record`] journals one and applies it, and a start applies
//! the journal anew.

pub(crate) mod access;
mod changes;
pub(crate) mod channel;
pub(crate) mod content;
pub(crate) mod event;
pub(crate) mod journal;
pub(crate) mod uploads;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use grammers_crypto::hex;

use channel::{Allowance, ChannelState, Membership, Right};
use content::{Content, Part};
use event::{Date, DocumentRecord, Event};
use journal::Journal;
use uploads::{MAX_PART_BYTES, UploadId, UploadKind, Uploads};

use crate::digest::sha1;
use crate::options::{Bot, Channel, Options, Pace};

/// Creation of all channels: 2025-01-01.
const CHANNELS_CREATED: Date = 1_735_689_600;

/// Document ids begin above it, so that they are not taken for message ids.
const FIRST_DOCUMENT_ID: i64 = 5_000_000_000_000_000_000;

/// Auth key, and the bot that signed in with it.
#[derive(Clone)]
pub(crate) struct KeyRecord {
    pub(crate) key: Arc<[u8; 256]>,
    pub(crate) bot: Option<Bot>,
}

pub(crate) struct Document {
    pub(crate) record: DocumentRecord,
    pub(crate) content: Arc<Content>,
    /// Number of posts that show it.
    uses: u32,
}

/// Change of one membership.
pub(crate) struct MembershipChange {
    pub(crate) channel: Channel,
    pub(crate) date: Date,
    pub(crate) change: Change,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Joined,
    Left,
}

pub(crate) struct World {
    keys: HashMap<(i32, i64), KeyRecord>,
    channels: Vec<ChannelState>,
    documents: HashMap<i64, Document>,
    last_document: i64,
    uploads: Uploads,
    part_lifetime: Duration,
    /// Number of times that the references of a bot to a document expired early.
    reference_generations: HashMap<(Bot, i64), u32>,
    /// Changes of the memberships of each bot, in order.
    membership_changes: HashMap<Bot, Vec<MembershipChange>>,
    /// Authorizations that wait for their import: token by bot.
    pub(crate) exported: HashMap<Bot, Vec<u8>>,
    pub(crate) export_allowances: HashMap<Bot, Allowance>,
    journal: Option<Journal>,
}

/// Returns the id of an auth key: the low 64 bits of its SHA-1.
pub(crate) fn key_id(key: &[u8; 256]) -> i64 {
    let hash = sha1(&[key]);
    let mut low = [0; 8];
    low.copy_from_slice(&hash[12..]);
    i64::from_le_bytes(low)
}

impl World {
    pub(crate) fn open(options: &Options) -> Result<Self> {
        let channels = (1..=options.channels)
            .map(|number| {
                let mut channel = ChannelState::new(Channel(number), CHANNELS_CREATED);
                for bot in (1..=options.bots).map(Bot) {
                    channel.members.insert(
                        bot,
                        Membership {
                            since: CHANNELS_CREATED,
                            rights: Right::ALL.into(),
                        },
                    );
                }
                channel
            })
            .collect();
        let mut world = Self {
            keys: HashMap::new(),
            channels,
            documents: HashMap::new(),
            last_document: FIRST_DOCUMENT_ID,
            uploads: Uploads::default(),
            part_lifetime: options.part_lifetime,
            reference_generations: HashMap::new(),
            membership_changes: HashMap::new(),
            exported: HashMap::new(),
            export_allowances: HashMap::new(),
            journal: None,
        };
        if let Some(directory) = &options.data {
            world.replay(directory)?;
        }
        Ok(world)
    }

    fn replay(&mut self, directory: &std::path::Path) -> Result<()> {
        let (journal, events) = Journal::open(directory)?;
        for event in events {
            self.apply(event)?;
        }
        for (id, document) in &mut self.documents {
            document.content = Arc::new(Content::open(&journal.document(*id))?);
        }
        journal.sweep(|id| self.documents.contains_key(&id))?;
        self.journal = Some(journal);
        Ok(())
    }

    /// Journals a change, then applies it.
    pub(crate) fn record(&mut self, event: Event) -> Result<()> {
        if let Some(journal) = &mut self.journal {
            journal.append(&event)?;
        }
        self.apply(event)
    }

    /// Returns the changes of a bot's memberships since the server was made, oldest first.
    pub(crate) fn membership_changes(&self, bot: Bot) -> &[MembershipChange] {
        self.membership_changes.get(&bot).map_or(&[], Vec::as_slice)
    }

    // Keys.

    pub(crate) fn key(&self, dc: i32, id: i64) -> Option<&KeyRecord> {
        self.keys.get(&(dc, id))
    }

    pub(crate) fn keys_of(&self, bot: Bot) -> Vec<(i32, i64)> {
        self.keys
            .iter()
            .filter(|(_, record)| record.bot == Some(bot))
            .map(|(id, _)| *id)
            .collect()
    }

    pub(crate) fn add_key(&mut self, dc: i32, key: &[u8; 256]) -> Result<()> {
        self.record(Event::KeyMade {
            dc,
            key: hex::to_hex(key),
        })
    }

    // Channels.

    pub(crate) fn channel(&self, channel: Channel) -> Result<&ChannelState> {
        self.channel_at(channel)
            .and_then(|index| self.channels.get(index))
            .with_context(|| format!("there is no {channel}"))
    }

    fn channel_mut(&mut self, channel: Channel) -> Result<&mut ChannelState> {
        self.channel_at(channel)
            .and_then(|index| self.channels.get_mut(index))
            .with_context(|| format!("there is no {channel}"))
    }

    fn channel_at(&self, channel: Channel) -> Option<usize> {
        usize::try_from(channel.0.checked_sub(1)?).ok()
    }

    /// Takes one message from the channel's allowance, or tells the seconds to wait.
    pub(crate) fn take_turn(&mut self, channel: Channel, pace: Pace) -> Result<Result<(), u64>> {
        Ok(self.channel_mut(channel)?.allowance.take(pace))
    }

    // Documents and uploads.

    pub(crate) fn document(&self, id: i64) -> Option<&Document> {
        self.documents.get(&id)
    }

    pub(crate) fn size_of(&self, document: i64) -> u64 {
        self.document(document)
            .map_or(0, |document| document.content.size())
    }

    fn use_document(&mut self, record: DocumentRecord) -> i64 {
        let id = record.id;
        self.last_document = self.last_document.max(id);
        let document = self.documents.entry(id).or_insert_with(|| Document {
            record,
            content: Arc::new(Content::new(Vec::new())),
            uses: 0,
        });
        document.uses += 1;
        id
    }

    fn unuse_document(&mut self, id: Option<i64>) -> Result<()> {
        let Some((id, document)) = id.and_then(|id| Some((id, self.documents.get_mut(&id)?)))
        else {
            return Ok(());
        };
        document.uses = document.uses.saturating_sub(1);
        if document.uses == 0 {
            self.documents.remove(&id);
            if let Some(journal) = &self.journal {
                fs::remove_dir_all(journal.document(id)).context("cannot remove a document")?;
            }
        }
        Ok(())
    }

    fn keep_document(&mut self, record: DocumentRecord, content: Content) {
        self.last_document = record.id;
        let document = Document {
            record: record.clone(),
            content: Arc::new(content),
            uses: 0,
        };
        self.documents.insert(record.id, document);
    }

    /// Returns the path of the next part of an upload; `None` keeps it in memory.
    pub(crate) fn part_path(&self, id: UploadId, number: i32) -> Result<Option<PathBuf>> {
        let Some(journal) = &self.journal else {
            return Ok(None);
        };
        let directory = journal.upload(id.0.0, id.1);
        fs::create_dir_all(&directory).context("cannot make a directory for parts")?;
        Ok(Some(directory.join(number.to_string())))
    }

    pub(crate) fn uploads(&mut self) -> Result<&mut Uploads> {
        for id in self.uploads.expire(self.part_lifetime) {
            if let Some(journal) = &self.journal {
                fs::remove_dir_all(journal.upload(id.0.0, id.1)).context("cannot drop parts")?;
            }
        }
        Ok(&mut self.uploads)
    }

    pub(crate) fn keep_part(&mut self, id: UploadId, number: i32, part: Part, kind: UploadKind) {
        self.uploads.keep(id, number, part, kind);
    }

    /// Makes a document of a checked upload.
    pub(crate) fn finish_upload(
        &mut self,
        id: UploadId,
        dc: i32,
        mime_type: String,
        attributes: Vec<u8>,
    ) -> Result<DocumentRecord> {
        let parts = self.uploads.take(id);
        let record = DocumentRecord {
            id: self.last_document + 1,
            dc,
            mime_type,
            attributes,
        };
        let content = match &self.journal {
            None => Content::new(parts),
            Some(journal) => {
                let directory = journal.document(record.id);
                fs::rename(journal.upload(id.0.0, id.1), &directory)
                    .context("cannot move parts to their document")?;
                Content::open(&directory)?
            }
        };
        self.keep_document(record.clone(), content);
        Ok(record)
    }

    /// Makes a document of bytes that no bot uploaded.
    pub(crate) fn add_document(
        &mut self,
        dc: i32,
        mime_type: &str,
        attributes: Vec<u8>,
        bytes: &[u8],
    ) -> Result<DocumentRecord> {
        ensure!(!bytes.is_empty(), "a document without bytes");
        let record = DocumentRecord {
            id: self.last_document + 1,
            dc,
            mime_type: mime_type.to_owned(),
            attributes,
        };
        let directory = match &self.journal {
            None => None,
            Some(journal) => {
                let directory = journal.document(record.id);
                fs::create_dir_all(&directory).context("cannot make a directory for a document")?;
                Some(directory)
            }
        };
        let parts = bytes
            .chunks(MAX_PART_BYTES)
            .enumerate()
            .map(|(number, bytes)| match &directory {
                None => Ok(Part::Memory(Bytes::copy_from_slice(bytes))),
                Some(directory) => Part::write(directory.join(number.to_string()), bytes),
            })
            .collect::<Result<Vec<_>>>()?;
        self.keep_document(record.clone(), Content::new(parts));
        Ok(record)
    }

    /// Inverts one byte of a document.
    pub(crate) fn flip_byte(&mut self, document: i64, offset: u64) -> Result<()> {
        let document = self
            .documents
            .get_mut(&document)
            .context("there is no such document")?;
        document.content = Arc::new(document.content.with_flipped(offset)?);
        Ok(())
    }

    // References.

    pub(crate) fn reference_generation(&self, bot: Bot, document: i64) -> u32 {
        self.reference_generations
            .get(&(bot, document))
            .copied()
            .unwrap_or_default()
    }

    /// Expires all references of a bot to a document.
    pub(crate) fn expire_references(&mut self, bot: Bot, document: i64) {
        *self
            .reference_generations
            .entry((bot, document))
            .or_default() += 1;
    }

    /// Expires all references of all bots.
    pub(crate) fn expire_all_references(&mut self, bots: u32) {
        let documents: Vec<i64> = self.documents.keys().copied().collect();
        for bot in (1..=bots).map(Bot) {
            for document in &documents {
                self.expire_references(bot, *document);
            }
        }
    }
}
