//! Types that describe one virtual file or directory of a film: its size, and the place of its bytes.

use bytes::Bytes;

use crate::model::ByteRange;

/// One name in a directory of views.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewEntry {
    pub name: String,
    pub kind: ViewKind,
}

impl ViewEntry {
    /// Returns an entry for a file of `size` bytes.
    pub(super) const fn file(name: String, size: u64) -> Self {
        Self {
            name,
            kind: ViewKind::File(size),
        }
    }

    /// Returns an entry for a directory.
    pub(super) const fn directory(name: String) -> Self {
        Self {
            name,
            kind: ViewKind::Directory,
        }
    }
}

/// Kind of a [`ViewEntry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewKind {
    Directory,
    /// A file of this many bytes.
    File(u64),
}

/// Result of looking up a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewNode {
    Directory,
    File(ViewFile),
}

impl ViewNode {
    /// Returns a file that holds `text`.
    pub(super) fn inline(text: String) -> Self {
        Self::File(ViewFile {
            size: text.len() as u64,
            body: ViewBody::Inline(Bytes::from(text)),
        })
    }

    /// Returns a file whose bytes are a range of the derived blob.
    pub(super) const fn derived(range: ByteRange) -> Self {
        Self::File(ViewFile::derived(range))
    }
}

/// Size and content of a virtual file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewFile {
    /// Size in bytes.
    pub size: u64,
    pub body: ViewBody,
}

impl ViewFile {
    /// Returns a file whose bytes are a range of the derived blob.
    pub(super) const fn derived(range: ByteRange) -> Self {
        Self {
            size: range.len,
            body: ViewBody::Derived(range),
        }
    }
}

/// Source of a view's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewBody {
    Inline(Bytes),
    /// Pieces in a row.
    Pieces(Vec<Piece>),
    /// A range of the derived blob.
    Derived(ByteRange),
    /// An fMP4 segment, which [`super::views::assemble`] builds from the map's frame.
    Mapped(MappedSegment),
    /// An MPEG-TS segment, which [`super::views::transport`] lays out.
    Transport(MappedSegment),
    /// An MPEG-TS segment, by its number from 0, that is a range of the film itself;
    /// `media::in_place::segment` puts it together.
    InPlace(usize),
}

/// Address of a segment in the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedSegment {
    /// Index into `Views::tracks`.
    pub track: usize,
    /// Number of the segment, from 0.
    pub segment: usize,
    /// Range of the map's frame in the derived blob.
    pub frame: ByteRange,
}

/// Consecutive bytes of an assembled view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Literal(Bytes),
    /// A range of the film's own bytes.
    Content(ByteRange),
    /// A range of the derived blob.
    Derived(ByteRange),
}

impl Piece {
    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Literal(bytes) => bytes.len() as u64,
            Self::Content(range) | Self::Derived(range) => range.len,
        }
    }

    /// Returns whether the piece has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
