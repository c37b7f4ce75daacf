//! Operations by inode number and handle, as the kernel requests them.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::Vfs;
use super::blocking::blocking;
use super::names::NameIn;
use super::namespace::ResolvedNode;
use super::opening::writes;
use super::types::{
    AccessMode, AllocateMode, Attr, Caller, DirEntry, Existing, HandleId, Opened, RenameMode,
    SeekTarget, SetAttr, SetIdBits, SpaceInfo, XattrMode,
};
use super::virtual_tree::VirtualNode;
use super::writes::CopyRange;
use crate::model::{FsResult, Ino, Pieces};

/// Operations on names, by inode number of the directory.
impl Vfs {
    /// Finds a name and counts a reference to the node it refers to; see [`Self::forget`].
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `NameTooLong`, or `Io`.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> FsResult<Attr> {
        let namespace = &self.0.namespace;
        let parent = namespace.by_ino(parent)?;
        let node = match name {
            // A server of NFS asks so for the inodes of handles that the kernel has forgotten.
            b"." => parent,
            b".." => namespace.parent(&parent)?,
            _ => namespace.child(&parent, name)?,
        };
        let attr = namespace.attr(&node)?;
        namespace.remember(&node);
        Ok(attr)
    }

    /// Drops `count` references of the kernel to the inode.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.0.namespace.forget(ino, count);
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// `Exists`, `NotFound`, `NotDirectory`, `NotPermitted` (`.Trash-*`), `ReadOnly`, or `Io`.
    pub fn mkdir(&self, parent: Ino, name: &[u8], mode: u32, caller: Caller) -> FsResult<Attr> {
        let at = NameIn { parent, name };
        self.0.names.make_directory(at, mode, caller)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `NotEmpty`, `ReadOnly`, or `Io`.
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> FsResult<()> {
        self.0.names.remove_directory(NameIn { parent, name })
    }

    /// Removes a file. A sidecar that is removed stays hidden for good.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `ReadOnly`, or `Io`.
    pub fn unlink(&self, parent: Ino, name: &[u8]) -> FsResult<()> {
        self.0.names.remove_file(NameIn { parent, name })
    }

    /// Renames a file or directory.
    ///
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
        let to = NameIn {
            parent: new_parent,
            name: new_name,
        };
        self.0.names.rename(NameIn { parent, name }, to, mode)
    }

    /// Creates a file and opens it. Takes the place of a sidecar if one has the name.
    ///
    /// # Errors
    /// Those of [`Self::mkdir`], and `NoSpace`.
    pub fn create(
        &self,
        parent: Ino,
        name: &[u8],
        mode: u32,
        access: AccessMode,
        caller: Caller,
    ) -> FsResult<(Attr, Opened)> {
        let at = NameIn { parent, name };
        self.0.names.create(at, mode, access, caller)
    }

    /// Passes the entries of a directory behind `after` (0 for all) to `visit` until it breaks. A
    /// cookie stays valid while names come and go.
    ///
    /// # Errors
    /// `NotDirectory`, `NotFound`, or `Io`.
    pub fn readdir(
        &self,
        ino: Ino,
        after: u64,
        visit: &mut dyn FnMut(&DirEntry) -> ControlFlow<()>,
    ) -> FsResult<()> {
        let node = self.0.namespace.by_ino(ino)?;
        self.0.listing.list(&node, after, visit)
    }
}

/// Operations on attributes.
impl Vfs {
    /// Returns the `stat` of an inode.
    ///
    /// # Errors
    /// `NotFound`, or `Io` when the index cannot be read.
    pub fn getattr(&self, ino: Ino) -> FsResult<Attr> {
        self.0.namespace.attr(&self.0.namespace.by_ino(ino)?)
    }

    /// Changes size, mode, owner or times. A sidecar that is changed becomes a file of the user's.
    ///
    /// # Errors
    /// `NotFound`, `ReadOnly` for views, and for a change of size the errors of a write.
    pub async fn setattr(
        &self,
        ino: Ino,
        handle: Option<HandleId>,
        change: SetAttr,
        caller: Caller,
    ) -> FsResult<Attr> {
        self.0.availability.require_writable()?;
        let existing = if change.size == Some(0) {
            Existing::Truncate
        } else {
            Existing::Keep
        };
        let node = self.0.namespace.by_ino(ino)?;
        let mut node = self.without_sidecar(node, existing, caller).await?;
        if let Some(size) = change.size {
            self.0.sizes.resize(&node, handle, size).await?;
        }
        // The commit of a draft sets the draft's own time, so the requested time is set after it.
        if change.mtime.is_some()
            && let Some(file) = self.0.namespace.open_file(&node)
        {
            self.0.closer.commit(&file).await?;
        }
        self.0.attributes.apply(&node, &change)?;
        if let ResolvedNode::Real(stored) = &node {
            self.0.timers.touch_if_waiting(stored.id);
            node = ResolvedNode::Real(self.0.tree.node(stored.id)?);
        }
        self.0.namespace.attr(&node)
    }

    /// Returns the node itself, or the file that replaces a sidecar before it is changed.
    async fn without_sidecar(
        &self,
        node: ResolvedNode,
        existing: Existing,
        caller: Caller,
    ) -> FsResult<ResolvedNode> {
        match node {
            ResolvedNode::Virtual(node @ VirtualNode::Sidecar { .. }) => {
                let id = self.0.takeover.make_file(&node, existing, caller).await?;
                Ok(ResolvedNode::Real(self.0.tree.node(id)?))
            }
            node => Ok(node),
        }
    }

