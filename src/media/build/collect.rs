//! Takes the muxer's samples and finds or stores the bytes of each.
//!
//! Audio beside video is *packed*: its samples go into a spill file first, and into the derived
//! blob at the end. If ten seconds of audio were read as ranges of the film, all the video around
//! them would be fetched too. A track that turns out to be more than a twentieth of the file is
//! searched for after all: its spill is replayed through the search.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::search::{Cursor, SampleLocation, Search};
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::map::SamplePlace;
use crate::media::mp4::captions::CaptionDetector;
use crate::media::mp4::fragments::{Movie, MovieTrack, Sample, Sink};
use crate::media::mp4::init::{self, Description};
use crate::media::mp4::nal;
use crate::model::CaptionChannel;

/// A track below the file's size divided by this is packed.
const PACKED_SHARE: u64 = 20;
/// More samples than this in one film are not believed: 24 h of 32 audio tracks.
const MAX_SAMPLES: u64 = 200_000_000;
/// Samples that are believed of the smallest film. A frame can last long and be encoded again as many.
const FREE_SAMPLES: u64 = 2_000_000;
/// Least bytes of the source for each further sample. With fewer, a small file would fill the memory.
const LEAST_BYTES: u64 = 4;

/// Writer of the derived blob's bytes, in order.
pub struct DerivedWriter {
    file: BufWriter<File>,
    len: u64,
}

impl DerivedWriter {
    /// # Errors
    /// When the file cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::with_capacity(1 << 20, File::create(path)?),
            len: 0,
        })
    }
    /// Appends `bytes` and returns where they start.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let at = self.len;
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(at)
    }
    /// Returns the number of bytes so far.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }
    /// Removes everything that was appended behind the first `len` bytes.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn cut_to(&mut self, len: u64) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().set_len(len)?;
        self.file.seek(SeekFrom::Start(len))?;
        self.len = len;
        Ok(())
    }
    /// Hands everything written so far to the kernel, so that it can be read.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write_out(&mut self) -> io::Result<()> {
        self.file.flush()
    }
    fn append_file(&mut self, file: &mut File) -> io::Result<u64> {
        let at = self.len;
        file.seek(SeekFrom::Start(0))?;
        self.len += io::copy(file, &mut self.file)?;
        Ok(at)
    }
    /// Writes everything out and syncs it to the disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(mut self) -> io::Result<u64> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok(self.len)
    }
}

impl io::Write for DerivedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map(|_| bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Treatment of a track's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleBytes {
    /// Found in the source, or stored sample by sample.
    Mapped,
    /// Packed, unless that takes too many bytes.
    Packed,
    /// Packed whatever the size, because the bytes are not in the source.
    Made,
    /// The same for the only track of its pass: its bytes go straight into the derived blob.
    MadeAlone,
}

enum SampleStore {
    Placed(Vec<SamplePlace>),
    /// Samples in a file whose name is already removed.
    Spilled(BufWriter<File>),
}

struct OpenTrack {
    track: MovieTrack,
    description: Description,
    samples: Vec<Sample>,
    bytes: u64,
    first_decode_time: Option<u64>,
    next_decode_time: u64,
    /// Key frames that need frames before them (open groups of pictures), by number.
    dependent_keys: Vec<usize>,
    brings_sets: bool,
    captions: CaptionDetector,
    cursor: Cursor,
    kind: SampleBytes,
    store: SampleStore,
}

/// A track all of whose bytes have a place.
#[derive(Debug)]
pub struct Collected {
    pub track: MovieTrack,
    pub description: Description,
    pub samples: Vec<Sample>,
    pub places: Vec<SamplePlace>,
    /// Decoding time of the first sample in ticks, as the muxer counts.
    pub first_decode_time: u64,
    pub dependent_keys: Vec<usize>,
    /// True if a key frame carries parameter sets of its own.
    pub brings_sets: bool,
    /// Captions in the pictures.
    pub captions: Vec<CaptionChannel>,
}

/// Everything that one pass wrote.
#[derive(Debug)]
pub struct CollectedMovie {
    /// Its movie header.
    pub movie: Movie,
    /// Its tracks, in the order of the task.
    pub tracks: Vec<Collected>,
}

/// Sink that collects the samples of one pass.
pub struct Collector<'a> {
    search: &'a mut Search,
    derived: &'a mut DerivedWriter,
    spill_path: PathBuf,
    progress: &'a dyn Fn(u64),
    policy: &'a dyn Fn(usize, &MovieTrack) -> SampleBytes,
    movie: Option<Movie>,
    tracks: Vec<OpenTrack>,
    done: u64,
    samples: u64,
}

