//! The context of one build: what all of its steps need, and the ways in which they run the tool.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::collect::{CollectedMovie, Collector, DerivedWriter, SampleBytes};
use super::cuts::CutPolicy;
use super::search::Search;
use crate::media::attempt::Attempt;
use crate::media::container::Container;
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::inspect::probe::MediaProbe;
use crate::media::inspect::select::StreamSelection;
use crate::media::mp4::fragments::{self, MovieTrack, Sink};
use crate::media::reason::UnreadableReason;
use crate::media::tool::MediaTool;
use crate::media::tool::exit::{Complaint, check_ran};
use crate::media::tool::task::Task;
use crate::model::Compat;
use crate::process::{CancelFlag, Exit};

/// Bytes that are read from the tool's pipe at a time.
const PIPE_BUFFER: usize = 1 << 20;

/// Everything that all steps of one build need. Its methods block.
pub struct BuildContext {
    /// ffmpeg, or a stand-in.
    pub tool: Arc<dyn MediaTool>,
    /// The source file.
    pub source: PathBuf,
    /// The derived file. Names of scratch files begin with this path.
    pub derived: PathBuf,
    /// Settings of the cuts.
    pub policy: CutPolicy,
    /// Setting of the rendition.
    pub compat: Compat,
    /// Stops the tool.
    pub cancel: CancelFlag,
}

/// The source after inspection.
pub struct InspectedSource {
    /// Container, by its first bytes.
    pub container: Container,
    /// ffprobe's answer.
    pub probe: MediaProbe,
    /// The streams that become tracks.
    pub selection: StreamSelection,
}

impl InspectedSource {
    /// Returns the seconds that the tracks should last, as far as the container states that of them. A
    /// duration of the whole file counts only where nothing but the tracks can last as long.
    #[must_use]
    pub fn announced(&self) -> Option<f64> {
        let selection = &self.selection;
        let tracks = || selection.streams().chain(&selection.foreign);
        let start = self.probe.format.start_ticks().unwrap_or(0) as f64 / 90_000.0;
        let stated = tracks()
            .filter_map(|stream| Some(stream.seconds()? - start.max(0.0)))
            .reduce(f64::max);
        let is_all =
            self.probe.streams.iter().all(|stream| {
                stream.is_picture() || tracks().any(|track| track.index == stream.index)
            });
        let whole = || self.probe.format.seconds(self.container);
        stated.or_else(|| whole().filter(|_| is_all))
    }
}

/// The files that steps read and write.
pub struct BuildFiles {
    /// Search for samples in the source.
    pub search: Search,
    /// The derived file.
    pub derived: DerivedWriter,
}

impl BuildFiles {
    /// Starts a search in `source` and creates the derived file at `derived`.
    ///
    /// # Errors
    /// When a file cannot be opened or created.
    pub fn open(source: File, derived: &Path) -> io::Result<Self> {
        Ok(Self {
            search: Search::new(source)?,
            derived: DerivedWriter::create(derived)?,
        })
    }
}

/// Receivers of the reports of a step.
pub struct Feedback<'a> {
    /// Sentences for viewers, which become the note of the views.
    pub notes: &'a mut Vec<String>,
    /// Receives the bytes of the source that are done.
    pub progress: &'a dyn Fn(u64),
}

/// One run of the muxer whose samples are collected.
pub struct Pass<'a> {
    /// Container as which the source is read.
    pub container: Container,
    /// The task, whose output is fragmented MP4.
    pub task: &'a Task,
    /// Decides what happens to the bytes of a track, given its number in the pass.
    pub bytes: &'a dyn Fn(usize, &MovieTrack) -> SampleBytes,
    /// Receives the bytes of the source that are done.
    pub progress: &'a dyn Fn(u64),
}

/// A task whose output is kept as it is.
pub struct Fetch<'a> {
    /// The file to read.
    pub source: &'a Path,
    /// Container as which it is read.
    pub container: Container,
    /// The task.
    pub task: &'a Task,
    /// Limit of the output in bytes.
    pub limit: u64,
}

