//! Recognises a container by the first bytes of the file, never by its name. Only containers that
//! hold their own media are recognised. Scripts that name other files (concat, HLS, DASH, SDP) are
//! text and match nothing, so ffmpeg never opens them.

use std::fs::File;
use std::io;

use super::ebml::read_up_to;
use crate::media::container::Container;

/// Bytes of the file that [`sniff`] wants to see.
const SNIFF_BYTES: usize = 4096;
/// Most ID3 tags before the container.
const MAX_TAGS: usize = 4;
/// Packets of a transport stream that must be in step where the first is cut.
const MIN_PACKETS: usize = 5;

/// Returns the container of a file, if it is a known one. Tags of ID3 may stand before all containers.
///
/// # Errors
/// When the file cannot be read.
pub fn sniff_file(file: &File) -> io::Result<Option<Container>> {
    let mut at = 0;
    let mut head = read_up_to(file, at, SNIFF_BYTES)?;
    for _ in 0..MAX_TAGS {
        let Some(len) = tag_len(&head) else {
            break;
        };
        at += len;
        head = read_up_to(file, at, SNIFF_BYTES)?;
    }
    Ok(sniff(&head))
}

/// Returns the length of the ID3 tag (version 2) that `head` starts with.
fn tag_len(head: &[u8]) -> Option<u64> {
    const HEADER: u64 = 10;
    const HAS_FOOTER: u8 = 0x10;
    let size = head.get(6..10).filter(|_| head.starts_with(b"ID3"))?;
    let size = size
        .iter()
        .fold(0, |size, byte| size << 7 | u64::from(byte & 0x7f));
    let footer = if head[5] & HAS_FOOTER == 0 { 0 } else { HEADER };
    Some(HEADER + size + footer)
}

/// Returns whether a file starts with text. Scripts are text, and no container is.
///
/// # Errors
/// When the file cannot be read.
pub fn starts_with_text(file: &File) -> io::Result<bool> {
    let head = read_up_to(file, 0, SNIFF_BYTES)?;
    let is_text = |byte: &u8| *byte >= 0x20 || matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c);
    Ok(head.iter().all(is_text))
}

/// Returns whether an MP4 says that it is a picture (HEIC, AVIF), by its brand.
///
/// # Errors
/// When the file cannot be read.
pub fn is_still_picture(file: &File) -> io::Result<bool> {
    const BRANDS: [&[u8]; 8] = [
        b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2", b"avif", b"miaf",
    ];
    let head = read_up_to(file, 0, SNIFF_BYTES)?;
    let brand = head.get(8..12).unwrap_or_default();
    Ok(head.get(4..8) == Some(b"ftyp") && BRANDS.contains(&brand))
}

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

/// Returns true for packets of 188 bytes, of 192 with a time stamp before each (Blu-ray), or of 204 with
/// a checksum behind each. A recording may begin inside a packet.
fn is_mpeg_ts(head: &[u8]) -> bool {
    const SYNC: u8 = 0x47;
    let in_step = |first: usize, step: usize, least: usize| {
        let mut packets = head.iter().skip(first).step_by(step);
        packets.len() >= least && packets.all(|byte| *byte == SYNC)
    };
    in_step(0, 188, 3)
        || in_step(4, 192, 3)
        || [188, 192, 204]
            .into_iter()
            .any(|step| (0..step).any(|first| in_step(first, step, MIN_PACKETS)))
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
        for (first, step) in [(0, 188), (4, 192), (88, 188), (191, 192), (203, 204)] {
            let mut ts = vec![0; 4096];
            let packets = ts.iter_mut().skip(first).step_by(step);
            packets.for_each(|byte| *byte = 0x47);
            assert_eq!(sniff(&ts), Some(Container::MpegTs), "{first} {step}");
        }
        assert_eq!(sniff(b"\x1a\x45\xdf\xa3rest"), Some(Container::Matroska));
        assert_eq!(sniff(b"\0\0\0\x20ftypisom"), Some(Container::Mp4));
        assert_eq!(sniff(b"\xff\xf1\x50\x80\0\0\0\0"), Some(Container::Adts));
        assert_eq!(sniff(b"\xff\xfb\x90\x44\0\0\0\0"), Some(Container::Mp3));
    }

    #[test]
    fn tags_before_a_container_are_passed_over() {
        let mut tag = b"ID3\x04\0\0\0\0\x27\x08".to_vec();
        tag.resize(10 + 0x27 * 128 + 8, 0);
        let file = tempfile::NamedTempFile::new().unwrap();
        for (rest, expected) in [
            (&b"fLaC\0\0\0\x22"[..], Some(Container::Flac)),
            (b"\xff\xf1\x50\x80\0\0\0\0", Some(Container::Adts)),
            (b"what", None),
        ] {
            std::fs::write(file.path(), [&tag, &tag, rest].concat()).unwrap();
            let found = sniff_file(&File::open(file.path()).unwrap()).unwrap();
            assert_eq!(found, expected, "{rest:?}");
        }
    }
}
