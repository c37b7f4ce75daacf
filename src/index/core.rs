//! The open index: rows, journal and the lock over the writer. A commit is first appended to the
//! journal, then applied to the rows in one batch.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::change::{Origin, draft_changes};
use super::clean::Left;
use super::draft::RowDraft;
use super::error::IndexError;
use super::headroom::Headroom;
use super::journal::{Journal, Syncer};
use super::record::{FillV1, JournalHeaderV1, JournalRecord, MetaV1};
use super::store::{KeySpace, RowStore, Writes};
use super::{clean, dirty, open_rows};
use crate::disk::DirectoryLock;
use crate::failpoint;
use crate::model::{Change, Ino, LibraryId, Seq, StoreStatus, Timestamp};
use crate::sync::{MutexExt as _, RwLockExt as _};

/// Sizes for `tgfs db-stats`, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexSizes {
    pub index: u64,
    pub journal: u64,
}

/// Commits since the index was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// The newest change.
    pub last_seq: Seq,
    /// Bytes of their records in the journal.
    pub bytes: u64,
}

/// Growth in bytes at which a journal is rewritten if it has also doubled.
const JOURNAL_GROWTH_BYTES: u64 = 16 * 1024 * 1024;

/// The open index of one state directory, held by this process alone.
#[derive(Debug)]
pub struct Index {
    pub(super) core: Arc<IndexCore>,
    pub(super) syncer: Syncer,
}

#[derive(Debug)]
pub(super) struct IndexCore {
    /// The database's directory.
    pub(super) directory: PathBuf,
    /// The rows; `None` after a disk error. The next use opens them again and rolls them forward.
    pub(super) store: RwLock<Option<RowStore>>,
    pub(super) writer: Mutex<IndexWriter>,
    pub(super) headroom: Headroom,
    pub(super) next_ino: AtomicU64,
    /// Announces commits.
    pub(super) activity: tokio::sync::watch::Sender<Activity>,
    pub(super) store_status: tokio::sync::watch::Sender<StoreStatus>,
    /// Newest change when the index was opened.
    pub(super) opened_at: Seq,
    /// What the last run left.
    pub(super) left: Left,
    pub(super) _lock: DirectoryLock,
}

#[derive(Debug)]
pub(super) struct IndexWriter {
    pub(super) journal: Journal,
    /// The meta row as it is in the store.
    pub(super) meta: MetaV1,
}

impl Index {
    /// Returns the id of the library that this state belongs to.
    #[must_use]
    pub fn library_id(&self) -> LibraryId {
        self.core.writer().meta.identity.library
    }

    /// Returns an inode number above all that were ever used, also after a recovery.
    #[must_use]
    pub fn next_ino(&self) -> Ino {
        Ino(self.core.next_ino.fetch_add(1, Ordering::Relaxed))
    }

    /// Appends to the journal, then changes the rows in one batch, pack references included.
    /// Entries that change together may swap names. After an error nothing has changed.
    ///
    /// # Errors
    /// [`IndexError::DyingPack`] when a change refers to a pack whose last reference had gone,
    /// [`IndexError::NameTaken`], [`IndexError::Filling`], or a disk error.
    pub fn commit(&self, changes: &[Change]) -> Result<Seq, IndexError> {
        let mut writer = self.core.writer();
        if writer.meta.fill == FillV1::Needed {
            return Err(IndexError::Filling);
        }
        let seq = self.core.commit(&mut writer, changes)?;
        if writer.journal.len() > writer.journal.begun_len() * 2 + JOURNAL_GROWTH_BYTES {
            // The change is safe already. A journal that cannot be rewritten only grows.
            if let Err(error) = self.core.compact(&mut writer) {
                tracing::warn!(%error, "the journal cannot be rewritten");
            }
        }
        Ok(seq)
    }

    /// Returns the state in which the last run left the database.
    #[must_use]
    pub fn left(&self) -> Left {
        self.core.left
    }

    /// Returns a counter that changes with each commit.
    #[must_use]
    pub fn activity(&self) -> tokio::sync::watch::Receiver<Activity> {
        self.core.activity.subscribe()
    }

    /// Returns when everything that was committed before the call is on the disk (group commit).
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> Result<(), IndexError> {
        self.syncer.sync()
    }

    /// Makes the rows durable, shortens the journal, closes the database and writes the mark of a clean
    /// stop. A later use opens the database again, which invalidates the mark.
    ///
    /// # Errors
    /// When the disk fails. Nothing is lost, but the next start takes longer.
    pub fn shutdown(&self) -> Result<(), IndexError> {
        self.sync()?;
        let mut writer = self.core.writer();
        self.core.compact(&mut writer)?;
        if let Some(store) = self.core.store_mut().take() {
            store.close()?;
        }
        let directory = &self.core.directory;
        let marked = match directory.parent() {
            Some(state) => clean::leave(state, directory),
            None => Ok(()),
        };
        marked.map_err(|error| IndexError::io("mark", directory, error))
    }

