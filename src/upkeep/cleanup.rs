//! Deletes packs that nothing needs, in this order: unreferenced in the index,
//! the manifest that says so acknowledged, a time gone by, then the remote.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::index::{Index, IndexError};
use crate::model::PackId;
use crate::remote::retry::{Deadline, retry};
use crate::remote::{Remote, RemoteError};

/// Dying packs looked at in one run; the rest follows in the next.
const AT_ONCE: usize = 1000;
/// For one deletion.
const DELETE_DEADLINE: Duration = Duration::from_secs(60);

/// What one run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CleanupReport {
    pub deleted: u64,
    /// Bytes of the deleted packs.
    pub bytes: u64,
    /// Packs whose time has not come, or that somebody still reads.
    pub kept: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// Deletes the packs whose last reference went at least `keep` ago. `in_use` tells whether an open
/// handle still reads from a pack.
///
/// # Errors
/// The first that occurs; what was deleted before it stays deleted.
pub async fn delete_dying_packs(
    index: &Arc<Index>,
    remote: &Arc<dyn Remote>,
    keep: Duration,
    in_use: &(dyn Fn(PackId) -> bool + Send + Sync),
) -> Result<CleanupReport, CleanupError> {
    let mut report = CleanupReport::default();
    let now = SystemTime::now();
    for dying in index.dying_packs(AT_ONCE)? {
        let age = now.duration_since(dying.since.into()).unwrap_or_default();
        let due = dying.released && age >= keep;
        // A reference that is there after all wins over the mark.
        if !due || in_use(dying.pack.id) || index.is_referenced(&dying.pack)? {
            report.kept += 1;
            continue;
        }
        retry(Deadline::after(DELETE_DEADLINE), || {
            remote.delete(&dying.pack)
        })
        .await?;
        index.forget_pack(dying.pack.id)?;
        report.deleted += 1;
        report.bytes += dying.pack.len;
    }
    Ok(report)
}
