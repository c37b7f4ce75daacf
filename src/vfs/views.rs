//! Views as directories and files.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::open_view::OpenView;
use super::types::{Attr, FileKind, Lasting};
use super::viewed_file::ViewedFile;
use super::virtual_tree::{Marker, VirtualNode};
use super::{Inner, attr};
use crate::index::{ChildKind, NodeKind};
use crate::media::hls::view::{ViewFile, ViewKind, ViewNode};
use crate::media::hls::views;
use crate::media::inspect::name::media_kind;
use crate::model::{EntryId, ErrorKind, FilePurpose, FsError, FsResult, Name, ViewsState};

/// A name in a virtual directory.
#[derive(Debug, Clone)]
pub struct VirtualChild {
    pub name: Vec<u8>,
    pub node: VirtualNode,
    pub kind: FileKind,
}

impl Inner {
    /// A file with ready views.
    pub(super) fn viewed(&self, id: EntryId) -> FsResult<ViewedFile> {
        let file = ViewedFile {
            entry: self.tree.recent_entry(id)?,
        };
        file.views()?;
        Ok(file)
    }

    pub(super) fn virtual_attr(&self, node: &VirtualNode) -> FsResult<Attr> {
        let ino = node.ino();
        match node {
            VirtualNode::Mirror(id) => {
                let directory = self.tree.node(*id)?;
                match directory.kind {
                    NodeKind::Directory => Ok(attr::mirror(&directory, ino)),
                    NodeKind::File { .. } => Err(ErrorKind::NotFound.into()),
                }
            }
            VirtualNode::Marker(marker) => {
                let root = self.tree.node(EntryId::ROOT)?;
                Ok(attr::generated(
                    &root,
                    ino,
                    marker.content().len() as u64,
                    0o444,
                ))
            }
            VirtualNode::View { file, path } => {
                self.attr_of_seen(&self.seen_view(*file, path)?, ino)
            }
            VirtualNode::Sidecar { film, key } => {
                let view = self.sidecar_view(*film, key)?;
                Ok(attr::view(&self.tree.node(*film)?, ino, view.size))
            }
            VirtualNode::Ghost { parent, name } => {
                if !self.ghosts.contains(*parent, name) {
                    return Err(ErrorKind::NotFound.into());
                }
                Ok(attr::generated(&self.tree.node(*parent)?, ino, 0, 0o644))
            }
        }
    }

    /// The child of a virtual directory.
    pub(super) fn virtual_child(&self, parent: &VirtualNode, name: &[u8]) -> FsResult<VirtualNode> {
        let not_found = || FsError::from(ErrorKind::NotFound);
        match parent {
            VirtualNode::Mirror(id) => {
                if *id == EntryId::ROOT
                    && let Some(marker) = Marker::ALL
                        .into_iter()
                        .find(|m| m.name().as_bytes() == name)
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
                        self.viewed(child.id)?;
                        Ok(VirtualNode::View {
                            file: child.id,
                            path: String::new(),
                        })
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
                self.seen_view(*file, &path)?;
                Ok(VirtualNode::View { file: *file, path })
            }
            VirtualNode::Marker(_) | VirtualNode::Sidecar { .. } | VirtualNode::Ghost { .. } => {
                Err(ErrorKind::NotDirectory.into())
            }
        }
    }

    /// The names of a file's view directory.
    pub(super) fn view_children(&self, file: EntryId, path: &str) -> FsResult<Vec<VirtualChild>> {
        let viewed = self.viewed(file)?;
        // A directory of an external subtitle has nothing else.
        let Some(found) = views::entries(viewed.views()?, path) else {
            return match self.seen_view(file, path)?.node {
                ViewNode::Directory => Ok(Vec::new()),
                ViewNode::File(_) => Err(ErrorKind::NotDirectory.into()),
            };
        };
        Ok(found
            .into_iter()
            .map(|entry| {
                let path = if path.is_empty() {
                    entry.name.clone()
                } else {
                    format!("{path}/{}", entry.name)
                };
                VirtualChild {
                    name: entry.name.into_bytes(),
                    node: VirtualNode::View { file, path },
                    kind: match entry.kind {
                        ViewKind::Directory => FileKind::Directory,
                        ViewKind::File(_) => FileKind::File,
                    },
                }
            })
            .collect())
    }

