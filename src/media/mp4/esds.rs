//! The elementary stream descriptor of MPEG-4 sample entries (ISO/IEC 14496-1 §7.2.6).

/// Coding that the descriptor announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecoderConfig<'a> {
    /// Table 5: 0x40 is MPEG-4 audio.
    pub object_type: u8,
    /// Bytes for the decoder, e.g. an AudioSpecificConfig. They are cut off where the box ends.
    pub config: Option<&'a [u8]>,
}

/// Returns the name of audio with an object type of its own that players know by another name than
/// `mp4a`: the sample entries that the registration authority lists for DTS and Dolby's codecs.
#[must_use]
pub fn own_name(object_type: u8) -> Option<&'static str> {
    match object_type {
        0xa5 => Some("ac-3"),
        0xa6 => Some("ec-3"),
        0xa9 => Some("dtsc"),
        0xaa => Some("dtsh"),
        0xab => Some("dtsl"),
        0xac => Some("dtse"),
        _ => None,
    }
}

/// Reads the body of an `esds` box.
#[must_use]
pub fn parse(esds: &[u8]) -> Option<DecoderConfig<'_>> {
    // Version and flags of the box.
    let mut at = 4;
    loop {
        let (tag, body) = descriptor(esds, at)?;
        at = body;
        match tag {
            // ES_Descriptor: id and flags, whose options ffmpeg never writes
            0x03 => at += 3,
            0x04 => {
                let object_type = *esds.get(at)?;
                let config = descriptor(esds, at + 13)
                    .filter(|(tag, _)| *tag == 0x05)
                    .and_then(|(_, body)| esds.get(body..));
                return Some(DecoderConfig {
                    object_type,
                    config,
                });
            }
            _ => return None,
        }
    }
}

/// Returns the tag of the descriptor at `at`, and the offset of its body. The length takes at most four
/// bytes of seven bits.
fn descriptor(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let tag = *bytes.get(at)?;
    let last = (1..=4).find(|skip| bytes.get(at + skip).is_none_or(|byte| byte & 0x80 == 0));
    Some((tag, at + last.unwrap_or(4) + 1))
}

#[cfg(test)]
mod tests {
    use super::{own_name, parse};

    /// ffmpeg writes DTS in MP4 as `mp4a` with this descriptor.
    #[test]
    fn dts_has_the_name_that_players_know() {
        let esds = [
            0, 0, 0, 0, 0x03, 0x80, 0x80, 0x80, 0x18, 0, 1, 0, 0x04, 0x80, 0x80, 0x80, 0x10, 0xa9,
            0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let found = parse(&esds).map(|found| own_name(found.object_type));
        assert_eq!(found, Some(Some("dtsc")));
        for mpeg in [0x40, 0x69, 0x6b] {
            assert_eq!(own_name(mpeg), None, "{mpeg:x}");
        }
    }
}
