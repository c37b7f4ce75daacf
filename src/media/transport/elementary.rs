//! Form of a track's samples in a transport stream. H.264 and HEVC become byte streams with access
//! unit delimiters and parameter sets (ITU-T H.264 annex B; H.222.0 §2.14 requires delimiters). AAC
//! gets ADTS headers (ISO/IEC 14496-3 §1.A.2), and other audio stays as it is.

use crate::media::mp4::aac::AacConfig;
use crate::media::mp4::avc as sets;
use crate::media::mp4::boxes::{self, BoxAt, be16};
use crate::media::mp4::esds;

/// Code before each NAL unit. It is as long as the length that MP4 has there.
const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// Most bytes of parameter sets that are repeated at each key frame. 100 are usual.
const MAX_PARAMETER_SETS: usize = 1024;
/// Bytes of an ADTS header without checksum.
const ADTS_BYTES: usize = 7;
/// Largest frame that ADTS can announce, its header included.
const MAX_ADTS_FRAME: usize = (1 << 13) - 1;
/// Bytes of a visual and of an audio sample entry before its child boxes.
const VISUAL_FIELDS: usize = 78;
const AUDIO_FIELDS: usize = 28;

/// Form of a track in a transport stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elementary {
    /// H.264 and HEVC.
    Pictures {
        coding: PictureCoding,
        /// Parameter sets with start codes.
        parameter_sets: Vec<u8>,
    },
    Aac(Adts),
    /// MPEG audio, layers 1 to 3.
    Mpeg,
    Ac3,
    EAc3,
}

/// Video codec of an elementary stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureCoding {
    Avc,
    Hevc,
}

/// Fields that all ADTS headers of a track share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adts {
    /// Audio object type minus 1.
    profile: u8,
    /// Index of the sampling frequency.
    frequency: u8,
    channels: u8,
}

impl PictureCoding {
    const fn kind(self, first: u8) -> u8 {
        match self {
            Self::Avc => first & 0x1f,
            Self::Hevc => first >> 1 & 0x3f,
        }
    }
    /// Returns an access unit delimiter that allows pictures of any kind.
    const fn delimiter(self) -> &'static [u8] {
        match self {
            Self::Avc => &[0, 0, 0, 1, 0x09, 0xf0],
            Self::Hevc => &[0, 0, 0, 1, 0x46, 0x01, 0x50],
        }
    }
    const fn is_delimiter(self, kind: u8) -> bool {
        match self {
            Self::Avc => kind == 9,
            Self::Hevc => kind == 35,
        }
    }
    /// Returns true for a sequence parameter set. A sample that has one has all sets.
    const fn is_parameter_set(self, kind: u8) -> bool {
        match self {
            Self::Avc => kind == 7,
            Self::Hevc => kind == 33,
        }
    }
}

impl Elementary {
    /// Reads the form from a track's `init.mp4`. Returns `None` where a transport stream cannot carry the
    /// track, or older players do not accept it from there.
    #[must_use]
    pub fn of(init: &[u8]) -> Option<Self> {
        let stsd = boxes::find(
            init,
            &[b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"],
        )?;
        let entry = boxes::iterate(stsd.body.get(8..)?).next()?;
        match &entry.kind {
            b"avc1" | b"avc3" => avc(child(&entry, VISUAL_FIELDS, b"avcC")?),
            b"hvc1" | b"hev1" | b"dvh1" => hevc(child(&entry, VISUAL_FIELDS, b"hvcC")?),
            b"mp4a" => mpeg4_audio(child(&entry, AUDIO_FIELDS, b"esds")?),
            b"ac-3" => Some(Self::Ac3),
            b"ec-3" => Some(Self::EAc3),
            _ => None,
        }
    }

    /// Returns the stream type of H.222.0 table 2-34. For types that are private there it is ATSC's (A/53
    /// part 3).
    #[must_use]
    pub const fn stream_type(&self) -> u8 {
        match self {
            Self::Mpeg => 0x03,
            Self::Aac(_) => 0x0f,
            Self::Pictures { coding, .. } => match coding {
                PictureCoding::Avc => 0x1b,
                PictureCoding::Hevc => 0x24,
            },
            Self::Ac3 => 0x81,
            Self::EAc3 => 0x87,
        }
    }

    /// Returns the registration that names the codec where `stream_type` leaves it open.
    #[must_use]
    pub const fn registration(&self) -> Option<&'static [u8; 4]> {
        match self {
            Self::Ac3 => Some(b"AC-3"),
            Self::EAc3 => Some(b"EAC3"),
            Self::Pictures {
                coding: PictureCoding::Hevc,
                ..
            } => Some(b"HEVC"),
            _ => None,
        }
    }

