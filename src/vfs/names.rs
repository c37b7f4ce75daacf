//! Looking up, making, removing and renaming names.

use super::types::{Access, Attr, Caller, Mutability, Opened, RenameMode};
use super::virtual_tree::{HLS_NAME, VirtualNode};
use super::{Inner, Target, Vfs};
use crate::index::{ChildKind, Node};
use crate::ingest::policy::{NamePolicy, name_policy};
use crate::media::inspect::name::media_kind;
use crate::media::subtitles::is_subtitle_name;
use crate::model::{
    Entry, EntryId, EntryKind, ErrorKind, FileContent, FsError, FsResult, Ino, Name,
};
use crate::read::{Follower, Leaving};
use crate::tree::{self, NewEntry, Replace};

impl Inner {
    /// The child of a stored directory, sidecars and `/.hls` included.
    pub(super) fn child_target(&self, parent: &Node, name: &[u8]) -> FsResult<Target> {
        tree::require_directory(parent)?;
        if parent.id == EntryId::ROOT && name == HLS_NAME {
            return Ok(Target::Virtual(VirtualNode::Mirror(EntryId::ROOT)));
        }
        let name = Name::new(name)?;
        if let Some(child) = self.tree.child(parent.id, &name)? {
            return Ok(Target::Real(self.tree.node(child.id)?));
        }
        if let Some(sidecar) = self.sidecar_named(parent.id, &name)? {
            return Ok(Target::Virtual(sidecar));
        }
        if self.ghosts.contains(parent.id, &name) {
            return Ok(Target::Virtual(VirtualNode::Ghost {
                parent: parent.id,
                name,
            }));
        }
        Err(ErrorKind::NotFound.into())
    }

    pub(super) fn child_of(&self, parent: &Target, name: &[u8]) -> FsResult<Target> {
        let found = match parent {
            Target::Real(node) => self.child_target(node, name),
            Target::Virtual(node) => self.virtual_child(node, name).map(Target::Virtual),
            Target::Unlinked(_) => Err(ErrorKind::NotDirectory.into()),
        };
        self.unless_incomplete(found)
    }

    /// A stored directory that may be changed.
    pub(super) fn changeable_directory(&self, ino: Ino) -> FsResult<Node> {
        self.require_writable()?;
        match self.target(ino)? {
            Target::Real(node) => {
                tree::require_directory(&node)?;
                Ok(node)
            }
            Target::Virtual(_) => Err(ErrorKind::ReadOnly.into()),
            Target::Unlinked(_) => Err(ErrorKind::NotDirectory.into()),
        }
    }

    /// Names under which nothing may be made.
    pub(super) fn check_new_name(parent: &Node, name: &[u8]) -> FsResult<Name> {
        if parent.id == EntryId::ROOT && name == HLS_NAME {
            return Err(ErrorKind::ReadOnly.into());
        }
        // File managers then offer to delete for good, which is what gives the space back.
        if name.starts_with(b".Trash-") || name == b".Trash" {
            return Err(FsError::new(
                ErrorKind::NotPermitted,
                "this library has no trash; delete for good instead",
            ));
        }
        Ok(Name::new(name)?)
    }

    pub(super) fn remember_lookup(&self, target: &Target) {
        if let Target::Virtual(node) = target {
            self.virtuals.remember(node.clone());
        }
    }

    fn ghosts_of(&self, film: &Entry, went_to: Option<EntryId>) {
        if !media_kind(&film.name).is_media() {
            return;
        }
        let names = match self.sidecars(film.id) {
            Ok(found) => found
                .into_iter()
                .filter_map(|s| Name::new(s.name).ok())
                .collect(),
            Err(_) => Vec::new(),
        };
        if !names.is_empty() {
            self.ghosts.add(film.parent, names, went_to);
        }
    }

    /// What goes with a name that is gone: the spooled bytes, once nobody has the file open.
    pub(super) fn after_removal(&self, entry: Entry) {
        if !matches!(entry.kind, EntryKind::File(_)) {
            return;
        }
        self.settle.cancel(entry.id);
        self.ingest.cancel(entry.id);
        let id = entry.id;
        let held = self.open.hold(id, entry.ino);
        self.note_removed(&entry);
        held.file.state().unlinked = Some(Box::new(entry));
        let file = std::sync::Arc::clone(&held.file);
        drop(held);
        self.drop_file_if_unused(&file);
        self.ingest.changed();
    }
}

