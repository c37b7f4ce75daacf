//! The H.264 rendition of video that browsers do not play: the whole film is decoded and encoded,
//! cut where the film is cut, as one more track beside the original.

use super::collect::{Collected, Collector, SampleBytes};
use super::context::{BuildContext, BuildFiles, Feedback, InspectedSource, outlived};
use super::film::Film;
use super::made_track::MadeTrack;
use super::start::Fill;
use crate::media::attempt::Attempt;
use crate::media::browser::{self, BrowserSupport};
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::inspect::probe::ProbedStream;
use crate::media::mp4::fragments::{Movie, Sample, Sink};
use crate::media::reason::UnreadableReason;
use crate::media::tool::encode::{EncodeSpan, Encoder, RenditionTask, Tones};
use crate::media::tool::exit::{Complaint, check_ran};
use crate::media::tool::task::Task;
use crate::model::{Compat, Hardware, TrackKind, Views};

/// Highest bit rate, which 1080p needs in scenes with much motion.
const MOST_BITS: u64 = 8_000_000;
/// Part of MAX_CHUNK_SIZE that the longest segment may take, in per cent.
const SHARE_OF_MAX_CHUNK: u64 = 85;
/// Ticks a second of video that replaces no other track. It fits every usual frame rate.
const OWN_TIMESCALE: u32 = 90_000;
/// Longest segment of such video in seconds. Key frames come every six.
const OWN_SECONDS: f64 = 12.0;
/// Milliseconds by which key frames are requested before a border: less than any frame lasts, and
/// more than rounding takes.
const KEY_LEAD: f64 = 4.0;
/// Part of the film, and seconds, that a rendition may lack at its end.
const MISSING_PART: f64 = 0.05;
const MISSING_SECONDS: f64 = 2.0;

/// Result of the rendition step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RenditionOutcome {
    /// The settings do not ask for one, or browsers play the video.
    #[default]
    NotWanted,
    /// The film has one.
    Made,
    /// It could not be made, for this reason.
    Failed(String),
}

/// Returns the hardware encoders to try, in order.
const fn encoders(hardware: Hardware) -> &'static [Encoder] {
    match hardware {
        Hardware::None => &[],
        Hardware::Nvidia => &[Encoder::Nvidia],
        Hardware::Intel => &[Encoder::Intel],
        Hardware::Vaapi => &[Encoder::Vaapi],
        Hardware::Any => &[Encoder::Nvidia, Encoder::Intel, Encoder::Vaapi],
    }
}

/// Returns whether a film has video, and none that all browsers play.
#[must_use]
pub fn is_wanted(views: &Views) -> bool {
    let videos = views
        .tracks
        .iter()
        .filter(|track| matches!(track.kind, TrackKind::Video { .. }));
    let mut codecs = videos.map(|track| track.codec.as_str()).peekable();
    codecs.peek().is_some() && !codecs.any(plays_everywhere)
}

/// Returns whether a film has a rendition beside its video.
#[must_use]
pub fn has_rendition(views: &Views) -> bool {
    let is_video = |kind: &TrackKind| matches!(kind, TrackKind::Video { .. });
    views
        .tracks
        .iter()
        .filter(|track| is_video(&track.kind))
        .count()
        > 1
}

fn plays_everywhere(codec: &str) -> bool {
    browser::video_support(codec) == BrowserSupport::All
}

/// Makes the rendition and adds it to `film`, where the settings ask for it and browsers do not play
/// the video.
///
/// # Errors
/// When the tool was stopped, or the disk refuses.
pub fn add(
    context: &BuildContext,
    source: &InspectedSource,
    film: &mut Film,
    files: &mut BuildFiles,
    feedback: Feedback<'_>,
) -> Result<RenditionOutcome, MediaError> {
    let Compat::With(hardware) = context.compat else {
        return Ok(RenditionOutcome::NotWanted);
    };
    let refused = film
        .video_codec()
        .is_some_and(|codec| !plays_everywhere(codec));
    let video = match (&source.selection.foreign, &source.selection.video) {
        (Some(foreign), _) => foreign,
        (None, Some(video)) if refused => video,
        (None, _) => return Ok(RenditionOutcome::NotWanted),
    };
    let before = files.derived.len();
    let mut maker = RenditionMaker {
        context,
        source,
        video,
        files,
        progress: feedback.progress,
    };
    match maker.rendition(film, hardware, feedback.notes)? {
        Attempt::Made(made) => {
            let fill = Fill {
                derived: &mut maker.files.derived,
                policy: &context.policy,
            };
            film.add_video(made, fill)?;
            Ok(RenditionOutcome::Made)
        }
        Attempt::Refused(reason) => {
            files.derived.cut_to(before)?;
            Ok(RenditionOutcome::Failed(reason.to_string()))
        }
    }
}

/// Reason why a rendition failed.
#[derive(Debug, Clone, PartialEq)]
enum RenditionFailure {
    Tool(UnreadableReason),
    /// The trial wrote nothing and gave no reason.
    SilentTrial,
    NoFrame,
    /// It ends early, which would leave viewers in the middle of the film. Seconds.
    CutShort {
        made: f64,
        film: f64,
    },
}

