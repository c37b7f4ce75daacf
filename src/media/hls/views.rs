//! The virtual files of a film: their names, their exact sizes, and the places of their bytes. Nothing
//! is read here. The bytes of a segment need one frame of the map, which the caller passes in.

use bytes::Bytes;

use crate::model::{ByteRange, SubtitleFormat, Track, Views};

use super::tags::{MasterUris, SegmentFormat, subtitle_name, track_name};
use super::view::{MappedSegment, Piece, ViewBody, ViewEntry, ViewFile, ViewNode};
use super::{chapters, ending, iframes, playlist};
pub use crate::media::map::MapError;
use crate::media::map::{self, Run, Segment};
use crate::media::mp4::segment_header;
use crate::media::transport::{Position, SegmentLayout};

/// WebVTT track of the thumbnails, which players show while the user scrubs.
pub const THUMBNAILS: &str = "thumbnails.vtt";
const MASTER: &str = "master.m3u8";
const INIT: &str = "init.mp4";
/// Ticks of MPEG's clock in a second.
const CLOCK: u64 = 90_000;
/// Directory of the same film as MPEG-TS.
const TRANSPORT: &str = "ts";

/// Returns the content of `directory`, which is empty for the film's own, or e.g. `video`, `audio-1`,
/// `sub-1`. `None` if there is no such directory.
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
        if SegmentFormat::Fmp4.of_segments(views) == SegmentFormat::MpegTs {
            return segment_entries(views, index);
        }
        let track = &views.tracks[index];
        let mut list = vec![ViewEntry::file(INIT.to_owned(), track.init.len() as u64)];
        let segments = track.segments.iter().enumerate();
        list.extend(
            segments.map(|(number, segment)| {
                ViewEntry::file(segment_name(number, "m4s"), segment.size)
            }),
        );
        return Some(list);
    }
    let subtitle = &views.subtitles[subtitle_index(views, directory)?];
    let segments = subtitle.segments.iter().enumerate();
    Some(
        segments
            .map(|(number, range)| ViewEntry::file(segment_name(number, "vtt"), range.len))
            .chain(ending::entry(views))
            .collect(),
    )
}

/// Returns the path below `ts/`, if the film has such a directory.
fn in_transport<'a>(views: &Views, path: &'a str) -> Option<&'a str> {
    let below = match path.strip_prefix(TRANSPORT)? {
        "" => "",
        rest => rest.strip_prefix('/')?,
    };
    SegmentFormat::MpegTs.is_offered(views).then_some(below)
}

fn transport_entries(views: &Views, directory: &str) -> Option<Vec<ViewEntry>> {
    if directory.is_empty() {
        return Some(playlists(views, SegmentFormat::MpegTs));
    }
    let index = track_index(views, directory)?;
    let is_there = SegmentFormat::MpegTs.has(views, index);
    is_there.then(|| segment_entries(views, index)).flatten()
}

/// Returns the MPEG-TS segments of a track, if it has any.
fn segment_entries(views: &Views, index: usize) -> Option<Vec<ViewEntry>> {
    let list: Vec<ViewEntry> = (0..)
        .map_while(|number| {
            let size = transport_segment(views, index, number)?.size;
            Some(ViewEntry::file(segment_name(number, "ts"), size))
        })
        .collect();
    (!list.is_empty()).then_some(list)
}

/// Returns the multivariant playlist, and each media playlist with its directory.
fn playlists(views: &Views, format: SegmentFormat) -> Vec<ViewEntry> {
    let tracks = (0..views.tracks.len()).map(|index| track_name(views, index));
    let subtitles = (0..views.subtitles.len()).map(subtitle_name);
    let master = playlist::master(views, format, &MasterUris::default());
    let mut list = vec![ViewEntry::file(MASTER.to_owned(), master.len() as u64)];
    for name in tracks.chain(subtitles) {
        let Some(text) = playlist::media(views, format, &name) else {
            continue;
        };
        list.push(ViewEntry::file(format!("{name}.m3u8"), text.len() as u64));
        list.push(ViewEntry::directory(name));
    }
    list
}

/// Returns the attachments (whole files in the derived blob) in a directory.
fn in_directory(views: &Views, directory: &str) -> Vec<ViewEntry> {
    let of = |path: &str| path.rsplit_once('/').map_or("", |(above, _)| above) == directory;
    let files = views.files.iter().filter(|found| of(&found.path));
    files
        .map(|found| {
            let name = found.path.rsplit('/').next().unwrap_or_default();
            ViewEntry::file(name.to_owned(), found.range.len)
        })
        .collect()
}

/// Returns the directories of attachments.
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
    let mut list = playlists(views, SegmentFormat::Fmp4);
    if SegmentFormat::MpegTs.is_offered(views) {
        list.push(ViewEntry::directory(TRANSPORT.to_owned()));
    }
    if let Some(text) = playlist::media(views, SegmentFormat::Fmp4, iframes::NAME) {
        list.push(ViewEntry::file(
            format!("{}.m3u8", iframes::NAME),
            text.len() as u64,
        ));
    }
    for name in [chapters::JSON, chapters::WEBVTT] {
        if let Some(text) = chapter_file(views, name) {
            list.push(ViewEntry::file(name.to_owned(), text.len() as u64));
        }
    }
    list.extend(in_directory(views, ""));
    for name in directories(views) {
        list.push(ViewEntry::directory(name.to_owned()));
    }
    for subtitle in &views.subtitles {
        for (format, range) in &subtitle.texts {
            list.push(ViewEntry::file(
                format!("{}.{}", subtitle.key, format.extension()),
                range.len,
            ));
        }
    }
    list
}

