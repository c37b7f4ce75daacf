//! From a sealed source file to its views: sniff, gates, probe, one pass, cuts, subtitles, map.

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::model::{Blob, BlobId, ByteRange, Digest, SegmentInfo, Track, TrackKind, Views};
use crate::process::CancelFlag;

use super::collect::{Bytes, Collected, Collector, DerivedWriter};
use super::error::{MediaError, MediaErrorKind};
use super::fmp4::{self, Movie, MovieTrack};
use super::plan::CutPolicy;
use super::probe::{self, Stream};
use super::record::{self, SegmentSource};
use super::search::Search;
use super::select::{self, Selection, Way};
use super::sniff::{self, Container};
use super::timeline::{self, Cut, Times};
use super::tool::{Lead, MediaTool, Task};
use super::{gate, header, init, language, playlist, subtitle};

/// Layout of generated headers and of the map.
pub const LAYOUT: u16 = 1;
/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// A mapped end that lies this much before the announced one is worth a note, in seconds.
const MISSING_SECONDS: f64 = 2.0;

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum BuildOutcome {
    /// The derived file is complete and on the disk.
    Ready(Box<Views>),
    /// Media that HLS cannot carry, for this reason.
    Unsupported(String),
    /// A media container that the tools cannot read, for this reason.
    Unreadable(String),
    /// No media container that we know.
    NotMedia,
}

/// Builds the views of `source`, which must not change meanwhile, and writes their bytes into
/// `derived` (replaced; removed again unless the outcome is `Ready`). `progress` is told the bytes
/// of the source that are done. Dropping the future stops the tool.
///
/// # Errors
/// When it could not be found out; [`MediaError::is_retryable`] says whether to try again.
pub async fn build_views(
    tool: &Arc<dyn MediaTool>,
    source: &Path,
    derived: &Path,
    policy: &CutPolicy,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<BuildOutcome, MediaError> {
    let (sender, mut receiver) = watch::channel(0);
    let cancel = CancelOnDrop(CancelFlag::default());
    let job = Job {
        tool: Arc::clone(tool),
        source: source.to_path_buf(),
        derived: derived.to_path_buf(),
        policy: *policy,
        cancel: cancel.0.clone(),
    };
    let work = tokio::task::spawn_blocking(move || {
        job.run(&|done| {
            sender.send_replace(done);
        })
    });
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return result.unwrap_or_else(|_| {
                Err(MediaError::new(MediaErrorKind::Protocol, "building the views failed unexpectedly"))
            }),
            () = tokio::time::sleep(PROGRESS_INTERVAL) => progress(*receiver.borrow_and_update()),
        }
    }
}

