//! Owners of spooled blobs, and the deletion of blobs without an owner. The owners are rebuilt at each
//! start from the entries themselves.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::notes::Notes;
use crate::model::{BlobId, ByteRange, EntryId, ExtentSource, FileContent, ViewsState};
use crate::spool::Spool;
use crate::sync::MutexExt as _;
use crate::tree::Tree;

/// Owner of spooled blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlobOwner {
    /// The file that consists of them.
    Entry(EntryId),
    /// The step that makes this file's views again.
    Remake(EntryId),
    /// An answer in flight, by the number of its handle.
    Handle(u64),
}

/// Blobs by owner, and owners by blob.
#[derive(Debug, Default)]
struct BlobOwners {
    by_owner: HashMap<BlobOwner, Vec<BlobId>>,
    by_blob: HashMap<BlobId, HashSet<BlobOwner>>,
}

impl BlobOwners {
    /// Lets `owner` own exactly `blobs`, and returns those that nobody owns any more.
    fn set(&mut self, owner: BlobOwner, blobs: Vec<BlobId>) -> Vec<BlobId> {
        for blob in &blobs {
            self.by_blob.entry(*blob).or_default().insert(owner);
        }
        let before = if blobs.is_empty() {
            self.by_owner.remove(&owner)
        } else {
            self.by_owner.insert(owner, blobs.clone())
        };
        let mut orphans = Vec::new();
        for blob in before.unwrap_or_default() {
            if blobs.contains(&blob) {
                continue;
            }
            if let Some(owners) = self.by_blob.get_mut(&blob) {
                owners.remove(&owner);
                if owners.is_empty() {
                    self.by_blob.remove(&blob);
                    orphans.push(blob);
                }
            }
        }
        orphans
    }

    fn is_owned(&self, blob: BlobId) -> bool {
        self.by_blob.contains_key(&blob)
    }
}

/// Owners of the spooled blobs, and the blobs that wait for their deletion.
#[derive(Debug)]
pub struct SpoolOwners {
    tree: Arc<Tree>,
    spool: Arc<Spool>,
    notes: Arc<Notes>,
    owners: Mutex<BlobOwners>,
    /// Blobs without an owner, which are deleted once the journal has that on the disk.
    orphans: Mutex<Vec<BlobId>>,
    orphaned: Notify,
}

impl SpoolOwners {
    /// Starts without any owner.
    #[must_use]
    pub fn new(tree: Arc<Tree>, spool: Arc<Spool>, notes: Arc<Notes>) -> Self {
        Self {
            tree,
            spool,
            notes,
            owners: Mutex::default(),
            orphans: Mutex::default(),
            orphaned: Notify::new(),
        }
    }

    fn owners(&self) -> MutexGuard<'_, BlobOwners> {
        self.owners.acquire()
    }

    /// Lets `owner` own exactly `blobs`. Blobs that lose their last owner are deleted soon.
    pub fn set(&self, owner: BlobOwner, blobs: Vec<BlobId>) {
        let orphans = self.owners().set(owner, blobs);
        self.orphan(orphans);
    }

    /// Returns true if the blob has an owner.
    #[must_use]
    pub fn is_owned(&self, blob: BlobId) -> bool {
        self.owners().is_owned(blob)
    }

    /// Queues blobs for deletion. A blob that has an owner by then is kept.
    pub fn orphan(&self, blobs: Vec<BlobId>) {
        if !blobs.is_empty() {
            self.orphans.acquire().extend(blobs);
            self.orphaned.notify_one();
        }
    }

    /// Waits until a blob was queued for deletion. Cancel safe: the notification stays.
    pub async fn orphaned(&self) {
        self.orphaned.notified().await;
    }

    /// Deletes the queued spool files once the journal that made them orphans is on the disk. Blocking.
    pub fn reap(&self) {
        let orphans = std::mem::take(&mut *self.orphans.acquire());
        if orphans.is_empty() {
            return;
        }
        if let Err(error) = self.tree.sync() {
            tracing::warn!(%error, "spool files are kept until the journal can be written");
            self.orphans.acquire().extend(orphans);
            return;
        }
        for blob in orphans {
            // The lock is held until the file is gone, so nobody can become an owner in between.
            let owners = self.owners();
            if owners.is_owned(blob) {
                continue;
            }
            if let Err(error) = self.spool.discard(blob) {
                tracing::warn!(%blob, %error, "a spool file that nothing needs cannot be deleted");
            }
            self.notes.forget_blob(blob);
        }
    }
}

