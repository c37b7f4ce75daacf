//! Finds key frames at which decoding can really begin. ffmpeg flags recovery points as key frames too.
//! A browser cannot seek to those, and EXT-X-INDEPENDENT-SEGMENTS would be wrong for them.

use super::boxes::{be16, be32};
use super::init::Description;

/// H.264 (table 7-1): coded slice of an IDR picture.
const AVC_IDR: u8 = 5;
/// H.264 (table 7-1): sequence and picture parameter sets.
const AVC_SETS: std::ops::RangeInclusive<u8> = 7..=8;
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

fn any_unit(sample: &[u8], length_bytes: usize, wanted: impl Fn(u8) -> bool) -> bool {
    let mut at = 0;
    loop {
        let length = match length_bytes {
            1 => sample.get(at).map(|byte| u32::from(*byte)),
            2 => be16(sample, at).map(u32::from),
            _ => be32(sample, at),
        };
        let Some(first) = sample.get(at + length_bytes) else {
            return false;
        };
        if wanted(*first) {
            return true;
        }
        let Some(length) = length else { return false };
        at = at
            .saturating_add(length_bytes)
            .saturating_add(length as usize);
    }
}
