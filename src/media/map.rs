//! The map's records, which hold each segment's samples and the places of their bytes.
//!
//! # Layout 1
//! The map starts with [`MAP_MAGIC`]. Behind it lie zstd frames, each of up to [`SEGMENTS_PER_FRAME`]
//! segments of one track. Each frame can be decoded alone. An unpacked frame holds the number of
//! segments, then seven columns, each with its length in bytes before it. All numbers are LEB128
//! varints, signed ones in zigzag form:
//!
//! 1. samples of each segment
//! 2. decoding time of each segment's first sample, in ticks
//! 3. size, 4. duration, 5. flags, 6. composition offset (signed) of each sample
//! 7. place of each sample that is not empty; distances count from the end of the frame's previous
//!    piece in the same blob, from 0 at the frame's start:
//!    `distance << 2` whole in the content, `distance << 2 | 1` whole in the derived blob,
//!    `n << 2 | 2` then two distances: `n` bytes in the derived blob and the rest in the content.

use crate::model::ByteRange;

use super::mp4::fragments::Sample;

/// Magic bytes at the start of the map. The last byte is the layout.
pub const MAP_MAGIC: [u8; 8] = *b"tgfsmap\x01";
/// Segments of one zstd frame: a seek decodes one of them.
pub const SEGMENTS_PER_FRAME: usize = 64;
/// Level of zstd. On maps, level 9 comes within 3 per cent of level 19 in a tenth of the time.
const COMPRESSION: i32 = 9;
/// Largest unpacked frame that is accepted: 64 segments of a minute at 60 frames a second take 4 MiB. A frame of a few
/// bytes may claim any size.
const MAX_FRAME: usize = 16 << 20;
/// Most samples of a segment that are accepted: two hours of 60 frames a second have 432,000.
const MAX_SAMPLES: u64 = 1 << 19;
/// Largest sample that is accepted. A picture of 8K that is hardly compressed takes 50 MiB.
const MAX_SAMPLE: u32 = 64 << 20;
const COLUMNS: usize = 7;

/// Error of a map that cannot be the one that ingest wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the map of this file is damaged: {0}")]
pub struct MapError(pub &'static str);

/// Place of a sample's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SamplePlace {
    /// At this offset of the file.
    Content(u64),
    /// At this offset of the derived blob.
    Derived(u64),
    /// The first `missing` bytes in the derived blob, the rest in the file.
    Split {
        derived: u64,
        missing: u32,
        content: u64,
    },
}

/// A run of a segment's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    Content(ByteRange),
    Derived(ByteRange),
}

/// One segment, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Segment {
    /// Decoding time of the first sample in ticks, with the common origin.
    pub decode_time: u64,
    pub samples: Vec<Sample>,
    /// Runs of the segment's bytes, with neighbours joined.
    pub runs: Vec<Run>,
}

/// Input of [`encode_frame`] for one segment. `places` has one item per sample.
#[derive(Debug, Clone, Copy)]
pub struct SegmentSource<'a> {
    pub decode_time: u64,
    pub samples: &'a [Sample],
    pub places: &'a [SamplePlace],
}

