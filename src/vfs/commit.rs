//! What makes written bytes a version of the file, and what lets go of them.

use super::Inner;
use super::draft::{Draft, take_over_slices};
use super::open::{OpenFile, OpenState};
use crate::failpoint;
use crate::model::{
    BlobId, Entry, EntryId, EntryKind, ErrorKind, FileState, FsResult, Timestamp, ViewsState,
};

impl Inner {
    /// Commits the draft of a file: its extents become the entry's, durable when this returns.
    pub(super) fn commit_draft(&self, file: &OpenFile, state: &mut OpenState) -> FsResult<()> {
        if state.draft.is_none() {
            return Ok(());
        }
        let placed = self.place_draft(file, state);
        self.tree.sync()?;
        placed
    }

    /// As [`Self::commit_draft`], durable with the next sync of the journal.
    pub(super) fn place_draft(&self, file: &OpenFile, state: &mut OpenState) -> FsResult<()> {
        let Some(draft) = state.draft.as_mut() else {
            return Ok(());
        };
        let synced = draft.sync();
        failpoint::pass(failpoint::Step::SpoolWritten);
        if let Err(error) = &synced {
            state.quarantine.get_or_insert_with(|| {
                format!("the disk of the spool failed ({error}), so the file is not whole; copy it again")
            });
        }
        let quarantine = state.quarantine.clone();
        if !draft.is_changed() && quarantine.is_none() {
            return Ok(synced?);
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
            return Ok(synced?);
        }
        let dropped = draft.drop_unnamed_blob();
        let changed = draft.is_changed();
        let updated = self.tree.update(file.id, |entry| {
            if let EntryKind::File(content) = &mut entry.kind {
                if changed {
                    content.version += 1;
                    // Packs that took the base's bytes while the draft was open: the copies in
                    // the spool may be gone by now.
                    take_over_slices(&mut blobs, content);
                    (content.extents, content.blobs, content.size) = (extents, blobs, size);
                    content.views = ViewsState::Pending;
                    entry.attributes.mtime = modified;
                    entry.attributes.ctime = modified;
                }
                // A failed write that changed nothing leaves a stored file what it was. An empty one may
                // be stored only because its name was published before the first write.
                if changed || content.state != FileState::Stored || content.size == 0 {
                    content.state = quarantine.map_or(FileState::Spooled, FileState::Failed);
                }
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
        Ok(synced?)
    }

    /// Says beside a new blob whose it is going to be: should the daemon be killed before the first
    /// commit, the bytes are found again under their name.
    pub(super) fn begin_record(
        &self,
        file: &OpenFile,
        state: &OpenState,
        blob: BlobId,
    ) -> FsResult<()> {
        match &state.unlinked {
            Some(entry) => {
                let record = crate::ingest::spool_record(entry)?;
                self.spool.begin_record(blob, &record)?;
                self.spool.note_removed(blob, file.id)?;
            }
            None => {
                let record = crate::ingest::spool_record(&*self.tree.recent_entry(file.id)?)?;
                self.spool.begin_record(blob, &record)?;
            }
        }
        Ok(())
    }

    /// A removed file's spooled bytes: no start shall take them for lost ones.
    pub(super) fn note_removed(&self, entry: &Entry) {
        let EntryKind::File(content) = &entry.kind else {
            return;
        };
        let mut blobs = crate::ingest::spooled_blobs(content);
        if let Some(file) = self.open.file(entry.id) {
            blobs.extend(file.state().draft.as_ref().and_then(Draft::own_id));
        }
        blobs.retain(|blob| self.spool.get(*blob).is_some());
        for blob in blobs {
            if let Err(error) = self.spool.note_removed(blob, entry.id) {
                tracing::debug!(%blob, %error, "a removal is not noted in the spool");
            }
        }
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
        if let Some(file) = self.open.file(id) {
            self.drop_file_if_unused(&file);
        }
    }

    /// As [`Self::drop_if_unused`], for who has the file: its slot may be forgotten at any time.
    pub(super) fn drop_file_if_unused(&self, file: &OpenFile) {
        let id = file.id;
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
