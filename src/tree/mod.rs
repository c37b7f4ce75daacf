//! Names, directories and inodes on top of the index. Holds the rules of a tree, without file contents.
//!
//! All changes run under one lock, so that the result of a check still holds when its change
//! commits. Reads take no lock, because the index answers them from committed rows.

mod alike;
mod recent;

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::index::{Child, ChildKind, Index, IndexError, Node, NodeKind};
use crate::model::{
    Attributes, Change, Entry, EntryId, EntryKind, ErrorKind, FileContent, FsError, FsResult, Ino,
    Name, Timestamp, TreePath, XattrMap,
};
use crate::sync::MutexExt as _;
use recent::RecentEntries;

/// Greatest depth of a directory. Deeper ones are refused, because a walk upwards must end.
const MAX_DEPTH: usize = 512;
/// Number of children read from the index at a time.
const PAGE: usize = 256;

/// An entry that a rename or a remove displaced, as it was before.
#[derive(Debug)]
pub struct Removed {
    pub entry: Entry,
}

/// Owner and mode of a new entry.
#[derive(Debug, Clone, Copy)]
pub struct NewEntry {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// Effect of a rename when the new name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    Allowed,
    Refused,
}

/// The tree of one library.
#[derive(Debug)]
pub struct Tree {
    index: Arc<Index>,
    changing: Mutex<()>,
    recent: RecentEntries,
}

impl Tree {
    #[must_use]
    pub fn new(index: Arc<Index>) -> Self {
        Self {
            index,
            changing: Mutex::new(()),
            recent: RecentEntries::default(),
        }
    }

