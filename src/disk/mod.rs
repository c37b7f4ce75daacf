//! Operations on local files that have to be right in more than one place: replacing a file so that
//! a crash leaves either the old or the new one, and holding a directory for one process.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;

/// Suffix of the name of a file that is being written and is not yet in place.
pub const TEMPORARY_SUFFIX: &str = ".temporary";

/// Opens a file for reading if it is a regular one. A FIFO would hold the reader up, and a link could lead
/// to a device.
///
/// # Errors
/// Those of opening; `InvalidData` for anything but a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    open_regular_as(path, regular_only().read(true))
}

/// Opens a file with options of [`regular_only`] if it is a regular one.
///
/// # Errors
/// Those of opening; `InvalidData` for anything but a regular file.
pub fn open_regular_as(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let file =
        options
            .open(path)
            .map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ELOOP | Errno::ENXIO | Errno::EISDIR) => no_regular_file(path),
                _ => error,
            })?;
    require_regular(file, path)
}

/// Reads a file if it is a regular one.
///
/// # Errors
/// Those of [`open_regular`] and of reading.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a text if a regular file has the name.
///
/// # Errors
/// Those of [`read_regular`]; `InvalidData` for bytes that are no text.
pub fn read_regular_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_regular(path)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Does the same as [`fs::write`] if nothing but a regular file has the name. The file is for our user only.
///
/// # Errors
/// Those of opening and writing; `InvalidData` for anything but a regular file.
pub fn write_regular(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create_regular(path)?.write_all(bytes)
}

/// Creates or empties a file for our user only, if nothing but a regular file has the name.
///
/// # Errors
/// Those of opening; `InvalidData` for anything but a regular file.
pub fn create_regular(path: &Path) -> io::Result<File> {
    let mut options = regular_only();
    options.write(true).create(true).truncate(true).mode(0o600);
    open_regular_as(path, &options)
}

/// Refuses a directory with anything in it but regular files and directories, however deep. It is for
/// directories whose files somebody else's code opens.
///
/// # Errors
/// Those of listing; `InvalidData` for anything but regular files and directories.
pub fn require_regular_files(directory: &Path) -> io::Result<()> {
    let mut directories = vec![directory.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for file in fs::read_dir(directory)? {
            let file = file?;
            // The type of the name itself: a link is not followed.
            let kind = file.file_type()?;
            if kind.is_dir() {
                directories.push(file.path());
            } else if !kind.is_file() {
                return Err(no_regular_file(&file.path()));
            }
        }
    }
    Ok(())
}

/// Takes the rights of all other users from what lies in a directory.
///
/// # Errors
/// Those of listing and of changing a mode.
pub fn close_to_others(directory: &Path) -> io::Result<()> {
    for file in fs::read_dir(directory)? {
        let file = file?;
        let found = file.metadata()?;
        // A link has no rights of its own, and those of its target are not ours to change.
        let mode = found.mode() & 0o777;
        if mode & 0o077 != 0 && !found.is_symlink() {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode & 0o700))?;
        }
    }
    Ok(())
}

/// Returns options with which opening neither waits nor follows a link. Whether the file is a regular one
/// is for [`open_regular_as`] or [`require_regular`] to tell.
#[must_use]
pub fn regular_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits());
    options
}

/// Returns the file if it is a regular one.
///
/// # Errors
/// `InvalidData` for anything else.
pub fn require_regular(file: File, path: &Path) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(no_regular_file(path)),
    }
}

fn no_regular_file(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{} is no regular file", path.display()),
    )
}