/// Encodes one frame of the map.
///
/// # Errors
/// When compression fails (out of memory).
pub fn encode_frame(segments: &[SegmentSource<'_>]) -> std::io::Result<Vec<u8>> {
    let mut columns: [Vec<u8>; COLUMNS] = Default::default();
    let (mut content, mut derived) = (0, 0);
    for segment in segments {
        put(&mut columns[0], segment.samples.len() as u64);
        put(&mut columns[1], segment.decode_time);
        for (sample, place) in segment.samples.iter().zip(segment.places) {
            put(&mut columns[2], u64::from(sample.size));
            put(&mut columns[3], u64::from(sample.duration));
            put(&mut columns[4], u64::from(sample.flags));
            put(&mut columns[5], zigzag(i64::from(sample.composition)));
            if sample.size > 0 {
                put_place(
                    &mut columns[6],
                    *place,
                    sample.size,
                    &mut content,
                    &mut derived,
                );
            }
        }
    }
    let mut raw = Vec::new();
    put(&mut raw, segments.len() as u64);
    for column in &columns {
        put(&mut raw, column.len() as u64);
        raw.extend_from_slice(column);
    }
    zstd::bulk::compress(&raw, COMPRESSION)
}

fn put_place(
    column: &mut Vec<u8>,
    place: SamplePlace,
    size: u32,
    content: &mut u64,
    derived: &mut u64,
) {
    let step = |end: &mut u64, start: u64, len: u64| {
        let distance = start.wrapping_sub(*end).cast_signed();
        *end = start.saturating_add(len);
        zigzag(distance)
    };
    let size = u64::from(size);
    match place {
        SamplePlace::Content(at) => put(column, step(content, at, size) << 2),
        SamplePlace::Derived(at) => put(column, step(derived, at, size) << 2 | 1),
        SamplePlace::Split {
            derived: head,
            missing,
            content: at,
        } => {
            let missing = u64::from(missing);
            put(column, missing << 2 | 2);
            put(column, step(derived, head, missing));
            put(column, step(content, at, size.saturating_sub(missing)));
        }
    }
}

/// Decodes segment number `index` (from 0) of a frame.
///
/// # Errors
/// When the frame is damaged or has no such segment.
pub fn decode_segment(frame: &[u8], index: usize) -> Result<Segment, MapError> {
    let raw = zstd::bulk::decompress(frame, MAX_FRAME).map_err(|_| MapError("compressed frame"))?;
    let mut head = VarintReader(&raw);
    let count = head.number()?;
    if index as u64 >= count {
        return Err(MapError("no such segment"));
    }
    let mut columns = [VarintReader(&[]); COLUMNS];
    for column in &mut columns {
        *column = head.column()?;
    }
    let (mut content, mut derived) = (0, 0);
    let mut segment = Segment::default();
    for _ in 0..=index {
        segment = Segment::default();
        let samples = columns[0].number()?;
        if samples > MAX_SAMPLES {
            return Err(MapError("a segment of too many samples"));
        }
        segment.decode_time = columns[1].number()?;
        for _ in 0..samples {
            let sample = Sample {
                size: columns[2].small()?,
                duration: columns[3].small()?,
                flags: columns[4].small()?,
                composition: i32::try_from(columns[5].signed()?)
                    .map_err(|_| MapError("composition offset"))?,
            };
            if sample.size > MAX_SAMPLE {
                return Err(MapError("a sample that is too large"));
            }
            if sample.size > 0 {
                take_place(
                    &mut columns[6],
                    sample.size,
                    &mut content,
                    &mut derived,
                    &mut segment.runs,
                )?;
            }
            segment.samples.push(sample);
        }
    }
    Ok(segment)
}

fn take_place(
    column: &mut VarintReader<'_>,
    size: u32,
    content: &mut u64,
    derived: &mut u64,
    runs: &mut Vec<Run>,
) -> Result<(), MapError> {
    let size = u64::from(size);
    let tag = column.number()?;
    match tag & 3 {
        0 => push(runs, Run::Content(step(content, unzigzag(tag >> 2), size)?)),
        1 => push(runs, Run::Derived(step(derived, unzigzag(tag >> 2), size)?)),
        2 => {
            let missing = tag >> 2;
            let rest = size.checked_sub(missing).ok_or(MapError("split sample"))?;
            push(
                runs,
                Run::Derived(step(derived, column.signed()?, missing)?),
            );
            push(runs, Run::Content(step(content, column.signed()?, rest)?));
        }
        _ => return Err(MapError("unknown kind of place")),
    }
    Ok(())
}

fn step(end: &mut u64, distance: i64, len: u64) -> Result<ByteRange, MapError> {
    let start = end
        .checked_add_signed(distance)
        .ok_or(MapError("distance"))?;
    *end = start.checked_add(len).ok_or(MapError("distance"))?;
    Ok(ByteRange::new(start, len))
}

fn push(runs: &mut Vec<Run>, run: Run) {
    match (runs.last_mut(), run) {
        (Some(Run::Content(last)), Run::Content(next)) if last.end() == next.offset => {
            last.len += next.len;
        }
        (Some(Run::Derived(last)), Run::Derived(next)) if last.end() == next.offset => {
            last.len += next.len;
        }
        (_, Run::Content(ByteRange { len: 0, .. }) | Run::Derived(ByteRange { len: 0, .. })) => {}
        _ => runs.push(run),
    }
}

fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}
const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[derive(Clone, Copy)]
struct VarintReader<'a>(&'a [u8]);

