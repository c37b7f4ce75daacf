//! Walks over every entry of the library.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::index::Index;
use crate::model::{
    Entry, EntryId, EntryKind, ErrorKind, FsError, FsResult, PackAddress, TelegramAddress,
    ViewsState,
};

/// Number of entries read from the index at a time.
const PAGE: usize = 256;

/// Number of packs that the tree refers to, and their size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackTotals {
    pub packs: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Part that counts and finds entries by reading all of them.
#[derive(Debug)]
pub struct Inventory {
    index: Arc<Index>,
}

impl Inventory {
    /// Creates the inventory of one index.
    pub fn new(index: Arc<Index>) -> Self {
        Self { index }
    }

    /// Passes every entry to `visit`, in steps short enough to block nobody for long.
    fn visit_all(&self, mut visit: impl FnMut(&Entry)) -> FsResult<()> {
        let mut after = None;
        loop {
            let page = self
                .index
                .entries(after, PAGE)
                .map_err(|error| FsError::caused_by(ErrorKind::Io, error))?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.id);
            page.iter().for_each(&mut visit);
        }
    }

    /// Returns the numbers of files and directories, without the root.
    ///
    /// # Errors
    /// `Io`.
    pub fn count(&self) -> FsResult<(u64, u64)> {
        let (mut files, mut directories) = (0, 0);
        self.visit_all(|entry| match entry.kind {
            EntryKind::File(_) => files += 1,
            EntryKind::Directory => directories += 1,
        })?;
        Ok((files, directories.max(1) - 1))
    }

    /// Returns the totals of the packs that the tree refers to in the remote.
    ///
    /// # Errors
    /// `Io`.
    pub fn pack_totals(&self) -> FsResult<PackTotals> {
        let mut seen = HashMap::new();
        self.visit_all(|entry| {
            if let EntryKind::File(content) = &entry.kind {
                seen.extend(content.packs().into_iter().map(|pack| (pack.id, pack.len)));
            }
        })?;
        Ok(PackTotals {
            packs: seen.len() as u64,
            bytes: seen.values().sum(),
        })
    }

    /// Returns the addresses of other people's documents that are already files.
    ///
    /// # Errors
    /// `Io`.
    pub fn adopted(&self) -> FsResult<HashSet<TelegramAddress>> {
        let mut adopted = HashSet::new();
        self.visit_all(|entry| {
            let EntryKind::File(content) = &entry.kind else {
                return;
            };
            for pack in content.packs() {
                if let PackAddress::Adopted(address) = pack.address {
                    adopted.insert(address.document);
                }
            }
        })?;
        Ok(adopted)
    }

    /// Returns the files whose views are not made yet.
    ///
    /// # Errors
    /// `Io`.
    pub fn pending_views(&self) -> FsResult<Vec<EntryId>> {
        let mut pending = Vec::new();
        self.visit_all(|entry| {
            if matches!(&entry.kind, EntryKind::File(c) if matches!(c.views, ViewsState::Pending)) {
                pending.push(entry.id);
            }
        })?;
        Ok(pending)
    }
}
