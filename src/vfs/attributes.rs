//! `stat`, `chmod`, `chown`, times and extended attributes.

use super::attr::{of_attributes, real, without_set_id};
use super::open::OpenState;
use super::types::{Attr, Caller, Existing, FileKind, HandleId, SetAttr, SetIdBits, XattrMode};
use super::virtual_tree::VirtualNode;
use super::{Inner, Target, Vfs};
use crate::index::{Node, NodeKind};
use crate::model::{Attributes, Entry, EntryKind, ErrorKind, FsError, FsResult, Ino, Timestamp};

/// Linux allows at most 64 KiB an attribute (`XATTR_SIZE_MAX`); all of a file's go into one record
/// of the manifest, so they stay far smaller here.
const MAX_XATTR_BYTES: usize = 4096;
/// All extended attributes of one file together.
const MAX_XATTRS_BYTES: usize = 16 * 1024;
/// Ours, computed; see CONTRACT.
const OWN_PREFIX: &[u8] = b"user.tgfs.";

/// `stat` of a file whose name is gone.
fn unlinked(entry: &Entry) -> Attr {
    let size = match &entry.kind {
        EntryKind::File(content) => content.size,
        EntryKind::Directory => 0,
    };
    let mut attr = of_attributes(&entry.attributes, entry.ino, FileKind::File, size);
    attr.id = Some(entry.id);
    attr.nlink = 0;
    attr
}

/// What is written but not committed yet shows in `stat` at once.
fn overlay(attr: &mut Attr, state: &OpenState) {
    if let Some(draft) = &state.draft {
        attr.size = draft.size();
        attr.blocks = attr.size.div_ceil(512);
        if let Some(modified) = draft.modified {
            attr.mtime = modified;
            attr.ctime = modified;
        }
    }
}

impl Inner {
    pub(super) fn attr_of(&self, target: &Target) -> FsResult<Attr> {
        match target {
            Target::Real(node) => {
                let mut attr = real(node);
                if let Some(file) = self.open.file(node.id) {
                    overlay(&mut attr, &file.state());
                }
                Ok(attr)
            }
            Target::Unlinked(file) => {
                let state = file.state();
                let mut attr = unlinked(state.unlinked.as_deref().ok_or(ErrorKind::NotFound)?);
                overlay(&mut attr, &state);
                Ok(attr)
            }
            Target::Virtual(node) => self.virtual_attr(node),
        }
    }

    fn change_attributes(
        &self,
        target: &Target,
        change: impl FnOnce(&mut Attributes) -> FsResult<()>,
    ) -> FsResult<()> {
        match target {
            Target::Real(node) => {
                self.tree.update(node.id, |entry| {
                    change(&mut entry.attributes)?;
                    entry.attributes.ctime = Timestamp::now();
                    Ok(())
                })?;
                Ok(())
            }
            Target::Unlinked(file) => match file.state().unlinked.as_deref_mut() {
                Some(entry) => change(&mut entry.attributes),
                None => Err(ErrorKind::NotFound.into()),
            },
            Target::Virtual(_) => Err(ErrorKind::ReadOnly.into()),
        }
    }
}

impl Vfs {
    /// # Errors
    /// `NotFound`, or `Io` when the index cannot be read.
    pub fn getattr(&self, ino: Ino) -> FsResult<Attr> {
        self.0.attr_of(&self.0.target(ino)?)
    }

    /// # Errors
    /// `NotFound`, `ReadOnly` for views, and for a size what a write can fail with.
    pub async fn setattr(
        &self,
        ino: Ino,
        handle: Option<HandleId>,
        change: SetAttr,
        caller: Caller,
    ) -> FsResult<Attr> {
        self.0.require_writable()?;
        let mut target = self.0.target(ino)?;
        if let Target::Virtual(node @ VirtualNode::Sidecar { .. }) = &target {
            let existing = if change.size == Some(0) {
                Existing::Truncate
            } else {
                Existing::Keep
            };
            let id = self.materialise(node.clone(), existing, caller).await?;
            target = Target::Real(self.0.tree.node(id)?);
        }
        if let Some(size) = change.size {
            self.resize(&target, handle, size).await?;
        }
        // The commit of a draft takes the draft's own time; what is asked for here comes after it.
        if change.mtime.is_some()
            && let Some(file) = self.0.open_file_of(&target)
        {
            self.commit_file(&file).await?;
        }
        let others = change.mode.is_some()
            || change.uid.is_some()
            || change.gid.is_some()
            || change.atime.is_some()
            || change.mtime.is_some()
            || change.privileges == SetIdBits::Clear;
        if others {
            self.0.change_attributes(&target, |attributes| {
                apply(attributes, &change);
                Ok(())
            })?;
        }
        if let Target::Real(node) = &target {
            self.0.settle.touch_if_waiting(node.id);
            target = Target::Real(self.0.tree.node(node.id)?);
        }
        self.0.attr_of(&target)
    }

