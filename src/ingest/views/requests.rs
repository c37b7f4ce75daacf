//! Requests to make views again, and the spooled copies that are kept for them.

use std::sync::Arc;

use super::queue::{RemakeQueue, RemakeReason};
use crate::ingest::parts::CommonParts;
use crate::ingest::settings::LiveSettings;
use crate::ingest::spool_owners::{BlobOwner, SpoolOwners};
use crate::media::build::rendition;
use crate::media::reason::UnsupportedReason;
use crate::model::{Compat, EntryId, FileContent, ViewsState};
use crate::spool::Spool;
use crate::tree::Tree;

/// Requests to make views again. Each may keep spooled copies of its file.
#[derive(Debug)]
pub struct RemakeRequests {
    tree: Arc<Tree>,
    spool: Arc<Spool>,
    owners: Arc<SpoolOwners>,
    settings: Arc<LiveSettings>,
    queue: Arc<RemakeQueue>,
}

impl RemakeRequests {
    /// Builds the requests over the parts that they need.
    #[must_use]
    pub fn new(parts: &CommonParts) -> Self {
        Self {
            tree: Arc::clone(&parts.tree),
            spool: Arc::clone(&parts.spool),
            owners: Arc::clone(&parts.owners),
            settings: Arc::clone(&parts.settings),
            queue: Arc::clone(&parts.remakes),
        }
    }

    /// Asks for a rendition if the settings want one and browsers cannot play the views as they are.
    pub fn want_rendition(&self, id: EntryId) {
        let Ok(content) = self.tree.content(id) else {
            return;
        };
        let is_wanted = match &content.views {
            ViewsState::Ready(views) => rendition::is_wanted(views),
            ViewsState::Unsupported(stored) => UnsupportedReason::decode(stored).rendition_helps(),
            _ => false,
        };
        if is_wanted && self.settings.get().compat != Compat::Off {
            // The rendition is made from the spooled copy, while there is room for it.
            self.keep_copy(id, &content);
            self.queue.ask(id, RemakeReason::Rendition, content.version);
        }
    }

    /// Keeps those blobs of a file that lie in the spool until the request is done.
    pub fn keep_copy(&self, id: EntryId, content: &FileContent) {
        let blobs = content.blobs.iter().map(|blob| blob.id);
        let here = blobs
            .filter(|blob| self.spool.get(*blob).is_some())
            .collect();
        self.owners.set(BlobOwner::Remake(id), here);
    }

    /// Releases the copies of waiting requests once the spool is half full. New files need the room, and
    /// the copies can be read from the remote again.
    pub fn release_copies(&self) {
        if self.spool.free() >= self.spool.capacity() / 2 {
            return;
        }
        for id in self.queue.waiting() {
            self.owners.set(BlobOwner::Remake(id), Vec::new());
        }
    }

    /// Forgets the request of a file for the versions that `which` names, and its copies.
    pub fn forget(&self, id: EntryId, which: impl Fn(u64) -> bool) {
        if self.queue.forget(id, which) {
            self.owners.set(BlobOwner::Remake(id), Vec::new());
        }
    }
}
