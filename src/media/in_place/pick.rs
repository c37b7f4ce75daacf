//! Segments of a film that holds more than its program. Packets of other streams and tables become null
//! packets, and time stamps before packets are dropped. Each packet keeps its place, so any range can be
//! made alone.

use bytes::Bytes;

use super::packet::{NULL_PID, PACKET};
use crate::model::ByteRange;

/// Rule by which a segment is made of the file's packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picker {
    pub tables: Bytes,
    pub stride: u16,
    /// PIDs that are kept, ascending. An empty list keeps all.
    pub kept: Vec<u16>,
}

/// A part of a segment that is made at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PickedPart {
    /// Range that must be read of the segment's packets in the file.
    pub data: ByteRange,
    /// Offset in the segment of the bytes that are produced.
    pub start: u64,
}

impl Picker {
    /// Returns the part that must be made for `range` of the segment.
    #[must_use]
    pub fn part(&self, range: ByteRange) -> PickedPart {
        let (packet, tables) = (PACKET as u64, self.tables.len() as u64);
        let first = range.offset.saturating_sub(tables) / packet;
        let until = range.end().saturating_sub(tables).div_ceil(packet);
        let stride = u64::from(self.stride);
        let data = ByteRange::new(first * stride, until.saturating_sub(first) * stride);
        let start = match first {
            0 => 0,
            _ => tables + first * packet,
        };
        PickedPart { data, start }
    }

    /// Returns the bytes from `part.start` on, made of those of `part.data`.
    #[must_use]
    pub fn pick(&self, part: &PickedPart, data: &[u8]) -> Vec<u8> {
        let mut output = Vec::with_capacity(data.len() + self.tables.len());
        if part.start == 0 {
            output.extend_from_slice(&self.tables);
        }
        let stride = usize::from(self.stride).max(PACKET);
        for bytes in data.chunks_exact(stride) {
            let packet = &bytes[stride - PACKET..];
            let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
            let at = output.len();
            output.extend_from_slice(packet);
            if !self.kept.is_empty() && self.kept.binary_search(&pid).is_err() {
                let [high, low] = NULL_PID.to_be_bytes();
                // Nothing starts in the packet, and it has only a payload.
                output[at + 1..at + 4].copy_from_slice(&[high, low, 0x10]);
            }
        }
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_is_a_part_of_the_whole() {
        let picker = Picker {
            tables: Bytes::from(vec![9; 376]),
            stride: 192,
            kept: vec![0x100],
        };
        let data: Vec<u8> = (0..20_u16)
            .flat_map(|n| {
                let mut packet = vec![n as u8; 192];
                packet[4..8].copy_from_slice(&[0x47, 0x41 + (n % 2) as u8, 0, 0x37]);
                packet
            })
            .collect();
        let all = picker.part(ByteRange::new(0, 376 + 20 * 188));
        assert_eq!(all.data, ByteRange::new(0, data.len() as u64));
        let whole = picker.pick(&all, &data);
        assert_eq!(whole.len(), 376 + 20 * 188);
        assert_eq!(whole[376..380], [0x47, 0x41, 0, 0x37]);
        assert_eq!(whole[564..568], [0x47, 0x1f, 0xff, 0x10]);
        for offset in [0, 1, 375, 376, 377, 563, 564, 2000] {
            for len in [1, 188, 377, 1500] {
                let range = ByteRange::new(offset, len);
                let part = picker.part(range);
                let data = &data[part.data.offset as usize..part.data.end() as usize];
                let made = picker.pick(&part, data);
                let skip = (offset - part.start) as usize;
                let end = skip + len as usize;
                assert_eq!(
                    made[skip..end],
                    whole[offset as usize..(offset + len) as usize]
                );
            }
        }
    }
}