    /// Takes the lock that is held while a change is checked and committed.
    fn lock(&self) -> MutexGuard<'_, ()> {
        // The lock guards no data, so a panic while it was held left nothing half done.
        self.changing.acquire()
    }

    /// Returns the node of an entry.
    ///
    /// # Errors
    /// `NotFound`, or `Io` when the index cannot be read.
    pub fn node(&self, id: EntryId) -> FsResult<Node> {
        self.index
            .node(id)
            .map_err(io)?
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Returns the node of an inode number.
    ///
    /// # Errors
    /// `NotFound`, or `Io` when the index cannot be read.
    pub fn node_by_ino(&self, ino: Ino) -> FsResult<Node> {
        self.index
            .node_by_ino(ino)
            .map_err(io)?
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Returns an entry.
    ///
    /// # Errors
    /// `NotFound`, or `Io` when the index cannot be read.
    pub fn entry(&self, id: EntryId) -> FsResult<Entry> {
        self.index
            .entry(id)
            .map_err(io)?
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Returns the content of a file.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, or `Io` when the index cannot be read.
    pub fn content(&self, id: EntryId) -> FsResult<FileContent> {
        match self.entry(id)?.kind {
            EntryKind::File(content) => Ok(*content),
            EntryKind::Directory => Err(ErrorKind::IsDirectory.into()),
        }
    }

    /// Returns the child of this name, if there is one.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn child(&self, parent: EntryId, name: &Name) -> FsResult<Option<Child>> {
        self.index.child(parent, name).map_err(io)
    }

    /// Returns the children with an inode number above `after`, in ascending order.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn children(&self, parent: EntryId, after: Ino, limit: usize) -> FsResult<Vec<Child>> {
        self.index.children(parent, after, limit).map_err(io)
    }

    /// Passes the children with an inode number above `after` to `visit`, in ascending order, until
    /// it breaks.
    ///
    /// # Errors
    /// `Io` when the index cannot be read, and those of `visit`.
    pub fn each_child<B>(
        &self,
        parent: EntryId,
        after: Ino,
        mut visit: impl FnMut(Child) -> FsResult<ControlFlow<B>>,
    ) -> FsResult<ControlFlow<B>> {
        let mut last = after;
        loop {
            let page = self.children(parent, last, PAGE)?;
            let Some(end) = page.last() else {
                return Ok(ControlFlow::Continue(()));
            };
            last = end.ino;
            for child in page {
                let flow = visit(child)?;
                if flow.is_break() {
                    return Ok(flow);
                }
            }
        }
    }

    /// Returns all children of a directory.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn all_children(&self, parent: EntryId) -> FsResult<Vec<Child>> {
        let mut all = Vec::new();
        let _: ControlFlow<()> = self.each_child(parent, Ino(0), |child| {
            all.push(child);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(all)
    }

    /// Returns the children whose names start with `prefix`, sorted by name, up to a limit.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn children_named(
        &self,
        parent: EntryId,
        prefix: &[u8],
        limit: usize,
    ) -> FsResult<Vec<Child>> {
        self.index.children_named(parent, prefix, limit).map_err(io)
    }

    /// Returns the node of a path.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, or `Io` when the index cannot be read.
    pub fn resolve(&self, path: &TreePath) -> FsResult<Node> {
        let mut node = self.node(EntryId::ROOT)?;
        for name in path.names() {
            require_directory(&node)?;
            let child = self.child(node.id, name)?.ok_or(ErrorKind::NotFound)?;
            node = self.node(child.id)?;
        }
        Ok(node)
    }

    /// Returns the current path of an entry.
    ///
    /// # Errors
    /// `NotFound` when it, or a directory above it, is gone.
    pub fn path_of(&self, id: EntryId) -> FsResult<TreePath> {
        let mut names = Vec::new();
        let mut at = id;
        while at != EntryId::ROOT {
            if names.len() > MAX_DEPTH {
                return Err(FsError::new(
                    ErrorKind::Io,
                    "the tree has a loop; run `tgfs verify`",
                ));
            }
            let node = self.node(at)?;
            names.push(node.name);
            at = node.parent;
        }
        names.reverse();
        Ok(TreePath::from_names(names))
    }

    /// Adds a directory or an empty file.
    ///
    /// # Errors
    /// `Exists`, `NotFound` or `NotDirectory` (of the parent), or `Io`.
    pub fn add(
        &self,
        parent: EntryId,
        name: Name,
        new: NewEntry,
        kind: EntryKind,
    ) -> FsResult<Entry> {
        let _guard = self.lock();
        let mut directory = self.directory(parent)?;
        if self.child(parent, &name)?.is_some() {
            return Err(ErrorKind::Exists.into());
        }
        let now = Timestamp::now();
        let setgid = directory.attributes.mode & 0o2000 != 0;
        let mut mode = new.mode & 0o7777;
        if setgid && matches!(kind, EntryKind::Directory) {
            mode |= 0o2000;
        }
        let entry = Entry {
            id: EntryId::random(),
            parent,
            name,
            ino: self.index.next_ino(),
            attributes: Attributes {
                mode,
                uid: new.uid,
                gid: if setgid {
                    directory.attributes.gid
                } else {
                    new.gid
                },
                atime: now,
                mtime: now,
                ctime: now,
                created: now,
                xattrs: XattrMap::new(),
            },
            kind,
        };
        touch(&mut directory, now);
        self.commit(&[
            Change::Put(Box::new(entry.clone())),
            Change::Put(Box::new(directory)),
        ])?;
        Ok(entry)
    }

    /// Puts an entry back that the index lost. The entry keeps its id, and also its inode number if
    /// no other entry has it by now.
    ///
    /// # Errors
    /// `Exists`, `NotFound` or `NotDirectory` (of the parent), or `Io`.
    pub fn restore(&self, mut entry: Entry) -> FsResult<Entry> {
        let _guard = self.lock();
        let directory = self.directory(entry.parent)?;
        if self.child(entry.parent, &entry.name)?.is_some() {
            return Err(ErrorKind::Exists.into());
        }
        if self.index.node_by_ino(entry.ino).map_err(io)?.is_some() {
            entry.ino = self.index.next_ino();
        }
        self.commit(&[
            Change::Put(Box::new(entry.clone())),
            Change::Put(Box::new(directory)),
        ])?;
        Ok(entry)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `NotEmpty`, or `Io`.
    pub fn remove_directory(&self, parent: EntryId, name: &Name) -> FsResult<Removed> {
        self.remove(parent, name, ChildKind::Directory)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, or `Io`.
    pub fn remove_file(&self, parent: EntryId, name: &Name) -> FsResult<Removed> {
        self.remove(parent, name, ChildKind::File)
    }

    fn remove(&self, parent: EntryId, name: &Name, expected: ChildKind) -> FsResult<Removed> {
        let _guard = self.lock();
        let child = self.child(parent, name)?.ok_or(ErrorKind::NotFound)?;
        self.check_removable(&child, expected)?;
        let entry = self.entry(child.id)?;
        let mut directory = self.directory(parent)?;
        touch(&mut directory, Timestamp::now());
        self.commit(&[removal(&entry), Change::Put(Box::new(directory))])?;
        Ok(Removed { entry })
    }

    fn check_removable(&self, child: &Child, expected: ChildKind) -> FsResult<()> {
        match (child.kind, expected) {
            (ChildKind::Directory, ChildKind::File) => Err(ErrorKind::IsDirectory.into()),
            (ChildKind::File, ChildKind::Directory) => Err(ErrorKind::NotDirectory.into()),
            (ChildKind::Directory, ChildKind::Directory)
                if !self.children(child.id, Ino(0), 1)?.is_empty() =>
            {
                Err(ErrorKind::NotEmpty.into())
            }
            _ => Ok(()),
        }
    }

    /// Moves an entry. It replaces an existing entry of the same kind if `replace` allows it. The
    /// tombstone of the displaced entry is in the same commit as its replacement.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `IsDirectory`, `NotDirectory`, `NotEmpty`, `InvalidArgument` (a
    /// directory into itself), or `Io`.
    pub fn rename(
        &self,
        parent: EntryId,
        name: &Name,
        new_parent: EntryId,
        new_name: &Name,
        replace: Replace,
    ) -> FsResult<(Entry, Option<Removed>)> {
        let _guard = self.lock();
        let child = self.child(parent, name)?.ok_or(ErrorKind::NotFound)?;
        let mut entry = self.entry(child.id)?;
        let mut changes = Vec::with_capacity(4);
        let mut removed = None;
        if let Some(existing) = self.child(new_parent, new_name)? {
            if replace == Replace::Refused {
                return Err(ErrorKind::Exists.into());
            }
            if existing.id == child.id {
                return Ok((entry, None));
            }
            self.check_removable(&existing, child.kind)?;
            let target = self.entry(existing.id)?;
            changes.push(removal(&target));
            removed = Some(Removed { entry: target });
        }
        if child.kind == ChildKind::Directory {
            self.check_not_below(child.id, new_parent)?;
        }
        let now = Timestamp::now();
        let mut directory = self.directory(parent)?;
        touch(&mut directory, now);
        changes.push(Change::Put(Box::new(directory)));
        if new_parent != parent {
            let mut directory = self.directory(new_parent)?;
            touch(&mut directory, now);
            changes.push(Change::Put(Box::new(directory)));
        }
        entry.parent = new_parent;
        entry.name = new_name.clone();
        entry.attributes.ctime = now;
        changes.push(Change::Put(Box::new(entry.clone())));
        self.commit(&changes)?;
        Ok((entry, removed))
    }

    fn check_not_below(&self, moved: EntryId, new_parent: EntryId) -> FsResult<()> {
        let mut at = new_parent;
        for _ in 0..MAX_DEPTH {
            if at == moved {
                return Err(ErrorKind::InvalidArgument.into());
            }
            if at == EntryId::ROOT {
                return Ok(());
            }
            at = self.node(at)?.parent;
        }
        Err(FsError::new(
            ErrorKind::InvalidArgument,
            format!("directories may be nested {MAX_DEPTH} deep"),
        ))
    }

    /// Changes one entry in place. `change` may refuse. Nothing is written if it changed nothing.
    ///
    /// # Errors
    /// Those of `change`, `NotFound`, or `Io`.
    pub fn update<T>(
        &self,
        id: EntryId,
        change: impl FnOnce(&mut Entry) -> FsResult<T>,
    ) -> FsResult<(Entry, T)> {
        let _guard = self.lock();
        let before = self.entry(id)?;
        let mut entry = before.clone();
        let answer = change(&mut entry)?;
        if entry != before {
            self.commit(&[Change::Put(Box::new(entry.clone()))])?;
        }
        Ok((entry, answer))
    }

    fn directory(&self, id: EntryId) -> FsResult<Entry> {
        let entry = self.entry(id)?;
        match entry.kind {
            EntryKind::Directory => Ok(entry),
            EntryKind::File(_) => Err(ErrorKind::NotDirectory.into()),
        }
    }

    fn commit(&self, changes: &[Change]) -> FsResult<()> {
        let committed = self.index.commit(changes).map(|_| ()).map_err(io);
        self.recent.forget(changes.iter().map(Change::entry_id));
        committed
    }

    /// Does the same as [`Self::entry`], but keeps the decoded entry for the next caller. Its state
    /// may lag behind an acknowledgement, but its bytes and views never do.
    ///
    /// # Errors
    /// `NotFound`, or `Io` when the index cannot be read.
    pub fn recent_entry(&self, id: EntryId) -> FsResult<Arc<Entry>> {
        self.recent.get(id, || self.entry(id))
    }

    /// Forgets the decoded entry, because the index changed it from below.
    pub fn forget_recent(&self, id: EntryId) {
        self.recent.forget([id]);
    }

    /// Does the same as [`Self::forget_recent`] for all entries.
    pub fn forget_all_recent(&self) {
        self.recent.forget_all();
    }

    /// Blocks until every change so far is on the disk.
    ///
    /// # Errors
    /// `Io` or `NoSpace` when the journal cannot be written.
    pub fn sync(&self) -> FsResult<()> {
        self.index.sync().map_err(io)
    }
}

/// Checks that a node is a directory.
///
/// # Errors
/// `NotDirectory` when the node is a file.
pub fn require_directory(node: &Node) -> FsResult<()> {
    match node.kind {
        NodeKind::Directory => Ok(()),
        NodeKind::File { .. } => Err(ErrorKind::NotDirectory.into()),
    }
}

fn touch(directory: &mut Entry, now: Timestamp) {
    directory.attributes.mtime = now;
    directory.attributes.ctime = now;
}

fn removal(entry: &Entry) -> Change {
    let released = match &entry.kind {
        EntryKind::File(content) => content.packs(),
        EntryKind::Directory => Vec::new(),
    };
    Change::Remove {
        id: entry.id,
        released,
    }
}

fn io(error: IndexError) -> FsError {
    let text = format!("the index in the state directory: {error}");
    let kind = match error {
        IndexError::NoSpace { .. } => ErrorKind::NoSpace,
        _ => ErrorKind::Io,
    };
    FsError::explained(kind, text, error)
}
