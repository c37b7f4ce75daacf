//! From a sealed source file to its views: sniff, gates, probe, one pass, cuts, subtitles, map.

pub mod cuts;
pub mod oversize;
pub mod rendition;
pub mod report;

pub(super) mod attachments;
pub(super) mod collect;
pub(super) mod film;
pub(super) mod search;
pub(super) mod subtitle_streams;
pub(super) mod thumbnails;
pub(super) mod timeline;

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::model::{Compat, Views};
use crate::process::{CancelFlag, Exit};

use self::collect::{Collected, Collector, DerivedWriter, SampleBytes};
use self::cuts::{CutPolicy, TenPasses};
use self::film::{Film, MadeTrack};
use self::oversize::Reencoded;
use self::rendition::RenditionOutcome;
use self::search::Search;
use super::error::{MediaError, MediaErrorKind};
use super::in_place::{self, InPlaceRefusal};
use super::inspect::probe;
use super::inspect::protection;
use super::inspect::select::{self, StreamSelection};
use super::inspect::sniff::{self, Container};
use super::mp4::fragments::{self, Movie, MovieTrack};
use super::tool::{Lead, MediaTool, StreamConversion, Task};

/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum BuildOutcome {
    /// The derived file is complete and on the disk.
    Ready(Box<Views>, Box<BuildReport>),
    /// Media that HLS cannot carry, for this reason.
    Unsupported(String),
    /// A media container that the tools cannot read, for this reason.
    Unreadable(String),
    /// No media container that we know.
    NotMedia,
}

/// What was done for the views beside copying.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BuildReport {
    /// For comparison, what the older rule would have cut.
    pub ten_passes: Option<TenPasses>,
    /// Groups of pictures that were encoded again.
    pub reencoded: Vec<Reencoded>,
    /// The leading track's segments with such groups, from 0.
    pub reencoded_segments: Vec<usize>,
    pub rendition: RenditionOutcome,
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
    build_views_for(tool, (source, derived), (policy, Compat::Off), progress).await
}