    /// Returns the sizes of database and journal.
    ///
    /// # Errors
    /// When the database fails.
    pub fn sizes(&self) -> Result<IndexSizes, IndexError> {
        let index = self.core.read(RowStore::size)?;
        let journal = self.core.writer().journal.len();
        Ok(IndexSizes { index, journal })
    }
}

impl IndexCore {
    pub(super) fn writer(&self) -> MutexGuard<'_, IndexWriter> {
        self.writer.acquire()
    }
    pub(super) fn store(&self) -> RwLockReadGuard<'_, Option<RowStore>> {
        self.store.acquire_read()
    }
    pub(super) fn store_mut(&self) -> RwLockWriteGuard<'_, Option<RowStore>> {
        self.store.acquire_write()
    }

    /// Runs `query` while no batch is applied, so that its reads see the rows of one moment. After a
    /// disk error (the database's own flush can meet a full disk) it opens the store again and asks
    /// once more.
    pub(super) fn read<T, E: Into<IndexError>>(
        &self,
        query: impl Fn(&RowStore) -> Result<T, E>,
    ) -> Result<T, IndexError> {
        let outcome = self.read_once(&query);
        match outcome {
            Err(error) if error.is_of_the_disk() => {
                *self.store_mut() = None;
                self.read_once(&query)
            }
            outcome => outcome,
        }
    }

    fn read_once<T, E: Into<IndexError>>(
        &self,
        query: impl Fn(&RowStore) -> Result<T, E>,
    ) -> Result<T, IndexError> {
        if self.store().is_none() {
            self.reopen(&mut self.writer())?;
        }
        match self.store().as_ref() {
            Some(store) => query(store).map_err(Into::into),
            None => Err(closed()),
        }
    }

    pub(super) fn commit(
        &self,
        writer: &mut IndexWriter,
        changes: &[Change],
    ) -> Result<Seq, IndexError> {
        self.headroom.keep()?;
        self.reopen(writer)?;
        let seq = writer.meta.next_seq()?;
        let (writes, meta, record) = {
            let guard = self.store();
            let store = guard.as_ref().ok_or_else(closed)?;
            let mut draft = RowDraft::new(store);
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
            // The caller learns that it failed, so reading the journal again must not bring it back.
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

    pub(super) fn meta_after(&self, meta: &MetaV1, seq: Seq, changes: &[Change]) -> MetaV1 {
        let highest = changes.iter().map(|change| match change {
            Change::Put(entry) => entry.ino.0.saturating_add(1),
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

    /// Applies one batch. After a failure the store is closed, and the next use opens it again.
    pub(super) fn apply(
        &self,
        writer: &mut IndexWriter,
        writes: &Writes,
        meta: MetaV1,
    ) -> Result<(), IndexError> {
        let mut guard = self.store_mut();
        let store = guard.as_ref().ok_or_else(closed)?;
        match store.apply(KeySpace::Records, writes) {
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
    pub(super) fn reopen(&self, writer: &mut IndexWriter) -> Result<(), IndexError> {
        if self.store().is_some() {
            return Ok(());
        }
        let mut guard = self.store_mut();
        if guard.is_some() {
            return Ok(());
        }
        let (store, meta) = match open_rows::reopen(&self.directory) {
            Err(IndexError::NoSpace { .. }) if self.headroom.give() => {
                tracing::warn!(
                    "the disk of the state directory is full: files can be read, but nothing can be changed"
                );
                open_rows::reopen(&self.directory)?
            }
            opened => opened?,
        };
        writer.meta = meta;
        *guard = Some(store);
        Ok(())
    }

    /// Flushes the rows, then begins a new journal file with only those changes that no acknowledged
    /// manifest holds.
    pub(super) fn compact(&self, writer: &mut IndexWriter) -> Result<(), IndexError> {
        self.reopen(writer)?;
        let guard = self.store();
        let store = guard.as_ref().ok_or_else(closed)?;
        store.flush()?;
        let header = JournalHeaderV1 {
            number: writer.journal.number() + 1,
            base: writer.meta.last_seq,
            identity: writer.meta.identity.clone(),
        };
        let mut restated = dirty::restate(store, &writer.meta)?;
        writer.journal.rotate(&header, &mut restated)?;
        failpoint::pass(failpoint::Step::JournalTrimmed);
        Ok(())
    }

    /// Changes rows without a change of the tree; the journal does not record it.
    pub(super) fn housekeep(
        &self,
        change: impl FnOnce(&mut RowDraft<'_>, &mut MetaV1) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let mut writer = self.writer();
        self.housekeep_with(&mut writer, change)
    }

    pub(super) fn housekeep_with(
        &self,
        writer: &mut IndexWriter,
        change: impl FnOnce(&mut RowDraft<'_>, &mut MetaV1) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        self.headroom.keep()?;
        self.reopen(writer)?;
        let (writes, meta) = {
            let guard = self.store();
            let store = guard.as_ref().ok_or_else(closed)?;
            let mut draft = RowDraft::remembering(store);
            let mut meta = writer.meta.clone();
            change(&mut draft, &mut meta)?;
            draft.finish(meta)?
        };
        self.apply(writer, &writes, meta)
    }
}

pub(super) fn closed() -> IndexError {
    IndexError::Damaged("it was closed after an error".into())
}
