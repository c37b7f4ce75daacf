//! Storing of views, which puts them into their entry and their derived blob into packs.

use std::sync::Arc;

use super::queue::RemakeQueue;
use super::requests::RemakeRequests;
use crate::ingest::blob_sender::{BlobSender, BlobToSend};
use crate::ingest::changes::ChangeSignal;
use crate::ingest::jobs::{FileStage, Jobs, Stage};
use crate::ingest::notes::Notes;
use crate::ingest::openings::OpeningOf;
use crate::ingest::parts::CommonParts;
use crate::ingest::publish::publisher::Publisher;
use crate::ingest::slices::slices_digest;
use crate::ingest::spool_owners::{BlobOwner, SpoolOwners, needed_blobs};
use crate::model::{Blob, ByteRange, EntryId, EntryKind, FsResult, Views, ViewsState};
use crate::spool::Spool;
use crate::tree::Tree;

/// Store of views: the last step of making them.
#[derive(Debug)]
pub struct ViewsStore {
    tree: Arc<Tree>,
    spool: Arc<Spool>,
    notes: Arc<Notes>,
    owners: Arc<SpoolOwners>,
    publisher: Arc<Publisher>,
    jobs: Arc<Jobs>,
    remakes: Arc<RemakeQueue>,
    changes: Arc<ChangeSignal>,
    requests: Arc<RemakeRequests>,
    sender: Arc<BlobSender>,
}

impl ViewsStore {
    /// Builds the store over the parts that it needs.
    #[must_use]
    pub fn new(
        parts: &CommonParts,
        requests: Arc<RemakeRequests>,
        sender: Arc<BlobSender>,
    ) -> Self {
        Self {
            tree: Arc::clone(&parts.tree),
            spool: Arc::clone(&parts.spool),
            notes: Arc::clone(&parts.notes),
            owners: Arc::clone(&parts.owners),
            publisher: Arc::clone(&parts.publisher),
            jobs: Arc::clone(&parts.jobs),
            remakes: Arc::clone(&parts.remakes),
            changes: Arc::clone(&parts.changes),
            requests,
            sender,
        }
    }

    /// Puts the views into the entry, unless the file changed while they were made.
    ///
    /// # Errors
    /// `NotFound` when the file is gone; `Io` when the index fails.
    pub fn set(&self, id: EntryId, version: u64, state: ViewsState) -> FsResult<()> {
        let made = state.derived().map(|derived| derived.id);
        let updated = self.tree.update(id, |entry| {
            let EntryKind::File(content) = &mut entry.kind else {
                return Ok(false);
            };
            if content.version != version {
                return Ok(false);
            }
            content.views = state;
            // This is inside the update, so that a removal comes before or after both.
            self.owners.set(BlobOwner::Entry(id), needed_blobs(content));
            Ok(true)
        });
        // The file changed or was removed while its views were made, so nobody needs them.
        if !matches!(updated, Ok((_, true))) {
            made.into_iter()
                .for_each(|blob| self.owners.orphan(vec![blob]));
        }
        updated?;
        self.changes.raise();
        Ok(())
    }

    /// Sends the derived blob of a file's views.
    ///
    /// # Errors
    /// `NotFound` when the file is gone; errors of the spool, the index or the remote.
    pub async fn send(&self, id: EntryId) -> FsResult<()> {
        let content = self.tree.content(id)?;
        let Some(derived) = content.views.derived() else {
            self.publisher.urge();
            return Ok(());
        };
        if self.spool.get(derived.id).is_none() && !content.views.is_durable() {
            // The blob was lost with a part of the spool, so the views are made again from the bytes.
            return self.set(id, content.version, ViewsState::Pending);
        }
        let opening = match &content.views {
            ViewsState::Ready(views) => OpeningOf::Derived(views),
            _ => OpeningOf::Whole,
        };
        self.send_blob(id, derived, opening).await?;
        self.tree.update(id, |entry| {
            if let EntryKind::File(content) = &mut entry.kind
                && let Some(known) = content.views.derived_mut()
                && known.id == derived.id
            {
                known.slices = self.notes.slices(derived.id)?;
                known.digest = Some(slices_digest(&known.slices));
            }
            Ok(())
        })?;
        self.publisher.urge();
        Ok(())
    }

    /// Sends the derived blob of views that were made again, if any wait. The new views take the
    /// place of the old ones only when the blob is stored.
    ///
    /// # Errors
    /// `NotFound` when the file is gone; errors of the spool, the index or the remote.
    pub async fn send_remade(&self, id: EntryId, version: u64) -> FsResult<()> {
        let Some(mut new) = self.remakes.made(id, version) else {
            return Ok(());
        };
        let blob = new.derived.id;
        if self.spool.get(blob).is_none() {
            self.requests.forget(id, |_| true);
            return Ok(());
        }
        self.send_blob(id, &new.derived, OpeningOf::Derived(&new))
            .await?;
        new.derived.slices = self.notes.slices(blob)?;
        new.derived.digest = Some(slices_digest(&new.derived.slices));
        let swapped = self.swap(id, version, &new)?;
        self.requests.forget(id, |known| known == version);
        if swapped == Swapped::Yes {
            self.requests.want_rendition(id);
        }
        self.publisher.urge();
        self.changes.raise();
        Ok(())
    }

    fn swap(&self, id: EntryId, version: u64, new: &Views) -> FsResult<Swapped> {
        let (_, swapped) = self.tree.update(id, |entry| {
            let EntryKind::File(content) = &mut entry.kind else {
                return Ok(Swapped::No);
            };
            if content.version != version || !may_be_replaced(&content.views) {
                return Ok(Swapped::No);
            }
            content.views = ViewsState::Ready(Box::new(new.clone()));
            // The spooled copy is kept until the log has the new views.
            let mut needed = needed_blobs(content);
            needed.push(new.derived.id);
            self.owners.set(BlobOwner::Entry(id), needed);
            Ok(Swapped::Yes)
        })?;
        Ok(swapped)
    }

    async fn send_blob(&self, id: EntryId, blob: &Blob, opening: OpeningOf<'_>) -> FsResult<()> {
        let of = FileStage {
            stage: Stage::Views,
            id,
        };
        self.jobs.begin_upload(of, blob.len);
        let order = BlobToSend {
            of,
            blob,
            ranges: vec![ByteRange::new(0, blob.len)],
            opening,
        };
        self.sender.send(order, &mut None).await
    }
}

/// Answer whether new views took the place of the old ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Swapped {
    Yes,
    No,
}

/// Returns true if new views may take the place of these.
fn may_be_replaced(views: &ViewsState) -> bool {
    matches!(views, ViewsState::Ready(_) | ViewsState::Unsupported(_))
}
