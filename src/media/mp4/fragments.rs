//! Reads the fragmented MP4 that the muxer writes into a pipe, box by box and sample by sample.
//! Memory holds one `moov` or `moof` and one sample at a time.
//!
//! ISO/IEC 14496-12: `moov` §8.2.1, `elst` §8.6.6, `trex` §8.8.3, `moof` §8.8.4, `tfhd` §8.8.7,
//! `trun` §8.8.8, `tfdt` §8.8.12.

use std::io::{self, Read};

use super::boxes::{self, BoxAt, be32, be64};
use crate::media::error::{MediaError, MediaErrorKind};

/// Largest `moov` or `moof` that is read: 64 MiB are a fragment of 4 million samples.
const MAX_METADATA_BOX: u64 = 64 << 20;
/// Largest sample: an 8K intra frame is below 64 MiB.
const MAX_SAMPLE: u32 = 256 << 20;
/// Most samples of the fragments before their data, as many as one metadata box can hold. Runs without
/// per-sample fields, and runs without number, must not claim more.
const MAX_PENDING_SAMPLES: usize = 1 << 22;
/// Most tracks of a movie: more than are ever selected.
const MAX_TRACKS: usize = 256;
/// Bit of the sample flags that marks a sample as no key frame (§8.8.3.1).
pub const NON_SYNC: u32 = 0x1_0000;

/// One sample as the muxer describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    pub size: u32,
    /// Duration in ticks.
    pub duration: u32,
    /// Composition time minus decoding time, in ticks.
    pub composition: i32,
    pub flags: u32,
}

impl Sample {
    /// Returns true for a key frame.
    #[must_use]
    pub const fn is_key(&self) -> bool {
        self.flags & NON_SYNC == 0
    }
}

/// A track as `moov` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovieTrack {
    pub id: u32,
    /// Ticks a second.
    pub timescale: u32,
    /// `vide` or `soun`.
    pub handler: [u8; 4],
    /// The whole `trak` box.
    pub trak: Vec<u8>,
    /// Its `trex` box.
    pub trex: Vec<u8>,
    /// Empty edits at the start, in ticks of the movie.
    pub empty_edit: i64,
    /// Start of the first non-empty edit, in ticks of the track.
    pub media_time: i64,
}

/// Movie header and tracks, as `moov` describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movie {
    /// Ticks a second.
    pub timescale: u32,
    /// The whole `mvhd` box.
    pub mvhd: Vec<u8>,
    pub tracks: Vec<MovieTrack>,
}

/// Receiver of the contents of the stream.
pub trait Sink {
    /// Receives the movie header, once and before anything else.
    ///
    /// # Errors
    /// Stops the stream.
    fn movie(&mut self, movie: Movie) -> Result<(), MediaError>;
    /// Receives the start of a fragment of `track` (its place in `Movie::tracks`) at `decode_time` ticks.
    ///
    /// # Errors
    /// Stops the stream.
    fn fragment(&mut self, track: usize, decode_time: u64) -> Result<(), MediaError>;
    /// Receives the next sample of `track`, whose fragment is the last that started.
    ///
    /// # Errors
    /// Stops the stream.
    fn sample(&mut self, track: usize, sample: Sample, data: &[u8]) -> Result<(), MediaError>;
}

#[derive(Debug, Clone, Copy)]
struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
}

struct TrackState {
    id: u32,
    defaults: Defaults,
}

fn broken(what: &str) -> MediaError {
    MediaError::new(
        MediaErrorKind::Protocol,
        format!("ffmpeg wrote an MP4 stream that cannot be read: {what}"),
    )
}

