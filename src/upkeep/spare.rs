//! Packs that an earlier run put into the remote and died before anything named them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::index::Index;
use crate::model::PackId;
use crate::remote::retry::{Deadline, retry};
use crate::remote::{Remote, RemoteError, RemoteErrorKind};

/// Deletes them; `noted` are packs that unfinished uploads go on with. Only after the index is filled
/// and the spool was looked through: what is known is compared with then. How many.
///
/// # Errors
/// What the remote says; the rest is looked at again at the next start.
pub async fn delete_spare_packs(
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
