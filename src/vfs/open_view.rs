//! Reading a view: what is generated, ranges of the file and of its derived blob, and segments that
//! are muxed on the way.

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::viewed_file::ViewedFile;
use crate::ingest::extents::{ExtentList, needed};
use crate::media::hls::view::{MappedSegment, Piece, ViewBody, ViewFile};
use crate::media::hls::views::{self, MapError};
use crate::media::in_place::{self, Picker};
use crate::media::transport::SegmentLayout;
use crate::model::{
    Blob, BlobId, ByteRange, ErrorKind, Extent, ExtentSource, FileContent, FsError, FsResult,
    Pieces,
};
use crate::read::{ExtentReader, Follower, Leaving, ReadReach, Reading};

/// A view that is open: fixed for the life of the handle.
#[derive(Debug)]
pub struct OpenView {
    file: ViewedFile,
    view: ViewFile,
    loaded: OnceCell<LoadedView>,
    follower: Follower,
}

#[derive(Debug)]
struct LoadedView {
    body: LoadedBody,
    source: ExtentList,
    /// The file's, and the derived one.
    blobs: Vec<Blob>,
}

/// What a view is made of, once its part of the map was read.
#[derive(Debug)]
enum LoadedBody {
    Joined(Vec<Piece>),
    /// Muxed from all its samples, which are these pieces.
    Muxed(SegmentLayout, Vec<Piece>),
    /// Packets of the file, which are these pieces, some of them left out.
    Picked(Picker, Vec<Piece>),
}

impl OpenView {
    pub fn new(file: ViewedFile, view: ViewFile) -> Self {
        Self {
            file,
            view,
            loaded: OnceCell::new(),
            // A player opens one segment after the other.
            follower: Follower::new(Leaving::Waits),
        }
    }

    /// The file that the view is made of, as it was when the view was opened.
    pub fn content(&self) -> Option<&FileContent> {
        self.file.content().ok()
    }

    /// The bytes of `[offset, offset + len)`, cut to the end of the view.
    pub async fn read(&self, reader: &ExtentReader, offset: u64, len: u64) -> FsResult<Pieces> {
        let end = offset.saturating_add(len).min(self.view.size);
        if offset >= end {
            return Ok(Pieces::default());
        }
        let range = ByteRange::new(offset, end - offset);
        let loaded = self.loaded.get_or_try_init(|| self.open(reader)).await?;
        match &loaded.body {
            LoadedBody::Joined(pieces) => self.join(reader, loaded, pieces, range).await,
            LoadedBody::Muxed(layout, pieces) => {
                let part = layout.part(range);
                let data = self.join(reader, loaded, pieces, part.data).await?;
                let muxed = layout.mux(&part, &data.joined()).map_err(corrupt)?;
                let skip = offset - part.output.offset;
                Ok(self::part(&Bytes::from(muxed), skip, range.len).into())
            }
            LoadedBody::Picked(picker, pieces) => {
                let part = picker.part(range);
                let data = self.join(reader, loaded, pieces, part.data).await?;
                let picked = Bytes::from(picker.pick(&part, &data.joined()));
                Ok(self::part(&picked, offset - part.start, range.len).into())
            }
        }
    }

    /// A range of the pieces in a row.
    async fn join(
        &self,
        reader: &ExtentReader,
        loaded: &LoadedView,
        pieces: &[Piece],
        range: ByteRange,
    ) -> FsResult<Pieces> {
        let LoadedView { source, blobs, .. } = loaded;
        let (offset, end) = (range.offset, range.end());
        let mut whole = Pieces::default();
        let mut extents: Vec<Extent> = Vec::new();
        let content = self.file.content()?;
        let derived = self.file.derived()?;
        follow_view(reader, &self.follower, (content, derived), pieces, range);
        let mut start = 0;
        for piece in pieces {
            let piece_end = start + piece.len();
            if piece_end > offset && start < end {
                let skip = offset.saturating_sub(start);
                let take = end.min(piece_end) - start - skip;
                match piece {
                    Piece::Literal(bytes) => {
                        flush(reader, &mut extents, blobs, &mut whole).await?;
                        whole.push(part(bytes, skip, take));
                    }
                    Piece::Content(range) => {
                        extents.extend(source.range(range.offset + skip, take))
                    }
                    Piece::Derived(range) => {
                        extents.push(derived_extent(derived, *range, skip, take))
                    }
                }
            }
            if piece_end >= end {
                break;
            }
            start = piece_end;
        }
        flush(reader, &mut extents, blobs, &mut whole).await?;
        // A map that does not sum up to the announced size is damage, never a short answer.
        if whole.len() != range.len {
            return Err(FsError::new(
                ErrorKind::Corrupt,
                "the map of this view does not fit it",
            ));
        }
        Ok(whole)
    }

