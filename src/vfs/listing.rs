//! Directory listings. A cookie is made from an inode number, never from a position, so it stays
//! valid while names come and go.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::availability::Availability;
use super::namespace::{Namespace, ResolvedNode};
use super::settings::SharedSettings;
use super::sidecars::SidecarFiles;
use super::types::{DirEntry, FileKind};
use super::views::{FilmViews, VirtualChild};
use super::virtual_tree::{HLS_NAME, Marker, VirtualNode};
use crate::index::{ChildKind, Node};
use crate::media::inspect::name::media_kind;
use crate::model::{EntryId, ErrorKind, FsResult, HlsListing, Ino, Name};
use crate::tree::{self, Tree};

/// Cookies of `.`, `..` and `.hls`. The children follow behind them.
const COOKIE_DOT: u64 = 1;
const COOKIE_DOTDOT: u64 = 2;
const COOKIE_HLS: u64 = 3;
/// Offset that is added to a child's inode number to make its cookie.
const COOKIE_CHILDREN: u64 = 16;
/// Base of the cookies of sidecars, above those of all children. A sidecar's cookie is made from
/// the inode number of its film and its place among the film's sidecars.
const COOKIE_SIDECARS: u64 = 1 << 62;
/// Largest number of sidecars listed for one film. The others are found only under `/.hls`.
const MAX_SIDECARS: u64 = 64;

/// Callback that receives the entries of a directory until it breaks.
pub type VisitEntry<'a> = &'a mut dyn FnMut(&DirEntry) -> ControlFlow<()>;

/// Lister of stored and virtual directories.
#[derive(Debug)]
pub struct Listing {
    tree: Arc<Tree>,
    namespace: Arc<Namespace>,
    views: Arc<FilmViews>,
    sidecars: Arc<SidecarFiles>,
    availability: Arc<Availability>,
    settings: SharedSettings,
}

/// Parts that listings are made from.
#[derive(Debug)]
pub struct ListingParts {
    pub tree: Arc<Tree>,
    pub namespace: Arc<Namespace>,
    pub views: Arc<FilmViews>,
    pub sidecars: Arc<SidecarFiles>,
    pub availability: Arc<Availability>,
    pub settings: SharedSettings,
}

impl Listing {
    /// Creates the listing of one library.
    pub fn new(parts: ListingParts) -> Self {
        Self {
            tree: parts.tree,
            namespace: parts.namespace,
            views: parts.views,
            sidecars: parts.sidecars,
            availability: parts.availability,
            settings: parts.settings,
        }
    }

    /// Passes the entries behind `after` (0 for all) to `visit` until it breaks.
    ///
    /// # Errors
    /// `NotDirectory`, `NotFound`, `RemoteUnavailable` while the tree is not complete, or `Io`.
    pub fn list(&self, node: &ResolvedNode, after: u64, visit: VisitEntry<'_>) -> FsResult<()> {
        self.availability.require_complete()?;
        let listed = match node {
            ResolvedNode::Real(node) => self.list_stored(node, after, visit),
            ResolvedNode::Virtual(node) => self.list_virtual(node, after, visit),
            ResolvedNode::Unlinked(_) => Err(ErrorKind::NotDirectory.into()),
        };
        // The caller already knows that its visitor broke.
        listed.map(|_: ControlFlow<()>| ())
    }