/// Names, by inode number of the directory.
impl Vfs {
    /// Counts a reference to what it finds; see [`Self::forget`].
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `NameTooLong`, or `Io`.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> FsResult<Attr> {
        let target = self.0.child_of(&self.0.target(parent)?, name)?;
        let attr = self.0.attr_of(&target)?;
        self.0.remember_lookup(&target);
        Ok(attr)
    }

    /// The kernel dropped `count` references to the inode.
    pub fn forget(&self, ino: Ino, count: u64) {
        if ino.is_virtual() {
            self.0.virtuals.forget(ino, count);
        }
    }

    /// # Errors
    /// `Exists`, `NotFound`, `NotDirectory`, `NotPermitted` (`.Trash-*`), `ReadOnly`, or `Io`.
    pub fn mkdir(&self, parent: Ino, name: &[u8], mode: u32, caller: Caller) -> FsResult<Attr> {
        let directory = self.0.changeable_directory(parent)?;
        let name = Inner::check_new_name(&directory, name)?;
        let new = NewEntry {
            mode,
            uid: caller.uid,
            gid: caller.gid,
        };
        let entry = self
            .0
            .tree
            .add(directory.id, name, new, EntryKind::Directory)?;
        self.0.attr_of(&Target::Real(self.0.tree.node(entry.id)?))
    }

    /// # Errors
    /// `NotFound`, `NotDirectory`, `NotEmpty`, `ReadOnly`, or `Io`.
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> FsResult<()> {
        let directory = self.0.changeable_directory(parent)?;
        if directory.id == EntryId::ROOT && name == HLS_NAME {
            return Err(ErrorKind::ReadOnly.into());
        }
        self.0
            .tree
            .remove_directory(directory.id, &Name::new(name)?)?;
        Ok(())
    }

    /// Removing a sidecar hides its name for good.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `ReadOnly`, or `Io`.
    pub fn unlink(&self, parent: Ino, name: &[u8]) -> FsResult<()> {
        let directory = self.0.changeable_directory(parent)?;
        match self.0.child_target(&directory, name)? {
            Target::Real(_) => {
                let name = Name::new(name)?;
                let child = self.0.tree.child(directory.id, &name)?;
                let film = child
                    .map(|child| self.0.tree.recent_entry(child.id))
                    .transpose()?;
                if let Some(film) = film {
                    self.0.ghosts_of(&film, None);
                }
                let removed = self.0.tree.remove_file(directory.id, &name)?;
                self.0.after_removal(removed.entry);
                Ok(())
            }
            Target::Virtual(VirtualNode::Sidecar { film, .. }) => {
                self.0.hide_sidecar(film, Name::new(name)?)
            }
            Target::Virtual(VirtualNode::Ghost { parent, name }) => {
                self.0.ghosts.remove(parent, &name);
                Ok(())
            }
            Target::Virtual(_) => Err(ErrorKind::ReadOnly.into()),
            Target::Unlinked(_) => Err(ErrorKind::NotFound.into()),
        }
    }

    /// # Errors
    /// `NotFound`, `Exists`, `IsDirectory`, `NotDirectory`, `NotEmpty`, `InvalidArgument`,
    /// `CannotMove` (a sidecar: `mv` then copies it), `ReadOnly`, or `Io`.
    pub fn rename(
        &self,
        parent: Ino,
        name: &[u8],
        new_parent: Ino,
        new_name: &[u8],
        mode: RenameMode,
    ) -> FsResult<()> {
        let from = self.0.changeable_directory(parent)?;
        let to = self.0.changeable_directory(new_parent)?;
        let source = self.0.child_target(&from, name)?;
        let new_name = Inner::check_new_name(&to, new_name)?;
        match source {
            Target::Virtual(VirtualNode::Ghost { parent, name }) => {
                if !self.0.ghosts.went_to(parent, &name, to.id) {
                    return Err(ErrorKind::NotFound.into());
                }
                self.0.ghosts.remove(parent, &name);
                return Ok(());
            }
            Target::Virtual(VirtualNode::Sidecar { .. }) => {
                return Err(ErrorKind::CannotMove.into());
            }
            Target::Virtual(_) => return Err(ErrorKind::ReadOnly.into()),
            Target::Real(_) | Target::Unlinked(_) => {}
        }
        let name = Name::new(name)?;
        let film = self
            .0
            .tree
            .child(from.id, &name)?
            .filter(|c| c.kind == ChildKind::File);
        if let Some(film) = film {
            self.0
                .ghosts_of(&*self.0.tree.recent_entry(film.id)?, Some(to.id));
        }
        let replace = match mode {
            RenameMode::Replace => Replace::Allowed,
            RenameMode::NoReplace => Replace::Refused,
        };
        let sidecar = self.0.sidecar_named(to.id, &new_name)?;
        let (entry, removed) = self
            .0
            .tree
            .rename(from.id, &name, to.id, &new_name, replace)?;
        self.0.take_place_of(sidecar, new_name);
        if let Some(removed) = removed {
            self.0.after_removal(removed.entry);
        }
        self.0.after_rename(&entry, &name);
        Ok(())
    }

