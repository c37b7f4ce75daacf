//! File operations with all their semantics, callable without a mount or a socket.
//!
//! `names` (look up, make, remove, rename), `listing`, `attributes`, `handles` (open, close), `files`
//! (read, write), `holes` (sizes, allocation), `library` (by path and id, for HTTP and commands) each
//! add operations to [`Vfs`]; `open` and `draft` hold what is open and being written, `room` whether
//! it may be, `virtual_tree` and `views` what is computed.

mod attributes;
mod commit;
mod describe;
mod draft;
mod files;
mod follow;
mod handles;
mod holes;
mod library;
mod listing;
mod names;
mod open;
mod room;
mod settle;
mod signals;
mod start;
mod types;
mod views;
mod virtual_tree;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use crate::cache::BlockCache;
use crate::index::{Index, Node, Rows};
use crate::ingest::Ingest;
use crate::model::{EntryId, ErrorKind, FsError, FsResult, Ino};
use crate::read::Reader;
use crate::spool::Spool;
use crate::tree::Tree;
pub use library::PackTotals;
use open::{OpenFile, OpenTable};
use settle::Settler;
pub use start::Resumed;
pub use types::{
    Access, AllocateMode, Attr, CacheStats, Caller, DirEntry, Existing, FileKind, HandleId,
    Mutability, Opened, RenameMode, Resource, SeekTarget, SetAttr, SetIdBits, SpaceInfo, XattrMode,
};
use virtual_tree::{Ghosts, VirtualNode, VirtualTable};

/// Children read from the index at a time.
const PAGE: usize = 256;

/// Whether `/.hls` shows in the root's listing (`TGFS_VIEWS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HlsListing {
    Visible,
    Hidden,
}

/// Whether subtitles appear beside their film (`TGFS_SIDECAR_SUBTITLES`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sidecars {
    On,
    Off,
}

/// What can change while the file system runs.
#[derive(Debug, Clone)]
pub struct VfsSettings {
    pub settle: Duration,
    /// How long a write may wait for space that is being drained.
    pub write_deadline: Duration,
    /// Bytes; 0 for no limit.
    pub max_file_size: u64,
    pub hls_listing: HlsListing,
    pub sidecars: Sidecars,
    /// `http://host:port`, for `user.tgfs.hls`.
    pub base_url: String,
}

/// Why nothing can be written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum WriteMode {
    Writable = 0,
    /// Mounted with `--read-only`.
    ReadOnly = 1,
    /// The tree is being read from the remote.
    Filling = 2,
    /// Another daemon writes to this library.
    Displaced = 3,
}

/// The parts that `app` wires together.
#[derive(Debug)]
pub struct VfsParts {
    pub index: Arc<Index>,
    pub tree: Arc<Tree>,
    pub spool: Arc<Spool>,
    pub cache: Arc<BlockCache>,
    pub reader: Reader,
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
    reader: Reader,
    ingest: Ingest,
    open: OpenTable,
    virtuals: VirtualTable,
    ghosts: Ghosts,
    settle: Settler,
    writing: start::WritingMarks,
    slugs: Rows,
    settings: ArcSwap<VfsSettings>,
    mode: AtomicU8,
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
}

impl Inner {
    fn settings(&self) -> Guard<Arc<VfsSettings>> {
        self.settings.load()
    }

    fn require_writable(&self) -> FsResult<()> {
        let reason = match self.mode.load(Ordering::Relaxed) {
            0 => return Ok(()),
            1 => "mounted read-only",
            2 => {
                "the library is being read from the remote; it can be written to when that is done"
            }
            _ => "another daemon writes to this library; see `tgfs recover --take-over`",
        };
        Err(FsError::new(ErrorKind::ReadOnly, reason))
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
