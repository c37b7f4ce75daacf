//! Finds out whether a file is cut off: whether its last bytes lie before the end that its own structure
//! states. A duration in a header proves nothing, because subtitles may outlast the picture and because
//! programs leave it unset.

use std::fs::File;
use std::io;

use super::ebml::{SEGMENT, element, read_up_to};
use crate::media::container::Container;
use crate::media::mp4::boxes::box_size;

/// Most boxes that are examined. A fragmented film of 10 h has 36000.
const MAX_BOXES: usize = 100_000;
/// Length that writers leave in RIFF chunks whose end they do not know.
const UNSET: u64 = 0xFFFF_FFFF;

/// Returns whether `file` is cut off. Containers that do not state their own size are taken as whole.
///
/// # Errors
/// When the file cannot be read.
pub fn is_cut_off(file: &File, container: Container) -> io::Result<bool> {
    let len = file.metadata()?.len();
    let end = match container {
        Container::Matroska => matroska_end(file)?,
        Container::Mp4 => mp4_end(file, len)?,
        Container::Avi | Container::Wav => riff_end(file)?,
        Container::Asf => asf_end(file)?,
        Container::Flv => return is_flv_cut(file, len),
        _ => None,
    };
    Ok(end.is_some_and(|end| end > len))
}

/// Returns the end of the segment, if its size is known.
fn matroska_end(file: &File) -> io::Result<Option<u64>> {
    let mut at = 0;
    for _ in 0..4 {
        let Some(found) = element(file, at)? else {
            break;
        };
        let end = found.len.and_then(|len| found.data.checked_add(len));
        match end {
            Some(end) if found.id != SEGMENT => at = end,
            end => return Ok(end),
        }
    }
    Ok(None)
}

/// Returns the end of the last box.
fn mp4_end(file: &File, len: u64) -> io::Result<Option<u64>> {
    let mut at: u64 = 0;
    for _ in 0..MAX_BOXES {
        if at >= len {
            return Ok(Some(at));
        }
        let header = read_up_to(file, at, 16)?;
        match box_size(&header) {
            // The last box may last to the end.
            Some((0, _)) | None => return Ok(None),
            Some((size, header)) if size < header as u64 => return Ok(None),
            Some((size, _)) => at = at.saturating_add(size),
        }
    }
    Ok(None)
}

/// Returns the end of the first RIFF chunk. AVI files above 1 GiB have more of them.
fn riff_end(file: &File) -> io::Result<Option<u64>> {
    let header = read_up_to(file, 0, 8)?;
    let size = header.get(4..8).and_then(|size| size.try_into().ok());
    let size = u64::from(size.map_or(0, u32::from_le_bytes));
    Ok((header.starts_with(b"RIFF") && size > 0 && size < UNSET).then_some(8 + size))
}

/// Returns the size that the file properties state (ASF specification §3.2).
fn asf_end(file: &File) -> io::Result<Option<u64>> {
    const PROPERTIES: [u8; 8] = [0xa1, 0xdc, 0xab, 0x8c, 0x47, 0xa9, 0xcf, 0x11];
    /// Bytes of the identifiers and the size of the object before the file's size.
    const BEFORE: usize = 16 + 8 + 16;
    const IS_LIVE: u8 = 1;
    let head = read_up_to(file, 0, 8192)?;
    let Some(at) = memchr::memmem::find(&head, &PROPERTIES) else {
        return Ok(None);
    };
    let field = |from: usize| head.get(at + from..at + from + 8);
    let (Some(size), Some(flags)) = (field(BEFORE), field(BEFORE + 48)) else {
        return Ok(None);
    };
    let size = size.try_into().map_or(0, u64::from_le_bytes);
    Ok((flags[0] & IS_LIVE == 0).then_some(size))
}

/// Returns whether the last tag is cut: each tag is followed by its size.
fn is_flv_cut(file: &File, len: u64) -> io::Result<bool> {
    const TAG_HEADER: u64 = 11;
    const KINDS: [u8; 3] = [8, 9, 18];
    let Some(at) = len.checked_sub(4) else {
        return Ok(true);
    };
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let size = number(&read_up_to(file, at, 4)?);
    let Some(tag) = at.checked_sub(size).filter(|_| size >= TAG_HEADER) else {
        return Ok(true);
    };
    let header = read_up_to(file, tag, 4)?;
    let is_whole = header.len() == 4
        && KINDS.contains(&(header[0] & 0x1f))
        && number(&header[1..]) + TAG_HEADER == size;
    Ok(!is_whole)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn is_cut(container: Container, bytes: &[u8]) -> bool {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        is_cut_off(&file, container).unwrap()
    }

    #[test]
    fn a_file_is_whole_up_to_the_end_that_it_states() {
        let mut riff = b"RIFF\x10\0\0\0AVI ".to_vec();
        riff.resize(24, 0);
        let mut mp4 = b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x10mdat".to_vec();
        mp4.resize(32, 0);
        let mut matroska = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x88".to_vec();
        matroska.resize(18, 0);
        let mut flv = b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x09\0\0\x05".to_vec();
        flv.resize(13 + 11 + 5, 0);
        flv.extend(16_u32.to_be_bytes());
        for (container, whole) in [
            (Container::Avi, riff),
            (Container::Mp4, mp4),
            (Container::Matroska, matroska),
            (Container::Flv, flv),
        ] {
            assert!(!is_cut(container, &whole), "{container:?}");
            assert!(
                is_cut(container, &whole[..whole.len() - 1]),
                "{container:?}"
            );
        }
        // What has no known size is whole.
        assert!(!is_cut(Container::Avi, b"RIFF\xff\xff\xff\xffAVI "));
        assert!(!is_cut(
            Container::Matroska,
            b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff"
        ));
        assert!(!is_cut(Container::MpegTs, b"G"));
    }
}
