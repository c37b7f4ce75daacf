//! Segments of films that are transport streams. They are ranges of the file itself.

use super::{ByteRange, SegmentInfo};

/// Bytes of a packet in a transport stream.
pub const TS_PACKET: u64 = 188;

/// Composition of the segments of a film's first track: tables, then unchanged packets of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InPlace {
    /// Position of the first segment in the file. Each later one starts where the previous one ends.
    pub offset: u64,
    /// Bytes from one packet of the file to the next: 188, or 192 with a time stamp before each.
    pub stride: u16,
    /// Packets with the two tables that each segment begins with: one packet of the first table, then
    /// those of the second, with counters from 0.
    pub tables: Vec<u8>,
    /// Amount for each segment that is added to the counters of its tables. The lower four bits are for
    /// the first table, the upper four for the second.
    pub counters: Vec<u8>,
    /// Streams whose packets are served; those of others become null packets. Empty for all streams.
    pub kept: Vec<u16>,
    /// Number of tracks, from the first, that lie inside the segments.
    pub inside: u32,
    /// Time stamp of the film's start in the file, in 1/90000 s.
    pub zero: u64,
}

impl InPlace {
    /// Returns whether the packets of a segment are one unchanged range of the file.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        u64::from(self.stride) == TS_PACKET && self.kept.is_empty()
    }

    /// Returns the bytes of a segment after its tables.
    #[must_use]
    pub fn of_file(&self, segment: &SegmentInfo) -> Option<u64> {
        segment.size.checked_sub(self.tables.len() as u64)
    }

    /// Returns the range of the file with the packets of segment `number`.
    #[must_use]
    pub fn range(&self, segments: &[SegmentInfo], number: usize) -> Option<ByteRange> {
        let in_file = |segment: &SegmentInfo| {
            let packets = self.of_file(segment)? / TS_PACKET;
            packets.checked_mul(u64::from(self.stride))
        };
        let before = segments.get(..number)?.iter();
        let offset = before.map(in_file).try_fold(self.offset, |sum, len| {
            len.and_then(|len| sum.checked_add(len))
        })?;
        Some(ByteRange::new(offset, in_file(segments.get(number)?)?))
    }

    /// Returns the tables of segment `number`.
    #[must_use]
    pub fn tables_of(&self, number: usize) -> Option<Vec<u8>> {
        const COUNTER: usize = 3;
        let counters = self.counters.get(number)?;
        let mut tables = self.tables.clone();
        for (number, packet) in tables.chunks_mut(TS_PACKET as usize).enumerate() {
            let more = if number == 0 {
                counters & 15
            } else {
                counters >> 4
            };
            let byte = packet.get_mut(COUNTER)?;
            *byte = *byte & 0xf0 | byte.wrapping_add(more) & 15;
        }
        Some(tables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_stand_behind_each_other() {
        let mut tables = vec![0; 3 * 188];
        (tables[3], tables[191], tables[379]) = (0x10, 0x10, 0x11);
        let film = InPlace {
            offset: 188,
            stride: 188,
            tables,
            counters: vec![0x21, 0xf0],
            kept: Vec::new(),
            inside: 2,
            zero: 0,
        };
        let segment = |packets: u64| SegmentInfo {
            duration: 1,
            size: 3 * 188 + packets * TS_PACKET,
        };
        let segments = [segment(10), segment(3)];
        assert_eq!(film.range(&segments, 0), Some(ByteRange::new(188, 1880)));
        assert_eq!(film.range(&segments, 1), Some(ByteRange::new(2068, 564)));
        assert_eq!(film.range(&segments, 2), None);
        let with_stamps = InPlace {
            stride: 192,
            ..film.clone()
        };
        assert_eq!(
            with_stamps.range(&segments, 1),
            Some(ByteRange::new(2108, 576))
        );
        let second = film.tables_of(1).unwrap();
        assert_eq!((second[3], second[191], second[379]), (0x10, 0x1f, 0x10));
        assert_eq!(film.tables_of(0).unwrap()[191], 0x12);
        assert_eq!(film.tables_of(2), None);
    }
}
