//! Opening and closing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::files::blocking;
use super::open::{Marked, OpenFile, OpenKind};
use super::types::{Access, Caller, Existing, HandleId, Lasting, Mutability, Opened};
use super::virtual_tree::VirtualNode;
use super::{Target, Vfs, signals};
use crate::index::NodeKind;
use crate::media::inspect::name::media_kind;
use crate::model::{ErrorKind, FsError, FsResult};
use crate::read::{Follower, Leaving};

impl Vfs {
    /// # Errors
    /// `NotFound`, `IsDirectory`, `ReadOnly` (a view opened for writing), or `Io`.
    pub async fn open(
        &self,
        ino: crate::model::Ino,
        access: Access,
        existing: Existing,
        caller: Caller,
    ) -> FsResult<Opened> {
        let mut target = self.0.target(ino)?;
        let writes = access != Access::Read || existing == Existing::Truncate;
        if writes {
            self.0.require_writable()?;
            if let Target::Virtual(node @ VirtualNode::Sidecar { .. }) = &target {
                let id = self.materialise(node.clone(), existing, caller).await?;
                target = Target::Real(self.0.tree.node(id)?);
            }
        }
        match target {
            Target::Virtual(_) if writes => Err(ErrorKind::ReadOnly.into()),
            Target::Virtual(node) => {
                let (opened, lasting) = self.0.open_lasting(&node)?;
                Ok(Opened {
                    handle: self.0.open.open_other(opened),
                    mutability: match lasting {
                        Lasting::AsLongAsTheMap => Mutability::Immutable,
                        Lasting::Changes => Mutability::Mutable,
                    },
                })
            }
            Target::Real(node) => {
                let NodeKind::File { size } = node.kind else {
                    return Err(ErrorKind::IsDirectory.into());
                };
                let follower = match media_kind(&node.name).is_media() {
                    true => Follower::of_film(size),
                    false => Follower::new(Leaving::Ends),
                };
                let handle = self.0.open.open_file(node.id, node.ino, access, follower);
                if existing == Existing::Truncate
                    && let Err(error) = self.truncate_open(handle).await
                {
                    self.release(handle);
                    return Err(error);
                }
                Ok(Opened {
                    handle,
                    mutability: self.0.mutability(node.id),
                })
            }
            Target::Unlinked(file) => {
                let follower = Follower::new(Leaving::Ends);
                let handle = self.0.open.open_file(file.id, file.ino, access, follower);
                Ok(Opened {
                    handle,
                    mutability: Mutability::Mutable,
                })
            }
        }
    }

    async fn truncate_open(&self, handle: HandleId) -> FsResult<()> {
        let inner = Arc::clone(&self.0);
        let open = inner.open.get(handle)?;
        blocking(move || {
            let OpenKind::File(open) = &*open else {
                return Err(ErrorKind::BadHandle.into());
            };
            let mut state = open.file.state();
            // The copy that this one replaces may have been cut short; this one is not yet.
            state.quarantine = None;
            let draft = inner.with_draft(&open.file, &mut state)?;
            let changes = draft.size() > 0;
            inner.set_size(draft, 0);
            if changes {
                open.wrote.store(true, Ordering::Relaxed);
                inner.mark_writing(&open.file, &mut state)?;
            }
            Ok(())
        })
        .await
    }

    /// `close`: when this succeeds, what was written is durable in the spool. A writer that is
    /// being ended by a signal leaves half a file: it is kept, and not ingested.
    ///
    /// # Errors
    /// `NoSpace` or `Io`, when the bytes are not durable or an earlier write failed.
    pub async fn flush(&self, handle: HandleId, caller: Caller) -> FsResult<()> {
        let inner = Arc::clone(&self.0);
        let open = inner.open.get(handle)?;
        // Before the file's lock is taken: the answer may take its time.
        let cut_short = match &*open {
            OpenKind::File(file)
                if file.access != Access::Read && file.wrote.load(Ordering::Relaxed) =>
            {
                signals::cut_short(caller.pid).await
            }
            _ => None,
        };
        blocking(move || {
            let OpenKind::File(open) = &*open else {
                return Ok(());
            };
            if open.access == Access::Read || !open.wrote.load(Ordering::Relaxed) {
                return Ok(());
            }
            let mut state = open.file.state();
            if let Some(reason) = cut_short {
                state.quarantine.get_or_insert(reason);
            }
            let failed = open.failed.load(Ordering::Relaxed);
            if failed {
                state.quarantine.get_or_insert_with(|| {
                    "a write failed, so the file is not whole; copy it again".to_owned()
                });
            }
            if state.quarantine.is_some() {
                // Not a byte may have been taken; that it failed is written down all the same.
                inner.with_draft(&open.file, &mut state)?;
            }
            inner.commit_draft(&open.file, &mut state)?;
            open.wrote.store(false, Ordering::Relaxed);
            inner.unmark_writing(&open.file, &mut state)?;
            if failed {
                return Err(FsError::new(
                    ErrorKind::Io,
                    "an earlier write to this file failed",
                ));
            }
            Ok(())
        })
        .await
    }

    /// # Errors
    /// `NoSpace` or `Io`, when the bytes are not durable.
    pub async fn fsync(&self, handle: HandleId) -> FsResult<()> {
        let inner = Arc::clone(&self.0);
        let open = inner.open.get(handle)?;
        blocking(move || match &*open {
            OpenKind::File(open) => {
                let mut state = open.file.state();
                inner.commit_draft(&open.file, &mut state)?;
                if state.marked == Marked::Yes {
                    state.marked = Marked::Before;
                }
                Ok(())
            }
            OpenKind::Snapshot { .. } | OpenKind::View(_) | OpenKind::Fixed(_) => Ok(()),
        })
        .await
    }

    /// The last writer's release starts the settle time, after which the file is ingested: rsync,
    /// gio, mc and shutil still set times, modes and names after it.
    pub fn release(&self, handle: HandleId) {
        let Some(closed) = self.0.open.close(handle) else {
            return;
        };
        match &*closed.handle {
            OpenKind::File(open) => {
                let id = open.file.id;
                if open.access != Access::Read && closed.remaining_writers == 0 {
                    self.0.settle.touch(id);
                }
                if closed.remaining == 0 {
                    self.0.drop_if_unused(id);
                }
            }
            OpenKind::Snapshot { .. } => self.0.ingest.unpin(handle.0),
            OpenKind::View(_) | OpenKind::Fixed(_) => {}
        }
    }

    /// `fsync` of a directory: all names are durable when this returns.
    ///
    /// # Errors
    /// `NoSpace` or `Io`.
    pub async fn sync_names(&self) -> FsResult<()> {
        let inner = Arc::clone(&self.0);
        blocking(move || inner.tree.sync()).await
    }

    /// Commits what an open file has uncommitted.
    pub(super) async fn commit_file(&self, file: &Arc<OpenFile>) -> FsResult<()> {
        let inner = Arc::clone(&self.0);
        let file = Arc::clone(file);
        blocking(move || inner.commit_draft(&file, &mut file.state())).await
    }
}
