//! `init.mp4` of a track, and the fields of its sample description: the RFC 6381 codec string, size,
//! channels. Descriptions are copied as the muxer wrote them.
//!
//! Codec strings: RFC 6381 §3.3 (avc1), ISO/IEC 14496-15 annex E (hvc1), the AV1 and VP9 ISOBMFF
//! bindings, ISO/IEC 14496-1 §7.2.6 (esds).

use super::aac::AacConfig;
use super::boxes::{self, BoxAt, be16, be32, be64};
use super::dolby_vision::DolbyVision;
use super::esds;
use super::fragments::{Movie, MovieTrack};
use super::picture;
use super::segment_header::TRACK_ID;

/// Fields of a track's sample description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Codec string of RFC 6381.
    pub codec: String,
    /// Width in pixels; 0 for audio.
    pub width: u32,
    pub height: u32,
    /// Channels of audio; 0 for video.
    pub channels: u16,
    /// Sample rate in hertz; 0 for video.
    pub sample_rate: u32,
    /// Bytes of the length before each NAL unit, where samples consist of such units.
    pub nal_length: usize,
}

/// Flags of a track that is shown, and is a part of the film (ISO/IEC 14496-12 §8.3.2).
const SHOWN_TRACK: u8 = 0b11;
/// Marks the box with the track's first decoding time (ISO/IEC 14496-12 §11.1). Players skip what they do not
/// know.
const FIRST_DECODE: &[u8; 16] = b"tgfs first tfdt\0";