    /// Returns true for video.
    #[must_use]
    pub const fn is_video(&self) -> bool {
        matches!(self, Self::Pictures { .. })
    }

    /// Returns the bytes that a sample grows by at most, so that sizes follow from the map alone. Units
    /// that a sample already has are not added, and its packets are stuffed instead.
    #[must_use]
    pub const fn growth(&self, is_key: bool) -> usize {
        match self {
            Self::Pictures {
                coding,
                parameter_sets,
            } => {
                let sets = if is_key { parameter_sets.len() } else { 0 };
                coding.delimiter().len() + sets
            }
            Self::Aac(_) => ADTS_BYTES,
            Self::Mpeg | Self::Ac3 | Self::EAc3 => 0,
        }
    }

    /// Returns true if a transport stream can carry a sample of this many bytes.
    #[must_use]
    pub const fn takes(&self, size: u32) -> bool {
        match self {
            Self::Aac(_) => size as usize + ADTS_BYTES <= MAX_ADTS_FRAME,
            _ => true,
        }
    }

    /// Appends a sample in the form of the transport stream, which is at most `growth` bytes longer.
    pub fn convert(&self, sample: &[u8], is_key: bool, output: &mut Vec<u8>) {
        match self {
            Self::Pictures {
                coding,
                parameter_sets,
            } => {
                let sets: &[u8] = if is_key { parameter_sets } else { &[] };
                pictures(*coding, sets, sample, output);
            }
            Self::Aac(adts) => {
                output.extend(adts.header(sample.len()));
                output.extend_from_slice(sample);
            }
            Self::Mpeg | Self::Ac3 | Self::EAc3 => output.extend_from_slice(sample),
        }
    }
}

/// Appends the NAL units of a sample, each with its start code. A unit with an impossible length (in a
/// damaged film) takes the rest of the sample.
fn pictures(coding: PictureCoding, parameter_sets: &[u8], sample: &[u8], output: &mut Vec<u8>) {
    let kinds = || units(sample).filter_map(|unit| unit.first().map(|first| coding.kind(*first)));
    let brings_sets = kinds().any(|kind| coding.is_parameter_set(kind));
    // Only the sets of this picture are written: some players take each set for a new beginning.
    let own = match coding {
        PictureCoding::Avc if !brings_sets => sets::sets_for(parameter_sets, units(sample)),
        _ => None,
    };
    let parameter_sets = own.as_deref().unwrap_or(parameter_sets);
    let mut missing: &[u8] = if brings_sets { &[] } else { parameter_sets };
    if !kinds().next().is_some_and(|kind| coding.is_delimiter(kind)) {
        output.extend_from_slice(coding.delimiter());
        output.extend_from_slice(std::mem::take(&mut missing));
    }
    for unit in units(sample) {
        output.extend_from_slice(&START_CODE);
        output.extend_from_slice(unit);
        // They follow the sample's own delimiter, which must come first.
        output.extend_from_slice(std::mem::take(&mut missing));
    }
}

fn units(sample: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = sample;
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (unit, next) = behind.split_at(length.min(behind.len()));
        rest = next;
        Some(unit)
    })
}

impl Adts {
    /// Takes the fields from an AudioSpecificConfig. SBR is not announced, because decoders detect it.
    fn of(config: &[u8]) -> Option<Self> {
        let config = AacConfig::parse(config)?;
        let frequency = config.frequency.filter(|index| *index < 13)?;
        let fits = (1..=4).contains(&config.core) && (1..=7).contains(&config.channels);
        fits.then(|| Self {
            profile: config.core - 1,
            frequency,
            channels: config.channels,
        })
    }

    fn header(self, frame: usize) -> [u8; ADTS_BYTES] {
        let length = (frame + ADTS_BYTES).min(MAX_ADTS_FRAME);
        let [_, upper, middle, lower] = (length as u32 * 32).to_be_bytes();
        [
            0xff,
            // MPEG-4, layer 0, no checksum
            0xf1,
            self.profile << 6 | self.frequency << 2 | self.channels >> 2,
            self.channels << 6 | upper,
            middle,
            // A buffer fullness of all ones means a variable rate.
            lower | 0x1f,
            0xfc,
        ]
    }
}

fn child<'a>(entry: &BoxAt<'a>, fields: usize, kind: &[u8; 4]) -> Option<&'a [u8]> {
    Some(boxes::find(entry.body.get(fields..)?, &[kind])?.body)
}

