//! Reasons why a directory cannot be mounted on or unmounted, each with the remedy.

use std::io;
use std::path::PathBuf;

/// Device that FUSE communicates through.
pub(super) const FUSE_DEVICE: &str = "/dev/fuse";

/// Reason why a directory cannot be mounted on or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error(
        "{FUSE_DEVICE} is missing: load the module with `modprobe fuse`, or give the container `--device {FUSE_DEVICE} --cap-add SYS_ADMIN`"
    )]
    NoDevice,
    #[error(
        "{FUSE_DEVICE} may not be opened by this user: run `chmod 666 {FUSE_DEVICE}` as root, or mount as root"
    )]
    DeviceRefused,
    #[error(
        "other users can only be let in when /etc/fuse.conf has a line `user_allow_other`: add it, or leave --allow-other out"
    )]
    AllowOtherRefused,
    #[error(
        "fusermount3 is missing, and without it only root can mount: run `apt-get install fuse3` as root"
    )]
    NoFusermount,
    #[error(
        "mounting is not allowed here: give the container `--cap-add SYS_ADMIN`, and under AppArmor `--security-opt apparmor=unconfined`"
    )]
    NotAllowed,
    #[error("{}: not a directory; choose an empty directory, or a path that does not exist yet", .0.display())]
    NotADirectory(PathBuf),
    #[error("{}: cannot be made: {error}; make it as root and give it to this user, or choose another directory", .mountpoint.display())]
    CannotMake {
        mountpoint: PathBuf,
        error: io::Error,
    },
    #[error("{}: this user may not write to it, which mounting needs: it belongs to user {owner}; give it to this user with `chown` as root, or choose another directory", .mountpoint.display())]
    NotWritable { mountpoint: PathBuf, owner: u32 },
    #[error("{}: lies in the tgfs that is mounted on {}; choose a directory outside of it", .mountpoint.display(), .outer.display())]
    InsideMount { mountpoint: PathBuf, outer: PathBuf },
    #[error("{}: cannot be mounted on: {error}", .mountpoint.display())]
    Unusable {
        mountpoint: PathBuf,
        error: io::Error,
    },
    #[error("{}: not empty; choose an empty directory, or one that does not exist yet", .0.display())]
    NotEmpty(PathBuf),
    #[error("{}: tgfs is mounted there already; `tgfs umount {}` ends it", .0.display(), .0.display())]
    AlreadyMounted(PathBuf),
    #[error("{}: holds, or lies in, {} that tgfs itself uses; choose another directory", .mountpoint.display(), .private.display())]
    OverOwnFiles {
        mountpoint: PathBuf,
        private: PathBuf,
    },
    #[error("{}: cannot be unmounted: {error}; try `fusermount3 -uz {}`", .mountpoint.display(), .mountpoint.display())]
    Detach {
        mountpoint: PathBuf,
        error: io::Error,
    },
    #[error("{}: cannot mount: {error}", .mountpoint.display())]
    Failed {
        mountpoint: PathBuf,
        error: io::Error,
    },
}
