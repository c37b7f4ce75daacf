//! The virtual files made from [`Views`]: their names, exact sizes, and where their bytes lie.
//! Nothing here reads anything; a segment's bytes need one frame of the map, which the caller
//! brings.

use bytes::Bytes;

use crate::model::{ByteRange, SubtitleFormat, Track, Views};

use super::header;
use super::playlist::{self, MasterUris, subtitle_name, track_name};
pub use super::record::MapError;
use super::record::{self, Run};

/// One name in a directory of views.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewEntry {
    pub name: String,
    pub kind: ViewKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewKind {
    Directory,
    /// Of this many bytes.
    File(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewNode {
    Directory,
    File(ViewFile),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewFile {
    pub size: u64,
    pub body: ViewBody,
}

/// Where a view's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewBody {
    Inline(Bytes),
    /// A range of the derived blob.
    Derived(ByteRange),
    /// A segment: [`assemble`] it from the map's frame.
    Mapped {
        /// Number of the track in `Views::tracks`.
        track: usize,
        /// Number of the segment, from 0.
        segment: usize,
        /// The frame's range in the derived blob.
        frame: ByteRange,
        /// Number of the frame's first segment.
        first_segment_of_frame: usize,
    },
}

/// A part of an assembled segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Literal(Bytes),
    /// A range of the file.
    Content(ByteRange),
    /// A range of the derived blob.
    Derived(ByteRange),
}

impl Piece {
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Literal(bytes) => bytes.len() as u64,
            Self::Content(range) | Self::Derived(range) => range.len,
        }
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

const MASTER: &str = "master.m3u8";
const INIT: &str = "init.mp4";

/// What lies in `directory`: empty for the film's own, `video`, `audio-1`, `sub-1`.
#[must_use]
pub fn entries(views: &Views, directory: &str) -> Option<Vec<ViewEntry>> {
    let directory = directory.trim_matches('/');
    if directory.is_empty() {
        return Some(root_entries(views));
    }
    if let Some(index) = track_index(views, directory) {
        let track = &views.tracks[index];
        let mut list = vec![file(INIT.to_owned(), track.init.len() as u64)];
        let segments = track.segments.iter().enumerate();
        list.extend(
            segments.map(|(number, segment)| file(segment_name(number, "m4s"), segment.size)),
        );
        return Some(list);
    }
    let subtitle = &views.subtitles[subtitle_index(views, directory)?];
    let segments = subtitle.segments.iter().enumerate();
    Some(
        segments
            .map(|(number, range)| file(segment_name(number, "vtt"), range.len))
            .collect(),
    )
}

fn file(name: String, size: u64) -> ViewEntry {
    ViewEntry {
        name,
        kind: ViewKind::File(size),
    }
}

fn root_entries(views: &Views) -> Vec<ViewEntry> {
    let tracks = (0..views.tracks.len()).map(|index| track_name(views, index));
    let subtitles = (0..views.subtitles.len()).map(subtitle_name);
    let mut list = vec![file(
        MASTER.to_owned(),
        playlist::master(views, &MasterUris::default()).len() as u64,
    )];
    for name in tracks.chain(subtitles) {
        let size = playlist::media(views, &name, "").map_or(0, |text| text.len() as u64);
        list.push(file(format!("{name}.m3u8"), size));
        list.push(ViewEntry {
            name,
            kind: ViewKind::Directory,
        });
    }
    for subtitle in &views.subtitles {
        for (format, range) in &subtitle.texts {
            list.push(file(
                format!("{}.{}", subtitle.key, format.extension()),
                range.len,
            ));
        }
    }
    list
}

/// The view at `path`, relative to the film's own directory; `None` when there is none.
#[must_use]
pub fn find(views: &Views, path: &str) -> Option<ViewNode> {
    let path = path.trim_matches('/');
    match path.split_once('/') {
        None if path.is_empty() => Some(ViewNode::Directory),
        None => find_in_root(views, path),
        Some((directory, name)) => {
            if let Some(index) = track_index(views, directory) {
                return find_in_track(views, index, name).map(ViewNode::File);
            }
            let subtitle = &views.subtitles[subtitle_index(views, directory)?];
            let range = subtitle.segments.get(segment_number(name, "vtt")?)?;
            Some(derived(*range))
        }
    }
}

fn find_in_root(views: &Views, name: &str) -> Option<ViewNode> {
    if name == MASTER {
        return Some(inline(playlist::master(views, &MasterUris::default())));
    }
    if track_index(views, name).is_some() || subtitle_index(views, name).is_some() {
        return Some(ViewNode::Directory);
    }
    let (stem, extension) = name.rsplit_once('.')?;
    if extension == "m3u8" {
        return playlist::media(views, stem, "").map(inline);
    }
    let subtitle = views
        .subtitles
        .iter()
        .find(|subtitle| subtitle.key == stem)?;
    subtitle
        .texts
        .iter()
        .find(|(format, _)| format.extension() == extension)
        .map(|(_, range)| derived(*range))
}

fn find_in_track(views: &Views, index: usize, name: &str) -> Option<ViewFile> {
    let track = &views.tracks[index];
    if name == INIT {
        return Some(ViewFile {
            size: track.init.len() as u64,
            body: ViewBody::Inline(Bytes::copy_from_slice(&track.init)),
        });
    }
    let segment = segment_number(name, "m4s")?;
    let size = track.segments.get(segment)?.size;
    let (frame, first_segment_of_frame) = frame_of(views, track, segment)?;
    Some(ViewFile {
        size,
        body: ViewBody::Mapped {
            track: index,
            segment,
            frame,
            first_segment_of_frame,
        },
    })
}

fn inline(text: String) -> ViewNode {
    ViewNode::File(ViewFile {
        size: text.len() as u64,
        body: ViewBody::Inline(Bytes::from(text)),
    })
}

fn derived(range: ByteRange) -> ViewNode {
    ViewNode::File(ViewFile {
        size: range.len,
        body: ViewBody::Derived(range),
    })
}

fn track_index(views: &Views, name: &str) -> Option<usize> {
    (0..views.tracks.len()).find(|&index| track_name(views, index) == name)
}

fn subtitle_index(views: &Views, name: &str) -> Option<usize> {
    (0..views.subtitles.len()).find(|&index| subtitle_name(index) == name)
}

/// Names count from 1, so that players and people agree on the first.
fn segment_name(number: usize, extension: &str) -> String {
    format!("{:05}.{extension}", number + 1)
}

fn segment_number(name: &str, extension: &str) -> Option<usize> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    let number = digits.parse::<usize>().ok()?.checked_sub(1)?;
    // One name a segment: neither `1.m4s` nor `+0001.m4s`.
    (segment_name(number, extension) == name).then_some(number)
}