impl<'a> Collector<'a> {
    /// Creates a collector. `spill_path` is the stem of files that live as long as the pass. `policy`
    /// decides what happens to a track's bytes, by its number in the pass.
    pub fn new(
        search: &'a mut Search,
        derived: &'a mut DerivedWriter,
        spill_path: PathBuf,
        policy: &'a dyn Fn(usize, &MovieTrack) -> SampleBytes,
        progress: &'a dyn Fn(u64),
    ) -> Self {
        Self {
            search,
            derived,
            spill_path,
            progress,
            policy,
            movie: None,
            tracks: Vec::new(),
            done: 0,
            samples: 0,
        }
    }

    /// Returns every track, and moves packed ones into the derived blob. `None` when no movie came.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(self) -> Result<Option<CollectedMovie>, MediaError> {
        let Some(movie) = self.movie else {
            return Ok(None);
        };
        let mut tracks = Vec::new();
        for open in self.tracks {
            let places = match open.store {
                SampleStore::Placed(places) => places,
                SampleStore::Spilled(spill) => pack(spill, &open.samples, self.derived)?,
            };
            tracing::debug!(
                codec = open.description.codec,
                samples = open.samples.len(),
                bytes = open.bytes,
                mapped = mapped_bytes(&open.samples, &places),
                read = self.search.read_bytes(),
                "track collected"
            );
            tracks.push(Collected {
                track: open.track,
                description: open.description,
                samples: open.samples,
                places,
                first_decode_time: open.first_decode_time.unwrap_or(0),
                dependent_keys: open.dependent_keys,
                brings_sets: open.brings_sets,
                captions: open.captions.finish(),
            });
        }
        Ok(Some(CollectedMovie { movie, tracks }))
    }

    fn create_spill(&self, index: usize) -> io::Result<BufWriter<File>> {
        let file = unnamed_file(&self.spill_path, &format!(".spill-{index}"))?;
        Ok(BufWriter::with_capacity(1 << 18, file))
    }

    fn store(&mut self, index: usize, data: &[u8]) -> Result<(), MediaError> {
        let share = self.search.source_len() / PACKED_SHARE;
        let Some(open) = self.tracks.get_mut(index) else {
            return Err(unknown_track());
        };
        if let SampleStore::Spilled(spill) = &mut open.store {
            spill.write_all(data)?;
            if open.kind == SampleBytes::Packed && open.bytes > share {
                replay(open, self.search, self.derived)?;
            }
            return Ok(());
        }
        let place = match open.kind {
            SampleBytes::MadeAlone => SamplePlace::Derived(self.derived.append(data)?),
            _ => place(self.search, self.derived, &mut open.cursor, data)?,
        };
        if let SampleStore::Placed(places) = &mut open.store {
            places.push(place);
        }
        Ok(())
    }
}

fn unknown_track() -> MediaError {
    MediaError::new(
        MediaErrorKind::Protocol,
        "ffmpeg wrote a sample of a track that it never named",
    )
}

fn place(
    search: &mut Search,
    derived: &mut DerivedWriter,
    cursor: &mut Cursor,
    data: &[u8],
) -> io::Result<SamplePlace> {
    Ok(match search.locate(cursor, data)? {
        SampleLocation::Whole(at) => SamplePlace::Content(at),
        SampleLocation::Tail { missing, at } => SamplePlace::Split {
            derived: derived.append(&data[..missing])?,
            missing: u32::try_from(missing).unwrap_or(u32::MAX),
            content: at,
        },
        SampleLocation::Nowhere => SamplePlace::Derived(derived.append(data)?),
    })
}

/// Reads a spill again, sample by sample, and searches for each.
fn replay(
    open: &mut OpenTrack,
    search: &mut Search,
    derived: &mut DerivedWriter,
) -> io::Result<()> {
    let SampleStore::Spilled(spill) =
        std::mem::replace(&mut open.store, SampleStore::Placed(Vec::new()))
    else {
        return Ok(());
    };
    let mut file = spill.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.seek(SeekFrom::Start(0))?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut places = Vec::with_capacity(open.samples.len());
    let mut data = Vec::new();
    for sample in &open.samples {
        data.resize(sample.size as usize, 0);
        file.read_exact(&mut data)?;
        places.push(place(search, derived, &mut open.cursor, &data)?);
    }
    open.store = SampleStore::Placed(places);
    Ok(())
}