struct CancelOnDrop(CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Everything that one build needs, on a thread that may block.
pub(super) struct Job {
    pub(super) tool: Arc<dyn MediaTool>,
    pub(super) source: PathBuf,
    pub(super) derived: PathBuf,
    pub(super) policy: CutPolicy,
    pub(super) cancel: CancelFlag,
}

/// A track with what surrounds it.
struct Made {
    movie: Movie,
    collected: Collected,
    stream: Stream,
}

impl Job {
    pub(super) fn run(&self, progress: &dyn Fn(u64)) -> Result<BuildOutcome, MediaError> {
        let result = self.build(progress);
        if !matches!(result, Ok(BuildOutcome::Ready(_))) {
            let _nothing_to_keep = std::fs::remove_file(&self.derived);
        }
        result
    }

    fn build(&self, progress: &dyn Fn(u64)) -> Result<BuildOutcome, MediaError> {
        let file = File::open(&self.source)?;
        let Some(container) = sniff_file(&file)? else {
            return Ok(BuildOutcome::NotMedia);
        };
        if let Some(reason) = gate::refuse(&file, container)? {
            return Ok(BuildOutcome::Unreadable(reason));
        }
        let probe = match probe::probe(self.tool.as_ref(), &self.source, container, &self.cancel)? {
            Ok(probe) => probe,
            Err(reason) => return Ok(BuildOutcome::Unreadable(reason)),
        };
        let selection = match select::select(&probe) {
            Ok(selection) => selection,
            Err(reason) => return Ok(BuildOutcome::Unsupported(reason)),
        };
        let mut search = Search::new(file)?;
        let mut derived = DerivedWriter::create(&self.derived)?;
        let mut notes = selection.notes.clone();
        let tracks =
            match self.collect(container, &selection, &mut search, &mut derived, progress)? {
                Ok(tracks) => tracks,
                Err(reason) => return Ok(BuildOutcome::Unreadable(reason)),
            };
        let film = Film::new(tracks, &self.policy);
        film.note_missing_end(probe.format.seconds(), &mut notes);
        let subtitles = subtitle::extract(
            self,
            container,
            &selection.subtitles,
            &film,
            &mut derived,
            &mut notes,
        )?;
        let mut views = film.write(derived, notes)?;
        views.subtitles = subtitles;
        progress(search.source_len());
        Ok(BuildOutcome::Ready(Box::new(views)))
    }

    /// All passes of the muxer.
    fn collect(
        &self,
        container: Container,
        selection: &Selection,
        search: &mut Search,
        derived: &mut DerivedWriter,
        progress: &dyn Fn(u64),
    ) -> Result<Result<Vec<Made>, String>, MediaError> {
        let picks = selection.picks(container);
        let mut copied = Vec::new();
        if !picks.is_empty() {
            let policy = |track: &MovieTrack| {
                if &track.handler == b"soun" {
                    Bytes::Packed
                } else if container.splits_frames() {
                    Bytes::Made
                } else {
                    Bytes::Mapped
                }
            };
            let lead = match selection.video {
                Some(_) => Lead::Video,
                None => Lead::Audio,
            };
            match self.pass(
                container,
                &Task::Remux(picks, lead),
                search,
                derived,
                &policy,
                progress,
            )? {
                Ok((movie, tracks)) => {
                    copied = tracks
                        .into_iter()
                        .map(|track| (movie.clone(), track))
                        .collect()
                }
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let mut copied = copied.into_iter();
        let mut made = Vec::new();
        if let Some(stream) = &selection.video {
            made.extend(copied.next().map(|(movie, collected)| Made {
                movie,
                collected,
                stream: stream.clone(),
            }));
        }
        for audio in &selection.audio {
            let stream = audio.stream.clone();
            match audio.way {
                Way::Copied => made.extend(copied.next().map(|(movie, collected)| Made {
                    movie,
                    collected,
                    stream,
                })),
                Way::Encoded => {
                    let task = Task::EncodeAudio(stream.index);
                    let done =
                        self.pass(container, &task, search, derived, &|_| Bytes::Made, &|_| {})?;
                    // A track that cannot be decoded is missed, but the film plays.
                    if let Ok((movie, tracks)) = done {
                        made.extend(tracks.into_iter().next().map(|collected| Made {
                            movie,
                            collected,
                            stream,
                        }));
                    }
                }
            }
        }
        made.retain(|track| !track.collected.samples.is_empty());
        if made.is_empty() {
            return Ok(Err("it holds not one whole frame".to_owned()));
        }
        Ok(Ok(made))
    }

    /// One run of the muxer; the inner error says in words why its output is no use.
    fn pass(
        &self,
        container: Container,
        task: &Task,
        search: &mut Search,
        derived: &mut DerivedWriter,
        policy: &dyn Fn(&MovieTrack) -> Bytes,
        progress: &dyn Fn(u64),
    ) -> Result<Result<(Movie, Vec<Collected>), String>, MediaError> {
        let output = self
            .tool
            .start(&self.source, container, task, &self.cancel)?;
        let mut output = BufReader::with_capacity(1 << 20, output);
        let mut collector = Collector::new(search, derived, self.derived.clone(), policy, progress);
        let read = fmp4::read(&mut output, &mut collector);
        let exit = output.into_inner().finish();
        // Our own trouble first: a full disk makes the tool fail too, with a broken pipe.
        if let Err(error) = &read
            && error.is_retryable()
        {
            return Err(error.clone());
        }
        let exit = exit?;
        probe::check_ran(&exit)?;
        // Its output is cut off then, so what reading said does not matter.
        if !exit.is_success() {
            return Ok(Err(probe::first_line(
                &exit.stderr,
                "ffmpeg cannot remux it",
            )));
        }
        read?;
        Ok(collector
            .finish()?
            .ok_or_else(|| probe::first_line(&exit.stderr, "it holds not one whole frame")))
    }
}

fn sniff_file(file: &File) -> Result<Option<Container>, MediaError> {
    let mut head = vec![0; sniff::SNIFF_BYTES];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(sniff::sniff(&head[..filled]))
}

/// All tracks, cut.
pub(super) struct Film {
    origin_seconds: u32,
    tracks: Vec<(Made, Vec<Cut>)>,
    /// Seconds.
    duration: f64,
    /// Seconds on the tracks' time line where each segment of the leading track starts.
    bounds: Vec<f64>,
}

impl Film {
    fn new(mut made: Vec<Made>, policy: &CutPolicy) -> Self {
        made.iter_mut()
            .for_each(|track| timeline::normalise(&mut track.collected));
        let pairs: Vec<(u32, &Collected)> = made
            .iter()
            .map(|track| (track.movie.timescale, &track.collected))
            .collect();
        let origin_seconds = timeline::origin(&pairs);
        let mut bounds = Vec::new();
        let mut duration: f64 = 0.0;
        let mut tracks = Vec::new();
        for track in made {
            let times = Times::new(&track.collected, track.movie.timescale, origin_seconds);
            let samples = &track.collected.samples;
            let starts = if !bounds.is_empty() {
                times.cut_at(samples, &bounds)
            } else if &track.collected.track.handler == b"vide" {
                times.cut_video(samples, policy)
            } else {
                times.cut_evenly(samples, policy)
            };
            if bounds.is_empty() {
                bounds = times.bounds(samples, &starts);
            }
            let begin = bounds.first().copied().unwrap_or(0.0);
            let cuts = times.segments(samples, &starts, begin);
            duration = duration.max(times.end_seconds(origin_seconds));
            tracks.push((track, cuts));
        }
        Self {
            origin_seconds,
            tracks,
            duration,
            bounds,
        }
    }

    pub(super) const fn origin_seconds(&self) -> u32 {
        self.origin_seconds
    }
    /// Seconds, with the origin: starts of the leading track's segments, and the end.
    pub(super) fn bounds(&self) -> Vec<f64> {
        let end = self.duration + f64::from(self.origin_seconds);
        self.bounds.iter().copied().chain([end]).collect()
    }

    /// Files cut short still announce their whole length.
    fn note_missing_end(&self, announced: Option<f64>, notes: &mut Vec<String>) {
        // Bitmap subtitles without an end make a film of 4294967 s.
        const LONGEST: f64 = 30.0 * 24.0 * 3600.0;
        if let Some(announced) = announced.filter(|seconds| *seconds < LONGEST)
            && self.duration + MISSING_SECONDS < announced
        {
            notes.push(format!(
                "the file is damaged: {:.0} of {announced:.0} seconds can be played",
                self.duration
            ));
        }
    }

    fn is_independent(&self) -> bool {
        self.tracks.iter().all(|(track, cuts)| {
            let dependent = &track.collected.dependent_keys;
            let samples = &track.collected.samples;
            let video = &track.collected.track.handler == b"vide";
            cuts.iter().all(|cut| {
                let first = cut.samples.start;
                dependent.binary_search(&first).is_err()
                    && (!video || samples.get(first).is_some_and(fmp4::Sample::is_key))
            })
        })
    }

    /// Writes the map and ends the derived file.
    fn write(&self, mut derived: DerivedWriter, notes: Vec<String>) -> Result<Views, MediaError> {
        let mut map = record::MAP_MAGIC.to_vec();
        let mut tracks = Vec::new();
        for (made, cuts) in &self.tracks {
            tracks.push(describe_track(made, cuts, &mut map)?);
        }
        let target = playlist_target(&tracks);
        for track in &mut tracks {
            (track.peak_bits, track.average_bits) =
                playlist::rates(&track.segments, track.timescale, target);
        }
        let offset = derived.append(&map)?;
        let len = derived.finish()?;
        Ok(Views {
            derived: Blob {
                id: BlobId::random(),
                len,
                digest: None,
                slices: Vec::new(),
            },
            map: ByteRange::new(offset, map.len() as u64),
            map_digest: Digest::of(&map),
            layout: LAYOUT,
            origin_seconds: self.origin_seconds,
            duration_ms: (self.duration.max(0.0) * 1000.0).round() as u64,
            independent_segments: self.is_independent(),
            tracks,
            subtitles: Vec::new(),
            note: (!notes.is_empty()).then(|| notes.join("; ")),
        })
    }
}

/// Longest segment in seconds.
fn playlist_target(tracks: &[Track]) -> f64 {
    tracks
        .iter()
        .flat_map(|track| {
            let timescale = f64::from(track.timescale.max(1));
            track
                .segments
                .iter()
                .map(move |segment| f64::from(segment.duration) / timescale)
        })
        .fold(1.0, f64::max)
}

fn describe_track(made: &Made, cuts: &[Cut], map: &mut Vec<u8>) -> Result<Track, MediaError> {
    let collected = &made.collected;
    let mut segments = Vec::with_capacity(cuts.len());
    let mut frames = Vec::new();
    for group in cuts.chunks(record::SEGMENTS_PER_FRAME) {
        let sources: Vec<SegmentSource<'_>> = group
            .iter()
            .map(|cut| SegmentSource {
                decode_time: cut.decode_time,
                samples: &collected.samples[cut.samples.clone()],
                places: &collected.places[cut.samples.clone()],
            })
            .collect();
        let frame = record::encode_frame(&sources)?;
        let count = u32::try_from(group.len()).unwrap_or(u32::MAX);
        frames.push((ByteRange::new(map.len() as u64, frame.len() as u64), count));
        map.extend(frame);
        segments.extend(group.iter().zip(&sources).map(|(cut, source)| {
            SegmentInfo {
                duration: cut.duration,
                size: header::size(source.samples)
                    + source
                        .samples
                        .iter()
                        .map(|sample| u64::from(sample.size))
                        .sum::<u64>(),
            }
        }));
    }
    let init = init::write(&made.movie, &collected.track).ok_or_else(|| {
        MediaError::new(
            MediaErrorKind::Protocol,
            "ffmpeg wrote a movie header that cannot be read",
        )
    })?;
    Ok(Track {
        kind: track_kind(made),
        codec: collected.description.codec.clone(),
        timescale: collected.track.timescale,
        init,
        language: language::bcp47(made.stream.tag("language")),
        title: language::clean_title(made.stream.tag("title")),
        default: made.stream.has("default"),
        peak_bits: 0,
        average_bits: 0,
        segments,
        frames,
    })
}

fn track_kind(made: &Made) -> TrackKind {
    let description = &made.collected.description;
    if &made.collected.track.handler == b"vide" {
        TrackKind::Video {
            width: description.width,
            height: description.height,
            millihertz: made.stream.millihertz(),
            range: match made.stream.color_transfer.as_str() {
                "smpte2084" => "PQ",
                "arib-std-b67" => "HLG",
                _ => "SDR",
            }
            .to_owned(),
        }
    } else {
        TrackKind::Audio {
            channels: made.stream.channels.max(1),
            sample_rate: description.sample_rate,
        }
    }
}

#[cfg(test)]
mod tests;