/// Reads `input` to its end. Only the tool's exit status tells if the stream was complete.
///
/// # Errors
/// When the stream is no fragmented MP4, reading fails, or the sink refuses.
pub fn read(input: &mut impl Read, sink: &mut impl Sink) -> Result<(), MediaError> {
    let mut tracks: Vec<TrackState> = Vec::new();
    let mut pending = PendingFragments::default();
    let mut sample_buffer = Vec::new();
    while let Some((kind, body_size)) = read_header(input)? {
        match &kind {
            b"moov" => {
                let body = read_body(input, body_size)?;
                let (movie, states) = parse_moov(&body).ok_or_else(|| broken("moov"))?;
                tracks = states;
                sink.movie(movie)?;
            }
            b"moof" => {
                let body = read_body(input, body_size)?;
                parse_moof(&body, &tracks, &mut pending).ok_or_else(|| broken("moof"))?;
            }
            b"mdat" => {
                let mut left = body_size;
                for (track, decode_time, samples) in std::mem::take(&mut pending).fragments {
                    sink.fragment(track, decode_time)?;
                    for sample in samples {
                        let data = read_sample(input, &mut sample_buffer, sample.size, &mut left)?;
                        sink.sample(track, sample, data)?;
                    }
                }
                skip(input, left)?;
            }
            _ => skip(input, body_size)?,
        }
    }
    Ok(())
}

fn read_header(input: &mut impl Read) -> Result<Option<([u8; 4], u64)>, MediaError> {
    let mut header = [0; 16];
    let mut filled = 0;
    while filled < 8 {
        match input.read(&mut header[filled..8])? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(broken("it ends within a box header")),
            count => filled += count,
        }
    }
    if be32(&header, 0) == Some(1) {
        input.read_exact(&mut header[8..])?;
    }
    let (size, header_size) = boxes::box_size(&header).ok_or_else(|| broken("box header"))?;
    let body = size
        .checked_sub(header_size as u64)
        .ok_or_else(|| broken("a box smaller than its header"))?;
    Ok(Some(([header[4], header[5], header[6], header[7]], body)))
}

fn read_body(input: &mut impl Read, size: u64) -> Result<Vec<u8>, MediaError> {
    if size > MAX_METADATA_BOX {
        return Err(broken("a metadata box of more than 64 MiB"));
    }
    let mut body = Vec::new();
    input.take(size).read_to_end(&mut body)?;
    if body.len() as u64 == size {
        Ok(body)
    } else {
        Err(broken("it ends within a box"))
    }
}

fn read_sample<'a>(
    input: &mut impl Read,
    buffer: &'a mut Vec<u8>,
    size: u32,
    left: &mut u64,
) -> Result<&'a [u8], MediaError> {
    if size > MAX_SAMPLE || u64::from(size) > *left {
        return Err(broken("a sample that is larger than its data"));
    }
    *left -= u64::from(size);
    let size = size as usize;
    if buffer.len() < size {
        buffer.resize(size, 0);
    }
    input.read_exact(&mut buffer[..size])?;
    Ok(&buffer[..size])
}

fn skip(input: &mut impl Read, count: u64) -> Result<(), MediaError> {
    io::copy(&mut input.take(count), &mut io::sink())?;
    Ok(())
}

fn parse_moov(moov: &[u8]) -> Option<(Movie, Vec<TrackState>)> {
    let mvhd = boxes::find(moov, &[b"mvhd"])?;
    let timescale = be32(mvhd.body, if mvhd.body.first()? == &1 { 20 } else { 12 })?;
    let mvex = boxes::find(moov, &[b"mvex"])?;
    let mut tracks = Vec::new();
    let mut states = Vec::new();
    for trak in boxes::iterate(moov).filter(|found| &found.kind == b"trak") {
        if tracks.len() == MAX_TRACKS {
            return None;
        }
        let tkhd = boxes::find(trak.body, &[b"tkhd"])?.body;
        let id = be32(tkhd, if tkhd.first()? == &1 { 20 } else { 12 })?;
        let trex = boxes::iterate(mvex.body)
            .find(|found| &found.kind == b"trex" && be32(found.body, 4) == Some(id))?;
        let (track, state) = parse_trak(&trak, &trex, id)?;
        tracks.push(track);
        states.push(state);
    }
    let movie = Movie {
        timescale: timescale.max(1),
        mvhd: mvhd.whole.to_vec(),
        tracks,
    };
    Some((movie, states))
}

