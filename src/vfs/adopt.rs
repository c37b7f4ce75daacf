//! Files whose bytes were in the store before they were files: what others posted.

use std::collections::HashSet;

use super::{Caller, Vfs};
use crate::ingest::blob_of_pack;
use crate::model::{
    EntryId, EntryKind, Extent, ExtentSource, FileContent, FsResult, Ino, PackAddress, PackRef,
    TelegramAddress, Timestamp,
};
use crate::tree::NewEntry;

/// Nobody changes the bytes; the name may be changed like any other.
const MODE: u32 = 0o644;

impl Vfs {
    /// Makes a file of a pack that holds all its bytes, and has it looked at for views.
    ///
    /// # Errors
    /// `Exists`, `NotFound`, `NotDirectory`, `ReadOnly`, or `Io`.
    pub fn adopt(
        &self,
        parent: Ino,
        name: &[u8],
        pack: PackRef,
        modified: Timestamp,
        caller: Caller,
    ) -> FsResult<EntryId> {
        let directory = self.0.changeable_directory(parent)?;
        let name = super::Inner::check_new_name(&directory, name)?;
        let blob = blob_of_pack(pack);
        let content = FileContent {
            size: blob.len,
            extents: vec![Extent {
                source: ExtentSource::Blob(blob.id),
                offset: 0,
                len: blob.len,
            }],
            blobs: vec![blob],
            ..FileContent::empty()
        };
        let new = NewEntry {
            mode: MODE,
            uid: caller.uid,
            gid: caller.gid,
        };
        let kind = EntryKind::File(Box::new(content));
        let id = self.0.tree.add(directory.id, name, new, kind)?.id;
        self.0.tree.update(id, |entry| {
            entry.attributes.mtime = modified;
            Ok(())
        })?;
        self.0.ingest.submit(id);
        Ok(id)
    }

    /// The documents of others that are files already.
    ///
    /// # Errors
    /// `Io`.
    pub fn adopted(&self) -> FsResult<HashSet<TelegramAddress>> {
        let mut adopted = HashSet::new();
        self.0.visit_all(|entry| {
            let EntryKind::File(content) = &entry.kind else {
                return;
            };
            for pack in content.packs() {
                if let PackAddress::Adopted(address) = pack.address {
                    adopted.insert(address.document);
                }
            }
        })?;
        Ok(adopted)
    }
}
