//! Groups of pictures that are larger than a segment may be, encoded again: video only, of H.264 only,
//! with parameter sets of their own beside the film's in the same `avcC`. The pictures keep their
//! times, so nothing else of the film changes, and players need no new beginning.
//!
//! What goes to ffmpeg is the group alone, as a small file: which frames it decodes depends on no
//! demuxer's seeking. A group that does not come out as it must is kept as it is.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::Job;
use super::collect::{Collected, DerivedWriter};
use super::film::MadeTrack;
use super::timeline;
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::inspect::probe;
use crate::media::inspect::sniff::Container;
use crate::media::map::SamplePlace;
use crate::media::mp4::avc::{self, Sequence, Sets};
use crate::media::mp4::fragments::{self, Movie, MovieTrack, Sample, Sink};
use crate::media::mp4::init::{self, Description};
use crate::media::mp4::{nal, segment_header};
use crate::media::tool::Task;
use crate::media::tool::encode::{GroupTask, PictureOrder, likeness};
use crate::model::Oversize;

/// Tries a group, each with a lower rate.
const TRIES: u32 = 5;
/// Per cent of the rate before that the next try has.
const LOWER: u64 = 80;
/// Per cent of the cap that the first try aims at. With a buffer of a quarter of what is between two key
/// frames, that is 97 per cent of it at most.
const AIM: u64 = 78;
/// Seconds from one key frame of what is encoded to the next, where segments may be that short.
const KEY_SECONDS: f64 = 2.0;

/// A group that was encoded again.
#[derive(Debug, Clone, PartialEq)]
pub struct Reencoded {
    /// Numbers of its samples in the track.
    pub samples: Range<usize>,
    /// Where it begins, and how long it lasts, in seconds.
    pub start: f64,
    pub seconds: f64,
    /// Bytes.
    pub before: u64,
    pub after: u64,
    /// To the original, as SSIM of the brightness: 1 is the same.
    pub likeness: Option<f64>,
}

/// Encodes what is too large of the first track, where it is video and that is asked for.
pub fn reencode(
    job: &Job,
    made: &mut [MadeTrack],
    derived: &mut DerivedWriter,
    notes: &mut Vec<String>,
) -> Result<Vec<Reencoded>, MediaError> {
    let cap = job.policy.max_chunk_bytes;
    let Some(film) = made.first_mut() else {
        return Ok(Vec::new());
    };
    if job.policy.oversize == Oversize::Keep || cap == 0 || &film.collected.track.handler != b"vide"
    {
        return Ok(Vec::new());
    }
    timeline::normalise(&mut film.collected, film.movie.timescale);
    let groups = groups(&film.collected.samples);
    let is_large =
        |range: &&Range<usize>| bytes_of(&film.collected.samples[(*range).clone()]) > cap;
    let large: Vec<Range<usize>> = groups.iter().filter(is_large).cloned().collect();
    if large.is_empty() {
        return Ok(Vec::new());
    }
    let (mut done, mut kept) = (Vec::new(), Vec::new());
    match FilmSets::of(&film.collected) {
        Ok(source) => {
            let mut work = GroupEncoder {
                job,
                source,
                second: None,
                derived,
                group_path: beside(&job.derived),
                input: File::open(&job.source)?,
            };
            for range in large {
                match work.encode(film, range)? {
                    Ok(group) => done.push(group),
                    Err(reason) => kept.push(reason),
                }
            }
            if let Some(second) = &work.second {
                let sets = work.source.sets.joined(second);
                take_sets(&mut film.collected, &sets)?;
            }
        }
        Err(reason) => kept = vec![reason; large.len()],
    }
    film.encoded = done.iter().map(|group| group.samples.clone()).collect();
    if let Some(reason) = kept.first() {
        notes.push(note_of(kept.len(), reason));
    }
    Ok(done)
}

/// Key frame to key frame; what stands before the first belongs to it.
fn groups(samples: &[Sample]) -> Vec<Range<usize>> {
    let keys = (1..samples.len()).filter(|&index| samples[index].is_key());
    let first_key = samples.iter().position(Sample::is_key).unwrap_or(0);
    let starts: Vec<usize> = [0]
        .into_iter()
        .chain(keys.filter(|key| *key > first_key))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([samples.len()]);
    starts
        .iter()
        .copied()
        .zip(ends)
        .map(|(start, end)| start..end)
        .collect()
}

/// Bytes of a segment of these.
/// What is said of so many groups that stay as they are.
pub fn note_of(kept: usize, reason: &str) -> String {
    match kept {
        1 => format!("a part above MAX_CHUNK_SIZE is kept as it is: {reason}"),
        count => format!("{count} parts above MAX_CHUNK_SIZE are kept as they are: {reason}"),
    }
}

