//! Map of the home channel's log: its objects, and the messages that hold them.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::model::{ChannelId, MessageId, TelegramAddress};
use crate::remote::telegram::bots::messages::ChannelMessage;
use crate::remote::telegram::channel::caption::LogPiece;
use crate::remote::telegram::packs::download::StoredDocument;
use crate::remote::{LogKind, LogObject};

/// Known part of the home channel's log.
#[derive(Debug, Default)]
pub struct LogMap {
    /// Range of message numbers that were scanned.
    scanned: Option<Range<MessageId>>,
    objects: BTreeMap<LogObject, ObjectPieces>,
    /// The highest message of our own since the log was listed last. Messages of others before it have
    /// lower numbers.
    appended: Option<MessageId>,
}

/// Pieces of one log object.
#[derive(Debug, Clone, Default)]
pub struct ObjectPieces {
    /// Number of pieces of the object; 0 when it is not known.
    count: u32,
    documents: BTreeMap<u32, StoredDocument>,
    /// The manifest with the same number, in a snapshot.
    manifest: Option<MessageId>,
}

impl ObjectPieces {
    fn is_whole(&self) -> bool {
        self.count > 0 && self.documents.len() == self.count as usize
    }

    /// Returns the bytes of all pieces, as far as they can be counted.
    pub fn len(&self) -> u64 {
        let lengths = self.documents.values().map(|document| document.len);
        lengths.fold(0, u64::saturating_add)
    }

    /// Returns the documents in the order of the pieces.
    pub fn documents(&self) -> impl ExactSizeIterator<Item = StoredDocument> + '_ {
        self.documents.values().copied()
    }

    /// Returns the last message of the object.
    pub fn last_message(&self) -> Option<MessageId> {
        let documents = self.documents.values();
        documents.map(|document| document.address.message).max()
    }
}

impl LogMap {
    /// Adds a piece.
    pub fn add(&mut self, channel: ChannelId, message: &ChannelMessage, piece: &LogPiece) {
        let Some(document) = &message.document else {
            return;
        };
        let pieces = self.objects.entry(piece.object).or_default();
        pieces.count = piece.pieces;
        pieces.manifest = pieces.manifest.max(piece.manifest);
        let document = StoredDocument {
            address: TelegramAddress {
                channel,
                message: message.id,
                document: document.id,
                dc: document.dc,
            },
            len: document.size,
        };
        // A piece that was sent twice after a lost answer has the same bytes.
        pieces.documents.entry(piece.piece).or_insert(document);
    }

    /// Notes a message of our own.
    pub fn note_appended(&mut self, message: MessageId) {
        self.appended = self.appended.max(Some(message));
    }

    /// Takes the highest message of our own since the last call.
    pub fn take_appended(&mut self) -> Option<MessageId> {
        self.appended.take()
    }

    /// Returns the pieces of an object, whole or not.
    pub fn pieces(&self, object: LogObject) -> Option<&ObjectPieces> {
        self.objects.get(&object)
    }

    /// Returns the pieces of an object that is whole.
    pub fn whole_object(&self, object: LogObject) -> Option<&ObjectPieces> {
        self.pieces(object).filter(|pieces| pieces.is_whole())
    }

    /// Removes an object.
    pub fn remove(&mut self, object: LogObject) {
        self.objects.remove(&object);
    }

    /// Returns the whole objects of a kind with numbers above `above`.
    pub fn whole(&self, kind: LogKind, above: u64) -> Vec<LogObject> {
        let wanted = |object: &LogObject| object.kind == kind && object.number > above;
        let found = self
            .objects
            .iter()
            .filter(|(object, pieces)| wanted(object) && pieces.is_whole());
        found.map(|(object, _)| *object).collect()
    }

    /// Returns the whole snapshot that was posted last.
    pub fn newest_snapshot(&self) -> Option<&ObjectPieces> {
        let whole = self.whole(LogKind::Snapshot, 0);
        whole
            .iter()
            .filter_map(|object| self.objects.get(object))
            .max_by_key(|pieces| pieces.last_message())
    }

