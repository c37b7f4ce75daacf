//! Checks of the mountpoint, and look-ups of what is mounted there.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{major, minor};
use nix::unistd::{AccessFlags, access};

use super::error::MountError;
use crate::model::MountAudience;
use crate::process::{CancelFlag, Devices, Launcher, Priority, ProcessJob, ProcessLimits, Spawner};

/// Source of our mounts in `/proc/self/mountinfo` and `df`. Our mounts are found by it, because the
/// type is `fuse` or `fuse.tgfs`, depending on who mounted.
pub(super) const SOURCE_NAME: &str = "tgfs";

/// File that lists each mount visible to this process; see proc_pid_mountinfo(5).
pub(super) const MOUNT_TABLE: &str = "/proc/self/mountinfo";

/// A line of the mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountLine {
    /// Id that is unique among the living mounts of this machine.
    pub id: u64,
    /// Device of the files in the mount, as `major:minor`.
    pub device: String,
    pub path: PathBuf,
    pub source: String,
    /// Users that the file system lets in.
    pub audience: MountAudience,
}

/// Reads the mount table.
pub(super) fn mounts() -> io::Result<Vec<MountLine>> {
    let table = fs::read(MOUNT_TABLE)?;
    Ok(table
        .split(|&byte| byte == b'\n')
        .filter_map(parse)
        .collect())
}

/// Parses a line such as `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`.
fn parse(line: &[u8]) -> Option<MountLine> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = String::from_utf8(fields.nth(1)?.to_vec()).ok()?;
    let path = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    // Optional fields end with a hyphen, which is followed by type and source.
    let mut behind = fields.skip_while(|field| *field != b"-").skip(1);
    let (kind, source) = (behind.next()?, behind.next()?);
    let mut options = behind
        .next()
        .unwrap_or_default()
        .split(|byte| *byte == b',');
    // The kernel keeps all but the user who mounted out of a FUSE file system, root too.
    let is_closed = kind.starts_with(b"fuse") && options.all(|option| option != b"allow_other");
    Some(MountLine {
        id,
        device,
        path,
        source: String::from_utf8_lossy(&unescape(source)).into_owned(),
        audience: match is_closed {
            true => MountAudience::Owner,
            false => MountAudience::Everyone,
        },
    })
}

/// Decodes a field, in which space, tab, newline and backslash are written as a backslash and three
/// octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    bytes
}

/// Returns the topmost mount at `path`, which has to be absolute and free of links.
pub(super) fn mounted_at(path: &Path) -> io::Result<Option<MountLine>> {
    Ok(mounts()?.into_iter().rfind(|line| line.path == path))
}

/// Returns whether a tgfs is mounted at `path`, living or stale. Touches only the directory above it.
///
/// # Errors
/// When the mount table cannot be read.
pub fn is_tgfs_mount(path: &Path) -> io::Result<bool> {
    let path = absolute(path)?;
    Ok(mounted_at(&path)?.is_some_and(|line| line.source == SOURCE_NAME))
}

/// Returns the users whom the file system lets in that holds a file.
///
/// # Errors
/// When the file or the mount table cannot be read.
pub fn audience_of(file: &Path) -> io::Result<MountAudience> {
    let device = fs::metadata(file)?.dev();
    let device = format!("{}:{}", major(device), minor(device));
    let line = mounts()?.into_iter().rfind(|line| line.device == device);
    Ok(line.map_or(MountAudience::Everyone, |line| line.audience))
}

/// Returns the absolute path without links. It is found without touching the last component,
/// because a mount that answers nothing may be behind it.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            Ok(parent.canonicalize()?.join(name))
        }
        _ => path.canonicalize(),
    }
}

/// Returns whether the daemon behind a mount at `path` is gone ("transport endpoint is not
/// connected"). Asks for the free space, because the kernel answers `stat` by itself for a second,
/// even if the daemon is dead.
fn is_stale(path: &Path) -> bool {
    nix::sys::statvfs::statvfs(path).is_err_and(|error| error == Errno::ENOTCONN)
}