fn pack(
    spill: BufWriter<File>,
    samples: &[Sample],
    derived: &mut DerivedWriter,
) -> io::Result<Vec<SamplePlace>> {
    let mut file = spill.into_inner().map_err(io::IntoInnerError::into_error)?;
    let mut at = derived.append_file(&mut file)?;
    Ok(samples
        .iter()
        .map(|sample| {
            let place = SamplePlace::Derived(at);
            at += u64::from(sample.size);
            place
        })
        .collect())
}

fn mapped_bytes(samples: &[Sample], places: &[SamplePlace]) -> u64 {
    samples
        .iter()
        .zip(places)
        .map(|(sample, place)| match place {
            SamplePlace::Content(_) => u64::from(sample.size),
            SamplePlace::Derived(_) => 0,
            SamplePlace::Split { missing, .. } => u64::from(sample.size.saturating_sub(*missing)),
        })
        .sum()
}

impl Sink for Collector<'_> {
    fn movie(&mut self, movie: Movie) -> Result<(), MediaError> {
        for (index, track) in movie.tracks.iter().enumerate() {
            let kind = (self.policy)(index, track);
            let store = match kind {
                SampleBytes::Mapped | SampleBytes::MadeAlone => SampleStore::Placed(Vec::new()),
                SampleBytes::Packed | SampleBytes::Made => {
                    SampleStore::Spilled(self.create_spill(index)?)
                }
            };
            let description = init::describe(track).ok_or_else(|| {
                MediaError::new(
                    MediaErrorKind::Protocol,
                    "ffmpeg wrote a sample description that cannot be read",
                )
            })?;
            self.tracks.push(OpenTrack {
                track: track.clone(),
                description,
                samples: Vec::new(),
                bytes: 0,
                first_decode_time: None,
                next_decode_time: 0,
                dependent_keys: Vec::new(),
                brings_sets: false,
                captions: CaptionDetector::default(),
                cursor: Cursor::default(),
                kind,
                store,
            });
        }
        self.movie = Some(movie);
        Ok(())
    }

    fn fragment(&mut self, track: usize, decode_time: u64) -> Result<(), MediaError> {
        let open = self.tracks.get_mut(track).ok_or_else(unknown_track)?;
        match open.first_decode_time {
            None => open.first_decode_time = Some(decode_time),
            Some(_) => {
                // The source has a hole here. The sample before it lasts until the hole ends.
                let jump = decode_time
                    .wrapping_sub(open.next_decode_time)
                    .cast_signed();
                if let Some(last) = open.samples.last_mut() {
                    let duration = i64::from(last.duration).saturating_add(jump);
                    last.duration = u32::try_from(duration.max(0)).unwrap_or(u32::MAX);
                }
            }
        }
        open.next_decode_time = decode_time;
        self.search
            .prune(self.tracks.iter().filter_map(|open| match &open.store {
                SampleStore::Placed(_) => Some(&open.cursor),
                SampleStore::Spilled(_) => None,
            }));
        Ok(())
    }

    fn sample(&mut self, track: usize, sample: Sample, data: &[u8]) -> Result<(), MediaError> {
        self.samples += 1;
        let believed = FREE_SAMPLES + self.search.source_len() / LEAST_BYTES;
        if self.samples > believed.min(MAX_SAMPLES) {
            return Err(MediaError::new(
                MediaErrorKind::Protocol,
                "it has more frames than any film",
            ));
        }
        let open = self.tracks.get_mut(track).ok_or_else(unknown_track)?;
        if sample.is_key() {
            if !nal::is_independent(&open.description, data) {
                open.dependent_keys.push(open.samples.len());
            }
            open.brings_sets |= nal::brings_sets(&open.description, data);
        }
        nal::detect_captions(&open.description, data, &mut open.captions);
        open.samples.push(sample);
        open.bytes += data.len() as u64;
        open.next_decode_time = open
            .next_decode_time
            .saturating_add(u64::from(sample.duration));
        self.store(track, data)?;
        self.done += data.len() as u64;
        (self.progress)(self.done.min(self.search.source_len()));
        Ok(())
    }
}

/// Creates a file for reading and writing that disappears when it is closed, even by a crash. `beside`
/// gives the directory that holds its bytes, and the stem of the name that it has for a moment.
///
/// # Errors
/// When the disk refuses.
pub fn unnamed_file(beside: &Path, suffix: &str) -> io::Result<File> {
    let mut name = beside.as_os_str().to_owned();
    name.push(suffix);
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&name)?;
    std::fs::remove_file(&name)?;
    Ok(file)
}
