//! Open files and handles.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use bytes::Bytes;

use super::draft::FileDraft;
use super::open_view::OpenView;
use super::types::{AccessMode, Attr, HandleId};
use crate::model::{
    BlobId, Entry, EntryId, EntryKind, ErrorKind, FileContent, FsResult, Ino, PackId,
};
use crate::read::Follower;
use crate::spool::{NotedStep, WritingNote};
use crate::sync::MutexExt as _;

/// One file that is open, or that was written a moment ago and is not sealed yet. All handles of an
/// inode share it, because the kernel has one page cache per inode and readers see writes.
#[derive(Debug)]
pub struct OpenFile {
    pub id: EntryId,
    pub ino: Ino,
    state: Mutex<OpenFileState>,
}

/// State of an open file that its handles share.
#[derive(Debug, Default)]
pub struct OpenFileState {
    pub draft: Option<FileDraft>,
    /// Entry of a file whose name is gone and that only handles keep.
    pub unlinked: Option<Box<Entry>>,
    pub quarantine: Option<Quarantine>,
    /// Number of bytes written since the last write-back was started.
    pub unsynced: u64,
    /// Note in the spool that the file is being written.
    pub note: Option<WritingNote>,
    /// Handles that changed the file, or created it, and were not flushed since.
    pub writing: HashSet<HandleId>,
}

/// Reason for keeping a file without ingesting it.
#[derive(Debug, Clone)]
pub struct Quarantine {
    pub reason: String,
    /// Newest handle when the cause was last seen. A program that opens the file later and closes it
    /// in order has made it whole, as it would if the file had been sealed in between.
    pub newest: HandleId,
}

impl OpenFileState {
    /// Keeps the file without ingesting it. The first reason stays.
    pub fn set_apart(&mut self, reason: impl FnOnce() -> String, newest: HandleId) {
        match &mut self.quarantine {
            Some(quarantine) => quarantine.newest = newest,
            None => {
                let reason = reason();
                self.quarantine = Some(Quarantine { reason, newest });
            }
        }
    }

    /// Takes the file for whole again, if this handle was opened after all that went wrong with it.
    pub fn made_whole_by(&mut self, handle: HandleId) {
        self.quarantine.take_if(|found| handle > found.newest);
    }

    /// Adds a step to the note that the file is being written.
    ///
    /// # Errors
    /// `NoSpace` or `Io`.
    pub fn add_step(&mut self, step: NotedStep) -> FsResult<()> {
        match &mut self.note {
            Some(note) => Ok(note.add(step)?),
            None => Ok(()),
        }
    }

    /// Begins the steps of the note again, after a commit that they do not lead to.
    ///
    /// # Errors
    /// `NoSpace` or `Io`.
    pub fn restate_note(&mut self) -> FsResult<()> {
        if let (Some(note), Some(draft)) = (&mut self.note, &self.draft) {
            note.restate(&draft.noted_steps())?;
        }
        Ok(())
    }

    /// Lets the note go on from a commit. Its steps begin again when the commit gave up the blob that they name: a
    /// start would not find it, and would pass over the steps that follow.
    ///
    /// # Errors
    /// `NoSpace` or `Io`.
    pub fn note_commit(&mut self, given_up: Option<BlobId>) -> FsResult<()> {
        if given_up.is_some() {
            return self.restate_note();
        }
        if let (Some(note), Some(draft)) = (&mut self.note, &self.draft) {
            note.shorten(&draft.noted_steps())?;
        }
        Ok(())
    }

    /// Makes the note durable before bytes at or behind `offset` change that a close has promised. After a
    /// power cut, a mixture of old and new bytes must not pass for the closed version.
    ///
    /// # Errors
    /// `Io`.
    pub fn protect_committed(&mut self, offset: u64) -> FsResult<()> {
        let draft = self.draft.as_ref();
        if draft.is_some_and(|draft| draft.changes_committed(offset))
            && let Some(note) = &mut self.note
        {
            note.secure()?;
        }
        Ok(())
    }

    /// Returns whether everything is committed and the file is marked as not whole.
    pub fn is_kept_as_failed(&self) -> bool {
        let is_changed = self.draft.as_ref().is_some_and(FileDraft::is_changed);
        self.quarantine.is_some() && !is_changed
    }

