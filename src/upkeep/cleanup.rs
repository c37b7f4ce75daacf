//! Deletion of packs that nothing needs. The order is fixed. First the index has no reference, then the
//! manifest that says so is acknowledged, then a grace time passes, and then the remote deletes the pack.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::index::{Index, IndexError};
use crate::model::{PackId, PackRef};
use crate::remote::retry::{Deadline, retry};
use crate::remote::{Remote, RemoteError, RemoteErrorKind, Removal};

/// Most dying packs that one run looks at. The next run takes the others.
const AT_ONCE: usize = 1000;
/// Failures in a row after which the remote counts as away. The next run takes the rest.
const FAILURES: u32 = 3;
/// Rows of this module. One row has two numbers, the packs and bytes that could not be deleted.
const ROWS: &str = "cleanup";
const LEFT_ROW: &[u8] = b"left";

/// Report of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanupReport {
    /// Packs that were deleted.
    pub deleted: u64,
    /// Bytes of the deleted packs.
    pub bytes: u64,
    /// Packs whose grace time is not over, or that somebody still reads.
    pub kept: u64,
    /// Packs that the service does not delete any more.
    pub left: u64,
    /// Packs that are tried again in the next run.
    pub failed: u64,
    /// Error of the first of them.
    pub problem: Option<String>,
}

/// Packs that nothing names and that stay in the remote, counted since this state was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftBehind {
    pub packs: u64,
    /// Bytes of these packs.
    pub bytes: u64,
}

/// Deletes the packs whose last reference went at least `keep` ago. `in_use` tells whether an open
/// handle still reads from a pack. An error over one pack does not stop the others.
///
/// # Errors
/// When the index cannot be read. Packs that were deleted before stay deleted.
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
        // A reference overrides the mark that says there is none.
        if !due || in_use(dying.pack.id) || index.is_referenced(&dying.pack)? {
            report.kept += 1;
            continue;
        }
        // Each pack is tried once. The next run tries again.
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
                // Another run may have counted the same pack.
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

/// Returns how many packs clean-up had to leave in the remote.
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
