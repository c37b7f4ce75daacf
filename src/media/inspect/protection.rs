//! Recognises encrypted MP4 files, which ffmpeg would remux with status 0 into noise. Even ffprobe
//! reports plain H.264 for them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::media::container::Container;
use crate::media::mp4::boxes;
use crate::media::reason::UnreadableReason;

/// Limit of the top-level boxes that are examined. A fragmented film of 10 h has 36000.
const MAX_TOP_LEVEL: usize = 100_000;
/// Size limit of a `moov` that is read. The `moov` of a film of 10 h has 40 MB.
const MAX_MOOV: u64 = 256 << 20;

/// Returns why `file` must not be remuxed, if it must not.
///
/// # Errors
/// When the file cannot be read.
pub fn refuse(file: &File, container: Container) -> io::Result<Option<UnreadableReason>> {
    if container != Container::Mp4 {
        return Ok(None);
    }
    let encrypted = match read_moov(file)? {
        Some(moov) => is_encrypted(&moov),
        // ffprobe reports the missing box.
        None => false,
    };
    Ok(encrypted.then_some(UnreadableReason::Encrypted))
}

/// Reads the body of the `moov` box; `None` where there is none.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn read_moov(file: &File) -> io::Result<Option<Vec<u8>>> {
    let len = file.metadata()?.len();
    let mut at = 0;
    for _ in 0..MAX_TOP_LEVEL {
        if at + 16 > len {
            break;
        }
        let mut head = [0; 16];
        file.read_exact_at(&mut head, at)?;
        let Some((size, header)) = boxes::box_size(&head) else {
            break;
        };
        let size = if size == 0 { len - at } else { size };
        if size < header as u64 || size > len - at {
            break;
        }
        if &head[4..8] == b"moov" {
            if size > MAX_MOOV {
                break;
            }
            let mut moov = vec![0; usize::try_from(size).unwrap_or(0)];
            file.read_exact_at(&mut moov, at)?;
            return Ok(Some(moov[header..].to_vec()));
        }
        at += size;
    }
    Ok(None)
}

/// Returns whether a sample entry is a protected one (ISO/IEC 14496-12 §8.12; `drm*` is Apple's).
fn is_encrypted(moov: &[u8]) -> bool {
    boxes::iterate(moov)
        .filter(|found| &found.kind == b"trak")
        .filter_map(|trak| boxes::find(trak.body, &[b"mdia", b"minf", b"stbl", b"stsd"]))
        .any(|stsd| {
            let entries = stsd.body.get(8..).unwrap_or_default();
            boxes::iterate(entries).any(|entry| {
                matches!(
                    &entry.kind,
                    b"encv" | b"enca" | b"enct" | b"encs" | b"drmi" | b"drms"
                ) || memchr::memmem::find(entry.body, b"sinf").is_some()
            })
        })
}
