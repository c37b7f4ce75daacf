//! Examines the start of a picture in a PES packet. It finds out if decoding can begin there, and the
//! name of the coding (RFC 6381 §3.3). It uses start codes alone and decodes nothing.

use std::fmt::Write as _;

use crate::media::mp4::captions::CaptionDetector;

/// Coding of pictures, given by the stream's kind in the program's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoCoding {
    /// MPEG-1 and MPEG-2.
    Mpeg,
    Mpeg4,
    Avc,
    Hevc,
    Vc1,
}

/// Kind of picture that starts with a PES packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// A key frame behind which nothing refers to anything before it.
    Independent,
    /// A key frame. Pictures shown before it may need earlier ones.
    Key,
    /// Another picture, or the middle of one.
    Other,
}

impl VideoCoding {
    /// Returns the coding of a kind by ISO/IEC 13818-1 table 2-34, and for the kinds that Blu-rays use.
    #[must_use]
    pub const fn of(kind: u8) -> Option<Self> {
        match kind {
            0x01 | 0x02 => Some(Self::Mpeg),
            0x10 => Some(Self::Mpeg4),
            0x1b => Some(Self::Avc),
            0x24 => Some(Self::Hevc),
            0xea => Some(Self::Vc1),
            _ => None,
        }
    }

    /// Returns the kind of picture that starts with `bytes`. Bytes behind the first part of a picture do not
    /// matter.
    #[must_use]
    pub fn start(self, bytes: &[u8]) -> Start {
        let mut units = units(bytes).peekable();
        // A packet that continues a picture is no place to cut at.
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let begins = zeros >= 2
            && bytes.get(zeros) == Some(&1)
            && units.peek().is_some_and(|unit| self.is_head(unit));
        if !begins {
            return Start::Other;
        }
        match self {
            Self::Avc => avc(units),
            Self::Hevc => hevc(units),
            Self::Mpeg => mpeg(units),
            Self::Mpeg4 => mpeg4(units),
            // Entry points of VC-1 are sequence headers.
            Self::Vc1 => Start::Key,
        }
    }

    /// Gives `detector` the messages before the first slice of a picture.
    pub fn detect_captions(self, bytes: &[u8], detector: &mut CaptionDetector) {
        const AVC_MESSAGE: u8 = 6;
        const HEVC_MESSAGE: u8 = 39;
        const USER_DATA: u8 = 0xb2;
        for unit in units(bytes) {
            let Some(&first) = unit.first() else {
                continue;
            };
            match (self, first & 0x1f, first >> 1 & 0x3f) {
                (Self::Avc, 1..=5, _) | (Self::Hevc, _, 0..=31) => break,
                (Self::Avc, AVC_MESSAGE, _) => detector.take(unit, 1),
                (Self::Hevc, _, HEVC_MESSAGE) => detector.take(unit, 2),
                (Self::Mpeg, ..) if (0x01..=0xaf).contains(&first) => break,
                (Self::Mpeg, ..) if first == USER_DATA => detector.take_user_data(&unit[1..]),
                _ => {}
            }
        }
    }

    /// Returns true if a unit can be the first of a key frame.
    fn is_head(self, unit: &[u8]) -> bool {
        let Some(&first) = unit.first() else {
            return false;
        };
        match self {
            Self::Avc => matches!(first & 0x1f, 5..=9),
            Self::Hevc => matches!(first >> 1 & 0x3f, 16..=21 | 32..=35 | 39),
            Self::Mpeg => first == 0xb3,
            Self::Mpeg4 => matches!(first, 0xb0 | 0xb5 | 0xb6) || first < 0x30,
            Self::Vc1 => first == 0x0f,
        }
    }

