//! Segments that are ranges of the file, for a film that is a transport stream itself.

use serde::{Deserialize, Serialize};

use super::{ByteRange, SegmentInfo};

/// Bytes of a packet of a transport stream.
pub const TS_PACKET: u64 = 188;
/// Bytes of the two tables that a segment begins with.
pub const TS_TABLES: u64 = 2 * TS_PACKET;

/// What the segments of a film's first track are made of: two tables, then packets of the file as
/// they stand there. Frozen as version 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InPlace {
    /// Where the first segment starts in the file. Each other one starts where the one before ends.
    pub offset: u64,
    /// Bytes from one packet of the file to the next: 188, or 192 with a time stamp before each.
    pub stride: u16,
    /// The tables, [`TS_TABLES`] bytes, with counters of 0.
    pub tables: Vec<u8>,
    /// One a segment: continuity counters of its tables, the first in the lower four bits.
    pub counters: Vec<u8>,
    /// Packets of these streams are served, others as packets of nothing; all, where it is empty.
    pub kept: Vec<u16>,
    /// So many of the film's tracks, from the first, lie inside the segments.
    pub inside: u32,
    /// Time stamp of the film's zero in the file, in 1/90000 s.
    pub zero: u64,
}

impl InPlace {
    /// Whether a segment's packets are one range of the file, byte for byte.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        u64::from(self.stride) == TS_PACKET && self.kept.is_empty()
    }

    /// The packets of segment `number` in the file.
    #[must_use]
    pub fn range(&self, segments: &[SegmentInfo], number: usize) -> Option<ByteRange> {
        let in_file = |segment: &SegmentInfo| {
            let packets = segment.size.checked_sub(TS_TABLES)? / TS_PACKET;
            packets.checked_mul(u64::from(self.stride))
        };
        let before = segments.get(..number)?.iter();
        let offset = before.map(in_file).try_fold(self.offset, |sum, len| {
            len.and_then(|len| sum.checked_add(len))
        })?;
        Some(ByteRange::new(offset, in_file(segments.get(number)?)?))
    }

    /// The tables of segment `number`.
    #[must_use]
    pub fn tables_of(&self, number: usize) -> Option<Vec<u8>> {
        const COUNTER: usize = 3;
        let counters = self.counters.get(number)?;
        let mut tables = self.tables.clone();
        *tables.get_mut(COUNTER)? |= counters & 15;
        *tables.get_mut(TS_PACKET as usize + COUNTER)? |= counters >> 4;
        (tables.len() as u64 == TS_TABLES).then_some(tables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_stand_behind_each_other() {
        let mut tables = vec![0; TS_TABLES as usize];
        (tables[3], tables[191]) = (0x10, 0x10);
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
            size: TS_TABLES + packets * TS_PACKET,
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
        assert_eq!((second[3], second[191]), (0x10, 0x1f));
        assert_eq!(film.tables_of(0).unwrap()[191], 0x12);
        assert_eq!(film.tables_of(2), None);
    }
}