/// Detaches the mount that a dead daemon left behind at `path`. Does nothing if there is no mount,
/// or a living one.
///
/// # Errors
/// When the mount cannot be detached.
pub fn clean_stale(path: &Path) -> Result<(), MountError> {
    // A crash loop can have stacked several mounts.
    for _ in 0..MAX_STACKED_MOUNTS {
        if !is_stale(path) {
            return Ok(());
        }
        tracing::info!(mountpoint = %path.display(), "removing the mount of a daemon that died");
        detach(path)?;
    }
    Ok(())
}

const MAX_STACKED_MOUNTS: usize = 16;
/// Longest time for `fusermount3`. It makes two system calls; if it takes longer than this, it hangs.
const FUSERMOUNT_TIME: Duration = Duration::from_secs(10);
const FUSERMOUNT_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
const FUSERMOUNT_OUTPUT_BYTES: usize = 4096;

/// Takes the mount at `path` out of the tree now. The mount ends when its last open file is closed.
pub fn detach(path: &Path) -> Result<(), MountError> {
    let refused = match umount2(path, MntFlags::MNT_DETACH) {
        Ok(()) => return Ok(()),
        Err(Errno::EPERM) => detach_with_fusermount(path),
        Err(error) => Err(io::Error::from(error)),
    };
    refused.map_err(|error| MountError::Detach {
        mountpoint: path.to_path_buf(),
        error,
    })
}

/// Detaches with `fusermount3`, the way for users who are not root.
fn detach_with_fusermount(path: &Path) -> io::Result<()> {
    let job = ProcessJob {
        program: PathBuf::from("fusermount3"),
        args: vec!["-u".into(), "-z".into(), "--".into(), path.into()],
        input: None,
        limits: ProcessLimits {
            stall: FUSERMOUNT_TIME,
            wall: FUSERMOUNT_TIME,
            memory: FUSERMOUNT_MEMORY_BYTES,
        },
        priority: Priority::Usual,
        devices: Devices::None,
        cancel: CancelFlag::default(),
    };
    let (exit, _) = Spawner::new(Launcher::Direct)
        .run(&job, FUSERMOUNT_OUTPUT_BYTES)
        .map_err(io::Error::other)?;
    if exit.is_success() {
        return Ok(());
    }
    Err(io::Error::other(exit.stderr.trim().to_owned()))
}

/// Makes `path` ready: stale mounts are gone, the directory exists and is empty, and lies apart from
/// the daemon's own directories. The result is absolute and free of links.
pub(super) fn prepare(path: &Path, private: &[PathBuf]) -> Result<PathBuf, MountError> {
    let unusable = |error: io::Error| MountError::Unusable {
        mountpoint: path.to_path_buf(),
        error,
    };
    // This must not touch the outer mount, whose daemon may be dead.
    refuse_inside_mount(&std::path::absolute(path).map_err(unusable)?)?;
    clean_stale(path)?;
    if is_tgfs_mount(path).unwrap_or(false) {
        return Err(MountError::AlreadyMounted(path.to_path_buf()));
    }
    let made = make(path)?.map(|top| (top != path).then_some(top));
    let path = path.canonicalize().map_err(unusable)?;
    refuse_inside_mount(&path)?;
    for private in private {
        // A directory that does not exist yet will be made at the place that its path says.
        let private = private.canonicalize().unwrap_or_else(|_| private.clone());
        if private.starts_with(&path) || path.starts_with(&private) {
            return Err(MountError::OverOwnFiles {
                mountpoint: path,
                private,
            });
        }
    }
    // fusermount3 has the same rule. Root passes.
    if access(&path, AccessFlags::W_OK) == Err(Errno::EACCES) {
        let owner = fs::metadata(&path).map_err(unusable)?.uid();
        return Err(MountError::NotWritable {
            mountpoint: path,
            owner,
        });
    }
    let mut entries = fs::read_dir(&path).map_err(unusable)?;
    if entries.next().is_some() {
        return Err(MountError::NotEmpty(path));
    }
    tell_made(&path, made);
    Ok(path)
}

