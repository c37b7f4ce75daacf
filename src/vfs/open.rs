//! Open files and handles.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::draft::FileDraft;
use super::open_view::OpenView;
use super::types::{AccessMode, Attr, HandleId};
use crate::model::{Entry, EntryId, EntryKind, ErrorKind, FileContent, FsResult, Ino, PackId};
use crate::read::Follower;
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
    /// Reason for keeping the file without ingesting it.
    pub quarantine: Option<String>,
    /// Number of bytes written since the last write-back was started.
    pub unsynced: u64,
    pub marked: Marked,
}

/// State of the mark in the index that tells that the file is being written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    #[default]
    No,
    /// Marked since the newest version.
    Yes,
    /// Marked before the newest version, so later writes have to mark the file again.
    Before,
}

impl OpenFileState {
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
    pub file: Arc<OpenFile>,
    pub access: AccessMode,
    /// Set when a write through this handle failed, so the file does not hold the intended bytes.
    pub failed: AtomicBool,
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

    fn register(&self, kind: OpenKind) -> HandleId {
        let id = HandleId(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        self.handles().insert(id, Arc::new(kind));
        id
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
        let (failed, wrote) = (AtomicBool::new(false), AtomicBool::new(false));
        self.register(OpenKind::File(FileHandle {
            file,
            access,
            failed,
            wrote,
            follower,
        }))
    }

    /// Opens a version, a view or a generated file.
    pub fn open_other(&self, kind: OpenKind) -> HandleId {
        self.register(kind)
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
