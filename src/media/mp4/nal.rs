//! Finds key frames at which decoding can really begin. ffmpeg flags recovery points as key frames too.
//! A browser cannot seek to those, and EXT-X-INDEPENDENT-SEGMENTS would be wrong for them.

use super::boxes::{be16, be32};
use super::captions::CaptionDetector;
use super::init::Description;

/// H.264 (table 7-1): coded slice of an IDR picture.
const AVC_IDR: u8 = 5;
/// H.264 (table 7-1): sequence and picture parameter sets.
const AVC_SETS: std::ops::RangeInclusive<u8> = 7..=8;
/// H.264 (table 7-1): supplemental enhancement information.
const AVC_SEI: u8 = 6;
/// HEVC (table 7-1): the same, before the pictures that it is about.
const HEVC_SEI: u8 = 39;
/// HEVC (table 7-1): BLA and IDR pictures; 21, CRA, may be followed by pictures that need earlier ones.
const HEVC_INDEPENDENT: std::ops::RangeInclusive<u8> = 16..=20;

/// Returns true if nothing behind this key frame needs anything before it.
#[must_use]
pub fn is_independent(description: &Description, sample: &[u8]) -> bool {
    let codec = description.codec.as_str();
    if codec.starts_with("avc1") {
        any_unit(sample, description.nal_length, |first| {
            first & 0x1f == AVC_IDR
        })
    } else if ["hvc1", "hev1", "dvh1"]
        .iter()
        .any(|name| codec.starts_with(name))
    {
        any_unit(sample, description.nal_length, |first| {
            HEVC_INDEPENDENT.contains(&(first >> 1 & 0x3f))
        })
    } else {
        // MPEG-2, MPEG-4 and VC-1 do not say so at a place that is cheap to read.
        !codec.starts_with("mp4v") && !codec.starts_with("vc-1")
    }
}

/// Returns true if a key frame of H.264 has parameter sets among its units.
#[must_use]
pub fn brings_sets(description: &Description, sample: &[u8]) -> bool {
    description.codec.starts_with("avc1")
        && any_unit(sample, description.nal_length, |first| {
            AVC_SETS.contains(&(first & 0x1f))
        })
}

/// Gives `detector` the messages of a picture.
pub fn detect_captions(description: &Description, sample: &[u8], detector: &mut CaptionDetector) {
    let codec = description.codec.as_str();
    let (header, kind): (usize, fn(u8) -> u8) = match codec.get(..4) {
        Some("avc1") => (1, |first| first & 0x1f),
        Some("hvc1" | "hev1" | "dvh1") => (2, |first| first >> 1 & 0x3f),
        _ => return,
    };
    let message = if header == 1 { AVC_SEI } else { HEVC_SEI };
    for unit in units(sample, description.nal_length) {
        if unit.first().is_some_and(|first| kind(*first) == message) {
            detector.take(unit, header);
        }
    }
}

fn any_unit(sample: &[u8], length_bytes: usize, wanted: impl Fn(u8) -> bool) -> bool {
    units(sample, length_bytes).any(|unit| unit.first().is_some_and(|first| wanted(*first)))
}

/// Iterates over the NAL units of a sample. A unit with an impossible length (in a damaged film) takes the
/// rest of the sample.
fn units(sample: &[u8], length_bytes: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = sample;
    std::iter::from_fn(move || {
        let length = match length_bytes {
            1 => rest.first().map(|byte| u32::from(*byte)),
            2 => be16(rest, 0).map(u32::from),
            _ => be32(rest, 0),
        }?;
        let behind = rest
            .get(length_bytes..)
            .filter(|behind| !behind.is_empty())?;
        let (unit, next) = behind.split_at(behind.len().min(length as usize));
        rest = next;
        Some(unit)
    })
}
