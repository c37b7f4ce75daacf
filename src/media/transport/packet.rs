//! Packets of 188 bytes: program tables, and PES packets cut into a number of packets that was
//! fixed before their bytes were known. ISO/IEC 13818-1 (H.222.0); section numbers are its own.

use super::elementary::Elementary;

/// Bytes of a packet.
pub const PACKET: u64 = 188;
/// Bytes of a packet behind its header.
const ROOM: usize = 184;
/// Adaptation field of a PES packet's first packet: length, flags, PCR.
pub const CLOCK_FIELD: usize = 8;
/// PID of the only program's table.
const PROGRAM_MAP_PID: u16 = 0x1000;
const PROGRAM: u16 = 1;
const VIDEO_PID: u16 = 0x100;
const AUDIO_PID: u16 = 0x101;
/// Lead of the clock before the decoding time that it announces, in 1/90000 s: 0.7 s.
const CLOCK_LEAD: u64 = 63_000;

/// Returns the bytes of a PES header (§2.4.3.7). Video has two time stamps, audio one.
#[must_use]
pub const fn header_size(elementary: &Elementary) -> usize {
    if elementary.is_video() { 19 } else { 14 }
}

/// Times of a PES packet in 1/90000 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamps {
    pub decode: u64,
    pub show: u64,
}

const fn pid(elementary: &Elementary) -> u16 {
    if elementary.is_video() {
        VIDEO_PID
    } else {
        AUDIO_PID
    }
}

/// Writes the tables at the start of a segment (§2.4.4.3, §2.4.4.8): two packets.
#[must_use]
pub fn tables(elementary: &Elementary, counter: u64) -> Vec<u8> {
    let [program_high, program_low] = PROGRAM.to_be_bytes();
    let [map_high, map_low] = (0xe000 | PROGRAM_MAP_PID).to_be_bytes();
    let association = section(0, 1, &[program_high, program_low, map_high, map_low]);
    let [pid_high, pid_low] = (0xe000 | pid(elementary)).to_be_bytes();
    let descriptor = match elementary.registration() {
        Some(name) => [&[0x05, 4][..], name].concat(),
        None => Vec::new(),
    };
    // The PCR PID, no descriptors of the program, and the one stream.
    let mut body = vec![pid_high, pid_low, 0xf0, 0, elementary.stream_type()];
    body.extend([pid_high, pid_low, 0xf0, low_byte(descriptor.len())]);
    body.extend(descriptor);
    let map = section(2, PROGRAM, &body);
    let mut packets = table_packet(0, counter, &association);
    packets.extend(table_packet(PROGRAM_MAP_PID, counter, &map));
    packets
}

/// Writes a section of version 0, the only one of its table.
fn section(table: u8, id: u16, body: &[u8]) -> Vec<u8> {
    const BEHIND_LENGTH: usize = 5 + 4;
    let [id_high, id_low] = id.to_be_bytes();
    let length = low_byte(body.len() + BEHIND_LENGTH);
    let mut bytes = vec![table, 0xb0, length, id_high, id_low, 0xc1, 0, 0];
    bytes.extend_from_slice(body);
    let checksum = checksum(&bytes);
    bytes.extend(checksum.to_be_bytes());
    bytes
}

fn table_packet(pid: u16, counter: u64, section: &[u8]) -> Vec<u8> {
    let mut packet = head(pid, true, 0x10, counter).to_vec();
    packet.push(0);
    packet.extend_from_slice(section);
    packet.resize(PACKET as usize, 0xff);
    packet
}

/// Returns the checksum of annex A.
pub fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

const fn low_byte(value: usize) -> u8 {
    (value & 0xff) as u8
}

/// Writes a packet's header (§2.4.3.2). `field` announces an adaptation field, a payload, or both.
const fn head(pid: u16, starts: bool, field: u8, counter: u64) -> [u8; 4] {
    let [high, low] = pid.to_be_bytes();
    let start = if starts { 0x40 } else { 0 };
    [0x47, start | high, low, field | (counter & 15) as u8]
}

/// Writes the header of a PES packet with `payload` bytes.
#[must_use]
pub fn pes_header(elementary: &Elementary, stamps: Stamps, payload: usize) -> Vec<u8> {
    let (id, flags) = match elementary {
        Elementary::Pictures { .. } => (0xe0, 0xc0),
        Elementary::Aac(_) | Elementary::Mpeg => (0xc0, 0x80),
        // Private stream 1
        Elementary::Ac3 | Elementary::EAc3 => (0xbd, 0x80),
    };
    let size = header_size(elementary);
    // A length that does not fit is written as 0, which is allowed for video.
    let length = u16::try_from(payload + size - 6).unwrap_or(0);
    let mut bytes = vec![0, 0, 1, id];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0x84, flags, low_byte(size - 9)]);
    if elementary.is_video() {
        bytes.extend(time_stamp(3, stamps.show));
        bytes.extend(time_stamp(1, stamps.decode));
    } else {
        bytes.extend(time_stamp(2, stamps.show));
    }
    bytes
}