impl std::fmt::Display for RenditionFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tool(reason) => reason.fmt(f),
            Self::SilentTrial => f.write_str("ffmpeg gives no reason"),
            Self::NoFrame => f.write_str("ffmpeg encoded not one frame"),
            Self::CutShort { made, film } => {
                write!(f, "only {made:.0} of {film:.0} seconds can be decoded")
            }
        }
    }
}

/// Result of encoding.
type Encoding = Attempt<MadeTrack, RenditionFailure>;

struct RenditionMaker<'a> {
    context: &'a BuildContext,
    source: &'a InspectedSource,
    video: &'a ProbedStream,
    files: &'a mut BuildFiles,
    progress: &'a dyn Fn(u64),
}

impl RenditionMaker<'_> {
    /// Encodes the whole film, in hardware where that is wanted and works.
    fn rendition(
        &mut self,
        film: &Film,
        hardware: Hardware,
        notes: &mut Vec<String>,
    ) -> Result<Encoding, MediaError> {
        let mut rendition = RenditionTask {
            stream: self.video.index,
            encoder: Encoder::Software,
            tones: Tones::Kept,
            span: EncodeSpan::Trial,
            beside: self.beside(),
            keys: key_times(film),
            timescale: film
                .video_codec()
                .map_or(OWN_TIMESCALE, |_| film.timescale()),
            rate: rate(film, self.context.policy.max_chunk_bytes),
        };
        self.choose_tones(&mut rendition, notes)?;
        rendition.encoder = self.encoder(&rendition, hardware)?;
        rendition.span = EncodeSpan::Whole;
        let begun = self.files.derived.len();
        let first = self.encode(&rendition, film)?;
        let Attempt::Refused(reason) = &first else {
            return Ok(first);
        };
        if rendition.encoder == Encoder::Software {
            return Ok(first);
        }
        tracing::warn!(
            encoder = rendition.encoder.name(),
            %reason,
            "encoding in hardware failed; software encodes instead"
        );
        self.files.derived.cut_to(begun)?;
        rendition.encoder = Encoder::Software;
        self.encode(&rendition, film)
    }

    /// Maps the tones of an HDR film to those of ordinary screens, where this ffmpeg can.
    fn choose_tones(
        &self,
        rendition: &mut RenditionTask,
        notes: &mut Vec<String>,
    ) -> Result<(), MediaError> {
        let transfer = self.video.color_transfer.as_str();
        if !matches!(transfer, "smpte2084" | "arib-std-b67") {
            return Ok(());
        }
        rendition.tones = Tones::Mapped;
        if let Attempt::Refused(reason) = self.try_out(rendition)? {
            tracing::info!(
                %reason,
                "this ffmpeg cannot map tones; the rendition keeps them"
            );
            rendition.tones = Tones::Kept;
            notes.push(
                "the H.264 rendition of this HDR film looks pale: ffmpeg has no zscale here"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Returns the streams that the film's other tracks come from.
    fn beside(&self) -> Vec<u32> {
        let audio = self.source.selection.audio.iter();
        let mut streams: Vec<u32> = audio.map(|audio| audio.stream.index).collect();
        streams.dedup();
        streams
    }

    /// Returns the first encoder that can encode a second of this film.
    fn encoder(&self, like: &RenditionTask, hardware: Hardware) -> Result<Encoder, MediaError> {
        for &encoder in encoders(hardware) {
            let trial = RenditionTask {
                encoder,
                ..like.clone()
            };
            match self.try_out(&trial)? {
                Attempt::Made(()) => return Ok(encoder),
                Attempt::Refused(reason) => tracing::warn!(
                    "FFMPEG_HARDWARE_ACCEL: {} does not work here, so software encodes ({reason})",
                    encoder.name()
                ),
            }
        }
        Ok(Encoder::Software)
    }

    /// Encodes a second of the film and drops it.
    fn try_out(&self, trial: &RenditionTask) -> Result<Attempt<(), RenditionFailure>, MediaError> {
        match self.encode_second(trial) {
            Err(error) if error.kind == MediaErrorKind::ToolStopped => {
                let reason = UnreadableReason::ToolStopped(error.to_string());
                Ok(Attempt::Refused(RenditionFailure::Tool(reason)))
            }
            tried => tried,
        }
    }

    fn encode_second(
        &self,
        trial: &RenditionTask,
    ) -> Result<Attempt<(), RenditionFailure>, MediaError> {
        let context = self.context;
        let task = Task::EncodeVideo(RenditionTask {
            span: EncodeSpan::Trial,
            ..trial.clone()
        });
        let container = self.source.container;
        let mut output = context
            .tool
            .start(&context.source, container, &task, &context.cancel)?;
        let bytes = std::io::copy(&mut output, &mut std::io::sink())?;
        let exit = output.finish()?;
        check_ran(&exit)?;
        if exit.is_success() && bytes > 0 {
            return Ok(Attempt::Made(()));
        }
        let reason = match Complaint::of(&exit.stderr) {
            Some(said) => RenditionFailure::Tool(UnreadableReason::Complaint(said)),
            None => RenditionFailure::SilentTrial,
        };
        Ok(Attempt::Refused(reason))
    }

    fn encode(&mut self, rendition: &RenditionTask, film: &Film) -> Result<Encoding, MediaError> {
        let all = (film.duration() * f64::from(rendition.timescale)) as u64;
        let collected = match outlived(self.collect(rendition, all))? {
            Attempt::Made(Some((movie, track))) if !track.samples.is_empty() => {
                self.made(movie, track)
            }
            Attempt::Made(_) => return Ok(Attempt::Refused(RenditionFailure::NoFrame)),
            Attempt::Refused(reason) => {
                return Ok(Attempt::Refused(RenditionFailure::Tool(reason)));
            }
        };
        let (made, film) = (made_seconds(&collected), film.duration());
        if made + film * MISSING_PART + MISSING_SECONDS < film {
            return Ok(Attempt::Refused(RenditionFailure::CutShort { made, film }));
        }
        Ok(Attempt::Made(collected))
    }

    /// Encodes and collects the track. `ticks` is the expected duration.
    fn collect(
        &mut self,
        rendition: &RenditionTask,
        ticks: u64,
    ) -> Result<Attempt<Option<(Movie, Collected)>, UnreadableReason>, MediaError> {
        let task = Task::EncodeVideo(rendition.clone());
        let len = self.files.search.source_len();
        let bytes = |_: usize, _: &_| SampleBytes::MadeAlone;
        let collector = Collector::new(
            &mut self.files.search,
            &mut self.files.derived,
            self.context.derived.clone(),
            &bytes,
            &|_| {},
        );
        let mut sink = TimedSink {
            collector,
            done: 0,
            all: ticks,
            len,
            progress: self.progress,
        };
        let container = self.source.container;
        let otherwise = UnreadableReason::EncodeFailed;
        match self.context.mux(container, &task, &mut sink, otherwise)? {
            Attempt::Refused(reason) => Ok(Attempt::Refused(reason)),
            Attempt::Made(_) => {
                let movie = sink.collector.finish()?;
                Ok(Attempt::Made(movie.and_then(|movie| {
                    Some((movie.movie, movie.tracks.into_iter().next()?))
                })))
            }
        }
    }

    /// Describes the track. Its dynamic range is the ordinary one, which is what players take H.264
    /// with 8 bits for.
    fn made(&self, movie: Movie, collected: Collected) -> MadeTrack {
        let mut stream = self.video.clone();
        stream.color_transfer.clear();
        MadeTrack {
            movie,
            collected,
            stream,
            encoded: Vec::new(),
        }
    }
}

fn made_seconds(made: &MadeTrack) -> f64 {
    let samples = made.collected.samples.iter();
    let ticks: u64 = samples.map(|sample| u64::from(sample.duration)).sum();
    ticks as f64 / f64::from(made.collected.track.timescale)
}

/// Returns times just before each border, in milliseconds of the source.
fn key_times(film: &Film) -> Vec<u64> {
    let origin = f64::from(film.origin_seconds());
    let borders = film.borders().iter();
    borders
        .map(|border| ((border - origin) * 1000.0 - KEY_LEAD).max(0.0) as u64)
        .collect()
}

/// Returns the bit rate with which the longest segment stays below `max_chunk_bytes`.
fn rate(film: &Film, max_chunk_bytes: u64) -> u64 {
    let bounds = film.bounds();
    let lengths = bounds.windows(2).map(|pair| pair[1] - pair[0]);
    let longest = match bounds.len() {
        // It is cut at its own key frames.
        0 | 1 => OWN_SECONDS,
        _ => lengths.fold(1.0, f64::max),
    };
    let fitting = (max_chunk_bytes * SHARE_OF_MAX_CHUNK / 100 * 8) as f64 / longest;
    match max_chunk_bytes {
        0 => MOST_BITS,
        _ => MOST_BITS.min((fitting as u64).max(1)),
    }
}

/// Sink that reports progress by the times of the encoded frames.
struct TimedSink<'a> {
    collector: Collector<'a>,
    /// Ticks encoded so far.
    done: u64,
    /// Ticks of the whole film.
    all: u64,
    /// Bytes that are reported for the whole film.
    len: u64,
    progress: &'a dyn Fn(u64),
}

impl Sink for TimedSink<'_> {
    fn movie(&mut self, movie: Movie) -> Result<(), MediaError> {
        if movie.tracks.len() != 1 {
            let wrong = "ffmpeg wrote other tracks than one of video";
            return Err(MediaError::new(MediaErrorKind::Protocol, wrong));
        }
        self.collector.movie(movie)
    }
    fn fragment(&mut self, track: usize, decode_time: u64) -> Result<(), MediaError> {
        self.collector.fragment(track, decode_time)
    }
    fn sample(&mut self, track: usize, sample: Sample, data: &[u8]) -> Result<(), MediaError> {
        self.done += u64::from(sample.duration);
        let part = u128::from(self.done.min(self.all)) * u128::from(self.len);
        (self.progress)(u64::try_from(part / u128::from(self.all.max(1))).unwrap_or(self.len));
        self.collector.sample(track, sample, data)
    }
}