fn bytes_of(samples: &[Sample]) -> u64 {
    let data: u64 = samples.iter().map(|sample| u64::from(sample.size)).sum();
    segment_header::size(samples) + data
}

fn beside(derived: &Path) -> PathBuf {
    let mut name = derived.as_os_str().to_owned();
    name.push(".group");
    name.into()
}

fn take_sets(film: &mut Collected, sets: &Sets) -> Result<(), MediaError> {
    let trak = avc::with_sets(&film.track.trak, sets).ok_or_else(|| {
        MediaError::new(
            MediaErrorKind::Protocol,
            "ffmpeg wrote a sample description that cannot be read",
        )
    })?;
    film.track.trak = trak;
    film.description.codec = sets.codec();
    Ok(())
}

/// What is known of the film before anything is encoded.
struct FilmSets {
    sets: Sets,
    sequence: Sequence,
    /// Number of the second parameter sets.
    id: u32,
}

impl FilmSets {
    /// The reason is about all groups of the film.
    fn of(film: &Collected) -> Result<Self, String> {
        if !film.description.codec.starts_with("avc1") {
            return Err(format!(
                "only H.264 has a place for a second encoding, and this is {}",
                film.description.codec
            ));
        }
        let unreadable = || "its parameter sets cannot be read".to_owned();
        let sets = avc::of_trak(&film.track.trak).ok_or_else(unreadable)?;
        let ([sequence], false) = (sets.sequence.as_slice(), film.brings_sets) else {
            return Err("it has several parameter sets, or some among its frames".to_owned());
        };
        let sequence = Sequence::parse(sequence).ok_or_else(unreadable)?;
        if !sequence.is_plain || !matches!(sequence.profile, 66 | 77 | 100) {
            return Err("it has more than 8 bits a colour, or a rare profile".to_owned());
        }
        if !sequence.is_progressive || film.description.nal_length != 4 {
            return Err("it is interlaced, or packed in a rare way".to_owned());
        }
        let id = sets.free_id().ok_or_else(unreadable)?;
        Ok(Self { sets, sequence, id })
    }
}

struct GroupEncoder<'a> {
    job: &'a Job,
    source: FilmSets,
    /// The sets of what was encoded: the same for each group.
    second: Option<Sets>,
    derived: &'a mut DerivedWriter,
    /// Of the small file with one group.
    group_path: PathBuf,
    input: File,
}

impl Drop for GroupEncoder<'_> {
    fn drop(&mut self) {
        let _may_be_gone = std::fs::remove_file(&self.group_path);
    }
}

