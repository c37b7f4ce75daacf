//! The library's log in its home channel: manifests and snapshots are documents among the packs.
//!
//! Objects are found by scanning messages. A scan starts at the newest message that is known to come
//! before them. That is the message of a manifest that this state posted, or one that a pinned snapshot
//! names. Without such a message, the whole channel is scanned.

mod manifest_notes;
mod map;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use self::manifest_notes::ManifestNotes;
use self::map::{LogMap, ObjectPieces};
use super::bots::Bots;
use super::bots::messages::{self, ChannelMessage};
use super::bots::rate_limit::PostPriority;
use super::channel::binding::{BoundLibrary, LibraryBinding};
use super::channel::caption::{Caption, CaptionBody, LogPiece};
use super::channel::scan::ChannelHistory;
use super::packs::download::DocumentReader;
use super::packs::posting::{DocumentPoster, SmallDocument};
use super::packs::store::{ChannelPacks, ChannelParts};
use crate::model::{ByteRange, ChannelId, KeyStore, MessageId};
use crate::remote::{
    LogKind, LogObject, MAX_LOG_OBJECT_BYTES, RemoteError, RemoteErrorKind, Urgency,
};

/// Most bytes of one piece. The service takes 2,000 MiB, but a failed piece begins anew.
const PIECE_BYTES: usize = 512 * 1024 * 1024;

/// Log of the library that the channels hold.
#[derive(Debug)]
pub struct ChannelLog {
    bots: Arc<Bots>,
    binding: Arc<LibraryBinding>,
    history: Arc<ChannelHistory>,
    reader: Arc<DocumentReader>,
    poster: Arc<DocumentPoster>,
    notes: ManifestNotes,
    map: tokio::sync::Mutex<LogMap>,
}

impl ChannelLog {
    /// Makes a log whose documents go through `packs`. `keys` keeps notes on our manifests.
    pub fn new(parts: &ChannelParts, packs: &ChannelPacks, keys: Arc<dyn KeyStore>) -> Self {
        let ChannelParts {
            bots,
            binding,
            history,
            ..
        } = parts.clone();
        Self {
            bots,
            binding,
            history,
            reader: Arc::clone(packs.reader()),
            poster: Arc::clone(packs.poster()),
            notes: ManifestNotes::new(keys),
            map: tokio::sync::Mutex::default(),
        }
    }

    /// Adds an object. Its pieces are documents that are posted one after the other.
    ///
    /// # Errors
    /// When a piece cannot be posted.
    pub async fn append(&self, object: LogObject, bytes: &Bytes) -> Result<(), RemoteError> {
        let bound = self.binding.bound()?;
        let mut map = self.map.lock().await;
        let chunks = chunks(bytes);
        let mut piece = LogPiece {
            object,
            piece: 1,
            pieces: u32::try_from(chunks.len()).unwrap_or(u32::MAX),
            first: None,
            before: None,
            mark: None,
            manifest: None,
        };
        if object.kind == LogKind::Snapshot {
            piece.before = map.newest_snapshot().and_then(ObjectPieces::last_message);
            piece.mark = bound.mark;
            piece.manifest = map.manifest(object.number);
        }
        for (number, chunk) in (1..).zip(&chunks) {
            piece.piece = number;
            let message = self.post_piece(bound, chunk, &piece).await?;
            map.add(bound.home, &message, &piece);
            map.note_appended(message.id);
            piece.first.get_or_insert(message.id);
        }
        if let (LogKind::Manifest, Some(first)) = (object.kind, piece.first) {
            self.notes.remember(object.number, first);
        }
        Ok(())
    }

    async fn post_piece(
        &self,
        bound: BoundLibrary,
        bytes: &Bytes,
        piece: &LogPiece,
    ) -> Result<ChannelMessage, RemoteError> {
        let LogObject { kind, number, .. } = piece.object;
        let (kind, extension) = match kind {
            LogKind::Manifest => ("manifest", "tgfslog"),
            LogKind::Snapshot => ("snapshot", "tgfssnapshot"),
        };
        let document = SmallDocument {
            channel: bound.home,
            bytes,
            name: &format!("{number:020}-{}.{extension}", piece.piece),
            caption: &bound.caption(CaptionBody::Log(*piece)).to_string(),
            op: &format!("post {kind} {number}"),
        };
        self.poster.post_small(document).await
    }

    /// Lists the whole objects of a kind above `after`.
    ///
    /// # Errors
    /// When no bot can read the home channel now.
    pub async fn list(&self, kind: LogKind, after: u64) -> Result<Vec<LogObject>, RemoteError> {
        let mut map = self.map.lock().await;
        let Some(bound) = self.binding.get() else {
            return Ok(Vec::new());
        };
        match kind {
            LogKind::Snapshot => {
                let known = map.newest_snapshot().is_some();
                if !known && !self.follow_pins(bound, &mut map).await? {
                    self.scan(bound, &mut map, MessageId::FIRST).await?;
                }
            }
            LogKind::Manifest => {
                let known = map.message_before(after);
                let from = known.max(self.notes.message_before(after)?);
                let from = from.unwrap_or(MessageId::FIRST).max(MessageId::FIRST);
                self.scan(bound, &mut map, from).await?;
            }
        }
        Ok(map.whole(kind, after))
    }

