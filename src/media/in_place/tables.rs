//! The two tables of a transport stream: the list of programs, and the streams of a program. They are
//! read from a film, and written for its segments. ISO/IEC 13818-1 §2.4.4.

use super::packet::{PACKET, PAT_PID, SYNC};
use crate::media::transport::checksum;

/// Bytes of a section before its body, in any table with a version.
const LONG_HEAD: usize = 8;
const CHECKSUM: usize = 4;
/// Most bytes of a section of these tables (§2.4.4.4, §2.4.4.9).
const MAX_SECTION: usize = 1024;
/// Bytes of a packet before its payload.
const HEAD: usize = 4;

/// One program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramMap {
    pub number: u16,
    pub clock_pid: u16,
    pub descriptors: Vec<u8>,
    pub streams: Vec<ProgramEntry>,
}

/// One stream of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramEntry {
    pub kind: u8,
    pub pid: u16,
    pub descriptors: Vec<u8>,
}

/// Puts sections together from the packets of one PID.
#[derive(Debug, Default)]
pub struct Sections {
    bytes: Vec<u8>,
}

impl Sections {
    /// Returns a section that is complete now. Only the first one that starts in a packet is examined.
    pub fn take(&mut self, starts: bool, payload: &[u8]) -> Option<Vec<u8>> {
        if starts {
            let pointer = usize::from(*payload.first()?);
            // The end of the previous section lies before the byte that the pointer points to.
            let before = payload.get(1..1 + pointer).unwrap_or_default();
            let finished = self.push(before);
            self.bytes.clear();
            let next = self.push(payload.get(1 + pointer..).unwrap_or_default());
            return finished.or(next);
        }
        self.push(payload)
    }

    fn push(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        if self.bytes.is_empty() && payload.first().is_none_or(|table| *table == 0xff) {
            return None;
        }
        self.bytes.extend_from_slice(payload);
        let head = self.bytes.get(..3)?;
        let len = 3 + usize::from(u16::from_be_bytes([head[1] & 0x0f, head[2]]));
        if len > MAX_SECTION {
            self.bytes.clear();
            return None;
        }
        let section = self.bytes.get(..len)?.to_vec();
        self.bytes.clear();
        // Over a whole section the sum is 0.
        (len >= LONG_HEAD + CHECKSUM && checksum(&section) == 0).then_some(section)
    }
}

/// Returns the body of a section that is currently valid and the only one of its table.
fn body(section: &[u8], table: u8) -> Option<&[u8]> {
    let head = section.get(..LONG_HEAD)?;
    let is_it = head[0] == table && head[5] & 1 == 1 && head[6..] == [0, 0];
    let end = section.len().checked_sub(CHECKSUM)?;
    is_it.then(|| section.get(LONG_HEAD..end)).flatten()
}

/// Returns the numbers of the programs, each with the PID of its table.
#[must_use]
pub fn programs(section: &[u8]) -> Option<Vec<(u16, u16)>> {
    let entries = body(section, 0)?.chunks_exact(4);
    let all = entries.map(|entry| {
        let number = u16::from_be_bytes([entry[0], entry[1]]);
        (number, u16::from_be_bytes([entry[2] & 0x1f, entry[3]]))
    });
    // Number 0 names the network's own table.
    Some(all.filter(|(number, _)| *number != 0).collect())
}

/// Returns the program that a section describes.
#[must_use]
pub fn program(section: &[u8]) -> Option<ProgramMap> {
    let body = body(section, 2)?;
    let number = u16::from_be_bytes([section[3], section[4]]);
    let clock_pid = u16::from_be_bytes([body.first()? & 0x1f, *body.get(1)?]);
    let (descriptors, mut rest) = described(body.get(2..)?)?;
    let mut streams = Vec::new();
    while let [kind, high, low, more @ ..] = rest {
        let (found, behind) = described(more)?;
        streams.push(ProgramEntry {
            kind: *kind,
            pid: u16::from_be_bytes([high & 0x1f, *low]),
            descriptors: found.to_vec(),
        });
        rest = behind;
    }
    Some(ProgramMap {
        number,
        clock_pid,
        descriptors: descriptors.to_vec(),
        streams,
    })
}

/// Splits off descriptors with their length before them, and returns them and the rest.
fn described(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = usize::from(u16::from_be_bytes([bytes.first()? & 0x0f, *bytes.get(1)?]));
    bytes.get(2..)?.split_at_checked(len)
}

/// Returns the packets that hold `section`, with counters from 0.
#[must_use]
pub fn packets(pid: u16, section: &[u8]) -> Vec<u8> {
    let [high, low] = pid.to_be_bytes();
    // The pointer byte 0: the section starts right behind it.
    let payload = [&[0][..], section].concat();
    let mut packets = Vec::new();
    for (number, part) in payload.chunks(PACKET - HEAD).enumerate() {
        let start = if number == 0 { 0x40 } else { 0 };
        packets.extend([SYNC, start | high, low, 0x10 | (number & 15) as u8]);
        packets.extend_from_slice(part);
        packets.resize((number + 1) * PACKET, 0xff);
    }
    packets
}