    fn list_stored(
        &self,
        node: &Node,
        after: u64,
        visit: VisitEntry<'_>,
    ) -> FsResult<ControlFlow<()>> {
        tree::require_directory(node)?;
        let parent = self
            .tree
            .node(node.parent)
            .map_or(Ino::ROOT, |parent| parent.ino);
        let mut flow = list_dots(node.ino, parent, after, visit);
        let hidden = self.settings.get().hls_listing == HlsListing::Hidden;
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
        visit: VisitEntry<'_>,
    ) -> FsResult<ControlFlow<()>> {
        let last = Ino(after.saturating_sub(COOKIE_CHILDREN));
        self.tree.each_child(id, last, |child| {
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
        visit: VisitEntry<'_>,
    ) -> FsResult<ControlFlow<()>> {
        let position = after.saturating_sub(COOKIE_SIDECARS);
        // The film at the cookie is visited again, starting with its next sidecar.
        let last = Ino((position / MAX_SIDECARS).saturating_sub(1));
        self.tree.each_child(id, last, |child| {
            if child.kind == ChildKind::Directory || !media_kind(&child.name).is_media() {
                return Ok(ControlFlow::Continue(()));
            }
            let sidecars = self.sidecars.of(child.id)?;
            for (place, sidecar) in (1..MAX_SIDECARS).zip(sidecars) {
                let cookie = COOKIE_SIDECARS + child.ino.0 * MAX_SIDECARS + place;
                let taken = Name::new(sidecar.name.clone())
                    .is_ok_and(|name| matches!(self.tree.child(id, &name), Ok(Some(_))));
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
        visit: VisitEntry<'_>,
    ) -> FsResult<ControlFlow<()>> {
        let mut flow = list_dots(
            node.ino(),
            self.namespace.virtual_parent(node),
            after,
            visit,
        );
        match node {
            VirtualNode::Mirror(id) => {
                if *id == EntryId::ROOT {
                    let markers = Marker::ALL.map(|marker| VirtualChild {
                        name: marker.name().as_bytes().to_vec(),
                        node: VirtualNode::Marker(marker),
                        kind: FileKind::File,
                    });
                    let markers = (COOKIE_HLS..).zip(markers);
                    flow = list_virtual_children(flow, markers, after, visit);
                }
                if flow.is_continue() {
                    flow = self.list_mirror(*id, after, visit)?;
                }
            }
            VirtualNode::View { file, path } => {
                // The set of a file's views does not change while it has them, so a position is a
                // stable cookie.
                let own = (COOKIE_CHILDREN..).zip(self.views.children(*file, path)?);
                flow = list_virtual_children(flow, own, after, visit);
                let external = self.views.external_children(*file, path)?.into_iter();
                flow = list_virtual_children(flow, external, after, visit);
            }
            VirtualNode::Marker(_) | VirtualNode::Sidecar { .. } | VirtualNode::Ghost { .. } => {
                return Err(ErrorKind::NotDirectory.into());
            }
        }
        Ok(flow)
    }

    /// Lists the mirror of a directory: its directories, and its files that have views.
    fn list_mirror(
        &self,
        id: EntryId,
        after: u64,
        visit: VisitEntry<'_>,
    ) -> FsResult<ControlFlow<()>> {
        let last = Ino(after.saturating_sub(COOKIE_CHILDREN));
        self.tree.each_child(id, last, |child| {
            let node = match child.kind {
                ChildKind::Directory => VirtualNode::Mirror(child.id),
                ChildKind::File if self.views.viewed(child.id).is_ok() => {
                    VirtualNode::view_directory(child.id)
                }
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

/// Passes the children of a virtual directory with a cookie above `after` to `visit`, unless `flow`
/// has already broken.
fn list_virtual_children(
    flow: ControlFlow<()>,
    children: impl Iterator<Item = (u64, VirtualChild)>,
    after: u64,
    visit: VisitEntry<'_>,
) -> ControlFlow<()> {
    flow?;
    for (cookie, child) in children.filter(|(cookie, _)| *cookie > after) {
        visit(&DirEntry {
            cookie,
            ino: child.node.ino(),
            name: child.name,
            kind: child.kind,
        })?;
    }
    ControlFlow::Continue(())
}

fn list_dots(own: Ino, parent: Ino, after: u64, visit: VisitEntry<'_>) -> ControlFlow<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn children(names: &[&str]) -> Vec<(u64, VirtualChild)> {
        let child = |name: &&str| VirtualChild {
            name: name.as_bytes().to_vec(),
            node: VirtualNode::Marker(Marker::Ignore),
            kind: FileKind::File,
        };
        (COOKIE_CHILDREN..).zip(names.iter().map(child)).collect()
    }

    #[test]
    fn a_listing_goes_on_behind_the_cookie_where_it_broke() {
        let mut seen = Vec::new();
        let mut take_one = |entry: &DirEntry| {
            seen.push((entry.cookie, entry.name.clone()));
            ControlFlow::Break(())
        };
        let go_on = ControlFlow::Continue(());
        let all = || children(&["a", "b"]).into_iter();
        assert!(list_virtual_children(go_on, all(), 0, &mut take_one).is_break());
        assert!(list_virtual_children(go_on, all(), COOKIE_CHILDREN, &mut take_one).is_break());
        let end = list_virtual_children(go_on, all(), COOKIE_CHILDREN + 1, &mut take_one);
        assert!(end.is_continue());
        assert_eq!(
            seen,
            [
                (COOKIE_CHILDREN, b"a".to_vec()),
                (COOKIE_CHILDREN + 1, b"b".to_vec())
            ]
        );
    }
}
