//! HLS segments as MPEG-TS, of one track each, muxed when they are read. They are for players that
//! cannot seek in MP4 segments (ffmpeg before 8, and programs built on it).
//!
//! The sizes and the place of every packet follow from the map's records alone. A read therefore muxes
//! only the packets it needs, and continuity counters go on from segment to segment. `elementary`
//! converts samples, `packet` cuts packets. This is layout 1, frozen with the sizes that the index holds.

mod elementary;
mod packet;

use std::ops::Range;

use crate::model::{ByteRange, Track};

use super::map::MapError;
use super::mp4::fragments::Sample;
use elementary::Elementary;
pub use packet::checksum;
use packet::{PACKET, Stamps};

/// Steps a second of time stamps. They are multiples of 0.1 ms, which are exact both in their clock of
/// 90 kHz and in microseconds. ffmpeg would round the first one up and others down, and then drop the
/// first picture.
const STEPS: u64 = 10_000;
/// Ticks of PTS, DTS and PCR in such a step.
const TICKS_OF_STEP: u64 = 9;
/// Packets at the start of a segment: the two tables.
const TABLE_PACKETS: u64 = 2;
/// Most bytes of audio in one PES packet, unless a single frame has more.
const AUDIO_BYTES: u64 = 2800;
/// Divides a second into the longest audio of one PES packet. Each packet has the clock, which must come
/// at least every 0.1 s (§2.7.2).
const AUDIO_SHARE: u64 = 11;

/// One PES packet of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PesPlan {
    samples: Range<usize>,
    /// Range of all samples' bytes in a row.
    data: ByteRange,
    /// Packets of the stream before this PES packet in its segment.
    before: u64,
    packets: u64,
    stamps: Stamps,
    is_key: bool,
}

/// A segment before its bytes are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentLayout {
    elementary: Elementary,
    /// Number of the segment in its track, from 0.
    segment: u64,
    /// Packets of the stream before this segment.
    counter: u64,
    sizes: Vec<u32>,
    list: Vec<PesPlan>,
}

/// Place of a segment in its track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Number of the segment in its track, from 0.
    pub segment: u64,
    /// Bytes of all segments before it, as a transport stream.
    pub bytes_before: u64,
    /// Decoding time of the first sample, in ticks of the track's timescale.
    pub decode_time: u64,
    /// Ticks that are added to the clock of 90 kHz, which wraps.
    pub shift: u64,
}

/// A part of a segment that is muxed at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MuxedPart {
    list: Range<usize>,
    /// Range that must be read of all samples' bytes in a row.
    pub data: ByteRange,
    /// Range of the segment that is produced.
    pub output: ByteRange,
}

/// Returns the bytes of the segment made of `samples`; `None` where a transport stream cannot carry the
/// track.
#[must_use]
pub fn size(init: &[u8], timescale: u32, samples: &[Sample]) -> Option<u64> {
    let position = Position {
        segment: 0,
        bytes_before: 0,
        decode_time: 0,
        shift: 0,
    };
    let elementary = Elementary::of(init)?;
    let fits = samples.iter().all(|sample| elementary.takes(sample.size));
    fits.then(|| SegmentLayout::with(elementary, timescale, samples, position).size())
}

impl SegmentLayout {
    /// Computes the layout of a segment.
    ///
    /// # Errors
    /// When the track cannot be carried, though the index has sizes for it.
    pub fn new(track: &Track, samples: &[Sample], position: Position) -> Result<Self, MapError> {
        let elementary =
            Elementary::of(&track.init).ok_or(MapError("no track for a transport stream"))?;
        Ok(Self::with(elementary, track.timescale, samples, position))
    }

