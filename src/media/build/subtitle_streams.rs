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
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::inspect::language;
use crate::media::inspect::probe::ProbedStream;
use crate::media::subtitles::webvtt;
use crate::media::subtitles::{
    self, Cue, ReadingWork, SubtitleDocument, SubtitleError, SubtitleFlags, SubtitleKeys,
};
use crate::media::tool::task::Task;

/// Most bytes of all text streams of a film. A season of karaoke takes 20 MB.
const MAX_STREAMS: u64 = 128 << 20;

/// Most bytes of all cues that segments of one stream repeat.
const MAX_REPEATED: usize = 32 << 20;
/// Bytes of a cue's times.
const REPEAT_BYTES: usize = 32;

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
    let mut keys = SubtitleKeys::default();
    for (number, stream) in (0_u32..).zip(streams) {
        let mut one = match read_one(context, &small, number, stream)? {
            Ok(read) => read,
            Err(reason) => {
                notes.push(format!("subtitle stream {} {reason}", stream.index));
                continue;
            }
        };
        if let Some(note) = one.document.note() {
            notes.push(format!("of subtitle stream {}, {note}", stream.index));
        }
        let mut subtitle = keep(&mut one, stream, film, derived)?;
        subtitle.key = unique_key(&subtitle, stream, &mut keys);
        subtitles.push(subtitle);
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

/// A text stream that was read.
struct ReadText {
    bytes: Vec<u8>,
    document: SubtitleDocument,
    work: ReadingWork,
}

/// Reads a text stream. The inner error is what a note says about the stream.
fn read_one(
    context: &BuildContext,
    streams: &Path,
    number: u32,
    stream: &ProbedStream,
) -> Result<Result<ReadText, &'static str>, MediaError> {
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
    if bytes.len() as u64 > subtitles::MAX_FILE {
        return Ok(Err("is larger than subtitles ever are"));
    }
    let language = language::bcp47(stream.language_tag());
    let mut work = ReadingWork::new(bytes.len(), context.cancel.clone());
    let document = SubtitleDocument::read(&bytes, format, &language, &mut work);
    match document {
        Err(error @ SubtitleError::Cancelled) => {
            return Err(MediaError::new(
                MediaErrorKind::Cancelled,
                error.to_string(),
            ));
        }
        Err(SubtitleError::CuesTooLarge) => return Ok(Err("has only cues that are too large")),
        Err(SubtitleError::TooSlow) => return Ok(Err("takes too long to read")),
        _ => {}
    }
    let Some(document) = document.ok().filter(|_| complete) else {
        return Ok(Err("has no text"));
    };
    Ok(Ok(ReadText {
        bytes,
        document,
        work,
    }))
}

/// Appends the texts and segments of a stream to `derived`.
fn keep(
    read: &mut ReadText,
    stream: &ProbedStream,
    film: &Film,
    derived: &mut DerivedWriter,
) -> Result<Subtitle, MediaError> {
    let document = &read.document;
    let srt = append(derived, document.to_srt(&mut read.work).as_bytes())?;
    let vtt = append(derived, document.to_vtt().as_bytes())?;
    let mut texts = vec![(SubtitleFormat::Srt, srt), (SubtitleFormat::Vtt, vtt)];
    if matches!(stream.codec_name.as_str(), "ass" | "ssa") {
        texts.push((SubtitleFormat::Ass, append(derived, &read.bytes)?));
    }
    let mut segments = Vec::new();
    let clock = SegmentClock {
        bounds: &film.bounds(),
        origin_seconds: film.origin_seconds(),
    };
    write_segments(document.cues(), &clock, |text| {
        segments.push(append(derived, text.as_bytes())?);
        Ok(())
    })?;
    let title = language::clean_title(stream.tag("title"));
    let says = |word: &str| {
        title
            .to_lowercase()
            .split(|c: char| !c.is_alphanumeric())
            .any(|part| part == word)
    };
    Ok(Subtitle {
        key: String::new(),
        language: language::of_stream(stream.language_tag(), &title),
        default: stream.has("default"),
        forced: stream.has("forced") || says("forced"),
        hearing_impaired: stream.has("hearing_impaired") || says("sdh"),
        title,
        texts,
        segments,
    })
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
fn unique_key(subtitle: &Subtitle, stream: &ProbedStream, keys: &mut SubtitleKeys) -> String {
    let code = match language::three_letters(stream.tag("language")) {
        unknown if unknown == language::UNDETERMINED => language::three_letters(&subtitle.language),
        said => said,
    };
    let flags = SubtitleFlags {
        forced: subtitle.forced,
        hearing_impaired: subtitle.hearing_impaired,
    };
    keys.take(code, flags)
}

/// Bounds of a film's segments in seconds, with the origin.
struct SegmentClock<'a> {
    bounds: &'a [f64],
    origin_seconds: u32,
}

