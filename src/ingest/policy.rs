//! Policy of names: a file is ingested, not yet ingested, or never ingested, by its name.

use crate::model::Name;

/// Treatment of a written file by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamePolicy {
    /// Stored, and examined for views.
    Ingest,
    /// Kept in the spool until it is renamed. Tools use such names while they write.
    Temporary,
    /// Kept locally and never sent. File managers leave such files.
    Local,
}

/// Suffixes of partial downloads and copies (browsers, curl wrappers, KDE, ffmpeg's HLS muxer,
/// editors).
const TEMPORARY_SUFFIXES: [&[u8]; 9] = [
    b".part",
    b".crdownload",
    b".tmp",
    b".partial",
    b".download",
    b".!qB",
    b"~",
    b".swp",
    b".swx",
];

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
    matches!(
        name,
        b".DS_Store" | b"Thumbs.db" | b"desktop.ini" | b".directory"
    ) || name.starts_with(b"._")
}

fn is_temporary(name: &[u8]) -> bool {
    TEMPORARY_SUFFIXES
        .iter()
        .any(|suffix| name.ends_with(suffix) && name.len() > suffix.len())
        || name.starts_with(b".goutputstream-")
        || is_rsync_temporary(name)
        || is_sed_temporary(name)
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
            ("sedation.mkv", NamePolicy::Ingest),
            (".hidden.mkv", NamePolicy::Ingest),
            (".DS_Store", NamePolicy::Local),
            ("._film.mkv", NamePolicy::Local),
            ("Thumbs.db", NamePolicy::Local),
        ] {
            assert_eq!(name_policy(&Name::new(name).unwrap()), expected, "{name}");
        }
    }
}
