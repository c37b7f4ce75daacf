//! Frames of silence in the codecs that browsers play, for a track that begins later than its film.

use super::boxes::{self, be16};
use super::esds;
use super::fragments::MovieTrack;

/// Samples of one frame of AAC.
const AAC_FRAME: u32 = 1024;
/// Rate at which Opus counts, in hertz.
const OPUS_RATE: u32 = 48_000;
/// Bytes of an audio sample entry before its child boxes.
const AUDIO_FIELDS: usize = 28;

/// Frame of silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    pub data: &'static [u8],
    /// Duration in ticks of the track.
    pub duration: u32,
}

impl Silence {
    /// Returns a frame that the track's decoder takes; `None` where none is known. `usual` is the duration of
    /// the track's own frames.
    #[must_use]
    pub fn of(track: &MovieTrack, usual: u32) -> Option<Self> {
        let stsd = boxes::find(&track.trak, &[b"trak", b"mdia", b"minf", b"stbl", b"stsd"])?;
        let entry = boxes::iterate(stsd.body.get(8..)?).next()?;
        let children = entry.body.get(AUDIO_FIELDS..)?;
        match &entry.kind {
            b"mp4a" => aac(boxes::find(children, &[b"esds"])?.body, usual),
            b"Opus" => opus(boxes::find(children, &[b"dOps"])?.body, track.timescale),
            _ => None,
        }
    }
}

/// AAC LC (ISO/IEC 14496-3 §4.4.2): elements of each channel configuration without spectral data.
fn aac(esds: &[u8], usual: u32) -> Option<Silence> {
    const MPEG4_AUDIO: u8 = 0x40;
    const LOW_COMPLEXITY: u16 = 2;
    const EXPLICIT_RATE: u16 = 15;
    let found = esds::parse(esds)?;
    let config = be16(found.config?, 0)?;
    let (object, rate) = (config >> 11, config >> 7 & 15);
    let has_short_frames = config & 4 != 0;
    if found.object_type != MPEG4_AUDIO
        || object != LOW_COMPLEXITY
        || rate == EXPLICIT_RATE
        || has_short_frames
    {
        return None;
    }
    let data: &[u8] = match config >> 3 & 15 {
        1 => &[0x00, 0xc8, 0x00, 0x80, 0x23, 0x80],
        2 => &[0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80],
        3 => &[
            0x00, 0xc8, 0x00, 0x80, 0x20, 0x84, 0x01, 0x26, 0x40, 0x08, 0x64, 0x00, 0x8e,
        ],
        4 => &[
            0x00, 0xc8, 0x00, 0x80, 0x20, 0x84, 0x01, 0x26, 0x40, 0x08, 0x64, 0x00, 0x80, 0x2c,
            0x80, 0x08, 0x02, 0x38,
        ],
        5 => &[
            0x00, 0xc8, 0x00, 0x80, 0x20, 0x84, 0x01, 0x26, 0x40, 0x08, 0x64, 0x00, 0x82, 0x30,
            0x04, 0x99, 0x00, 0x21, 0x90, 0x02, 0x38,
        ],
        6 => &[
            0x00, 0xc8, 0x00, 0x80, 0x20, 0x84, 0x01, 0x26, 0x40, 0x08, 0x64, 0x00, 0x82, 0x30,
            0x04, 0x99, 0x00, 0x21, 0x90, 0x02, 0x00, 0xb2, 0x00, 0x20, 0x08, 0xe0,
        ],
        _ => return None,
    };
    // A decoder that doubles the rate (SBR) shows twice the samples of a frame.
    let frames = if usual > AAC_FRAME * 3 / 2 { 2 } else { 1 };
    Some(Silence {
        data,
        duration: AAC_FRAME * frames,
    })
}

/// Opus (RFC 6716 §3.1): a packet names its own mode. This is a frame of 20 ms without any coded band.
fn opus(dops: &[u8], timescale: u32) -> Option<Silence> {
    const CHANNELS: usize = 1;
    const MAPPING: usize = 10;
    if dops.get(MAPPING) != Some(&0) {
        return None;
    }
    let data: &[u8] = match dops.get(CHANNELS)? {
        1 => &[0xf8, 0xff, 0xfe],
        2 => &[0xfc, 0xff, 0xfe],
        _ => return None,
    };
    let duration = timescale / 50;
    (timescale % OPUS_RATE == 0).then_some(Silence { data, duration })
}