    /// Returns the name of the coding, from the start of a key frame.
    #[must_use]
    pub fn name(self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Mpeg => Some("mp4v.61".to_owned()),
            Self::Mpeg4 => Some("mp4v.20".to_owned()),
            Self::Vc1 => Some("vc-1".to_owned()),
            Self::Avc => {
                let set = units(bytes).find(|unit| unit.first().is_some_and(|b| b & 0x1f == 7))?;
                let [profile, limits, level] = *set.get(1..4)? else {
                    return None;
                };
                Some(format!("avc1.{profile:02x}{limits:02x}{level:02x}"))
            }
            Self::Hevc => {
                let is_set = |unit: &&[u8]| unit.first().is_some_and(|b| b >> 1 & 0x3f == 33);
                hevc_name(&unescaped(units(bytes).find(is_set)?))
            }
        }
    }
}

/// Iterates over the units between start codes (00 00 01).
fn units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    const CODE: &[u8] = &[0, 0, 1];
    let mut rest = memchr::memmem::find(bytes, CODE).map(|at| &bytes[at + CODE.len()..]);
    std::iter::from_fn(move || {
        let now = rest?;
        let end = memchr::memmem::find(now, CODE);
        rest = end.map(|at| &now[at + CODE.len()..]);
        Some(&now[..end.unwrap_or(now.len())])
    })
}

fn avc<'a>(units: impl Iterator<Item = &'a [u8]>) -> Start {
    /// Kind of the message that marks a place where decoding may begin (annex D.1).
    const RECOVERY_POINT: u8 = 6;
    let mut recovers = false;
    for unit in units {
        match unit.first().map(|first| first & 0x1f) {
            Some(5) => return Start::Independent,
            // Slices of other pictures
            Some(1..=4) => break,
            Some(6) => recovers |= messages(unit).any(|kind| kind == RECOVERY_POINT),
            _ => {}
        }
    }
    if recovers { Start::Key } else { Start::Other }
}

/// Iterates over the kinds of the messages in a unit of supplemental information (H.264 §7.3.2.3.1).
fn messages(unit: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = unit.get(1..).unwrap_or_default();
    std::iter::from_fn(move || {
        // A one bit and zeros follow the last message.
        if rest.len() < 2 || rest[0] == 0x80 {
            return None;
        }
        let kind = rest[0];
        let number = rest.get(1..)?;
        let full = number.iter().take_while(|byte| **byte == 0xff).count();
        let size = full * 255 + usize::from(*number.get(full)?);
        rest = number.get(full + 1 + size..).unwrap_or_default();
        Some(kind)
    })
}

fn hevc<'a>(units: impl Iterator<Item = &'a [u8]>) -> Start {
    for unit in units {
        match unit.first().map(|first| first >> 1 & 0x3f) {
            Some(16..=20) => return Start::Independent,
            Some(21) => return Start::Key,
            Some(0..=15) => break,
            _ => {}
        }
    }
    Start::Other
}

fn mpeg<'a>(units: impl Iterator<Item = &'a [u8]>) -> Start {
    const PICTURE: u8 = 0x00;
    const GROUP: u8 = 0xb8;
    let mut found = Start::Key;
    for unit in units {
        match unit.first() {
            // The bit behind the time code is set if the group is closed.
            Some(&GROUP) if unit.get(4).is_some_and(|byte| byte & 0x40 != 0) => {
                found = Start::Independent;
            }
            Some(&PICTURE) => {
                let is_intra = unit.get(2).is_some_and(|byte| byte >> 3 & 7 == 1);
                return if is_intra { found } else { Start::Other };
            }
            _ => {}
        }
    }
    Start::Other
}

fn mpeg4<'a>(mut units: impl Iterator<Item = &'a [u8]>) -> Start {
    const PICTURE: u8 = 0xb6;
    let picture = units.find(|unit| unit.first() == Some(&PICTURE));
    let is_intra = picture
        .and_then(|unit| unit.get(1))
        .is_some_and(|byte| byte >> 6 == 0);
    if is_intra { Start::Key } else { Start::Other }
}

/// Returns a unit without the bytes that keep start codes out of it.
fn unescaped(unit: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for byte in unit {
        if *byte == 3 && zeros >= 2 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        bytes.push(*byte);
    }
    bytes
}

