//! Names and inode numbers: finds the node of a path or a number, and makes its `stat`.

use std::sync::Arc;

use bytes::Bytes;

use super::attr;
use super::availability::Availability;
use super::open::{OpenFile, OpenKind, OpenTable};
use super::sidecars::SidecarFiles;
use super::types::{Attr, Lasting};
use super::views::FilmViews;
use super::virtual_tree::{HLS_NAME, Marker, VirtualInodes, VirtualNode};
use crate::index::{ChildKind, Node, NodeKind};
use crate::model::{EntryId, ErrorKind, FsError, FsResult, Ino, Name, TreePath};
use crate::tree::{self, Tree};

/// The meaning of an inode number or a path.
#[derive(Debug)]
pub enum ResolvedNode {
    Real(Node),
    /// An open file without a name.
    Unlinked(Arc<OpenFile>),
    Virtual(VirtualNode),
}

/// The whole tree as users see it: stored entries, views, sidecars.
#[derive(Debug)]
pub struct Namespace {
    tree: Arc<Tree>,
    open: Arc<OpenTable>,
    views: Arc<FilmViews>,
    sidecars: Arc<SidecarFiles>,
    availability: Arc<Availability>,
    inodes: VirtualInodes,
}

/// Parts that the namespace is made of.
#[derive(Debug)]
pub struct NamespaceParts {
    pub tree: Arc<Tree>,
    pub open: Arc<OpenTable>,
    pub views: Arc<FilmViews>,
    pub sidecars: Arc<SidecarFiles>,
    pub availability: Arc<Availability>,
}

impl Namespace {
    pub fn new(parts: NamespaceParts) -> Self {
        Self {
            tree: parts.tree,
            open: parts.open,
            views: parts.views,
            sidecars: parts.sidecars,
            availability: parts.availability,
            inodes: VirtualInodes::default(),
        }
    }

