//! File operations with all their semantics, callable without a mount or a socket.
//!
//! `names` (look up, make, remove, rename), `listing`, `attributes`, `handles` (open, close), `files`
//! (read, write), `holes` (sizes, allocation), `library` (by path and id, for HTTP and commands) each
//! add operations to [`Vfs`]; `open` and `draft` hold what is open and being written, `room` whether
//! it may be, `virtual_tree` and `views` what is computed.

mod adopt;
mod attr;
mod attributes;
mod commit;
mod describe;
mod draft;
mod external_subtitles;
mod files;
mod follow;
mod handles;
mod holes;
mod library;
mod listing;
mod names;
mod open;
mod open_view;
mod room;
mod settle;
mod signals;
mod start;
mod types;
mod viewed_file;
mod views;
mod virtual_tree;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use crate::cache::BlockCache;
use crate::index::{Index, Node, Rows};
use crate::ingest::Ingest;
use crate::model::{
    AttachState, EntryId, ErrorKind, FsError, FsResult, HlsListing, Ino, SidecarSubtitles,
    StoreStatus, WriteMode,
};
use crate::read::ExtentReader;
use crate::spool::Spool;
use crate::tree::Tree;
pub use library::PackTotals;
use open::{OpenFile, OpenTable};
use settle::Settler;
pub use start::Resumed;
pub use types::{
    Access, AllocateMode, Attr, Caller, DirEntry, Existing, FileKind, HandleId, Lasting,
    Mutability, Opened, RenameMode, Resource, SeekTarget, SetAttr, SetIdBits, SpaceInfo, XattrMode,
};
use virtual_tree::{Ghosts, VirtualNode, VirtualTable};

/// Children read from the index at a time.
const PAGE: usize = 256;

/// What can change while the file system runs.
#[derive(Debug, Clone)]
pub struct VfsSettings {
    pub settle: Duration,
    /// How long a write may wait for space that is being drained.
    pub write_deadline: Duration,
    /// Bytes; 0 for no limit.
    pub max_file_size: u64,
    pub hls_listing: HlsListing,
    pub sidecars: SidecarSubtitles,
    /// `http://host:port`, for `user.tgfs.hls`.
    pub base_url: String,
}

/// The parts that `app` wires together.
#[derive(Debug)]
pub struct VfsParts {
    pub index: Arc<Index>,
    pub tree: Arc<Tree>,
    pub spool: Arc<Spool>,
    pub cache: Arc<BlockCache>,
    pub reader: ExtentReader,
    pub ingest: Ingest,
}

/// The file system; a clone is another reference to the same one.
#[derive(Debug, Clone)]
pub struct Vfs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    index: Arc<Index>,
    tree: Arc<Tree>,
    spool: Arc<Spool>,
    cache: Arc<BlockCache>,
    reader: ExtentReader,
    ingest: Ingest,
    open: OpenTable,
    virtuals: VirtualTable,
    ghosts: Ghosts,
    settle: Settler,
    writing: start::WritingMarks,
    slugs: Rows,
    settings: ArcSwap<VfsSettings>,
    mode: AtomicU8,
    /// Whether [`Vfs::resume`] has yet to run: what it would take for a leftover could be new.
    to_resume: AtomicBool,
}

/// What an inode number means.
#[derive(Debug)]
enum Target {
    Real(Node),
    /// Open, but without a name.
    Unlinked(Arc<OpenFile>),
    Virtual(VirtualNode),
}