/// Returns the table packets of a stream that has only `program`, with its table at `pid`. `None` where
/// the table would be larger than allowed.
#[must_use]
pub fn write(program: &ProgramMap, pid: u16) -> Option<Vec<u8>> {
    let [number_high, number_low] = program.number.to_be_bytes();
    let [pid_high, pid_low] = (0xe000 | pid).to_be_bytes();
    let all = section(0, 1, &[number_high, number_low, pid_high, pid_low])?;
    let mut body = (0xe000 | program.clock_pid).to_be_bytes().to_vec();
    let put = |body: &mut Vec<u8>, descriptors: &[u8]| {
        body.extend((0xf000 | descriptors.len() as u16).to_be_bytes());
        body.extend_from_slice(descriptors);
    };
    put(&mut body, &program.descriptors);
    for stream in &program.streams {
        body.push(stream.kind);
        body.extend((0xe000 | stream.pid).to_be_bytes());
        put(&mut body, &stream.descriptors);
    }
    let of_program = section(2, program.number, &body)?;
    let mut bytes = packets(PAT_PID, &all);
    bytes.extend(packets(pid, &of_program));
    Some(bytes)
}

/// Writes a section of version 0, the only one of its table.
fn section(table: u8, id: u16, body: &[u8]) -> Option<Vec<u8>> {
    let len = u16::try_from(body.len() + LONG_HEAD - 3 + CHECKSUM).ok()?;
    if usize::from(len) + 3 > MAX_SECTION {
        return None;
    }
    let [high, low] = (0xb000 | len).to_be_bytes();
    let [id_high, id_low] = id.to_be_bytes();
    let mut bytes = vec![table, high, low, id_high, id_low, 0xc1, 0, 0];
    bytes.extend_from_slice(body);
    let sum = checksum(&bytes);
    bytes.extend(sum.to_be_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ProgramMap {
        ProgramMap {
            number: 7,
            clock_pid: 0x100,
            descriptors: b"\x05\x04HDMV".to_vec(),
            streams: vec![
                ProgramEntry {
                    kind: 0x1b,
                    pid: 0x100,
                    descriptors: Vec::new(),
                },
                ProgramEntry {
                    kind: 0x81,
                    pid: 0x101,
                    descriptors: b"\x0a\x04eng\0".to_vec(),
                },
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let packets = write(&sample(), 0x20).unwrap();
        assert_eq!(packets.len(), 2 * PACKET);
        let first = Sections::default().take(true, &packets[4..PACKET]).unwrap();
        assert_eq!(programs(&first), Some(vec![(7, 0x20)]));
        let second = Sections::default()
            .take(true, &packets[PACKET + 4..])
            .unwrap();
        assert_eq!(program(&second), Some(sample()));
    }

    #[test]
    fn a_section_comes_in_pieces_and_damage_is_none() {
        let mut long = sample();
        long.streams = (0..40)
            .map(|n| ProgramEntry {
                pid: 0x100 + n,
                ..long.streams[1].clone()
            })
            .collect();
        let more = write(&long, 0x20).unwrap();
        assert_eq!(more.len(), 4 * PACKET);
        let mut sections = Sections::default();
        let found = more
            .chunks(PACKET)
            .skip(1)
            .enumerate()
            .find_map(|(number, packet)| {
                assert_eq!(usize::from(packet[3] & 15), number);
                sections.take(number == 0, &packet[4..])
            });
        assert_eq!(program(&found.unwrap()), Some(long.clone()));
        long.streams = (0..400)
            .map(|n| ProgramEntry {
                pid: n,
                ..long.streams[1].clone()
            })
            .collect();
        assert_eq!(write(&long, 0x20), None);
        let packets = write(&sample(), 0x20).unwrap();
        let section = Sections::default().take(true, &packets[4..PACKET]).unwrap();
        let mut sections = Sections::default();
        assert_eq!(
            sections.take(true, &[&[0][..], &section[..9]].concat()),
            None
        );
        assert_eq!(sections.take(false, &section[9..]), Some(section.clone()));
        for at in 0..section.len() {
            for bit in 0..8 {
                let mut bad = section.clone();
                bad[at] ^= 1 << bit;
                let mut sections = Sections::default();
                assert_eq!(sections.take(true, &[&[0][..], &bad].concat()), None);
                // The table parsers must also survive damage that the checksum would not catch.
                let _ = (programs(&bad), program(&bad));
            }
        }
        for cut in 0..section.len() {
            let _ = (programs(&section[..cut]), program(&section[..cut]));
        }
    }
}
