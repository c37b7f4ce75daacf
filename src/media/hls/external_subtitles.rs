//! Views of the user's subtitle files, in the views of the film that they lie beside. The caller says
//! at each look which files these are; everything else about a file follows from that file alone.
//!
//! Each file is one segment as long as the film. Subtitle segments may have any length (RFC 8216
//! §4.3.3.1, §6.2.4), so a file need not be cut, nor cut again when the film changes.

use bytes::Bytes;

use crate::model::{
    BlobId, ByteRange, EntryId, Name, Subtitle, SubtitleFormat, SubtitleTexts, Views,
};

use super::date::first_decoded;
use super::tags::{ExternalSubtitle, MasterUris, SegmentFormat};
use super::view::{Piece, ViewBody, ViewEntry, ViewFile, ViewNode};
use super::{ending, playlist};
use crate::media::inspect::language;
use crate::media::subtitles::webvtt;
use crate::media::subtitles::{SubtitleFileName, SubtitleFlags, SubtitleKeys};

const MASTERS: [(&str, SegmentFormat); 2] = [
    ("master.m3u8", SegmentFormat::Fmp4),
    ("ts/master.m3u8", SegmentFormat::MpegTs),
];
/// Prefix of playlists and directories. For the film's own subtitles a number follows.
const PREFIX: &str = "sub-";
const SEGMENT: &str = "00001.vtt";
/// Hexadecimal digits of the texts' blob id in a name: 64 bits distinguish all versions of all files.
const NAME_DIGITS: usize = 16;

/// Returns whether the view at `path` may depend on files beside the film.
#[must_use]
pub fn concerns(path: &str) -> bool {
    let is_master = MASTERS.iter().any(|(name, _)| *name == path);
    let is_text = || {
        let (_, extension) = path.rsplit_once('.').unwrap_or_default();
        !path.contains('/') && matches!(extension, "vtt" | "srt" | "ass")
    };
    path.is_empty() || is_master || path.starts_with(PREFIX) || is_text()
}

/// A subtitle file in the directory of a film.
pub struct FileBeside<'a> {
    pub file: EntryId,
    pub name: Name,
    pub texts: &'a SubtitleTexts,
}

/// Returns the files whose names begin with the film's stem, in the order of their names. Those that begin
/// with the very same bytes come first and so get the plain keys.
#[must_use]
pub fn attach(
    views: &Views,
    film_stem: &[u8],
    mut files: Vec<FileBeside<'_>>,
) -> Vec<ExternalSubtitle> {
    files.sort_by_cached_key(|file| {
        let name = file.name.as_bytes().to_vec();
        (!name.starts_with(film_stem), name)
    });
    let mut list: Vec<ExternalSubtitle> = Vec::new();
    let mut keys = SubtitleKeys::default();
    for own in &views.subtitles {
        keys.reserve(&own.key);
    }
    for FileBeside { file, name, texts } in files {
        let Some(said) = SubtitleFileName::beside(film_stem, &name) else {
            continue;
        };
        let flags = SubtitleFlags {
            forced: said.forced,
            hearing_impaired: said.hearing_impaired,
        };
        let key = keys.take(language::three_letters(&said.language), flags);
        list.push(ExternalSubtitle {
            file,
            file_name: name,
            name: name_of(texts.derived.id),
            subtitle: Subtitle {
                key,
                language: said.language,
                title: said.title,
                default: said.default,
                forced: said.forced,
                hearing_impaired: said.hearing_impaired,
                texts: texts.texts.clone(),
                segments: Vec::new(),
            },
        });
    }
    list
}

fn name_of(texts: BlobId) -> String {
    let mut digits = texts.to_string();
    digits.truncate(NAME_DIGITS);
    format!("{PREFIX}{digits}")
}

/// Returns what the files add to the film's own directory of views.
#[must_use]
pub fn entries(views: &Views, external: &[ExternalSubtitle]) -> Vec<ViewEntry> {
    let mut list = Vec::new();
    for one in external {
        let size = media(views, one).len() as u64;
        list.push(ViewEntry::file(format!("{}.m3u8", one.name), size));
        list.push(ViewEntry::directory(one.name.clone()));
        for (format, range) in &one.subtitle.texts {
            let name = format!("{}.{}", one.subtitle.key, format.extension());
            list.push(ViewEntry::file(name, range.len));
        }
    }
    list
}

