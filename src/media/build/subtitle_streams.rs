//! Text subtitles. They are extracted from the source once, kept as SubRip, WebVTT and (where the source
//! is ASS) ASS, and cut into WebVTT segments at the borders of the leading track's segments.
//!
//! Their times come from the same input options as the copying pass, so they count from the same
//! zero. WebVTT segments name that zero with X-TIMESTAMP-MAP (RFC 8216 §3.5).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::model::{ByteRange, DerivedFile, MPEG_CLOCK, Subtitle, SubtitleFormat};

use super::attachments::{self, CopiedBitmap};
use super::collect::{DerivedWriter, unnamed_file};
use super::context::{BuildContext, Fetch};
use super::film::Film;
use crate::media::container::Container;
use crate::media::error::MediaError;
use crate::media::inspect::language;
use crate::media::inspect::probe::ProbedStream;
use crate::media::subtitles::webvtt::{self, write_cues};
use crate::media::subtitles::{self, Cue, SubtitleDocument, SubtitleFlags};
use crate::media::tool::task::Task;

/// Most bytes of all text streams of a film. A season of karaoke takes 20 MB.
const MAX_STREAMS: u64 = 128 << 20;

/// Returns the subtitles of `streams`, and appends their bytes to `derived`. A stream that cannot be
/// read is left out and noted. The film plays without it.
pub fn extract(
    context: &BuildContext,
    container: Container,
    (streams, bitmaps): (&[ProbedStream], &[ProbedStream]),
    film: &Film,
    derived: &mut DerivedWriter,
    notes: &mut Vec<String>,
) -> Result<(Vec<Subtitle>, Vec<DerivedFile>), MediaError> {
    if streams.is_empty() && bitmaps.is_empty() {
        return Ok(Default::default());
    }
    let mut bitmaps = bitmaps;
    let mut copied = copy(context, container, streams, bitmaps)?;
    if copied.is_none() && !bitmaps.is_empty() {
        notes.push("its bitmap subtitles are in the file only".to_owned());
        bitmaps = &[];
        if !streams.is_empty() {
            copied = copy(context, container, streams, bitmaps)?;
        }
    }
    let Some(file) = copied else {
        if !streams.is_empty() {
            notes.push("its subtitles cannot be read".to_owned());
        }
        return Ok(Default::default());
    };
    // The file has no name, but we can open it again by its number.
    let small = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let mut subtitles: Vec<Subtitle> = Vec::new();
    for (number, stream) in (0_u32..).zip(streams) {
        match extract_one(context, &small, number, stream, film, derived)? {
            Some(mut subtitle) => {
                subtitle.key = unique_key(&subtitle, stream, &subtitles);
                subtitles.push(subtitle);
            }
            None => notes.push(format!("subtitle stream {} has no text", stream.index)),
        }
    }
    let mut files: Vec<DerivedFile> = Vec::new();
    for (number, stream) in (0_u32..).skip(streams.len()).zip(bitmaps) {
        let bitmap = CopiedBitmap {
            file: &small,
            number,
            stream,
        };
        match attachments::bitmap(context, &bitmap, &files, derived)? {
            Some(file) => files.push(file),
            None => notes.push(format!("subtitle stream {} is empty", stream.index)),
        }
    }
    Ok((subtitles, files))
}

/// Copies all subtitles into a small file without a name, so that the film is read once for them.
fn copy(
    context: &BuildContext,
    container: Container,
    texts: &[ProbedStream],
    bitmaps: &[ProbedStream],
) -> Result<Option<File>, MediaError> {
    let all = texts.iter().chain(bitmaps);
    let task = Task::CopySubtitles(all.map(|stream| stream.index).collect(), texts.len());
    let limit = MAX_STREAMS + attachments::MAX_BITMAPS * bitmaps.len() as u64;
    let mut file = unnamed_file(&context.derived, ".subtitles")?;
    let fetch = Fetch {
        source: &context.source,
        container,
        task: &task,
        limit,
    };
    let complete = context.fetch(&fetch, &mut file)?;
    Ok(complete.then_some(file))
}

