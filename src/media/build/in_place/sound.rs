//! Audio of a film whose segments are ranges: streams inside the segments, and renditions beside them.
//! Players built on ffmpeg choose among all streams inside. Browsers play one of them, AAC or MP3,
//! and need the others as renditions.

use super::cuts::FilmLine;
use crate::media::attempt::Attempt;
use crate::media::browser::{self, BrowserAudio, BrowserSupport};
use crate::media::build::collect::SampleBytes;
use crate::media::build::context::{BuildContext, BuildFiles, Pass, outlived};
use crate::media::build::made_track::MadeTrack;
use crate::media::build::timeline::{self, SegmentCut, TrackTimes};
use crate::media::container::Container;
use crate::media::error::MediaError;
use crate::media::in_place::scan::TransportScan;
use crate::media::inspect::language;
use crate::media::inspect::probe::{MediaProbe, ProbedStream};
use crate::media::inspect::role;
use crate::media::tool::task::{AAC_CHANNELS, Lead, Pick, StreamConversion, Task};
use crate::model::{Track, TrackKind};

/// Limit of audio tracks that are made beside a film.
const MAX_RENDITIONS: usize = 16;
/// Stream types that hls.js takes for MPEG audio and AAC. It plays the first stream of these.
const TAKEN_BY_BROWSERS: [u8; 3] = [0x03, 0x04, 0x0f];

/// An audio stream inside the segments.
pub struct InsideAudio {
    /// The stream as ffprobe describes it.
    pub stream: ProbedStream,
    /// Its stream type in the table of the program.
    pub kind: u8,
    /// True for AAC that describes its channels itself, which browsers do not play.
    pub has_own_layout: bool,
}

/// Returns the audio streams of the scanned program, in the order of its table.
pub fn inside(probe: &MediaProbe, found: &TransportScan) -> Vec<InsideAudio> {
    let known = |pid| {
        let mut streams = probe.streams.iter();
        streams.find(|stream| stream.is_audio() && stream.pid() == Some(pid))
    };
    let streams = found.program.streams.iter();
    streams
        .filter_map(|entry| {
            Some(InsideAudio {
                stream: known(entry.pid)?.clone(),
                kind: entry.kind,
                has_own_layout: found.own_layouts.contains(&entry.pid),
            })
        })
        .filter(|audio| audio.stream.channels > 0 && !audio.stream.codec_name.is_empty())
        .collect()
}

/// Returns the number of the stream inside that browsers play: the first that they choose, if they
/// can decode it.
fn played_by_browsers(audio: &[InsideAudio]) -> Option<usize> {
    let first = audio
        .iter()
        .position(|audio| TAKEN_BY_BROWSERS.contains(&audio.kind))?;
    let InsideAudio {
        stream,
        has_own_layout,
        ..
    } = &audio[first];
    BrowserAudio::from_ffprobe(&stream.codec_name, &stream.profile)
        .filter(|codec| codec.plays_in_transport_stream() && !has_own_layout)
        .map(|_| first)
}

/// Renditions, and the origin of their time line.
pub struct AudioRenditions {
    /// Each track with its segments.
    pub made: Vec<(MadeTrack, Vec<SegmentCut>)>,
    /// Seconds before the film's zero at which their time line starts.
    pub origin_seconds: u32,
}

/// The film that renditions are made for.
pub struct SoundRequest<'a> {
    /// RFC 6381 name of the video.
    pub video_codec: &'a str,
    /// Audio inside the segments.
    pub audio: &'a [InsideAudio],
    /// Time line of the film.
    pub line: &'a FilmLine,
    /// Time stamp of the film's zero.
    pub zero: i64,
}

/// Makes the renditions that browsers need, where some of them play the video. AAC is copied, other
/// audio encoded.
///
/// # Errors
/// When the tool is missing, or the disk refuses.
pub fn make(
    context: &BuildContext,
    request: &SoundRequest<'_>,
    files: &mut BuildFiles,
    notes: &mut Vec<String>,
) -> Result<AudioRenditions, MediaError> {
    let mut made = Vec::new();
    if browser::video_support(request.video_codec) != BrowserSupport::None {
        let played = played_by_browsers(request.audio);
        let missing = request.audio.iter().enumerate();
        let missing = missing.filter(|(number, _)| Some(*number) != played);
        for (_, audio) in missing.take(MAX_RENDITIONS) {
            match rendition(context, audio, request.zero, files)? {
                Some(one) => made.push(one),
                None => notes.push(format!(
                    "audio stream {} cannot be decoded",
                    audio.stream.index
                )),
            }
        }
    }
    Ok(cut(made, request.line))
}