impl Vfs {
    /// Starts the settling of written files; needs a tokio runtime.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn start(parts: VfsParts, settings: VfsSettings) -> FsResult<Self> {
        let rows = |table| {
            parts
                .index
                .rows(table)
                .map_err(|e| FsError::new(ErrorKind::Io, e.to_string()))
        };
        let (writing, slugs) = (rows("writing")?, rows("slugs")?);
        let settle = Settler::new(settings.settle);
        let vfs = Self(Arc::new(Inner {
            index: parts.index,
            tree: parts.tree,
            spool: parts.spool,
            cache: parts.cache,
            reader: parts.reader,
            ingest: parts.ingest,
            open: OpenTable::default(),
            virtuals: VirtualTable::default(),
            ghosts: Ghosts::default(),
            settle,
            writing: start::WritingMarks::new(writing),
            slugs,
            settings: ArcSwap::from_pointee(settings),
            mode: AtomicU8::new(WriteMode::Writable as u8),
            to_resume: AtomicBool::new(false),
        }));
        vfs.spawn_settling();
        Ok(vfs)
    }

    /// Takes changed settings.
    pub fn reconfigure(&self, settings: VfsSettings) {
        self.0.settle.set_time(settings.settle);
        self.0.settings.store(Arc::new(settings));
    }

    pub fn set_write_mode(&self, mode: WriteMode) {
        self.0.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// Refuses changes until [`Self::resume`] was through.
    pub fn await_resume(&self) {
        self.0.to_resume.store(true, Ordering::Relaxed);
    }

    #[must_use]
    pub fn awaits_resume(&self) -> bool {
        self.0.to_resume.load(Ordering::Relaxed)
    }

    /// How this library stands with its store.
    #[must_use]
    pub fn store_status(&self) -> StoreStatus {
        self.0.index.store_status().borrow().clone()
    }

    /// The tree was changed from below, by filling it from the store.
    pub fn tree_was_filled(&self) {
        self.0.tree.forget_all_recent();
        self.0.ingest.changed();
    }
}

impl Inner {
    fn settings(&self) -> Guard<Arc<VfsSettings>> {
        self.settings.load()
    }

    fn require_writable(&self) -> FsResult<()> {
        let refuse = |reason: &str| Err(FsError::new(ErrorKind::ReadOnly, reason));
        if self.mode.load(Ordering::Relaxed) == WriteMode::ReadOnly as u8 {
            return refuse("mounted read-only");
        }
        {
            let status = self.index.store_status();
            let status = status.borrow();
            if matches!(status.state, AttachState::Filling | AttachState::Refused) {
                return refuse(&status.explain().unwrap_or_default());
            }
        }
        match self.to_resume.load(Ordering::Relaxed) {
            true => refuse("tgfs takes up what the last run left; try again in a moment"),
            false => Ok(()),
        }
    }

    /// While the tree is being read from the store, what is not there is only not known yet: an
    /// empty directory would make other programs forget what they know of it.
    fn require_complete(&self) -> FsResult<()> {
        let status = self.index.store_status();
        let status = status.borrow();
        match status.state {
            AttachState::Filling => Err(FsError::new(
                ErrorKind::RemoteUnavailable,
                status.explain().unwrap_or_default(),
            )),
            AttachState::Reaching | AttachState::Attached | AttachState::Refused => Ok(()),
        }
    }

    /// What was looked for and not found, while not everything is known.
    fn unless_incomplete<T>(&self, found: FsResult<T>) -> FsResult<T> {
        match found {
            Err(error) if error.kind == ErrorKind::NotFound => {
                self.require_complete().and(Err(error))
            }
            found => found,
        }
    }

    fn target(&self, ino: Ino) -> FsResult<Target> {
        if ino.is_virtual() {
            if let Some(id) = self.virtuals.replacement(ino) {
                return Ok(Target::Real(self.tree.node(id)?));
            }
            return self.virtuals.get(ino).map(Target::Virtual).ok_or_else(gone);
        }
        match self.tree.node_by_ino(ino) {
            Ok(node) => Ok(Target::Real(node)),
            Err(error) if error.kind == ErrorKind::NotFound => {
                let file = self.open.file_by_ino(ino).ok_or_else(gone)?;
                if file.state().unlinked.is_none() {
                    return Err(gone());
                }
                Ok(Target::Unlinked(file))
            }
            Err(error) => Err(error),
        }
    }

    fn target_at(&self, path: &crate::model::TreePath) -> FsResult<Target> {
        let mut target = Target::Real(self.tree.node(EntryId::ROOT)?);
        for name in path.names() {
            target = self.child_of(&target, name.as_bytes())?;
        }
        Ok(target)
    }
}

fn gone() -> FsError {
    ErrorKind::NotFound.into()
}