impl GroupEncoder<'_> {
    /// The inner error says why the group is kept.
    fn encode(
        &mut self,
        film: &mut MadeTrack,
        range: Range<usize>,
    ) -> Result<Result<Reencoded, String>, MediaError> {
        let is_dependent = |at: usize| film.collected.dependent_keys.binary_search(&at).is_ok();
        if is_dependent(range.start)
            || is_dependent(range.end)
            || !film.collected.samples[range.start].is_key()
        {
            return Ok(Err("its frames refer beyond their group".to_owned()));
        }
        self.write_group(film, &range)?;
        let samples = &film.collected.samples[range.clone()];
        let ticks: u64 = samples
            .iter()
            .map(|sample| u64::from(sample.duration))
            .sum();
        let timescale = film.collected.track.timescale;
        let seconds = (ticks as f64 / f64::from(timescale)).max(0.04);
        let parts = (seconds / KEY_SECONDS.max(self.job.policy.min_seconds))
            .round()
            .max(1.0);
        let before = bytes_of(samples);
        let fitting = (self.job.policy.max_chunk_bytes * AIM / 100 * 8) as f64 * parts / seconds;
        let mut group = GroupTask {
            timescale,
            rate: (fitting as u64).min((before as f64 * 8.0 / seconds) as u64),
            most: fitting as u64,
            buffer: (fitting * seconds / parts / 4.0) as u64,
            frames: samples.len().div_ceil(parts as usize),
            profile: self.source.sequence.profile,
            level: self.source.sequence.level,
            references: self.source.sequence.references,
            id: self.source.id,
            order: if samples
                .iter()
                .all(|sample| sample.composition == samples[0].composition)
            {
                PictureOrder::AsShown
            } else {
                PictureOrder::Reordered
            },
        };
        let mut refusal = String::new();
        for _ in 0..TRIES {
            let start = self.derived.len();
            let tried = match self.try_once(film, &range, &group) {
                Err(error) if error.kind == MediaErrorKind::ToolStopped => {
                    Err(GroupRefusal::Unfit(error.to_string()))
                }
                tried => tried?,
            };
            match tried {
                Ok((samples, likeness)) => {
                    let after = bytes_of(&samples);
                    let earlier = &film.collected.samples[..range.start];
                    let ticks: u64 = earlier
                        .iter()
                        .map(|sample| u64::from(sample.duration))
                        .sum();
                    put(&mut film.collected, &range, &samples, start);
                    return Ok(Ok(Reencoded {
                        samples: range,
                        start: ticks as f64 / f64::from(timescale),
                        seconds,
                        before,
                        after,
                        likeness,
                    }));
                }
                Err(GroupRefusal::TooLarge) => {
                    self.derived.cut_to(start)?;
                    "it does not become small enough".clone_into(&mut refusal);
                    for rate in [&mut group.most, &mut group.buffer] {
                        *rate = *rate * LOWER / 100;
                    }
                    group.rate = (group.rate * LOWER / 100).min(group.most);
                }
                Err(GroupRefusal::Unfit(reason)) => {
                    self.derived.cut_to(start)?;
                    return Ok(Err(reason));
                }
            }
        }
        Ok(Err(refusal))
    }

    /// One segment of its own, behind the film's `init`.
    fn write_group(&mut self, film: &MadeTrack, range: &Range<usize>) -> Result<(), MediaError> {
        self.derived.pass_on()?;
        let derived = File::open(&self.job.derived)?;
        let samples = &film.collected.samples[range.clone()];
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&self.group_path)?);
        let head = init::write(&film.movie, &film.collected.track).unwrap_or_default();
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

    fn try_once(
        &mut self,
        film: &MadeTrack,
        range: &Range<usize>,
        group: &GroupTask,
    ) -> Result<Tried, MediaError> {
        let task = Task::EncodeGroup(*group);
        let job = self.job;
        let output = job
            .tool
            .start(&self.group_path, Container::Mp4, &task, &job.cancel)?;
        let mut output = BufReader::with_capacity(1 << 20, output);
        let mut taken = Taken {
            derived: &mut *self.derived,
            track: None,
            samples: Vec::new(),
            next: 0,
        };
        let read = fragments::read(&mut output, &mut taken);
        let Taken { track, samples, .. } = taken;
        let exit = output.into_inner().finish();
        if let Err(error) = &read
            && error.is_retryable()
        {
            return Err(error.clone());
        }
        let exit = exit?;
        probe::check_ran(&exit)?;
        if !exit.is_success() {
            let said = exit
                .stderr
                .lines()
                .rfind(|line| !line.trim().is_empty() && !line.contains('='));
            let reason = probe::first_line(said.unwrap_or_default(), "ffmpeg cannot encode it");
            return Ok(Err(GroupRefusal::Unfit(reason)));
        }
        read?;
        let old = &film.collected.samples[range.clone()];
        let Some(track) = track else {
            return Ok(Err(GroupRefusal::Unfit(
                "ffmpeg encoded nothing of it".to_owned(),
            )));
        };
        if let Err(reason) = self.check_track(&film.collected, &track) {
            return Ok(Err(GroupRefusal::Unfit(reason)));
        }
        let Some(samples) = with_times_of(old, &samples) else {
            let reason = "its frames have other times when they are decoded".to_owned();
            return Ok(Err(GroupRefusal::Unfit(reason)));
        };
        let cap = job.policy.max_chunk_bytes;
        if groups(&samples)
            .iter()
            .any(|range| bytes_of(&samples[range.clone()]) > cap)
        {
            return Ok(Err(GroupRefusal::TooLarge));
        }
        Ok(Ok((samples, likeness(&exit.stderr))))
    }

    /// Whether what was encoded fits into the film's track, with the sets that it has or gets.
    fn check_track(&mut self, film: &Collected, track: &MovieTrack) -> Result<(), String> {
        let unfit = || Err("its encoding does not fit into the film".to_owned());
        let (Some(found), Some(sets)) = (init::describe(track), avc::of_trak(&track.trak)) else {
            return unfit();
        };
        let Description { width, height, .. } = film.description;
        let sequence = sets.sequence.first().and_then(|set| Sequence::parse(set));
        let is_alike = (found.width, found.height, found.nal_length) == (width, height, 4)
            && track.timescale == film.track.timescale
            && sets.sequence.len() == 1
            && sequence.is_some_and(|set| set.id == self.source.id && set.is_plain);
        let is_known = self.second.as_ref().is_none_or(|known| {
            (&known.sequence, &known.picture) == (&sets.sequence, &sets.picture)
        });
        if !is_alike || !is_known {
            return unfit();
        }
        self.second.get_or_insert(sets);
        Ok(())
    }
}

/// The samples of a try, and how like the original they are.
type Tried = Result<(Vec<Sample>, Option<f64>), GroupRefusal>;

/// Why a try does not count.
enum GroupRefusal {
    TooLarge,
    Unfit(String),
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

/// Appends what is encoded to the derived blob as it comes.
struct Taken<'a> {
    derived: &'a mut DerivedWriter,
    track: Option<MovieTrack>,
    samples: Vec<Sample>,
    /// Ticks: where the next fragment should begin.
    next: u64,
}

