//! What reads through a handle tell the read-ahead: where they are, and where the bytes behind them
//! lie.

use super::Inner;
use super::files::needed;
use super::open::FileHandle;
use crate::media::hls::views::Piece;
use crate::model::{Blob, BlobId, ByteRange, Extent, ExtentSource, FileContent};
use crate::read::{Follower, Reach, Reader, Reading};

impl Inner {
    /// A read of a file as it is now.
    pub(super) fn follow_file(&self, open: &FileHandle, range: ByteRange) {
        let reading = Reading {
            of: None,
            range,
            reach: Reach::Within,
        };
        let source = |range: ByteRange| {
            let found = self.extents_at(&open.file, range.offset, range.len);
            found.ok()
        };
        self.reader.follow(&open.follower, reading, &source);
    }

    /// A read of one version of a file.
    pub(super) fn follow_version(
        &self,
        follower: &Follower,
        content: &FileContent,
        range: ByteRange,
    ) {
        follow_content(&self.reader, follower, content, range, Reach::Within);
    }
}

/// A read of a view, of which the pieces of `range` are needed: segments that are asked for one
/// after the other are one stream through the file they are cut from.
pub(super) fn follow_view(
    reader: &Reader,
    follower: &Follower,
    (content, derived): (&FileContent, &Blob),
    pieces: &[Piece],
    range: ByteRange,
) {
    let mut start = 0;
    let (mut of_content, mut of_derived) = (None, None);
    let mut reach = Reach::End;
    for piece in pieces {
        let end = start + piece.len();
        let from = range.offset.max(start);
        let to = range.end().min(end);
        if from < to {
            let part = |whole: &ByteRange| ByteRange::new(whole.offset + from - start, to - from);
            match piece {
                Piece::Literal(_) => {}
                Piece::Content(whole) => widen(&mut of_content, part(whole)),
                Piece::Derived(whole) => widen(&mut of_derived, part(whole)),
            }
        }
        start = end;
    }
    if range.end() < start {
        reach = Reach::Within;
    }
    match (of_content, of_derived) {
        (Some(part), _) => follow_content(reader, follower, content, part, reach),
        (None, Some(part)) => follow_derived(reader, follower, derived, part, reach),
        (None, None) => {}
    }
}

fn widen(covered: &mut Option<ByteRange>, part: ByteRange) {
    *covered = Some(match *covered {
        None => part,
        Some(known) => {
            let offset = known.offset.min(part.offset);
            ByteRange::new(offset, known.end().max(part.end()) - offset)
        }
    });
}

fn follow_content(
    reader: &Reader,
    follower: &Follower,
    content: &FileContent,
    range: ByteRange,
    reach: Reach,
) {
    let reading = Reading {
        of: first_blob(content),
        range,
        reach,
    };
    let source = |range: ByteRange| Some(needed(content, range.offset, range.len));
    reader.follow(follower, reading, &source);
}

fn follow_derived(
    reader: &Reader,
    follower: &Follower,
    derived: &Blob,
    range: ByteRange,
    reach: Reach,
) {
    let reading = Reading {
        of: Some(derived.id),
        range,
        reach,
    };
    let source = |range: ByteRange| {
        let len = range.end().min(derived.len).saturating_sub(range.offset);
        let extent = Extent {
            source: ExtentSource::Blob(derived.id),
            offset: range.offset,
            len,
        };
        (len > 0).then(|| (vec![extent], vec![derived.clone()]))
    };
    reader.follow(follower, reading, &source);
}

/// What tells a version's bytes from those of others.
fn first_blob(content: &FileContent) -> Option<BlobId> {
    content
        .extents
        .iter()
        .find_map(|extent| match extent.source {
            ExtentSource::Blob(id) => Some(id),
            ExtentSource::Zeros => None,
        })
}
