//! Configuration of an AAC decoder, AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1).

use super::bits::Bits;
use super::boxes;
use super::esds;

/// Bytes of an audio sample entry before its child boxes.
const AUDIO_FIELDS: usize = 28;
/// Object type of MPEG-4 audio in an elementary stream descriptor (ISO/IEC 14496-1 table 5).
const MPEG4_AUDIO: u8 = 0x40;
/// Object types of spectral band replication and of parametric stereo (table 1.17).
const SBR: u8 = 5;
const PS: u8 = 29;
/// Code before an object type of 32 or more.
const ESCAPE: u32 = 31;
/// Index of a frequency that is written out.
const EXPLICIT_FREQUENCY: u32 = 15;
/// Codes before an extension that older decoders pass over (table 1.15).
const SBR_BEHIND: u32 = 0x2b7;
const PS_BEHIND: u32 = 0x548;

/// An AudioSpecificConfig.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AacConfig {
    /// Object type of the core, e.g. 2 for AAC LC.
    pub core: u8,
    /// Object type that it announces as a whole: 5 with spectral band replication, 29 with
    /// parametric stereo as well, else that of the core.
    pub announced: u8,
    /// Index of the core's sampling frequency; `None` if that is written out.
    pub frequency: Option<u8>,
    /// Channels by their usual places, 1 to 7 (7 means eight). 0: the stream says which they are.
    pub channels: u8,
}

impl AacConfig {
    /// Reads the configuration from the sample entry in a `trak`.
    #[must_use]
    pub fn of_trak(trak: &[u8]) -> Option<Self> {
        let path: [&[u8; 4]; 5] = [b"trak", b"mdia", b"minf", b"stbl", b"stsd"];
        let stsd = boxes::find(trak, &path)?;
        let entry = boxes::iterate(stsd.body.get(8..)?).next()?;
        let esds = boxes::find(entry.body.get(AUDIO_FIELDS..)?, &[b"esds"])?;
        let found = esds::parse(esds.body).filter(|found| found.object_type == MPEG4_AUDIO)?;
        Self::parse(found.config?)
    }

    /// Reads a configuration; `None` when it is cut off.
    #[must_use]
    pub fn parse(config: &[u8]) -> Option<Self> {
        let mut bits = Bits::of(config);
        let mut announced = object_type(&mut bits)?;
        let frequency = frequency(&mut bits)?;
        let channels = u8::try_from(bits.take(4)?).ok()?;
        let mut core = announced;
        if matches!(announced, SBR | PS) {
            // The frequency of the output, then the core's own type.
            self::frequency(&mut bits)?;
            core = object_type(&mut bits)?;
        } else if let Some(behind) = announced_behind(config, bits.position()) {
            announced = behind;
        }
        Some(Self {
            core,
            announced,
            frequency,
            channels,
        })
    }
}

fn object_type(bits: &mut Bits<'_>) -> Option<u8> {
    let number = match bits.take(5)? {
        ESCAPE => 32 + bits.take(6)?,
        number => number,
    };
    u8::try_from(number).ok()
}

/// Reads a frequency: its index, or `Some(None)` where it is written out.
fn frequency(bits: &mut Bits<'_>) -> Option<Option<u8>> {
    Some(match bits.take(4)? {
        EXPLICIT_FREQUENCY => {
            bits.skip(24)?;
            None
        }
        index => u8::try_from(index).ok(),
    })
}

/// Looks for an extension behind the core's own configuration, whose length is not read here.
fn announced_behind(config: &[u8], start: usize) -> Option<u8> {
    for at in start..config.len() * 8 {
        let mut bits = Bits::of(config);
        bits.skip(at)?;
        if bits.take(11)? != SBR_BEHIND || object_type(&mut bits)? != SBR || !bits.flag()? {
            continue;
        }
        let has_stereo = frequency(&mut bits).is_some()
            && bits.take(11) == Some(PS_BEHIND)
            && bits.flag() == Some(true);
        return Some(if has_stereo { PS } else { SBR });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(bytes: &[u8]) -> AacConfig {
        AacConfig::parse(bytes).unwrap()
    }

    #[test]
    fn configurations_say_what_they_announce() {
        let low = config(&[0x11, 0x90]);
        assert_eq!((low.core, low.announced, low.channels), (2, 2, 2));
        assert_eq!(low.frequency, Some(3));
        // SBR before the core, and behind it.
        let before = config(&[0x2b, 0x11, 0x88, 0x00]);
        assert_eq!(
            (before.core, before.announced, before.frequency),
            (2, 5, Some(6))
        );
        let behind = config(&[0x13, 0x10, 0x56, 0xe5, 0x98]);
        assert_eq!((behind.core, behind.announced), (2, 5));
        let stereo = config(&[0x13, 0x08, 0x56, 0xe5, 0x9d, 0x48, 0x80]);
        assert_eq!((stereo.core, stereo.announced, stereo.channels), (2, 29, 1));
        // xHE-AAC: 42, behind the escape.
        let unified = config(&[0xf9, 0x46, 0x40]);
        assert_eq!(unified.core, 42);
        assert_eq!(config(&[0x11, 0x80]).channels, 0);
        assert_eq!(AacConfig::parse(&[0x11]), None);
    }
}
