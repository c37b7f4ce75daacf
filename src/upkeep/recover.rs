//! `tgfs recover`: builds a new index from the remote's log and the journal, beside the old one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::attach_error::{AttachError, AttachReport};
use super::fill::{Patience, attach};
use crate::disk;
use crate::index::{Index, IndexError, Owner};
use crate::model::{KeyStore, LibraryClaim};
use crate::remote::{Remote, RemoteError};

/// Directory in the state directory where the new index is built.
const WORKSHOP: &str = "recovering";

/// Report of a recovery.
#[derive(Debug)]
pub struct RecoverReport {
    /// Report of the new index's attach.
    pub attach: AttachReport,
    /// Directory where the old index is kept.
    pub old_index: Option<PathBuf>,
}

/// Reason why a recovery failed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The new index could not be filled.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The state directory does not take the new index.
    #[error("cannot put the new index in place in {}: {source}", path.display())]
    Swap {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl From<IndexError> for RecoverError {
    fn from(error: IndexError) -> Self {
        Self::Attach(error.into())
    }
}

/// Recovery that holds the state; the remote is opened with the keys that the old index kept.
#[derive(Debug)]
pub struct Recovery {
    state: PathBuf,
    owner: Owner,
    old: Index,
}

impl Recovery {
    /// Opens the old index, which repairs it as far as possible, and brings the journal up to date
    /// with its rows. Refuses while a daemon runs.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub fn begin(state: &Path, owner: Owner) -> Result<Self, RecoverError> {
        let (old, _) = Index::open(state, owner)?;
        old.compact_journal()?;
        Ok(Self {
            state: state.to_owned(),
            owner,
            old,
        })
    }

    /// Returns the description of the store that the state was used with; empty if there was none.
    #[must_use]
    pub fn store_description(&self) -> String {
        self.old.store_description()
    }

    /// Returns the keys that the remote kept.
    #[must_use]
    pub fn key_store(&self) -> Arc<dyn KeyStore> {
        self.old.key_store()
    }

    /// Builds a new index from the remote's log and the newer changes of the journal. Swaps it for the old
    /// one, which is kept. Never touches the spool. An error leaves the old index in place.
    ///
    /// `settled` is awaited while the keys of the old index can still be written, and before the new index
    /// takes them.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub async fn run(
        self,
        remote: &Arc<dyn Remote>,
        claim: LibraryClaim,
        patience: Patience,
        settled: impl Future<Output = Result<(), RemoteError>>,
    ) -> Result<RecoverReport, RecoverError> {
        let state = self.state.as_path();
        let swap = |source| RecoverError::Swap {
            path: state.to_owned(),
            source,
        };
        let workshop = state.join(WORKSHOP);
        remove_workshop(&workshop).map_err(swap)?;
        copy_journal(state, &workshop).map_err(swap)?;
        let (new, _) = Index::open_from_journal(&workshop, self.owner)?;
        let new = Arc::new(new);
        let known = self.old.log_head().number;
        let mut attach = attach(&new, remote, claim, patience).await?;
        let found = new.log_head().number;
        if found < known {
            attach.notes.push(format!(
                "the store's log ends at manifest {found}, and this state knew it up to {known}: what only the \
                 manifests in between said is not in the new index; it is in the old one, which is kept"
            ));
        }
        settled.await.map_err(AttachError::from)?;
        new.take_keys_of(&self.old)?;
        new.shutdown()?;
        drop(new);
        drop(self.old);
        let old_index = Index::replace(state, &workshop)?;
        remove_workshop(&workshop).map_err(swap)?;
        Ok(RecoverReport { attach, old_index })
    }
}

fn remove_workshop(workshop: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(workshop) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy_journal(state: &Path, workshop: &Path) -> std::io::Result<()> {
    let target = workshop.join("journal");
    disk::make_private_directory(&target)?;
    for file in fs::read_dir(state.join("journal"))? {
        let file = file?;
        let mut from = disk::open_regular(&file.path())?;
        let mut to = disk::create_regular(&target.join(file.file_name()))?;
        io::copy(&mut from, &mut to)?;
    }
    Ok(())
}
