//! Life of a mount: making it, watching it, taking it down.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use fuser::{Config, MountOption, Session, SessionACL, SessionUnmounter};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::unistd::geteuid;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::config::MountConfig;
use super::dispatch::Adapter;
use super::error::{FUSE_DEVICE, MountError};
use super::mountpoint::{self, MOUNT_TABLE, MountLine, SOURCE_NAME};
use crate::model::{MountAudience, WriteMode};
use crate::vfs::Vfs;

/// Number of threads that take requests from the kernel. They only translate; waiting happens in tasks.
const EVENT_LOOPS: usize = 4;

/// Readahead in KiB that root may set for the mount. The kernel's default is 128. From 1024 on,
/// reads come in the largest size that the kernel has. Larger values brought no gain.
const READ_AHEAD_KIB: u32 = 1024;

/// Interval in milliseconds at which the mount table is read even if no change of it was announced.
const TABLE_CHECK_MILLIS: u16 = 1000;

/// Outcome of an unmount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetachOutcome {
    /// The kernel has let go. No more requests come.
    Ended,
    /// The mount is out of the tree, but programs still have files in it open.
    StillInUse,
}

/// Progress of the end of a mount. It only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Living,
    /// The mount is no longer in the tree, but open files are still served.
    Detached,
    /// No more requests come.
    Over,
}

/// A living mount. Dropping it takes it out of the tree without waiting.
pub struct Mounted {
    mountpoint: PathBuf,
    line: Option<MountLine>,
    unmounter: SessionUnmounter,
    phase: watch::Receiver<Phase>,
    is_detached: bool,
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mounted")
            .field("mountpoint", &self.mountpoint)
            .finish_non_exhaustive()
    }
}

/// Mounts `vfs` at `path`. Requests that may wait run on `tasks`. Blocks for the kernel's
/// handshake, which takes some milliseconds.
///
/// # Errors
/// Each error says what to do about it. Nothing stays mounted then.
pub fn mount(
    vfs: Vfs,
    path: &Path,
    config: &MountConfig,
    tasks: &Handle,
) -> Result<Mounted, MountError> {
    check_device()?;
    let mountpoint = mountpoint::prepare(path, &config.private)?;
    let adapter = Adapter::new(vfs, tasks.clone(), config.deadlines);
    let mut session = Session::new(adapter, &mountpoint, &session_config(config))
        .map_err(|error| explain(&mountpoint, MountRight::of_process(), error))?;
    let unmounter = session.unmount_callable();
    let (progress, phase) = watch::channel(Phase::Living);
    let mut mounted = Mounted {
        line: mountpoint::mounted_at(&mountpoint).ok().flatten(),
        mountpoint,
        unmounter,
        phase,
        is_detached: false,
    };
    let watcher = mounted
        .line
        .as_ref()
        .map(|line| (line.id, progress.clone()));
    let serve = move || {
        if let Err(error) = session.run() {
            tracing::warn!("the mount ended: {error}");
        }
        progress.send_replace(Phase::Over);
    };
    let mut started = spawn_thread("tgfs-mount", serve);
    if let Some((id, progress)) = watcher {
        let watch = move || watch_table(id, &progress);
        started = started.and_then(|()| spawn_thread("tgfs-mount-watch", watch));
    }
    if let Err(error) = started {
        mounted.detach()?;
        return Err(MountError::Failed {
            mountpoint: mounted.mountpoint.clone(),
            error,
        });
    }
    mounted.raise_read_ahead();
    Ok(mounted)
}

fn spawn_thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(())
}

/// Reports when the mount with this id leaves the tree. A lazy unmount shows only in the table,
/// while the session goes on for the files that are still open.
fn watch_table(id: u64, progress: &watch::Sender<Phase>) {
    let Ok(table) = File::open(MOUNT_TABLE) else {
        return;
    };
    while *progress.borrow() == Phase::Living {
        let is_gone = mountpoint::mounts().map(|lines| lines.iter().all(|line| line.id != id));
        if matches!(is_gone, Ok(true)) {
            progress.send_if_modified(|phase| {
                let is_news = *phase == Phase::Living;
                *phase = (*phase).max(Phase::Detached);
                is_news
            });
            return;
        }
        // proc_pid_mountinfo(5): a change of the table shows as an exceptional condition.
        let mut wait = [PollFd::new(table.as_fd(), PollFlags::POLLPRI)];
        if nix::poll::poll(&mut wait, TABLE_CHECK_MILLIS).is_err() {
            thread::yield_now();
        }
    }
}

