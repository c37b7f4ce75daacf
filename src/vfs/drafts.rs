//! Drafts of files that are being written, and the commits that turn drafts into versions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::attr::without_set_id;
use super::draft::{FileDraft, take_over_slices};
use super::open::{FileHandle, OpenFile, OpenFileState, OpenTable};
use super::replaced::remark;
use super::settings::SharedSettings;
use super::spool_records::SpoolRecords;
use super::types::{HandleId, Mutability};
use super::writing_notes::WritingNotes;
use crate::failpoint;
use crate::ingest::Ingest;
use crate::ingest::extents::needed;
use crate::model::{
    Blob, ByteRange, Entry, EntryId, EntryKind, ErrorKind, Extent, FileContent, FileState,
    FsResult, Timestamp, ViewsState,
};
use crate::spool::{NotedStep, Spool};
use crate::tree::Tree;

/// Written bytes are flushed to the disk each time this many have accumulated, so that the wait at
/// `close` is short.
const WRITE_BACK_BYTES: u64 = 8 << 20;

/// Outcome of an attempt to finish a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DraftEnd {
    /// The bytes cannot change any more without a new draft.
    Yes,
    /// A writer still has the file open, or its name is gone.
    No,
}

/// The extents of a range, and the blobs that they name.
pub type NeededBytes = (Vec<Extent>, Vec<Blob>);

/// The drafts of all open files. A file's draft lives in its [`OpenFileState`], which the caller has
/// locked.
#[derive(Debug)]
pub struct Drafts {
    tree: Arc<Tree>,
    spool: Arc<Spool>,
    ingest: Ingest,
    open: Arc<OpenTable>,
    notes: Arc<WritingNotes>,
    records: Arc<SpoolRecords>,
    settings: SharedSettings,
}

/// The parts that drafts work with.
#[derive(Debug)]
pub struct DraftParts {
    pub tree: Arc<Tree>,
    pub spool: Arc<Spool>,
    pub ingest: Ingest,
    pub open: Arc<OpenTable>,
    pub notes: Arc<WritingNotes>,
    pub records: Arc<SpoolRecords>,
    pub settings: SharedSettings,
}

impl Drafts {
    pub fn new(parts: DraftParts) -> Self {
        Self {
            tree: parts.tree,
            spool: parts.spool,
            ingest: parts.ingest,
            open: parts.open,
            notes: parts.notes,
            records: parts.records,
            settings: parts.settings,
        }
    }

    /// Returns the committed content of an open file.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, or `Io`.
    pub fn committed(&self, file: &OpenFile, state: &OpenFileState) -> FsResult<FileContent> {
        let content = |kind: &EntryKind| match kind {
            EntryKind::File(content) => Ok((**content).clone()),
            EntryKind::Directory => Err(ErrorKind::IsDirectory.into()),
        };
        match &state.unlinked {
            Some(entry) => content(&entry.kind),
            None => content(&self.tree.recent_entry(file.id)?.kind),
        }
    }