/// Tells which directories were made: a misspelt path makes them where nobody looks for them. `made` has the
/// topmost one, if it is another than the mountpoint.
fn tell_made(mountpoint: &Path, made: Option<Option<PathBuf>>) {
    let mountpoint = mountpoint.display();
    match made {
        None => {}
        Some(None) => tracing::info!("made the directory {mountpoint} to mount on"),
        Some(Some(top)) => tracing::info!(
            "made the directory {mountpoint} to mount on, with those above it from {} on",
            top.display()
        ),
    }
}

/// Makes the directory and those above it. Returns the topmost that was missing.
fn make(path: &Path) -> Result<Option<PathBuf>, MountError> {
    let missing = path
        .ancestors()
        .take_while(|above| !above.as_os_str().is_empty() && !above.exists());
    let top = missing.last().map(Path::to_path_buf);
    make_all(path)?;
    Ok(top)
}

fn make_all(path: &Path) -> Result<(), MountError> {
    fs::create_dir_all(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            MountError::NotADirectory(path.to_path_buf())
        }
        _ => MountError::CannotMake {
            mountpoint: path.to_path_buf(),
            error,
        },
    })
}

/// Refuses a mount inside another tgfs mount. It would end with the daemon of the outer mount, and
/// keep that one from unmounting. `path` is absolute.
fn refuse_inside_mount(path: &Path) -> Result<(), MountError> {
    let lines = mounts().unwrap_or_default();
    let holding = lines
        .iter()
        .filter(|line| path != line.path && path.starts_with(&line.path))
        .max_by_key(|line| line.path.components().count());
    match holding {
        Some(line) if line.source == SOURCE_NAME => Err(MountError::InsideMount {
            mountpoint: path.to_path_buf(),
            outer: line.path.clone(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_mount_table_is_read() {
        let line = parse(
            b"36 35 0:48 / /mnt/a\\040b\\134c rw,nosuid master:1 - fuse.tgfs tgfs rw,user_id=0",
        )
        .unwrap();
        assert_eq!(line.id, 36);
        assert_eq!(line.device, "0:48");
        assert_eq!(line.path, Path::new("/mnt/a b\\c"));
        assert_eq!(line.source, "tgfs");
        assert_eq!(line.audience, MountAudience::Owner);
        let open =
            parse(b"36 35 0:48 / /mnt rw - fuse.tgfs tgfs rw,user_id=0,allow_other").unwrap();
        let disk = parse(b"36 35 8:1 / /mnt rw - ext4 /dev/sda rw").unwrap();
        for line in [open, disk] {
            assert_eq!(line.audience, MountAudience::Everyone);
        }
        assert!(
            mounts()
                .unwrap()
                .iter()
                .any(|line| line.path == Path::new("/"))
        );
    }

    #[test]
    fn a_directory_with_files_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("mine"), b"x").unwrap();
        assert!(matches!(
            prepare(directory.path(), &[]),
            Err(MountError::NotEmpty(_))
        ));
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, b"x").unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/nowhere/at/all", &link).unwrap();
        for path in [file.clone(), file.join("below"), link] {
            assert!(
                matches!(prepare(&path, &[]), Err(MountError::NotADirectory(_))),
                "{path:?}"
            );
        }
    }

    #[test]
    fn the_daemons_own_directories_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        fs::create_dir(&state).unwrap();
        for mountpoint in [
            directory.path().to_path_buf(),
            state.clone(),
            state.join("mnt"),
        ] {
            assert!(
                matches!(
                    prepare(&mountpoint, std::slice::from_ref(&state)),
                    Err(MountError::OverOwnFiles { .. })
                ),
                "{mountpoint:?}"
            );
        }
    }

    #[test]
    fn a_missing_mountpoint_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let mountpoint = directory.path().join("a/b");
        let ready = prepare(&mountpoint, &[]).unwrap();
        assert!(ready.is_dir());
    }
}