fn parse_trak(trak: &BoxAt<'_>, trex: &BoxAt<'_>, id: u32) -> Option<(MovieTrack, TrackState)> {
    let mdhd = boxes::find(trak.body, &[b"mdia", b"mdhd"])?.body;
    let timescale = be32(mdhd, if mdhd.first()? == &1 { 20 } else { 12 })?;
    let hdlr = boxes::find(trak.body, &[b"mdia", b"hdlr"])?.body;
    let (empty_edit, media_time) = match boxes::find(trak.body, &[b"edts", b"elst"]) {
        Some(elst) => parse_elst(elst.body)?,
        None => (0, 0),
    };
    let defaults = Defaults {
        duration: be32(trex.body, 12)?,
        size: be32(trex.body, 16)?,
        flags: be32(trex.body, 20)?,
    };
    let track = MovieTrack {
        id,
        timescale: timescale.max(1),
        handler: hdlr.get(8..12)?.try_into().ok()?,
        trak: trak.whole.to_vec(),
        trex: trex.whole.to_vec(),
        empty_edit,
        media_time,
    };
    Some((track, TrackState { id, defaults }))
}

/// Returns the sum of empty edits, and the media time of the first edit that is not empty.
fn parse_elst(body: &[u8]) -> Option<(i64, i64)> {
    let wide = body.first()? == &1;
    let entry_size = if wide { 20 } else { 12 };
    let (mut empty, mut start) = (0_i64, None);
    for index in 0..be32(body, 4)? as usize {
        let at = 8 + index * entry_size;
        let (duration, media_time) = if wide {
            (
                be64(body, at)?.cast_signed(),
                be64(body, at + 8)?.cast_signed(),
            )
        } else {
            (
                i64::from(be32(body, at)?),
                i64::from(be32(body, at + 4)?.cast_signed()),
            )
        };
        if media_time < 0 {
            empty = empty.saturating_add(duration);
        } else if start.is_none() {
            start = Some(media_time);
        }
    }
    Some((empty, start.unwrap_or(0)))
}

type Fragment = (usize, u64, Vec<Sample>);

/// Fragments whose data did not come yet.
#[derive(Default)]
struct PendingFragments {
    fragments: Vec<Fragment>,
    /// Samples of all of them.
    samples: usize,
}

fn parse_moof(moof: &[u8], tracks: &[TrackState], pending: &mut PendingFragments) -> Option<()> {
    for traf in boxes::iterate(moof).filter(|found| &found.kind == b"traf") {
        let room = MAX_PENDING_SAMPLES.checked_sub(pending.samples)?;
        let fragment = parse_traf(traf.body, tracks, room)?;
        // A fragment without samples counts too.
        pending.samples += fragment.2.len() + 1;
        pending.fragments.push(fragment);
    }
    Some(())
}

fn parse_traf(traf: &[u8], tracks: &[TrackState], room: usize) -> Option<Fragment> {
    let tfhd = boxes::find(traf, &[b"tfhd"])?.body;
    let flags = be32(tfhd, 0)? & 0x00ff_ffff;
    let id = be32(tfhd, 4)?;
    let track = tracks.iter().position(|track| track.id == id)?;
    let mut defaults = tracks[track].defaults;
    let mut at = 8;
    if flags & 0x1 != 0 {
        at += 8;
    }
    if flags & 0x2 != 0 {
        at += 4;
    }
    for (bit, value) in [
        (0x8, &mut defaults.duration),
        (0x10, &mut defaults.size),
        (0x20, &mut defaults.flags),
    ] {
        if flags & bit != 0 {
            *value = be32(tfhd, at)?;
            at += 4;
        }
    }
    let tfdt = boxes::find(traf, &[b"tfdt"])?.body;
    let decode_time = if tfdt.first()? == &1 {
        be64(tfdt, 4)?
    } else {
        u64::from(be32(tfdt, 4)?)
    };
    let mut samples = Vec::new();
    for trun in boxes::iterate(traf).filter(|found| &found.kind == b"trun") {
        parse_trun(trun.body, defaults, room, &mut samples)?;
    }
    Some((track, decode_time, samples))
}