    /// Returns the file's draft, started from its content if there is none.
    ///
    /// # Errors
    /// Those of [`Self::committed`].
    pub fn start<'a>(
        &self,
        file: &OpenFile,
        state: &'a mut OpenFileState,
    ) -> FsResult<&'a mut FileDraft> {
        if state.draft.is_none() {
            self.ingest.hold(file.id);
            state.draft = Some(FileDraft::over(&self.committed(file, state)?));
        }
        state.draft.as_mut().ok_or_else(|| ErrorKind::Io.into())
    }

    /// Begins a change through `handle`, or by name: the file has a draft, and a note in the spool says
    /// that it is being written.
    ///
    /// # Errors
    /// Those of [`Self::committed`], or `NoSpace`.
    pub fn begin_change(
        &self,
        file: &OpenFile,
        state: &mut OpenFileState,
        handle: Option<HandleId>,
    ) -> FsResult<()> {
        let steps = self.start(file, state)?.noted_steps();
        if state.note.is_none() && state.unlinked.is_none() {
            let version = self.committed(file, state)?.version;
            state.note = Some(self.notes.begin(file.id, version, &steps)?);
        }
        state.writing.extend(handle);
        Ok(())
    }

    /// Notes that a file was just created through `handle`. It has no byte yet, and may get some.
    ///
    /// # Errors
    /// `NoSpace` or `Io`.
    pub fn was_created(&self, file: &OpenFile, handle: HandleId) -> FsResult<()> {
        let mut state = file.state();
        if state.note.is_none() && state.unlinked.is_none() {
            state.note = Some(self.notes.begin(file.id, 0, &[NotedStep::Mirror])?);
        }
        state.writing.insert(handle);
        Ok(())
    }

    /// Writes `data` into the draft. Blocks.
    ///
    /// # Errors
    /// `NoSpace` or `Io`.
    pub fn write(&self, open: &FileHandle, offset: u64, data: &[u8]) -> FsResult<()> {
        let file = &open.file;
        let mut state = file.state();
        self.begin_change(file, &mut state, Some(open.id))?;
        state.protect_committed(offset)?;
        let draft = self.start(file, &mut state)?;
        if draft.own_id().is_none() {
            let blob = draft.own_blob(&self.spool)?.id;
            match &state.unlinked {
                Some(entry) => self.records.begin_removed(blob, entry)?,
                None => self
                    .records
                    .begin(blob, &*self.tree.recent_entry(file.id)?)?,
            }
            state.add_step(NotedStep::Blob(blob))?;
        }
        let draft = self.start(file, &mut state)?;
        if let Some(step) = draft.write(&self.spool, offset, data)? {
            state.add_step(step)?;
        }
        open.wrote.store(true, Ordering::Relaxed);
        state.unsynced += data.len() as u64;
        if state.unsynced >= WRITE_BACK_BYTES
            && let Some(draft) = &mut state.draft
        {
            draft.own_blob(&self.spool)?.write_back();
            state.unsynced = 0;
        }
        Ok(())
    }

    /// Truncates or extends a file. [`Self::begin_change`] comes first.
    ///
    /// # Errors
    /// `NoSpace` or `Io`.
    pub fn set_size(&self, file: &OpenFile, state: &mut OpenFileState, size: u64) -> FsResult<()> {
        if self.start(file, state)?.size() == size {
            return Ok(());
        }
        state.protect_committed(size)?;
        state.add_step(match size {
            0 => NotedStep::Mirror,
            _ => NotedStep::Resize(size),
        })?;
        let draft = self.start(file, state)?;
        draft.truncate(&self.spool, size)?;
        if let Some(blob) = draft.drop_damaged_blob() {
            // The steps tell all of a file without a base, and must not name the blob that goes.
            if !draft.noted_steps().is_empty() {
                state.restate_note()?;
            }
            self.ingest.disown_blob(blob);
        }
        Ok(())
    }

    /// Makes a hole in a file. [`Self::begin_change`] comes first.
    ///
    /// # Errors
    /// `NoSpace` or `Io`.
    pub fn punch(
        &self,
        file: &OpenFile,
        state: &mut OpenFileState,
        range: ByteRange,
    ) -> FsResult<()> {
        state.protect_committed(range.offset)?;
        state.add_step(NotedStep::Punch(range))?;
        Ok(self.start(file, state)?.punch(&self.spool, range)?)
    }

    /// Returns the extents and blobs of a range of an open file, with the draft's changes.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn extents_at(&self, file: &OpenFile, offset: u64, len: u64) -> FsResult<NeededBytes> {
        let mut state = file.state();
        if state.draft.is_some() && state.unlinked.is_none() {
            let content = self.committed(file, &state)?;
            if let Some(draft) = &mut state.draft {
                draft.refresh_base(&content);
            }
        }
        if let Some(draft) = &state.draft {
            return Ok((draft.extents.range(offset, len), draft.blobs().to_vec()));
        }
        if state.unlinked.is_none() {
            // Common case, a stored film being played: its whole record is not copied.
            let entry = self.tree.recent_entry(file.id)?;
            if let EntryKind::File(content) = &entry.kind {
                return Ok(needed(content, offset, len));
            }
        }
        let content = self.committed(file, &state)?;
        Ok(needed(&content, offset, len))
    }

    /// Returns extents of a file whose bytes cannot change any more.
    ///
    /// # Errors
    /// `NotSupported` while they can still change, or `Io`.
    pub fn shareable(&self, file: &OpenFile, offset: u64, len: u64) -> FsResult<NeededBytes> {
        if self.open.writers(file.id) > 0 {
            return Err(ErrorKind::NotSupported.into());
        }
        let mut state = file.state();
        // Nothing refers to the packs of a removed file any more.
        if state.unlinked.is_some() {
            return Err(ErrorKind::NotSupported.into());
        }
        self.commit(file, &mut state)?;
        // The draft is sealed: the next write starts a new blob.
        state.draft = None;
        let content = self.committed(file, &state)?;
        Ok(needed(&content, offset, len))
    }

    /// Returns whether a file's bytes can change under a handle that is opened now.
    pub fn mutability(&self, id: EntryId) -> Mutability {
        let stored = self
            .tree
            .recent_entry(id)
            .is_ok_and(|entry| match &entry.kind {
                EntryKind::File(content) => content.state == FileState::Stored,
                EntryKind::Directory => false,
            });
        if stored && self.open.writers(id) == 0 {
            Mutability::Immutable
        } else {
            Mutability::Mutable
        }
    }

    /// Brings the records beside a file's spooled bytes up to its new name or attributes.
    pub fn follow(&self, entry: &Entry) {
        let file = self.open.file(entry.id);
        let draft = file.and_then(|file| file.state().draft.as_ref().and_then(FileDraft::own_id));
        self.records.follow(entry, draft);
    }

    /// Clears set-user-id and set-group-id of a file that is written to.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn clear_set_id(&self, file: &OpenFile) -> FsResult<()> {
        if file.state().unlinked.is_some() {
            return Ok(());
        }
        let node = self.tree.node(file.id)?;
        if without_set_id(node.attributes.mode) != node.attributes.mode {
            let (entry, ()) = self.tree.update(file.id, |entry| {
                entry.attributes.mode = without_set_id(entry.attributes.mode);
                Ok(())
            })?;
            self.follow(&entry);
        }
        Ok(())
    }

    /// Commits the draft of a file. Its extents become those of the entry and are durable when this
    /// returns. The note that it is being written goes, unless a handle still writes.
    ///
    /// # Errors
    /// `NoSpace` or `Io`, when the bytes are not durable.
    pub fn commit(&self, file: &OpenFile, state: &mut OpenFileState) -> FsResult<()> {
        if state.draft.is_some() {
            let placed = self.place(file, state);
            self.tree.sync()?;
            placed?;
        }
        if state.writing.is_empty()
            && let Some(note) = state.note.take()
        {
            self.notes.end(file.id, note);
        }
        Ok(())
    }

    /// Does the same as [`Self::commit`], but the change becomes durable only with the next sync of
    /// the journal, and the note stays.
    ///
    /// # Errors
    /// `NoSpace` or `Io`.
    pub fn place(&self, file: &OpenFile, state: &mut OpenFileState) -> FsResult<()> {
        let Some(draft) = state.draft.as_mut() else {
            return Ok(());
        };
        let synced = draft.sync();
        failpoint::pass(failpoint::Step::SpoolWritten);
        if let Err(error) = &synced {
            let reason = || {
                format!(
                    "the disk of the spool failed ({error}), so the file is not whole; copy it again"
                )
            };
            state.set_apart(reason, self.open.newest());
        }
        let quarantine = state.quarantine.as_ref().map(|found| found.reason.clone());
        let Some(draft) = state.draft.as_mut() else {
            return Ok(synced?);
        };
        let quarantine = quarantine.map(|reason| match draft.gives_up_stored_bytes() {
            true => format!("{reason}; {}", remark(self.settings.get().keep_deleted)),
            false => reason,
        });
        if !draft.is_changed() && quarantine.is_none() {
            return Ok(synced?);
        }
        if let Some(entry) = &mut state.unlinked {
            if let EntryKind::File(content) = &mut entry.kind {
                content.extents = draft.extents.as_slice().to_vec();
                content.blobs = draft.named_blobs();
                content.size = draft.size();
            }
            draft.modified = None;
            return Ok(synced?);
        }
        let blobs = draft.named_blobs();
        let dropped = draft.drop_unnamed_blob();
        if !state.writing.is_empty()
            && let Some(note) = &mut state.note
            && let Ok(content) = self.tree.content(file.id)
        {
            note.allow(content.version + 1)?;
        }
        let entry = match self.store_version(file.id, draft, blobs, quarantine) {
            // The file was removed at this very moment, so the bytes have no name left to be durable under.
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
            stored => stored?,
        };
        draft.was_committed();
        state.note_commit(dropped)?;
        self.records.own(&entry)?;
        if let Some(blob) = dropped {
            self.ingest.disown_blob(blob);
        }
        Ok(synced?)
    }

    /// Makes the names and attributes of all files durable.
    ///
    /// # Errors
    /// `NoSpace` or `Io`.
    pub fn sync_names(&self) -> FsResult<()> {
        self.tree.sync()
    }

    /// Makes the draft the newest version of its entry; `blobs` are those that the draft names.
    fn store_version(
        &self,
        id: EntryId,
        draft: &FileDraft,
        mut blobs: Vec<Blob>,
        quarantine: Option<String>,
    ) -> FsResult<Entry> {
        let modified = draft.modified.unwrap_or_else(Timestamp::now);
        let (entry, ()) = self.tree.update(id, |entry| {
            let EntryKind::File(content) = &mut entry.kind else {
                return Ok(());
            };
            if draft.is_changed() {
                content.version += 1;
                // Packs may have taken bytes of the base while the draft was open. The copies in the
                // spool may be gone by now.
                take_over_slices(&mut blobs, content);
                content.extents = draft.extents.as_slice().to_vec();
                (content.blobs, content.size) = (blobs, draft.size());
                content.views = ViewsState::Pending;
                entry.attributes.mtime = modified;
                entry.attributes.ctime = modified;
            }
            // A failed write that changed nothing leaves a stored file as it was. An empty file is
            // excepted: it may be stored only because its name was published before the first write.
            if draft.is_changed() || content.state != FileState::Stored || content.size == 0 {
                content.state = quarantine.map_or(FileState::Spooled, FileState::Failed);
            }
            Ok(())
        })?;
        Ok(entry)
    }

    /// Ends the writing of a file: commits its draft and forgets it. Its blob is immutable afterwards.
    ///
    /// # Errors
    /// `NoSpace` or `Io`; the draft then stays.
    pub fn finish(&self, id: EntryId) -> FsResult<DraftEnd> {
        if self.open.writers(id) > 0 {
            return Ok(DraftEnd::No);
        }
        if let Some(file) = self.open.file(id) {
            let mut state = file.state();
            // A program may have opened the file and written since the number of writers was asked for.
            if state.unlinked.is_some() || !state.writing.is_empty() {
                return Ok(DraftEnd::No);
            }
            let committed = self.commit(&file, &mut state);
            if state.draft.as_ref().is_some_and(FileDraft::is_changed) {
                committed?;
            } else if let Err(error) = committed {
                // The entry is in the tree as failed, with the reason.
                tracing::error!(file = %id, %error, "a written file is not safe on the disk");
            }
            state.draft = None;
            state.quarantine = None;
            if let Some(note) = state.note.take() {
                self.notes.end(id, note);
            }
        }
        self.open.forget_idle(id);
        Ok(DraftEnd::Yes)
    }

    /// Keeps the content of a file whose name was removed for the handles that are open on it.
    /// Releases its spooled bytes when there are no such handles.
    pub fn keep_unlinked(&self, entry: Entry) {
        let held = self.open.hold(entry.id, entry.ino);
        let draft = held.file.state().draft.as_ref().and_then(FileDraft::own_id);
        self.records.note_removed(&entry, draft);
        {
            let mut state = held.file.state();
            state.note = None;
            self.notes.forget(entry.id);
            state.unlinked = Some(Box::new(entry));
        }
        let file = Arc::clone(&held.file);
        drop(held);
        self.forget_if_unused(&file);
    }

    /// Forgets an open file that nobody uses, and releases its spooled bytes if it is unlinked.
    /// Takes the file itself, because its slot in the table may be given up at any time.
    pub fn forget_if_unused(&self, file: &OpenFile) {
        let id = file.id;
        if self.open.is_open(id) {
            return;
        }
        if file.state().unlinked.is_some() {
            let draft = file.state().draft.take();
            if let Some(blob) = draft.and_then(|draft| draft.own_id()) {
                // A blob that was never committed has no other owner.
                self.ingest.disown_blob(blob);
            }
            self.ingest.disown(id);
        }
        self.open.forget_idle(id);
    }
}