/// Returns the content of the file of chapters called `name`, if the film has chapters.
fn chapter_file(views: &Views, name: &str) -> Option<String> {
    match name {
        chapters::JSON => chapters::json(views),
        chapters::WEBVTT => chapters::webvtt(views),
        _ => None,
    }
}

/// Returns the view at `path`, which is relative to the film's own directory; `None` if there is none.
#[must_use]
pub fn find(views: &Views, path: &str) -> Option<ViewNode> {
    let path = path.trim_matches('/');
    if let Some(below) = in_transport(views, path) {
        return find_transport(views, below);
    }
    if let Some(found) = views.files.iter().find(|file| file.path == path) {
        return Some(ViewNode::derived(found.range));
    }
    match path.split_once('/') {
        None if path.is_empty() => Some(ViewNode::Directory),
        None => find_in_root(views, path),
        Some((directory, name)) => {
            if let Some(index) = track_index(views, directory) {
                return find_in_track(views, index, name).map(ViewNode::File);
            }
            let subtitle = &views.subtitles[subtitle_index(views, directory)?];
            if let Some(end) = ending::find(views, name) {
                return Some(end);
            }
            let range = subtitle.segments.get(segment_number(name, "vtt")?)?;
            Some(ViewNode::derived(*range))
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
            _ if path == MASTER => Some(master(views, SegmentFormat::MpegTs)),
            Some(stem) => playlist::media(views, SegmentFormat::MpegTs, stem).map(ViewNode::inline),
            None => track_index(views, path)
                .filter(|&index| SegmentFormat::MpegTs.has(views, index))
                .map(|_| ViewNode::Directory),
        };
    };
    let track =
        track_index(views, directory).filter(|&index| SegmentFormat::MpegTs.has(views, index))?;
    transport_segment(views, track, segment_number(name, "ts")?).map(ViewNode::File)
}

/// Returns segment `number` of a track as MPEG-TS.
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

fn master(views: &Views, format: SegmentFormat) -> ViewNode {
    ViewNode::inline(playlist::master(views, format, &MasterUris::default()))
}

fn find_in_root(views: &Views, name: &str) -> Option<ViewNode> {
    if name == MASTER {
        return Some(master(views, SegmentFormat::Fmp4));
    }
    let track = track_index(views, name).filter(|&index| SegmentFormat::Fmp4.has(views, index));
    if let Some(text) = chapter_file(views, name) {
        return Some(ViewNode::inline(text));
    }
    let known = track.or(subtitle_index(views, name));
    if known.is_some() || directories(views).contains(&name) {
        return Some(ViewNode::Directory);
    }
    let (stem, extension) = name.rsplit_once('.')?;
    if extension == "m3u8" {
        return playlist::media(views, SegmentFormat::Fmp4, stem).map(ViewNode::inline);
    }
    let subtitle = views
        .subtitles
        .iter()
        .find(|subtitle| subtitle.key == stem)?;
    subtitle
        .texts
        .iter()
        .find(|(format, _)| format.extension() == extension)
        .map(|(_, range)| ViewNode::derived(*range))
}

fn find_in_track(views: &Views, index: usize, name: &str) -> Option<ViewFile> {
    let track = &views.tracks[index];
    if SegmentFormat::Fmp4.of_segments(views) == SegmentFormat::MpegTs {
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

fn track_index(views: &Views, name: &str) -> Option<usize> {
    (0..views.tracks.len()).find(|&index| track_name(views, index) == name)
}

fn subtitle_index(views: &Views, name: &str) -> Option<usize> {
    (0..views.subtitles.len()).find(|&index| subtitle_name(index) == name)
}

/// Returns a segment's name. Names count from 1, `number` from 0.
fn segment_name(number: usize, extension: &str) -> String {
    format!("{:05}.{extension}", number + 1)
}

fn segment_number(name: &str, extension: &str) -> Option<usize> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    let number = digits.parse::<usize>().ok()?.checked_sub(1)?;
    // Each segment has one name, so neither `1.m4s` nor `+0001.m4s` is accepted.
    (segment_name(number, extension) == name).then_some(number)
}

/// Returns the range of the frame that holds `segment`, in the derived blob, and the number of the
/// frame's first segment.
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

/// Returns the pieces of an fMP4 segment. The sum of their lengths is the size that [`find`] announced.
///
/// # Errors
/// When the frame is not the one that ingest wrote.
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

/// Returns the layout of an MPEG-TS segment, and the pieces that hold its samples.
///
/// # Errors
/// When the frame is not the one that ingest wrote.
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

/// Returns a segment, decoded from its frame, and the size that the index has for it.
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

/// Returns the range of the subtitle called `key` in `format`.
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