    /// Makes a file, or opens the one that a sidecar becomes.
    ///
    /// # Errors
    /// As [`Self::mkdir`], and `NoSpace`.
    pub fn create(
        &self,
        parent: Ino,
        name: &[u8],
        mode: u32,
        access: Access,
        caller: Caller,
    ) -> FsResult<(Attr, Opened)> {
        let directory = self.0.changeable_directory(parent)?;
        let name = Inner::check_new_name(&directory, name)?;
        let new = NewEntry {
            mode,
            uid: caller.uid,
            gid: caller.gid,
        };
        let kind = EntryKind::File(Box::new(FileContent::empty()));
        self.0.ghosts.remove(directory.id, &name);
        let sidecar = self.0.sidecar_named(directory.id, &name)?;
        let entry = self.0.tree.add(directory.id, name.clone(), new, kind)?;
        self.0.take_place_of(sidecar, name);
        let follower = Follower::new(Leaving::Ends);
        let handle = self.0.open.open_file(entry.id, entry.ino, access, follower);
        // Committed at release even if nothing is written: an empty file is a file.
        self.0.settle.touch(entry.id);
        let attr = self.0.attr_of(&Target::Real(self.0.tree.node(entry.id)?))?;
        Ok((
            attr,
            Opened {
                handle,
                mutability: Mutability::Mutable,
            },
        ))
    }
}

impl Inner {
    /// A user's file has the name of a sidecar now: the generated one does not come back when the
    /// file is removed.
    fn take_place_of(&self, sidecar: Option<VirtualNode>, name: Name) {
        let Some(VirtualNode::Sidecar { film, .. }) = sidecar else {
            return;
        };
        if let Err(error) = self.hide_sidecar(film, name) {
            tracing::warn!(%film, %error, "a replaced subtitle may show again");
        }
    }

    fn hide_sidecar(&self, film: EntryId, name: Name) -> FsResult<()> {
        self.tree.update(film, |entry| {
            if let EntryKind::File(content) = &mut entry.kind
                && !content.hidden_sidecars.contains(&name)
            {
                content.hidden_sidecars.push(name);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Hidden sidecars stay hidden under the film's new name.
    fn rename_hidden(&self, film: &Entry, old_name: &Name) -> FsResult<()> {
        let (old, _) = old_name.split_extension();
        let (new, _) = film.name.split_extension();
        let EntryKind::File(content) = &film.kind else {
            return Ok(());
        };
        if old == new || content.hidden_sidecars.is_empty() {
            return Ok(());
        }
        let renamed: Vec<Name> = content
            .hidden_sidecars
            .iter()
            .map(|hidden| match hidden.as_bytes().strip_prefix(old) {
                Some(rest) => Name::new([new, rest].concat()).unwrap_or_else(|_| hidden.clone()),
                None => hidden.clone(),
            })
            .collect();
        self.tree.update(film.id, |entry| {
            if let EntryKind::File(content) = &mut entry.kind {
                content.hidden_sidecars = renamed;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// A temp name that became final, or a file whose settle time runs, is looked at anew.
    fn after_rename(&self, entry: &Entry, old_name: &Name) {
        let EntryKind::File(content) = &entry.kind else {
            return;
        };
        if let Err(error) = self.rename_hidden(entry, old_name) {
            tracing::warn!(file = %entry.id, %error, "a removed subtitle may show again");
        }
        let was = name_policy(old_name);
        let is = name_policy(&entry.name);
        let became_final = was != NamePolicy::Ingest && is == NamePolicy::Ingest;
        let kind = |name: &Name| (media_kind(name).is_media(), is_subtitle_name(name));
        let media_changed = kind(old_name) != kind(&entry.name);
        if became_final && content.state == crate::model::FileState::Spooled || media_changed {
            self.settle.touch(entry.id);
        } else {
            self.settle.touch_if_waiting(entry.id);
        }
        self.ingest.changed();
    }
}