impl BuildContext {
    /// Runs the muxer once and collects every sample.
    ///
    /// # Errors
    /// When the tool was stopped, wrote nonsense, or the disk refuses.
    pub fn pass(
        &self,
        pass: &Pass<'_>,
        files: &mut BuildFiles,
    ) -> Result<Attempt<CollectedMovie, UnreadableReason>, MediaError> {
        let mut collector = Collector::new(
            &mut files.search,
            &mut files.derived,
            self.derived.clone(),
            pass.bytes,
            pass.progress,
        );
        let otherwise = UnreadableReason::RemuxFailed;
        let exit = match self.mux(pass.container, pass.task, &mut collector, otherwise)? {
            Attempt::Made(exit) => exit,
            Attempt::Refused(reason) => return Ok(Attempt::Refused(reason)),
        };
        Ok(match collector.finish()? {
            Some(movie) => Attempt::Made(movie),
            None => Attempt::Refused(UnreadableReason::of_tool(
                Complaint::of(&exit.stderr),
                UnreadableReason::NoFrames,
            )),
        })
    }

    /// Runs the tool on the source and gives its fragments to `sink`. A refusal is the tool's
    /// complaint, or `otherwise` when it makes none.
    ///
    /// # Errors
    /// When the tool was stopped, wrote nonsense, or `sink` fails.
    pub fn mux(
        &self,
        container: Container,
        task: &Task,
        sink: &mut impl Sink,
        otherwise: UnreadableReason,
    ) -> Result<Attempt<Exit, UnreadableReason>, MediaError> {
        let exit = self.read_fragments(&self.source, container, task, sink)?;
        if exit.is_success() {
            return Ok(Attempt::Made(exit));
        }
        let said = Complaint::of(&exit.stderr);
        Ok(Attempt::Refused(UnreadableReason::of_tool(said, otherwise)))
    }

    /// Runs the tool on `source`, gives its fragments to `sink`, and returns how it ended.
    ///
    /// # Errors
    /// When the tool was stopped; when it succeeded but its output is no fragmented MP4; when
    /// `sink` fails.
    pub fn read_fragments(
        &self,
        source: &Path,
        container: Container,
        task: &Task,
        sink: &mut impl Sink,
    ) -> Result<Exit, MediaError> {
        let output = self.tool.start(source, container, task, &self.cancel)?;
        let mut output = BufReader::with_capacity(PIPE_BUFFER, output);
        let read = fragments::read(&mut output, sink);
        let exit = output.into_inner().finish();
        // Our own failure comes first: a full disk makes the tool fail too, with a broken pipe.
        if let Err(error) = &read
            && error.is_retryable()
        {
            return Err(error.clone());
        }
        let exit = exit?;
        check_ran(&exit)?;
        // The output of a failed run is cut off, so an error in reading it means nothing.
        if exit.is_success() {
            read?;
        }
        Ok(exit)
    }

    /// Runs a task and writes its output to `into`. Returns false when it failed or its output is
    /// larger than the limit.
    ///
    /// # Errors
    /// When the tool was stopped or `into` cannot be written.
    pub fn fetch(&self, fetch: &Fetch<'_>, into: &mut impl io::Write) -> Result<bool, MediaError> {
        let mut output =
            self.tool
                .start(fetch.source, fetch.container, fetch.task, &self.cancel)?;
        let most = fetch.limit.saturating_add(1);
        let count = io::copy(&mut (&mut output).take(most), into)?;
        if count > fetch.limit {
            return Ok(false);
        }
        let exit = output.finish()?;
        check_ran(&exit)?;
        into.flush()?;
        Ok(exit.is_success())
    }
}

/// Turns a tool that was stopped into a refusal: a decoder that crashes costs only what it decodes.
///
/// # Errors
/// All other errors.
pub fn outlived<T>(
    done: Result<Attempt<T, UnreadableReason>, MediaError>,
) -> Result<Attempt<T, UnreadableReason>, MediaError> {
    match done {
        Err(error) if error.kind == MediaErrorKind::ToolStopped => Ok(Attempt::Refused(
            UnreadableReason::ToolStopped(error.to_string()),
        )),
        done => done,
    }
}