    async fn open(&self, reader: &ExtentReader) -> FsResult<LoadedView> {
        let content = self.file.content()?;
        let mut blobs = content.blobs.clone();
        blobs.push(self.file.derived()?.clone());
        Ok(LoadedView {
            body: self.body(reader).await?,
            source: ExtentList::new(content.extents.clone()),
            blobs,
        })
    }

    async fn body(&self, reader: &ExtentReader) -> FsResult<LoadedBody> {
        match &self.view.body {
            ViewBody::Inline(bytes) => Ok(LoadedBody::Joined(vec![Piece::Literal(bytes.clone())])),
            ViewBody::Pieces(pieces) => Ok(LoadedBody::Joined(pieces.clone())),
            ViewBody::Derived(range) => Ok(LoadedBody::Joined(vec![Piece::Derived(*range)])),
            ViewBody::Mapped(mapped) => {
                let frame = self.frame(reader, mapped).await?;
                views::assemble(self.file.views()?, mapped.track, mapped.segment, &frame)
                    .map(LoadedBody::Joined)
                    .map_err(corrupt)
            }
            ViewBody::InPlace(number) => in_place::segment(self.file.views()?, *number)
                .map(|(picker, pieces)| match picker {
                    Some(picker) => LoadedBody::Picked(picker, pieces),
                    None => LoadedBody::Joined(pieces),
                })
                .map_err(corrupt),
            ViewBody::Transport(mapped) => {
                let frame = self.frame(reader, mapped).await?;
                views::transport(self.file.views()?, mapped.track, mapped.segment, &frame)
                    .map(|(layout, pieces)| LoadedBody::Muxed(layout, pieces))
                    .map_err(corrupt)
            }
        }
    }

    async fn frame(&self, reader: &ExtentReader, mapped: &MappedSegment) -> FsResult<Bytes> {
        let derived = self.file.derived()?;
        let extent = derived_extent(derived, mapped.frame, 0, mapped.frame.len);
        reader.read(&[extent], std::slice::from_ref(derived)).await
    }
}

fn corrupt(error: MapError) -> FsError {
    FsError::caused_by(ErrorKind::Corrupt, error)
}

async fn flush(
    reader: &ExtentReader,
    extents: &mut Vec<Extent>,
    blobs: &[Blob],
    whole: &mut Pieces,
) -> FsResult<()> {
    if !extents.is_empty() {
        whole.append(reader.read_pieces(extents, blobs).await?);
        extents.clear();
    }
    Ok(())
}

fn derived_extent(derived: &Blob, range: ByteRange, skip: u64, len: u64) -> Extent {
    Extent {
        source: ExtentSource::Blob(derived.id),
        offset: range.offset + skip,
        len,
    }
}

fn part(bytes: &Bytes, skip: u64, take: u64) -> Bytes {
    let from = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
    let to = from
        .saturating_add(usize::try_from(take).unwrap_or(usize::MAX))
        .min(bytes.len());
    bytes.slice(from..to)
}

/// A read of a view, of which the pieces of `range` are needed: segments that are asked for one
/// after the other are one stream through the file they are cut from.
fn follow_view(
    reader: &ExtentReader,
    follower: &Follower,
    (content, derived): (&FileContent, &Blob),
    pieces: &[Piece],
    range: ByteRange,
) {
    let mut start = 0;
    let (mut of_content, mut of_derived) = (None, None);
    let mut reach = ReadReach::End;
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
        reach = ReadReach::Within;
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

/// Tells the read-ahead of a read of one version of a file.
pub fn follow_content(
    reader: &ExtentReader,
    follower: &Follower,
    content: &FileContent,
    range: ByteRange,
    reach: ReadReach,
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
    reader: &ExtentReader,
    follower: &Follower,
    derived: &Blob,
    range: ByteRange,
    reach: ReadReach,
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
