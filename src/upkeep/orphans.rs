//! Orphaned packs, which an earlier run put into the remote before it ended without naming them anywhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::index::Index;
use crate::model::PackId;
use crate::remote::retry::{Deadline, retry};
use crate::remote::{Remote, RemoteError, RemoteErrorKind};

/// Deletes orphaned packs. Returns their number. `noted` are packs that unfinished uploads continue. Must
/// be called only after the index is filled and the spool was searched: a pack that they do not know then
/// is an orphan.
///
/// # Errors
/// The error of the remote. The next start looks for the other packs again.
pub async fn delete_orphan_packs(
    index: &Arc<Index>,
    remote: &Arc<dyn Remote>,
    noted: BTreeSet<PackId>,
) -> Result<u64, RemoteError> {
    let index = Arc::clone(index);
    let is_known = move |pack: PackId| {
        let known = index.knows_pack(pack).map_err(|error| {
            RemoteError::new(
                RemoteErrorKind::Unavailable,
                "look for a pack in the index",
                error.to_string(),
            )
        })?;
        Ok(known || noted.contains(&pack))
    };
    retry(Deadline::None, || remote.delete_unnamed(&is_known)).await
}