/// Makes the names in a directory durable.
///
/// # Errors
/// Those of opening and syncing the directory.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Makes a directory, and those above it, for our user only. An existing directory must be ours and
/// not a link, because its content is trusted at each start. It is closed to others, because one
/// that systemd or `mkdir` made may be open to them.
///
/// # Errors
/// Those of `mkdir`, or `PermissionDenied` naming the owner.
pub fn make_private_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let found = fs::symlink_metadata(directory)?;
    let refuse = |reason: String| {
        let path = directory.display();
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{path} {reason}"),
        ))
    };
    if !found.is_dir() {
        return refuse("is a link; give the path that it leads to".to_owned());
    }
    let own = nix::unistd::geteuid().as_raw();
    if found.uid() != own {
        return refuse(format!(
            "belongs to user {}, not to us (user {own})",
            found.uid()
        ));
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Puts a file in place whole and durable, by temporary file, fsync, rename, and fsync of the directory.
///
/// # Errors
/// Those of the disk, or of `fill`. The temporary file is gone then.
pub fn write_durably(
    path: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY_SUFFIX);
    let temporary = PathBuf::from(temporary);
    let written = create_regular(&temporary)
        .and_then(|mut file| {
            fill(&mut file)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first error is the one to report. A temporary file that is left behind is swept at
        // the next start.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    match path.parent() {
        Some(directory) => sync_directory(directory),
        None => Ok(()),
    }
}

/// Reason why a directory cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds the directory. The value is its id, as that process wrote it down.
    #[error("process {0} holds it")]
    Held(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Lock that holds a directory for this process until it is dropped. The kernel releases the lock
/// when a process dies, so a file left behind by a killed process holds nobody up.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Returns whether a process holds `directory`. One that cannot be asked counts as free.
#[must_use]
pub fn is_held(directory: &Path) -> bool {
    let Ok(file) = open_regular(&directory.join("lock")) else {
        return false;
    };
    // The lock that a success gives ends with the file, at once.
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Time for which somebody who only asks may hold a lock; see [`is_held`].
const ASKING_TIME: Duration = Duration::from_millis(20);

impl DirectoryLock {
    /// Takes `directory/lock` and writes our process id into it.
    ///
    /// # Errors
    /// [`LockError::Held`] names the process that has it.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        let mut options = regular_only();
        options.read(true).write(true).create(true).mode(0o600);
        let mut file = open_regular_as(&directory.join("lock"), &options)?;
        let mut taken = file.try_lock();
        if matches!(taken, Err(TryLockError::WouldBlock)) {
            std::thread::sleep(ASKING_TIME);
            taken = file.try_lock();
        }
        match taken {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // A pid that cannot be read must not hide that the directory is taken.
                let _ = (&file).take(20).read_to_string(&mut pid);
                let pid = pid.trim();
                return Err(LockError::Held(
                    if pid.is_empty() { "unknown" } else { pid }.into(),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_directory_is_ours_closed_and_no_link() {
        let place = tempfile::tempdir().unwrap();
        let (open, link) = (place.path().join("open"), place.path().join("link"));
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        make_private_directory(&open).unwrap();
        assert_eq!(fs::metadata(&open).unwrap().mode() & 0o777, 0o700);
        std::os::unix::fs::symlink(&open, &link).unwrap();
        let refused = make_private_directory(&link).unwrap_err();
        assert!(refused.to_string().contains("is a link"), "{refused}");
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&open, Some(12345), None).unwrap();
            let refused = make_private_directory(&open).unwrap_err();
            assert!(
                refused.to_string().contains("belongs to user 12345"),
                "{refused}"
            );
        }
    }

    #[test]
    fn only_regular_files_are_opened() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::write(path("file"), b"x").unwrap();
        assert!(open_regular(&path("file")).is_ok());
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("link")).unwrap();
        std::os::unix::fs::symlink(path("file"), path("link to a file")).unwrap();
        fs::create_dir(path("directory")).unwrap();
        for name in ["fifo", "link", "link to a file", "directory"] {
            let error = open_regular(&path(name)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name}: {error}");
        }
        let absent = open_regular(&path("absent")).unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
        // What lies in the place of a temporary file is neither followed nor waited for.
        for (name, target) in [("a", "fifo"), ("b", "link")] {
            fs::rename(path(target), path(&format!("{name}{TEMPORARY_SUFFIX}"))).unwrap();
            write_durably(&path(name), |file| file.write_all(b"x")).unwrap_err();
        }
    }

    #[test]
    fn a_lock_is_a_regular_file() {
        let place = tempfile::tempdir().unwrap();
        let (lock, victim) = (place.path().join("lock"), place.path().join("victim"));
        fs::write(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, &lock).unwrap();
        let error = DirectoryLock::take(place.path()).unwrap_err();
        assert!(
            error.to_string().contains("lock is no regular file"),
            "{error}"
        );
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        fs::remove_file(&lock).unwrap();
        nix::unistd::mkfifo(&lock, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(!is_held(place.path()));
        DirectoryLock::take(place.path()).unwrap_err();
    }

    #[test]
    fn files_for_somebody_elses_code_are_regular_ones() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("a/b")).unwrap();
        fs::write(place.path().join("a/b/file"), b"x").unwrap();
        require_regular_files(place.path()).unwrap();
        std::os::unix::fs::symlink("/dev/zero", place.path().join("a/b/link")).unwrap();
        let error = require_regular_files(place.path()).unwrap_err();
        assert!(error.to_string().contains("link"), "{error}");
    }

    #[test]
    fn a_second_holder_learns_who_the_first_is() {
        let directory = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(directory.path()).unwrap();
        let error = DirectoryLock::take(directory.path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("process {} holds it", std::process::id())
        );
        drop(first);
        DirectoryLock::take(directory.path()).unwrap();
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        write_durably(&path, |file| file.write_all(b"old")).unwrap();
        let failed = write_durably(&path, |file| {
            file.write_all(b"ne")?;
            Err(io::Error::other("disk"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