/// Returns the name of ISO/IEC 14496-15 annex E.3, from a sequence parameter set.
fn hevc_name(set: &[u8]) -> Option<String> {
    // Two bytes of the unit's head and one of ids come before profile, tier and level.
    let [first, compatible @ ..] = set.get(3..15)? else {
        return None;
    };
    let (compatible, more) = compatible.split_first_chunk::<4>()?;
    let (limits, level) = more.split_at_checked(6)?;
    let space = ["", "A", "B", "C"][usize::from(first >> 6)];
    let tier = if first & 0x20 == 0 { 'L' } else { 'H' };
    let reversed = u32::from_be_bytes(*compatible).reverse_bits();
    let mut name = format!(
        "hvc1.{space}{}.{reversed:X}.{tier}{}",
        first & 0x1f,
        level.first()?
    );
    let used = limits
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    for byte in &limits[..used] {
        let _infallible = write!(name, ".{byte:X}");
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units_of(list: &[&[u8]]) -> Vec<u8> {
        list.iter()
            .flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat())
            .collect()
    }

    #[test]
    fn key_frames_are_known() {
        let delimiter: &[u8] = &[9, 0xf0];
        let set: &[u8] = &[0x67, 0x64, 0, 0x1e, 0xac];
        let idr = units_of(&[delimiter, set, &[0x68, 1], &[0x65, 0x88]]);
        assert_eq!(VideoCoding::Avc.start(&idr), Start::Independent);
        assert_eq!(VideoCoding::Avc.name(&idr).as_deref(), Some("avc1.64001e"));
        let recovery = units_of(&[
            delimiter,
            set,
            &[6, 5, 2, 7, 7, 6, 1, 0xc4, 0x80],
            &[0x41, 1],
        ]);
        assert_eq!(VideoCoding::Avc.start(&recovery), Start::Key);
        let other = units_of(&[delimiter, &[6, 1, 1, 6, 0x80], &[0x41, 1], &[0x65, 1]]);
        assert_eq!(VideoCoding::Avc.start(&other), Start::Other);
        // The rest of a picture followed by a key frame is no place to cut at.
        assert_eq!(
            VideoCoding::Avc.start(&[&[0x55, 3][..], &idr].concat()),
            Start::Other
        );
        let mpeg = |closed: u8, kind: u8| {
            units_of(&[&[0xb3, 1], &[0xb8, 0, 8, 0, closed], &[0, 0, kind << 3, 0]])
        };
        assert_eq!(VideoCoding::Mpeg.start(&mpeg(0x40, 1)), Start::Independent);
        assert_eq!(VideoCoding::Mpeg.start(&mpeg(0, 1)), Start::Key);
        assert_eq!(VideoCoding::Mpeg.start(&mpeg(0x40, 2)), Start::Other);
        assert_eq!(
            VideoCoding::Hevc.start(&units_of(&[&[0x46, 1, 0x50], &[0x2a, 1]])),
            Start::Key
        );
        assert_eq!(
            VideoCoding::Hevc.start(&units_of(&[&[0x40, 1], &[0x26, 1]])),
            Start::Independent
        );
    }

    #[test]
    fn hevc_has_its_long_name() {
        let set = [
            0x42, 1, 1, 2, 0x20, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x3f, 0xa0,
        ];
        let name = VideoCoding::Hevc.name(&units_of(&[&set]));
        assert_eq!(name.as_deref(), Some("hvc1.2.4.L63.90"));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        let mut state = 3_u64;
        for round in 0..20_000 {
            let bytes: Vec<u8> = (0..round % 90)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    // Small numbers produce start codes.
                    if state >> 63 == 0 {
                        (state >> 40) as u8 & 1
                    } else {
                        (state >> 48) as u8
                    }
                })
                .collect();
            for coding in [
                VideoCoding::Avc,
                VideoCoding::Hevc,
                VideoCoding::Mpeg,
                VideoCoding::Mpeg4,
                VideoCoding::Vc1,
            ] {
                let _ = (coding.start(&bytes), coding.name(&bytes));
            }
        }
    }
}
