//! Encodes one group of pictures until it is small enough.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::group::{Reencoded, bytes_of, groups, ticks_of};
use super::parameter_sets::FilmSets;
use super::sink::GroupSink;
use super::times::with_times_of;
use crate::media::attempt::Attempt;
use crate::media::build::collect::{Collected, DerivedWriter};
use crate::media::build::context::BuildContext;
use crate::media::build::made_track::MadeTrack;
use crate::media::container::Container;
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::map::SamplePlace;
use crate::media::mp4::fragments::Sample;
use crate::media::mp4::{init, segment_header};
use crate::media::reason::UnreadableReason;
use crate::media::tool::encode::{GroupTask, PictureOrder, likeness};
use crate::media::tool::exit::Complaint;
use crate::media::tool::task::Task;

/// Attempts per group, each with a lower rate.
const TRIES: u32 = 5;
/// Rate of an attempt, in per cent of the one before.
const LOWER: u64 = 80;
/// Size that the first attempt aims at, in per cent of MAX_CHUNK_SIZE. With a buffer of a quarter of
/// the data between two key frames, it takes 97 per cent at most.
const AIM: u64 = 78;
/// Seconds between two key frames of the encoding, where segments may be that short.
const KEY_SECONDS: f64 = 2.0;

/// Encodes the groups of one film.
pub struct GroupEncoder<'a> {
    context: &'a BuildContext,
    sets: FilmSets,
    derived: &'a mut DerivedWriter,
    /// Path of the small file with one group.
    group_path: PathBuf,
    input: File,
}

impl Drop for GroupEncoder<'_> {
    fn drop(&mut self) {
        let _may_be_gone = std::fs::remove_file(&self.group_path);
    }
}

/// The samples of an attempt.
struct EncodedGroup {
    samples: Vec<Sample>,
    likeness: Option<f64>,
}

/// Reason why an attempt does not count.
enum GroupRefusal {
    TooLarge,
    Unfit(String),
}

impl<'a> GroupEncoder<'a> {
    /// Opens the source.
    ///
    /// # Errors
    /// When the source cannot be opened.
    pub fn new(
        context: &'a BuildContext,
        sets: FilmSets,
        derived: &'a mut DerivedWriter,
    ) -> io::Result<Self> {
        Ok(Self {
            context,
            sets,
            derived,
            group_path: group_path(&context.derived),
            input: File::open(&context.source)?,
        })
    }

    /// Returns the film's parameter sets, with those of the encoded groups.
    pub const fn sets(&self) -> &FilmSets {
        &self.sets
    }

    /// Encodes the group `range` of `film` and puts it in place of the original. The refusal says
    /// why the original stays.
    ///
    /// # Errors
    /// When the tool is missing, or the disk refuses.
    pub fn encode(
        &mut self,
        film: &mut MadeTrack,
        range: Range<usize>,
    ) -> Result<Attempt<Reencoded, String>, MediaError> {
        if !stands_alone(&film.collected, &range) {
            let reason = "its frames refer beyond their group".to_owned();
            return Ok(Attempt::Refused(reason));
        }
        self.write_group(film, &range)?;
        let timescale = f64::from(film.collected.track.timescale);
        let samples = &film.collected.samples[range.clone()];
        let seconds = (ticks_of(samples) as f64 / timescale).max(0.04);
        let before = bytes_of(samples);
        let mut task = self.first_task(film, samples, seconds);
        for _ in 0..TRIES {
            let start = self.derived.len();
            match self.try_once(film, &range, &task)? {
                Attempt::Made(EncodedGroup { samples, likeness }) => {
                    let earlier = ticks_of(&film.collected.samples[..range.start]);
                    let after = bytes_of(&samples);
                    put(&mut film.collected, &range, &samples, start);
                    return Ok(Attempt::Made(Reencoded {
                        samples: range,
                        start: earlier as f64 / timescale,
                        seconds,
                        before,
                        after,
                        likeness,
                    }));
                }
                Attempt::Refused(GroupRefusal::TooLarge) => {
                    self.derived.cut_to(start)?;
                    lower(&mut task);
                }
                Attempt::Refused(GroupRefusal::Unfit(reason)) => {
                    self.derived.cut_to(start)?;
                    return Ok(Attempt::Refused(reason));
                }
            }
        }
        let reason = "it does not become small enough".to_owned();
        Ok(Attempt::Refused(reason))
    }

    /// Returns the task of the first attempt.
    fn first_task(&self, film: &MadeTrack, samples: &[Sample], seconds: f64) -> GroupTask {
        let policy = &self.context.policy;
        let parts = (seconds / KEY_SECONDS.max(policy.min_seconds))
            .round()
            .max(1.0);
        let fitting = (policy.max_chunk_bytes * AIM / 100 * 8) as f64 * parts / seconds;
        let first = samples.first().map(|sample| sample.composition);
        let is_as_shown = samples.iter().all(|one| Some(one.composition) == first);
        let sequence = self.sets.sequence();
        GroupTask {
            timescale: film.collected.track.timescale,
            rate: (fitting as u64).min((bytes_of(samples) as f64 * 8.0 / seconds) as u64),
            most: fitting as u64,
            buffer: (fitting * seconds / parts / 4.0) as u64,
            frames: samples.len().div_ceil(parts as usize),
            profile: sequence.profile,
            level: sequence.level,
            references: sequence.references,
            id: self.sets.second_id(),
            order: match is_as_shown {
                true => PictureOrder::AsShown,
                false => PictureOrder::Reordered,
            },
        }
    }