/// The same, with a rendition for browsers where `compat` asks for one: then progress is that of its
/// encoding, which takes by far the longest.
///
/// # Errors
/// As [`build_views`].
pub async fn build_views_for(
    tool: &Arc<dyn MediaTool>,
    (source, derived): (&Path, &Path),
    (policy, compat): (&CutPolicy, Compat),
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<BuildOutcome, MediaError> {
    let (sender, mut receiver) = watch::channel(0);
    let cancel = CancelOnDrop(CancelFlag::default());
    let job = Job {
        tool: Arc::clone(tool),
        source: source.to_path_buf(),
        derived: derived.to_path_buf(),
        policy: *policy,
        compat,
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
pub struct Job {
    pub tool: Arc<dyn MediaTool>,
    pub source: PathBuf,
    pub derived: PathBuf,
    pub policy: CutPolicy,
    pub compat: Compat,
    pub cancel: CancelFlag,
}

impl Job {
    pub fn run(&self, progress: &dyn Fn(u64)) -> Result<BuildOutcome, MediaError> {
        let result = self.build(progress);
        if !matches!(result, Ok(BuildOutcome::Ready(..))) {
            let _nothing_to_keep = std::fs::remove_file(&self.derived);
        }
        result
    }

    fn build(&self, progress: &dyn Fn(u64)) -> Result<BuildOutcome, MediaError> {
        let file = File::open(&self.source)?;
        let Some(container) = sniff_file(&file)? else {
            return Ok(BuildOutcome::NotMedia);
        };
        if let Some(reason) = protection::refuse(&file, container)? {
            return Ok(BuildOutcome::Unreadable(reason));
        }
        let probe = match probe::probe(self.tool.as_ref(), &self.source, container, &self.cancel)? {
            Ok(probe) => probe,
            Err(reason) => return Ok(BuildOutcome::Unreadable(reason)),
        };
        let mut selection = match select::select(&probe, self.compat) {
            Ok(selection) => selection,
            Err(reason) => return Ok(BuildOutcome::Unsupported(reason)),
        };
        let source = file.try_clone()?;
        let mut search = Search::new(file)?;
        let mut derived = DerivedWriter::create(&self.derived)?;
        let mut notes = selection.notes.clone();
        if container == Container::MpegTs && selection.video.is_some() {
            let before = derived.len();
            let of = (&source, &mut search);
            match in_place::make(self, of, &probe, &selection, &mut derived, progress)? {
                Ok((views, _)) if self.compat != Compat::Off && rendition::is_wanted(&views) => {
                    // The rendition will be all the video: the original beside it would be a copy
                    // of the film.
                    selection.foreign = selection.video.take();
                    derived.cut_to(before)?;
                    search.restart();
                }
                Ok((views, ten_passes)) => {
                    derived.finish()?;
                    progress(search.source_len());
                    let account = BuildReport {
                        ten_passes,
                        ..BuildReport::default()
                    };
                    return Ok(BuildOutcome::Ready(Box::new(views), Box::new(account)));
                }
                Err(InPlaceRefusal(reason)) => {
                    notes.push(format!("its segments are copies of it: {reason}"));
                }
            }
        }
        let copying: &dyn Fn(u64) = match self.compat {
            Compat::Off => progress,
            Compat::With(_) => &|_| {},
        };
        let is_copied = selection.streams().next().is_some();
        let collected = match is_copied {
            true => self.collect(container, &selection, &mut search, &mut derived, copying)?,
            // All there is has to be encoded.
            false => Ok(Vec::new()),
        };
        let mut tracks = match collected {
            Ok(tracks) => tracks,
            Err(reason) => return Ok(BuildOutcome::Unreadable(reason)),
        };
        let original = film::ten_passes_of(&tracks, &self.policy);
        let reencoded = oversize::reencode(self, &mut tracks, &mut derived, &mut notes)?;
        let mut film = Film::new(tracks, &self.policy);
        let of = (container, &selection);
        let into = (&mut search, &mut derived);
        let rendition = rendition::add(self, of, &mut film, into, &mut notes, progress)?;
        match (&rendition, &selection.foreign) {
            (RenditionOutcome::Failed(reason), Some(_)) => {
                return Ok(BuildOutcome::Unsupported(reason.clone()));
            }
            (RenditionOutcome::Made, Some(foreign)) => notes.push(format!(
                "the video is a rendition in H.264, the file has it in {}",
                foreign.codec_name
            )),
            _ => {}
        }
        film.note_missing_end(probe.format.seconds(container), &mut notes);
        let (subtitles, mut files) = subtitle_streams::extract(
            self,
            container,
            (&selection.subtitles, &selection.bitmaps),
            &film,
            &mut derived,
            &mut notes,
        )?;
        let video = selection.video.as_ref().or(selection.foreign.as_ref());
        let of = (video, selection.fonts.as_slice());
        let made = attachments::make(self, container, of, film.duration(), &mut derived)?;
        files.extend(made);
        files.extend(thumbnails::make(self, &film, &mut derived)?);
        let mut views = film.write(derived, notes)?;
        (views.subtitles, views.files) = (subtitles, files);
        progress(search.source_len());
        let account = BuildReport {
            ten_passes: original,
            reencoded,
            reencoded_segments: film.encoded_segments(),
            rendition,
        };
        Ok(BuildOutcome::Ready(Box::new(views), Box::new(account)))
    }

    /// One pass for all tracks. Where that fails and something had to be encoded, one for what is
    /// copied, and one for each other track, which is missed when it fails: the film still plays.
    fn collect(
        &self,
        container: Container,
        selection: &StreamSelection,
        search: &mut Search,
        derived: &mut DerivedWriter,
        progress: &dyn Fn(u64),
    ) -> Result<Result<Vec<MadeTrack>, String>, MediaError> {
        let before = derived.len();
        let encodes = selection
            .audio
            .iter()
            .any(|audio| audio.way == StreamConversion::Encoded);
        let all = self.collect_all(container, selection, search, derived, progress);
        let all = if encodes { outlived(all)? } else { all? };
        let mut made = match all {
            Ok(made) => made,
            Err(reason)
                if selection
                    .audio
                    .iter()
                    .all(|audio| audio.way != StreamConversion::Encoded) =>
            {
                return Ok(Err(reason));
            }
            Err(reason) => {
                search.restart();
                derived.cut_to(before)?;
                match self.collect_singly(container, selection, search, derived, progress)? {
                    Ok(made) if made.is_empty() => return Ok(Err(reason)),
                    Ok(made) => made,
                    Err(reason) => return Ok(Err(reason)),
                }
            }
        };
        made.retain(|track| !track.collected.samples.is_empty());
        if made.is_empty() {
            return Ok(Err("it holds not one whole frame".to_owned()));
        }
        Ok(Ok(made))
    }

    fn collect_all(
        &self,
        container: Container,
        selection: &StreamSelection,
        search: &mut Search,
        derived: &mut DerivedWriter,
        progress: &dyn Fn(u64),
    ) -> Result<Result<Vec<MadeTrack>, String>, MediaError> {
        let picks = selection.picks(container);
        let ways: Vec<StreamConversion> = picks.iter().map(|pick| pick.way).collect();
        let policy = |index: usize, track: &MovieTrack| {
            if ways.get(index) == Some(&StreamConversion::Encoded) {
                SampleBytes::Made
            } else if &track.handler == b"soun" {
                SampleBytes::Packed
            } else if container.splits_frames() {
                SampleBytes::Made
            } else {
                SampleBytes::Mapped
            }
        };
        let lead = match selection.video {
            Some(_) => Lead::Video,
            None => Lead::Audio,
        };
        let task = Task::Remux(picks, lead);
        let done = self.pass(container, &task, search, derived, &policy, progress)?;
        Ok(done.map(|(movie, tracks)| {
            tracks
                .into_iter()
                .zip(selection.streams())
                .map(|(collected, stream)| MadeTrack {
                    movie: movie.clone(),
                    collected,
                    stream: stream.clone(),
                    encoded: Vec::new(),
                })
                .collect()
        }))
    }

    fn collect_singly(
        &self,
        container: Container,
        selection: &StreamSelection,
        search: &mut Search,
        derived: &mut DerivedWriter,
        progress: &dyn Fn(u64),
    ) -> Result<Result<Vec<MadeTrack>, String>, MediaError> {
        let copied = selection.only_copied();
        let mut copied_tracks = Vec::new();
        if copied.streams().next().is_some() {
            match self.collect_all(container, &copied, search, derived, progress)? {
                Ok(made) => copied_tracks = made,
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let mut copied_tracks = copied_tracks.into_iter();
        let mut made: Vec<MadeTrack> = Vec::new();
        if selection.video.is_some() {
            made.extend(copied_tracks.next());
        }
        for audio in &selection.audio {
            if audio.way != StreamConversion::Encoded {
                made.extend(copied_tracks.next());
                continue;
            }
            let task = Task::EncodeAudio(audio.stream.index);
            let policy = |_: usize, _: &MovieTrack| SampleBytes::Made;
            let done = self.pass(container, &task, search, derived, &policy, &|_| {});
            if let Ok((movie, tracks)) = outlived(done)? {
                made.extend(tracks.into_iter().next().map(|collected| MadeTrack {
                    movie,
                    collected,
                    stream: audio.stream.clone(),
                    encoded: Vec::new(),
                }));
            }
        }
        Ok(Ok(made))
    }

    /// One run of the muxer; the inner error says in words why its output is no use.
    pub fn pass(
        &self,
        container: Container,
        task: &Task,
        search: &mut Search,
        derived: &mut DerivedWriter,
        policy: &dyn Fn(usize, &MovieTrack) -> SampleBytes,
        progress: &dyn Fn(u64),
    ) -> Result<Result<(Movie, Vec<Collected>), String>, MediaError> {
        let mut collector = Collector::new(search, derived, self.derived.clone(), policy, progress);
        let exit = match self.mux(container, task, &mut collector, "ffmpeg cannot remux it")? {
            Ok(exit) => exit,
            Err(reason) => return Ok(Err(reason)),
        };
        Ok(collector
            .finish()?
            .ok_or_else(|| probe::first_line(&exit.stderr, "it holds not one whole frame")))
    }

    /// Runs the tool and gives its fragments to `sink`; the inner error says why they are no use:
    /// what the tool complains of, else `otherwise`.
    pub fn mux(
        &self,
        container: Container,
        task: &Task,
        sink: &mut impl fragments::Sink,
        otherwise: &str,
    ) -> Result<Result<Exit, String>, MediaError> {
        let output = self
            .tool
            .start(&self.source, container, task, &self.cancel)?;
        let mut output = BufReader::with_capacity(1 << 20, output);
        let read = fragments::read(&mut output, sink);
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
            return Ok(Err(probe::first_line(&exit.stderr, otherwise)));
        }
        read?;
        Ok(Ok(exit))
    }
}

/// A decoder that brings the tool down is no reason to do without all the rest.
///
/// # Errors
/// All others.
pub fn outlived<T>(
    done: Result<Result<T, String>, MediaError>,
) -> Result<Result<T, String>, MediaError> {
    match done {
        Err(error) if error.kind == MediaErrorKind::ToolStopped => Ok(Err(error.to_string())),
        done => done,
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

#[cfg(test)]
mod tests;