/// Writes the 33 bits of a time stamp among marker bits.
fn time_stamp(mark: u8, time: u64) -> [u8; 5] {
    let bits = |shift: u32| (time >> shift & 0xff) as u8;
    [
        mark << 4 | bits(29) & 0x0e | 1,
        bits(22),
        bits(14) | 1,
        bits(7),
        bits(0) << 1 | 1,
    ]
}

/// Writes an adaptation field (§2.4.3.5): length, flags, and the clock of 33 bits in 1/90000 s.
fn clock_field(decode: u64, is_key: bool) -> [u8; CLOCK_FIELD] {
    let clock = decode.wrapping_sub(CLOCK_LEAD);
    let bits = |shift: u32| (clock >> shift & 0xff) as u8;
    let random_access = if is_key { 0x40 } else { 0 };
    [
        7,
        0x10 | random_access,
        bits(25),
        bits(17),
        bits(9),
        bits(1),
        bits(0) << 7 | 0x7e,
        0,
    ]
}

/// Cuts `pes` into exactly `count` packets. Its bytes are spread so that each packet has at least one:
/// packets without a payload are not counted, and the counters of later packets are fixed.
pub fn cut(
    elementary: &Elementary,
    pes: &[u8],
    stamps: Stamps,
    is_key: bool,
    (counter, count): (u64, u64),
    output: &mut Vec<u8>,
) {
    let pid = pid(elementary);
    let mut rest = pes;
    for number in 0..count {
        let mut field = Vec::new();
        if number == 0 {
            field.extend(clock_field(stamps.decode, is_key));
        }
        let behind = usize::try_from(count - number - 1).unwrap_or(usize::MAX);
        let take = (ROOM - field.len()).min(rest.len().saturating_sub(behind));
        let (payload, next) = rest.split_at(take);
        rest = next;
        stuff(&mut field, ROOM - take);
        let kind = if field.is_empty() { 0x10 } else { 0x30 };
        output.extend(head(pid, number == 0, kind, counter + number));
        output.extend_from_slice(&field);
        output.extend_from_slice(payload);
    }
}

/// Lengthens an adaptation field to `size` bytes, its length included.
fn stuff(field: &mut Vec<u8>, size: usize) {
    if size == field.len() {
        return;
    }
    if field.is_empty() {
        field.push(0);
        if size > 1 {
            field.push(0);
        }
    }
    field.resize(size, 0xff);
    field[0] = low_byte(size - 1);
}

/// Returns the packets that a PES packet of `bytes`, its header included, takes.
#[must_use]
pub fn count(bytes: u64) -> u64 {
    (bytes + CLOCK_FIELD as u64).div_ceil(ROOM as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_checksum_that_a_reader_computes() {
        let packets = tables(&Elementary::Ac3, 3);
        assert_eq!(packets.len(), 376);
        for packet in packets.chunks(188) {
            assert_eq!((packet[0], packet[3]), (0x47, 0x13));
            let length = 3 + usize::from(packet[7]);
            // Over a whole section the sum is 0.
            assert_eq!(checksum(&packet[5..5 + length]), 0);
        }
    }

    #[test]
    fn any_number_of_bytes_fills_any_possible_number_of_packets() {
        for (bytes, counts) in [(24, 1..=12), (176, 1..=2), (177, 2..=3), (5000, 28..=30)] {
            let pes: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
            for count in counts {
                let mut output = Vec::new();
                let stamps = Stamps {
                    decode: 1 << 33,
                    show: (1 << 33) + 5,
                };
                cut(
                    &Elementary::Mpeg,
                    &pes,
                    stamps,
                    true,
                    (14, count),
                    &mut output,
                );
                assert_eq!(output.len() as u64, count * 188);
                let mut found = Vec::new();
                for (number, packet) in output.chunks(188).enumerate() {
                    assert_eq!(usize::from(packet[3] & 15), (14 + number) % 16);
                    let field = match packet[3] >> 4 {
                        1 => 0,
                        _ => usize::from(packet[4]) + 1,
                    };
                    assert!(field < 184, "a packet without payload is not counted");
                    found.extend_from_slice(&packet[4 + field..]);
                }
                assert!(found == pes, "{bytes} bytes in {count} packets");
            }
        }
    }

    #[test]
    fn times_have_their_bits_among_the_markers() {
        assert_eq!(time_stamp(2, 0x1_ffff_ffff), [0x2f, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(time_stamp(3, 900_000), [0x31, 0x00, 0x37, 0x77, 0x41]);
        // The clock leads by 0.7 s, in 33 bits.
        let field = clock_field(900_000, true);
        assert_eq!(field[..2], [7, 0x50]);
        let base = u64::from(u32::from_be_bytes(field[2..6].try_into().unwrap())) << 1
            | u64::from(field[6] >> 7);
        assert_eq!(base, 837_000);
    }
}
