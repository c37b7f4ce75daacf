//! Sound of a film whose segments are ranges: what lies inside, and what is made beside it. Players
//! built on ffmpeg choose among all streams inside; browsers take one of them, AAC or MP3, and need
//! the others as renditions of their own.

use super::make::Line;
use super::scan::TransportScan;
use super::tables::ProgramMap;
use crate::media::build::collect::{DerivedWriter, SampleBytes};
use crate::media::build::film::MadeTrack;
use crate::media::build::search::Search;
use crate::media::build::timeline::{self, SegmentCut, TrackTimes};
use crate::media::build::{Job, outlived};
use crate::media::error::MediaError;
use crate::media::inspect::language;
use crate::media::inspect::probe::{MediaProbe, ProbedStream};
use crate::media::inspect::select::AAC_CHANNELS;
use crate::media::inspect::sniff::Container;
use crate::media::mp4::fragments::MovieTrack;
use crate::media::tool::{Lead, Pick, StreamConversion, Task};
use crate::model::{Track, TrackKind};

/// Audio tracks that a film gets beside it.
const MAX_RENDITIONS: usize = 16;
/// Kinds of streams that hls.js takes as MPEG audio and as AAC: it plays the first of them.
const TAKEN_BY_BROWSERS: [u8; 3] = [0x03, 0x04, 0x0f];

/// Audio streams of the program in the order of its table, each with its kind there.
pub fn inside(probe: &MediaProbe, program: &ProgramMap) -> Vec<(ProbedStream, u8)> {
    let known = |pid| {
        let mut streams = probe.streams.iter();
        streams.find(|stream| stream.is_audio() && stream.pid() == Some(pid))
    };
    let streams = program.streams.iter();
    streams
        .filter_map(|entry| Some((known(entry.pid)?.clone(), entry.kind)))
        .filter(|(stream, _)| stream.channels > 0 && !stream.codec_name.is_empty())
        .collect()
}

/// Which of the audio inside browsers play: the first that they take, if they can.
pub fn for_browsers(audio: &[(ProbedStream, u8)]) -> Option<usize> {
    let first = audio
        .iter()
        .position(|(_, kind)| TAKEN_BY_BROWSERS.contains(kind))?;
    matches!(audio[first].0.codec_name.as_str(), "aac" | "mp3").then_some(first)
}

/// What was made, and the origin of its time line.
pub struct Renditions {
    pub made: Vec<(MadeTrack, Vec<SegmentCut>)>,
    pub origin_seconds: u32,
}

/// Renditions for browsers, where they play the video: AAC is copied, other sound encoded.
pub fn make(
    job: &Job,
    search: &mut Search,
    found: &TransportScan,
    audio: &[(ProbedStream, u8)],
    (line, zero): (&Line, i64),
    derived: &mut DerivedWriter,
    notes: &mut Vec<String>,
) -> Result<Renditions, MediaError> {
    let mut made = Vec::new();
    if found.coding.is_for_browsers() {
        let played = for_browsers(audio);
        let missing = audio.iter().enumerate();
        let missing = missing.filter(|(number, _)| Some(*number) != played);
        for (_, (stream, kind)) in missing.take(MAX_RENDITIONS) {
            match rendition(job, search, (stream, *kind), zero, derived)? {
                Some(one) => made.push(one),
                None => notes.push(format!("audio stream {} cannot be decoded", stream.index)),
            }
        }
    }
    made.iter_mut()
        .for_each(|one| timeline::normalise(&mut one.collected, one.movie.timescale));
    let pairs: Vec<_> = made
        .iter()
        .map(|one| (one.movie.timescale, &one.collected))
        .collect();
    let origin_seconds = timeline::origin(&pairs);
    let starts = line
        .starts
        .iter()
        .map(|start| start + f64::from(origin_seconds));
    let bounds: Vec<f64> = starts.collect();
    let cut = |one: MadeTrack| {
        let times = TrackTimes::new(&one.collected, one.movie.timescale, origin_seconds);
        let samples = &one.collected.samples;
        let starts = times.cut_at(samples, &bounds);
        let begin = bounds.first().copied().unwrap_or(0.0).max(0.0);
        let cuts = times.segments(samples, &starts, begin);
        (one, cuts)
    };
    Ok(Renditions {
        made: made.into_iter().map(cut).collect(),
        origin_seconds,
    })
}

fn rendition(
    job: &Job,
    search: &mut Search,
    (stream, kind): (&ProbedStream, u8),
    zero: i64,
    derived: &mut DerivedWriter,
) -> Result<Option<MadeTrack>, MediaError> {
    const AAC_WITH_ADTS: u8 = 0x0f;
    let before = derived.len();
    let is_aac = kind == AAC_WITH_ADTS && stream.codec_name == "aac";
    let way = if is_aac {
        StreamConversion::CopiedFromAdts
    } else {
        StreamConversion::Encoded
    };
    let pick = Pick {
        stream: stream.index,
        way,
    };
    let task = Task::Remux(vec![pick], Lead::Audio);
    let policy = |_: usize, _: &MovieTrack| SampleBytes::Made;
    let done = job.pass(Container::MpegTs, &task, search, derived, &policy, &|_| {});
    let track = outlived(done)?.ok().and_then(|(movie, tracks)| {
        let collected = tracks.into_iter().next()?;
        Some((movie, collected)).filter(|(_, track)| !track.samples.is_empty())
    });
    let Some((movie, mut collected)) = track else {
        derived.cut_to(before)?;
        return Ok(None);
    };
    // Of a transport stream ffmpeg counts from the first of the streams that it was asked for.
    let late = stream
        .start_ticks()
        .map_or(0, |start| (start - zero).max(0));
    let late = i128::from(late) * i128::from(collected.track.timescale) / 90_000;
    collected.first_decode_time += u64::try_from(late).unwrap_or(0);
    let channels = if is_aac {
        stream.channels
    } else {
        AAC_CHANNELS
    };
    Ok(Some(MadeTrack {
        movie,
        collected,
        stream: ProbedStream {
            channels,
            ..stream.clone()
        },
        encoded: Vec::new(),
    }))
}

/// How a stream inside the segments is listed.
pub fn track(stream: &ProbedStream) -> Track {
    Track {
        kind: TrackKind::Audio {
            channels: stream.channels,
            sample_rate: stream.sample_rate.parse().unwrap_or(0),
        },
        codec: codec(&stream.codec_name),
        timescale: 90_000,
        init: Vec::new(),
        language: language::bcp47(stream.tag("language")),
        title: language::clean_title(stream.tag("title")),
        default: stream.has("default"),
        peak_bits: 0,
        average_bits: 0,
        segments: Vec::new(),
        frames: Vec::new(),
        transport_sizes: Vec::new(),
        first_pictures: Vec::new(),
    }
}

/// RFC 6381, as Apple's players and hls.js read it.
fn codec(name: &str) -> String {
    let known = match name {
        "aac" | "aac_latm" => "mp4a.40.2",
        "mp3" => "mp4a.40.34",
        "mp2" => "mp4a.40.33",
        "ac3" => "ac-3",
        "eac3" => "ec-3",
        "dts" => "dtsc",
        "truehd" => "mlpa",
        _ => {
            let plain = name.chars().filter(char::is_ascii_alphanumeric);
            return plain.collect();
        }
    };
    known.to_owned()
}
