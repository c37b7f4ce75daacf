//! Captions: the texts of our messages, by which a channel explains itself without an index.
//!
//! `tgfs1 KIND key=value …`, words separated by blanks; ids in hexadecimal digits. Unknown keys are
//! skipped, so that later versions may add some. docs/FORMAT.md has the table.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::model::{ChannelId, LibraryId, MessageId, PackId, WriterId};
use crate::remote::telegram::bots::messages::CAPTION_LIMIT;
use crate::remote::{LogKind, LogObject};

const MARK: &str = "tgfs1";
/// Most pieces of one log object. No log is that large, so a higher number is not ours.
const MAX_PIECES: u32 = 10_000;

/// Text of one message of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption {
    /// Library that the message belongs to.
    pub library: LibraryId,
    /// The channel that holds the library's log.
    pub home: ChannelId,
    /// Kind of the message.
    pub body: CaptionBody,
}

/// Kind of a message of ours, with what only this kind says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptionBody {
    /// Mark: says which library a channel belongs to; pinned.
    Library {
        /// The wrapped key of an encrypted library.
        wrap: Option<Bytes>,
    },
    /// A pack.
    Pack {
        /// Id of the pack.
        id: PackId,
    },
    /// One piece of a manifest or snapshot.
    Log(LogPiece),
    /// The table of a pack whose data is a document of others.
    Table {
        /// Id of the pack.
        id: PackId,
    },
    /// Posted to learn the newest number, then deleted.
    Probe,
    /// Replaces a message that could not be deleted any more.
    Tombstone,
}

/// One piece of a log object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPiece {
    /// Manifest or snapshot that it is a piece of.
    pub object: LogObject,
    /// From 1 to `pieces`.
    pub piece: u32,
    /// Pieces of the object.
    pub pieces: u32,
    /// The message of the first piece, in the pieces behind it.
    pub first: Option<MessageId>,
    /// Last message of the snapshot before, which recovery falls back to; only in snapshots.
    pub before: Option<MessageId>,
    /// The library's mark; only in snapshots.
    pub mark: Option<MessageId>,
    /// In snapshots: the message of the manifest with the same number. Later changes stand in later
    /// messages.
    pub manifest: Option<MessageId>,
}

impl LogPiece {
    const fn messages(&self) -> [(&'static str, Option<MessageId>); 4] {
        [
            ("mark", self.mark),
            ("first", self.first),
            ("before", self.before),
            ("manifest", self.manifest),
        ]
    }
}

impl fmt::Display for Caption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MARK)?;
        match &self.body {
            CaptionBody::Library { .. } => f.write_str(" library")?,
            CaptionBody::Pack { id } => write!(f, " pack id={id}")?,
            CaptionBody::Table { id } => write!(f, " table id={id}")?,
            CaptionBody::Log(piece) => {
                let kind = match piece.object.kind {
                    LogKind::Manifest => "manifest",
                    LogKind::Snapshot => "snapshot",
                };
                let LogObject { number, writer, .. } = piece.object;
                write!(f, " {kind} number={number} writer={writer}")?;
                write!(f, " piece={}/{}", piece.piece, piece.pieces)?;
                for (key, message) in piece.messages() {
                    if let Some(message) = message {
                        write!(f, " {key}={message}")?;
                    }
                }
            }
            CaptionBody::Probe => f.write_str(" probe")?,
            CaptionBody::Tombstone => f.write_str(" deleted")?,
        }
        write!(f, " library={} home={}", self.library, self.home.get())?;
        if let CaptionBody::Library { wrap: Some(wrap) } = &self.body {
            f.write_str(" key=")?;
            wrap.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}

impl Caption {
    /// Reads the text of a message; `None` for a text that no version of tgfs wrote.
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > CAPTION_LIMIT {
            return None;
        }
        let mut words = text.split_ascii_whitespace();
        if words.next()? != MARK {
            return None;
        }
        let kind = words.next()?;
        let words: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
        let text_of = |key: &str| {
            let found = words.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| *value)
        };
        let body = match kind {
            "library" => CaptionBody::Library {
                wrap: match text_of("key") {
                    Some(digits) => Some(from_hex(digits)?.into()),
                    None => None,
                },
            },
            "pack" => CaptionBody::Pack {
                id: parse(text_of("id"))?,
            },
            "table" => CaptionBody::Table {
                id: parse(text_of("id"))?,
            },
            "manifest" | "snapshot" => CaptionBody::Log(log_piece(kind, &text_of)?),
            "probe" => CaptionBody::Probe,
            "deleted" => CaptionBody::Tombstone,
            _ => return None,
        };
        Some(Self {
            library: parse(text_of("library"))?,
            home: ChannelId::new(parse(text_of("home"))?),
            body,
        })
    }
}

