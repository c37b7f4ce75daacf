//! Options of a mount: its audience, its write mode, and the longest time that a request may take.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{MountAudience, WriteMode};

/// Deadlines after which a request is answered with EIO. They are a backstop behind the deadlines
/// of the layers below, and so are longer than those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    pub read: Duration,
    /// Deadline of everything else that may wait: open, write, flush, truncate, copy.
    pub write: Duration,
}

impl Deadlines {
    /// Time that a layer below may need after its own deadline to give up in an orderly way.
    const SLACK: Duration = Duration::from_secs(15);

    /// Returns the backstops behind the settings `TGFS_READ_DEADLINE` and `TGFS_WRITE_DEADLINE`.
    #[must_use]
    pub const fn behind(read: Duration, write: Duration) -> Self {
        Self {
            read: read.saturating_add(Self::SLACK),
            write: write.saturating_add(Self::SLACK),
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self::behind(Duration::from_secs(30), Duration::from_secs(300))
    }
}

/// Options of one mount.
#[derive(Debug, Clone)]
pub struct MountConfig {
    pub audience: MountAudience,
    pub mode: WriteMode,
    pub deadlines: Deadlines,
    /// Directories that the daemon itself uses (state, spool, cache, local store). A mount must
    /// neither contain one of them nor lie in one, or the daemon would wait for itself.
    pub private: Vec<PathBuf>,
}
