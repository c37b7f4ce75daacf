//! Languages of streams as BCP-47 tags, where the file has them: `LanguageBCP47` in Matroska (RFC 9559 §5.1.4.1.20), `elng`
//! in MP4 (ISO/IEC 14496-12 §8.4.6). ffprobe reports only the older code of three letters, without
//! region and script.

use std::fs::File;
use std::io;

use super::ebml::{CLUSTER, SEEK_HEAD, SEGMENT, children, element, read_up_to, seek_entries};
use super::probe::MediaProbe;
use super::protection::read_moov;
use crate::media::container::Container;
use crate::media::mp4::boxes::{self, be32};

const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_TYPE: u32 = 0x83;
const LANGUAGE_BCP47: u32 = 0x22_B59D;
/// Types of tracks that ffmpeg makes streams of: video, audio, subtitles, metadata.
const STREAM_TYPES: [u8; 4] = [1, 2, 17, 33];
/// Most elements before the tracks that are examined.
const MAX_STEPS: usize = 4096;
/// Most bytes of one SeekHead: thousands of entries.
const MAX_SEEK_HEAD_BYTES: u64 = 64 << 10;
/// Most bytes of the description of all tracks. Private data of codecs fill it.
const MAX_TRACKS_BYTES: u64 = 16 << 20;

/// Adds to `probe` the languages that the file has as BCP-47 tags.
///
/// # Errors
/// When the file cannot be read.
pub fn amend(probe: &mut MediaProbe, file: &File, container: Container) -> io::Result<()> {
    match container {
        Container::Matroska => {
            let languages = matroska(file)?;
            for (stream, language) in probe.streams.iter_mut().zip(languages) {
                stream.extended_language = language;
            }
        }
        Container::Mp4 => {
            let languages = read_moov(file)?.map_or_else(Vec::new, |moov| mp4(&moov));
            for (track, language) in languages {
                let mut streams = probe.streams.iter_mut();
                if let Some(stream) = streams.find(|stream| stream.number() == Some(track)) {
                    stream.extended_language = Some(language);
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Returns the tag of each track that becomes a stream, in the order of the file.
fn matroska(file: &File) -> io::Result<Vec<Option<String>>> {
    let mut at = 0;
    let mut segment = 0;
    let mut named = None;
    for _ in 0..MAX_STEPS {
        let Some(found) = element(file, at)? else {
            break;
        };
        match (found.id, found.len) {
            (SEGMENT, _) => {
                segment = found.data;
                at = found.data;
            }
            (TRACKS, Some(size)) => {
                let size = usize::try_from(size.min(MAX_TRACKS_BYTES)).unwrap_or(0);
                let tracks = read_up_to(file, found.data, size)?;
                return Ok(of_tracks(&tracks));
            }
            // Editors move the tracks behind the frames when they grow.
            (CLUSTER, _) | (_, None) => match named.take() {
                Some(position) => at = segment.saturating_add(position),
                None => break,
            },
            (id, Some(size)) => {
                if id == SEEK_HEAD {
                    let size = usize::try_from(size.min(MAX_SEEK_HEAD_BYTES)).unwrap_or(0);
                    named = tracks_position(&read_up_to(file, found.data, size)?).or(named);
                }
                at = found.data.saturating_add(size);
            }
        }
    }
    Ok(Vec::new())
}

/// Returns where a SeekHead says that the tracks are, counted from the data of the segment.
fn tracks_position(seek_head: &[u8]) -> Option<u64> {
    let mut entries = seek_entries(seek_head);
    let tracks = entries.find(|entry| entry.id == Some(u64::from(TRACKS)));
    tracks.map(|entry| entry.position)
}

fn of_tracks(tracks: &[u8]) -> Vec<Option<String>> {
    let entries = children(tracks).filter(|(id, _)| *id == TRACK_ENTRY);
    let mut languages = Vec::new();
    for (_, entry) in entries {
        let of = |wanted| children(entry).find(|(id, _)| *id == wanted);
        let kind = of(TRACK_TYPE).and_then(|(_, data)| data.last().copied());
        if kind.is_some_and(|kind| STREAM_TYPES.contains(&kind)) {
            languages.push(of(LANGUAGE_BCP47).and_then(|(_, data)| text(data)));
        }
    }
    languages
}

/// Returns number and tag of each track that has one.
fn mp4(moov: &[u8]) -> Vec<(u32, String)> {
    let tracks = boxes::iterate(moov).filter(|found| &found.kind == b"trak");
    let of = |trak: boxes::BoxAt<'_>| {
        let header = boxes::find(trak.body, &[b"tkhd"])?.body;
        let number = be32(header, if header.first()? == &1 { 20 } else { 12 })?;
        let language = boxes::find(trak.body, &[b"mdia", b"elng"])?;
        Some((number, text(language.body.get(4..)?)?))
    };
    tracks.filter_map(of).collect()
}

/// Returns text up to the first null.
fn text(data: &[u8]) -> Option<String> {
    let end = data
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(data.len());
    let text = std::str::from_utf8(&data[..end]).ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}