/// The frame that holds `segment`, in the derived blob, and the number of its first segment.
fn frame_of(views: &Views, track: &Track, segment: usize) -> Option<(ByteRange, usize)> {
    let mut first = 0_usize;
    for (range, count) in &track.frames {
        let next = first.checked_add(*count as usize)?;
        if segment < next {
            let offset = views.map.offset.checked_add(range.offset)?;
            return Some((ByteRange::new(offset, range.len), first));
        }
        first = next;
    }
    None
}

/// The bytes of a segment as pieces; their lengths sum up to the size that [`find`] announced.
///
/// # Errors
/// When the frame is not what ingest wrote.
pub fn assemble(
    views: &Views,
    track: usize,
    segment: usize,
    frame_bytes: &[u8],
) -> Result<Vec<Piece>, MapError> {
    let info = views.tracks.get(track).ok_or(MapError("no such track"))?;
    let announced = info
        .segments
        .get(segment)
        .ok_or(MapError("no such segment"))?
        .size;
    let (_, first) = frame_of(views, info, segment).ok_or(MapError("no such frame"))?;
    let decoded = record::decode_segment(frame_bytes, segment - first)?;
    let sequence = u32::try_from(segment + 1).map_err(|_| MapError("segment number"))?;
    let header = header::write(&decoded.samples, decoded.decode_time, sequence);
    let mut pieces = vec![Piece::Literal(Bytes::from(header))];
    pieces.extend(decoded.runs.into_iter().map(|run| match run {
        Run::Content(range) => Piece::Content(range),
        Run::Derived(range) => Piece::Derived(range),
    }));
    let total = pieces
        .iter()
        .try_fold(0_u64, |sum, piece| sum.checked_add(piece.len()));
    if total == Some(announced) {
        Ok(pieces)
    } else {
        Err(MapError("a segment of another size"))
    }
}

/// Ranges of the subtitle called `key` in `format`.
#[must_use]
pub fn subtitle_text(views: &Views, key: &str, format: SubtitleFormat) -> Option<ByteRange> {
    let subtitle = views
        .subtitles
        .iter()
        .find(|subtitle| subtitle.key == key)?;
    let mut texts = subtitle.texts.iter();
    texts
        .find(|(known, _)| *known == format)
        .map(|(_, range)| *range)
}