    fn with(
        elementary: Elementary,
        timescale: u32,
        samples: &[Sample],
        position: Position,
    ) -> Self {
        let timescale = u64::from(timescale.max(1));
        let to_clock = |ticks: u64| {
            let scaled = u128::from(ticks) * u128::from(STEPS) + u128::from(timescale / 2);
            let steps = u64::try_from(scaled / u128::from(timescale)).unwrap_or(u64::MAX);
            let ticks = steps.saturating_mul(TICKS_OF_STEP);
            ticks.wrapping_add(position.shift)
        };
        let mut list: Vec<PesPlan> = Vec::new();
        let (mut at, mut offset, mut before, mut first) = (position.decode_time, 0, 0, 0);
        while first < samples.len() {
            let end = if elementary.is_video() {
                first + 1
            } else {
                audio_end(samples, first, timescale)
            };
            let group = &samples[first..end];
            let bytes: u64 = group.iter().map(|sample| u64::from(sample.size)).sum();
            let is_key = !elementary.is_video() || group[0].is_key();
            let grown = elementary.growth(is_key) * group.len();
            let header = packet::header_size(&elementary);
            let packets = packet::count(bytes + (header + grown) as u64);
            list.push(PesPlan {
                samples: first..end,
                data: ByteRange::new(offset, bytes),
                before,
                packets,
                stamps: Stamps {
                    decode: to_clock(at),
                    show: to_clock(at.saturating_add_signed(group[0].composition.into())),
                },
                is_key,
            });
            let ticks: u64 = group.iter().map(|sample| u64::from(sample.duration)).sum();
            at = at.saturating_add(ticks);
            offset += bytes;
            before += packets;
            first = end;
        }
        let packets_before = (position.bytes_before / PACKET)
            .saturating_sub(position.segment.saturating_mul(TABLE_PACKETS));
        Self {
            elementary,
            segment: position.segment,
            counter: packets_before,
            sizes: samples.iter().map(|sample| sample.size).collect(),
            list,
        }
    }

    /// Returns the bytes of the whole segment.
    #[must_use]
    pub fn size(&self) -> u64 {
        let last = self.list.last();
        (TABLE_PACKETS + last.map_or(0, |pes| pes.before + pes.packets)) * PACKET
    }

    /// Returns the part that must be muxed for `range` of the segment.
    #[must_use]
    pub fn part(&self, range: ByteRange) -> MuxedPart {
        let start = |pes: &PesPlan| (TABLE_PACKETS + pes.before) * PACKET;
        let after = self.list.partition_point(|pes| start(pes) < range.end());
        let ends = |pes: &PesPlan| start(pes) + pes.packets * PACKET <= range.offset;
        let first = self.list.partition_point(ends).min(after);
        let list = first..after;
        let (Some(head), Some(tail)) = (self.list.get(first), self.list[list.clone()].last())
        else {
            return MuxedPart {
                list,
                data: ByteRange::new(0, 0),
                output: ByteRange::new(0, TABLE_PACKETS * PACKET),
            };
        };
        // The tables come with the first packet.
        let begin = if first == 0 { 0 } else { start(head) };
        let end = start(tail) + tail.packets * PACKET;
        MuxedPart {
            data: ByteRange::new(head.data.offset, tail.data.end() - head.data.offset),
            output: ByteRange::new(begin, end - begin),
            list,
        }
    }

    /// Returns the bytes of `part.output`, made of those of `part.data`.
    ///
    /// # Errors
    /// When `data` is not what the map announces.
    pub fn mux(&self, part: &MuxedPart, data: &[u8]) -> Result<Vec<u8>, MapError> {
        let mut output = Vec::with_capacity(usize::try_from(part.output.len).unwrap_or(0));
        if part.output.offset == 0 {
            output.extend(packet::tables(&self.elementary, self.segment));
        }
        let mut rest = data;
        let mut payload = Vec::new();
        for pes in &self.list[part.list.clone()] {
            payload.clear();
            // The header is written when the length is known.
            payload.resize(packet::header_size(&self.elementary), 0);
            for size in &self.sizes[pes.samples.clone()] {
                let (sample, next) = rest
                    .split_at_checked(*size as usize)
                    .ok_or(MapError("a sample that is cut off"))?;
                rest = next;
                self.elementary.convert(sample, pes.is_key, &mut payload);
            }
            let header = packet::pes_header(
                &self.elementary,
                pes.stamps,
                payload.len() - packet::header_size(&self.elementary),
            );
            payload[..header.len()].copy_from_slice(&header);
            let counters = (self.counter + pes.before, pes.packets);
            packet::cut(
                &self.elementary,
                &payload,
                pes.stamps,
                pes.is_key,
                counters,
                &mut output,
            );
        }
        if output.len() as u64 == part.output.len {
            Ok(output)
        } else {
            Err(MapError("a transport stream of another size"))
        }
    }
}

/// Returns the end of the PES packet of audio that starts with sample `first`.
fn audio_end(samples: &[Sample], first: usize, timescale: u64) -> usize {
    let (mut bytes, mut ticks) = (0, 0);
    let mut end = first;
    for sample in &samples[first..] {
        bytes += u64::from(sample.size);
        ticks += u64::from(sample.duration);
        if end > first && (bytes > AUDIO_BYTES || ticks * AUDIO_SHARE > timescale) {
            break;
        }
        end += 1;
    }
    end
}