fn parse_trun(
    trun: &[u8],
    defaults: Defaults,
    room: usize,
    samples: &mut Vec<Sample>,
) -> Option<()> {
    let flags = be32(trun, 0)? & 0x00ff_ffff;
    let count = be32(trun, 4)?;
    // A run without per-sample fields could announce four billion samples in 12 bytes.
    if count as usize > room.checked_sub(samples.len())? {
        return None;
    }
    let mut at = 8;
    if flags & 0x1 != 0 {
        at += 4;
    }
    let mut first_flags = None;
    if flags & 0x4 != 0 {
        first_flags = Some(be32(trun, at)?);
        at += 4;
    }
    for _ in 0..count {
        let mut field = |bit: u32, default: u32| {
            if flags & bit == 0 {
                return Some(default);
            }
            at += 4;
            be32(trun, at - 4)
        };
        let duration = field(0x100, defaults.duration)?;
        let size = field(0x200, defaults.size)?;
        let sample_flags = field(0x400, first_flags.take().unwrap_or(defaults.flags))?;
        let composition = field(0x800, 0)?.cast_signed();
        samples.push(Sample {
            size,
            duration,
            composition,
            flags: sample_flags,
        });
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Sink for Nobody {
        fn movie(&mut self, _: Movie) -> Result<(), MediaError> {
            Ok(())
        }
        fn fragment(&mut self, _: usize, _: u64) -> Result<(), MediaError> {
            Ok(())
        }
        fn sample(&mut self, _: usize, _: Sample, _: &[u8]) -> Result<(), MediaError> {
            Ok(())
        }
    }

    fn full_box(kind: &[u8; 4], numbers: &[u32]) -> Vec<u8> {
        let body: Vec<u8> = numbers.iter().flat_map(|one| one.to_be_bytes()).collect();
        boxes::write(kind, &[&body])
    }

    fn movie() -> Vec<u8> {
        let media = [
            full_box(b"mdhd", &[0, 0, 0, 1000, 0]),
            boxes::write(b"hdlr", &[&[0; 8], b"soun"]),
        ]
        .concat();
        let track = [
            full_box(b"tkhd", &[0, 0, 0, 1]),
            boxes::write(b"mdia", &[&media]),
        ]
        .concat();
        let parts = [
            full_box(b"mvhd", &[0, 0, 0, 1000]),
            boxes::write(b"trak", &[&track]),
            boxes::write(b"mvex", &[&full_box(b"trex", &[0, 1, 1, 1, 0, 0])]),
        ];
        boxes::write(b"moov", &[&parts.concat()])
    }

    fn fragment(runs: &[u8]) -> Vec<u8> {
        let head = [full_box(b"tfhd", &[0, 1]), full_box(b"tfdt", &[0, 0])].concat();
        boxes::write(b"moof", &[&boxes::write(b"traf", &[&head, runs])])
    }

    #[test]
    fn samples_that_are_only_claimed_have_a_limit() {
        let read = |parts: &[Vec<u8>]| {
            let stream = [movie(), parts.concat()].concat();
            super::read(&mut stream.as_slice(), &mut Nobody)
        };
        let data = boxes::write(b"mdat", &[]);
        let run = |count| full_box(b"trun", &[0, count]);
        assert_eq!(read(&[fragment(&run(1000)), data.clone()]), Ok(()));
        // One run, many runs in a fragment, many fragments before the data.
        assert!(read(&[fragment(&run(u32::MAX)), data.clone()]).is_err());
        let million = run(1 << 20);
        assert!(read(&[fragment(&million.repeat(5)), data.clone()]).is_err());
        let fragments = fragment(&million).repeat(5);
        assert!(read(&[fragments, data]).is_err());
    }
}