    /// Returns the node of an inode number.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn by_ino(&self, ino: Ino) -> FsResult<ResolvedNode> {
        if ino.is_virtual() {
            if let Some(id) = self.inodes.replacement(ino) {
                return Ok(ResolvedNode::Real(self.tree.node(id)?));
            }
            return self
                .inodes
                .get(ino)
                .map(ResolvedNode::Virtual)
                .ok_or_else(not_found);
        }
        match self.tree.node_by_ino(ino) {
            Ok(node) => Ok(ResolvedNode::Real(node)),
            Err(error) if error.kind == ErrorKind::NotFound => {
                let file = self.open.file_by_ino(ino).ok_or_else(not_found)?;
                if file.state().unlinked.is_none() {
                    return Err(not_found());
                }
                Ok(ResolvedNode::Unlinked(file))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the node of a path.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, or `Io`.
    pub fn at(&self, path: &TreePath) -> FsResult<ResolvedNode> {
        let mut node = ResolvedNode::Real(self.tree.node(EntryId::ROOT)?);
        for name in path.names() {
            node = self.child(&node, name.as_bytes())?;
        }
        Ok(node)
    }

    /// Returns the child of a directory, stored or virtual.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `NameTooLong`, or `Io`.
    pub fn child(&self, parent: &ResolvedNode, name: &[u8]) -> FsResult<ResolvedNode> {
        let found = match parent {
            ResolvedNode::Real(node) => self.stored_child(node, name),
            ResolvedNode::Virtual(node) => {
                self.virtual_child(node, name).map(ResolvedNode::Virtual)
            }
            ResolvedNode::Unlinked(_) => Err(ErrorKind::NotDirectory.into()),
        };
        self.availability.unless_incomplete(found)
    }

    /// Returns the child of a stored directory, sidecars and `/.hls` included.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `NameTooLong`, or `Io`.
    pub fn stored_child(&self, parent: &Node, name: &[u8]) -> FsResult<ResolvedNode> {
        tree::require_directory(parent)?;
        if parent.id == EntryId::ROOT && name == HLS_NAME {
            return Ok(ResolvedNode::Virtual(VirtualNode::Mirror(EntryId::ROOT)));
        }
        let name = Name::new(name)?;
        if let Some(child) = self.tree.child(parent.id, &name)? {
            return Ok(ResolvedNode::Real(self.tree.node(child.id)?));
        }
        if let Some(sidecar) = self.sidecars.named(parent.id, &name)? {
            return Ok(ResolvedNode::Virtual(sidecar));
        }
        if self.sidecars.ghosts().contains(parent.id, &name) {
            return Ok(ResolvedNode::Virtual(VirtualNode::Ghost {
                parent: parent.id,
                name,
            }));
        }
        Err(not_found())
    }

    fn virtual_child(&self, parent: &VirtualNode, name: &[u8]) -> FsResult<VirtualNode> {
        match parent {
            VirtualNode::Mirror(id) => {
                if *id == EntryId::ROOT
                    && let Some(marker) = Marker::named(name)
                {
                    return Ok(VirtualNode::Marker(marker));
                }
                let child = self
                    .tree
                    .child(*id, &Name::new(name)?)?
                    .ok_or_else(not_found)?;
                match child.kind {
                    ChildKind::Directory => Ok(VirtualNode::Mirror(child.id)),
                    ChildKind::File => {
                        self.views.viewed(child.id)?;
                        Ok(VirtualNode::view_directory(child.id))
                    }
                }
            }
            VirtualNode::View { file, path } => {
                let name = std::str::from_utf8(name).map_err(|_| not_found())?;
                let path = if path.is_empty() {
                    name.to_owned()
                } else {
                    format!("{path}/{name}")
                };
                self.views.seen(*file, &path)?;
                Ok(VirtualNode::View { file: *file, path })
            }
            VirtualNode::Marker(_) | VirtualNode::Sidecar { .. } | VirtualNode::Ghost { .. } => {
                Err(ErrorKind::NotDirectory.into())
            }
        }
    }

    /// Returns the inode number of the directory that holds a virtual one.
    pub fn virtual_parent(&self, node: &VirtualNode) -> Ino {
        let mirror_of_parent = |id: EntryId| {
            self.tree
                .node(id)
                .map_or(Ino::ROOT, |node| VirtualNode::Mirror(node.parent).ino())
        };
        match node {
            VirtualNode::Mirror(id) if *id == EntryId::ROOT => Ino::ROOT,
            VirtualNode::Mirror(id) => mirror_of_parent(*id),
            VirtualNode::View { file, path } if path.is_empty() => mirror_of_parent(*file),
            VirtualNode::View { file, path } => {
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                VirtualNode::View {
                    file: *file,
                    path: parent.to_owned(),
                }
                .ino()
            }
            VirtualNode::Marker(_) | VirtualNode::Sidecar { .. } | VirtualNode::Ghost { .. } => {
                Ino::ROOT
            }
        }
    }

    /// Returns the directory that holds a node. The root holds itself.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn parent(&self, node: &ResolvedNode) -> FsResult<ResolvedNode> {
        match node {
            ResolvedNode::Real(node) => Ok(ResolvedNode::Real(self.tree.node(node.parent)?)),
            ResolvedNode::Virtual(node) => self.by_ino(self.virtual_parent(node)),
            ResolvedNode::Unlinked(_) => Err(not_found()),
        }
    }

    /// Returns a stored directory that may be changed.
    ///
    /// # Errors
    /// `ReadOnly`, `NotFound`, `NotDirectory`, or `Io`.
    pub fn changeable_directory(&self, ino: Ino) -> FsResult<Node> {
        self.availability.require_writable()?;
        match self.by_ino(ino)? {
            ResolvedNode::Real(node) => {
                tree::require_directory(&node)?;
                Ok(node)
            }
            ResolvedNode::Virtual(_) => Err(ErrorKind::ReadOnly.into()),
            ResolvedNode::Unlinked(_) => Err(ErrorKind::NotDirectory.into()),
        }
    }

    /// Returns the open file of a node, if the node is a file and open.
    pub fn open_file(&self, node: &ResolvedNode) -> Option<Arc<OpenFile>> {
        match node {
            ResolvedNode::Real(node) => self.open.file(node.id),
            ResolvedNode::Unlinked(file) => Some(Arc::clone(file)),
            ResolvedNode::Virtual(_) => None,
        }
    }

    /// Counts a reference of the kernel to a virtual node.
    pub fn remember(&self, node: &ResolvedNode) {
        if let ResolvedNode::Virtual(node) = node {
            self.inodes.remember(node.clone());
        }
    }

    /// Drops `count` references of the kernel.
    pub fn forget(&self, ino: Ino, count: u64) {
        if ino.is_virtual() {
            self.inodes.forget(ino, count);
        }
    }

    /// Makes the inode number of a sidecar refer to the user's file that took its place.
    pub fn replace(&self, sidecar: &VirtualNode, by: EntryId) {
        self.inodes.replace(sidecar.ino(), by);
    }

    /// Returns the `stat` of a node. It includes written bytes that are not committed yet.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn attr(&self, node: &ResolvedNode) -> FsResult<Attr> {
        match node {
            ResolvedNode::Real(node) => {
                let mut attr = attr::real(node);
                if let Some(file) = self.open.file(node.id) {
                    file.state().overlay(&mut attr);
                }
                Ok(attr)
            }
            ResolvedNode::Unlinked(file) => {
                let state = file.state();
                let entry = state.unlinked.as_deref().ok_or(ErrorKind::NotFound)?;
                let mut attr = attr::unlinked(entry);
                state.overlay(&mut attr);
                Ok(attr)
            }
            ResolvedNode::Virtual(node) => self.virtual_attr(node),
        }
    }

