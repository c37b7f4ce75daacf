//! Sidecars that are written to. Each of them becomes a file of the user's.

use std::sync::Arc;

use bytes::Bytes;

use super::closing::HandleCloser;
use super::names::{NameChanges, NameIn};
use super::namespace::Namespace;
use super::sidecars::SidecarFiles;
use super::types::{AccessMode, Caller, Existing, SetIdBits};
use super::virtual_tree::VirtualNode;
use super::writes::HandleWriter;
use crate::model::{EntryId, ErrorKind, FsResult};
use crate::read::ExtentReader;
use crate::tree::Tree;

/// Largest sidecar that can become a user's file, in bytes. Subtitles are far smaller.
const MAX_SIDECAR_BYTES: u64 = 64 << 20;

/// Mode of a file that was a sidecar.
const FILE_MODE: u32 = 0o644;

/// Part that turns sidecars into files.
#[derive(Debug)]
pub struct SidecarTakeover {
    tree: Arc<Tree>,
    reader: ExtentReader,
    sidecars: Arc<SidecarFiles>,
    namespace: Arc<Namespace>,
    names: Arc<NameChanges>,
    writer: Arc<HandleWriter>,
    closer: Arc<HandleCloser>,
}

/// Parts that make a file from a sidecar.
#[derive(Debug)]
pub struct TakeoverParts {
    pub tree: Arc<Tree>,
    pub reader: ExtentReader,
    pub sidecars: Arc<SidecarFiles>,
    pub namespace: Arc<Namespace>,
    pub names: Arc<NameChanges>,
    pub writer: Arc<HandleWriter>,
    pub closer: Arc<HandleCloser>,
}

impl SidecarTakeover {
    /// Creates the takeover of one library's sidecars.
    pub fn new(parts: TakeoverParts) -> Self {
        Self {
            tree: parts.tree,
            reader: parts.reader,
            sidecars: parts.sidecars,
            namespace: parts.namespace,
            names: parts.names,
            writer: parts.writer,
            closer: parts.closer,
        }
    }

    /// Makes a file from a sidecar, with the sidecar's bytes unless `existing` says to drop them.
    ///
    /// # Errors
    /// `ReadOnly` when `node` is no sidecar, `NotFound`, `NoSpace`, or `Io`.
    pub async fn make_file(
        &self,
        node: &VirtualNode,
        existing: Existing,
        caller: Caller,
    ) -> FsResult<EntryId> {
        let VirtualNode::Sidecar { film, key } = node else {
            return Err(ErrorKind::ReadOnly.into());
        };
        let directory = self.tree.node(self.tree.node(*film)?.parent)?;
        let mut sidecars = self.sidecars.of(*film)?.into_iter();
        let sidecar = sidecars.find(|sidecar| sidecar.node == *node);
        let name = sidecar.ok_or(ErrorKind::NotFound)?.name;
        let bytes = match existing {
            Existing::Truncate => Bytes::new(),
            Existing::Keep => self.bytes_of(*film, key).await?,
        };
        let at = NameIn {
            parent: directory.ino,
            name: &name,
        };
        let (attr, opened) = self
            .names
            .create(at, FILE_MODE, AccessMode::Write, caller)?;
        let written = match bytes.is_empty() {
            true => Ok(()),
            false => {
                self.writer
                    .write(opened.handle, 0, bytes, SetIdBits::Keep)
                    .await
            }
        };
        let flushed = self.closer.flush(opened.handle, caller).await;
        self.closer.release(opened.handle);
        written.and(flushed)?;
        let id = attr.id.ok_or(ErrorKind::NotFound)?;
        self.namespace.replace(node, id);
        Ok(id)
    }

    async fn bytes_of(&self, film: EntryId, key: &str) -> FsResult<Bytes> {
        let size = self.sidecars.view(film, key)?.size.min(MAX_SIDECAR_BYTES);
        let open = self.sidecars.open(film, key)?;
        Ok(open.read(&self.reader, 0, size).await?.joined())
    }
}
