//! What the remote's log does not hold yet, and what its acknowledgements change.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::change::packs_of;
use super::core::Index;
use super::dirty::dirty_rows;
use super::draft::RowDraft;
use super::error::IndexError;
use super::key;
use super::record::{DirtyV1, DyingV1, LogHeadV1};
use super::scan::visit_rows;
use super::store::{KeySpace, RowStore};
use crate::model::stored::StoredForm as _;
use crate::model::{
    Change, Entry, EntryId, EntryKind, FileContent, FileState, Ino, LogRecord, PackId, PackRef,
    Seq, Timestamp, ViewsState, WriterId,
};

/// Records that may go into the next manifest.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Ascending by sequence number; one an entry.
    pub records: Vec<LogRecord>,
    /// Whether more are ready than were asked for.
    pub more: bool,
    /// When the oldest of the records was made.
    pub oldest: Option<Timestamp>,
    /// Entries that wait for their bytes to become durable.
    pub held_back: usize,
}

/// An entry whose newest state now stands in the remote's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    pub id: EntryId,
    /// Of the file's content; `None` for directories and removed entries.
    pub version: Option<u64>,
}

/// A pack that nothing refers to any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DyingPack {
    pub pack: PackRef,
    pub since: Timestamp,
    /// Whether the changes that let go of it stand in the remote's log.
    pub released: bool,
}

/// Rows of [`Index::note_writer`]; 32 bytes for each start that published something.
const OWN_WRITERS: &str = "own-writers";

/// Packs that the log's state of a changed entry names. The last reference here may have been
/// another entry's: until the change is published, recovery would still need them.
fn published_packs(store: &RowStore) -> Result<BTreeSet<PackId>, IndexError> {
    let mut packs = BTreeSet::new();
    let prefix = [key::PUBLISHED];
    visit_rows::<LogRecord>(store, &prefix, &prefix, &mut |_, record| {
        if let Change::Put(entry) = &record.change {
            packs.extend(packs_of(entry).into_keys());
        }
        ControlFlow::Continue(())
    })?;
    Ok(packs)
}

/// Whether every byte of it stands in the remote, so that a manifest may name it.
fn is_durable(entry: &Entry) -> bool {
    match &entry.kind {
        EntryKind::Directory => true,
        EntryKind::File(content) => content.is_durable(),
    }
}

/// The entry as a manifest states it: a file whose bytes are all in packs is stored, and views
/// whose derived blob is still on its way are not named yet; they follow in a record of their own.
fn as_published(mut entry: Entry) -> Entry {
    if let EntryKind::File(content) = &mut entry.kind {
        if content.state == FileState::Spooled {
            content.state = FileState::Stored;
        }
        if !content.views.is_durable() {
            content.views = ViewsState::Pending;
        }
    }
    entry
}

/// Decides which tombstones must wait for what replaced their entries.
struct Ties<'a> {
    draft: &'a RowDraft<'a>,
    rows: &'a BTreeMap<EntryId, DirtyV1>,
}