impl SegmentClock<'_> {
    /// Returns the bound of that number in milliseconds from the film's zero.
    fn millis(&self, number: usize) -> u64 {
        let seconds = self.bounds[number] - f64::from(self.origin_seconds);
        (seconds.max(0.0) * 1000.0).round() as u64
    }
}

/// Writes one segment for each pair of neighbouring bounds. A cue is repeated unchanged in every segment
/// in which it is shown, as long as the repeats of all cues stay below a limit: thousands of cues that
/// last as long as the film would be written thousands of times. A segment without cues is only a header.
fn write_segments(
    cues: &[Cue],
    clock: &SegmentClock<'_>,
    mut write: impl FnMut(&str) -> io::Result<()>,
) -> io::Result<()> {
    let head = webvtt::segment_head(u64::from(clock.origin_seconds) * MPEG_CLOCK);
    let count = clock.bounds.len().saturating_sub(1);
    let mut next = 0;
    let mut shown: Vec<&Cue> = Vec::new();
    let mut room = MAX_REPEATED;
    for number in 0..count {
        // No cue before the first picture or behind the last is lost.
        let from = match number {
            0 => 0,
            _ => clock.millis(number),
        };
        let until = match number + 1 == count {
            true => u64::MAX,
            false => clock.millis(number + 1),
        };
        shown.retain(|cue| cue.end > from);
        let repeated: usize = shown.iter().map(|cue| REPEAT_BYTES + cue.text.len()).sum();
        match room.checked_sub(repeated) {
            Some(left) => room = left,
            None => shown.clear(),
        }
        // Cues are sorted by start.
        let new = cues[next..].partition_point(|cue| cue.start < until);
        shown.extend(cues[next..next + new].iter().filter(|cue| cue.end > from));
        next += new;
        write(&webvtt::write_cues(head.clone(), shown.iter().copied()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::CancelFlag;

    fn segments(cues: &[Cue], bounds: &[f64]) -> Vec<String> {
        let clock = SegmentClock {
            bounds,
            origin_seconds: 10,
        };
        let mut parts = Vec::new();
        write_segments(cues, &clock, |text| {
            parts.push(text.to_owned());
            Ok(())
        })
        .unwrap();
        parts
    }

    #[test]
    fn cues_that_last_as_long_as_the_film_do_not_fill_the_disk() {
        let cue = |start| Cue {
            start,
            end: 1_000_000_000,
            settings: String::new(),
            text: "x".repeat(900),
        };
        let cues: Vec<Cue> = (0..1000).map(cue).collect();
        let bounds: Vec<f64> = (0..1000).map(|at| 10.0 + f64::from(at)).collect();
        let parts = segments(&cues, &bounds);
        let written: usize = parts.iter().map(String::len).sum();
        assert!(written < MAX_REPEATED + (2 << 20), "{written} bytes");
        // Each cue is in the segment in which it starts.
        assert_eq!(parts[0].matches("-->").count(), 1000);
        assert_eq!(parts[1].matches("-->").count(), 1000);
        assert_eq!(parts[999 - 1].matches("-->").count(), 0);
    }

    fn starts(text: &str) -> Vec<u64> {
        let mut work = ReadingWork::new(text.len(), CancelFlag::default());
        let read = SubtitleDocument::read(text.as_bytes(), SubtitleFormat::Vtt, "und", &mut work);
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
        let parts = segments(&cues, &[10.0, 16.0, 22.0, 28.0]);
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