    /// # Errors
    /// `NoAttribute`, `NotFound`, or `Io`.
    pub fn getxattr(&self, ino: Ino, name: &[u8]) -> FsResult<Vec<u8>> {
        let target = self.0.target(ino)?;
        if name.starts_with(OWN_PREFIX) {
            let Target::Real(node) = &target else {
                return Err(ErrorKind::NoAttribute.into());
            };
            return self.own_attribute(node, &name[OWN_PREFIX.len()..]);
        }
        let xattrs = match &target {
            Target::Real(node) => node.attributes.xattrs.clone(),
            Target::Unlinked(file) => file
                .state()
                .unlinked
                .as_ref()
                .map(|e| e.attributes.xattrs.clone())
                .unwrap_or_default(),
            Target::Virtual(_) => return Err(ErrorKind::NoAttribute.into()),
        };
        xattrs
            .get(name)
            .cloned()
            .ok_or_else(|| ErrorKind::NoAttribute.into())
    }

    fn own_attribute(&self, node: &Node, name: &[u8]) -> FsResult<Vec<u8>> {
        if matches!(node.kind, NodeKind::Directory) {
            return Err(ErrorKind::NoAttribute.into());
        }
        let text = match name {
            b"id" => node.id.to_string(),
            b"state" => self.info(node.id)?.state.as_str().to_owned(),
            b"progress" => self.info(node.id)?.progress.to_string(),
            b"error" => self.info(node.id)?.error.ok_or(ErrorKind::NoAttribute)?,
            b"hls" => {
                let info = self.info(node.id)?;
                if !info.has_views {
                    return Err(ErrorKind::NoAttribute.into());
                }
                format!(
                    "{}/playlist/local/{}.m3u8",
                    self.0.settings().base_url,
                    node.id
                )
            }
            _ => return Err(ErrorKind::NoAttribute.into()),
        };
        Ok(text.into_bytes())
    }

    /// Setting one of ours is ignored, so that `cp -a` from another mount stays quiet.
    ///
    /// # Errors
    /// `Exists`, `NoAttribute` (by mode), `AttributeTooLarge`, `NoSpace`, `ReadOnly`, `NotFound`.
    pub fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> FsResult<()> {
        self.0.require_writable()?;
        if name.starts_with(OWN_PREFIX) {
            return Ok(());
        }
        if value.len() > MAX_XATTR_BYTES {
            return Err(FsError::new(
                ErrorKind::AttributeTooLarge,
                format!("an extended attribute has at most {MAX_XATTR_BYTES} bytes here"),
            ));
        }
        let target = self.0.target(ino)?;
        self.0.change_attributes(&target, |attributes| {
            let xattrs = &mut attributes.xattrs;
            match (mode, xattrs.contains_key(name)) {
                (XattrMode::Create, true) => return Err(ErrorKind::Exists.into()),
                (XattrMode::Replace, false) => return Err(ErrorKind::NoAttribute.into()),
                _ => {}
            }
            let others: usize = xattrs
                .iter()
                .filter(|(key, _)| key.as_slice() != name)
                .map(|(key, value)| key.len() + value.len())
                .sum();
            if others + name.len() + value.len() > MAX_XATTRS_BYTES {
                return Err(ErrorKind::NoSpace.into());
            }
            xattrs.insert(name.to_vec(), value.to_vec());
            Ok(())
        })
    }

    /// # Errors
    /// `NotFound`, or `Io`.
    pub fn listxattr(&self, ino: Ino) -> FsResult<Vec<Vec<u8>>> {
        Ok(match self.0.target(ino)? {
            Target::Real(node) => node.attributes.xattrs.into_keys().collect(),
            Target::Unlinked(_) | Target::Virtual(_) => Vec::new(),
        })
    }

    /// # Errors
    /// `NoAttribute`, `ReadOnly`, `NotFound`, or `Io`.
    pub fn removexattr(&self, ino: Ino, name: &[u8]) -> FsResult<()> {
        self.0.require_writable()?;
        let target = self.0.target(ino)?;
        self.0.change_attributes(&target, |attributes| {
            attributes
                .xattrs
                .remove(name)
                .map(|_| ())
                .ok_or_else(|| ErrorKind::NoAttribute.into())
        })
    }
}

fn apply(attributes: &mut Attributes, change: &SetAttr) {
    if change.privileges == SetIdBits::Clear {
        attributes.mode = without_set_id(attributes.mode);
    }
    if let Some(mode) = change.mode {
        attributes.mode = mode & 0o7777;
    }
    attributes.uid = change.uid.unwrap_or(attributes.uid);
    attributes.gid = change.gid.unwrap_or(attributes.gid);
    attributes.atime = change.atime.unwrap_or(attributes.atime);
    attributes.mtime = change.mtime.unwrap_or(attributes.mtime);
}