/// Returns the blobs of a file that may lie in the spool, derived ones included.
#[must_use]
pub fn spooled_blobs(content: &FileContent) -> Vec<BlobId> {
    let blobs = content.blobs.iter().chain(content.views.derived());
    blobs.map(|blob| blob.id).collect()
}

/// Returns the blobs of a file that must stay in the spool until packs hold them.
#[must_use]
pub fn needed_blobs(content: &FileContent) -> Vec<BlobId> {
    let mut needed: Vec<BlobId> = Vec::new();
    for extent in &content.extents {
        if let ExtentSource::Blob(id) = extent.source {
            let range = ByteRange::new(extent.offset, extent.len);
            let durable = content.blob(id).is_some_and(|blob| blob.covers(range));
            // Views that are not made yet will be made from the spooled copy.
            if !durable || matches!(content.views, ViewsState::Pending) {
                needed.push(id);
            }
        }
    }
    if let Some(derived) = content.views.derived()
        && !content.views.is_durable()
    {
        needed.push(derived.id);
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Index, Owner};
    use crate::spool::SpoolConfig;

    #[test]
    fn a_blob_is_an_orphan_only_when_its_last_owner_goes() {
        let (blob, other) = (BlobId::random(), BlobId::random());
        let (film, copy) = (
            BlobOwner::Entry(EntryId::random()),
            BlobOwner::Entry(EntryId::random()),
        );
        let mut owners = BlobOwners::default();
        assert!(owners.set(film, vec![blob]).is_empty());
        assert!(owners.set(copy, vec![blob]).is_empty());
        assert!(owners.set(film, vec![other]).is_empty());
        assert!(owners.is_owned(blob));
        assert_eq!(owners.set(copy, Vec::new()), [blob]);
        assert_eq!(owners.set(film, Vec::new()), [other]);
        assert!(!owners.is_owned(blob));
    }

    #[test]
    fn an_orphan_is_deleted_only_while_nobody_needs_it() {
        let directory = tempfile::tempdir().unwrap();
        let (index, _) = Index::open(directory.path(), Owner::of_process()).unwrap();
        let index = Arc::new(index);
        let spool = Arc::new(
            Spool::open(SpoolConfig {
                directory: directory.path().join("spool"),
                capacity: 1 << 20,
                reserve: 0,
            })
            .unwrap(),
        );
        let notes = Arc::new(Notes::open(&index).unwrap());
        let tree = Arc::new(Tree::new(index));
        let owners = SpoolOwners::new(tree, Arc::clone(&spool), Arc::clone(&notes));
        let [dropped, wanted_again] = [(), ()].map(|()| spool.create().unwrap().id);
        let film = BlobOwner::Entry(EntryId::random());
        owners.set(film, vec![dropped, wanted_again]);
        notes.note_slices(dropped, &[]).unwrap();
        owners.reap();
        assert!(spool.get(dropped).is_some(), "the film needs it");
        owners.set(film, Vec::new());
        // A reader opens the file again before the orphans are deleted.
        owners.set(BlobOwner::Handle(7), vec![wanted_again]);
        owners.reap();
        assert!(spool.get(dropped).is_none(), "nobody needs it");
        assert!(spool.get(wanted_again).is_some(), "the handle needs it");
    }
}