/// Returns the content of a file's directory; `None` if there is no such directory.
#[must_use]
pub fn entries_in(
    views: &Views,
    external: &[ExternalSubtitle],
    directory: &str,
) -> Option<Vec<ViewEntry>> {
    let one = external.iter().find(|one| one.name == directory)?;
    let size = segment(views, one)?.size;
    let whole = ViewEntry::file(SEGMENT.to_owned(), size);
    Some([whole].into_iter().chain(ending::entry(views)).collect())
}

/// A view that exists because of the user's files, or whose content depends on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExternalView<'a> {
    /// Made from the film's records alone.
    OfFilm(ViewNode),
    /// Made from a file; derived ranges in it are of the blob that was derived from that file.
    OfFile(&'a ExternalSubtitle, ViewFile),
}

/// Returns the view at `path`, if the user's files have a part in it.
#[must_use]
pub fn find<'a>(
    views: &Views,
    external: &'a [ExternalSubtitle],
    path: &str,
) -> Option<ExternalView<'a>> {
    if external.is_empty() {
        return None;
    }
    let master = MASTERS.into_iter().find(|(name, _)| *name == path);
    if let Some((_, format)) = master {
        let text = playlist::master_with(views, external, format, &MasterUris::default());
        return format
            .is_offered(views)
            .then(|| ExternalView::OfFilm(ViewNode::inline(text)));
    }
    if let Some((directory, name)) = path.split_once('/') {
        let one = external.iter().find(|one| one.name == directory)?;
        if let Some(end) = ending::find(views, name) {
            return Some(ExternalView::OfFilm(end));
        }
        return (name == SEGMENT)
            .then(|| segment(views, one))
            .flatten()
            .map(|view| ExternalView::OfFile(one, view));
    }
    if external.iter().any(|one| one.name == path) {
        return Some(ExternalView::OfFilm(ViewNode::Directory));
    }
    let (stem, extension) = path.rsplit_once('.')?;
    if extension == "m3u8" {
        let one = external.iter().find(|one| one.name == stem)?;
        return Some(ExternalView::OfFilm(ViewNode::inline(media(views, one))));
    }
    let one = external.iter().find(|one| one.subtitle.key == stem)?;
    let mut texts = one.subtitle.texts.iter();
    let (_, range) = texts.find(|(format, _)| format.extension() == extension)?;
    Some(ExternalView::OfFile(one, ViewFile::derived(*range)))
}

/// Returns the segment: the text as WebVTT, with a head that maps its zero to the film's clock.
fn segment(views: &Views, one: &ExternalSubtitle) -> Option<ViewFile> {
    let mut texts = one.subtitle.texts.iter();
    let (_, whole) = texts.find(|(format, _)| *format == SubtitleFormat::Vtt)?;
    let skip = (webvtt::HEAD.len() as u64).min(whole.len);
    let cues = ByteRange::new(whole.offset.saturating_add(skip), whole.len - skip);
    let head = webvtt::segment_head(views.clock_at_zero());
    Some(ViewFile {
        size: cues.len.saturating_add(head.len() as u64),
        body: ViewBody::Pieces(vec![
            Piece::Literal(Bytes::from(head)),
            Piece::Derived(cues),
        ]),
    })
}

/// Writes the media playlist: one segment as long as the film's leading track.
fn media(views: &Views, one: &ExternalSubtitle) -> String {
    let seconds = views.tracks.first().map_or(0.0, |lead| {
        let ticks: u64 = lead.segments.iter().map(|s| u64::from(s.duration)).sum();
        ticks as f64 / f64::from(lead.timescale.max(1))
    });
    let mut date = String::new();
    if let Some(lead) = views.tracks.first() {
        first_decoded(&mut date, lead);
    }
    let mut end = String::new();
    ending::append(&mut end, views, &one.name);
    format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n{date}#EXTINF:{seconds:.6},\n{}/{SEGMENT}\n{end}#EXT-X-ENDLIST\n",
        seconds.ceil().max(1.0),
        one.name
    )
}
