//! Finds films whose video changes its parameters midway, in a way that the muxer does not carry on: a second
//! sequence header in FLV (Video File Format 10.1, annex E.4.3), a second sample entry in MP4 (ISO/IEC 14496-12
//! §8.5.2). The muxer writes the first parameters only, and everything behind cannot be decoded.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::protection::read_moov;
use crate::media::container::Container;
use crate::media::mp4::boxes::{self, be32};

/// Bytes of an FLV file before its first tag.
const FLV_HEAD: u64 = 9 + 4;
/// Bytes of a tag's header, and of the length behind each tag.
const TAG_HEAD: usize = 11;
const TAG_TAIL: u64 = 4;
const VIDEO_TAG: u8 = 9;
/// Number of H.264 in a video tag, and the kind of packet that holds its parameters.
const AVC: u8 = 7;
const SEQUENCE_HEADER: u8 = 0;
/// Most bytes of parameters that are compared.
const MAX_PARAMETERS: usize = 64 << 10;
/// Most tags that are looked at: 24 h of picture and sound.
const MAX_TAGS: usize = 10_000_000;

/// Place where the parameters change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterChange {
    /// So many whole seconds behind the start.
    At(u32),
    /// Somewhere.
    Midway,
}

impl ParameterChange {
    /// Returns a sentence for viewers.
    #[must_use]
    pub fn note(self) -> String {
        let place = match self {
            Self::At(seconds) => format!("{seconds} s from its start"),
            Self::Midway => "midway".to_owned(),
        };
        format!(
            "the video changes its parameters {place}; HLS shows it up to there only, the file plays as a whole"
        )
    }
}

/// Returns where the video of `file` first changes its parameters.
///
/// # Errors
/// When the file cannot be read.
pub fn find(file: &File, container: Container) -> io::Result<Option<ParameterChange>> {
    match container {
        Container::Flv => flv(file),
        Container::Mp4 => {
            let moov = read_moov(file)?.unwrap_or_default();
            Ok(has_several_entries(&moov).then_some(ParameterChange::Midway))
        }
        _ => Ok(None),
    }
}

fn flv(file: &File) -> io::Result<Option<ParameterChange>> {
    let len = file.metadata()?.len();
    let mut at = FLV_HEAD;
    let mut first: Option<Vec<u8>> = None;
    let mut start = None;
    for _ in 0..MAX_TAGS {
        let body = at + TAG_HEAD as u64;
        if body + 2 > len {
            break;
        }
        let mut head = [0; TAG_HEAD + 2];
        file.read_exact_at(&mut head, at)?;
        let size = u32::from_be_bytes([0, head[1], head[2], head[3]]);
        let millis = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
        let start = *start.get_or_insert(millis);
        let [codec, packet] = [head[TAG_HEAD] & 0x0f, head[TAG_HEAD + 1]];
        if (head[0], codec, packet) == (VIDEO_TAG, AVC, SEQUENCE_HEADER) {
            let mut parameters = vec![0; (size as usize).min(MAX_PARAMETERS)];
            if body + parameters.len() as u64 > len {
                break;
            }
            file.read_exact_at(&mut parameters, body)?;
            match &first {
                Some(first) if *first != parameters => {
                    let seconds = millis.saturating_sub(start) / 1000;
                    return Ok(Some(ParameterChange::At(seconds)));
                }
                Some(_) => {}
                None => first = Some(parameters),
            }
        }
        at = body + u64::from(size) + TAG_TAIL;
    }
    Ok(None)
}

/// Returns true if a track of video uses more than one sample entry, and these differ.
fn has_several_entries(moov: &[u8]) -> bool {
    let tracks = boxes::iterate(moov).filter(|found| &found.kind == b"trak");
    tracks.into_iter().any(|trak| {
        let is_video = boxes::find(trak.body, &[b"mdia", b"minf", b"vmhd"]).is_some();
        let table = boxes::find(trak.body, &[b"mdia", b"minf", b"stbl"]);
        is_video && table.is_some_and(|table| uses_several(table.body))
    })
}

fn uses_several(table: &[u8]) -> bool {
    /// Bytes of an entry of `stsc`: first chunk, samples a chunk, sample entry.
    const RUN: usize = 12;
    let entries = boxes::find(table, &[b"stsd"]).and_then(|stsd| stsd.body.get(8..));
    let entries: Vec<_> = boxes::iterate(entries.unwrap_or_default()).collect();
    let runs = boxes::find(table, &[b"stsc"]).and_then(|stsc| stsc.body.get(8..));
    let mut used = runs
        .unwrap_or_default()
        .chunks_exact(RUN)
        .filter_map(|run| be32(run, 8)?.checked_sub(1))
        .filter_map(|number| entries.get(number as usize))
        .map(|entry| entry.whole);
    let first = used.next();
    used.any(|other| Some(other) != first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moov(entries: &[&[u8]], runs: &[u32]) -> Vec<u8> {
        let mut stsd = vec![0; 8];
        for entry in entries {
            stsd.extend(boxes::write(b"avc1", &[entry]));
        }
        let mut stsc = vec![0; 8];
        for number in runs {
            [1, 1, *number]
                .iter()
                .for_each(|field: &u32| stsc.extend(field.to_be_bytes()));
        }
        let table = boxes::write(
            b"stbl",
            &[
                &boxes::write(b"stsd", &[&stsd]),
                &boxes::write(b"stsc", &[&stsc]),
            ],
        );
        let minf = boxes::write(b"minf", &[&boxes::write(b"vmhd", &[]), &table]);
        boxes::write(b"trak", &[&boxes::write(b"mdia", &[&minf])])
    }

    #[test]
    fn only_entries_that_differ_and_are_used_are_a_change() {
        assert!(has_several_entries(&moov(&[b"one", b"two"], &[1, 2])));
        assert!(!has_several_entries(&moov(&[b"one", b"two"], &[2, 2])));
        assert!(!has_several_entries(&moov(&[b"one", b"one"], &[1, 2])));
        assert!(!has_several_entries(&moov(&[b"one"], &[1])));
    }
}
