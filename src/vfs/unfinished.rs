//! Files that are not taken in yet, because a downloader or a copy is still to end: by their names, or by a
//! file that lies beside them.

use std::sync::Arc;

use crate::ingest::Ingest;
use crate::ingest::policy::{NamePolicy, markers_of, name_policy};
use crate::model::{Entry, FileContent, FileState, FsResult};
use crate::tree::Tree;

/// Part that knows which files wait for the end of a download.
#[derive(Debug)]
pub struct UnfinishedFiles {
    tree: Arc<Tree>,
    ingest: Ingest,
}

impl UnfinishedFiles {
    pub const fn new(tree: Arc<Tree>, ingest: Ingest) -> Self {
        Self { tree, ingest }
    }

    /// Returns how a file is treated by its name and by the names beside it.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn policy(&self, entry: &Entry) -> FsResult<NamePolicy> {
        match name_policy(&entry.name) {
            NamePolicy::Ingest => {
                for marker in markers_of(&entry.name) {
                    if self.tree.child(entry.parent, &marker)?.is_some() {
                        return Ok(NamePolicy::Marked);
                    }
                }
                Ok(NamePolicy::Ingest)
            }
            policy => Ok(policy),
        }
    }

    /// Returns how a file is treated that is in the spool only; those that are stored or were asked for by
    /// `tgfs retry` wait for nothing.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn waits(&self, entry: &Entry, content: &FileContent) -> FsResult<NamePolicy> {
        let is_over =
            content.state != FileState::Spooled || self.ingest.progress(entry.id).is_some();
        match name_policy(&entry.name) {
            NamePolicy::Local => Ok(NamePolicy::Local),
            _ if is_over => Ok(NamePolicy::Ingest),
            _ => self.policy(entry),
        }
    }

    /// Returns a sentence for people: what the file waits for. `None` for one that does not wait.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn reason(&self, entry: &Entry, content: &FileContent) -> FsResult<Option<String>> {
        Ok(match self.waits(entry, content)? {
            NamePolicy::Ingest | NamePolicy::Local => None,
            NamePolicy::Temporary => Some(
                "its name is that of an unfinished copy; it waits for a rename, or for `tgfs retry`"
                    .to_owned(),
            ),
            NamePolicy::Marked => Some(
                "a file of a downloader beside it says that it is unfinished; it waits until that is gone, or for `tgfs retry`"
                    .to_owned(),
            ),
        })
    }
}
