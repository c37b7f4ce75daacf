//! The kernel's face: FUSE requests become calls of [`crate::vfs::Vfs`], its errors become errno.
//! Nothing is decided here. The promises of each operation stand in `docs/SEMANTICS.md`.

mod adapter;
mod convert;
mod directory;
mod dispatch;
mod errno;
mod mount;
mod mountpoint;
mod negotiation;
mod reply;

pub use mount::{
    Deadlines, DetachOutcome, MountAccess, MountConfig, MountError, MountMode, Mounted, mount,
};
pub use mountpoint::{clean_stale, detach, is_tgfs_mount};
