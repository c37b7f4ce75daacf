//! The end of a handle: flush, sync, release.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::blocking::blocking;
use super::drafts::Drafts;
use super::open::{OpenFile, OpenKind, OpenTable};
use super::settle::SettleTimers;
use super::signals;
use super::types::{AccessMode, Caller, HandleId};
use crate::ingest::Ingest;
use crate::model::{FsError, FsResult};

/// Part that closes handles and commits the data written through them.
#[derive(Debug)]
pub struct HandleCloser {
    open: Arc<OpenTable>,
    drafts: Arc<Drafts>,
    timers: Arc<SettleTimers>,
    ingest: Ingest,
}

impl HandleCloser {
    /// Creates the closer of the handles in `open`.
    pub fn new(
        open: Arc<OpenTable>,
        drafts: Arc<Drafts>,
        timers: Arc<SettleTimers>,
        ingest: Ingest,
    ) -> Self {
        Self {
            open,
            drafts,
            timers,
            ingest,
        }
    }

    /// Makes written bytes durable in the spool (`close`). A writer that is being ended by a signal
    /// leaves an incomplete file. That file is kept, but not ingested.
    ///
    /// # Errors
    /// `NoSpace` or `Io`, when the bytes are not durable or an earlier write failed.
    pub async fn flush(&self, handle: HandleId, caller: Caller) -> FsResult<()> {
        let drafts = Arc::clone(&self.drafts);
        let open = self.open.get(handle)?;
        // This comes before taking the file's lock, because the answer may take time.
        let cut_short = match &*open {
            OpenKind::File(file)
                if file.access != AccessMode::Read && file.wrote.load(Ordering::Relaxed) =>
            {
                signals::cut_short(caller.pid).await
            }
            _ => None,
        };
        let newest = self.open.newest();
        blocking(move || {
            let OpenKind::File(open) = &*open else {
                return Ok(());
            };
            if open.access == AccessMode::Read {
                return Ok(());
            }
            let mut state = open.file.state();
            if !open.wrote.load(Ordering::Relaxed) {
                // A file that was created and closed is whole without a byte.
                return match state.writing.remove(&open.id) {
                    true => drafts.commit(&open.file, &mut state),
                    false => Ok(()),
                };
            }
            let failed = open.failed.get();
            if failed.is_some() {
                let reason =
                    || "a write failed, so the file is not whole; copy it again".to_owned();
                state.set_apart(reason, newest);
            }
            match cut_short {
                Some(reason) => state.set_apart(|| reason, newest),
                None if failed.is_none() => state.made_whole_by(open.id),
                None => {}
            }
            if state.quarantine.is_some() {
                // The write may have taken no byte at all, but its failure is recorded all the same.
                drafts.start(&open.file, &mut state)?;
            }
            state.writing.remove(&open.id);
            drafts.commit(&open.file, &mut state)?;
            open.wrote.store(false, Ordering::Relaxed);
            if let Some(kind) = failed {
                return Err(FsError::new(*kind, "an earlier write to this file failed"));
            }
            Ok(())
        })
        .await
    }

    /// Commits what was written through a handle (`fsync`).
    ///
    /// # Errors
    /// `NoSpace` or `Io`, when the bytes are not durable.
    pub async fn sync(&self, handle: HandleId) -> FsResult<()> {
        let drafts = Arc::clone(&self.drafts);
        let open = self.open.get(handle)?;
        blocking(move || match &*open {
            OpenKind::File(open) => {
                let mut state = open.file.state();
                if !state.writing.is_empty()
                    && let Some(note) = &mut state.note
                {
                    // The bytes will survive a power cut, and so must the fact that more were to come.
                    note.hold_until_closed()?;
                }
                drafts.commit(&open.file, &mut state)?;
                // Attributes, and a file without a byte, have no draft.
                drafts.sync_names()
            }
            OpenKind::Snapshot { .. } | OpenKind::View(_) | OpenKind::Fixed(_) => Ok(()),
        })
        .await
    }

    /// Gives up a handle. The release of the last writer starts the settle time, after which the file
    /// is ingested. The time is needed because rsync, gio, mc and shutil still set times, modes and
    /// names after the release.
    pub fn release(&self, handle: HandleId) {
        let Some(closed) = self.open.close(handle) else {
            return;
        };
        match &*closed.handle {
            OpenKind::File(open) => {
                let id = open.file.id;
                open.file.state().writing.remove(&open.id);
                if open.access != AccessMode::Read && closed.remaining_writers == 0 {
                    self.timers.touch(id);
                }
                if closed.remaining == 0
                    && let Some(file) = self.open.file(id)
                {
                    self.drafts.forget_if_unused(&file);
                }
            }
            OpenKind::Snapshot { .. } => self.ingest.unpin(handle.0),
            OpenKind::View(_) | OpenKind::Fixed(_) => {}
        }
    }

    /// Commits the uncommitted changes of an open file.
    ///
    /// # Errors
    /// `NoSpace` or `Io`, when the bytes are not durable.
    pub async fn commit(&self, file: &Arc<OpenFile>) -> FsResult<()> {
        let drafts = Arc::clone(&self.drafts);
        let file = Arc::clone(file);
        blocking(move || drafts.commit(&file, &mut file.state())).await
    }

    /// Commits the drafts of all open files. Afterwards all written bytes are in spool and journal,
    /// or their files are in the tree as failed.
    ///
    /// # Errors
    /// The first error; the other files are committed all the same.
    pub async fn commit_all(&self) -> FsResult<()> {
        let mut result = Ok(());
        for file in self.open.all_files() {
            let committed = match self.commit(&file).await {
                Err(error) if file.state().is_kept_as_failed() => {
                    tracing::error!(file = %file.id, %error, "a written file is not safe on the disk");
                    Ok(())
                }
                committed => committed,
            };
            result = result.and(committed);
        }
        result
    }
}
