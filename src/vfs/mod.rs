//! File operations with all their semantics, callable without a mount or a socket.
//!
//! [`Vfs`] is a façade: it holds the parts below and delegates to them. Each part owns its fields.
//!
//! - `namespace` maps inode numbers and paths to nodes, and makes their `stat`. `listing`, `names` and
//!   `attributes` list and change them. `availability` tells whether they may.
//! - `opening`, `reads`, `writes`, `sizes`, `closing` cover the life of a handle, over the table in `open`.
//! - `drafts` holds the files that are being written, one `draft` each. `settle` and `sealing` hand them
//!   to ingest, `room` checks their space, `leftovers` and `interrupted` find
//!   them again after a restart, by the `writing_notes`.
//! - `views`, `external_subtitles`, `sidecars` hold what is computed; `open_view` reads it.
//! - `requests` and `library` are the operations by inode number and by path. `assembly` builds all parts.
//! - `describe`, `slugs`, `inventory` answer the questions of commands and HTTP.

mod assembly;
mod attr;
mod attributes;
mod availability;
mod blocking;
mod closing;
mod describe;
mod draft;
mod drafts;
mod external_subtitles;
mod interrupted;
mod inventory;
mod leftovers;
mod library;
mod listing;
mod names;
mod namespace;
mod open;
mod open_view;
mod opening;
mod reads;
mod replaced;
mod requests;
mod room;
mod sealing;
mod settings;
mod settle;
mod sidecars;
mod signals;
mod sizes;
mod slugs;
mod spool_records;
mod takeover;
mod types;
mod unfinished;
mod view_versions;
mod viewed_file;
mod views;
mod virtual_tree;
mod writes;
mod writing_notes;

use std::sync::Arc;

use crate::model::{FsResult, StoreStatus, WriteMode};
use assembly::FileSystem;
pub use assembly::VfsParts;
pub use inventory::PackTotals;
pub use leftovers::Resumed;
pub use names::NameIn;
use settings::SharedSettings;
pub use settings::VfsSettings;
pub use types::{
    AccessMode, AllocateMode, Attr, Caller, DirEntry, Existing, FileKind, HandleId, Lasting,
    Mutability, Opened, RenameMode, Resource, SeekTarget, SetAttr, SetIdBits, SpaceInfo, TreeUse,
    XattrMode,
};
pub use writes::CopyRange;

/// The file system. A clone refers to the same one.
#[derive(Debug, Clone)]
pub struct Vfs(Arc<FileSystem>);

impl Vfs {
    /// Builds the file system and starts the settling of written files. Needs a tokio runtime.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn start(parts: VfsParts, settings: VfsSettings) -> FsResult<Self> {
        let system = FileSystem::new(parts, SharedSettings::new(settings))?;
        system.sealer.spawn();
        Ok(Self(Arc::new(system)))
    }

    /// Applies changed settings.
    pub fn reconfigure(&self, settings: VfsSettings) {
        self.0.timers.set_time(settings.settle);
        self.0.settings.replace(settings);
    }

    /// Sets whether this mount accepts changes.
    pub fn set_write_mode(&self, mode: WriteMode) {
        self.0.availability.set_write_mode(mode);
    }

    /// Refuses changes until [`Self::resume`] has succeeded.
    pub fn await_resume(&self) {
        self.0.availability.await_leftovers();
    }

    /// Returns whether [`Self::resume`] has yet to run.
    #[must_use]
    pub fn awaits_resume(&self) -> bool {
        self.0.availability.awaits_leftovers()
    }

    /// Takes up the leftovers of an earlier run. Runs once, before the first change. Deletes
    /// nothing in the spool.
    ///
    /// # Errors
    /// `Io` when index or spool cannot be read.
    pub fn resume(&self) -> FsResult<Resumed> {
        let resumed = self.0.leftovers.take_up()?;
        self.0.availability.leftovers_are_done();
        Ok(resumed)
    }

    /// Returns whether the tree cannot be used yet, because it is being read from the store or because
    /// leftovers of the last run are being taken up.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.0.availability.is_loading()
    }

    /// Waits until the tree can be used, at most for the deadline of such an operation. Whoever asks then
    /// either gets an answer or the reason why there is none yet.
    pub async fn until_loaded(&self, operation: TreeUse) {
        if !self.is_loading() {
            return;
        }
        let deadline = self.0.settings.deadline(operation);
        // After the deadline the operation itself fails with the reason.
        let _ = tokio::time::timeout(deadline, self.0.availability.loaded()).await;
    }

    /// Returns the state of this library's store.
    #[must_use]
    pub fn store_status(&self) -> StoreStatus {
        self.0.availability.store_status()
    }

    /// Records that the tree was filled from the store, below this module.
    pub fn tree_was_filled(&self) {
        self.0.tree.forget_all_recent();
        self.0.ingest.changed();
    }
}
