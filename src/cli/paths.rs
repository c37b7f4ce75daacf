//! Converts typed paths to paths in the tree: `/Heat/x.mkv` is one already, and a path under the
//! mountpoint becomes one.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use crate::control::WirePath;

/// The source of our mounts in `/proc/self/mountinfo`. Their type is `fuse` or `fuse.tgfs`, depending
/// on who mounted.
const MOUNT_SOURCE: &[u8] = b"tgfs";

/// A mount of tgfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TgfsMount {
    pub(super) path: PathBuf,
    /// Id of the mount among those of this machine.
    pub(super) id: String,
    /// Device of its files, as `major:minor`.
    pub(super) device: String,
}

/// Lists the mounts of tgfs from the kernel's table. Touches none of them, so a dead mount cannot hang it.
pub(super) fn tgfs_mounts() -> Vec<TgfsMount> {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    mounts_in(&table)
}

/// Reads proc_pid_mountinfo(5): the first field is the id, the third the device, the fifth the mount point;
/// type and source follow after `-`.
fn mounts_in(table: &[u8]) -> Vec<TgfsMount> {
    let lines = table.split(|byte| *byte == b'\n');
    let mount_point = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let id = String::from_utf8(fields.next()?.to_vec()).ok()?;
        let device = String::from_utf8(fields.nth(1)?.to_vec()).ok()?;
        let place = fields.nth(1)?.to_vec();
        let mut behind = fields.skip_while(|field| *field != b"-").skip(1);
        let (kind, source) = (behind.next()?, behind.next()?);
        let is_ours = kind.starts_with(b"fuse") && source == MOUNT_SOURCE;
        let path = PathBuf::from(unescape(&place));
        is_ours.then_some(TgfsMount { path, id, device })
    };
    lines.filter_map(mount_point).collect()
}

/// Decodes `\040` and the like: the kernel writes blank, tab, newline and backslash in octal.
fn unescape(field: &[u8]) -> std::ffi::OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..3).filter(|_| first == b'\\');
        let octal = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes)
}

/// Makes a path absolute, and resolves `.`, `..` and symlinks in its parent. Does not touch the last
/// component, which may be a dead mount or may not exist.
pub(super) fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    match (plain.parent().map(std::fs::canonicalize), plain.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => plain,
    }
}

/// Makes a path absolute and follows links, also in its last component, up to a mount of tgfs. Does not
/// touch the mount.
pub(super) fn mountpoint(path: &Path, mounts: &[TgfsMount]) -> PathBuf {
    /// Longest chain of links, as in the kernel.
    const MAX_LINKS: usize = 40;
    let mut path = absolute(path);
    for _ in 0..MAX_LINKS {
        if mounts.iter().any(|mount| mount.path == path) {
            break;
        }
        let Ok(target) = std::fs::read_link(&path) else {
            break;
        };
        path = match path.parent() {
            Some(parent) => absolute(&parent.join(target)),
            None => break,
        };
    }
    path
}

/// Returns the path in the tree that `typed` means, with the daemon's mount at `mountpoint`.
///
/// # Errors
/// If it is in a mount of another daemon.
pub(super) fn to_tree(typed: &OsStr, mountpoint: Option<&Path>) -> anyhow::Result<WirePath> {
    resolve(typed, mountpoint, &tgfs_mounts())
}

fn resolve(
    typed: &OsStr,
    mountpoint: Option<&Path>,
    mounts: &[TgfsMount],
) -> anyhow::Result<WirePath> {
    let mut plain = absolute(Path::new(typed));
    if mountpoint.is_some_and(|root| !plain.starts_with(root)) {
        // A link to the mount. Other links are no concern of ours: the path may be one in the tree.
        let followed = self::mountpoint(&plain, mounts);
        if mountpoint.is_some_and(|root| followed.starts_with(root)) {
            plain = followed;
        }
    }
    if let Some(inside) = mountpoint.and_then(|root| plain.strip_prefix(root).ok()) {
        let mut bytes = b"/".to_vec();
        bytes.extend_from_slice(inside.as_os_str().as_bytes());
        return Ok(WirePath::new(&bytes));
    }
    if let Some(other) = mounts.iter().find(|other| plain.starts_with(&other.path)) {
        anyhow::bail!(
            "{} lies in the mount {} of another daemon; give its state directory with --state",
            plain.display(),
            other.path.display()
        );
    }
    Ok(WirePath::new(typed.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_mounts_are_found_with_blanks_in_their_names() {
        let table = b"36 35 0:31 / /mnt/my\\040films rw,nosuid shared:1 - fuse.tgfs tgfs rw\n\
            37 35 0:32 / /mnt/x rw - fuse.sshfs host rw\n\
            38 35 0:33 / /mnt/y rw - fuse tgfs rw\n\
            39 35 0:34 / /mnt/z rw - ext4 tgfs rw\nbroken\n";
        let found = mounts_in(table);
        let of = |path: &str, id: &str, device: &str| TgfsMount {
            path: PathBuf::from(path),
            id: id.to_owned(),
            device: device.to_owned(),
        };
        assert_eq!(
            found,
            [
                of("/mnt/my films", "36", "0:31"),
                of("/mnt/y", "38", "0:33")
            ]
        );
    }

    #[test]
    fn a_path_under_the_mountpoint_is_made_a_tree_path() {
        let root = Path::new("/mnt/films");
        let tree = |typed: &str| resolve(OsStr::new(typed), Some(root), &[]).unwrap();
        assert_eq!(tree("/mnt/films/a b/x.mkv"), WirePath::new(b"/a b/x.mkv"));
        assert_eq!(tree("/mnt/films"), WirePath::new(b"/"));
        assert_eq!(tree("/mnt/films/a/../x.mkv"), WirePath::new(b"/x.mkv"));
        assert_eq!(tree("/Heat/x.mkv"), WirePath::new(b"/Heat/x.mkv"));
        assert_eq!(tree("Heat/x.mkv"), WirePath::new(b"Heat/x.mkv"));
        assert_eq!(tree("/mnt/films2/x"), WirePath::new(b"/mnt/films2/x"));
    }

    #[test]
    fn a_path_in_another_daemons_mount_is_refused() {
        let mounts = [TgfsMount {
            path: PathBuf::from("/mnt/other"),
            id: "1".to_owned(),
            device: "0:1".to_owned(),
        }];
        let error = resolve(OsStr::new("/mnt/other/x"), None, &mounts).unwrap_err();
        assert!(error.to_string().contains("--state"), "{error}");
    }

    #[test]
    fn links_in_a_path_are_followed_up_to_its_last_part() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(absolute(&real.join("link/x")), real.join("x"));
        assert_eq!(absolute(&real.join("link")), real.join("link"));
        std::os::unix::fs::symlink("link", real.join("further")).unwrap();
        assert_eq!(mountpoint(&real.join("further"), &[]), real);
        std::os::unix::fs::symlink("ring", real.join("ring")).unwrap();
        assert_eq!(mountpoint(&real.join("ring"), &[]), real.join("ring"));
    }
}
