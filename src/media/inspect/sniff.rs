//! Recognises a container by the first bytes of the file, never by its name. Only containers that
//! hold their own media are recognised. Scripts that name other files (concat, HLS, DASH, SDP) are
//! text and match nothing, so ffmpeg never opens them.

use crate::media::container::Container;

/// Bytes of the file that [`sniff`] wants to see.
pub const SNIFF_BYTES: usize = 4096;

/// Returns the container whose file starts with `head`, if it is a known one.
#[must_use]
pub fn sniff(head: &[u8]) -> Option<Container> {
    let at = |offset: usize, magic: &[u8]| {
        head.get(offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    let asf = [0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11];
    let found = if at(0, &[0x1a, 0x45, 0xdf, 0xa3]) {
        Container::Matroska
    } else if is_mp4(head) {
        Container::Mp4
    } else if at(0, b"RIFF") && at(8, b"AVI ") {
        Container::Avi
    } else if (at(0, b"RIFF") || at(0, b"RF64")) && at(8, b"WAVE") {
        Container::Wav
    } else if at(0, b"FLV\x01") {
        Container::Flv
    } else if at(0, b"OggS") {
        Container::Ogg
    } else if at(0, b"fLaC") {
        Container::Flac
    } else if at(0, &asf) {
        Container::Asf
    } else if at(0, &[0, 0, 1, 0xba]) {
        Container::MpegPs
    } else if is_mpeg_ts(head) {
        Container::MpegTs
    } else if at(0, b"ID3") {
        // Tags come before MP3 far more often than before ADTS. ffprobe settles it.
        Container::Mp3
    } else if head.len() > 7 && head[0] == 0xff && head[1] & 0xf6 == 0xf0 {
        Container::Adts
    } else if head.len() > 4 && head[0] == 0xff && head[1] & 0xe6 == 0xe2 && head[2] >> 4 != 0xf {
        Container::Mp3
    } else {
        return None;
    };
    Some(found)
}

fn is_mp4(head: &[u8]) -> bool {
    let first = [
        "ftyp", "moov", "mdat", "free", "skip", "wide", "pnot", "styp",
    ];
    head.get(4..8)
        .is_some_and(|kind| first.iter().any(|known| known.as_bytes() == kind))
}

/// Returns true for packets of 188 bytes, or of 192 with a time stamp before each (Blu-ray).
fn is_mpeg_ts(head: &[u8]) -> bool {
    const SYNC: u8 = 0x47;
    [(0, 188), (4, 192)].iter().any(|&(first, step)| {
        let packets: Vec<u8> = head.iter().skip(first).step_by(step).copied().collect();
        packets.len() >= 3 && packets.iter().all(|byte| *byte == SYNC)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_name_other_files_are_no_media() {
        for text in [
            "ffconcat version 1.0\nfile '/etc/passwd'\n",
            "#EXTM3U\n#EXT-X-TARGETDURATION:10\nfile.ts\n",
            "<?xml version=\"1.0\"?><MPD></MPD>",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\n",
            "",
            "\0",
        ] {
            assert_eq!(sniff(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(sniff(&[b'x'; 4096]), None);
        assert_eq!(sniff(&[0; 4096]), None);
    }

    #[test]
    fn containers_are_known_by_their_bytes() {
        let mut ts = vec![0; 4096];
        ts.iter_mut().step_by(188).for_each(|byte| *byte = 0x47);
        assert_eq!(sniff(&ts), Some(Container::MpegTs));
        assert_eq!(sniff(b"\x1a\x45\xdf\xa3rest"), Some(Container::Matroska));
        assert_eq!(sniff(b"\0\0\0\x20ftypisom"), Some(Container::Mp4));
        assert_eq!(sniff(b"\xff\xf1\x50\x80\0\0\0\0"), Some(Container::Adts));
        assert_eq!(sniff(b"\xff\xfb\x90\x44\0\0\0\0"), Some(Container::Mp3));
    }
}
