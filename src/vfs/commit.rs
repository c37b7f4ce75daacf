//! What makes written bytes a version of the file, and what lets go of them.

use super::Inner;
use super::open::{OpenFile, OpenState};
use crate::failpoint;
use crate::model::{
    Entry, EntryId, EntryKind, ErrorKind, FileState, FsResult, Timestamp, ViewsState,
};

impl Inner {
    /// Commits the draft of a file: its extents become the entry's, durable when this returns.
    pub(super) fn commit_draft(&self, file: &OpenFile, state: &mut OpenState) -> FsResult<()> {
        let Some(draft) = state.draft.as_mut() else {
            return Ok(());
        };
        draft.sync()?;
        failpoint::pass(failpoint::Step::SpoolWritten);
        let quarantine = state.quarantine.clone();
        if !draft.is_changed() && quarantine.is_none() {
            return self.tree.sync();
        }
        let modified = draft.modified.unwrap_or_else(Timestamp::now);
        let extents = draft.extents.as_slice().to_vec();
        let mut blobs = draft.named_blobs();
        let size = draft.size();
        if let Some(entry) = &mut state.unlinked {
            if let EntryKind::File(content) = &mut entry.kind {
                (content.extents, content.blobs, content.size) = (extents, blobs, size);
            }
            draft.modified = None;
            return Ok(());
        }
        let dropped = draft.drop_unnamed_blob();
        let changed = draft.is_changed();
        let updated = self.tree.update(file.id, |entry| {
            if let EntryKind::File(content) = &mut entry.kind {
                if changed {
                    content.version += 1;
                    // Packs that took bytes of the base while the draft was open stay known.
                    for blob in &mut blobs {
                        if let Some(known) = content.blob(blob.id)
                            && known.slices.len() > blob.slices.len()
                        {
                            blob.slices.clone_from(&known.slices);
                            blob.digest = known.digest;
                        }
                    }
                    (content.extents, content.blobs, content.size) = (extents, blobs, size);
                    content.views = ViewsState::Pending;
                    entry.attributes.mtime = modified;
                    entry.attributes.ctime = modified;
                }
                content.state = quarantine.map_or(FileState::Spooled, FileState::Failed);
            }
            Ok(())
        });
        let (entry, ()) = match updated {
            // Removed this very moment: there is no name left under which it could be durable.
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
            updated => updated?,
        };
        draft.modified = None;
        self.own_spooled(&entry)?;
        if let Some(blob) = dropped {
            self.ingest.disown_blob(blob);
        }
        self.tree.sync()
    }

    /// Tells the spool who needs which blob, and writes the records that let a start without index
    /// and journal find the bytes' name again.
    pub(super) fn own_spooled(&self, entry: &Entry) -> FsResult<()> {
        let EntryKind::File(content) = &entry.kind else {
            return Ok(());
        };
        let blobs = crate::ingest::spooled_blobs(content);
        let record = crate::ingest::spool_record(entry)?;
        for id in &blobs {
            if self.spool.get(*id).is_some() {
                self.spool.write_record(*id, &record)?;
            }
        }
        self.ingest.own(entry.id, blobs);
        Ok(())
    }

    /// Forgets an open file that nobody uses; of an unlinked one, its spooled bytes too.
    pub(super) fn drop_if_unused(&self, id: EntryId) {
        let Some(file) = self.open.file(id) else {
            return;
        };
        if self.open.is_open(id) {
            return;
        }
        if file.state().unlinked.is_some() {
            let draft = file.state().draft.take();
            if let Some(blob) = draft.and_then(|draft| draft.own_id()) {
                // Perhaps never committed, so that nobody owns it.
                self.ingest.disown_blob(blob);
            }
            self.ingest.disown(id);
            let _ = self.writing.remove(id);
        }
        self.open.forget_idle(id);
    }
}