    /// Writes the group as one segment behind the film's init segment.
    fn write_group(&mut self, film: &MadeTrack, range: &Range<usize>) -> Result<(), MediaError> {
        self.derived.write_out()?;
        let derived = File::open(&self.context.derived)?;
        let samples = &film.collected.samples[range.clone()];
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&self.group_path)?);
        let head = init::write(&film.movie, &film.collected.track, 0).unwrap_or_default();
        file.write_all(&head)?;
        file.write_all(&segment_header::write(samples, 0, 1))?;
        let mut bytes = Vec::new();
        for (sample, place) in samples.iter().zip(&film.collected.places[range.clone()]) {
            bytes.resize(sample.size as usize, 0);
            read_sample(&self.input, &derived, *place, &mut bytes)?;
            file.write_all(&bytes)?;
        }
        file.flush()?;
        Ok(())
    }

    /// Encodes the group once. A tool that was stopped is a refusal.
    fn try_once(
        &mut self,
        film: &MadeTrack,
        range: &Range<usize>,
        task: &GroupTask,
    ) -> Result<Attempt<EncodedGroup, GroupRefusal>, MediaError> {
        match self.run(film, range, task) {
            Err(error) if error.kind == MediaErrorKind::ToolStopped => {
                Ok(Attempt::Refused(GroupRefusal::Unfit(error.to_string())))
            }
            tried => Ok(Attempt::from(tried?)),
        }
    }

    fn run(
        &mut self,
        film: &MadeTrack,
        range: &Range<usize>,
        task: &GroupTask,
    ) -> Result<Result<EncodedGroup, GroupRefusal>, MediaError> {
        let unfit = |reason: &str| Ok(Err(GroupRefusal::Unfit(reason.to_owned())));
        let task = Task::EncodeGroup(*task);
        let mut sink = GroupSink::new(&mut *self.derived);
        let path = self.group_path.as_path();
        let exit = self
            .context
            .read_fragments(path, Container::Mp4, &task, &mut sink)?;
        let (track, samples) = sink.into_parts();
        if !exit.is_success() {
            let said = Complaint::of_encoder(&exit.stderr);
            let reason = UnreadableReason::of_tool(said, UnreadableReason::EncodeFailed);
            return unfit(&reason.to_string());
        }
        let Some(track) = track else {
            return unfit("ffmpeg encoded nothing of it");
        };
        if !self.sets.accept(&film.collected, &track) {
            return unfit("its encoding does not fit into the film");
        }
        let old = &film.collected.samples[range.clone()];
        let Some(samples) = with_times_of(old, &samples) else {
            return unfit("its frames have other times when they are decoded");
        };
        let max_chunk_bytes = self.context.policy.max_chunk_bytes;
        let is_large = |range: &Range<usize>| bytes_of(&samples[range.clone()]) > max_chunk_bytes;
        if groups(&samples).iter().any(is_large) {
            return Ok(Err(GroupRefusal::TooLarge));
        }
        Ok(Ok(EncodedGroup {
            samples,
            likeness: likeness(&exit.stderr),
        }))
    }
}

/// Returns whether no frame of a group refers to one outside it.
fn stands_alone(film: &Collected, range: &Range<usize>) -> bool {
    let is_dependent = |at: usize| film.dependent_keys.binary_search(&at).is_ok();
    !is_dependent(range.start) && !is_dependent(range.end) && film.samples[range.start].is_key()
}

/// Lowers the rate for the next attempt.
fn lower(task: &mut GroupTask) {
    for rate in [&mut task.most, &mut task.buffer] {
        *rate = *rate * LOWER / 100;
    }
    task.rate = (task.rate * LOWER / 100).min(task.most);
}

fn group_path(derived: &Path) -> PathBuf {
    let mut name = derived.as_os_str().to_owned();
    name.push(".group");
    name.into()
}

fn read_sample(
    input: &File,
    derived: &File,
    place: SamplePlace,
    bytes: &mut [u8],
) -> io::Result<()> {
    match place {
        SamplePlace::Content(at) => input.read_exact_at(bytes, at),
        SamplePlace::Derived(at) => derived.read_exact_at(bytes, at),
        SamplePlace::Split {
            derived: head,
            missing,
            content,
        } => {
            let (first, rest) = bytes.split_at_mut((missing as usize).min(bytes.len()));
            derived.read_exact_at(first, head)?;
            input.read_exact_at(rest, content)
        }
    }
}

/// Puts encoded samples, whose bytes start at `at` of the derived file, in place of the originals.
fn put(film: &mut Collected, range: &Range<usize>, samples: &[Sample], mut at: u64) {
    for (index, sample) in range.clone().zip(samples) {
        film.samples[index] = *sample;
        film.places[index] = SamplePlace::Derived(at);
        at += u64::from(sample.size);
    }
}
