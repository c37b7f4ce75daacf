//! Listing directories. A cookie stays right while names come and go: it is made from an inode
//! number, never from a position.

use std::ops::ControlFlow;

use super::types::{DirEntry, FileKind};
use super::virtual_tree::{HLS_NAME, Marker, VirtualNode};
use super::{Inner, PAGE, Target, Vfs};
use crate::index::{Child, ChildKind, Node};
use crate::media::inspect::name::media_kind;
use crate::model::{EntryId, ErrorKind, FsResult, HlsListing, Ino, Name};
use crate::tree;

/// Cookies of `.`, `..` and `.hls`; children follow behind them.
const COOKIE_DOT: u64 = 1;
const COOKIE_DOTDOT: u64 = 2;
const COOKIE_HLS: u64 = 3;
/// A child's cookie is its inode number plus this.
const COOKIE_CHILDREN: u64 = 16;
/// Cookies of sidecars: above all children; film's inode number and the sidecar's place.
const COOKIE_SIDECARS: u64 = 1 << 62;
/// Sidecars of one film that are listed; a film with more keeps them under `/.hls`.
const MAX_SIDECARS: u64 = 64;

impl Inner {
    /// Children of a directory behind `after`, by inode number, until `visit` breaks.
    pub(super) fn each_child<B>(
        &self,
        directory: EntryId,
        after: Ino,
        mut visit: impl FnMut(Child) -> FsResult<ControlFlow<B>>,
    ) -> FsResult<ControlFlow<B>> {
        let mut last = after;
        loop {
            let page = self.tree.children(directory, last, PAGE)?;
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

    fn virtual_parent(&self, node: &VirtualNode) -> Ino {
        match node {
            VirtualNode::Mirror(id) if *id == EntryId::ROOT => Ino::ROOT,
            VirtualNode::Mirror(id) => self
                .tree
                .node(*id)
                .map_or(Ino::ROOT, |node| VirtualNode::Mirror(node.parent).ino()),
            VirtualNode::View { file, path } => match path.rsplit_once('/') {
                Some((parent, _)) => VirtualNode::View {
                    file: *file,
                    path: parent.to_owned(),
                }
                .ino(),
                None if !path.is_empty() => VirtualNode::View {
                    file: *file,
                    path: String::new(),
                }
                .ino(),
                None => self
                    .tree
                    .node(*file)
                    .map_or(Ino::ROOT, |node| VirtualNode::Mirror(node.parent).ino()),
            },
            VirtualNode::Marker(_) | VirtualNode::Sidecar { .. } | VirtualNode::Ghost { .. } => {
                Ino::ROOT
            }
        }
    }
}

/// Entries of a directory.
impl Vfs {
    /// Entries behind `after` (0: from the start) until `visit` breaks. A cookie stays right while
    /// names come and go: it is made from the inode number, never from a position.
    ///
    /// # Errors
    /// `NotDirectory`, `NotFound`, or `Io`.
    pub fn readdir(
        &self,
        ino: Ino,
        after: u64,
        visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
    ) -> FsResult<()> {
        self.list_target(&self.0.target(ino)?, after, visit)
    }

    pub(super) fn list_target(
        &self,
        target: &Target,
        after: u64,
        visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
    ) -> FsResult<()> {
        self.0.require_complete()?;
        let listed = match target {
            Target::Real(node) => self.list_stored(node, after, visit),
            Target::Virtual(node) => self.list_virtual(node, after, visit),
            Target::Unlinked(_) => Err(ErrorKind::NotDirectory.into()),
        };
        // That the visitor had enough is no news to the one who passed it.
        listed.map(|_: ControlFlow<()>| ())
    }

    fn list_stored(
        &self,
        node: &Node,
        after: u64,
        visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
    ) -> FsResult<ControlFlow<()>> {
        tree::require_directory(node)?;
        let parent = self
            .0
            .tree
            .node(node.parent)
            .map_or(Ino::ROOT, |parent| parent.ino);
        let mut flow = list_dots(node.ino, parent, after, visit);
        let hidden = self.0.settings().hls_listing == HlsListing::Hidden;
        if flow.is_continue() && after < COOKIE_HLS && node.id == EntryId::ROOT && !hidden {
            let mirror = VirtualNode::Mirror(EntryId::ROOT);
            flow = visit(&DirEntry {
                cookie: COOKIE_HLS,
                name: HLS_NAME.to_vec(),
                ino: mirror.ino(),
                kind: FileKind::Directory,
            });
        }
        if flow.is_continue() && after < COOKIE_SIDECARS {
            flow = self.list_children(node.id, after, visit)?;
        }
        if flow.is_continue() {
            flow = self.list_sidecars(node.id, after, visit)?;
        }
        Ok(flow)
    }

    fn list_children(
        &self,
        id: EntryId,
        after: u64,
        visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
    ) -> FsResult<ControlFlow<()>> {
        let last = Ino(after.saturating_sub(COOKIE_CHILDREN));
        self.0.each_child(id, last, |child| {
            Ok(visit(&DirEntry {
                cookie: child.ino.0 + COOKIE_CHILDREN,
                name: child.name.into(),
                ino: child.ino,
                kind: kind_of(child.kind),
            }))
        })
    }

    fn list_sidecars(
        &self,
        id: EntryId,
        after: u64,
        visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
    ) -> FsResult<ControlFlow<()>> {
        let position = after.saturating_sub(COOKIE_SIDECARS);
        // The film that the cookie stands in is visited again, from its next sidecar on.
        let last = Ino((position / MAX_SIDECARS).saturating_sub(1));
        self.0.each_child(id, last, |child| {
            if child.kind == ChildKind::Directory || !media_kind(&child.name).is_media() {
                return Ok(ControlFlow::Continue(()));
            }
            let sidecars = self.0.sidecars(child.id)?;
            for (place, sidecar) in (1..MAX_SIDECARS).zip(sidecars) {
                let cookie = COOKIE_SIDECARS + child.ino.0 * MAX_SIDECARS + place;
                let taken = Name::new(sidecar.name.clone())
                    .is_ok_and(|name| matches!(self.0.tree.child(id, &name), Ok(Some(_))));
                if cookie <= after || taken {
                    continue;
                }
                let ino = sidecar.node.ino();
                let flow = visit(&DirEntry {
                    cookie,
                    name: sidecar.name,
                    ino,
                    kind: sidecar.kind,
                });
                if flow.is_break() {
                    return Ok(flow);
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    fn list_virtual(
        &self,
        node: &VirtualNode,
        after: u64,
        visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
    ) -> FsResult<ControlFlow<()>> {
        let mut flow = list_dots(node.ino(), self.0.virtual_parent(node), after, visit);
        match node {
            VirtualNode::Mirror(id) => {
                if *id == EntryId::ROOT {
                    for (cookie, marker) in (COOKIE_HLS..).zip(Marker::ALL) {
                        if flow.is_continue() && cookie > after {
                            let node = VirtualNode::Marker(marker);
                            let name = marker.name().as_bytes().to_vec();
                            let (ino, kind) = (node.ino(), FileKind::File);
                            flow = visit(&DirEntry {
                                cookie,
                                name,
                                ino,
                                kind,
                            });
                        }
                    }
                }
                if flow.is_continue() {
                    flow = self.list_mirror(*id, after, visit)?;
                }
            }
            VirtualNode::View { file, path } => {
                // A file's views are fixed while it has them, so a position is a stable cookie.
                for (cookie, child) in (COOKIE_CHILDREN..).zip(self.0.view_children(*file, path)?) {
                    if flow.is_continue() && cookie > after {
                        let ino = child.node.ino();
                        let (name, kind) = (child.name, child.kind);
                        flow = visit(&DirEntry {
                            cookie,
                            name,
                            ino,
                            kind,
                        });
                    }
                }
                for (cookie, child) in self.0.external_children(*file, path)? {
                    if flow.is_continue() && cookie > after {
                        let ino = child.node.ino();
                        let (name, kind) = (child.name, child.kind);
                        flow = visit(&DirEntry {
                            cookie,
                            name,
                            ino,
                            kind,
                        });
                    }
                }
            }
            VirtualNode::Marker(_) | VirtualNode::Sidecar { .. } | VirtualNode::Ghost { .. } => {
                return Err(ErrorKind::NotDirectory.into());
            }
        }
        Ok(flow)
    }

    /// Directories, and files that have views.
    fn list_mirror(
        &self,
        id: EntryId,
        after: u64,
        visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
    ) -> FsResult<ControlFlow<()>> {
        let last = Ino(after.saturating_sub(COOKIE_CHILDREN));
        self.0.each_child(id, last, |child| {
            let node = match child.kind {
                ChildKind::Directory => VirtualNode::Mirror(child.id),
                ChildKind::File if self.0.viewed(child.id).is_ok() => VirtualNode::View {
                    file: child.id,
                    path: String::new(),
                },
                ChildKind::File => return Ok(ControlFlow::Continue(())),
            };
            Ok(visit(&DirEntry {
                cookie: child.ino.0 + COOKIE_CHILDREN,
                name: child.name.into(),
                ino: node.ino(),
                kind: FileKind::Directory,
            }))
        })
    }
}

fn list_dots(
    own: Ino,
    parent: Ino,
    after: u64,
    visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for (cookie, name, ino) in [(COOKIE_DOT, &b"."[..], own), (COOKIE_DOTDOT, b"..", parent)] {
        if cookie > after {
            visit(&DirEntry {
                cookie,
                name: name.to_vec(),
                ino,
                kind: FileKind::Directory,
            })?;
        }
    }
    ControlFlow::Continue(())
}

fn kind_of(kind: ChildKind) -> FileKind {
    match kind {
        ChildKind::Directory => FileKind::Directory,
        ChildKind::File => FileKind::File,
    }
}
