//! Changes of names: create, remove, rename.

use std::sync::Arc;

use super::drafts::Drafts;
use super::namespace::{Namespace, ResolvedNode, check_new_name};
use super::open::OpenTable;
use super::settle::SettleTimers;
use super::sidecars::SidecarFiles;
use super::types::{AccessMode, Attr, Caller, Mutability, Opened, RenameMode};
use super::virtual_tree::{HLS_NAME, VirtualNode};
use crate::index::ChildKind;
use crate::ingest::policy::{NamePolicy, marked_by, name_policy};
use crate::ingest::{Ingest, blob_of_pack};
use crate::media::inspect::name::media_kind;
use crate::media::subtitles::is_subtitle_name;
use crate::model::{
    Entry, EntryId, EntryKind, ErrorKind, Extent, ExtentSource, FileContent, FileState, FsResult,
    Ino, Name, PackRef, Timestamp, ViewsState,
};
use crate::read::{Follower, Leaving};
use crate::tree::{NewEntry, Replace, Tree};

/// Mode of a file made from someone else's document. Its bytes never change, but its name may.
const ADOPTED_MODE: u32 = 0o644;

/// A directory, by inode number, and a name in it.
#[derive(Debug, Clone, Copy)]
pub struct NameIn<'a> {
    pub parent: Ino,
    pub name: &'a [u8],
}

/// Part that changes the names of the tree.
#[derive(Debug)]
pub struct NameChanges {
    tree: Arc<Tree>,
    ingest: Ingest,
    open: Arc<OpenTable>,
    drafts: Arc<Drafts>,
    timers: Arc<SettleTimers>,
    sidecars: Arc<SidecarFiles>,
    namespace: Arc<Namespace>,
}

/// Parts that a change of names concerns.
#[derive(Debug)]
pub struct NameParts {
    pub tree: Arc<Tree>,
    pub ingest: Ingest,
    pub open: Arc<OpenTable>,
    pub drafts: Arc<Drafts>,
    pub timers: Arc<SettleTimers>,
    pub sidecars: Arc<SidecarFiles>,
    pub namespace: Arc<Namespace>,
}

