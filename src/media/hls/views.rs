//! The virtual files made from [`Views`]: their names, exact sizes, and where their bytes lie.
//! Nothing here reads anything; a segment's bytes need one frame of the map, which the caller
//! brings.

use bytes::Bytes;

use crate::model::{ByteRange, SubtitleFormat, Track, Views};

use super::iframes;
use super::playlist::{self, Form, MasterUris, subtitle_name, track_name};
pub use crate::media::map::MapError;
use crate::media::map::{self, Run, Segment};
use crate::media::mp4::segment_header;
use crate::media::transport::{Position, SegmentLayout};

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
    /// These in a row.
    Pieces(Vec<Piece>),
    /// A range of the derived blob.
    Derived(ByteRange),
    /// A segment: [`assemble`] it from the map's frame.
    Mapped(MappedSegment),
    /// A segment as MPEG-TS: [`transport`] says how to mux it.
    Transport(MappedSegment),
    /// A segment, by its number from 0, that is a range of the file:
    /// [`crate::media::in_place::segment`] says how it is put together.
    InPlace(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedSegment {
    /// Number of the track in `Views::tracks`.
    pub track: usize,
    /// Number of the segment, from 0.
    pub segment: usize,
    /// The range of the map's frame in the derived blob.
    pub frame: ByteRange,
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

/// The track of the small pictures for scrubbing, where a film has them.
pub const THUMBNAILS: &str = "thumbnails.vtt";
const MASTER: &str = "master.m3u8";
const INIT: &str = "init.mp4";
/// Ticks of time stamps in a second.
const CLOCK: u64 = 90_000;
/// The directory of the same film as MPEG-TS.
const TRANSPORT: &str = "ts";

/// What lies in `directory`: empty for the film's own, `video`, `audio-1`, `sub-1`.
#[must_use]
pub fn entries(views: &Views, directory: &str) -> Option<Vec<ViewEntry>> {
    let directory = directory.trim_matches('/');
    if directory.is_empty() {
        return Some(root_entries(views));
    }
    if let Some(below) = in_transport(views, directory) {
        return transport_entries(views, below);
    }
    let below = in_directory(views, directory);
    if !below.is_empty() {
        return Some(below);
    }
    if let Some(index) = track_index(views, directory) {
        if Form::Fmp4.of_segments(views) == Form::Transport {
            return segment_entries(views, index);
        }
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

/// The path below `ts/`, where the film has that.
fn in_transport<'a>(views: &Views, path: &'a str) -> Option<&'a str> {
    let below = match path.strip_prefix(TRANSPORT)? {
        "" => "",
        rest => rest.strip_prefix('/')?,
    };
    Form::Transport.is_offered(views).then_some(below)
}

fn transport_entries(views: &Views, directory: &str) -> Option<Vec<ViewEntry>> {
    if directory.is_empty() {
        return Some(playlists(views, Form::Transport));
    }
    let index = track_index(views, directory)?;
    let is_there = Form::Transport.has(views, index);
    is_there.then(|| segment_entries(views, index)).flatten()
}

/// Segments of a track as MPEG-TS, where it has them.
fn segment_entries(views: &Views, index: usize) -> Option<Vec<ViewEntry>> {
    let list: Vec<ViewEntry> = (0..)
        .map_while(|number| {
            let size = transport_segment(views, index, number)?.size;
            Some(file(segment_name(number, "ts"), size))
        })
        .collect();
    (!list.is_empty()).then_some(list)
}

/// The multivariant playlist, and each media playlist with its directory.
fn playlists(views: &Views, form: Form) -> Vec<ViewEntry> {
    let tracks = (0..views.tracks.len()).map(|index| track_name(views, index));
    let subtitles = (0..views.subtitles.len()).map(subtitle_name);
    let master = playlist::master(views, form, &MasterUris::default());
    let mut list = vec![file(MASTER.to_owned(), master.len() as u64)];
    for name in tracks.chain(subtitles) {
        let Some(text) = playlist::media(views, form, &name) else {
            continue;
        };
        list.push(file(format!("{name}.m3u8"), text.len() as u64));
        list.push(directory(name));
    }
    list
}

fn directory(name: String) -> ViewEntry {
    ViewEntry {
        name,
        kind: ViewKind::Directory,
    }
}

/// Whole files of the derived blob in a directory.
fn in_directory(views: &Views, directory: &str) -> Vec<ViewEntry> {
    let of = |path: &str| path.rsplit_once('/').map_or("", |(above, _)| above) == directory;
    let files = views.files.iter().filter(|found| of(&found.path));
    files
        .map(|found| {
            let name = found.path.rsplit('/').next().unwrap_or_default();
            file(name.to_owned(), found.range.len)
        })
        .collect()
}

/// The directories of such files.
fn directories(views: &Views) -> Vec<&str> {
    let paths = views.files.iter();
    let mut names: Vec<&str> = paths
        .filter_map(|file| Some(file.path.split_once('/')?.0))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn root_entries(views: &Views) -> Vec<ViewEntry> {
    let mut list = playlists(views, Form::Fmp4);
    if Form::Transport.is_offered(views) {
        list.push(directory(TRANSPORT.to_owned()));
    }
    if let Some(text) = playlist::media(views, Form::Fmp4, iframes::NAME) {
        list.push(file(format!("{}.m3u8", iframes::NAME), text.len() as u64));
    }
    list.extend(in_directory(views, ""));
    for name in directories(views) {
        list.push(directory(name.to_owned()));
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
    if let Some(below) = in_transport(views, path) {
        return find_transport(views, below);
    }
    if let Some(found) = views.files.iter().find(|file| file.path == path) {
        return Some(derived(found.range));
    }
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

fn find_transport(views: &Views, path: &str) -> Option<ViewNode> {
    if path.is_empty() {
        return Some(ViewNode::Directory);
    }
    let Some((directory, name)) = path.split_once('/') else {
        let stem = path.strip_suffix(".m3u8");
        return match stem {
            _ if path == MASTER => Some(master(views, Form::Transport)),
            Some(stem) => playlist::media(views, Form::Transport, stem).map(inline),
            None => track_index(views, path)
                .filter(|&index| Form::Transport.has(views, index))
                .map(|_| ViewNode::Directory),
        };
    };
    let track = track_index(views, directory).filter(|&index| Form::Transport.has(views, index))?;
    transport_segment(views, track, segment_number(name, "ts")?).map(ViewNode::File)
}

/// Segment `number` of a track as MPEG-TS.
fn transport_segment(views: &Views, track: usize, number: usize) -> Option<ViewFile> {
    if views.in_place.is_some() && track == 0 {
        return Some(ViewFile {
            size: views.tracks[track].segments.get(number)?.size,
            body: ViewBody::InPlace(number),
        });
    }
    Some(ViewFile {
        size: *views.transport_sizes(track).get(number)?,
        body: ViewBody::Transport(mapped(views, track, number)?),
    })
}

fn master(views: &Views, form: Form) -> ViewNode {
    inline(playlist::master(views, form, &MasterUris::default()))
}

fn find_in_root(views: &Views, name: &str) -> Option<ViewNode> {
    if name == MASTER {
        return Some(master(views, Form::Fmp4));
    }
    let track = track_index(views, name).filter(|&index| Form::Fmp4.has(views, index));
    let known = track.or(subtitle_index(views, name));
    if known.is_some() || directories(views).contains(&name) {
        return Some(ViewNode::Directory);
    }
    let (stem, extension) = name.rsplit_once('.')?;
    if extension == "m3u8" {
        return playlist::media(views, Form::Fmp4, stem).map(inline);
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
    if Form::Fmp4.of_segments(views) == Form::Transport {
        return transport_segment(views, index, segment_number(name, "ts")?);
    }
    if name == INIT {
        return Some(ViewFile {
            size: track.init.len() as u64,
            body: ViewBody::Inline(Bytes::copy_from_slice(&track.init)),
        });
    }
    let segment = segment_number(name, "m4s")?;
    let size = track.segments.get(segment)?.size;
    Some(ViewFile {
        size,
        body: ViewBody::Mapped(mapped(views, index, segment)?),
    })
}

fn mapped(views: &Views, track: usize, segment: usize) -> Option<MappedSegment> {
    let (frame, _) = frame_of(views, &views.tracks[track], segment)?;
    Some(MappedSegment {
        track,
        segment,
        frame,
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
    let (decoded, announced) = decode(views, track, segment, frame_bytes)?;
    let sequence = u32::try_from(segment + 1).map_err(|_| MapError("segment number"))?;
    let header = segment_header::write(&decoded.samples, decoded.decode_time, sequence);
    let mut pieces = vec![Piece::Literal(Bytes::from(header))];
    pieces.extend(samples(decoded));
    let total = pieces
        .iter()
        .try_fold(0_u64, |sum, piece| sum.checked_add(piece.len()));
    if total == Some(announced) {
        Ok(pieces)
    } else {
        Err(MapError("a segment of another size"))
    }
}

/// How to mux a segment as MPEG-TS, and the pieces that all its samples are.
///
/// # Errors
/// When the frame is not what ingest wrote.
pub fn transport(
    views: &Views,
    track: usize,
    segment: usize,
    frame_bytes: &[u8],
) -> Result<(SegmentLayout, Vec<Piece>), MapError> {
    let (decoded, _) = decode(views, track, segment, frame_bytes)?;
    let (before, rest) = views
        .transport_sizes(track)
        .split_at_checked(segment)
        .ok_or(MapError("no such segment"))?;
    let origin = u64::from(views.origin_seconds) * CLOCK;
    let position = Position {
        segment: segment as u64,
        bytes_before: before.iter().fold(0, |sum, size| size.saturating_add(sum)),
        decode_time: decoded.decode_time,
        shift: views.clock_at_zero().wrapping_sub(origin),
    };
    let layout = SegmentLayout::new(&views.tracks[track], &decoded.samples, position)?;
    if rest.first() == Some(&layout.size()) {
        Ok((layout, samples(decoded).collect()))
    } else {
        Err(MapError("a segment of another size"))
    }
}

/// A segment from its frame, and the size that the index has for it.
fn decode(
    views: &Views,
    track: usize,
    segment: usize,
    frame_bytes: &[u8],
) -> Result<(Segment, u64), MapError> {
    let info = views.tracks.get(track).ok_or(MapError("no such track"))?;
    let announced = info
        .segments
        .get(segment)
        .ok_or(MapError("no such segment"))?
        .size;
    let (_, first) = frame_of(views, info, segment).ok_or(MapError("no such frame"))?;
    let decoded = map::decode_segment(frame_bytes, segment - first)?;
    Ok((decoded, announced))
}

fn samples(segment: Segment) -> impl Iterator<Item = Piece> {
    segment.runs.into_iter().map(|run| match run {
        Run::Content(range) => Piece::Content(range),
        Run::Derived(range) => Piece::Derived(range),
    })
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