/// Writes `ftyp`, and a `moov` of this one track without an edit list. Times are absolute, see
/// `timeline`. `first_decode` is when the first sample is decoded, in ticks: playlists name it, and are written
/// without the map.
#[must_use]
pub fn write(movie: &Movie, track: &MovieTrack, first_decode: u64) -> Option<Vec<u8>> {
    let agreeing = picture::with_agreeing_sets(&track.trak);
    let trak = agreeing.as_deref().unwrap_or(&track.trak);
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for child in boxes::iterate(trak.get(8..)?).filter(|child| &child.kind != b"edts") {
        let mut child_bytes = child.whole.to_vec();
        match &child.kind {
            b"tkhd" => {
                let at = 8 + if child.body.first()? == &1 { 20 } else { 12 };
                child_bytes
                    .get_mut(at..at + 4)?
                    .copy_from_slice(&TRACK_ID.to_be_bytes());
                // The muxer switches tracks off that are not the default. Here it is the only one.
                *child_bytes.get_mut(11)? |= SHOWN_TRACK;
            }
            b"mdia" => amend_entry(&mut child_bytes, track.timescale),
            _ => {}
        }
        parts.push(child_bytes);
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let mut trex = track.trex.clone();
    trex.get_mut(12..16)?
        .copy_from_slice(&TRACK_ID.to_be_bytes());
    let mvex = boxes::write(b"mvex", &[&trex]);
    let first_decode = boxes::write(b"uuid", &[FIRST_DECODE, &first_decode.to_be_bytes()]);
    let trak = boxes::write(b"trak", &parts);
    let moov = boxes::write(b"moov", &[&movie.mvhd, &trak, &mvex, &first_decode]);
    let mut init = boxes::write(b"ftyp", &[b"iso6\0\0\x02\0iso6cmfcmp41"]);
    init.extend(moov);
    Some(init)
}

/// Returns the first decoding time that an `init.mp4` names. Those of older releases name none.
#[must_use]
pub fn first_decode(init: &[u8]) -> Option<u64> {
    let moov = boxes::find(init, &[b"moov"])?;
    boxes::iterate(moov.body)
        .filter(|found| &found.kind == b"uuid")
        .find_map(|found| be64(found.body.strip_prefix(FIRST_DECODE)?, 0))
}

/// Corrects what the muxer writes into a sample entry: the name of HEVC, and the rate of audio.
fn amend_entry(mdia: &mut [u8], timescale: u32) {
    let Some(entry) = boxes::find(mdia, &[b"mdia", b"minf", b"stbl", b"stsd"])
        .and_then(|stsd| boxes::iterate(stsd.body.get(8..)?).next())
    else {
        return;
    };
    // The borrowed entry's bytes are a part of `mdia`, so its offset is the difference of addresses.
    let at = entry.whole.as_ptr().addr() - mdia.as_ptr().addr();
    let is_audio = boxes::find(mdia, &[b"mdia", b"minf", b"smhd"]).is_some();
    match &entry.kind {
        b"hev1" | b"hvc1" => {
            if let Some(name) = hevc_entry(&entry) {
                mdia[at + 4..at + 8].copy_from_slice(name);
            }
        }
        _ if is_audio && entry.body.get(24..28) == Some(&[0; 4]) => {
            let field = at + entry.whole.len() - entry.body.len() + 24;
            let rate = expressible_rate(timescale) << 16;
            mdia[field..field + 4].copy_from_slice(&rate.to_be_bytes());
        }
        _ => {}
    }
}

/// Returns a rate that the 16 bits of a sample entry can hold: rates above are halved until they fit, as the
/// mapping of FLAC to ISO media asks. The muxer writes 0 for them.
const fn expressible_rate(mut rate: u32) -> u32 {
    while rate > u16::MAX as u32 {
        rate /= 2;
    }
    rate
}

/// Returns the name that a sample entry of HEVC should have. Apple's players take HEVC only as `hvc1`, which
/// ffmpeg calls `hev1`; that is right where the description has all three kinds of parameter sets.
/// What only Dolby Vision can show is `dvh1`, so that no other player shows it in wrong colours.
fn hevc_entry(entry: &BoxAt<'_>) -> Option<&'static [u8; 4]> {
    let children = entry.body.get(VISUAL_FIELDS..)?;
    let hvcc = boxes::find(children, &[b"hvcC"])?;
    let is_complete = has_parameter_sets(hvcc.body);
    let vision = DolbyVision::of_children(children);
    match vision.and_then(DolbyVision::own_codec) {
        Some(_) if is_complete => Some(b"dvh1"),
        _ if is_complete => Some(b"hvc1"),
        _ => None,
    }
}

fn has_parameter_sets(hvcc: &[u8]) -> bool {
    let mut seen = [false; 3];
    let mut at = 23;
    for _ in 0..hvcc.get(22).copied().unwrap_or(0) {
        let Some(kind) = hvcc.get(at).map(|byte| byte & 0x3f) else {
            return false;
        };
        let units = be16(hvcc, at + 1).unwrap_or(0);
        at += 3;
        if let (32..=34, true) = (kind, units > 0) {
            seen[usize::from(kind - 32)] = true;
        }
        for _ in 0..units {
            at += 2 + usize::from(be16(hvcc, at).unwrap_or(0));
        }
    }
    seen == [true; 3]
}

/// Bytes of a visual sample entry before its child boxes.
const VISUAL_FIELDS: usize = 78;
/// Bytes of an audio sample entry before its child boxes.
const AUDIO_FIELDS: usize = 28;

/// Reads the first sample description of `trak`.
#[must_use]
pub fn describe(track: &MovieTrack) -> Option<Description> {
    let stsd = boxes::find(&track.trak, &[b"trak", b"mdia", b"minf", b"stbl", b"stsd"])?;
    let entry = boxes::iterate(stsd.body.get(8..)?).next()?;
    let video = &track.handler == b"vide";
    let children = entry
        .body
        .get(if video { VISUAL_FIELDS } else { AUDIO_FIELDS }..)?;
    let child = |kind: &[u8; 4]| boxes::find(children, &[kind]).map(|found| found.body);
    let nal_length = match &entry.kind {
        b"avc1" | b"avc3" => child(b"avcC")?.get(4)? & 3,
        b"hev1" | b"hvc1" | b"dvh1" | b"dvhe" => child(b"hvcC")?.get(21)? & 3,
        _ => 0,
    };
    let codec = match &entry.kind {
        b"avc1" | b"avc3" => avc(child(b"avcC")?)?,
        b"hev1" | b"hvc1" | b"dvh1" | b"dvhe" => {
            let vision = DolbyVision::of_children(children).and_then(DolbyVision::own_codec);
            match vision.filter(|_| hevc_entry(&entry).is_some()) {
                Some(codec) => codec,
                None => hevc(&entry.kind, child(b"hvcC")?)?,
            }
        }
        b"av01" => av1(child(b"av1C")?)?,
        b"vp09" => vp9(child(b"vpcC")?)?,
        b"mp4a" | b"mp4v" => mpeg4(&entry.kind, child(b"esds")?)?,
        b"Opus" => "opus".to_owned(),
        other => String::from_utf8_lossy(other).trim().to_owned(),
    };
    let (width, height) = if video {
        (be16(entry.body, 24)?, be16(entry.body, 26)?)
    } else {
        (0, 0)
    };
    let (channels, sample_rate) = if video {
        (0, 0)
    } else {
        let rate = be32(entry.body, 24)? >> 16;
        let rate = if rate == 0 { track.timescale } else { rate };
        (be16(entry.body, 16)?, rate)
    };
    Some(Description {
        codec,
        width: width.into(),
        height: height.into(),
        channels,
        sample_rate,
        nal_length: usize::from(nal_length) + 1,
    })
}

fn avc(avcc: &[u8]) -> Option<String> {
    let [profile, constraints, level] = avcc.get(1..4)? else {
        return None;
    };
    Some(format!("avc1.{profile:02x}{constraints:02x}{level:02x}"))
}

fn hevc(entry: &[u8; 4], hvcc: &[u8]) -> Option<String> {
    // The name must be the one that `hevc_entry` gives.
    let name = match entry {
        b"hev1" if !has_parameter_sets(hvcc) => "hev1",
        _ => "hvc1",
    };
    let general = *hvcc.get(1)?;
    let space = ["", "A", "B", "C"][usize::from(general >> 6)];
    let tier = if general & 0x20 == 0 { 'L' } else { 'H' };
    let compatibility = be32(hvcc, 2)?.reverse_bits();
    let constraints = hvcc.get(6..12)?;
    let used = constraints
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let constraints: String = constraints[..used]
        .iter()
        .map(|byte| format!(".{byte:X}"))
        .collect();
    let level = *hvcc.get(12)?;
    Some(format!(
        "{name}.{space}{}.{compatibility:X}.{tier}{level}{constraints}",
        general & 0x1f
    ))
}

fn av1(av1c: &[u8]) -> Option<String> {
    let (first, second) = (*av1c.get(1)?, *av1c.get(2)?);
    let tier = if second & 0x80 == 0 { 'M' } else { 'H' };
    let depth = match (second & 0x40 != 0, second & 0x20 != 0) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    Some(format!(
        "av01.{}.{:02}{tier}.{depth:02}",
        first >> 5,
        first & 0x1f
    ))
}

fn vp9(vpcc: &[u8]) -> Option<String> {
    let [profile, level, depth] = vpcc.get(4..7)? else {
        return None;
    };
    // ffmpeg writes level 0 where it does not know the level. No player accepts that.
    let level = if *level == 0 { 10 } else { *level };
    Some(format!("vp09.{profile:02}.{level:02}.{:02}", depth >> 4))
}

/// Returns a name such as `mp4a.40.2`: the object type, and for MPEG-4 audio its own object type.
fn mpeg4(entry: &[u8; 4], esds: &[u8]) -> Option<String> {
    let entry = String::from_utf8_lossy(entry);
    let found = esds::parse(esds)?;
    let object_type = found.object_type;
    if entry == "mp4v" {
        return Some(format!("mp4v.{object_type:02x}"));
    }
    if let Some(name) = esds::own_name(object_type) {
        return Some(name.to_owned());
    }
    if object_type != 0x40 {
        return Some(format!("mp4a.{object_type:02X}"));
    }
    let Some(config) = found.config else {
        return Some("mp4a.40.2".to_owned());
    };
    let audio_type = AacConfig::parse(config)?.announced;
    Some(format!("mp4a.40.{audio_type}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the body of an `esds` box of MPEG-4 audio with this AudioSpecificConfig.
    fn esds_of(config: &[u8]) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 0, 3, 22 + config.len() as u8, 0, 0, 0];
        body.extend([4, 15 + config.len() as u8, 0x40, 0x15]);
        body.extend([0; 11]);
        body.extend([5, config.len() as u8]);
        body.extend(config);
        body
    }

    #[test]
    fn aac_is_named_by_what_it_announces() {
        let cases: [(&[u8], &str); 4] = [
            (&[0x11, 0x90], "mp4a.40.2"),
            (&[0x2b, 0x11, 0x88, 0x00], "mp4a.40.5"),
            (&[0x13, 0x08, 0x56, 0xe5, 0x9d, 0x48, 0x80], "mp4a.40.29"),
            (&[0xf9, 0x46, 0x40], "mp4a.40.42"),
        ];
        for (config, expected) in cases {
            let found = mpeg4(b"mp4a", &esds_of(config));
            assert_eq!(found.as_deref(), Some(expected));
        }
    }
}
