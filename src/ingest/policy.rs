//! Policy of names: a file is ingested, not yet ingested, or never ingested, by its name.

use crate::model::Name;

/// Treatment of a written file by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamePolicy {
    /// Stored, and examined for views.
    Ingest,
    /// Kept in the spool until it is renamed. Tools use such names while they write.
    Temporary,
    /// Kept in the spool while a downloader's file beside it says that it is not finished. Only the
    /// directory tells this, never the name.
    Marked,
    /// Kept locally and never sent. File managers leave such files.
    Local,
}

/// Suffixes of unfinished downloads and copies, in lower case. Downloaders write them in any case.
const TEMPORARY_SUFFIXES: [&[u8]; 41] = [
    // Browsers, KDE, WinSCP, wget, youtube-dl.
    b".part",
    b".crdownload",
    b".partial",
    b".download",
    b".opdownload",
    b".ucdownload",
    b".downloading",
    b".dltemp",
    b".dlpart",
    b".filepart",
    b".unfinished",
    b".incomplete",
    b".ytdl",
    // Clients of BitTorrent and eDonkey.
    b".!qb",
    b".!ut",
    b".!bt",
    b".!sync",
    b".bc!",
    b".az!",
    b".jc!",
    b".ob!",
    b".part.met",
    // Download managers: aria2, Free Download Manager, Xunlei, GetRight, Internet Download Accelerator,
    // JDownloader, DC++, Google Drive.
    b".aria2",
    b".aria2__temp",
    b".fdmdownload",
    b".xltd",
    b".xltd.cfg",
    b".td",
    b".td.cfg",
    b".getright",
    b".idapart",
    b".jdpart",
    b".dctmp",
    b".drivedownload",
    // Sessions of lftp and axel.
    b".lftp-pget-status",
    // ffmpeg's HLS muxer, Syncthing, editors.
    b".tmp",
    b".temp",
    b"~",
    b".swp",
    b".swx",
    b".swpx",
];

/// Names that file managers give to files of their own.
const LOCAL_NAMES: [&[u8]; 4] = [b".DS_Store", b"Thumbs.db", b"desktop.ini", b".directory"];

/// Beginnings of names, in lower case, under which files are kept that are not finished or already
/// deleted: GIO, libfuse, MEGA.
const TEMPORARY_PREFIXES: [&[u8]; 3] = [b".goutputstream-", b".fuse_hidden", b".getxfer."];

/// Suffixes of the files that downloaders keep beside an unfinished one: aria2, lftp, axel.
const MARKERS: [&[u8]; 3] = [b".aria2", b".lftp-pget-status", b".st"];

/// Returns the names of files beside `name` that say that it is not finished.
pub fn markers_of(name: &Name) -> impl Iterator<Item = Name> {
    let marker = |suffix: &&[u8]| Name::new([name.as_bytes(), suffix].concat()).ok();
    MARKERS.iter().filter_map(marker)
}

/// Returns the name of the file that a file of this name marks as unfinished.
#[must_use]
pub fn marked_by(name: &Name) -> Option<Name> {
    let bytes = name.as_bytes();
    let marked = MARKERS
        .iter()
        .find_map(|suffix| bytes.strip_suffix(*suffix))?;
    Name::new(marked).ok()
}

/// Returns the treatment of a file with this name. Its bytes do not matter.
#[must_use]
pub fn name_policy(name: &Name) -> NamePolicy {
    let bytes = name.as_bytes();
    if is_local(bytes) {
        NamePolicy::Local
    } else if is_temporary(bytes) {
        NamePolicy::Temporary
    } else {
        NamePolicy::Ingest
    }
}

fn is_local(name: &[u8]) -> bool {
    // Windows and Samba write these names in any case.
    LOCAL_NAMES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
        || name.starts_with(b"._")
}

fn is_temporary(name: &[u8]) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_behind = |suffix: &&[u8]| lower.ends_with(suffix) && lower.len() > suffix.len();
    TEMPORARY_SUFFIXES.iter().any(is_behind)
        || TEMPORARY_PREFIXES
            .iter()
            .any(|prefix| lower.starts_with(prefix))
        || is_fragment(&lower)
        || is_being_merged(&lower)
        || is_nfs_leftover(&lower)
        || is_rsync_temporary(name)
        || is_sed_temporary(name)
}