fn session_config(config: &MountConfig) -> Config {
    let mut session = Config::default();
    session.mount_options = vec![
        MountOption::FSName(SOURCE_NAME.to_owned()),
        MountOption::Subtype(SOURCE_NAME.to_owned()),
        // The kernel enforces modes and owners, which also saves an ACCESS per open.
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
        match config.mode {
            WriteMode::Writable => MountOption::RW,
            WriteMode::ReadOnly => MountOption::RO,
        },
    ];
    session.acl = match config.audience {
        MountAudience::Owner => SessionACL::Owner,
        MountAudience::Everyone => SessionACL::All,
    };
    session.n_threads = Some(EVENT_LOOPS);
    session.clone_fd = true;
    session
}

/// Checks for errors of the device itself, before anything is made or changed.
fn check_device() -> Result<(), MountError> {
    match File::options().read(true).write(true).open(FUSE_DEVICE) {
        // A plain file is there if a container was given the path and not the device.
        Ok(file) if !is_device(&file) => Err(MountError::NoDevice),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(MountError::DeviceRefused)
        }
        // ENODEV and ENXIO mean that the node exists, but the module does not.
        Err(_) => Err(MountError::NoDevice),
    }
}

fn is_device(file: &File) -> bool {
    file.metadata()
        .is_ok_and(|meta| meta.file_type().is_char_device())
}

/// Whether this process, or a helper that it starts, could mount anything at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MountRight {
    Usual,
    /// Capabilities or AppArmor keep it from mounting, as in a container.
    Missing,
}

impl MountRight {
    /// Reads what the kernel says about this process; see proc_pid_status(5) and capabilities(7).
    fn of_process() -> Self {
        const SYS_ADMIN: u64 = 1 << 21;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let mut lines = status.lines();
            lines
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
        };
        let has = |set: &str| {
            let bits = field(set).and_then(|bits| u64::from_str_radix(bits, 16).ok());
            bits.is_none_or(|bits| bits & SYS_ADMIN != 0)
        };
        // A helper with set-user-ID has what the bounding set leaves, and nothing under no_new_privs.
        let by_capabilities = match geteuid().is_root() {
            true => has("CapEff:"),
            false => has("CapBnd:") && field("NoNewPrivs:") != Some("1"),
        };
        let profile = std::fs::read_to_string("/proc/self/attr/apparmor/current");
        let is_confined = profile.is_ok_and(|profile| profile.trim_end().ends_with("(enforce)"));
        match by_capabilities && !is_confined {
            true => Self::Usual,
            false => Self::Missing,
        }
    }
}

/// Explains why a mount failed. `fusermount3` gives a reason in words only, which are passed on; whether this
/// process may mount at all is asked of the kernel.
fn explain(mountpoint: &Path, right: MountRight, error: io::Error) -> MountError {
    let errno = error.raw_os_error().map(Errno::from_raw);
    if errno.is_none() && error.kind() == io::ErrorKind::PermissionDenied {
        // fuser has this kind for nothing else that fusermount3 says.
        return MountError::AllowOtherRefused;
    }
    let is_forbidden =
        errno == Some(Errno::EPERM) || errno.is_none() && right == MountRight::Missing;
    // The device and the directory were opened before, so the missing file is the program. EACCES
    // means that a directory in PATH may not be searched.
    let has_no_program = matches!(errno, Some(Errno::ENOENT | Errno::EACCES));
    if is_forbidden || has_no_program && geteuid().is_root() {
        MountError::NotAllowed
    } else if has_no_program {
        MountError::NoFusermount
    } else {
        MountError::Failed {
            mountpoint: mountpoint.to_path_buf(),
            error: io::Error::other(error.to_string().trim().to_owned()),
        }
    }
}

