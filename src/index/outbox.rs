//! The outbox: changes that the remote's log does not hold yet, and the effect of acknowledgements.

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
    /// Records ascending by sequence number, one for each entry.
    pub records: Vec<LogRecord>,
    /// True if more records are ready than were requested.
    pub more: bool,
    /// Time of the oldest record.
    pub oldest: Option<Timestamp>,
    /// Number of entries that wait until their bytes are durable.
    pub held_back: usize,
}

/// An entry whose newest state is in the remote's log now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    pub id: EntryId,
    /// Version of the file's content; `None` for directories and removed entries.
    pub version: Option<u64>,
}

/// A pack without references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DyingPack {
    pub pack: PackRef,
    pub since: Timestamp,
    /// True if the remote's log holds the changes that released it.
    pub released: bool,
}

/// Table of [`Index::note_writer`]: 32 bytes for each start that published something.
const OWN_WRITERS: &str = "own-writers";

/// Returns the packs that the log's states of changed entries name. A recovery needs them until the
/// changes are published, even if another entry had the last reference.
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

/// Returns whether the remote holds every byte of the entry, so that a manifest may name it.
fn is_durable(entry: &Entry) -> bool {
    match &entry.kind {
        EntryKind::Directory => true,
        EntryKind::File(content) => content.is_durable(),
    }
}

/// Returns the entry as a manifest states it. A file whose bytes are all in packs is stored. Views whose
/// derived blob is not uploaded yet are left out, and follow in a record of their own.
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

/// Ties of tombstones to the entries that replaced theirs.
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
                // The replacement was replaced or removed itself, so its own replacements decide.
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
    /// Returns changes that no acknowledged manifest holds and that may go into one: directories,
    /// tombstones, and files whose bytes are all in packs. Stops after about `max_bytes`.
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
                // A tombstone and its replacement share a sequence number, and must go together.
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

    /// Returns the newest manifest that is known to be acknowledged.
    #[must_use]
    pub fn log_head(&self) -> LogHeadV1 {
        self.core.writer().meta.log
    }

    /// Returns the number of the newest change.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.core.writer().meta.last_seq
    }

    /// Returns a lower bound of unused inode numbers.
    #[must_use]
    pub fn ino_bound(&self) -> Ino {
        self.core.writer().meta.next_ino
    }

    /// Notes that a manifest with these records is acknowledged. Returns the entries that have not changed
    /// since. Files among them that the manifest states as stored become stored here.
    ///
    /// # Errors
    /// When the database fails. The manifest is sent again, which is harmless.
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

    /// Visits the published state of each entry, which snapshots hold.
    ///
    /// # Errors
    /// When the database fails, or when `visit` does.
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

    /// Returns published states of some entries after a key, and the key to continue from.
    fn published_step(
        &self,
        after: Option<&[u8]>,
    ) -> Result<(Vec<LogRecord>, Option<Vec<u8>>), IndexError> {
        /// Entries that are read while writers wait.
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

    /// Visits entries that were removed here and that the log still has.
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

    /// Returns at most `limit` packs without references.
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

    /// Returns entries whose newest state no acknowledged manifest holds, removed ones included.
    ///
    /// # Errors
    /// When the database fails.
    pub fn unpublished(&self) -> Result<Vec<EntryId>, IndexError> {
        self.core
            .read(|store| dirty_rows(store).map(|rows| rows.into_keys().collect()))
    }

    /// Forgets a dying pack after its deletion in the remote, and returns whether it was known.
    ///
    /// # Errors
    /// When the database fails. The pack is deleted again, which succeeds.
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

    /// Notes durably that manifests of this writer are our own. A manifest whose acknowledgement was lost
    /// is then not taken for another daemon's.
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

    /// Returns whether manifests of this writer are our own.
    ///
    /// # Errors
    /// When the database fails.
    pub fn is_own_writer(&self, writer: WriterId) -> Result<bool, IndexError> {
        Ok(self.rows(OWN_WRITERS)?.get(writer.as_bytes())?.is_some())
    }

    /// Rewrites the journal so that it holds only what no acknowledged manifest does.
    ///
    /// # Errors
    /// When the disk fails. The journal stays as it was.
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

/// Estimates the bytes of a record in a manifest before compression.
fn approximate_bytes(change: &Change) -> usize {
    /// Bytes of the fixed fields, and of a slice with its pack.
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
        // The entry has changed since. Snapshots hold the published state now.
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
        // The record may lack views that were not uploaded yet. The row therefore stays, except that its
        // bytes are stored now.
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