fn extract_one(
    context: &BuildContext,
    streams: &Path,
    number: u32,
    stream: &ProbedStream,
    film: &Film,
    derived: &mut DerivedWriter,
) -> Result<Option<Subtitle>, MediaError> {
    let format = own_format(stream);
    let mut bytes = Vec::new();
    let task = Task::SubtitleText(number, format);
    let fetch = Fetch {
        source: streams,
        container: Container::Matroska,
        task: &task,
        limit: subtitles::MAX_FILE,
    };
    let complete = context.fetch(&fetch, &mut bytes)?;
    let language = language::bcp47(stream.tag("language"));
    let document = SubtitleDocument::read(&bytes, format, &language);
    let Some(document) = document.ok().filter(|_| complete) else {
        return Ok(None);
    };
    let srt = append(derived, document.to_srt().as_bytes())?;
    let vtt = append(derived, document.to_vtt().as_bytes())?;
    let mut texts = vec![(SubtitleFormat::Srt, srt), (SubtitleFormat::Vtt, vtt)];
    if matches!(stream.codec_name.as_str(), "ass" | "ssa") {
        texts.push((SubtitleFormat::Ass, append(derived, &bytes)?));
    }
    let mut segments = Vec::new();
    for text in write_segments(document.cues(), &film.bounds(), film.origin_seconds()) {
        segments.push(append(derived, text.as_bytes())?);
    }
    let title = language::clean_title(stream.tag("title"));
    let says = |word: &str| {
        title
            .to_lowercase()
            .split(|c: char| !c.is_alphanumeric())
            .any(|part| part == word)
    };
    Ok(Some(Subtitle {
        key: String::new(),
        language: language::of_stream(stream.tag("language"), &title),
        default: stream.has("default"),
        forced: stream.has("forced") || says("forced"),
        hearing_impaired: stream.has("hearing_impaired") || says("sdh"),
        title,
        texts,
        segments,
    }))
}

/// Returns the format that keeps most of a stream's codec. MP4's own text comes as ASS, in which its
/// signs stay text. SubRip would make tags of some.
fn own_format(stream: &ProbedStream) -> SubtitleFormat {
    match stream.codec_name.as_str() {
        "ass" | "ssa" | "mov_text" => SubtitleFormat::Ass,
        "webvtt" => SubtitleFormat::Vtt,
        _ => SubtitleFormat::Srt,
    }
}

fn append(derived: &mut DerivedWriter, bytes: &[u8]) -> io::Result<ByteRange> {
    let at = derived.append(bytes)?;
    Ok(ByteRange::new(at, bytes.len() as u64))
}

/// Returns the name of the subtitle's direct view, which no other has. A stream's own code counts more
/// than the language's usual one.
fn unique_key(subtitle: &Subtitle, stream: &ProbedStream, others: &[Subtitle]) -> String {
    let code = match language::three_letters(stream.tag("language")) {
        unknown if unknown == language::UNDETERMINED => language::three_letters(&subtitle.language),
        said => said,
    };
    let flags = SubtitleFlags {
        forced: subtitle.forced,
        hearing_impaired: subtitle.hearing_impaired,
    };
    subtitles::key(code, flags, |key| {
        others.iter().any(|other| other.key == key)
    })
}

/// Returns one segment for each pair of neighbouring bounds (seconds, with the origin). A cue is repeated
/// unchanged in every segment in which it is shown. A segment without cues is only a header.
fn write_segments(cues: &[Cue], bounds: &[f64], origin_seconds: u32) -> Vec<String> {
    let head = webvtt::segment_head(u64::from(origin_seconds) * MPEG_CLOCK);
    let millis =
        |bound: f64| ((bound - f64::from(origin_seconds)).max(0.0) * 1000.0).round() as u64;
    let count = bounds.len().saturating_sub(1);
    (0..count)
        .map(|number| {
            // No cue before the first picture or behind the last is lost.
            let from = if number == 0 {
                0
            } else {
                millis(bounds[number])
            };
            let until = if number + 1 == count {
                u64::MAX
            } else {
                millis(bounds[number + 1])
            };
            // Cues are sorted by start, so those that start later can be left out at once.
            let end = cues.partition_point(|cue| cue.start < until);
            write_cues(
                head.clone(),
                cues[..end].iter().filter(|cue| cue.end > from),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(text: &str) -> Vec<u64> {
        let read = SubtitleDocument::read(text.as_bytes(), SubtitleFormat::Vtt, "und");
        read.unwrap().cues().iter().map(|cue| cue.start).collect()
    }

    #[test]
    fn a_cue_stands_in_each_segment_that_shows_it() {
        let cue = |start, end| Cue {
            start,
            end,
            settings: String::new(),
            text: format!("{start}"),
        };
        let cues = [
            cue(0, 500),
            cue(5000, 13000),
            cue(6000, 7000),
            cue(12000, 12500),
            cue(90_000, 91_000),
        ];
        let parts = write_segments(&cues, &[10.0, 16.0, 22.0, 28.0], 10);
        let shown: Vec<Vec<u64>> =
            parts
                .iter()
                .map(|part| {
                    assert!(part.starts_with(
                        "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n\n"
                    ));
                    starts(part)
                })
                .collect();
        assert_eq!(
            shown,
            [vec![0, 5000], vec![5000, 6000], vec![5000, 12000, 90_000]]
        );
    }
}