/// Returns true for yt-dlp's `NAME.part-Frag12`.
fn is_fragment(lower: &[u8]) -> bool {
    let text = String::from_utf8_lossy(lower);
    let number = text.rsplit_once(".part-frag").map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Returns true for yt-dlp's `NAME.temp.mkv`, which ffmpeg still writes.
fn is_being_merged(lower: &[u8]) -> bool {
    match lower.iter().rposition(|&byte| byte == b'.') {
        Some(dot) => lower[..dot].ends_with(b".temp") && dot > b".temp".len(),
        None => false,
    }
}

/// Returns true for `.nfs000000000123456700000001`, which an NFS client keeps for those who have a removed
/// file open.
fn is_nfs_leftover(lower: &[u8]) -> bool {
    lower
        .strip_prefix(b".nfs")
        .is_some_and(|rest| rest.len() >= 16 && rest.iter().all(u8::is_ascii_hexdigit))
}

/// Returns true for rsync's `.NAME.XXXXXX`: a leading dot, and six random letters or digits behind the
/// last dot.
fn is_rsync_temporary(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b".") else {
        return false;
    };
    match rest.iter().rposition(|&byte| byte == b'.') {
        Some(dot) if dot > 0 => {
            let suffix = &rest[dot + 1..];
            // A hidden subtitle or picture has a short extension. mkstemp's has six characters.
            suffix.len() == 6 && suffix.iter().all(u8::is_ascii_alphanumeric)
        }
        _ => false,
    }
}

/// Returns true for the `sedXXXXXX` of `sed -i`.
fn is_sed_temporary(name: &[u8]) -> bool {
    name.strip_prefix(b"sed")
        .is_some_and(|rest| rest.len() == 6 && rest.iter().all(u8::is_ascii_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_tools_write_under_wait_for_their_rename() {
        for (name, expected) in [
            ("film.mkv", NamePolicy::Ingest),
            ("film.mkv.part", NamePolicy::Temporary),
            ("film.mkv.crdownload", NamePolicy::Temporary),
            (".film.mkv.Ab3xY9", NamePolicy::Temporary),
            (".goutputstream-AB12CD", NamePolicy::Temporary),
            ("h.m3u8.tmp", NamePolicy::Temporary),
            ("notes.txt~", NamePolicy::Temporary),
            (".notes.txt.swp", NamePolicy::Temporary),
            ("sedAbC123", NamePolicy::Temporary),
            ("film.mkv.PART", NamePolicy::Temporary),
            ("film.mkv.aria2", NamePolicy::Temporary),
            ("film.mkv.filepart", NamePolicy::Temporary),
            ("film.mkv.!ut", NamePolicy::Temporary),
            ("film.mkv.!qB", NamePolicy::Temporary),
            ("film.mkv.bc!", NamePolicy::Temporary),
            ("film.mkv.opdownload", NamePolicy::Temporary),
            ("film.mkv.fdmdownload", NamePolicy::Temporary),
            ("film.mkv.xltd", NamePolicy::Temporary),
            ("film.mkv.td", NamePolicy::Temporary),
            ("film.mkv.!Sync", NamePolicy::Temporary),
            ("film.mkv.ytdl", NamePolicy::Temporary),
            ("film.mkv.downloading", NamePolicy::Temporary),
            ("film.mp4.part-Frag12", NamePolicy::Temporary),
            ("film.temp.mkv", NamePolicy::Temporary),
            (".fuse_hidden0000007a00000001", NamePolicy::Temporary),
            (".nfs00000000012345670000001a", NamePolicy::Temporary),
            ("film.part-fragile.mkv", NamePolicy::Ingest),
            ("temp.mkv", NamePolicy::Ingest),
            (".part", NamePolicy::Ingest),
            ("Kapitel.Ein.td.mkv", NamePolicy::Ingest),
            ("film.part1.rar", NamePolicy::Ingest),
            ("sedation.mkv", NamePolicy::Ingest),
            (".hidden.mkv", NamePolicy::Ingest),
            (".DS_Store", NamePolicy::Local),
            ("._film.mkv", NamePolicy::Local),
            ("Thumbs.db", NamePolicy::Local),
            ("thumbs.db", NamePolicy::Local),
            ("Desktop.ini", NamePolicy::Local),
        ] {
            assert_eq!(name_policy(&Name::new(name).unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn a_marker_names_the_file_beside_it_and_the_other_way_round() {
        let film = Name::new("film.mkv").unwrap();
        let markers: Vec<Name> = markers_of(&film).collect();
        assert_eq!(markers.len(), MARKERS.len());
        for marker in markers {
            assert_eq!(marked_by(&marker), Some(film.clone()));
        }
        assert_eq!(marked_by(&film), None);
        assert_eq!(marked_by(&Name::new(".aria2").unwrap()), None);
    }
}
