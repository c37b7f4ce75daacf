//! The rendition in H.264 of video that browsers do not play: the whole film decoded and encoded, cut where
//! the film is cut, as one more track beside the original.

use crate::model::{Compat, Hardware, TrackKind, Views};

use super::collect::{Collected, Collector, DerivedWriter, SampleBytes};
use super::film::{Film, MadeTrack};
use super::search::Search;
use super::{Job, outlived};
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::inspect::probe::{self, ProbedStream};
use crate::media::inspect::select::{NO_PLACE, StreamSelection};
use crate::media::inspect::sniff::Container;
use crate::media::mp4::fragments::{Movie, MovieTrack, Sample, Sink};
use crate::media::tool::Task;
use crate::media::tool::encode::{EncodeSpan, Encoder, RenditionTask, Tones};

/// Most bits a second: what 1080p needs where much moves.
const MOST_BITS: u64 = 8_000_000;
/// Per cent of the cap that the longest segment may take.
const SHARE_OF_CAP: u64 = 85;
/// Ticks a second of video that stands for no other track: every usual frame rate fits.
const OWN_TIMESCALE: u32 = 90_000;
/// Longest segment of such video in seconds: key frames come every six.
const OWN_SECONDS: f64 = 12.0;
/// Key frames are asked for this long before a border, in milliseconds: less than any frame lasts,
/// and more than rounding takes.
const KEY_LEAD: f64 = 4.0;

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

/// What became of the rendition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RenditionOutcome {
    #[default]
    NotWanted,
    Made,
    /// In words, why not.
    Failed(String),
}

/// Whether browsers play H.264 of these profiles, VP9 and AV1; nothing else that MP4 carries.
fn is_for_browsers(codec: &str) -> bool {
    let plain = ["avc1.42", "avc1.4d", "avc1.58", "avc1.64"];
    plain.iter().any(|start| codec.starts_with(start))
        || codec.starts_with("vp09")
        || codec.starts_with("av01")
}

/// Whether a film has video, and none that browsers play.
#[must_use]
pub fn is_wanted(views: &Views) -> bool {
    let videos = views
        .tracks
        .iter()
        .filter(|track| matches!(track.kind, TrackKind::Video { .. }));
    let mut codecs = videos.map(|track| track.codec.as_str()).peekable();
    codecs.peek().is_some() && !codecs.any(is_for_browsers)
}

/// Whether that is why a film has no views at all: MP4 does not carry its video, but H.264 it does.
#[must_use]
pub fn is_reason(reason: &str) -> bool {
    reason.starts_with(NO_PLACE)
}

/// Whether a film has a rendition beside its video.
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

/// Adds the rendition to `film` where that is asked for and makes sense.
pub fn add(
    job: &Job,
    (container, selection): (Container, &StreamSelection),
    film: &mut Film,
    (search, derived): (&mut Search, &mut DerivedWriter),
    notes: &mut Vec<String>,
    progress: &dyn Fn(u64),
) -> Result<RenditionOutcome, MediaError> {
    let Compat::With(hardware) = job.compat else {
        return Ok(RenditionOutcome::NotWanted);
    };
    let refused = film
        .video_codec()
        .is_some_and(|codec| !is_for_browsers(codec));
    let video = match (&selection.foreign, &selection.video) {
        (Some(foreign), _) => foreign,
        (None, Some(video)) if refused => video,
        (None, _) => return Ok(RenditionOutcome::NotWanted),
    };
    let before = derived.len();
    let mut work = RenditionMaker {
        job,
        container,
        video,
        selection,
        search,
        derived,
        progress,
    };
    match work.rendition(film, hardware, notes)? {
        Ok(made) => {
            film.add_video(made, &job.policy);
            Ok(RenditionOutcome::Made)
        }
        Err(reason) => {
            derived.cut_to(before)?;
            Ok(RenditionOutcome::Failed(reason))
        }
    }
}

struct RenditionMaker<'a> {
    job: &'a Job,
    container: Container,
    video: &'a ProbedStream,
    selection: &'a StreamSelection,
    search: &'a mut Search,
    derived: &'a mut DerivedWriter,
    progress: &'a dyn Fn(u64),
}