    /// Returns the last message of the manifest with this number.
    pub fn manifest(&self, number: u64) -> Option<MessageId> {
        let mut objects = self.objects.iter();
        let (_, pieces) = objects
            .find(|(object, _)| object.kind == LogKind::Manifest && object.number == number)?;
        pieces.last_message()
    }

    /// Returns a message that every manifest above `number` comes after, if one is known.
    pub fn message_before(&self, number: u64) -> Option<MessageId> {
        let known = self.objects.iter().filter_map(|(object, pieces)| {
            let message = match object.kind {
                LogKind::Manifest => pieces.last_message(),
                LogKind::Snapshot => pieces.manifest,
            };
            message.filter(|_| object.number <= number)
        });
        known.max()
    }

    /// Returns the ranges from `from` to `end` that were not scanned yet.
    pub fn unscanned(&self, from: MessageId, end: MessageId) -> Vec<Range<MessageId>> {
        let mut ranges = match &self.scanned {
            Some(scanned) if from >= scanned.start => vec![from.max(scanned.end)..end],
            Some(scanned) => vec![from..scanned.start, scanned.end..end],
            None => vec![from..end],
        };
        ranges.retain(|range| range.start < range.end);
        ranges
    }

    /// Notes that all messages from `from` to `end` have been scanned.
    pub fn note_scanned(&mut self, from: MessageId, end: MessageId) {
        self.scanned = Some(match &self.scanned {
            Some(scanned) => scanned.start.min(from)..scanned.end.max(end),
            None => from..end,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WriterId;
    use crate::remote::telegram::bots::messages::Document;

    const HOME: ChannelId = ChannelId::new(1);

    fn message(id: i32) -> ChannelMessage {
        ChannelMessage {
            id: MessageId::new(id),
            date: 0,
            text: String::new(),
            document: Some(Document {
                id: i64::from(id),
                access_hash: 0,
                reference: Vec::new(),
                size: 1,
                dc: 2,
                name: String::new(),
                mime: String::new(),
            }),
        }
    }

    fn piece(kind: LogKind, number: u64, piece: u32, pieces: u32) -> LogPiece {
        LogPiece {
            object: LogObject {
                kind,
                number,
                writer: WriterId::from_bytes([3; 16]),
            },
            piece,
            pieces,
            first: None,
            before: None,
            mark: None,
            manifest: None,
        }
    }

    #[test]
    fn impossible_lengths_have_a_sum() {
        let mut map = LogMap::default();
        let object = piece(LogKind::Manifest, 5, 1, 2);
        for number in 1..=2 {
            let mut large = message(10 + number);
            large.document.as_mut().unwrap().size = u64::MAX - 1;
            let part = u32::try_from(number).unwrap();
            map.add(HOME, &large, &piece(LogKind::Manifest, 5, part, 2));
        }
        assert_eq!(map.whole_object(object.object).unwrap().len(), u64::MAX);
    }

    #[test]
    fn an_object_counts_once_all_its_pieces_are_there() {
        let mut map = LogMap::default();
        map.add(HOME, &message(10), &piece(LogKind::Manifest, 5, 1, 2));
        assert!(map.whole(LogKind::Manifest, 0).is_empty());
        map.add(HOME, &message(11), &piece(LogKind::Manifest, 5, 2, 2));
        assert_eq!(map.whole(LogKind::Manifest, 4).len(), 1);
        assert!(map.whole(LogKind::Manifest, 5).is_empty());
        assert_eq!(map.manifest(5), Some(MessageId::new(11)));
        assert_eq!(map.message_before(5), Some(MessageId::new(11)));
        assert_eq!(map.message_before(4), None);
    }

    #[test]
    fn a_range_is_scanned_once() {
        let id = MessageId::new;
        let mut map = LogMap::default();
        assert_eq!(map.unscanned(id(50), id(90)), [id(50)..id(90)]);
        map.note_scanned(id(50), id(90));
        assert_eq!(map.unscanned(id(60), id(95)), [id(90)..id(95)]);
        assert_eq!(
            map.unscanned(id(1), id(95)),
            [id(1)..id(50), id(90)..id(95)]
        );
        assert!(map.unscanned(id(60), id(90)).is_empty());
    }
}
