//! How a player shows the picture of a track: its size, its rotation, the shape of its pixels and the
//! meaning of their colours, as `init.mp4` says (ISO/IEC 14496-12 §8.3.2, §12.1.4, §12.1.5).

use super::avc;
use super::boxes::{self, BoxAt, be16, be32};
use super::vui::{self, Colours, PixelAspect, PixelProperties};

/// Bytes of a visual sample entry before its child boxes.
const VISUAL_FIELDS: usize = 78;
/// Code of colours that nothing is known about (ITU-T H.273).
const UNSPECIFIED: u8 = 2;
/// 1 in the matrix of a track header, whose numbers have 16 bits behind the point.
const ONE: u32 = 1 << 16;

/// Header of a track.
struct TrackHeader<'a> {
    body: &'a [u8],
    /// Offset of the matrix.
    matrix: usize,
}

impl<'a> TrackHeader<'a> {
    fn of(trak: &'a [u8]) -> Option<Self> {
        let body = boxes::find(trak, &[b"trak", b"tkhd"])?.body;
        let matrix = if body.first()? == &1 { 52 } else { 40 };
        Some(Self { body, matrix })
    }

    fn number(&self, index: usize) -> Option<u32> {
        be32(self.body, self.matrix + 4 * index)
    }

    /// Returns true if the picture is shown as it is stored.
    fn is_upright(&self) -> Option<bool> {
        let turn = [
            self.number(0)?,
            self.number(1)?,
            self.number(3)?,
            self.number(4)?,
        ];
        Some(turn == [ONE, 0, 0, ONE])
    }

    /// Returns width and height as shown, in pixels.
    fn shown(&self) -> Option<(u32, u32)> {
        let pixels = |value: u32| (value + ONE / 2) >> 16;
        let size = (pixels(self.number(9)?), pixels(self.number(10)?));
        let is_sideways = (self.number(0)?, self.number(4)?) == (0, 0);
        let (width, height) = if is_sideways { (size.1, size.0) } else { size };
        (width > 0 && height > 0).then_some((width, height))
    }
}

/// Returns the size in which the picture of a track's `init.mp4` is shown, in pixels.
#[must_use]
pub fn shown_size(init: &[u8]) -> Option<(u32, u32)> {
    TrackHeader::of(boxes::find(init, &[b"moov"])?.body)?.shown()
}

/// Returns true if a player that gets only the video's own bytes shows the picture as `init.mp4` says.
#[must_use]
pub fn is_in_the_stream(init: &[u8]) -> bool {
    let Some(moov) = boxes::find(init, &[b"moov"]) else {
        return true;
    };
    let header = TrackHeader::of(moov.body);
    if header.and_then(|header| header.is_upright()) == Some(false) {
        return false;
    }
    let Some(entry) = entry(moov.body) else {
        return true;
    };
    let said = of_entry(&entry);
    match &entry.kind {
        b"avc1" => {
            let trak = boxes::find(moov.body, &[b"trak"]);
            let sets = trak.and_then(|trak| avc::of_trak(trak.whole));
            sets.is_some_and(|sets| {
                let mut sets = sets.sequence.iter();
                sets.all(|set| missing(set, &said) == Some(PixelProperties::default()))
            })
        }
        // Sets of other codecs are not read here, so only square pixels are sure.
        _ => said.aspect.is_none_or(|aspect| aspect == SQUARE),
    }
}

/// Shape of most pixels.
const SQUARE: PixelAspect = PixelAspect {
    width: 1,
    height: 1,
};

/// Returns the `trak` with parameter sets of H.264 that say what its sample entry says of pixels.
#[must_use]
pub fn with_agreeing_sets(trak: &[u8]) -> Option<Vec<u8>> {
    let said = of_entry(&entry(trak).filter(|entry| &entry.kind == b"avc1")?);
    let mut sets = avc::of_trak(trak)?;
    let mut is_changed = false;
    for set in &mut sets.sequence {
        let missing = missing(set, &said)?;
        if missing != PixelProperties::default() {
            *set = vui::with_properties(set, &missing)?;
            is_changed = true;
        }
    }
    is_changed.then(|| avc::with_sets(trak, &sets)).flatten()
}

/// Returns what `said` says and a parameter set does not.
fn missing(set: &[u8], said: &PixelProperties) -> Option<PixelProperties> {
    let found = vui::read(set)?;
    let aspect = said
        .aspect
        .filter(|aspect| *aspect != found.aspect.unwrap_or(SQUARE));
    let colours = said
        .colours
        .filter(|colours| Some(*colours) != found.colours);
    Some(PixelProperties { aspect, colours })
}

