//! Who needs which spooled blob. Rebuilt at each start from the entries themselves.

use std::collections::{HashMap, HashSet};

use crate::model::{BlobId, EntryId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    Entry(EntryId),
    /// Views of this file that are made again.
    Remake(EntryId),
    /// An answer in flight, by its handle's number.
    Handle(u64),
}

#[derive(Debug, Default)]
pub struct Owners {
    by_owner: HashMap<Owner, Vec<BlobId>>,
    by_blob: HashMap<BlobId, HashSet<Owner>>,
}

impl Owners {
    /// `owner` needs exactly `blobs`; returns those that nobody needs any more.
    pub fn set(&mut self, owner: Owner, blobs: Vec<BlobId>) -> Vec<BlobId> {
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

    #[must_use]
    pub fn is_owned(&self, blob: BlobId) -> bool {
        self.by_blob.contains_key(&blob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_an_orphan_only_when_its_last_owner_goes() {
        let (blob, other) = (BlobId::random(), BlobId::random());
        let (film, copy) = (
            Owner::Entry(EntryId::random()),
            Owner::Entry(EntryId::random()),
        );
        let mut owners = Owners::default();
        assert!(owners.set(film, vec![blob]).is_empty());
        assert!(owners.set(copy, vec![blob]).is_empty());
        assert!(owners.set(film, vec![other]).is_empty());
        assert!(owners.is_owned(blob));
        assert_eq!(owners.set(copy, Vec::new()), [blob]);
        assert_eq!(owners.set(film, Vec::new()), [other]);
        assert!(!owners.is_owned(blob));
    }
}