    /// Lays uncommitted changes over a `stat`, so that they show at once.
    pub fn overlay(&self, attr: &mut Attr) {
        if let Some(draft) = &self.draft {
            attr.size = draft.size();
            attr.blocks = attr.size.div_ceil(512);
            if let Some(modified) = draft.modified {
                attr.mtime = modified;
                attr.ctime = modified;
            }
        }
    }
}

impl OpenFile {
    /// Locks the state of the file.
    pub fn state(&self) -> MutexGuard<'_, OpenFileState> {
        self.state.acquire()
    }
}

#[derive(Debug)]
struct FileSlot {
    file: Arc<OpenFile>,
    handles: u32,
    writers: u32,
}

/// Object that a handle is open on.
#[derive(Debug)]
pub enum OpenKind {
    File(FileHandle),
    /// One version of a file, for an HTTP response in progress.
    Snapshot {
        content: Arc<FileContent>,
        follower: Follower,
    },
    View(Arc<OpenView>),
    /// A small generated file.
    Fixed(Bytes),
}

/// A handle on a stored file.
#[derive(Debug)]
pub struct FileHandle {
    pub id: HandleId,
    pub file: Arc<OpenFile>,
    pub access: AccessMode,
    /// How the first write failed that failed through this handle. The file does not hold the intended bytes.
    pub failed: OnceLock<ErrorKind>,
    /// Set when the handle was written to since the last flush.
    pub wrote: AtomicBool,
    pub follower: Follower,
}

impl FileHandle {
    /// Checks that the handle was opened for writing.
    ///
    /// # Errors
    /// `BadHandle` when the handle was opened for reading.
    pub fn require_write(&self) -> FsResult<()> {
        match self.access {
            AccessMode::Read => Err(ErrorKind::BadHandle.into()),
            AccessMode::Write | AccessMode::ReadWrite => Ok(()),
        }
    }
}

/// A closed handle, with the numbers of handles and writers that remain on its file.
#[derive(Debug)]
pub struct Closed {
    pub handle: Arc<OpenKind>,
    pub remaining: u32,
    pub remaining_writers: u32,
}

#[derive(Debug, Default)]
struct FileSlots {
    slots: HashMap<EntryId, FileSlot>,
    by_ino: HashMap<Ino, EntryId>,
}

/// All open files and handles.
#[derive(Debug, Default)]
pub struct OpenTable {
    files: Mutex<FileSlots>,
    handles: Mutex<HashMap<HandleId, Arc<OpenKind>>>,
    last: AtomicU64,
}

