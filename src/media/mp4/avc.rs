//! Parameter sets of H.264 (ITU-T H.264 §7.3.2) and the box that holds them, `avcC` (ISO/IEC
//! 14496-15 §5.3.3.1), as far as a second pair of sets beside the first needs it.

use super::bits::{Bits, without_prevention};
use super::boxes;

/// Sequence parameter sets of one stream have numbers below this (§7.4.2.1.1).
const MAX_SPS_ID: u32 = 31;
/// Bytes before the child boxes of a visual sample entry.
const VISUAL_FIELDS: usize = 78;
/// Boxes that lead to the sample entry in a `trak`. The entry holds `avcC`.
const TO_STSD: [&[u8; 4]; 4] = [b"mdia", b"minf", b"stbl", b"stsd"];
/// Code before a NAL unit in a byte stream.
const START_CODE: [u8; 4] = [0, 0, 0, 1];
const SPS: u8 = 7;
const PPS: u8 = 8;
/// Bytes of a sequence parameter set before its Exp-Golomb codes: NAL header, profile, constraints, level.
pub(super) const SPS_HEAD: usize = 4;

/// Parameter sets of an `avcC` box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sets {
    /// Version, profile, constraints, level, length of lengths.
    head: [u8; 5],
    pub sequence: Vec<Vec<u8>>,
    pub picture: Vec<Vec<u8>>,
    /// Fields that the high profiles have behind the sets.
    tail: Vec<u8>,
}

/// Fields of a sequence parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    pub profile: u8,
    pub level: u8,
    pub id: u32,
    /// Frames that pictures refer to.
    pub references: u32,
    /// True for 4:2:0 with 8 bits.
    pub is_plain: bool,
    /// True if pictures are never fields.
    pub is_progressive: bool,
}

/// Reads the sets of the first sample description of a `trak`.
#[must_use]
pub fn of_trak(trak: &[u8]) -> Option<Sets> {
    let stsd = boxes::find(trak.get(8..)?, &TO_STSD)?;
    let entry = boxes::iterate(stsd.body.get(8..)?).next()?;
    let avcc = boxes::find(entry.body.get(VISUAL_FIELDS..)?, &[b"avcC"])?;
    Sets::parse(avcc.body)
}

/// Returns the `trak` with these sets in place of its own.
#[must_use]
pub fn with_sets(trak: &[u8], sets: &Sets) -> Option<Vec<u8>> {
    let path: Vec<&[u8; 4]> = TO_STSD.into_iter().chain([b"avc1", b"avcC"]).collect();
    replaced(trak, &path, &sets.to_avcc()?)
}

