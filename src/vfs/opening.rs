//! Opening files and views.

use std::sync::Arc;

use super::attr;
use super::closing::HandleCloser;
use super::drafts::Drafts;
use super::namespace::{Namespace, ResolvedNode};
use super::open::{OpenKind, OpenTable};
use super::sizes::{Emptying, FileSizes};
use super::types::{
    AccessMode, Attr, Existing, FileKind, HandleId, Lasting, Mutability, Opened, Resource,
};
use super::views::{FilmViews, SeenView};
use super::virtual_tree::VirtualNode;
use crate::index::{Node, NodeKind};
use crate::ingest::Ingest;
use crate::media::inspect::name::media_kind;
use crate::model::{EntryId, EntryKind, ErrorKind, FsResult, Timestamp, TreePath};
use crate::read::{Follower, Leaving};
use crate::tree::Tree;

/// Opener of the namespace's nodes.
#[derive(Debug)]
pub struct Opener {
    tree: Arc<Tree>,
    ingest: Ingest,
    open: Arc<OpenTable>,
    namespace: Arc<Namespace>,
    views: Arc<FilmViews>,
    drafts: Arc<Drafts>,
    sizes: Arc<FileSizes>,
    closer: Arc<HandleCloser>,
}

/// Parts that an open concerns.
#[derive(Debug)]
pub struct OpenerParts {
    pub tree: Arc<Tree>,
    pub ingest: Ingest,
    pub open: Arc<OpenTable>,
    pub namespace: Arc<Namespace>,
    pub views: Arc<FilmViews>,
    pub drafts: Arc<Drafts>,
    pub sizes: Arc<FileSizes>,
    pub closer: Arc<HandleCloser>,
}

impl Opener {
    /// Creates the opener of one library.
    pub fn new(parts: OpenerParts) -> Self {
        Self {
            tree: parts.tree,
            ingest: parts.ingest,
            open: parts.open,
            namespace: parts.namespace,
            views: parts.views,
            drafts: parts.drafts,
            sizes: parts.sizes,
            closer: parts.closer,
        }
    }

    /// Opens a node.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `ReadOnly` (a view opened for writing), or `Io`.
    pub async fn open(
        &self,
        node: ResolvedNode,
        access: AccessMode,
        existing: Existing,
    ) -> FsResult<Opened> {
        match node {
            ResolvedNode::Virtual(_) if writes(access, existing) => Err(ErrorKind::ReadOnly.into()),
            ResolvedNode::Virtual(node) => {
                let (kind, lasting) = self.namespace.open_virtual(&node)?;
                Ok(Opened {
                    handle: self.open.open_other(kind),
                    mutability: match lasting {
                        Lasting::AsLongAsTheMap => Mutability::Immutable,
                        Lasting::Changes => Mutability::Mutable,
                    },
                })
            }
            ResolvedNode::Real(node) => {
                let handle = self.open_stored(&node, access, existing).await?;
                Ok(Opened {
                    handle,
                    mutability: self.drafts.mutability(node.id),
                })
            }
            ResolvedNode::Unlinked(file) => {
                let follower = Follower::new(Leaving::Ends);
                let handle = self.open.open_file(file.id, file.ino, access, follower);
                Ok(Opened {
                    handle,
                    mutability: Mutability::Mutable,
                })
            }
        }
    }

    async fn open_stored(
        &self,
        node: &Node,
        access: AccessMode,
        existing: Existing,
    ) -> FsResult<HandleId> {
        let NodeKind::File { size } = node.kind else {
            return Err(ErrorKind::IsDirectory.into());
        };
        let follower = match media_kind(&node.name).is_media() {
            true => Follower::of_film(size),
            false => Follower::new(Leaving::Ends),
        };
        let handle = self.open.open_file(node.id, node.ino, access, follower);
        if existing == Existing::Truncate
            && let Err(error) = self.empty(handle, node.id).await
        {
            self.closer.release(handle);
            return Err(error);
        }
        Ok(handle)
    }

    /// Empties a file that was just opened. One that was empty has a new time all the same: build tools make
    /// their stamps with `: > stamp`.
    async fn empty(&self, handle: HandleId, id: EntryId) -> FsResult<()> {
        if self.sizes.empty(handle).await? == Emptying::Emptied {
            return Ok(());
        }
        let (entry, ()) = self.tree.update(id, |entry| {
            let now = Timestamp::now();
            (entry.attributes.mtime, entry.attributes.ctime) = (now, now);
            Ok(())
        })?;
        self.drafts.follow(&entry);
        Ok(())
    }

    /// Opens a file or view for reading fixed bytes. The caller has to `release` the handle in the end.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, or `Io`.
    pub async fn open_resource(&self, path: &TreePath) -> FsResult<Resource> {
        let node = self.namespace.at(path)?;
        let attr = self.namespace.attr(&node)?;
        if attr.kind == FileKind::Directory {
            return Err(ErrorKind::IsDirectory.into());
        }
        match node {
            ResolvedNode::Virtual(VirtualNode::View { file, path }) => self.open_view(file, &path),
            ResolvedNode::Virtual(node) => {
                let etag = self.namespace.tag(&node)?;
                let (kind, _) = self.namespace.open_virtual(&node)?;
                Ok(Resource {
                    attr,
                    etag,
                    lasting: Lasting::AsLongAsTheMap,
                    handle: self.open.open_other(kind),
                    view: None,
                })
            }
            ResolvedNode::Real(node) => self.open_version(node.id).await,
            ResolvedNode::Unlinked(_) => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Opens a view. Attributes, tag and bytes come from a single look-up, because the files beside
    /// a film come and go.
    fn open_view(&self, film: EntryId, path: &str) -> FsResult<Resource> {
        self.open_seen(film, path, self.views.seen(film, path)?)
    }

    /// Opens a view that was looked up.
    ///
    /// # Errors
    /// `IsDirectory`, or `Io`.
    pub fn open_seen(&self, film: EntryId, path: &str, seen: SeenView) -> FsResult<Resource> {
        let node = VirtualNode::View {
            file: film,
            path: path.to_owned(),
        };
        let attr = self.views.attr(&seen, node.ino())?;
        let (etag, lasting) = (seen.tag.clone(), seen.lasting);
        let handle = self.open.open_other(seen.open()?);
        Ok(Resource {
            attr,
            etag,
            lasting,
            handle,
            view: Some(path.to_owned()),
        })
    }

    /// Opens the newest version of a stored file. Its bytes stay pinned while the handle lives.
    async fn open_version(&self, id: EntryId) -> FsResult<Resource> {
        if let Some(file) = self.open.file(id) {
            self.closer.commit(&file).await?;
        }
        let entry = self.tree.recent_entry(id)?;
        let EntryKind::File(content) = &entry.kind else {
            return Err(ErrorKind::IsDirectory.into());
        };
        let content = Arc::new((**content).clone());
        let etag = format!("{}-{}", entry.id, content.version);
        let blobs: Vec<_> = content.blobs.iter().map(|blob| blob.id).collect();
        let attr = Attr {
            size: content.size,
            ..attr::real(&self.tree.node(id)?)
        };
        let handle = self.open.open_other(OpenKind::Snapshot {
            content,
            follower: Follower::new(Leaving::Waits),
        });
        self.ingest.pin(handle.0, blobs);
        Ok(Resource {
            attr,
            etag,
            lasting: Lasting::Changes,
            handle,
            view: None,
        })
    }
}

/// Returns whether an open asks for a change.
pub fn writes(access: AccessMode, existing: Existing) -> bool {
    access != AccessMode::Read || existing == Existing::Truncate
}