impl Mounted {
    /// Returns the directory that the file system is mounted on.
    #[must_use]
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Waits until the mount leaves the tree through someone else: by `umount` or `fusermount3 -u`,
    /// lazily or not, or by an aborted connection.
    pub async fn ended(&mut self) {
        // An error means that the thread is gone, so the mount is over as well.
        let _ = self.phase.wait_for(|phase| *phase != Phase::Living).await;
        // A session unmounts its path when it ends, whichever mount is there by then. Unmounting
        // now, while no mount is there, takes that away from it.
        if let Err(error) = self.detach() {
            tracing::debug!("{error}");
        }
    }

    /// Unmounts the file system. If nothing is open, this happens at once. Otherwise the mount
    /// leaves the tree now, and open files get up to `drain` to be closed.
    ///
    /// # Errors
    /// When the mount cannot even be taken out of the tree.
    pub async fn unmount(mut self, drain: Duration) -> Result<DetachOutcome, MountError> {
        let mut phase = self.phase.clone();
        let detached = tokio::task::spawn_blocking(move || self.detach()).await;
        match detached {
            Ok(result) => result?,
            Err(error) => tracing::warn!("unmounting: {error}"),
        }
        let over = tokio::time::timeout(drain, phase.wait_for(|phase| *phase == Phase::Over)).await;
        Ok(match over {
            Ok(_) => DetachOutcome::Ended,
            Err(_) => DetachOutcome::StillInUse,
        })
    }

    /// Takes the mount out of the tree. Does nothing if another mount took the place, because fuser
    /// would unmount by path.
    fn detach(&mut self) -> Result<(), MountError> {
        if self.is_detached {
            return Ok(());
        }
        self.is_detached = true;
        let now = mountpoint::mounted_at(&self.mountpoint).ok().flatten();
        match (&self.line, now) {
            (Some(own), Some(now)) if own.id != now.id => Ok(()),
            (_, Some(_)) => match self.unmounter.unmount() {
                Ok(()) => Ok(()),
                // The mount is busy. The kernel refuses in other ways too, and all of them end the same.
                Err(_) => mountpoint::detach(&self.mountpoint),
            },
            (_, None) => {
                if let Err(error) = self.unmounter.unmount() {
                    tracing::debug!("already unmounted: {error}");
                }
                Ok(())
            }
        }
    }

    /// Raises the readahead of the mount. Only root may do that. Without it reads come in 128 KiB,
    /// which works too.
    fn raise_read_ahead(&self) {
        let Some(line) = &self.line else { return };
        let setting = format!("/sys/class/bdi/{}/read_ahead_kb", line.device);
        if let Err(error) = std::fs::write(&setting, READ_AHEAD_KIB.to_string()) {
            tracing::debug!("{setting} stays as it is: {error}");
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = self.detach() {
            tracing::warn!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fusermount_and_the_kernel_say_becomes_what_to_do() {
        let under = |right, error: io::Error| explain(Path::new("/mnt"), right, error);
        let explained = |error| under(MountRight::Usual, error);
        let refused = io::Error::new(
            io::ErrorKind::PermissionDenied,
            "fusermount3: option allow_other …",
        );
        assert!(matches!(explained(refused), MountError::AllowOtherRefused));
        assert!(matches!(
            explained(Errno::EPERM.into()),
            MountError::NotAllowed
        ));
        let failed = || io::Error::other("fusermount3: mount failed");
        assert!(matches!(
            under(MountRight::Missing, failed()),
            MountError::NotAllowed
        ));
        assert!(matches!(explained(failed()), MountError::Failed { .. }));
        let missing = explained(Errno::ENOENT.into());
        if geteuid().is_root() {
            assert!(matches!(missing, MountError::NotAllowed));
        } else {
            assert!(matches!(missing, MountError::NoFusermount));
        }
        let other = explained(io::Error::other("fusermount3: something else\n"));
        assert_eq!(
            other.to_string(),
            "/mnt: cannot mount: fusermount3: something else"
        );
    }
}
