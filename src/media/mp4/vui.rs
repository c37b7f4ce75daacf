//! Shape of pixels and meaning of colours in a sequence parameter set of H.264 (ITU-T H.264 annex E,
//! VUI). A container may say both as well, and then it is right. A transport stream has no place
//! for them but this one.

use super::avc::{SPS_HEAD, Sequence};
use super::bits::{BitWriter, Bits, with_prevention, without_prevention};

/// `aspect_ratio_idc` of a ratio that is written out (table E-1).
const EXTENDED_RATIO: u32 = 255;
/// Ratios of the other numbers, from 1 (table E-1).
const RATIOS: [(u32, u32); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];
/// `video_format` of a signal that no standard describes (table E-2).
const NO_FORMAT: u32 = 5;
/// Flags behind the colours of a set that has none of what they announce.
const NOTHING_ELSE: (u32, u32) = (0, 6);

/// Ratio of a pixel's width to its height.
#[derive(Debug, Clone, Copy)]
pub struct PixelAspect {
    pub width: u32,
    pub height: u32,
}

impl PartialEq for PixelAspect {
    fn eq(&self, other: &Self) -> bool {
        u64::from(self.width) * u64::from(other.height)
            == u64::from(other.width) * u64::from(self.height)
    }
}

/// Meaning of the colours of a picture (ITU-T H.273).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colours {
    pub primaries: u8,
    pub transfer: u8,
    pub matrix: u8,
    /// True if all values are used, false if black and white have the values of television.
    pub is_full_range: bool,
}

/// What a set or a container says of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PixelProperties {
    pub aspect: Option<PixelAspect>,
    pub colours: Option<Colours>,
}

/// Positions of the fields in the bits behind the head of a set.
struct Layout {
    /// `vui_parameters_present_flag`.
    flag: usize,
    /// `overscan_info_present_flag`, where the set has these fields.
    overscan: Option<usize>,
    /// `video_signal_type_present_flag`, where the set has these fields.
    signal: Option<usize>,
    /// The first bit behind the colours, where the set has these fields.
    rest: Option<usize>,
    video_format: Option<u32>,
    found: PixelProperties,
}

/// Reads what a sequence parameter set, with its NAL header, says. `None` when it is cut off.
#[must_use]
pub fn read(unit: &[u8]) -> Option<PixelProperties> {
    let bytes = without_prevention(unit.get(SPS_HEAD..)?);
    layout(unit, &bytes).map(|layout| layout.found)
}

/// Returns the set with `wanted` in place of what it says. Nothing else in it changes. `None` when it is
/// cut off.
#[must_use]
pub fn with_properties(unit: &[u8], wanted: &PixelProperties) -> Option<Vec<u8>> {
    let bytes = without_prevention(unit.get(SPS_HEAD..)?);
    let layout = layout(unit, &bytes)?;
    let end = stop_bit(&bytes)?;
    let mut bits = Bits::of(&bytes);
    let mut output = BitWriter::default();
    output.copy(&mut bits, layout.flag)?;
    output.put(1, 1);
    match (wanted.aspect, layout.overscan) {
        (Some(aspect), _) => {
            output.put(1, 1);
            output.put(EXTENDED_RATIO, 8);
            output.put(aspect.width, 16);
            output.put(aspect.height, 16);
        }
        (None, Some(overscan)) => {
            bits.skip(1)?;
            output.copy(&mut bits, overscan)?;
        }
        (None, None) => output.put(0, 1),
    }
    match (layout.overscan, layout.signal) {
        (Some(overscan), Some(signal)) => {
            bits.skip(overscan - bits.position())?;
            output.copy(&mut bits, signal)?;
        }
        _ => output.put(0, 1),
    }
    match (wanted.colours, layout.rest) {
        (Some(colours), _) => {
            output.put(1, 1);
            output.put(layout.video_format.unwrap_or(NO_FORMAT), 3);
            output.put(u32::from(colours.is_full_range), 1);
            output.put(1, 1);
            for code in [colours.primaries, colours.transfer, colours.matrix] {
                output.put(u32::from(code), 8);
            }
        }
        (None, Some(rest)) => output.copy(&mut bits, rest)?,
        (None, None) => output.put(0, 1),
    }
    match layout.rest {
        Some(rest) => {
            bits.skip(rest - bits.position())?;
            output.copy(&mut bits, end)?;
        }
        None => output.put(NOTHING_ELSE.0, NOTHING_ELSE.1),
    }
    output.put(1, 1);
    let mut changed = unit.get(..SPS_HEAD)?.to_vec();
    changed.extend(with_prevention(&output.finish()));
    Some(changed)
}