impl OpenTable {
    fn files(&self) -> MutexGuard<'_, FileSlots> {
        self.files.acquire()
    }

    fn handles(&self) -> MutexGuard<'_, HashMap<HandleId, Arc<OpenKind>>> {
        self.handles.acquire()
    }

    fn next_id(&self) -> HandleId {
        HandleId(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Returns the newest handle of all files.
    pub fn newest(&self) -> HandleId {
        HandleId(self.last.load(Ordering::Relaxed))
    }

    /// Opens a stored file.
    pub fn open_file(
        &self,
        id: EntryId,
        ino: Ino,
        access: AccessMode,
        follower: Follower,
    ) -> HandleId {
        let file = {
            let mut files = self.files();
            files.by_ino.insert(ino, id);
            let slot = files
                .slots
                .entry(id)
                .or_insert_with(|| FileSlot::new(id, ino));
            slot.handles += 1;
            if access != AccessMode::Read {
                slot.writers += 1;
            }
            Arc::clone(&slot.file)
        };
        let (failed, wrote) = (OnceLock::new(), AtomicBool::new(false));
        let id = self.next_id();
        let handle = OpenKind::File(FileHandle {
            id,
            file,
            access,
            failed,
            wrote,
            follower,
        });
        self.handles().insert(id, Arc::new(handle));
        id
    }

    /// Opens a version, a view or a generated file.
    pub fn open_other(&self, kind: OpenKind) -> HandleId {
        let id = self.next_id();
        self.handles().insert(id, Arc::new(kind));
        id
    }

    /// Returns the object that a handle is open on.
    pub fn get(&self, id: HandleId) -> FsResult<Arc<OpenKind>> {
        self.handles()
            .get(&id)
            .cloned()
            .ok_or_else(|| ErrorKind::BadHandle.into())
    }

    /// Returns the open file of an entry, if there is one.
    pub fn file(&self, id: EntryId) -> Option<Arc<OpenFile>> {
        self.files()
            .slots
            .get(&id)
            .map(|slot| Arc::clone(&slot.file))
    }

    /// Returns the open file of an inode.
    pub fn file_by_ino(&self, ino: Ino) -> Option<Arc<OpenFile>> {
        let files = self.files();
        let id = files.by_ino.get(&ino)?;
        files.slots.get(id).map(|slot| Arc::clone(&slot.file))
    }

    /// Returns the open file for a change by name, and creates it when nobody has it open. All
    /// openers share this file until the result is dropped.
    pub fn hold(&self, id: EntryId, ino: Ino) -> HeldFile<'_> {
        let mut files = self.files();
        files.by_ino.insert(ino, id);
        let slot = files
            .slots
            .entry(id)
            .or_insert_with(|| FileSlot::new(id, ino));
        slot.handles += 1;
        HeldFile {
            file: Arc::clone(&slot.file),
            table: self,
        }
    }

    /// Closes a handle; returns `None` when it was closed before.
    pub fn close(&self, id: HandleId) -> Option<Closed> {
        let handle = self.handles().remove(&id)?;
        let (mut remaining, mut remaining_writers) = (0, 0);
        if let OpenKind::File(open) = &*handle {
            let mut files = self.files();
            if let Some(slot) = files.slots.get_mut(&open.file.id) {
                slot.handles = slot.handles.saturating_sub(1);
                if open.access != AccessMode::Read {
                    slot.writers = slot.writers.saturating_sub(1);
                }
                (remaining, remaining_writers) = (slot.handles, slot.writers);
            }
        }
        Some(Closed {
            handle,
            remaining,
            remaining_writers,
        })
    }

    /// Returns whether a handle is open on the file.
    pub fn is_open(&self, id: EntryId) -> bool {
        self.files()
            .slots
            .get(&id)
            .is_some_and(|slot| slot.handles > 0)
    }

    /// Returns the number of handles that may write to the file.
    pub fn writers(&self, id: EntryId) -> u32 {
        self.files().slots.get(&id).map_or(0, |slot| slot.writers)
    }

    /// Forgets a file that nobody has open and that has nothing uncommitted.
    pub fn forget_idle(&self, id: EntryId) {
        let mut files = self.files();
        let idle = files
            .slots
            .get(&id)
            .is_some_and(|slot| slot.handles == 0 && slot.file.state().draft.is_none());
        if idle && let Some(slot) = files.slots.remove(&id) {
            files.by_ino.remove(&slot.file.ino);
        }
    }

    /// Returns the packs of unlinked files, drafts, views and snapshots that handles are open on.
    pub fn packs_in_use(&self) -> HashSet<PackId> {
        let mut packs = HashSet::new();
        let mut add = |content: &FileContent| {
            packs.extend(content.packs().into_iter().map(|pack| pack.id));
        };
        for handle in self.handles().values() {
            match &**handle {
                OpenKind::Snapshot { content, .. } => add(content),
                OpenKind::View(view) => view.content().into_iter().for_each(&mut add),
                OpenKind::File(_) | OpenKind::Fixed(_) => {}
            }
        }
        let mut drafts = Vec::new();
        for file in self.all_files() {
            let state = file.state();
            if let Some(EntryKind::File(content)) = state.unlinked.as_ref().map(|e| &e.kind) {
                add(content);
            }
            drafts.extend(state.draft.iter().flat_map(|draft| draft.blobs().to_vec()));
        }
        packs.extend(
            drafts
                .iter()
                .flat_map(|blob| blob.slices.iter().map(|s| s.pack.id)),
        );
        packs
    }

    /// Returns all open files, for the last commit before the daemon stops.
    pub fn all_files(&self) -> Vec<Arc<OpenFile>> {
        self.files()
            .slots
            .values()
            .map(|slot| Arc::clone(&slot.file))
            .collect()
    }
}

/// An open file without a handle.
#[derive(Debug)]
pub struct HeldFile<'a> {
    pub file: Arc<OpenFile>,
    table: &'a OpenTable,
}

impl Drop for HeldFile<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.table.files().slots.get_mut(&self.file.id) {
            slot.handles = slot.handles.saturating_sub(1);
        }
    }
}

impl FileSlot {
    fn new(id: EntryId, ino: Ino) -> Self {
        let file = Arc::new(OpenFile {
            id,
            ino,
            state: Mutex::default(),
        });
        Self {
            file,
            handles: 0,
            writers: 0,
        }
    }
}
