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
    timescale
        .is_multiple_of(OPUS_RATE)
        .then_some(Silence { data, duration })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMESCALE: u32 = 48_000;

    /// Returns a track whose sample entry `kind` has these boxes in it.
    fn track(kind: &[u8; 4], children: &[u8]) -> MovieTrack {
        let entry = boxes::write(kind, &[&[0; AUDIO_FIELDS], children]);
        let stsd = boxes::write(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], &entry]);
        let outer = [b"stbl", b"minf", b"mdia", b"trak"];
        let trak = outer
            .iter()
            .fold(stsd, |inner, kind| boxes::write(kind, &[&inner]));
        MovieTrack {
            id: 1,
            timescale: TIMESCALE,
            handler: *b"soun",
            trak,
            trex: Vec::new(),
            empty_edit: 0,
            media_time: 0,
        }
    }

    fn aac_track(object_type: u8, config: [u8; 2]) -> MovieTrack {
        let decoder = [&[object_type][..], &[0; 12], &[5, 2], &config].concat();
        let stream = [&[0, 1, 0, 4, decoder.len() as u8][..], &decoder].concat();
        let body = [&[0, 0, 0, 0, 3, stream.len() as u8][..], &stream].concat();
        track(b"mp4a", &boxes::write(b"esds", &[&body]))
    }

    fn opus_track(channels: u8, mapping: u8) -> MovieTrack {
        let body = [0, channels, 1, 56, 0, 0, 187, 128, 0, 0, mapping];
        track(b"Opus", &boxes::write(b"dOps", &[&body]))
    }

    /// Returns the AudioSpecificConfig of this object type with so many channels at 48 kHz.
    fn config(object: u16, channels: u16) -> [u8; 2] {
        (object << 11 | 3 << 7 | channels << 3).to_be_bytes()
    }

    #[test]
    fn each_layout_has_a_frame_of_its_own() {
        let frames = (1..=6).map(|channels| {
            let silence = Silence::of(&aac_track(0x40, config(2, channels)), 1024).unwrap();
            assert_eq!(silence.duration, 1024, "{channels}");
            silence.data
        });
        let frames: std::collections::HashSet<&[u8]> = frames.collect();
        assert_eq!(frames.len(), 6);
        let stereo = Silence::of(&opus_track(2, 0), 960).unwrap();
        assert_eq!(stereo.duration, 960);
        assert_ne!(stereo, Silence::of(&opus_track(1, 0), 960).unwrap());
    }

    #[test]
    fn a_decoder_that_doubles_the_rate_shows_a_frame_twice_as_long() {
        let silence = Silence::of(&aac_track(0x40, config(2, 2)), 2048).unwrap();
        assert_eq!(silence.duration, 2048);
    }

    /// A decoder that does not know the frame would fail, so nothing is put in front.
    #[test]
    fn what_is_not_known_gets_no_silence() {
        let unknown = [
            ("HE-AAC", aac_track(0x40, config(5, 2))),
            ("seven channels", aac_track(0x40, config(2, 7))),
            ("channels by elements", aac_track(0x40, config(2, 0))),
            ("MP3", aac_track(0x6b, config(2, 2))),
            (
                "960 samples",
                aac_track(0x40, {
                    let [first, last] = config(2, 2);
                    [first, last | 4]
                }),
            ),
            ("Opus 5.1", opus_track(6, 1)),
            ("AC-3", track(b"ac-3", &[])),
        ];
        for (what, track) in unknown {
            assert_eq!(Silence::of(&track, 1024), None, "{what}");
        }
    }
}