impl<'a> VarintReader<'a> {
    fn number(&mut self) -> Result<u64, MapError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(MapError("it ends early"))?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(MapError("a number of more than 64 bits"))
    }
    fn small(&mut self) -> Result<u32, MapError> {
        u32::try_from(self.number()?).map_err(|_| MapError("a number of more than 32 bits"))
    }
    fn signed(&mut self) -> Result<i64, MapError> {
        Ok(unzigzag(self.number()?))
    }
    fn column(&mut self) -> Result<VarintReader<'a>, MapError> {
        let len = usize::try_from(self.number()?).map_err(|_| MapError("column"))?;
        let (column, rest) = self.0.split_at_checked(len).ok_or(MapError("column"))?;
        self.0 = rest;
        Ok(VarintReader(column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(size: u32, composition: i32) -> Sample {
        Sample {
            size,
            duration: 512,
            composition,
            flags: 0x101_0000,
        }
    }

    #[test]
    fn a_frame_comes_back_and_neighbours_are_joined() {
        let samples = [
            sample(10, 0),
            sample(5, -7),
            sample(0, 3),
            sample(8, 1 << 20),
        ];
        let places = [
            SamplePlace::Content(1 << 40),
            SamplePlace::Content((1 << 40) + 10),
            SamplePlace::Content(0),
            SamplePlace::Split {
                derived: 7,
                missing: 3,
                content: 90,
            },
        ];
        let second = [sample(4, 0)];
        let frame = encode_frame(&[
            SegmentSource {
                decode_time: 9,
                samples: &samples,
                places: &places,
            },
            SegmentSource {
                decode_time: 1 << 50,
                samples: &second,
                places: &[SamplePlace::Derived(10)],
            },
        ])
        .unwrap();
        let first = decode_segment(&frame, 0).unwrap();
        assert_eq!(first.samples, samples);
        assert_eq!(
            first.runs,
            [
                Run::Content(ByteRange::new(1 << 40, 15)),
                Run::Derived(ByteRange::new(7, 3)),
                Run::Content(ByteRange::new(90, 5)),
            ]
        );
        let next = decode_segment(&frame, 1).unwrap();
        assert_eq!(next.decode_time, 1 << 50);
        assert_eq!(next.runs, [Run::Derived(ByteRange::new(10, 4))]);
        assert_eq!(decode_segment(&frame, 2), Err(MapError("no such segment")));
    }

    /// Makes a frame of one segment from its columns.
    fn frame_of_columns(columns: [Vec<u8>; COLUMNS]) -> Vec<u8> {
        let mut raw = vec![1];
        for column in columns {
            put(&mut raw, column.len() as u64);
            raw.extend(column);
        }
        zstd::bulk::compress(&raw, COMPRESSION).unwrap()
    }

    #[test]
    fn a_small_frame_cannot_ask_for_much() {
        // Samples without bytes: each takes four bytes of the frame, and next to none when it is compressed.
        let empty = |count: u64| {
            let mut samples = Vec::new();
            put(&mut samples, count);
            let zeros = vec![0; usize::try_from(count).unwrap()];
            let [size, duration, flags, composition] = [(); 4].map(|()| zeros.clone());
            frame_of_columns([samples, vec![0], size, duration, flags, composition, vec![]])
        };
        let most = empty(MAX_SAMPLES);
        assert!(most.len() < 4096, "{}", most.len());
        assert!(decode_segment(&most, 0).is_ok());
        assert_eq!(
            decode_segment(&empty(MAX_SAMPLES + 1), 0),
            Err(MapError("a segment of too many samples"))
        );
        let long = zstd::bulk::compress(&vec![0; MAX_FRAME + 1], COMPRESSION).unwrap();
        assert!(long.len() < 4096, "{}", long.len());
        assert_eq!(decode_segment(&long, 0), Err(MapError("compressed frame")));
        // A sample is read as a whole to be muxed. Zeros of a sparse file take no bytes in the store.
        let mut size = Vec::new();
        put(&mut size, u64::from(MAX_SAMPLE) + 1);
        let large = frame_of_columns([vec![1], vec![0], size, vec![0], vec![0], vec![0], vec![0]]);
        assert_eq!(
            decode_segment(&large, 0),
            Err(MapError("a sample that is too large"))
        );
    }

    #[test]
    fn damage_is_an_error() {
        let good = encode_frame(&[SegmentSource {
            decode_time: 0,
            samples: &[sample(9, 0)],
            places: &[SamplePlace::Content(5)],
        }])
        .unwrap();
        let raw = zstd::bulk::decompress(&good, 1000).unwrap();
        for cut in 0..raw.len() {
            let frame = zstd::bulk::compress(&raw[..cut], 1).unwrap();
            assert!(decode_segment(&frame, 0).is_err(), "cut at {cut}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x55;
            let _no_panic = decode_segment(&bad, 0);
        }
    }
}