fn entry(around_trak: &[u8]) -> Option<BoxAt<'_>> {
    let path: [&[u8; 4]; 5] = [b"trak", b"mdia", b"minf", b"stbl", b"stsd"];
    let stsd = boxes::find(around_trak, &path)?;
    boxes::iterate(stsd.body.get(8..)?).next()
}

/// Reads `pasp` and `colr` of a sample entry.
fn of_entry(entry: &BoxAt<'_>) -> PixelProperties {
    let children = entry.body.get(VISUAL_FIELDS..).unwrap_or_default();
    let aspect = boxes::find(children, &[b"pasp"]).and_then(|pasp| {
        let (width, height) = (be32(pasp.body, 0)?, be32(pasp.body, 4)?);
        // A parameter set has 16 bits for each.
        let fits = |value| (1..=u32::from(u16::MAX)).contains(&value);
        (fits(width) && fits(height)).then_some(PixelAspect { width, height })
    });
    let colours = boxes::iterate(children)
        .filter(|child| &child.kind == b"colr")
        .find_map(|child| colours(child.body));
    PixelProperties { aspect, colours }
}

fn colours(colr: &[u8]) -> Option<Colours> {
    let code = |at| be16(colr, at).and_then(|code| u8::try_from(code).ok());
    let is_known = colr.get(..4)? == b"nclx";
    let found = Colours {
        primaries: code(4)?,
        transfer: code(6)?,
        matrix: code(8)?,
        is_full_range: colr.get(10)? >> 7 == 1,
    };
    let says = [found.primaries, found.transfer, found.matrix] != [UNSPECIFIED; 3];
    (is_known && says).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set as x264 writes it for 640x360, without a shape of pixels.
    const SET: &[u8] = &[
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03,
        0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x30, 0x0f, 0x16, 0x2d, 0x96,
    ];

    fn trak(matrix: [u32; 9], size: (u32, u32), extra: &[u8]) -> Vec<u8> {
        let mut header = vec![0; 40];
        let numbers = matrix.into_iter().chain([size.0 << 16, size.1 << 16]);
        numbers.for_each(|number| header.extend(number.to_be_bytes()));
        let mut avcc = vec![1, 0x64, 0, 30, 0xff, 0xe1, 0, SET.len() as u8];
        avcc.extend(SET);
        avcc.extend([1, 0, 4, 0x68, 0xeb, 0xe3, 0xcb]);
        let entry = boxes::write(
            b"avc1",
            &[&[0; 78], &boxes::write(b"avcC", &[&avcc]), extra],
        );
        let stsd = boxes::write(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], &entry]);
        let minf = boxes::write(b"minf", &[&boxes::write(b"stbl", &[&stsd])]);
        let mdia = boxes::write(b"mdia", &[&minf]);
        boxes::write(b"trak", &[&boxes::write(b"tkhd", &[&header]), &mdia])
    }

    const UPRIGHT: [u32; 9] = [ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30];

    fn init(trak: &[u8]) -> Vec<u8> {
        boxes::write(b"moov", &[trak])
    }

    #[test]
    fn a_turned_picture_is_shown_upright_and_has_no_place_in_the_stream() {
        let turned = [0, ONE, 0, ONE.wrapping_neg(), 0, 0, 360 << 16, 0, 1 << 30];
        let turned = init(&trak(turned, (640, 360), &[]));
        assert_eq!(shown_size(&turned), Some((360, 640)));
        assert!(!is_in_the_stream(&turned));
        let upright = init(&trak(UPRIGHT, (640, 360), &[]));
        assert_eq!(shown_size(&upright), Some((640, 360)));
        assert!(is_in_the_stream(&upright));
    }

    #[test]
    fn what_only_the_container_says_is_written_into_the_sets() {
        let pasp = boxes::write(b"pasp", &[&4_u32.to_be_bytes(), &3_u32.to_be_bytes()]);
        let colr = boxes::write(b"colr", &[b"nclx", &[0, 9, 0, 16, 0, 9, 0x80]]);
        let before = trak(UPRIGHT, (853, 360), &[pasp, colr].concat());
        assert!(!is_in_the_stream(&init(&before)));
        let after = with_agreeing_sets(&before).unwrap();
        assert!(is_in_the_stream(&init(&after)));
        assert_eq!(with_agreeing_sets(&after), None);
        let plain = trak(UPRIGHT, (640, 360), &[]);
        assert_eq!(with_agreeing_sets(&plain), None);
    }
}
