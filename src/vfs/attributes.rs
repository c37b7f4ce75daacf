//! Changes of modes, owners and times, and extended attributes.

use std::sync::Arc;

use super::attr::without_set_id;
use super::availability::Availability;
use super::describe::FileReports;
use super::drafts::Drafts;
use super::namespace::{Namespace, ResolvedNode};
use super::settings::SharedSettings;
use super::types::{SetAttr, SetIdBits, XattrMode};
use crate::index::{Node, NodeKind};
use crate::model::{Attributes, ErrorKind, FsError, FsResult, Ino, Timestamp};
use crate::tree::Tree;

/// Largest value of one attribute. Linux allows at most 64 KiB (`XATTR_SIZE_MAX`). All attributes
/// of a file go into one record of the manifest, so they stay far smaller here.
const MAX_XATTR_BYTES: usize = 4096;
/// Largest size of all extended attributes of one file together.
const MAX_XATTRS_BYTES: usize = 16 * 1024;
/// Prefix of our own attributes, which are computed; see CONTRACT.
const OWN_PREFIX: &[u8] = b"user.tgfs.";

/// Part that reads and changes the attributes of files and directories.
#[derive(Debug)]
pub struct AttributeStore {
    tree: Arc<Tree>,
    namespace: Arc<Namespace>,
    availability: Arc<Availability>,
    reports: Arc<FileReports>,
    settings: SharedSettings,
    drafts: Arc<Drafts>,
}

/// The parts that attributes come from.
#[derive(Debug)]
pub struct AttributeParts {
    pub tree: Arc<Tree>,
    pub namespace: Arc<Namespace>,
    pub availability: Arc<Availability>,
    pub reports: Arc<FileReports>,
    pub settings: SharedSettings,
    pub drafts: Arc<Drafts>,
}

impl AttributeStore {
    /// Creates the attributes of one library.
    pub fn new(parts: AttributeParts) -> Self {
        Self {
            tree: parts.tree,
            namespace: parts.namespace,
            availability: parts.availability,
            reports: parts.reports,
            settings: parts.settings,
            drafts: parts.drafts,
        }
    }

    /// Applies `change` to the attributes of a node.
    fn change(
        &self,
        node: &ResolvedNode,
        change: impl FnOnce(&mut Attributes) -> FsResult<()>,
    ) -> FsResult<()> {
        match node {
            ResolvedNode::Real(node) => {
                let (entry, ()) = self.tree.update(node.id, |entry| {
                    change(&mut entry.attributes)?;
                    entry.attributes.ctime = Timestamp::now();
                    Ok(())
                })?;
                self.drafts.follow(&entry);
                Ok(())
            }
            ResolvedNode::Unlinked(file) => match file.state().unlinked.as_deref_mut() {
                Some(entry) => change(&mut entry.attributes),
                None => Err(ErrorKind::NotFound.into()),
            },
            ResolvedNode::Virtual(_) => Err(ErrorKind::ReadOnly.into()),
        }
    }

    /// Applies the mode, owner, times and privileges of `change`. The size is not handled here.
    ///
    /// # Errors
    /// `NotFound`, `ReadOnly` for views, or `Io`.
    pub fn apply(&self, node: &ResolvedNode, change: &SetAttr) -> FsResult<()> {
        let changes_some = change.mode.is_some()
            || change.uid.is_some()
            || change.gid.is_some()
            || change.atime.is_some()
            || change.mtime.is_some()
            || change.privileges == SetIdBits::Clear;
        if !changes_some {
            return Ok(());
        }
        // The bits of a directory give no privileges, and Linux keeps them.
        let is_directory =
            matches!(node, ResolvedNode::Real(node) if matches!(node.kind, NodeKind::Directory));
        let change = if is_directory {
            &SetAttr {
                privileges: SetIdBits::Keep,
                ..*change
            }
        } else {
            change
        };
        self.change(node, |attributes| {
            apply(attributes, change);
            Ok(())
        })
    }

