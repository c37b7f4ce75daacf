//! Dolby Vision: the configuration record in a sample entry (`dvcC`, `dvvC`, `dvwC`; "Dolby Vision Streams
//! Within the ISO Base Media File Format", 2.x, §3) and its names in playlists ("Dolby Vision
//! Streams Within the HTTP Live Streaming Format", 2.x; RFC 8216bis §4.4.6.2).

use super::boxes::{self, be16};

/// Bytes of a visual sample entry before its child boxes.
const VISUAL_FIELDS: usize = 78;
/// Boxes that hold the record, by range of profiles.
const RECORDS: [&[u8; 4]; 3] = [b"dvcC", b"dvvC", b"dvwC"];

/// What a film says of its Dolby Vision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DolbyVision {
    pub profile: u8,
    pub level: u8,
    /// Which other players can show the base layer: 0 none, 1 HDR10, 2 SDR, 4 HLG, 6 HDR10 of a disc.
    pub compatibility: u8,
}

/// Base layer beneath the enhancement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseLayer {
    /// Nothing but Dolby Vision can be made of it.
    Own,
    Hdr10,
    Sdr,
    Hlg,
}

impl DolbyVision {
    /// Reads the record among the child boxes of a sample entry.
    #[must_use]
    pub fn of_children(children: &[u8]) -> Option<Self> {
        let record = RECORDS
            .iter()
            .find_map(|kind| boxes::find(children, &[kind]))?;
        let fields = be16(record.body, 2)?;
        Some(Self {
            profile: u8::try_from(fields >> 9).ok()?,
            level: u8::try_from(fields >> 3 & 0x3f).ok()?,
            compatibility: record.body.get(4)? >> 4,
        })
    }

    /// Reads the record of a track's `init.mp4`.
    #[must_use]
    pub fn of_init(init: &[u8]) -> Option<Self> {
        let path: [&[u8; 4]; 6] = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"];
        let stsd = boxes::find(init, &path)?;
        let entry = boxes::iterate(stsd.body.get(8..)?).next()?;
        Self::of_children(entry.body.get(VISUAL_FIELDS..)?)
    }

    /// Returns what other players see of it.
    #[must_use]
    pub const fn base_layer(self) -> Option<BaseLayer> {
        match (self.profile, self.compatibility) {
            (5, _) | (10, 0) => Some(BaseLayer::Own),
            (8 | 10, 1) => Some(BaseLayer::Hdr10),
            (8..=10, 2) => Some(BaseLayer::Sdr),
            (8 | 10, 4) => Some(BaseLayer::Hlg),
            _ => None,
        }
    }

    /// Returns the codec string of a film that only Dolby Vision can show.
    #[must_use]
    pub fn own_codec(self) -> Option<String> {
        match (self.profile, self.base_layer()?) {
            (5, BaseLayer::Own) => Some(self.named("dvh1")),
            (10, BaseLayer::Own) => Some(self.named("dav1")),
            _ => None,
        }
    }

    /// Returns the value of SUPPLEMENTAL-CODECS for a film that others can show as well.
    #[must_use]
    pub fn supplemental_codecs(self) -> Option<String> {
        let brand = match self.base_layer()? {
            BaseLayer::Own => return None,
            BaseLayer::Hdr10 => "db1p",
            BaseLayer::Sdr => "db2g",
            BaseLayer::Hlg => "db4h",
        };
        let entry = match self.profile {
            9 => "dva1",
            10 => "dav1",
            _ => "dvh1",
        };
        Some(format!("{}/{brand}", self.named(entry)))
    }

    /// Returns the value of VIDEO-RANGE, where the record decides it.
    #[must_use]
    pub fn video_range(self) -> Option<&'static str> {
        match self.base_layer()? {
            BaseLayer::Own | BaseLayer::Hdr10 => Some("PQ"),
            BaseLayer::Hlg => Some("HLG"),
            BaseLayer::Sdr => Some("SDR"),
        }
    }

    fn named(self, entry: &str) -> String {
        format!("{entry}.{:02}.{:02}", self.profile, self.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(profile: u16, compatibility: u8) -> DolbyVision {
        let fields = (profile << 9 | 6 << 3 | 0b101).to_be_bytes();
        let record = [1, 0, fields[0], fields[1], compatibility << 4];
        let kind: &[u8; 4] = if profile < 8 { b"dvcC" } else { b"dvvC" };
        let bytes = boxes::write(kind, &[&record, &[0; 19]]);
        DolbyVision::of_children(&bytes).unwrap()
    }

    #[test]
    fn profiles_are_named_as_players_know_them() {
        let named = |profile, compatibility| {
            let found = of(profile, compatibility);
            (
                found.own_codec(),
                found.supplemental_codecs(),
                found.video_range(),
            )
        };
        let text = |name: &str| Some(name.to_owned());
        assert_eq!(named(5, 0), (text("dvh1.05.06"), None, Some("PQ")));
        assert_eq!(named(8, 1), (None, text("dvh1.08.06/db1p"), Some("PQ")));
        assert_eq!(named(8, 4), (None, text("dvh1.08.06/db4h"), Some("HLG")));
        assert_eq!(named(8, 2), (None, text("dvh1.08.06/db2g"), Some("SDR")));
        assert_eq!(named(10, 0), (text("dav1.10.06"), None, Some("PQ")));
        assert_eq!(named(10, 4), (None, text("dav1.10.06/db4h"), Some("HLG")));
        // Two layers, as on discs: HLS has no name for them.
        assert_eq!(named(7, 6), (None, None, None));
    }

    #[test]
    fn a_record_that_is_cut_off_is_none() {
        let bytes = boxes::write(b"dvcC", &[&[1, 0, 10]]);
        assert_eq!(DolbyVision::of_children(&bytes), None);
    }
}
