//! Deletes packs that nothing needs, in this order: unreferenced in the index,
//! the manifest that says so acknowledged, a time gone by, then the remote.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::index::{Index, IndexError};
use crate::model::{PackId, PackRef};
use crate::remote::retry::{Deadline, retry};
use crate::remote::{Remote, RemoteError, RemoteErrorKind, Removal};

/// Dying packs looked at in one run; the rest follows in the next.
const AT_ONCE: usize = 1000;
/// A remote that failed so often in a row is away: the rest is for the next run.
const FAILURES: u32 = 3;
/// Rows of this module, and the one with two numbers: packs and bytes that could not be deleted.
const ROWS: &str = "cleanup";
const LEFT_ROW: &[u8] = b"left";

/// What one run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanupReport {
    pub deleted: u64,
    /// Bytes of the deleted packs.
    pub bytes: u64,
    /// Packs whose time has not come, or that somebody still reads.
    pub kept: u64,
    /// Packs that the service does not let be deleted any more.
    pub left: u64,
    /// Packs that are tried again in the next run.
    pub failed: u64,
    /// Why, of the first of them.
    pub problem: Option<String>,
}

/// Packs that nothing names and that stay in the remote, since this state is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftBehind {
    pub packs: u64,
    pub bytes: u64,
}

/// Deletes the packs whose last reference went at least `keep` ago. `in_use` tells whether an open
/// handle still reads from a pack. What the remote says of one pack does not stop the others.
///
/// # Errors
/// When the index cannot be read; what was deleted before stays deleted.
pub async fn delete_dying_packs(
    index: &Arc<Index>,
    remote: &Arc<dyn Remote>,
    keep: Duration,
    in_use: &(dyn Fn(PackId) -> bool + Send + Sync),
) -> Result<CleanupReport, IndexError> {
    let mut report = CleanupReport::default();
    let mut failures = 0;
    let now = SystemTime::now();
    for dying in index.dying_packs(AT_ONCE)? {
        let age = now.duration_since(dying.since.into()).unwrap_or_default();
        let due = dying.released && age >= keep;
        // A reference that is there after all wins over the mark.
        if !due || in_use(dying.pack.id) || index.is_referenced(&dying.pack)? {
            report.kept += 1;
            continue;
        }
        // Not repeated here: the next run does.
        match retry(Deadline::Once, || remote.delete(&dying.pack)).await {
            Ok(removal) => {
                failures = 0;
                report.forget(index, &dying.pack, removal)?;
            }
            Err(error) => {
                report.fail(&error);
                failures = match error.kind {
                    RemoteErrorKind::Unavailable => failures + 1,
                    _ => 0,
                };
                if failures == FAILURES {
                    break;
                }
            }
        }
    }
    Ok(report)
}

impl CleanupReport {
    fn forget(
        &mut self,
        index: &Index,
        pack: &PackRef,
        removal: Removal,
    ) -> Result<(), IndexError> {
        let was_known = index.forget_pack(pack.id)?;
        match removal {
            Removal::Gone => {
                self.deleted += 1;
                self.bytes += pack.len;
            }
            Removal::Left => {
                self.left += 1;
                // Another run may have been at the same pack.
                if was_known {
                    count_left(index, pack.len)?;
                }
            }
        }
        Ok(())
    }

    fn fail(&mut self, error: &RemoteError) {
        self.failed += 1;
        if self.problem.is_none() {
            self.problem = Some(error.to_string());
        }
    }
}

/// Packs that clean-up had to leave in the remote.
///
/// # Errors
/// When the database fails.
pub fn left_behind(index: &Index) -> Result<LeftBehind, IndexError> {
    let row = index.rows(ROWS)?.get(LEFT_ROW)?.unwrap_or_default();
    let number = |at: usize| {
        let bytes = row.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    };
    Ok(LeftBehind {
        packs: number(0),
        bytes: number(8),
    })
}

fn count_left(index: &Index, bytes: u64) -> Result<(), IndexError> {
    let left = left_behind(index)?;
    let row = [left.packs + 1, left.bytes + bytes].map(u64::to_le_bytes);
    index.rows(ROWS)?.put(LEFT_ROW, row.as_flattened())
}