fn log_piece<'a>(kind: &str, text_of: &impl Fn(&str) -> Option<&'a str>) -> Option<LogPiece> {
    let message = |key| match text_of(key) {
        Some(number) => Some(MessageId::from_stored(number.parse().ok()?)),
        None => Some(None),
    };
    let (piece, pieces) = text_of("piece")?.split_once('/')?;
    let piece = LogPiece {
        object: LogObject {
            kind: match kind {
                "manifest" => LogKind::Manifest,
                _ => LogKind::Snapshot,
            },
            number: parse(text_of("number"))?,
            writer: parse::<WriterId>(text_of("writer"))?,
        },
        piece: piece.parse().ok()?,
        pieces: pieces.parse().ok()?,
        first: message("first")?,
        before: message("before")?,
        mark: message("mark")?,
        manifest: message("manifest")?,
    };
    let plausible = (1..=piece.pieces).contains(&piece.piece) && piece.pieces <= MAX_PIECES;
    plausible.then_some(piece)
}

fn parse<T: FromStr>(text: Option<&str>) -> Option<T> {
    text?.parse().ok()
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let text = std::str::from_utf8(pair)
                .ok()
                .filter(|text| text.len() == 2)?;
            u8::from_str_radix(text, 16).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Caption> {
        let writer = WriterId::from_bytes([3; 16]);
        let piece = LogPiece {
            object: LogObject {
                kind: LogKind::Snapshot,
                number: u64::MAX,
                writer,
            },
            piece: 2,
            pieces: 3,
            first: Some(MessageId::new(7)),
            before: Some(MessageId::new(i32::MAX)),
            mark: Some(MessageId::new(8)),
            manifest: Some(MessageId::new(9)),
        };
        let manifest = LogPiece {
            object: LogObject {
                kind: LogKind::Manifest,
                number: 1,
                writer,
            },
            piece: 1,
            pieces: 1,
            first: None,
            before: None,
            mark: None,
            manifest: None,
        };
        [
            CaptionBody::Library { wrap: None },
            CaptionBody::Library {
                wrap: Some(Bytes::from(vec![0xab; 200])),
            },
            CaptionBody::Pack {
                id: PackId::from_bytes([1; 16]),
            },
            CaptionBody::Log(piece),
            CaptionBody::Log(manifest),
            CaptionBody::Probe,
            CaptionBody::Tombstone,
            CaptionBody::Table {
                id: PackId::from_bytes([1; 16]),
            },
        ]
        .map(|body| Caption {
            library: LibraryId::from_bytes([2; 16]),
            home: ChannelId::new(i64::MAX),
            body,
        })
        .to_vec()
    }

    #[test]
    fn captions_come_back_and_fit() {
        for caption in samples() {
            let text = caption.to_string();
            assert!(text.len() <= CAPTION_LIMIT, "{text}");
            assert_eq!(Caption::read(&text), Some(caption), "{text}");
            assert_eq!(
                Caption::read(&format!("{text} later=1")),
                Caption::read(&text)
            );
        }
    }

    /// Frozen: captions of years ago must be read.
    #[test]
    fn captions_keep_their_form() {
        let library = format!("library={} home={}", "02".repeat(16), i64::MAX);
        let writer = "03".repeat(16);
        let expected = [
            format!("tgfs1 library {library}"),
            format!("tgfs1 library {library} key={}", "ab".repeat(200)),
            format!("tgfs1 pack id={} {library}", "01".repeat(16)),
            format!(
                "tgfs1 snapshot number={} writer={writer} piece=2/3 mark=8 first=7 \
                 before=2147483647 manifest=9 {library}",
                u64::MAX
            ),
            format!("tgfs1 manifest number=1 writer={writer} piece=1/1 {library}"),
            format!("tgfs1 probe {library}"),
            format!("tgfs1 deleted {library}"),
            format!("tgfs1 table id={} {library}", "01".repeat(16)),
        ];
        let texts: Vec<String> = samples().iter().map(Caption::to_string).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn foreign_texts_are_not_ours() {
        let library = "library=02020202020202020202020202020202 home=1";
        for text in [
            String::new(),
            "Heat (1995)".into(),
            "tgfs1".into(),
            format!("tgfs2 pack id=01010101010101010101010101010101 {library}"),
            format!("tgfs1 pack id=0101 {library}"),
            format!(
                "tgfs1 manifest number=1 writer=03030303030303030303030303030303 piece=2/1 {library}"
            ),
            format!("tgfs1 library key=0 {library}"),
            "tgfs1 probe library=xx home=1".into(),
        ] {
            assert_eq!(Caption::read(&text), None, "{text}");
        }
    }
}
