//! The kernel's face. FUSE requests become calls of [`crate::vfs::Vfs`], and its errors become
//! errno. Nothing is decided here. The promises of each operation are in `docs/SEMANTICS.md`.

mod adapter;
mod config;
mod convert;
mod directory;
mod dispatch;
mod errno;
mod error;
mod mount;
mod mountpoint;
mod negotiation;
mod reply;

pub use config::{Deadlines, MountConfig};
pub use error::MountError;
pub use mount::{DetachOutcome, Mounted, mount};
pub use mountpoint::{audience_of, clean_stale, detach, is_tgfs_mount};
