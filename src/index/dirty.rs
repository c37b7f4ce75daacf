//! Dirty rows: entries whose newest change is in no acknowledged manifest.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::draft::RowDraft;
use super::error::IndexError;
use super::key;
use super::record::{DirtyV1, JournalRecord, MetaV1};
use super::scan::visit_rows;
use super::store::RowStore;
use crate::model::stored::StoredForm as _;
use crate::model::{Change, EntryId, Ino, Seq};

/// Returns all dirty rows, about 60 bytes each. A library at rest has few. While many files are copied
/// into it, there is one for each unpublished file.
pub(super) fn dirty_rows(store: &RowStore) -> Result<BTreeMap<EntryId, DirtyV1>, IndexError> {
    let mut rows = BTreeMap::new();
    let prefix = [key::DIRTY];
    visit_rows::<DirtyV1>(store, &prefix, &prefix, &mut |key, row| {
        if let Some(id) = key::entry_of(key) {
            rows.insert(id, row);
        }
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

/// Returns records that restate all unpublished changes, for the head of a new journal file.
pub(super) fn restate<'a>(
    store: &'a RowStore,
    meta: &MetaV1,
) -> Result<impl Iterator<Item = Result<JournalRecord<'static>, IndexError>> + use<'a>, IndexError>
{
    let rows = dirty_rows(store)?;
    let mut order: Vec<(Seq, EntryId)> = rows.iter().map(|(id, row)| (row.seq, *id)).collect();
    order.sort();
    let next_ino = meta.next_ino;
    Ok(order.into_iter().filter_map(move |(_, id)| {
        let row = rows.get(&id)?;
        Some(restate_one(store, &rows, id, row, next_ino))
    }))
}

fn restate_one(
    store: &RowStore,
    rows: &BTreeMap<EntryId, DirtyV1>,
    id: EntryId,
    row: &DirtyV1,
    next_ino: Ino,
) -> Result<JournalRecord<'static>, IndexError> {
    let draft = RowDraft::new(store);
    let mut changes = Vec::new();
    match &row.tombstone {
        Some(tombstone) => {
            changes.push(Change::Remove {
                id,
                released: tombstone.released.clone().restore(),
            });
            // The record also holds the replacement, so that the tie between them survives.
            let mut open = tombstone.after.clone();
            let mut seen = BTreeSet::new();
            while let Some(by) = open.pop() {
                if !seen.insert(by) {
                    continue;
                }
                if let Some((_, entry)) = draft.entry(by)? {
                    changes.push(Change::Put(Box::new(entry)));
                } else if let Some(next) = rows.get(&by).and_then(|row| row.tombstone.as_ref()) {
                    // The replacement was replaced itself, so its own replacements count.
                    open.extend(&next.after);
                }
            }
        }
        None => {
            let (_, entry) = draft
                .entry(id)?
                .ok_or_else(|| IndexError::Damaged(format!("entry {id} has no row")))?;
            changes.push(Change::Put(Box::new(entry)));
        }
    }
    Ok(JournalRecord {
        seq: row.seq,
        next_ino,
        changes: Cow::Owned(changes),
    })
}