/// Returns the position of the bit that ends the set (§7.3.2.11).
fn stop_bit(bytes: &[u8]) -> Option<usize> {
    let last = bytes.iter().rposition(|byte| *byte != 0)?;
    Some(last * 8 + 7 - bytes[last].trailing_zeros() as usize)
}

fn layout(unit: &[u8], bytes: &[u8]) -> Option<Layout> {
    let mut bits = Bits::of(bytes);
    let sequence = Sequence::walk(unit, &mut bits)?;
    if !sequence.is_progressive {
        bits.flag()?;
    }
    bits.flag()?;
    if bits.flag()? {
        for _ in 0..4 {
            bits.number()?;
        }
    }
    let mut layout = Layout {
        flag: bits.position(),
        overscan: None,
        signal: None,
        rest: None,
        video_format: None,
        found: PixelProperties::default(),
    };
    if !bits.flag()? {
        return Some(layout);
    }
    if bits.flag()? {
        layout.found.aspect = match bits.take(8)? {
            EXTENDED_RATIO => Some(PixelAspect {
                width: bits.take(16)?,
                height: bits.take(16)?,
            }),
            number => {
                let known = (number as usize)
                    .checked_sub(1)
                    .and_then(|at| RATIOS.get(at));
                known.map(|&(width, height)| PixelAspect { width, height })
            }
        };
    }
    layout.overscan = Some(bits.position());
    if bits.flag()? {
        bits.flag()?;
    }
    layout.signal = Some(bits.position());
    if bits.flag()? {
        layout.video_format = Some(bits.take(3)?);
        let is_full_range = bits.flag()?;
        if bits.flag()? {
            let mut code = || bits.take(8).and_then(|code| u8::try_from(code).ok());
            layout.found.colours = Some(Colours {
                primaries: code()?,
                transfer: code()?,
                matrix: code()?,
                is_full_range,
            });
        }
    }
    layout.rest = Some(bits.position());
    Some(layout)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set as x264 writes it for 640x360, with times but without a shape of pixels.
    const PLAIN: &[u8] = &[
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03,
        0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x30, 0x0f, 0x16, 0x2d, 0x96,
    ];
    const ANAMORPHIC: PixelAspect = PixelAspect {
        width: 64,
        height: 45,
    };
    const HDR: Colours = Colours {
        primaries: 9,
        transfer: 16,
        matrix: 9,
        is_full_range: false,
    };

    #[test]
    fn a_set_says_what_was_written_into_it_and_all_else_as_before() {
        let before = read(PLAIN).unwrap();
        assert_eq!(before.colours, None);
        let wanted = PixelProperties {
            aspect: Some(ANAMORPHIC),
            colours: Some(HDR),
        };
        let changed = with_properties(PLAIN, &wanted).unwrap();
        assert_eq!(read(&changed), Some(wanted));
        assert_eq!(Sequence::parse(&changed), Sequence::parse(PLAIN));
        // Writing the old properties gives the old fields behind them.
        let square = PixelProperties {
            aspect: Some(PixelAspect {
                width: 1,
                height: 1,
            }),
            colours: None,
        };
        let again = with_properties(&changed, &square).unwrap();
        assert_eq!(read(&again).unwrap().aspect, square.aspect);
        assert_eq!(read(&again).unwrap().colours, Some(HDR));
    }

    #[test]
    fn a_set_without_these_fields_gets_them() {
        // The set of PLAIN up to its flag, which is off, and the stop bit.
        let bytes = without_prevention(&PLAIN[SPS_HEAD..]);
        let flag = layout(PLAIN, &bytes).unwrap().flag;
        let mut writer = BitWriter::default();
        writer.copy(&mut Bits::of(&bytes), flag).unwrap();
        writer.put(0b01, 2);
        let bare = [&PLAIN[..SPS_HEAD], &with_prevention(&writer.finish())].concat();
        assert_eq!(read(&bare), Some(PixelProperties::default()));
        let wanted = PixelProperties {
            aspect: Some(ANAMORPHIC),
            colours: None,
        };
        let changed = with_properties(&bare, &wanted).unwrap();
        assert_eq!(read(&changed), Some(wanted));
        let bytes = without_prevention(&changed[SPS_HEAD..]);
        let rest = layout(&changed, &bytes).unwrap().rest.unwrap();
        assert_eq!(stop_bit(&bytes), Some(rest + 6));
    }

    #[test]
    fn equal_ratios_are_equal_and_cut_sets_are_refused() {
        let twice = PixelAspect {
            width: 128,
            height: 90,
        };
        assert_eq!(ANAMORPHIC, twice);
        for cut in 0..9 {
            assert_eq!(read(&PLAIN[..cut]), None);
            assert_eq!(
                with_properties(&PLAIN[..cut], &PixelProperties::default()),
                None
            );
        }
    }
}