fn avc(avcc: &[u8]) -> Option<Elementary> {
    if avcc.get(4)? & 3 != 3 {
        return None;
    }
    let mut sets = Vec::new();
    let mut at = 6;
    for _ in 0..avcc.get(5)? & 0x1f {
        at = put_unit(avcc, at, &mut sets)?;
    }
    let pictures = *avcc.get(at)?;
    at += 1;
    for _ in 0..pictures {
        at = put_unit(avcc, at, &mut sets)?;
    }
    bounded(PictureCoding::Avc, sets)
}

fn hevc(hvcc: &[u8]) -> Option<Elementary> {
    if hvcc.get(21)? & 3 != 3 {
        return None;
    }
    let mut sets = Vec::new();
    let mut at = 23;
    for _ in 0..*hvcc.get(22)? {
        let kind = hvcc.get(at)? & 0x3f;
        let count = be16(hvcc, at + 1)?;
        at += 3;
        for _ in 0..count {
            let mut unit = Vec::new();
            at = put_unit(hvcc, at, &mut unit)?;
            // Only VPS, SPS and PPS are taken. SEI of the whole stream is not needed.
            if (32..=34).contains(&kind) {
                sets.extend(unit);
            }
        }
    }
    bounded(PictureCoding::Hevc, sets)
}

fn bounded(coding: PictureCoding, parameter_sets: Vec<u8>) -> Option<Elementary> {
    (parameter_sets.len() <= MAX_PARAMETER_SETS).then_some(Elementary::Pictures {
        coding,
        parameter_sets,
    })
}

/// Appends the unit whose 16-bit length is at `at`, and returns the offset of the next one.
fn put_unit(bytes: &[u8], at: usize, output: &mut Vec<u8>) -> Option<usize> {
    let start = at + 2;
    let end = start + usize::from(be16(bytes, at)?);
    output.extend_from_slice(&START_CODE);
    output.extend_from_slice(bytes.get(start..end)?);
    Some(end)
}

fn mpeg4_audio(esds: &[u8]) -> Option<Elementary> {
    let found = esds::parse(esds)?;
    match found.object_type {
        0x40 => Adts::of(found.config?).map(Elementary::Aac),
        0x69 | 0x6b => Some(Elementary::Mpeg),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETS: &[u8] = &[0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68];

    fn converted(sample: &[u8], is_key: bool) -> Vec<u8> {
        let elementary = Elementary::Pictures {
            coding: PictureCoding::Avc,
            parameter_sets: SETS.to_vec(),
        };
        let mut output = Vec::new();
        elementary.convert(sample, is_key, &mut output);
        assert!(output.len() <= sample.len() + elementary.growth(is_key));
        output
    }

    #[test]
    fn delimiter_and_parameter_sets_come_first_and_once() {
        let picture = [0, 0, 0, 2, 0x65, 7];
        let delimiter = [0, 0, 0, 1, 9, 0xf0];
        let unit = [0, 0, 0, 1, 0x65, 7];
        assert_eq!(converted(&picture, false), [&delimiter[..], &unit].concat());
        let with_sets = [&delimiter[..], SETS, &unit].concat();
        assert_eq!(converted(&picture, true), with_sets);
        let delimited = [&[0, 0, 0, 2, 9, 0xf0][..], &picture].concat();
        assert_eq!(converted(&delimited, true), with_sets);
        let own = [&[0, 0, 0, 2, 0x67, 9][..], &picture].concat();
        let kept = [&delimiter[..], &[0, 0, 0, 1, 0x67, 9], &unit].concat();
        assert_eq!(converted(&own, true), kept);
    }

    #[test]
    fn a_damaged_sample_grows_no_further() {
        for sample in [
            &[][..],
            &[0, 0],
            &[0xff, 0xff, 0xff, 0xff, 0x65],
            &[0, 0, 0, 0, 0, 0, 0, 0, 1],
        ] {
            converted(sample, true);
        }
    }

    #[test]
    fn configurations_become_headers() {
        // AAC LC, 48 kHz, stereo
        let low = Adts::of(&[0x11, 0x90]).unwrap();
        assert_eq!(low.header(100), [0xff, 0xf1, 0x4c, 0x80, 0x0d, 0x7f, 0xfc]);
        // HE-AAC that announces itself: only the core counts.
        let high = Adts::of(&[0x2b, 0x11, 0x88, 0x00]).unwrap();
        assert_eq!((high.profile, high.frequency, high.channels), (1, 6, 2));
        assert_eq!(
            Adts::of(&[0x11, 0x80]),
            None,
            "channels by a program config"
        );
        assert_eq!(Adts::of(&[]), None);
    }
}