    /// Scans all messages from `from` to the newest that were not scanned yet.
    async fn scan(
        &self,
        bound: BoundLibrary,
        map: &mut LogMap,
        from: MessageId,
    ) -> Result<(), RemoteError> {
        let BoundLibrary { library, home, .. } = bound;
        // A message of our own since the last scan bounds the range that must be known. Without one,
        // others may have posted up to now.
        let end = match map.take_appended() {
            Some(appended) => appended.next(),
            None => self.history.upper_end(home).await?,
        };
        for range in map.unscanned(from, end) {
            for ours in self.history.scan_ours(home, range, library).await? {
                self.history.see(home, ours.message.id);
                if let CaptionBody::Log(piece) = ours.body {
                    map.add(home, &ours.message, &piece);
                }
            }
        }
        map.note_scanned(from, end);
        Ok(())
    }

    /// Goes from the pinned snapshot to the one before it, and so on. Returns whether there is one.
    async fn follow_pins(
        &self,
        bound: BoundLibrary,
        map: &mut LogMap,
    ) -> Result<bool, RemoteError> {
        let home = bound.home;
        let mut next = self.history.pinned(home).await?;
        let mut found = false;
        while let Some(message) = next.take() {
            let Some(piece) = snapshot_piece(bound, &message) else {
                break;
            };
            map.add(home, &message, &piece);
            self.add_other_pieces(home, &message, &piece, map).await?;
            found = true;
            if let Some(before) = piece.before {
                next = self.history.message_at(home, before).await?;
            }
        }
        Ok(found)
    }

    /// Adds the pieces before the last one of an object.
    async fn add_other_pieces(
        &self,
        home: ChannelId,
        last: &ChannelMessage,
        piece: &LogPiece,
        map: &mut LogMap,
    ) -> Result<(), RemoteError> {
        let Some(first) = piece.first.filter(|_| piece.pieces > 1) else {
            return Ok(());
        };
        for message in self.history.scan(home, first..last.id).await? {
            if let Some(Caption {
                body: CaptionBody::Log(other),
                ..
            }) = Caption::read(&message.text)
                && other.object == piece.object
            {
                map.add(home, &message, &other);
            }
        }
        Ok(())
    }

    /// Reads an object.
    ///
    /// # Errors
    /// [`RemoteErrorKind::NotFound`] when it is not there.
    pub async fn read(&self, object: LogObject) -> Result<Bytes, RemoteError> {
        let op = format!(
            "read the library's log ({:?} {})",
            object.kind, object.number
        );
        let known = self.map.lock().await.whole_object(object).cloned();
        let pieces = match known {
            Some(pieces) => pieces,
            None => {
                let before = object.number.saturating_sub(1);
                self.list(object.kind, before).await?;
                let map = self.map.lock().await;
                map.whole_object(object).cloned().ok_or_else(|| {
                    RemoteError::new(RemoteErrorKind::NotFound, op.as_str(), "it is not there")
                })?
            }
        };
        let documents = pieces.documents();
        if pieces.len() > MAX_LOG_OBJECT_BYTES {
            let message = "it is larger than any that tgfs writes";
            return Err(RemoteError::new(RemoteErrorKind::Corrupt, op, message));
        }
        let is_one = documents.len() == 1;
        let mut whole = BytesMut::new();
        for document in documents.filter(|document| document.len > 0) {
            let range = ByteRange::new(0, document.len);
            let bytes = self
                .reader
                .read(&op, document, range, Urgency::Waited)
                .await?;
            if is_one {
                return Ok(bytes);
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }

    /// Pins a snapshot, so that recovery finds it first.
    ///
    /// # Errors
    /// When no bot may pin.
    pub async fn endorse(&self, snapshot: LogObject) -> Result<(), RemoteError> {
        let home = self.binding.bound()?.home;
        let last = {
            let map = self.map.lock().await;
            map.pieces(snapshot).and_then(ObjectPieces::last_message)
        };
        let Some(last) = last else {
            return Ok(());
        };
        self.bots.wait_to_post(home, PostPriority::Log).await;
        self.bots
            .with_any("pin the snapshot", home, |member, peer| async move {
                messages::pin(&member.bot, peer, last).await
            })
            .await
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// When no bot may delete.
    pub async fn delete(&self, object: LogObject) -> Result<(), RemoteError> {
        let home = self.binding.bound()?.home;
        let mut map = self.map.lock().await;
        let Some(pieces) = map.pieces(object) else {
            return Ok(());
        };
        let documents = pieces.documents();
        let ids: Vec<MessageId> = documents.map(|document| document.address.message).collect();
        self.history.delete(home, &ids).await?;
        map.remove(object);
        Ok(())
    }
}

/// Returns the pieces of an object's bytes; an empty object has one empty piece.
fn chunks(bytes: &Bytes) -> Vec<Bytes> {
    if bytes.is_empty() {
        return vec![bytes.clone()];
    }
    let begins = (0..bytes.len()).step_by(PIECE_BYTES);
    begins
        .map(|begin| bytes.slice(begin..bytes.len().min(begin + PIECE_BYTES)))
        .collect()
}

/// Returns the piece of a snapshot of this library that a message holds.
fn snapshot_piece(bound: BoundLibrary, message: &ChannelMessage) -> Option<LogPiece> {
    let Caption { library, body, .. } = Caption::read(&message.text)?;
    match body {
        CaptionBody::Log(piece)
            if library == bound.library && piece.object.kind == LogKind::Snapshot =>
        {
            Some(piece)
        }
        _ => None,
    }
}