    /// Returns an extended attribute.
    ///
    /// # Errors
    /// `NoAttribute`, `NotFound`, or `Io`.
    pub fn getxattr(&self, ino: Ino, name: &[u8]) -> FsResult<Vec<u8>> {
        self.0.attributes.get(ino, name)
    }

    /// Sets an extended attribute. Setting one of our own is ignored, so that `cp -a` from another
    /// mount prints no errors.
    ///
    /// # Errors
    /// `Exists`, `NoAttribute` (by mode), `AttributeTooLarge`, `NoSpace`, `ReadOnly`, `NotFound`.
    pub fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> FsResult<()> {
        self.0.attributes.set(ino, name, value, mode)
    }

    /// Returns the names of all extended attributes that can be set.
    ///
    /// # Errors
    /// `NotFound`, or `Io`.
    pub fn listxattr(&self, ino: Ino) -> FsResult<Vec<Vec<u8>>> {
        self.0.attributes.list(ino)
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// `NoAttribute`, `ReadOnly`, `NotFound`, or `Io`.
    pub fn removexattr(&self, ino: Ino, name: &[u8]) -> FsResult<()> {
        self.0.attributes.remove(ino, name)
    }
}

/// Operations on handles.
impl Vfs {
    /// Opens an inode. A sidecar that is opened for writing becomes a file of the user's.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `ReadOnly` (a view opened for writing), or `Io`.
    pub async fn open(
        &self,
        ino: Ino,
        access: AccessMode,
        existing: Existing,
        caller: Caller,
    ) -> FsResult<Opened> {
        let mut node = self.0.namespace.by_ino(ino)?;
        if writes(access, existing) {
            self.0.availability.require_writable()?;
            node = self.without_sidecar(node, existing, caller).await?;
        }
        self.0.opener.open(node, access, existing).await
    }

    /// Returns exactly the requested bytes, up to the end of the file, in one run.
    ///
    /// # Errors
    /// Those of [`Self::read_pieces`].
    pub async fn read(&self, handle: HandleId, offset: u64, len: u64) -> FsResult<Bytes> {
        self.read_pieces(handle, offset, len)
            .await
            .map(Pieces::joined)
    }

    /// Returns exactly the requested bytes, up to the end of the file, as pieces where they lie.
    ///
    /// # Errors
    /// `BadHandle`, `RemoteUnavailable`, `Corrupt`, or `Io`.
    pub async fn read_pieces(&self, handle: HandleId, offset: u64, len: u64) -> FsResult<Pieces> {
        self.0.reader.read(handle, offset, len).await
    }

    /// Writes all of `data`, or fails. After a failure the handle is marked, and its file is not ingested.
    ///
    /// # Errors
    /// `BadHandle`, `TooLarge`, `NoSpace`, or `Io`.
    pub async fn write(
        &self,
        handle: HandleId,
        offset: u64,
        data: Bytes,
        bits: SetIdBits,
    ) -> FsResult<()> {
        self.0.writer.write(handle, offset, data, bits).await
    }

    /// Shares stored bytes instead of copying them, and returns the number of shared bytes.
    ///
    /// # Errors
    /// `NotSupported` where the bytes can still change (the kernel then copies by reading and
    /// writing), `BadHandle`, `TooLarge`, or `Io`.
    pub async fn copy_file_range(&self, range: CopyRange) -> FsResult<u64> {
        self.0.writer.copy(range).await
    }

    /// Allocates or frees a range. Reserves nothing.
    ///
    /// # Errors
    /// `NoSpace` when the spool can never hold it, `TooLarge`, `BadHandle`, or `Io`.
    pub async fn fallocate(
        &self,
        handle: HandleId,
        offset: u64,
        len: u64,
        mode: AllocateMode,
    ) -> FsResult<()> {
        self.0.sizes.allocate(handle, offset, len, mode).await
    }

    /// Returns the next data or hole at or behind `offset` (`SEEK_DATA`, `SEEK_HOLE`).
    ///
    /// # Errors
    /// `NoSuchPosition` behind the end or when no data follows, `BadHandle`, or `Io`.
    pub fn seek(&self, handle: HandleId, offset: u64, target: SeekTarget) -> FsResult<u64> {
        self.0.sizes.seek(handle, offset, target)
    }

    /// Makes written bytes durable in the spool (`close`). A writer that is being ended by a signal
    /// leaves an incomplete file. That file is kept, but not ingested.
    ///
    /// # Errors
    /// `NoSpace` or `Io`, when the bytes are not durable or an earlier write failed.
    pub async fn flush(&self, handle: HandleId, caller: Caller) -> FsResult<()> {
        self.0.closer.flush(handle, caller).await
    }

    /// Makes written bytes durable in the spool.
    ///
    /// # Errors
    /// `NoSpace` or `Io`, when the bytes are not durable.
    pub async fn fsync(&self, handle: HandleId) -> FsResult<()> {
        self.0.closer.sync(handle).await
    }

    /// Gives up a handle. The last writer's release starts the settle time of its file.
    pub fn release(&self, handle: HandleId) {
        self.0.closer.release(handle);
    }

    /// Makes all names durable (`fsync` of a directory).
    ///
    /// # Errors
    /// `NoSpace` or `Io`.
    pub async fn sync_names(&self) -> FsResult<()> {
        let tree = Arc::clone(&self.0.tree);
        blocking(move || tree.sync()).await
    }

    /// Returns the space as `df` shows it.
    ///
    /// # Errors
    /// `Io` when the disk of the spool does not answer.
    pub fn space(&self) -> FsResult<SpaceInfo> {
        let (used, free) = (self.0.spool.used(), self.0.spool.free());
        Ok(SpaceInfo {
            total: used + free,
            free,
            files: 1 << 32,
        })
    }
}
