//! Durable local records: sled, and the journal beside it.
//!
//! The index is a cache of the journal and of the remote's log, and may lose its newest changes
//! or all of them; [`Index::open`] rolls it forward. A commit is first appended to the journal,
//! then applied to the rows in one batch.

mod change;
mod check;
mod clean;
mod draft;
mod error;
mod journal;
mod key;
mod keys;
mod late;
mod open;
mod outbox;
mod query;
mod record;
mod replay;
mod rows;
mod standing;
mod store;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::disk::DirectoryLock;
use crate::failpoint;
use crate::model::{
    Attributes, Change, EntryId, Ino, LibraryId, Name, Seq, StoreStatus, Timestamp,
};
use crate::sync::MutexExt as _;
use crate::sync::RwLockExt as _;
use change::{Origin, draft_changes};
use draft::Draft;
pub use error::IndexError;
use journal::{Journal, Syncer};
pub use late::{Begun, Late};
pub use open::{OpenReport, OpenState, Owner};
pub use outbox::{Acknowledged, DyingPack, Outbox};
pub use record::LogHeadV1 as LogHead;
use record::{FillV1, JournalHeaderV1, JournalRecord, MetaV1};
pub use replay::FillReport;
pub use rows::Rows;
use store::{Space, Store, Writes};

/// An entry without its content: what lookup and getattr need.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub id: EntryId,
    pub parent: EntryId,
    pub name: Name,
    pub ino: Ino,
    pub attributes: Attributes,
    pub kind: NodeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    Directory,
    File { size: u64 },
}

/// A row of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    pub name: Name,
    pub id: EntryId,
    pub ino: Ino,
    pub kind: ChildKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildKind {
    Directory,
    File,
}

/// Sizes for `tgfs db-stats`, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexSizes {
    pub index: u64,
    pub journal: u64,
}

/// How much was committed since the index was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// The newest change.
    pub last_seq: Seq,
    /// Bytes of all changes, as the journal holds them.
    pub bytes: u64,
}

/// The journal is rewritten when it has doubled since it was begun, and grown by this much.
const JOURNAL_GROWTH_BYTES: u64 = 16 * 1024 * 1024;

/// The open index of one state directory, held by this process alone.
#[derive(Debug)]
pub struct Index {
    shared: std::sync::Arc<Shared>,
    syncer: Syncer,
}

#[derive(Debug)]
struct Shared {
    /// The database's directory.
    directory: PathBuf,
    /// `None` after the disk failed it: the next use opens it again and rolls it forward.
    store: RwLock<Option<Store>>,
    writer: Mutex<Writer>,
    next_ino: AtomicU64,
    /// Tells of commits.
    activity: tokio::sync::watch::Sender<Activity>,
    standing: tokio::sync::watch::Sender<StoreStatus>,
    /// The newest change when it was opened.
    opened_at: Seq,
    _lock: DirectoryLock,
}

#[derive(Debug)]
struct Writer {
    journal: Journal,
    /// As in the store's meta row.
    meta: MetaV1,
}

impl Index {
    #[must_use]
    pub fn library_id(&self) -> LibraryId {
        self.shared.writer().meta.identity.library
    }

    /// A number above any ever seen, also after recovery.
    #[must_use]
    pub fn next_ino(&self) -> Ino {
        Ino(self.shared.next_ino.fetch_add(1, Ordering::Relaxed))
    }

    /// Appends to the journal, then changes the rows in one batch, pack references included.
    /// Several entries that change together may trade names; after an error nothing has changed.
    ///
    /// # Errors
    /// [`IndexError::DyingPack`] when a change takes a new reference to a pack whose last one had
    /// gone, [`IndexError::NameTaken`], [`IndexError::Filling`], or what the disk says.
    pub fn commit(&self, changes: &[Change]) -> Result<Seq, IndexError> {
        let mut writer = self.shared.writer();
        if writer.meta.fill == FillV1::Needed {
            return Err(IndexError::Filling);
        }
        let seq = self.shared.commit(&mut writer, changes)?;
        if writer.journal.len() > writer.journal.begun_len() * 2 + JOURNAL_GROWTH_BYTES {
            // The change is safe already; a journal that cannot be rewritten only stays long.
            if let Err(error) = self.shared.compact(&mut writer) {
                tracing::warn!(%error, "the journal cannot be rewritten");
            }
        }
        Ok(seq)
    }

    /// Changes with each commit.
    #[must_use]
    pub fn activity(&self) -> tokio::sync::watch::Receiver<Activity> {
        self.shared.activity.subscribe()
    }

    /// Returns when everything committed before the call is on the disk (group commit).
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> Result<(), IndexError> {
        self.syncer.sync()
    }

    /// Makes the rows durable and the journal short, closes the database and marks that all of it
    /// was left whole. Whoever still asks opens it again, and the mark counts no more.
    ///
    /// # Errors
    /// When the disk fails; nothing is lost then, the next start takes longer.
    pub fn shutdown(&self) -> Result<(), IndexError> {
        self.sync()?;
        let mut writer = self.shared.writer();
        self.shared.compact(&mut writer)?;
        if let Some(store) = self.shared.store_mut().take() {
            store.close()?;
        }
        let directory = &self.shared.directory;
        let marked = match directory.parent() {
            Some(state) => clean::leave(state, directory),
            None => Ok(()),
        };
        marked.map_err(|error| IndexError::io("mark", directory, error))
    }

    /// # Errors
    /// When the database fails.
    pub fn sizes(&self) -> Result<IndexSizes, IndexError> {
        let index = self.shared.read(Store::size)?;
        let journal = self.shared.writer().journal.len();
        Ok(IndexSizes { index, journal })
    }
}

