//! `tgfs recover`: a new index from the remote's log and the journal, beside the old one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fill::{AttachError, AttachReport, Patience, attach};
use crate::disk;
use crate::index::{Index, IndexError, Owner};
use crate::model::{KeyStore, LibraryClaim};
use crate::remote::Remote;

/// Where the new index is built, in the state directory.
const WORKSHOP: &str = "recovering";

#[derive(Debug)]
pub struct RecoverReport {
    pub attach: AttachReport,
    /// Where the old index is kept.
    pub old_index: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error(transparent)]
    Attach(#[from] AttachError),
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

/// A recovery that holds the state: the remote is opened with the keys that the old index kept.
#[derive(Debug)]
pub struct Recovery {
    state: PathBuf,
    owner: Owner,
    old: Index,
}

impl Recovery {
    /// Opening repairs what can be, and brings the journal up to date with the old rows. Refuses
    /// while a daemon runs.
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

    /// The store that the state was used with, as it described itself; empty: none yet.
    #[must_use]
    pub fn store_description(&self) -> String {
        self.old.store_description()
    }

    /// What the remote kept.
    #[must_use]
    pub fn key_store(&self) -> Arc<dyn KeyStore> {
        self.old.key_store()
    }

    /// Builds a new index from what the remote's log says and from what the journal says on top of
    /// it, and swaps it for the old one, which is kept. Never touches the spool. An error leaves
    /// the old index in place.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub async fn run(
        self,
        remote: &Arc<dyn Remote>,
        claim: LibraryClaim,
        patience: Patience,
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
        let attach = attach(&new, remote, claim, patience).await?;
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
        fs::copy(file.path(), target.join(file.file_name()))?;
    }
    Ok(())
}
