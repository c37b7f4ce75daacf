//! Subtitle files of the user's in the views of the film that they lie beside: who comes and goes is
//! the caller's to say, at each look; what it says of a text follows from that file alone.
//!
//! Each is one segment as long as the film: subtitles may have segments of any length (RFC 8216
//! §4.3.3.1, §6.2.4), so nothing of it needs to be cut, or cut again when the film changes.

use bytes::Bytes;

use crate::model::{BlobId, Captions, EntryId, Name, Subtitle, SubtitleFormat, Views};

use super::playlist::{self, Form, MasterUris};
use super::views::{Piece, ViewBody, ViewEntry, ViewFile, ViewKind, ViewNode};
use crate::media::subtitles::webvtt;
use crate::media::subtitles::{self, CaptionsName};

const MASTERS: [(&str, Form); 2] = [
    ("master.m3u8", Form::Fmp4),
    ("ts/master.m3u8", Form::Transport),
];
/// Of the playlists and directories here; those of the film's own subtitles have a number behind it.
const PREFIX: &str = "sub-";
const SEGMENT: &str = "00001.vtt";
/// Hexadecimal digits of the texts' blob in a name: 64 bits tell all versions of all files apart.
const NAME_DIGITS: usize = 16;

/// A subtitle file that joined a film.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    pub file: EntryId,
    pub file_name: Name,
    /// Its ranges are of the blob that was made of that file.
    pub subtitle: Subtitle,
    /// Of its playlist and directory. It names the texts for ever: whatever else joins or leaves,
    /// and whatever the file becomes, an address with it never means other bytes.
    pub name: String,
}

/// Whether a view at `path` may depend on what lies beside the film.
#[must_use]
pub fn concerns(path: &str) -> bool {
    let is_master = MASTERS.iter().any(|(master, _)| *master == path);
    let is_text = || {
        let (_, extension) = path.rsplit_once('.').unwrap_or_default();
        !path.contains('/') && matches!(extension, "vtt" | "srt" | "ass")
    };
    path.is_empty() || is_master || path.starts_with(PREFIX) || is_text()
}

/// The files as what they are to the film of this stem, in the order of their names. Who does not
/// begin with the stem is left out.
#[must_use]
pub fn join(
    views: &Views,
    film_stem: &[u8],
    mut files: Vec<(EntryId, Name, &Captions)>,
) -> Vec<Joined> {
    files.sort_by(|(_, a, _), (_, b, _)| a.as_bytes().cmp(b.as_bytes()));
    let mut list: Vec<Joined> = Vec::new();
    for (file, file_name, texts) in files {
        let Some(said) = CaptionsName::beside(film_stem, &file_name) else {
            continue;
        };
        let key = subtitles::key(&said, |key| {
            let own = views.subtitles.iter();
            let mut all = own.chain(list.iter().map(|joined| &joined.subtitle));
            all.any(|other| other.key == key)
        });
        list.push(Joined {
            file,
            file_name,
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

/// What the joined files add to the film's own directory of views.
#[must_use]
pub fn entries(views: &Views, joined: &[Joined]) -> Vec<ViewEntry> {
    let mut list = Vec::new();
    let mut add = |name: String, kind| list.push(ViewEntry { name, kind });
    for one in joined {
        let size = media(views, one).len() as u64;
        add(format!("{}.m3u8", one.name), ViewKind::File(size));
        add(one.name.clone(), ViewKind::Directory);
        for (format, range) in &one.subtitle.texts {
            let name = format!("{}.{}", one.subtitle.key, format.extension());
            add(name, ViewKind::File(range.len));
        }
    }
    list
}

/// What lies in the directory of one.
#[must_use]
pub fn entries_in(views: &Views, joined: &[Joined], directory: &str) -> Option<Vec<ViewEntry>> {
    let one = joined.iter().find(|one| one.name == directory)?;
    let size = segment(views, one)?.size;
    Some(vec![ViewEntry {
        name: SEGMENT.to_owned(),
        kind: ViewKind::File(size),
    }])
}

/// A view that is there, or is what it is, because files joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'a> {
    /// Made of the film's records alone.
    OfFilm(ViewNode),
    /// Derived ranges in it are of the blob that was made of this file.
    OfFile(&'a Joined, ViewFile),
}

#[must_use]
pub fn find<'a>(views: &Views, joined: &'a [Joined], path: &str) -> Option<Found<'a>> {
    if joined.is_empty() {
        return None;
    }
    let master = MASTERS.into_iter().find(|(master, _)| *master == path);
    if let Some((_, form)) = master {
        let text = playlist::master_with(views, joined, form, &MasterUris::default());
        return form.is_offered(views).then(|| Found::OfFilm(inline(text)));
    }
    if let Some((directory, name)) = path.split_once('/') {
        let one = joined.iter().find(|one| one.name == directory)?;
        return (name == SEGMENT)
            .then(|| segment(views, one))
            .flatten()
            .map(|view| Found::OfFile(one, view));
    }
    if joined.iter().any(|one| one.name == path) {
        return Some(Found::OfFilm(ViewNode::Directory));
    }
    let (stem, extension) = path.rsplit_once('.')?;
    if extension == "m3u8" {
        let one = joined.iter().find(|one| one.name == stem)?;
        return Some(Found::OfFilm(inline(media(views, one))));
    }
    let one = joined.iter().find(|one| one.subtitle.key == stem)?;
    let mut texts = one.subtitle.texts.iter();
    let (_, range) = texts.find(|(format, _)| format.extension() == extension)?;
    let view = ViewFile {
        size: range.len,
        body: ViewBody::Derived(*range),
    };
    Some(Found::OfFile(one, view))
}

fn inline(text: String) -> ViewNode {
    ViewNode::File(ViewFile {
        size: text.len() as u64,
        body: ViewBody::Inline(Bytes::from(text)),
    })
}

/// The text as WebVTT, with another head: one that says where the film begins on its time line.
fn segment(views: &Views, one: &Joined) -> Option<ViewFile> {
    let mut texts = one.subtitle.texts.iter();
    let (_, whole) = texts.find(|(format, _)| *format == SubtitleFormat::Vtt)?;
    let skip = (webvtt::HEAD.len() as u64).min(whole.len);
    let cues = crate::model::ByteRange::new(whole.offset + skip, whole.len - skip);
    let head = webvtt::segment_head(views.clock_at_zero());
    Some(ViewFile {
        size: head.len() as u64 + cues.len,
        body: ViewBody::Pieces(vec![
            Piece::Literal(Bytes::from(head)),
            Piece::Derived(cues),
        ]),
    })
}

/// The media playlist: one segment, as long as the film's leading track.
fn media(views: &Views, one: &Joined) -> String {
    let seconds = views.tracks.first().map_or(0.0, |lead| {
        let ticks: u64 = lead.segments.iter().map(|s| u64::from(s.duration)).sum();
        ticks as f64 / f64::from(lead.timescale.max(1))
    });
    format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:{seconds:.6},\n{}/{SEGMENT}\n#EXT-X-ENDLIST\n",
        seconds.ceil().max(1.0),
        one.name
    )
}