impl Sink for Taken<'_> {
    fn movie(&mut self, movie: Movie) -> Result<(), MediaError> {
        self.track = movie.tracks.into_iter().next();
        Ok(())
    }
    fn fragment(&mut self, _: usize, decode_time: u64) -> Result<(), MediaError> {
        // The sample before lasts until here, whatever was said of it.
        let jump = decode_time.wrapping_sub(self.next).cast_signed();
        if let Some(last) = self.samples.last_mut() {
            let duration = i64::from(last.duration).saturating_add(jump);
            last.duration = u32::try_from(duration.max(0)).unwrap_or(u32::MAX);
        }
        self.next = decode_time;
        Ok(())
    }
    fn sample(&mut self, _: usize, mut sample: Sample, data: &[u8]) -> Result<(), MediaError> {
        let Some(description) = self.track.as_ref().and_then(init::describe) else {
            return Err(MediaError::new(
                MediaErrorKind::Protocol,
                "a sample without a track",
            ));
        };
        // x264 has no other key frames; where it had, they are none.
        if sample.is_key() && !nal::is_independent(&description, data) {
            sample.flags |= fragments::NON_SYNC;
        }
        self.derived.append(data)?;
        self.next = self.next.saturating_add(u64::from(sample.duration));
        self.samples.push(sample);
        Ok(())
    }
}

/// The new samples, decoded at the times of the old ones and shown when those were; `None` where there
/// are more, fewer, or ones with other times.
fn with_times_of(old: &[Sample], new: &[Sample]) -> Option<Vec<Sample>> {
    if old.len() != new.len() || !new.first().is_some_and(Sample::is_key) {
        return None;
    }
    let (old_shown, new_shown) = (shown(old), shown(new));
    let (first_old, first_new) = (*old_shown.iter().min()?, *new_shown.iter().min()?);
    let (mut sorted_old, mut sorted_new) = (old_shown, new_shown.clone());
    sorted_old.sort_unstable();
    sorted_new.sort_unstable();
    let same = sorted_old
        .iter()
        .zip(&sorted_new)
        .all(|(old, new)| old - first_old == new - first_new);
    if !same {
        return None;
    }
    let mut decode = 0_i64;
    old.iter()
        .zip(new.iter().zip(new_shown))
        .map(|(old, (new, shown))| {
            let composition = i32::try_from(shown - first_new + first_old - decode).ok()?;
            decode += i64::from(old.duration);
            Some(Sample {
                duration: old.duration,
                composition,
                ..*new
            })
        })
        .collect()
}

/// When each is shown, in ticks from the first one's decoding.
fn shown(samples: &[Sample]) -> Vec<i64> {
    let mut decode = 0;
    let times = samples.iter().map(|sample| {
        let at = decode + i64::from(sample.composition);
        decode += i64::from(sample.duration);
        at
    });
    times.collect()
}

fn put(film: &mut Collected, range: &Range<usize>, samples: &[Sample], mut at: u64) {
    for (index, sample) in range.clone().zip(samples) {
        film.samples[index] = *sample;
        film.places[index] = SamplePlace::Derived(at);
        at += u64::from(sample.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELTA: u32 = fragments::NON_SYNC;

    fn samples(list: &[(u32, i32, u32)]) -> Vec<Sample> {
        let make = |&(duration, composition, flags)| Sample {
            size: 10,
            duration,
            composition,
            flags,
        };
        list.iter().map(make).collect()
    }

    #[test]
    fn new_frames_are_shown_when_the_old_ones_were() {
        // Shown at 2, 5, 3, 4 and at 1, 4, 2, 3: the same from the first one on.
        let old = samples(&[(1, 2, 0), (1, 4, DELTA), (1, 1, DELTA), (1, 1, DELTA)]);
        let new = samples(&[(1, 1, 0), (1, 0, DELTA), (1, 1, DELTA), (1, 1, DELTA)]);
        // Of the new ones: 1, 1, 3, 4.
        assert_eq!(with_times_of(&old, &new), None);
        let new = samples(&[(1, 1, 0), (1, 1, DELTA), (1, 1, 0), (1, 1, DELTA)]);
        let found = with_times_of(&old, &new).unwrap();
        assert_eq!(shown(&found), [2, 3, 4, 5]);
        assert!(found[2].is_key());
        assert_eq!(with_times_of(&old, &new[..3]), None);
    }

    #[test]
    fn groups_begin_with_key_frames() {
        let list = samples(&[
            (1, 0, DELTA),
            (1, 0, 0),
            (1, 0, DELTA),
            (1, 0, 0),
            (1, 0, 0),
        ]);
        assert_eq!(groups(&list), [0..3, 3..4, 4..5]);
        assert_eq!(groups(&list[1..]), [0..2, 2..3, 3..4]);
    }
}