impl Ties<'_> {
    fn may_go(&self, id: EntryId) -> Result<bool, IndexError> {
        let mut open = vec![id];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let Some(row) = self.rows.get(&id) else {
                continue;
            };
            match &row.tombstone {
                // Replaced again, or removed: its own successor decides.
                Some(tombstone) => open.extend(&tombstone.after),
                None => {
                    if let Some((_, entry)) = self.draft.entry(id)?
                        && !is_durable(&entry)
                    {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}

impl Index {
    /// Changes that no acknowledged manifest holds and that may go into one: directories,
    /// tombstones, and files whose every byte stands in packs. Stops after about `max_bytes`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn outbox(&self, max_bytes: usize) -> Result<Outbox, IndexError> {
        self.core.read(|store| {
            let rows = dirty_rows(store)?;
            let mut order: Vec<(Seq, EntryId)> =
                rows.iter().map(|(id, row)| (row.seq, *id)).collect();
            order.sort();
            let draft = RowDraft::new(store);
            let ties = Ties {
                draft: &draft,
                rows: &rows,
            };
            let mut outbox = Outbox::default();
            let mut bytes = 0;
            for (seq, id) in order {
                let Some(row) = rows.get(&id) else { continue };
                let Some(change) = publishable(&draft, &ties, id, row)? else {
                    outbox.held_back += 1;
                    continue;
                };
                // What replaces an entry goes with its tombstone: they share a sequence number.
                let together = outbox.records.last().is_some_and(|last| last.seq == seq);
                if bytes >= max_bytes && !together {
                    outbox.more = true;
                    break;
                }
                bytes += approximate_bytes(&change);
                outbox.oldest = Some(
                    outbox
                        .oldest
                        .map_or(row.since, |oldest| oldest.min(row.since)),
                );
                outbox.records.push(LogRecord { seq, change });
            }
            Ok::<_, IndexError>(outbox)
        })
    }

    /// The newest manifest of the log that is known to be acknowledged.
    #[must_use]
    pub fn log_head(&self) -> LogHeadV1 {
        self.core.writer().meta.log
    }

    /// The number of the newest change.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.core.writer().meta.last_seq
    }

    /// A lower bound for inode numbers that were never given out.
    #[must_use]
    pub fn ino_bound(&self) -> Ino {
        self.core.writer().meta.next_ino
    }

    /// Notes that a manifest with these records is acknowledged. Files that it states as stored
    /// become so here, if nothing changed them since; those are returned.
    ///
    /// # Errors
    /// When the database fails; the manifest is sent again then, which changes nothing.
    pub fn acknowledge(
        &self,
        head: LogHeadV1,
        records: &[LogRecord],
    ) -> Result<Vec<Acknowledged>, IndexError> {
        let mut done = Vec::new();
        self.core.housekeep(|draft, meta| {
            for record in records {
                done.extend(acknowledge_one(draft, record)?);
            }
            meta.log = head;
            Ok(())
        })?;
        Ok(done)
    }

    /// Visits the published state of each entry: what a snapshot holds.
    ///
    /// # Errors
    /// When the database fails, or what `visit` says.
    pub fn published<E: From<IndexError>>(
        &self,
        visit: &mut dyn FnMut(LogRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let (records, last) = self.published_step(after.as_deref())?;
            for record in records {
                visit(record)?;
            }
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        self.removed_but_published(visit)
    }

    /// Published states of some entries behind a key, and the key to go on from.
    fn published_step(
        &self,
        after: Option<&[u8]>,
    ) -> Result<(Vec<LogRecord>, Option<Vec<u8>>), IndexError> {
        /// Entries read between two chances for writers.
        const STEP: usize = 256;
        let from = after.map_or_else(|| vec![key::NODES], |after| [after, &[0]].concat());
        self.core.read(|store| {
            let mut keys = Vec::new();
            store.visit(KeySpace::Records, &[key::NODES], &from, &mut |key, _| {
                keys.push(key.to_vec());
                if keys.len() < STEP {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            let draft = RowDraft::new(store);
            let mut records = Vec::new();
            for id in keys.iter().filter_map(|key| key::entry_of(key)) {
                if draft.get::<DirtyV1>(&key::dirty(id))?.is_some() {
                    records.extend(draft.get::<LogRecord>(&key::published(id))?);
                } else if let Some((seq, entry)) = draft.entry(id)? {
                    records.push(LogRecord {
                        seq,
                        change: Change::Put(Box::new(as_published(entry))),
                    });
                }
            }
            let last = (keys.len() == STEP).then(|| keys.pop()).flatten();
            Ok::<_, IndexError>((records, last))
        })
    }

    /// Entries that are removed here while the log still has them.
    fn removed_but_published<E: From<IndexError>>(
        &self,
        visit: &mut dyn FnMut(LogRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let records = self.core.read(|store| {
            let draft = RowDraft::new(store);
            let mut records = Vec::new();
            for (id, row) in dirty_rows(store)? {
                if row.tombstone.is_some() {
                    records.extend(draft.get::<LogRecord>(&key::published(id))?);
                }
            }
            Ok::<_, IndexError>(records)
        })?;
        records.into_iter().try_for_each(visit)
    }

    /// Packs that nothing refers to any more, `limit` at most.
    ///
    /// # Errors
    /// When the database fails.
    pub fn dying_packs(&self, limit: usize) -> Result<Vec<DyingPack>, IndexError> {
        self.core.read(|store| {
            let draft = RowDraft::new(store);
            let named = published_packs(store)?;
            let mut rows: Vec<DyingV1> = Vec::new();
            let prefix = [key::DYING];
            visit_rows::<DyingV1>(store, &prefix, &prefix, &mut |_, row| {
                rows.push(row);
                if rows.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            rows.into_iter()
                .map(|row| {
                    let dirty = draft.get::<DirtyV1>(&key::dirty(row.owner))?;
                    Ok(DyingPack {
                        released: dirty.is_none() && !named.contains(&row.pack.id),
                        since: row.since,
                        pack: row.pack.restore(),
                    })
                })
                .collect::<Result<_, IndexError>>()
        })
    }

    /// Entries whose newest state no acknowledged manifest holds, removed ones included.
    ///
    /// # Errors
    /// When the database fails.
    pub fn unpublished(&self) -> Result<Vec<EntryId>, IndexError> {
        self.core
            .read(|store| dirty_rows(store).map(|rows| rows.into_keys().collect()))
    }

    /// Forgets a dying pack after it was deleted in the remote; whether it was known.
    ///
    /// # Errors
    /// When the database fails; the pack is deleted again then, which is success.
    pub fn forget_pack(&self, pack: PackId) -> Result<bool, IndexError> {
        let mut was_known = false;
        self.core.housekeep(|draft, _| {
            let row = key::dying(pack);
            was_known = draft.get::<DyingV1>(&row)?.is_some();
            draft.remove(row);
            Ok(())
        })?;
        Ok(was_known)
    }

    /// Notes, durably, that manifests of this writer are our own: one whose acknowledgement was
    /// lost must not be taken for another daemon's.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn note_writer(&self, writer: WriterId) -> Result<(), IndexError> {
        if self.is_own_writer(writer)? {
            return Ok(());
        }
        self.rows(OWN_WRITERS)?.put(writer.as_bytes(), b"")?;
        self.core.read(RowStore::flush)
    }

    /// # Errors
    /// When the database fails.
    pub fn is_own_writer(&self, writer: WriterId) -> Result<bool, IndexError> {
        Ok(self.rows(OWN_WRITERS)?.get(writer.as_bytes())?.is_some())
    }

    /// Rewrites the journal so that it holds only what no acknowledged manifest does.
    ///
    /// # Errors
    /// When the disk fails; the journal stays as it was.
    pub fn compact_journal(&self) -> Result<(), IndexError> {
        let mut writer = self.core.writer();
        self.core.compact(&mut writer)
    }
}

fn publishable(
    draft: &RowDraft<'_>,
    ties: &Ties<'_>,
    id: EntryId,
    row: &DirtyV1,
) -> Result<Option<Change>, IndexError> {
    if let Some(tombstone) = &row.tombstone {
        return Ok(ties.may_go(id)?.then(|| Change::Remove {
            id,
            released: tombstone.released.clone().restore(),
        }));
    }
    let Some((_, entry)) = draft.entry(id)? else {
        return Ok(None);
    };
    Ok(is_durable(&entry).then(|| Change::Put(Box::new(as_published(entry)))))
}

/// Roughly what a record takes in a manifest before compression.
fn approximate_bytes(change: &Change) -> usize {
    /// Fixed fields, and a slice with its pack.
    const ENTRY: usize = 200;
    const SLICE: usize = 120;
    match change {
        Change::Remove { released, .. } => ENTRY + SLICE * released.len(),
        Change::Put(entry) => match &entry.kind {
            EntryKind::Directory => ENTRY,
            EntryKind::File(content) => {
                let slices: usize = content.blobs.iter().map(|blob| blob.slices.len()).sum();
                ENTRY + SLICE * (content.extents.len() + slices)
            }
        },
    }
}

fn acknowledge_one(
    draft: &mut RowDraft<'_>,
    record: &LogRecord,
) -> Result<Option<Acknowledged>, IndexError> {
    let id = record.change.entry_id();
    let Some(dirty) = draft.get::<DirtyV1>(&key::dirty(id))? else {
        return Ok(None);
    };
    if dirty.seq != record.seq {
        // Changed since: what was published is now the state that snapshots hold.
        match &record.change {
            Change::Put(_) => draft.put(key::published(id), record)?,
            Change::Remove { .. } => draft.remove(key::published(id)),
        }
        return Ok(None);
    }
    draft.remove(key::dirty(id));
    draft.remove(key::published(id));
    let mut version = None;
    if let Change::Put(stated) = &record.change
        && let EntryKind::File(stated) = &stated.kind
    {
        version = Some(stated.version);
        // What is stated differs from the row in what the manifest could not say yet (views on
        // their way), and in the one thing that it makes true: that the bytes are stored.
        if stated.state == FileState::Stored
            && let Some(mut current) = draft.get::<FileContent>(&key::content(id))?
            && current.state == FileState::Spooled
        {
            current.state = FileState::Stored;
            draft.put(key::content(id), &current)?;
        }
    }
    Ok(Some(Acknowledged { id, version }))
}
