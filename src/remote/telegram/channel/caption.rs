//! What stands in the text of our posts, so that a channel explains itself without an index.
//!
//! `tgfs1 KIND key=value …`, words separated by blanks; ids in hexadecimal digits. Unknown keys are
//! passed over, so that later versions may add some. docs/FORMAT.md has the table.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::model::{LibraryId, PackId, WriterId};
use crate::remote::telegram::bots::messages::CAPTION_LIMIT;
use crate::remote::{LogKind, LogObject};

const MARK: &str = "tgfs1";
/// Most pieces of one log object: 2,000 GB of log are none.
const MAX_PIECES: u32 = 10_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption {
    pub library: LibraryId,
    /// The channel that holds the library's log.
    pub home: i64,
    pub body: CaptionBody,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptionBody {
    /// Says which library a channel belongs to; pinned.
    Library {
        /// The wrapped key of an encrypted library.
        wrap: Option<Bytes>,
    },
    Pack {
        id: PackId,
    },
    /// One piece of a manifest or snapshot.
    Log(LogPiece),
    /// The table of a pack whose data is somebody else's document.
    Table {
        id: PackId,
    },
    /// Posted to learn the newest number, and deleted again.
    Probe,
    /// In place of a post that could not be deleted any more.
    Tombstone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPiece {
    pub object: LogObject,
    /// Counts from 1 to `pieces`.
    pub piece: u32,
    pub pieces: u32,
    /// Post of the first piece, in the pieces behind it; else 0.
    pub first: i32,
    /// In snapshots, else 0: the last post of the snapshot before, which recovery falls back to.
    pub before: i32,
    /// In snapshots, else 0: the post that says which library this is.
    pub mark: i32,
    /// In snapshots, else 0: the post of the manifest with the same number. What came later has a
    /// higher one.
    pub manifest: i32,
}

impl LogPiece {
    const fn posts(&self) -> [(&'static str, i32); 4] {
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
                for (key, post) in piece.posts() {
                    if post != 0 {
                        write!(f, " {key}={post}")?;
                    }
                }
            }
            CaptionBody::Probe => f.write_str(" probe")?,
            CaptionBody::Tombstone => f.write_str(" deleted")?,
        }
        write!(f, " library={} home={}", self.library, self.home)?;
        if let CaptionBody::Library { wrap: Some(wrap) } = &self.body {
            f.write_str(" key=")?;
            wrap.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}

impl Caption {
    /// What a post's text says; `None` for posts that are not ours, or that no version of ours wrote.
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
            home: parse(text_of("home"))?,
            body,
        })
    }
}

fn log_piece<'a>(kind: &str, text_of: &impl Fn(&str) -> Option<&'a str>) -> Option<LogPiece> {
    let post = |key| match text_of(key) {
        Some(number) => number.parse().ok(),
        None => Some(0),
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
        first: post("first")?,
        before: post("before")?,
        mark: post("mark")?,
        manifest: post("manifest")?,
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
            first: 7,
            before: i32::MAX,
            mark: 8,
            manifest: 9,
        };
        let manifest = LogPiece {
            object: LogObject {
                kind: LogKind::Manifest,
                number: 1,
                writer,
            },
            piece: 1,
            pieces: 1,
            first: 0,
            before: 0,
            mark: 0,
            manifest: 0,
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
            home: i64::MAX,
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
