//! Posts that a crash left: made, and never named by a record.

use super::Shared;
use super::dispatch::DispatchV1;
use crate::remote::{IsKnown, RemoteError};

impl Shared {
    /// Goes through the notes of earlier runs. A pack that is known needs its note no more; the post
    /// of any other one is a spare copy that no read will ever ask for, and is deleted.
    pub async fn delete_unnamed(&self, is_known: &IsKnown) -> Result<u64, RemoteError> {
        let mut deleted = 0;
        for dispatch in self.dispatches.all()? {
            if is_known(dispatch.pack)? {
                self.dispatches.remove(dispatch.pack)?;
                continue;
            }
            // One of this run may still be named.
            if dispatch.since >= self.started {
                continue;
            }
            deleted += self.delete_spare(&dispatch).await?;
            self.dispatches.remove(dispatch.pack)?;
        }
        Ok(deleted)
    }

    async fn delete_spare(&self, dispatch: &DispatchV1) -> Result<u64, RemoteError> {
        let Some(post) = self.search_dispatched(dispatch).await? else {
            return Ok(0);
        };
        let left = self.delete_posts(dispatch.channel, &[post.id]).await?;
        tracing::info!(pack = %dispatch.pack, post = post.id, "a pack that an earlier run left without a record is deleted");
        Ok(1 - left.min(1))
    }
}
