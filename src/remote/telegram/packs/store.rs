//! Pack store, which posts, reads and deletes packs.

use std::sync::Arc;

use bytes::Bytes;

use super::adopt::{AdoptedDocuments, size_at};
use super::download::{DocumentReader, StoredDocument};
use super::orphans::OrphanedPacks;
use super::pending_posts::PendingPosts;
use super::posting::DocumentPoster;
use super::slots::UploadSlots;
use super::tombstones::TombstoneWriter;
use super::upload::{PackUploadParts, PackUploads};
use crate::model::{ByteRange, KeyStore, PackAddress, PackRef, TelegramAddress};
use crate::remote::telegram::bots::Bots;
use crate::remote::telegram::channel::binding::LibraryBinding;
use crate::remote::telegram::channel::library::LibraryMarks;
use crate::remote::telegram::channel::locations::DocumentLocations;
use crate::remote::telegram::channel::rollover::PackChannels;
use crate::remote::telegram::channel::scan::ChannelHistory;
use crate::remote::telegram::settings::TelegramRemoteSettings;
use crate::remote::{
    ForeignDocument, ForeignDocuments, IsKnown, Outlook, RemoteError, RemoteErrorKind, Removal,
    SealedPack, Urgency,
};

/// Parts below the store, which other parts of the remote use too.
#[derive(Debug, Clone)]
pub struct ChannelParts {
    /// All bots.
    pub bots: Arc<Bots>,
    /// The library that the channels hold.
    pub binding: Arc<LibraryBinding>,
    /// Messages of the channels.
    pub history: Arc<ChannelHistory>,
    /// Locations of documents for each bot.
    pub locations: Arc<DocumentLocations>,
    /// Marks of the channels.
    pub marks: Arc<LibraryMarks>,
}

/// Packs as documents in channels.
#[derive(Debug)]
pub struct ChannelPacks {
    history: Arc<ChannelHistory>,
    channels: Arc<PackChannels>,
    reader: Arc<DocumentReader>,
    poster: Arc<DocumentPoster>,
    uploads: PackUploads,
    adopted: AdoptedDocuments,
    orphans: OrphanedPacks,
    tombstones: TombstoneWriter,
}

impl ChannelPacks {
    /// Makes a store over these channels. `keys` keeps notes on packs that are being posted.
    pub fn new(
        settings: &TelegramRemoteSettings,
        parts: &ChannelParts,
        keys: Arc<dyn KeyStore>,
    ) -> Self {
        let ChannelParts {
            bots,
            binding,
            history,
            locations,
            marks,
        } = parts.clone();
        let slots = Arc::new(UploadSlots::new(settings.bots.len()));
        let pending = Arc::new(PendingPosts::new(keys));
        let channels = Arc::new(PackChannels::new(
            Arc::clone(&bots),
            Arc::clone(&history),
            marks,
            settings.rollover,
        ));
        let reader = Arc::new(DocumentReader::new(
            Arc::clone(&bots),
            Arc::clone(&locations),
        ));
        let poster = Arc::new(DocumentPoster::new(
            Arc::clone(&bots),
            Arc::clone(&history),
            locations,
            Arc::clone(&slots),
        ));
        Self {
            uploads: PackUploads::new(PackUploadParts {
                bots: Arc::clone(&bots),
                binding: Arc::clone(&binding),
                history: Arc::clone(&history),
                channels: Arc::clone(&channels),
                poster: Arc::clone(&poster),
                slots,
                pending: Arc::clone(&pending),
            }),
            adopted: AdoptedDocuments::new(
                Arc::clone(&bots),
                Arc::clone(&binding),
                Arc::clone(&history),
                Arc::clone(&reader),
                Arc::clone(&poster),
            ),
            orphans: OrphanedPacks::new(Arc::clone(&history), pending),
            tombstones: TombstoneWriter::new(bots, binding, settings.tombstones),
            history,
            channels,
            reader,
            poster,
        }
    }

