//! Replay of records from the journal and the remote's log. They come in any order and more than once; the
//! highest sequence number of an entry wins. Rows that lead to entries are made at the end, since names
//! may collide before that.

use super::draft::RowDraft;
use super::error::IndexError;
use super::key;
use super::lost_and_found::BATCH;
use super::rebuild::{Orphans, rebuild};
use super::record::{DirtyV1, DyingV1, JournalRecord, MetaV1, NodeV1, TombstoneV1};
use super::root::interim_root;
use super::store::{KeySpace, RowStore};
use crate::model::stored::{PackRefV1, StoredForm};
use crate::model::{Change, Entry, EntryId, EntryKind, LogRecord, PackRef, Seq, Timestamp};

/// Fills a new store from the journal alone.
pub(super) fn from_journal(
    store: &RowStore,
    mut meta: MetaV1,
    records: &[JournalRecord],
) -> Result<MetaV1, IndexError> {
    let mut draft = RowDraft::new(store);
    draft.put_entry(&interim_root(), Seq(0))?;
    for record in records {
        meta.last_seq = meta.last_seq.max(record.seq);
        meta.next_ino = meta.next_ino.max(record.next_ino);
        let after: Vec<EntryId> = record
            .changes
            .iter()
            .filter(|change| matches!(change, Change::Put(_)))
            .map(Change::entry_id)
            .collect();
        for change in record.changes.iter() {
            let record = LogRecord {
                seq: record.seq,
                change: change.clone(),
            };
            replay_one(&mut draft, &record, RecordSource::Journal { after: &after })?;
        }
        if draft.len() > BATCH {
            (draft, meta) = store_batch(store, draft, meta)?;
        }
    }
    let (_, meta) = store_batch(store, draft, meta)?;
    let mut meta = meta;
    rebuild(store, &mut meta, Orphans::Wait)?;
    Ok(meta)
}

fn store_batch<'a>(
    store: &'a RowStore,
    draft: RowDraft<'a>,
    meta: MetaV1,
) -> Result<(RowDraft<'a>, MetaV1), IndexError> {
    let (writes, meta) = draft.finish(meta)?;
    store.apply(KeySpace::Records, &writes)?;
    Ok((RowDraft::new(store), meta))
}

#[derive(Debug, Clone, Copy)]
pub(super) enum RecordSource<'a> {
    /// The journal: the log may lack the record. `after` has the entries put in the same commit.
    Journal {
        after: &'a [EntryId],
    },
    Log,
}

/// Applies a record that is newer than the row. In a tie the log wins.
pub(super) fn replay_one(
    draft: &mut RowDraft<'_>,
    record: &LogRecord,
    source: RecordSource<'_>,
) -> Result<(), IndexError> {
    let id = record.change.entry_id();
    let node = draft.get::<NodeV1>(&key::node(id))?;
    let dirty = draft.get::<DirtyV1>(&key::dirty(id))?;
    let known = node
        .as_ref()
        .map(|node| node.seq)
        .max(dirty.as_ref().map(|dirty| dirty.seq));
    let newer = match source {
        RecordSource::Journal { .. } => known.is_none_or(|known| known < record.seq),
        RecordSource::Log => known.is_none_or(|known| known <= record.seq),
    };
    if !newer {
        // The entry has changed since. Snapshots hold the log's state of it until then.
        if matches!(source, RecordSource::Log) && dirty.is_some() {
            match &record.change {
                Change::Put(_) => draft.put(key::published(id), record)?,
                Change::Remove { .. } => draft.remove(key::published(id)),
            }
        }
        return Ok(());
    }
    let before = draft.entry(id)?.map(|(_, entry)| entry);
    let mut gone: Vec<PackRef> = before.iter().flat_map(packs).collect();
    let tombstone = match &record.change {
        Change::Put(entry) => {
            draft.put_entry(entry, record.seq)?;
            let kept = packs(entry);
            gone.retain(|pack| !kept.iter().any(|kept| kept.id == pack.id));
            None
        }
        Change::Remove { released, .. } => {
            draft.remove(key::node(id));
            draft.remove(key::content(id));
            gone.extend(released.iter().cloned());
            Some(released.clone())
        }
    };
    mark_dying(draft, gone, id, record.seq)?;
    match source {
        RecordSource::Log => {
            draft.remove(key::dirty(id));
            draft.remove(key::published(id));
            Ok(())
        }
        RecordSource::Journal { after } => {
            let tombstone = tombstone.map(|released| TombstoneV1 {
                released: StoredForm::of(&released),
                after: after.iter().copied().filter(|&by| by != id).collect(),
            });
            let dirty = DirtyV1 {
                seq: record.seq,
                since: Timestamp::now(),
                tombstone,
            };
            draft.put(key::dirty(id), &dirty)
        }
    }
}

fn packs(entry: &Entry) -> Vec<PackRef> {
    match &entry.kind {
        EntryKind::Directory => Vec::new(),
        EntryKind::File(content) => content.packs(),
    }
}

/// Marks packs as dying. Rebuilding removes the mark from those that an entry still refers to.
fn mark_dying(
    draft: &mut RowDraft<'_>,
    packs: Vec<PackRef>,
    owner: EntryId,
    seq: Seq,
) -> Result<(), IndexError> {
    let since = Timestamp::now();
    for pack in packs {
        let row = DyingV1 {
            pack: PackRefV1::of(&pack),
            since,
            owner,
            seq,
        };
        draft.put(key::dying(pack.id), &row)?;
    }
    Ok(())
}
