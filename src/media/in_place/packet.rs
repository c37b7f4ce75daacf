//! Parser for packets and PES headers of a transport stream. Section numbers are those of ISO/IEC
//! 13818-1 (H.222.0). It trusts no byte.

/// Bytes of a packet.
pub const PACKET: usize = 188;
/// First byte of each packet.
pub const SYNC: u8 = 0x47;
/// PID of null packets, which carry nothing.
pub const NULL_PID: u16 = 0x1fff;
/// PID of the table that names all programs.
pub const PAT_PID: u16 = 0;

/// Header fields and payload of a packet (§2.4.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    pub pid: u16,
    /// True if a PES packet or a section starts in it.
    pub starts: bool,
    pub scrambled: bool,
    pub counter: u8,
    /// Payload behind the adaptation field, or empty where there is none.
    pub payload: &'a [u8],
}

/// Parses a packet. Returns `None` where `bytes` is no packet.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    let bytes = bytes.get(..PACKET)?;
    if bytes[0] != SYNC {
        return None;
    }
    let field = match bytes[3] & 0x20 {
        0 => 0,
        _ => 1 + usize::from(bytes[4]),
    };
    let payload = match bytes[3] & 0x10 {
        0 => &[],
        // A length that points behind the packet leaves no payload.
        _ => bytes.get(4 + field..).unwrap_or_default(),
    };
    Some(Packet {
        pid: u16::from_be_bytes([bytes[1] & 0x1f, bytes[2]]),
        starts: bytes[1] & 0x40 != 0,
        scrambled: bytes[3] & 0xc0 != 0,
        counter: bytes[3] & 0x0f,
        payload,
    })
}

/// A PES header (§2.4.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PesHeader {
    /// Time stamps in 1/90000 s, of 33 bits.
    pub show: Option<u64>,
    pub decode: Option<u64>,
    /// Bytes of the header.
    pub len: usize,
    /// Bytes of header and payload; `None` where the header does not announce them.
    pub total: Option<usize>,
}

/// Parses the header at the start of `payload`; `None` where there is no complete one.
#[must_use]
pub fn pes_header(payload: &[u8]) -> Option<PesHeader> {
    const FIXED: usize = 9;
    let head = payload.get(..FIXED)?;
    if head[..3] != [0, 0, 1] || head[6] & 0xc0 != 0x80 {
        return None;
    }
    let len = FIXED + usize::from(head[8]);
    let fields = payload.get(FIXED..len.min(payload.len()))?;
    let flags = head[7] >> 6;
    let show = (flags & 2 != 0).then(|| time_stamp(fields)).flatten();
    let decode = match flags {
        3 => fields.get(5..).and_then(time_stamp),
        _ => None,
    };
    let announced = usize::from(u16::from_be_bytes([head[4], head[5]]));
    Some(PesHeader {
        show,
        decode: decode.or(show),
        len,
        total: (announced > 0).then_some(announced + 6),
    })
}

/// Reads the 33 bits of a time stamp from among marker bits (§2.4.3.7).
fn time_stamp(bytes: &[u8]) -> Option<u64> {
    let bytes = bytes.get(..5)?;
    let part = |at: usize| u64::from(bytes[at]);
    Some(
        (part(0) >> 1 & 7) << 30
            | part(1) << 22
            | (part(2) >> 1) << 15
            | part(3) << 7
            | part(4) >> 1,
    )
}

/// Returns the distance from `from` to `to`, both of 33 bits, by the shorter way round.
#[must_use]
pub const fn step(from: u64, to: u64) -> i64 {
    const BITS: u32 = 64 - 33;
    // The highest of the 33 bits becomes the sign.
    (to.wrapping_sub(from) << BITS).cast_signed() >> BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_go_the_shorter_way_round() {
        assert_eq!(step(5, 9), 4);
        assert_eq!(step(9, 5), -4);
        assert_eq!(step((1 << 33) - 1, 2), 3);
        assert_eq!(step(2, (1 << 33) - 1), -3);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        let mut state = 7_u64;
        for _ in 0..20_000 {
            let mut bytes = [0_u8; PACKET];
            for byte in &mut bytes {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                *byte = (state >> 56) as u8;
            }
            bytes[0] = SYNC;
            let packet = parse(&bytes).unwrap();
            let _ = pes_header(packet.payload);
            bytes[3] = 0x30;
            let mut pes = bytes;
            pes[4] = 0;
            pes[5..8].copy_from_slice(&[0, 0, 1]);
            pes[11] = 0x80;
            for cut in 0..64 {
                let _ = pes_header(&pes[5..5 + cut]);
            }
        }
        assert_eq!(parse(&[SYNC; 187]), None);
        assert_eq!(parse(&[0; 188]), None);
    }

    #[test]
    fn time_stamps_are_found() {
        let pes = [
            0, 0, 1, 0xe0, 0, 20, 0x80, 0xc0, 10, 0x31, 0, 0x37, 0x77, 0x41, 0x11, 0, 1, 0, 3, 9,
        ];
        let header = pes_header(&pes).unwrap();
        assert_eq!(header.show, Some(900_000));
        assert_eq!(header.decode, Some(1));
        assert_eq!((header.len, header.total), (19, Some(26)));
        assert_eq!(pes_header(&pes[..12]).unwrap().show, None);
    }
}