/// Returns the box `whole` with `body` in place of the body of the box that `path` leads to.
fn replaced(whole: &[u8], path: &[&[u8; 4]], body: &[u8]) -> Option<Vec<u8>> {
    let this = boxes::iterate(whole).next()?;
    let Some((next, rest)) = path.split_first() else {
        return Some(boxes::write(&this.kind, &[body]));
    };
    let fields = match &this.kind {
        b"stsd" => 8,
        b"avc1" => VISUAL_FIELDS,
        _ => 0,
    };
    let mut found = false;
    let mut parts = vec![this.body.get(..fields)?.to_vec()];
    for child in boxes::iterate(this.body.get(fields..)?) {
        if !found && &child.kind == *next {
            found = true;
            parts.push(replaced(child.whole, rest, body)?);
        } else {
            parts.push(child.whole.to_vec());
        }
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    found.then(|| boxes::write(&this.kind, &parts))
}

impl Sets {
    fn parse(avcc: &[u8]) -> Option<Self> {
        let head = avcc.get(..5)?.try_into().ok()?;
        let (sequence, at) = units(avcc, 6, avcc.get(5)? & 0x1f)?;
        let (picture, at) = units(avcc, at + 1, *avcc.get(at)?)?;
        Some(Self {
            head,
            sequence,
            picture,
            tail: avcc.get(at..)?.to_vec(),
        })
    }

    fn to_avcc(&self) -> Option<Vec<u8>> {
        let mut bytes = self.head.to_vec();
        let mut put = |first: u8, units: &[Vec<u8>]| -> Option<()> {
            bytes.push(first | u8::try_from(units.len()).ok()?);
            for unit in units {
                bytes.extend(u16::try_from(unit.len()).ok()?.to_be_bytes());
                bytes.extend(unit);
            }
            Some(())
        };
        put(0xe0, &self.sequence)?;
        put(0, &self.picture)?;
        bytes.extend(&self.tail);
        Some(bytes)
    }

    /// Returns a box with the sets of both, whose profile and level cover either.
    #[must_use]
    pub fn joined(&self, other: &Self) -> Self {
        let mut joined = self.clone();
        joined.head[2] &= other.head[2];
        joined.head[3] = self.head[3].max(other.head[3]);
        joined.sequence.extend(other.sequence.iter().cloned());
        joined.picture.extend(other.picture.iter().cloned());
        joined
    }

    /// Returns the name of the stream's codec in RFC 6381.
    #[must_use]
    pub fn codec(&self) -> String {
        let [_, profile, constraints, level, _] = self.head;
        format!("avc1.{profile:02x}{constraints:02x}{level:02x}")
    }

    /// Returns a number that no set has.
    #[must_use]
    pub fn free_id(&self) -> Option<u32> {
        let mut taken: Vec<u32> = Vec::new();
        for set in &self.sequence {
            taken.push(Sequence::parse(set)?.id);
        }
        for set in &self.picture {
            let (id, sequence) = picture_ids(set)?;
            taken.extend([id, sequence]);
        }
        (1..=MAX_SPS_ID).find(|id| !taken.contains(id))
    }
}

/// Returns `count` units from `at`, each of which follows its length, and the offset of their end.
fn units(avcc: &[u8], mut at: usize, count: u8) -> Option<(Vec<Vec<u8>>, usize)> {
    let mut found = Vec::new();
    for _ in 0..count {
        let start = at + 2;
        at = start + usize::from(boxes::be16(avcc, at)?);
        found.push(avcc.get(start..at)?.to_vec());
    }
    Some((found, at))
}

impl Sequence {
    /// Parses a sequence parameter set with its NAL header; `None` when it is cut off.
    #[must_use]
    pub fn parse(unit: &[u8]) -> Option<Self> {
        let bytes = without_prevention(unit.get(SPS_HEAD..)?);
        Self::walk(unit, &mut Bits::of(&bytes))
    }

    /// Reads the fields behind the head of `unit` from `bits`, up to `frame_mbs_only_flag`.
    pub(super) fn walk(unit: &[u8], bits: &mut Bits<'_>) -> Option<Self> {
        /// Profiles whose sets say how pixels are coded (§7.3.2.1.1).
        const WITH_CHROMA: [u8; 13] =
            [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
        let (profile, level) = (*unit.get(1)?, *unit.get(3)?);
        let id = bits.number()?;
        let is_plain = match WITH_CHROMA.contains(&profile) {
            true => walk_chroma(bits)?,
            false => true,
        };
        bits.number()?;
        match bits.number()? {
            0 => {
                bits.number()?;
            }
            1 => {
                bits.flag()?;
                bits.number()?;
                bits.number()?;
                for _ in 0..bits.number()?.min(255) {
                    bits.number()?;
                }
            }
            _ => {}
        }
        let references = bits.number()?;
        bits.flag()?;
        bits.number()?;
        bits.number()?;
        Some(Self {
            profile,
            level,
            id,
            references,
            is_plain,
            is_progressive: bits.flag()?,
        })
    }
}

/// Reads how pixels are coded, and returns true for 4:2:0 with 8 bits.
fn walk_chroma(bits: &mut Bits<'_>) -> Option<bool> {
    let chroma = bits.number()?;
    if chroma == 3 {
        bits.flag()?;
    }
    let is_plain = (chroma, bits.number()?, bits.number()?) == (1, 0, 0);
    bits.flag()?;
    if bits.flag()? {
        for list in 0..if chroma == 3 { 12 } else { 8 } {
            if bits.flag()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(is_plain)
}

/// Returns the number of a picture parameter set, and that of the sequence it belongs to.
fn picture_ids(unit: &[u8]) -> Option<(u32, u32)> {
    let bytes = without_prevention(unit.get(1..)?);
    let mut bits = Bits::of(&bytes);
    Some((bits.number()?, bits.number()?))
}

/// Returns the number of the picture parameter set that a slice refers to (§7.3.3).
fn set_of_slice(unit: &[u8]) -> Option<u32> {
    // The head is three numbers, of which the first may be large.
    const HEAD: usize = 24;
    let bytes = without_prevention(unit.get(1..unit.len().min(HEAD))?);
    let mut bits = Bits::of(&bytes);
    bits.number()?;
    bits.number()?;
    bits.number()
}

/// Selects, from all sets of a stream with start codes, those that a picture needs. With one sequence
/// these are all sets. A player that takes each set for a new beginning must not see two.
#[must_use]
pub fn sets_for<'a>(all: &[u8], mut units: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let sets: Vec<&[u8]> = split(all).collect();
    let of_kind = |kind: u8| sets.iter().filter(move |set| set[0] & 0x1f == kind);
    if of_kind(SPS).count() < 2 {
        return None;
    }
    let slice = units.find(|unit| matches!(unit.first().map(|first| first & 0x1f), Some(1..=5)))?;
    let wanted = set_of_slice(slice)?;
    let picture = of_kind(PPS).find(|set| picture_ids(set).is_some_and(|ids| ids.0 == wanted))?;
    let (_, id) = picture_ids(picture)?;
    let sequence = of_kind(SPS).find(|set| Sequence::parse(set).is_some_and(|set| set.id == id))?;
    Some([&START_CODE[..], sequence, &START_CODE, picture].concat())
}

/// Splits units at start codes of four bytes. Emulation prevention keeps start codes out of the sets.
fn split(all: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = all.strip_prefix(&START_CODE).unwrap_or_default();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memmem::find(rest, &START_CODE);
        let unit = &rest[..end.unwrap_or(rest.len())];
        rest = end.map_or(&[], |end| &rest[end + START_CODE.len()..]);
        Some(unit)
    })
    .filter(|unit| !unit.is_empty())
}

/// Skips a scaling list (§7.3.2.1.1.1).
fn skip_scaling_list(bits: &mut Bits<'_>, size: usize) -> Option<()> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..size {
        if next != 0 {
            let code = i64::from(bits.number()?);
            let delta = if code % 2 == 0 {
                -code / 2
            } else {
                (code + 1) / 2
            };
            next = (last + delta).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets as x264 writes them for 640x360, with the numbers 0 and 1.
    const FIRST: &[u8] = &[
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03,
        0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x30, 0x0f, 0x16, 0x2d, 0x96,
    ];
    const FIRST_PICTURE: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

    /// Replaces number 0 by number 1: the code `1` becomes `010`.
    fn renumbered(unit: &[u8], fields: usize, copies: usize) -> Vec<u8> {
        let mut bits: Vec<bool> = unit[fields..]
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
            .collect();
        bits.splice(0..copies, [false, true, false].repeat(copies));
        let mut bytes = unit[..fields].to_vec();
        for byte in bits.chunks(8) {
            let value = byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit));
            bytes.push(value << (8 - byte.len()));
        }
        bytes
    }

    fn sets(sequence: &[u8], picture: &[u8], level: u8) -> Sets {
        Sets {
            head: [1, 0x64, 0, level, 0xff],
            sequence: vec![sequence.to_vec()],
            picture: vec![picture.to_vec()],
            tail: vec![0xfd, 0xf8, 0xf8, 0],
        }
    }

    #[test]
    fn a_sequence_is_read() {
        let found = Sequence::parse(FIRST).unwrap();
        assert_eq!((found.profile, found.level, found.id), (100, 30, 0));
        assert!(found.is_plain && found.is_progressive);
        assert!((1..=4).contains(&found.references), "{found:?}");
        for cut in 0..9 {
            assert_eq!(Sequence::parse(&FIRST[..cut]), None);
        }
    }

    #[test]
    fn both_sets_stand_in_one_box_and_each_picture_finds_its_own() {
        let first = sets(FIRST, FIRST_PICTURE, 30);
        assert_eq!(first.free_id(), Some(1));
        let (sequence, picture) = (renumbered(FIRST, 4, 1), renumbered(FIRST_PICTURE, 1, 2));
        let second = sets(&sequence, &picture, 31);
        let joined = first.joined(&second);
        assert_eq!(
            (joined.free_id(), joined.codec()),
            (Some(2), "avc1.64001f".into())
        );
        assert_eq!(
            Sets::parse(&joined.to_avcc().unwrap()),
            Some(joined.clone())
        );

        let entry = boxes::write(
            b"avc1",
            &[
                &[0; 78],
                &boxes::write(b"avcC", &[&first.to_avcc().unwrap()]),
                &boxes::write(b"pasp", &[&[0; 8]]),
            ],
        );
        let inner = boxes::write(
            b"stbl",
            &[&boxes::write(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], &entry])],
        );
        let mdia = boxes::write(b"mdia", &[&boxes::write(b"minf", &[&inner])]);
        let trak = boxes::write(b"trak", &[&boxes::write(b"tkhd", &[&[0; 8]]), &mdia]);
        assert_eq!(of_trak(&trak), Some(first.clone()));
        let changed = with_sets(&trak, &joined).unwrap();
        assert_eq!(of_trak(&changed), Some(joined.clone()));
        assert_eq!(with_sets(&changed, &first).unwrap(), trak);

        let stream = |sets: &[&[u8]]| -> Vec<u8> {
            sets.iter()
                .flat_map(|set| [&START_CODE, *set].concat())
                .collect()
        };
        let all = stream(&[FIRST, &sequence, FIRST_PICTURE, &picture]);
        // first_mb 0, slice type 7, and the number of the picture's set.
        let (of_first, of_second) = (
            [0x65, 0b1000_1000, 0b1000_0000],
            [0x65, 0b1000_1000, 0b0100_0000],
        );
        let found = |slice: &[u8]| sets_for(&all, [&[9, 0xf0][..], slice].into_iter());
        assert_eq!(found(&of_first), Some(stream(&[FIRST, FIRST_PICTURE])));
        assert_eq!(found(&of_second), Some(stream(&[&sequence, &picture])));
        let one = stream(&[FIRST, FIRST_PICTURE]);
        assert_eq!(sets_for(&one, [&of_first[..]].into_iter()), None);
    }
}