/// Cuts renditions where the video is cut.
fn cut(mut made: Vec<MadeTrack>, line: &FilmLine) -> AudioRenditions {
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
        let cuts = times.segments_from(&starts, begin);
        (one, cuts)
    };
    AudioRenditions {
        made: made.into_iter().map(cut).collect(),
        origin_seconds,
    }
}

/// Makes one rendition; `None` when the stream cannot be decoded.
fn rendition(
    context: &BuildContext,
    audio: &InsideAudio,
    zero: i64,
    files: &mut BuildFiles,
) -> Result<Option<MadeTrack>, MediaError> {
    const AAC_WITH_ADTS: u8 = 0x0f;
    let stream = &audio.stream;
    let before = files.derived.len();
    let is_aac = audio.kind == AAC_WITH_ADTS
        && stream.codec_name == "aac"
        && stream.plays_in_browsers()
        && !audio.has_own_layout;
    let (conversion, channels) = match is_aac {
        true => (StreamConversion::CopiedFromAdts, stream.channels),
        false => (StreamConversion::Encoded, AAC_CHANNELS),
    };
    let pick = Pick {
        stream: stream.index,
        conversion,
    };
    let pass = Pass {
        container: Container::MpegTs,
        task: &Task::Remux(vec![pick], Lead::Audio),
        bytes: &|_, _| SampleBytes::Made,
        progress: &|_| {},
    };
    let track = match outlived(context.pass(&pass, files))? {
        Attempt::Refused(_) => None,
        Attempt::Made(collected) => {
            let track = collected.tracks.into_iter().next();
            track
                .filter(|track| !track.samples.is_empty())
                .map(|track| (collected.movie, track))
        }
    };
    let Some((movie, mut collected)) = track else {
        files.derived.cut_to(before)?;
        return Ok(None);
    };
    // In a transport stream, ffmpeg counts from the first of the streams that it was asked for.
    let late = stream
        .start_ticks()
        .map_or(0, |start| (start - zero).max(0));
    let late = i128::from(late) * i128::from(collected.track.timescale) / 90_000;
    collected.first_decode_time += u64::try_from(late).unwrap_or(0);
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

/// Returns the track that lists a stream inside the segments.
pub fn track(stream: &ProbedStream) -> Track {
    Track {
        kind: TrackKind::Audio {
            channels: stream.channels,
            sample_rate: stream.sample_rate.parse().unwrap_or(0),
        },
        codec: codec(stream),
        timescale: 90_000,
        init: Vec::new(),
        language: language::bcp47(stream.language_tag()),
        title: language::clean_title(stream.tag("title")),
        default: stream.has("default"),
        peak_bits: 0,
        average_bits: 0,
        segments: Vec::new(),
        frames: Vec::new(),
        transport_sizes: Vec::new(),
        first_pictures: Vec::new(),
        role: role::of(stream),
        captions: Vec::new(),
    }
}

/// Returns the RFC 6381 name as Apple's players and hls.js read it.
fn codec(stream: &ProbedStream) -> String {
    let name = stream.codec_name.as_str();
    let known = match name {
        "aac" | "aac_latm" => match stream.profile.as_str() {
            "Main" => "mp4a.40.1",
            "SSR" => "mp4a.40.3",
            "LTP" => "mp4a.40.4",
            "LD" => "mp4a.40.23",
            "ELD" => "mp4a.40.39",
            // ffprobe before 7.1 has a number for it alone.
            "xHE-AAC" | "41" => "mp4a.40.42",
            "HE-AAC" => "mp4a.40.5",
            "HE-AACv2" => "mp4a.40.29",
            _ => "mp4a.40.2",
        },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_profile_of_aac_has_its_own_name() {
        for (profile, expected) in [
            ("LC", "mp4a.40.2"),
            ("HE-AAC", "mp4a.40.5"),
            ("HE-AACv2", "mp4a.40.29"),
            ("LD", "mp4a.40.23"),
            ("ELD", "mp4a.40.39"),
            ("xHE-AAC", "mp4a.40.42"),
            ("41", "mp4a.40.42"),
            ("unknown", "mp4a.40.2"),
        ] {
            let stream = ProbedStream {
                codec_name: "aac_latm".to_owned(),
                profile: profile.to_owned(),
                ..ProbedStream::default()
            };
            assert_eq!(codec(&stream), expected, "{profile}");
        }
    }
}
