//! Places of filled entries in the tree. Entries without a place move to `/lost+found`.

use super::draft::RowDraft;
use super::error::IndexError;
use super::key;
use super::places::Directories;
use super::record::{ChildKindV1, ChildV1, DirtyV1, InodeV1, MetaV1};
use super::root::interim_root;
use super::store::{KeySpace, RowStore};
use crate::model::{Entry, EntryId, Ino, Name, Timestamp};

/// Most entries that one batch changes.
pub(super) const BATCH: usize = 4096;

/// Result of filling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FillReport {
    pub entries: u64,
    /// Entries moved to `/lost+found`, since their directory is unknown or their name was taken.
    pub lost_and_found: Vec<Name>,
}

/// Moves entries without a place into `/lost+found`, as changes of their own. Entries below a moved
/// directory stay in it.
pub(super) fn adopt(
    store: &RowStore,
    meta: &mut MetaV1,
    directories: &Directories,
    lost: &[EntryId],
    report: &mut FillReport,
) -> Result<(), IndexError> {
    let mut misplaced = Vec::new();
    for ids in lost.chunks(BATCH) {
        place(store, meta, ids, |draft, entry| {
            // Two machines may have used one inode number. Another number is enough then.
            if directories.has(entry.parent)
                && !directories.is_cut(entry.id)
                && !name_is_taken(draft, entry)?
            {
                return Ok(Placing::Now);
            }
            misplaced.push(entry.id);
            Ok(Placing::Later)
        })?;
    }
    if misplaced.is_empty() {
        return Ok(());
    }
    let directory = lost_and_found(store, meta)?;
    for ids in misplaced.chunks(BATCH) {
        place(store, meta, ids, |draft, entry| {
            report.lost_and_found.push(entry.name.clone());
            move_to(draft, entry, directory)?;
            Ok(Placing::Now)
        })?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placing {
    Now,
    Later,
}

/// Lets `decide` change the place of each entry, and stores those that have one now.
fn place(
    store: &RowStore,
    meta: &mut MetaV1,
    ids: &[EntryId],
    mut decide: impl FnMut(&mut RowDraft<'_>, &mut Entry) -> Result<Placing, IndexError>,
) -> Result<(), IndexError> {
    let mut draft = RowDraft::remembering(store);
    meta.last_seq = meta.next_seq()?;
    for &id in ids {
        let Some((_, mut entry)) = draft.entry(id)? else {
            continue;
        };
        if decide(&mut draft, &mut entry)? == Placing::Later {
            continue;
        }
        if ino_owner(&draft, entry.ino)? != Some(id) {
            entry.ino = meta.take_ino();
        }
        draft.put_entry(&entry, meta.last_seq)?;
        draft.link(&entry)?;
        let dirty = DirtyV1 {
            seq: meta.last_seq,
            since: Timestamp::now(),
            tombstone: None,
        };
        draft.put(key::dirty(id), &dirty)?;
    }
    let (writes, next) = draft.finish(meta.clone())?;
    store.apply(KeySpace::Records, &writes)?;
    *meta = next;
    Ok(())
}

fn move_to(draft: &RowDraft<'_>, entry: &mut Entry, directory: EntryId) -> Result<(), IndexError> {
    entry.parent = directory;
    if name_is_taken(draft, entry)? {
        entry.name = unique_name(entry);
    }
    Ok(())
}

fn name_is_taken(draft: &RowDraft<'_>, entry: &Entry) -> Result<bool, IndexError> {
    let row = draft.get::<ChildV1>(&key::name(entry.parent, &entry.name))?;
    Ok(row.is_some_and(|row| row.id != entry.id))
}

fn ino_owner(draft: &RowDraft<'_>, ino: Ino) -> Result<Option<EntryId>, IndexError> {
    let row = draft.get::<InodeV1>(&key::inode(ino))?;
    Ok(row.map(|row| row.0))
}

fn unique_name(entry: &Entry) -> Name {
    let mut bytes = entry.id.to_string().into_bytes();
    bytes.push(b'-');
    bytes.extend_from_slice(entry.name.as_bytes());
    bytes.truncate(crate::model::MAX_NAME_BYTES);
    Name::new(bytes).unwrap_or_else(|_| entry.name.clone())
}

fn lost_and_found(store: &RowStore, meta: &mut MetaV1) -> Result<EntryId, IndexError> {
    let mut draft = RowDraft::new(store);
    let mut name =
        Name::new("lost+found").map_err(|error| IndexError::Damaged(error.to_string()))?;
    if let Some(child) = draft.get::<ChildV1>(&key::name(EntryId::ROOT, &name))? {
        if child.kind == ChildKindV1::Directory {
            return Ok(child.id);
        }
        name = Name::new(format!("lost+found-{}", EntryId::random()))
            .map_err(|error| IndexError::Damaged(error.to_string()))?;
    }
    let mut entry = interim_root();
    entry.id = EntryId::random();
    entry.name = name;
    entry.ino = meta.take_ino();
    entry.attributes.mode = 0o755;
    meta.last_seq = meta.next_seq()?;
    draft.put_entry(&entry, meta.last_seq)?;
    draft.link(&entry)?;
    let dirty = DirtyV1 {
        seq: meta.last_seq,
        since: Timestamp::now(),
        tombstone: None,
    };
    draft.put(key::dirty(entry.id), &dirty)?;
    let (writes, next) = draft.finish(meta.clone())?;
    store.apply(KeySpace::Records, &writes)?;
    *meta = next;
    Ok(entry.id)
}