    /// Sidecars that a film shows in its directory, with their names.
    pub(super) fn sidecars(&self, film: EntryId) -> FsResult<Vec<VirtualChild>> {
        if self.settings().sidecars == crate::model::SidecarSubtitles::Absent {
            return Ok(Vec::new());
        }
        let viewed = ViewedFile {
            entry: self.tree.recent_entry(film)?,
        };
        let content = viewed.content()?;
        let ViewsState::Ready(known) = &content.views else {
            return Ok(Vec::new());
        };
        let (stem, _) = viewed.entry.name.split_extension();
        let mut found = Vec::new();
        let texts = known.subtitles.iter();
        let texts = texts.map(|subtitle| (subtitle.key.clone(), format!("{}.srt", subtitle.key)));
        let bitmaps = known.files.iter();
        let bitmaps = bitmaps
            .filter(|file| file.purpose == FilePurpose::Subtitle)
            .map(|file| (file.path.clone(), file.path.clone()));
        for (key, ending) in texts.chain(bitmaps) {
            let mut bytes = stem.to_vec();
            bytes.extend_from_slice(format!(".{ending}").as_bytes());
            // A name that would be too long for the file system is left out, not cut.
            let Ok(name) = Name::new(bytes) else { continue };
            if content.hidden_sidecars.contains(&name) {
                continue;
            }
            let node = VirtualNode::Sidecar { film, key };
            found.push(VirtualChild {
                name: name.into(),
                node,
                kind: FileKind::File,
            });
        }
        Ok(found)
    }

    /// The sidecar of this name in a directory: its film is the file whose stem the name begins
    /// with.
    pub(super) fn sidecar_named(
        &self,
        parent: EntryId,
        name: &Name,
    ) -> FsResult<Option<VirtualNode>> {
        let (_, extension) = name.split_extension();
        if !matches!(extension, b"srt" | b"sup" | b"mks") {
            return Ok(None);
        }
        let found = self.each_child(parent, crate::model::Ino(0), |child| {
            let (stem, _) = child.name.split_extension();
            let fits =
                name.as_bytes().starts_with(stem) && name.as_bytes().get(stem.len()) == Some(&b'.');
            if child.kind == ChildKind::File && fits && media_kind(&child.name).is_media() {
                let mut sidecars = self.sidecars(child.id)?.into_iter();
                if let Some(found) = sidecars.find(|s| s.name == name.as_bytes()) {
                    return Ok(ControlFlow::Break(found.node));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found.break_value())
    }

    /// A sidecar is the direct view of the same key: of a text as `.srt`, of pictures the file.
    pub(super) fn sidecar_view(&self, film: EntryId, key: &str) -> FsResult<ViewFile> {
        let viewed = self.viewed(film)?;
        let is_file = viewed.views()?.files.iter().any(|file| file.path == key);
        let path = if is_file {
            key.to_owned()
        } else {
            format!("{key}.srt")
        };
        match viewed.node(&path)? {
            ViewNode::File(view) => Ok(view),
            ViewNode::Directory => Err(ErrorKind::NotFound.into()),
        }
    }

    /// As [`Self::open_virtual`], and how long the kernel may keep its pages.
    pub(super) fn open_lasting(
        &self,
        node: &VirtualNode,
    ) -> FsResult<(super::open::OpenKind, Lasting)> {
        match node {
            VirtualNode::View { file, path } => {
                let seen = self.seen_view(*file, path)?;
                let lasting = seen.lasting;
                Ok((Self::open_seen(seen)?, lasting))
            }
            _ => Ok((self.open_virtual(node)?, Lasting::AsLongAsTheMap)),
        }
    }

    /// Opens a virtual file for reading.
    pub(super) fn open_virtual(&self, node: &VirtualNode) -> FsResult<super::open::OpenKind> {
        use super::open::OpenKind;
        match node {
            VirtualNode::Marker(marker) => {
                Ok(OpenKind::Fixed(Bytes::from_static(marker.content())))
            }
            VirtualNode::View { file, path } => Self::open_seen(self.seen_view(*file, path)?),
            VirtualNode::Sidecar { film, key } => {
                let view = self.sidecar_view(*film, key)?;
                Ok(OpenKind::View(Arc::new(OpenView::new(
                    self.viewed(*film)?,
                    view,
                ))))
            }
            VirtualNode::Ghost { .. } => Ok(OpenKind::Fixed(Bytes::new())),
            VirtualNode::Mirror(_) => Err(ErrorKind::IsDirectory.into()),
        }
    }
}
