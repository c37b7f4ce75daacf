//! Changes of rows that a commit makes.

use std::collections::BTreeMap;

use super::draft::RowDraft;
use super::error::IndexError;
use super::key;
use super::record::{ChildV1, DirtyV1, DyingV1, InodeV1, ReferenceV1, TombstoneV1};
use crate::model::stored::{PackRefV1, StoredForm as _};
use crate::model::{
    Change, Entry, EntryId, FileContent, LogRecord, PackId, PackRef, Seq, Timestamp,
};

/// Origin of a change: made now, or accepted before and rolled forward from the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    New,
    Journal,
}

/// Packs by id.
type Packs = BTreeMap<PackId, PackRef>;

/// Drafts all rows that `changes` touch. The changes are made together as `seq`.
pub(super) fn draft_changes(
    draft: &mut RowDraft<'_>,
    changes: &[Change],
    seq: Seq,
    now: Timestamp,
    origin: Origin,
) -> Result<(), IndexError> {
    let mut before: BTreeMap<EntryId, Packs> = BTreeMap::new();
    // Old names are removed before the first new one is taken, since two files may swap names in one
    // commit.
    for change in changes {
        let id = change.entry_id();
        if let Some((seq, entry)) = draft.entry(id)? {
            before.entry(id).or_insert_with(|| packs_of(&entry));
            draft.unlink(&entry)?;
            keep_published(draft, seq, entry)?;
        }
    }
    let replacing: Vec<EntryId> = changes
        .iter()
        .filter(|change| matches!(change, Change::Put(_)))
        .map(Change::entry_id)
        .collect();
    for change in changes {
        match change {
            Change::Put(entry) => put(draft, entry, seq, now)?,
            Change::Remove { id, released } => {
                let packs = before.get(id).cloned().unwrap_or_default();
                remove(draft, *id, released, packs, &replacing, seq, now)?;
            }
        }
    }
    let mut touched: Vec<EntryId> = changes.iter().map(Change::entry_id).collect();
    touched.sort();
    touched.dedup();
    move_references(draft, &touched, &before, seq, now, origin)
}

pub(super) fn packs_of(entry: &Entry) -> Packs {
    match &entry.kind {
        crate::model::EntryKind::Directory => Packs::new(),
        crate::model::EntryKind::File(content) => content
            .packs()
            .into_iter()
            .map(|pack| (pack.id, pack))
            .collect(),
    }
}

/// Keeps the published state that is about to be overwritten, until the new one is acknowledged. Snapshots
/// hold published states only.
fn keep_published(draft: &mut RowDraft<'_>, seq: Seq, entry: Entry) -> Result<(), IndexError> {
    if draft.get::<DirtyV1>(&key::dirty(entry.id))?.is_some() {
        return Ok(());
    }
    let published = key::published(entry.id);
    let change = Change::Put(Box::new(entry));
    draft.put(published, &LogRecord { seq, change })
}

fn put(
    draft: &mut RowDraft<'_>,
    entry: &Entry,
    seq: Seq,
    now: Timestamp,
) -> Result<(), IndexError> {
    // The same entry may occur twice in one commit.
    if let Some((_, before)) = draft.entry(entry.id)? {
        draft.unlink(&before)?;
    }
    if entry.id == EntryId::ROOT {
        if entry.parent != EntryId::ROOT {
            return Err(IndexError::Root);
        }
    } else if let Some(other) = draft.get::<ChildV1>(&key::name(entry.parent, &entry.name))?
        && other.id != entry.id
    {
        return Err(IndexError::NameTaken(entry.name.clone()));
    }
    if let Some(InodeV1(other)) = draft.get(&key::inode(entry.ino))?
        && other != entry.id
    {
        return Err(IndexError::InoTaken(entry.ino));
    }
    draft.put_entry(entry, seq)?;
    draft.link(entry)?;
    let dirty = DirtyV1 {
        seq,
        since: now,
        tombstone: None,
    };
    draft.put(key::dirty(entry.id), &dirty)
}

fn remove(
    draft: &mut RowDraft<'_>,
    id: EntryId,
    released: &[PackRef],
    mut packs: Packs,
    replacing: &[EntryId],
    seq: Seq,
    now: Timestamp,
) -> Result<(), IndexError> {
    if id == EntryId::ROOT {
        return Err(IndexError::Root);
    }
    if let Some((_, entry)) = draft.entry(id)? {
        packs.extend(packs_of(&entry));
        draft.unlink(&entry)?;
    }
    packs.extend(released.iter().map(|pack| (pack.id, pack.clone())));
    draft.remove(key::node(id));
    draft.remove(key::content(id));
    let dirty = DirtyV1 {
        seq,
        since: now,
        tombstone: Some(TombstoneV1 {
            released: packs.values().map(PackRefV1::of).collect(),
            after: replacing.iter().copied().filter(|&by| by != id).collect(),
        }),
    };
    draft.put(key::dirty(id), &dirty)
}

/// Moves references to packs. New ones come first, since an entry may take over a pack that another one
/// releases in the same commit.
fn move_references(
    draft: &mut RowDraft<'_>,
    touched: &[EntryId],
    before: &BTreeMap<EntryId, Packs>,
    seq: Seq,
    now: Timestamp,
    origin: Origin,
) -> Result<(), IndexError> {
    let none = Packs::new();
    let mut dropped = Vec::new();
    for &id in touched {
        let old = before.get(&id).unwrap_or(&none);
        let new = match draft.get::<FileContent>(&key::content(id))? {
            Some(content) => content
                .packs()
                .into_iter()
                .map(|pack| (pack.id, pack))
                .collect(),
            None => Packs::new(),
        };
        for pack in new.keys() {
            if old.contains_key(pack) {
                continue;
            }
            if draft.get::<DyingV1>(&key::dying(*pack))?.is_some() {
                match origin {
                    Origin::New => return Err(IndexError::DyingPack(*pack)),
                    Origin::Journal => draft.remove(key::dying(*pack)),
                }
            }
            draft.put(key::reference(*pack, id), &ReferenceV1)?;
        }
        let gone = old.values().filter(|pack| !new.contains_key(&pack.id));
        dropped.extend(gone.map(|pack| (id, pack.clone())));
    }
    for (owner, pack) in dropped {
        draft.remove(key::reference(pack.id, owner));
        if !draft.any(&key::references(pack.id))? {
            let dying = DyingV1 {
                since: now,
                owner,
                seq,
                pack: PackRefV1::of(&pack),
            };
            draft.put(key::dying(pack.id), &dying)?;
        }
    }
    Ok(())
}