impl Shared {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.acquire()
    }
    fn store(&self) -> RwLockReadGuard<'_, Option<Store>> {
        self.store.acquire_read()
    }
    fn store_mut(&self) -> RwLockWriteGuard<'_, Option<Store>> {
        self.store.acquire_write()
    }

    /// Runs `query` while no batch is applied: several reads see the rows of one moment.
    fn read<T, E: Into<IndexError>>(
        &self,
        query: impl FnOnce(&Store) -> Result<T, E>,
    ) -> Result<T, IndexError> {
        {
            let guard = self.store();
            if let Some(store) = guard.as_ref() {
                return query(store).map_err(Into::into);
            }
        }
        self.reopen(&mut self.writer())?;
        match self.store().as_ref() {
            Some(store) => query(store).map_err(Into::into),
            None => Err(IndexError::Damaged("it closed again".into())),
        }
    }

    fn commit(&self, writer: &mut Writer, changes: &[Change]) -> Result<Seq, IndexError> {
        self.reopen(writer)?;
        let seq = Seq(writer.meta.last_seq.0 + 1);
        let (writes, meta, record) = {
            let guard = self.store();
            let store = guard.as_ref().ok_or_else(closed)?;
            let mut draft = Draft::new(store);
            let now = Timestamp::now();
            draft_changes(&mut draft, changes, seq, now, Origin::New)?;
            let meta = self.meta_after(&writer.meta, seq, changes);
            let record = JournalRecord {
                seq,
                next_ino: meta.next_ino,
                changes: Cow::Borrowed(changes),
            };
            let (writes, meta) = draft.finish(meta)?;
            (writes, meta, record)
        };
        let before = writer.journal.append(&record)?;
        failpoint::pass(failpoint::Step::JournalAppended);
        if let Err(error) = self.apply(writer, &writes, meta) {
            // Told as failed, so it must not come back when the journal is read again.
            writer.journal.cut(before)?;
            return Err(error);
        }
        failpoint::pass(failpoint::Step::IndexUpdated);
        let bytes = writer.journal.len() - before;
        self.activity.send_modify(|activity| {
            activity.last_seq = seq;
            activity.bytes += bytes;
        });
        Ok(seq)
    }

    fn meta_after(&self, meta: &MetaV1, seq: Seq, changes: &[Change]) -> MetaV1 {
        let highest = changes.iter().map(|change| match change {
            Change::Put(entry) => entry.ino.0 + 1,
            Change::Remove { .. } => 0,
        });
        let next_ino = highest.chain([meta.next_ino.0]).max().unwrap_or_default();
        self.next_ino.fetch_max(next_ino, Ordering::Relaxed);
        MetaV1 {
            last_seq: seq,
            next_ino: Ino(self.next_ino.load(Ordering::Relaxed)),
            ..meta.clone()
        }
    }

    /// One batch into the store; on failure the store is closed, to be opened anew.
    fn apply(&self, writer: &mut Writer, writes: &Writes, meta: MetaV1) -> Result<(), IndexError> {
        let mut guard = self.store_mut();
        let store = guard.as_ref().ok_or_else(closed)?;
        match store.apply(Space::Records, writes) {
            Ok(()) => {
                writer.meta = meta;
                Ok(())
            }
            Err(error) => {
                *guard = None;
                Err(error.into())
            }
        }
    }

    /// Opens the store again if a failed write had closed it.
    fn reopen(&self, writer: &mut Writer) -> Result<(), IndexError> {
        if self.store().is_some() {
            return Ok(());
        }
        let mut guard = self.store_mut();
        if guard.is_some() {
            return Ok(());
        }
        let (store, meta) = open::reopen(&self.directory)?;
        writer.meta = meta;
        *guard = Some(store);
        Ok(())
    }

    /// Flushes the rows, then begins a new journal file that holds only what no acknowledged
    /// manifest does.
    fn compact(&self, writer: &mut Writer) -> Result<(), IndexError> {
        self.reopen(writer)?;
        let guard = self.store();
        let store = guard.as_ref().ok_or_else(closed)?;
        store.flush()?;
        let header = JournalHeaderV1 {
            number: writer.journal.number() + 1,
            base: writer.meta.last_seq,
            identity: writer.meta.identity.clone(),
        };
        let mut restated = outbox::restate(store, &writer.meta)?;
        writer.journal.rotate(&header, &mut restated)?;
        failpoint::pass(failpoint::Step::JournalTrimmed);
        Ok(())
    }

    /// A change of rows that is no change of the tree and so stands in no journal.
    fn housekeep(
        &self,
        change: impl FnOnce(&mut Draft<'_>, &mut MetaV1) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let mut writer = self.writer();
        self.housekeep_with(&mut writer, change)
    }

    fn housekeep_with(
        &self,
        writer: &mut Writer,
        change: impl FnOnce(&mut Draft<'_>, &mut MetaV1) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        self.reopen(writer)?;
        let (writes, meta) = {
            let guard = self.store();
            let store = guard.as_ref().ok_or_else(closed)?;
            let mut draft = Draft::new(store);
            let mut meta = writer.meta.clone();
            change(&mut draft, &mut meta)?;
            draft.finish(meta)?
        };
        self.apply(writer, &writes, meta)
    }
}

fn closed() -> IndexError {
    IndexError::Damaged("it was closed after an error".into())
}

/// Where things stand in a state directory.
fn database(state: &Path) -> PathBuf {
    state.join("index")
}
fn journal_directory(state: &Path) -> PathBuf {
    state.join("journal")
}

#[cfg(test)]
mod tests;