    /// Returns an extended attribute.
    ///
    /// # Errors
    /// `NoAttribute`, `NotFound`, or `Io`.
    pub fn get(&self, ino: Ino, name: &[u8]) -> FsResult<Vec<u8>> {
        let node = self.namespace.by_ino(ino)?;
        if name.starts_with(OWN_PREFIX) {
            let ResolvedNode::Real(node) = &node else {
                return Err(ErrorKind::NoAttribute.into());
            };
            return self.own_attribute(node, &name[OWN_PREFIX.len()..]);
        }
        let xattrs = match &node {
            ResolvedNode::Real(node) => node.attributes.xattrs.clone(),
            ResolvedNode::Unlinked(file) => file
                .state()
                .unlinked
                .as_ref()
                .map(|e| e.attributes.xattrs.clone())
                .unwrap_or_default(),
            ResolvedNode::Virtual(_) => return Err(ErrorKind::NoAttribute.into()),
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
            b"state" => self.reports.info(node.id)?.state.as_str().to_owned(),
            b"progress" => self.reports.info(node.id)?.progress.to_string(),
            b"error" => self
                .reports
                .info(node.id)?
                .error
                .ok_or(ErrorKind::NoAttribute)?,
            b"hls" => {
                let info = self.reports.info(node.id)?;
                if !info.has_views {
                    return Err(ErrorKind::NoAttribute.into());
                }
                format!(
                    "{}/playlist/local/{}.m3u8",
                    self.settings.get().base_url,
                    node.id
                )
            }
            _ => return Err(ErrorKind::NoAttribute.into()),
        };
        Ok(text.into_bytes())
    }

    /// Sets an extended attribute. Setting one of our own is ignored, so that `cp -a` from another
    /// mount prints no errors.
    ///
    /// # Errors
    /// `Exists`, `NoAttribute` (by mode), `AttributeTooLarge`, `NoSpace`, `ReadOnly`, `NotFound`.
    pub fn set(&self, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> FsResult<()> {
        self.availability.require_writable()?;
        if name.starts_with(OWN_PREFIX) {
            return Ok(());
        }
        if value.len() > MAX_XATTR_BYTES {
            return Err(FsError::new(
                ErrorKind::AttributeTooLarge,
                format!("an extended attribute has at most {MAX_XATTR_BYTES} bytes here"),
            ));
        }
        let node = self.namespace.by_ino(ino)?;
        self.change(&node, |attributes| {
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

    /// Returns the names of all extended attributes that can be set.
    ///
    /// # Errors
    /// `NotFound`, or `Io`.
    pub fn list(&self, ino: Ino) -> FsResult<Vec<Vec<u8>>> {
        Ok(match self.namespace.by_ino(ino)? {
            ResolvedNode::Real(node) => node.attributes.xattrs.into_keys().collect(),
            ResolvedNode::Unlinked(_) | ResolvedNode::Virtual(_) => Vec::new(),
        })
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// `NoAttribute`, `ReadOnly`, `NotFound`, or `Io`.
    pub fn remove(&self, ino: Ino, name: &[u8]) -> FsResult<()> {
        self.availability.require_writable()?;
        let node = self.namespace.by_ino(ino)?;
        self.change(&node, |attributes| {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_go_before_a_new_mode_comes() {
        let mut attributes = Attributes {
            mode: 0o4755,
            uid: 1,
            gid: 2,
            atime: Timestamp::now(),
            mtime: Timestamp::now(),
            ctime: Timestamp::now(),
            created: Timestamp::now(),
            xattrs: crate::model::XattrMap::new(),
        };
        let clear = SetAttr {
            privileges: SetIdBits::Clear,
            ..SetAttr::default()
        };
        apply(&mut attributes, &clear);
        assert_eq!((attributes.mode, attributes.uid), (0o755, 1));
        let change = SetAttr {
            mode: Some(0o4711),
            uid: Some(9),
            ..clear
        };
        apply(&mut attributes, &change);
        assert_eq!(
            (attributes.mode, attributes.uid, attributes.gid),
            (0o4711, 9, 2)
        );
    }
}