impl RenditionMaker<'_> {
    fn rendition(
        &mut self,
        film: &Film,
        hardware: Hardware,
        notes: &mut Vec<String>,
    ) -> Result<Result<MadeTrack, String>, MediaError> {
        let mut rendition = RenditionTask {
            stream: self.video.index,
            encoder: Encoder::Software,
            tones: Tones::Kept,
            extent: EncodeSpan::Trial,
            beside: self.beside(),
            keys: key_times(film),
            timescale: film
                .video_codec()
                .map_or(OWN_TIMESCALE, |_| film.timescale()),
            rate: rate(film, self.job.policy.max_chunk_bytes),
        };
        let is_bright = matches!(
            self.video.color_transfer.as_str(),
            "smpte2084" | "arib-std-b67"
        );
        if is_bright {
            rendition.tones = Tones::Mapped;
            if let Err(reason) = self.try_out(&rendition)? {
                tracing::info!(
                    reason,
                    "this ffmpeg cannot map tones; the rendition keeps them"
                );
                rendition.tones = Tones::Kept;
                notes.push(
                    "the H.264 rendition of this HDR film looks pale: ffmpeg has no zscale here"
                        .to_owned(),
                );
            }
        }
        rendition.encoder = self.encoder(&rendition, hardware)?;
        rendition.extent = EncodeSpan::Whole;
        let begun = self.derived.len();
        let first = outlived(self.encode(&rendition, film))?;
        if first.is_ok() || rendition.encoder == Encoder::Software {
            return Ok(first);
        }
        if let Err(reason) = &first {
            let encoder = rendition.encoder.name();
            tracing::warn!(
                encoder,
                reason,
                "encoding in hardware failed; software does it again"
            );
        }
        self.derived.cut_to(begun)?;
        rendition.encoder = Encoder::Software;
        outlived(self.encode(&rendition, film))
    }

    fn beside(&self) -> Vec<u32> {
        let audio = self.selection.audio.iter();
        let mut streams: Vec<u32> = audio.map(|audio| audio.stream.index).collect();
        streams.dedup();
        streams
    }

    /// The first that encodes a second of this very film.
    fn encoder(&self, like: &RenditionTask, hardware: Hardware) -> Result<Encoder, MediaError> {
        for &encoder in encoders(hardware) {
            let trial = RenditionTask {
                encoder,
                ..like.clone()
            };
            match self.try_out(&trial)? {
                Ok(()) => return Ok(encoder),
                Err(reason) => tracing::warn!(
                    "FFMPEG_HARDWARE_ACCEL: {} does not work here, so software encodes ({reason})",
                    encoder.name()
                ),
            }
        }
        Ok(Encoder::Software)
    }

    /// A second of it; the inner error says what ffmpeg did not like.
    fn try_out(&self, trial: &RenditionTask) -> Result<Result<(), String>, MediaError> {
        let job = self.job;
        let task = Task::EncodeVideo(RenditionTask {
            extent: EncodeSpan::Trial,
            ..trial.clone()
        });
        let tried = || -> Result<Result<(), String>, MediaError> {
            let mut output = job
                .tool
                .start(&job.source, self.container, &task, &job.cancel)?;
            let bytes = std::io::copy(&mut output, &mut std::io::sink())?;
            let exit = output.finish()?;
            probe::check_ran(&exit)?;
            if exit.is_success() && bytes > 0 {
                return Ok(Ok(()));
            }
            Ok(Err(probe::first_line(
                &exit.stderr,
                "ffmpeg says nothing about it",
            )))
        };
        outlived(tried())
    }

    fn encode(
        &mut self,
        rendition: &RenditionTask,
        film: &Film,
    ) -> Result<Result<MadeTrack, String>, MediaError> {
        let job = self.job;
        let task = Task::EncodeVideo(rendition.clone());
        let policy = |_: usize, _: &MovieTrack| SampleBytes::MadeAlone;
        let len = self.search.source_len();
        let collector = Collector::new(
            self.search,
            self.derived,
            job.derived.clone(),
            &policy,
            &|_| {},
        );
        let mut timed = Timed {
            collector,
            done: 0,
            all: (film.duration() * f64::from(rendition.timescale)) as u64,
            len,
            progress: self.progress,
        };
        if let Err(reason) =
            job.mux(self.container, &task, &mut timed, "ffmpeg cannot encode it")?
        {
            return Ok(Err(reason));
        }
        let nothing = || Ok(Err("ffmpeg encoded not one frame".to_owned()));
        let Some((movie, tracks)) = timed.collector.finish()? else {
            return nothing();
        };
        let Some(collected) = tracks
            .into_iter()
            .next()
            .filter(|track| !track.samples.is_empty())
        else {
            return nothing();
        };
        let made = self.made(movie, collected);
        // What stops early would leave a viewer in the middle of the film.
        let seconds = made_seconds(&made);
        if seconds + film.duration() / 20.0 + 2.0 < film.duration() {
            return Ok(Err(format!(
                "only {seconds:.0} of {:.0} seconds can be decoded",
                film.duration()
            )));
        }
        Ok(Ok(made))
    }

    /// Said to be of ordinary range: that is what H.264 with 8 bits is taken for.
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

/// Just before each border, in milliseconds of the source.
fn key_times(film: &Film) -> Vec<u64> {
    let origin = f64::from(film.origin_seconds());
    let borders = film.borders().iter();
    borders
        .map(|border| ((border - origin) * 1000.0 - KEY_LEAD).max(0.0) as u64)
        .collect()
}

/// So that the longest segment stays below the cap.
fn rate(film: &Film, cap: u64) -> u64 {
    let bounds = film.bounds();
    let lengths = bounds.windows(2).map(|pair| pair[1] - pair[0]);
    let longest = match bounds.len() {
        // Cut by its own key frames.
        0 | 1 => OWN_SECONDS,
        _ => lengths.fold(1.0, f64::max),
    };
    let fitting = (cap * SHARE_OF_CAP / 100 * 8) as f64 / longest;
    match cap {
        0 => MOST_BITS,
        _ => MOST_BITS.min((fitting as u64).max(1)),
    }
}

/// Tells how far the encoding is by the time of what comes out.
struct Timed<'a> {
    collector: Collector<'a>,
    /// Ticks.
    done: u64,
    all: u64,
    /// Bytes that stand for the whole.
    len: u64,
    progress: &'a dyn Fn(u64),
}

impl Sink for Timed<'_> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_play_gets_no_rendition() {
        for codec in [
            "avc1.640028",
            "avc1.42c01e",
            "vp09.00.11.08",
            "av01.0.00M.08",
        ] {
            assert!(is_for_browsers(codec), "{codec}");
        }
        for codec in [
            "hvc1.2.4.L63.90",
            "avc1.6e0028",
            "avc1.7a0028",
            "mp4v.61",
            "mp4v.20",
            "vc-1",
        ] {
            assert!(!is_for_browsers(codec), "{codec}");
        }
    }
}