impl NameChanges {
    /// Creates the changer of one library's names.
    pub fn new(parts: NameParts) -> Self {
        Self {
            tree: parts.tree,
            ingest: parts.ingest,
            open: parts.open,
            drafts: parts.drafts,
            timers: parts.timers,
            sidecars: parts.sidecars,
            namespace: parts.namespace,
        }
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// `Exists`, `NotFound`, `NotDirectory`, `NotPermitted` (`.Trash-*`), `ReadOnly`, or `Io`.
    pub fn make_directory(&self, at: NameIn<'_>, mode: u32, caller: Caller) -> FsResult<Attr> {
        let directory = self.namespace.changeable_directory(at.parent)?;
        let name = check_new_name(&directory, at.name)?;
        let new = owned_by(caller, mode);
        let entry = self
            .tree
            .add(directory.id, name, new, EntryKind::Directory)?;
        self.attr_of(entry.id)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `NotEmpty`, `ReadOnly`, or `Io`.
    pub fn remove_directory(&self, at: NameIn<'_>) -> FsResult<()> {
        let directory = self.namespace.changeable_directory(at.parent)?;
        if directory.id == EntryId::ROOT && at.name == HLS_NAME {
            return Err(ErrorKind::ReadOnly.into());
        }
        self.tree
            .remove_directory(directory.id, &Name::new(at.name)?)?;
        Ok(())
    }

    /// Removes a file. A sidecar that is removed stays hidden for good.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `ReadOnly`, or `Io`.
    pub fn remove_file(&self, at: NameIn<'_>) -> FsResult<()> {
        let directory = self.namespace.changeable_directory(at.parent)?;
        match self.namespace.stored_child(&directory, at.name)? {
            ResolvedNode::Real(_) => {
                let name = Name::new(at.name)?;
                if let Some(child) = self.tree.child(directory.id, &name)? {
                    let film = self.tree.recent_entry(child.id)?;
                    self.sidecars.film_leaves(&film, None);
                }
                let removed = self.tree.remove_file(directory.id, &name)?;
                self.after_removal(removed.entry);
                Ok(())
            }
            ResolvedNode::Virtual(VirtualNode::Sidecar { film, .. }) => {
                self.sidecars.hide(film, Name::new(at.name)?)
            }
            ResolvedNode::Virtual(VirtualNode::Ghost { parent, name }) => {
                self.sidecars.ghosts().remove(parent, &name);
                Ok(())
            }
            ResolvedNode::Virtual(_) => Err(ErrorKind::ReadOnly.into()),
            ResolvedNode::Unlinked(_) => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Renames a file or directory.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `IsDirectory`, `NotDirectory`, `NotEmpty`, `InvalidArgument`,
    /// `CannotMove` (a sidecar: `mv` then copies it), `ReadOnly`, or `Io`.
    pub fn rename(&self, at: NameIn<'_>, to: NameIn<'_>, mode: RenameMode) -> FsResult<()> {
        let from = self.namespace.changeable_directory(at.parent)?;
        let into = self.namespace.changeable_directory(to.parent)?;
        let source = self.namespace.stored_child(&from, at.name)?;
        let new_name = check_new_name(&into, to.name)?;
        match source {
            ResolvedNode::Virtual(VirtualNode::Ghost { parent, name }) => {
                let ghosts = self.sidecars.ghosts();
                if !ghosts.went_to(parent, &name, into.id) {
                    return Err(ErrorKind::NotFound.into());
                }
                ghosts.remove(parent, &name);
                return Ok(());
            }
            ResolvedNode::Virtual(VirtualNode::Sidecar { .. }) => {
                return Err(ErrorKind::CannotMove.into());
            }
            ResolvedNode::Virtual(_) => return Err(ErrorKind::ReadOnly.into()),
            ResolvedNode::Real(_) | ResolvedNode::Unlinked(_) => {}
        }
        let name = Name::new(at.name)?;
        let film = self.tree.child(from.id, &name)?;
        if let Some(film) = film.filter(|child| child.kind == ChildKind::File) {
            let film = self.tree.recent_entry(film.id)?;
            self.sidecars.film_leaves(&film, Some(into.id));
        }
        let replace = match mode {
            RenameMode::Replace => Replace::Allowed,
            RenameMode::NoReplace => Replace::Refused,
        };
        let sidecar = self.sidecars.named(into.id, &new_name)?;
        let (entry, removed) = self
            .tree
            .rename(from.id, &name, into.id, &new_name, replace)?;
        self.sidecars.was_replaced(sidecar, new_name);
        if let Some(removed) = removed {
            self.after_removal(removed.entry);
        }
        self.after_rename(&entry, &name);
        self.marker_left(from.id, &name);
        Ok(())
    }

    /// Creates a file and opens it. Takes the place of a sidecar if one has the name.
    ///
    /// # Errors
    /// Those of [`Self::make_directory`], and `NoSpace`.
    pub fn create(
        &self,
        at: NameIn<'_>,
        mode: u32,
        access: AccessMode,
        caller: Caller,
    ) -> FsResult<(Attr, Opened)> {
        let directory = self.namespace.changeable_directory(at.parent)?;
        let name = check_new_name(&directory, at.name)?;
        let kind = EntryKind::File(Box::new(FileContent::empty()));
        self.sidecars.ghosts().remove(directory.id, &name);
        let sidecar = self.sidecars.named(directory.id, &name)?;
        let new = owned_by(caller, mode);
        let entry = self.tree.add(directory.id, name.clone(), new, kind)?;
        self.sidecars.was_replaced(sidecar, name);
        let follower = Follower::new(Leaving::Ends);
        let handle = self.open.open_file(entry.id, entry.ino, access, follower);
        if access != AccessMode::Read
            && let Some(file) = self.open.file(entry.id)
            && let Err(error) = self.drafts.was_created(&file, handle)
        {
            tracing::warn!(file = %entry.id, %error, "a kill could leave it incomplete without a sign");
        }
        // The file is committed at release even if nothing is written, because an empty file is a file.
        self.timers.touch(entry.id);
        let opened = Opened {
            handle,
            mutability: Mutability::Mutable,
        };
        Ok((self.attr_of(entry.id)?, opened))
    }

    /// Makes a file from a pack that holds all its bytes, a document that someone else posted, and
    /// gives it to ingest for its views.
    ///
    /// # Errors
    /// `Exists`, `NotFound`, `NotDirectory`, `ReadOnly`, or `Io`.
    pub fn adopt(
        &self,
        at: NameIn<'_>,
        pack: PackRef,
        modified: Timestamp,
        caller: Caller,
    ) -> FsResult<EntryId> {
        let directory = self.namespace.changeable_directory(at.parent)?;
        let name = check_new_name(&directory, at.name)?;
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
        let new = owned_by(caller, ADOPTED_MODE);
        let kind = EntryKind::File(Box::new(content));
        let id = self.tree.add(directory.id, name, new, kind)?.id;
        self.tree.update(id, |entry| {
            entry.attributes.mtime = modified;
            Ok(())
        })?;
        self.ingest.submit(id);
        Ok(id)
    }

    fn attr_of(&self, id: EntryId) -> FsResult<Attr> {
        self.namespace
            .attr(&ResolvedNode::Real(self.tree.node(id)?))
    }

    /// Stops the ingest of a removed file, and releases its spooled bytes once nobody has it open.
    fn after_removal(&self, entry: Entry) {
        if !matches!(entry.kind, EntryKind::File(_)) {
            return;
        }
        self.timers.cancel(entry.id);
        self.ingest.cancel(entry.id);
        self.marker_left(entry.parent, &entry.name);
        self.drafts.keep_unlinked(entry);
        self.ingest.changed();
    }

    /// Starts the settle time of the file that a file of this name marked as unfinished.
    fn marker_left(&self, directory: EntryId, name: &Name) {
        let Some(marked) = marked_by(name) else {
            return;
        };
        match self.tree.child(directory, &marked) {
            Ok(Some(child)) if child.kind == ChildKind::File => self.timers.touch(child.id),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "a finished download is taken in at the next start")
            }
        }
    }

    /// Starts the settle time of a file whose new name lets it be ingested or changes its kind.
    /// Restarts a settle time that is already running.
    fn after_rename(&self, entry: &Entry, old_name: &Name) {
        let EntryKind::File(content) = &entry.kind else {
            return;
        };
        self.drafts.follow(entry);
        if let Err(error) = self.sidecars.film_was_renamed(entry, old_name) {
            tracing::warn!(file = %entry.id, %error, "a removed subtitle may show again");
        }
        let became_final = became_final(old_name, &entry.name);
        let kind = |name: &Name| (media_kind(name).is_media(), is_subtitle_name(name));
        let media_changed = kind(old_name) != kind(&entry.name);
        // A file that shares its bytes, or has none, may be stored before it has its final name.
        let is_unfinished =
            content.state == FileState::Spooled || content.views == ViewsState::Pending;
        // A download that was marked as unfinished may have left its marker behind.
        let was_waiting =
            is_unfinished && (became_final || self.ingest.progress(entry.id).is_none());
        if was_waiting || media_changed {
            self.timers.touch(entry.id);
        } else {
            self.timers.touch_if_waiting(entry.id);
        }
        self.ingest.changed();
    }
}

fn owned_by(caller: Caller, mode: u32) -> NewEntry {
    NewEntry {
        mode,
        uid: caller.uid,
        gid: caller.gid,
    }
}

/// Returns whether a rename replaced a temporary name by a final one.
fn became_final(old: &Name, new: &Name) -> bool {
    name_policy(old) != NamePolicy::Ingest && name_policy(new) == NamePolicy::Ingest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_temporary_name_becomes_final() {
        let name = |text: &str| Name::new(text).unwrap();
        assert!(became_final(&name("film.mkv.part"), &name("film.mkv")));
        assert!(!became_final(&name("film.mkv"), &name("other.mkv")));
        assert!(!became_final(&name("film.mkv"), &name("film.mkv.part")));
    }
}