    fn virtual_attr(&self, node: &VirtualNode) -> FsResult<Attr> {
        let ino = node.ino();
        match node {
            VirtualNode::Mirror(id) => {
                let directory = self.tree.node(*id)?;
                match directory.kind {
                    NodeKind::Directory => Ok(attr::mirror(&directory, ino)),
                    NodeKind::File { .. } => Err(not_found()),
                }
            }
            VirtualNode::Marker(marker) => {
                let root = self.tree.node(EntryId::ROOT)?;
                let size = marker.content().len() as u64;
                Ok(attr::generated(&root, ino, size, 0o444))
            }
            VirtualNode::View { file, path } => {
                let seen = self.views.seen(*file, path)?;
                self.views.attr(&seen, ino)
            }
            VirtualNode::Sidecar { film, key } => {
                let view = self.sidecars.view(*film, key)?;
                Ok(attr::view(&self.tree.node(*film)?, ino, view.size))
            }
            VirtualNode::Ghost { parent, name } => {
                if !self.sidecars.ghosts().contains(*parent, name) {
                    return Err(not_found());
                }
                Ok(attr::generated(&self.tree.node(*parent)?, ino, 0, 0o644))
            }
        }
    }

    /// Opens a virtual file for reading. Also returns how long its bytes stay the same.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, or `Io`.
    pub fn open_virtual(&self, node: &VirtualNode) -> FsResult<(OpenKind, Lasting)> {
        let kind = match node {
            VirtualNode::View { file, path } => {
                let seen = self.views.seen(*file, path)?;
                let lasting = seen.lasting;
                return Ok((seen.open()?, lasting));
            }
            VirtualNode::Marker(marker) => OpenKind::Fixed(Bytes::from_static(marker.content())),
            VirtualNode::Sidecar { film, key } => {
                OpenKind::View(Arc::new(self.sidecars.open(*film, key)?))
            }
            VirtualNode::Ghost { .. } => OpenKind::Fixed(Bytes::new()),
            VirtualNode::Mirror(_) => return Err(ErrorKind::IsDirectory.into()),
        };
        Ok((kind, Lasting::AsLongAsTheMap))
    }

    /// Returns the tag of a virtual file's bytes. It changes whenever the bytes do.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn tag(&self, node: &VirtualNode) -> FsResult<String> {
        match node {
            VirtualNode::View { file, path } => Ok(self.views.seen(*file, path)?.tag),
            VirtualNode::Sidecar { film, .. } => self.views.viewed(*film)?.tag(),
            VirtualNode::Marker(marker) => Ok(marker.name().to_owned()),
            VirtualNode::Mirror(_) | VirtualNode::Ghost { .. } => Err(not_found()),
        }
    }
}

/// Checks a name for a new entry.
///
/// # Errors
/// `ReadOnly` (`/.hls`), `NotPermitted` (`.Trash-*`), `InvalidArgument`, or `NameTooLong`.
pub fn check_new_name(parent: &Node, name: &[u8]) -> FsResult<Name> {
    if parent.id == EntryId::ROOT && name == HLS_NAME {
        return Err(ErrorKind::ReadOnly.into());
    }
    // File managers then offer to delete permanently, which is what frees the space.
    if name.starts_with(b".Trash-") || name == b".Trash" {
        return Err(FsError::new(
            ErrorKind::NotPermitted,
            "this library has no trash; delete for good instead",
        ));
    }
    Ok(Name::new(name)?)
}

fn not_found() -> FsError {
    ErrorKind::NotFound.into()
}