    /// Returns the part that reads documents.
    pub const fn reader(&self) -> &Arc<DocumentReader> {
        &self.reader
    }

    /// Returns the part that posts documents.
    pub const fn poster(&self) -> &Arc<DocumentPoster> {
        &self.poster
    }

    /// Posts a pack.
    ///
    /// # Errors
    /// See [`PackUploads::put`].
    pub async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError> {
        self.uploads.put(pack).await
    }

    /// Reads a range of a pack.
    ///
    /// # Errors
    /// See [`DocumentReader::read`].
    pub async fn get(
        &self,
        pack: &PackRef,
        range: ByteRange,
        urgency: Urgency,
    ) -> Result<Bytes, RemoteError> {
        if let PackAddress::Adopted(adopted) = pack.address {
            return self.adopted.read(pack, adopted, range, urgency).await;
        }
        let document = StoredDocument {
            address: own_address(pack)?,
            len: pack.len,
        };
        let op = format!("read pack {}", pack.id);
        self.reader.read(&op, document, range, urgency).await
    }

    /// Returns the bytes of a pack.
    ///
    /// # Errors
    /// [`RemoteErrorKind::NotFound`] when its message is gone.
    pub async fn size(&self, pack: &PackRef) -> Result<u64, RemoteError> {
        if let PackAddress::Adopted(adopted) = pack.address {
            return self.adopted.size(pack, adopted).await;
        }
        let size = size_at(&self.history, own_address(pack)?).await?;
        size.ok_or_else(|| {
            RemoteError::new(
                RemoteErrorKind::NotFound,
                format!("look for pack {}", pack.id),
                "the post that holds it is gone from the channel",
            )
        })
    }

    /// Returns whether Telegram will hide a pack soon.
    ///
    /// # Errors
    /// When no bot may post in the channel of the pack.
    pub async fn outlook(&self, pack: &PackRef) -> Result<Outlook, RemoteError> {
        match pack.address {
            PackAddress::Adopted(adopted) => Ok(self.channels.known_outlook(adopted.document)),
            _ => self.channels.outlook(own_address(pack)?).await,
        }
    }

    /// Deletes a pack. Only our table of an adopted document is deleted, because the data is not ours.
    ///
    /// # Errors
    /// When no bot may delete, or a tombstone has to wait.
    pub async fn delete(&self, pack: &PackRef) -> Result<Removal, RemoteError> {
        let TelegramAddress {
            channel, message, ..
        } = match pack.address {
            PackAddress::Adopted(adopted) => adopted.table,
            _ => own_address(pack)?,
        };
        match self.history.delete(channel, &[message]).await? {
            0 => Ok(Removal::Gone),
            _ => self.tombstones.handle(channel, message).await,
        }
    }

    /// Deletes packs that an interrupted run left without a record.
    ///
    /// # Errors
    /// See [`OrphanedPacks::delete`].
    pub async fn delete_unnamed(&self, is_known: &IsKnown) -> Result<u64, RemoteError> {
        self.orphans.delete(is_known).await
    }

    /// Lists documents of others in a channel.
    ///
    /// # Errors
    /// See [`AdoptedDocuments::list`].
    pub async fn foreign(&self, place: &str) -> Result<ForeignDocuments, RemoteError> {
        self.adopted.list(place).await
    }

    /// Makes a pack of a document of others.
    ///
    /// # Errors
    /// See [`AdoptedDocuments::adopt`].
    pub async fn adopt(&self, document: &ForeignDocument) -> Result<PackRef, RemoteError> {
        self.adopted.adopt(document).await
    }
}

/// Returns the address of a pack that this store wrote.
fn own_address(pack: &PackRef) -> Result<TelegramAddress, RemoteError> {
    match pack.address {
        PackAddress::Telegram(address) => Ok(address),
        PackAddress::Local | PackAddress::Adopted(_) => Err(RemoteError::new(
            RemoteErrorKind::Invalid,
            format!("look for pack {}", pack.id),
            "it is no document of ours in a channel",
        )),
    }
}
