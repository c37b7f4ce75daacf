//! Filling an index from the journal and the remote's log. Records come in any order and more
//! than once; the highest sequence number of an entry wins. Rows that lead from one entry to
//! another are made when all records are in, because only then do names not collide.

use std::ops::ControlFlow;

use super::draft::Draft;
use super::error::IndexError;
use super::key;
use super::open::interim_root;
use super::query::visit_rows;
use super::record::{
    ChildKindV1, ChildV1, DirtyV1, DyingV1, FillV1, InodeV1, JournalRecord, LogHeadV1, MetaV1,
    NodeKindV1, NodeV1, ReferenceV1, TombstoneV1,
};
use super::store::{Space, Store};
use super::{Index, Shared, Writer};
use crate::model::stored::{PackRefV1, StoredForm};
use crate::model::{
    Change, Entry, EntryId, EntryKind, Ino, LibraryId, LogRecord, Name, PackRef, Seq, Timestamp,
};

/// Most entries that one batch changes.
const BATCH: usize = 256;

/// What becomes of entries whose parent is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Orphans {
    /// Their parent may still come.
    Wait,
    Adopt,
}

/// What filling brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FillReport {
    pub entries: u64,
    /// Entries moved to `/lost+found`: their directory is unknown, or their name was taken.
    pub lost_and_found: Vec<Name>,
}

/// Rows from the journal alone, in a new store.
pub(super) fn from_journal(
    store: &Store,
    mut meta: MetaV1,
    records: &[JournalRecord],
) -> Result<MetaV1, IndexError> {
    let mut draft = Draft::new(store);
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
            replay_one(&mut draft, &record, Source::Journal { after: &after })?;
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
    store: &'a Store,
    draft: Draft<'a>,
    meta: MetaV1,
) -> Result<(Draft<'a>, MetaV1), IndexError> {
    let (writes, meta) = draft.finish(meta)?;
    store.apply(Space::Records, &writes)?;
    Ok((Draft::new(store), meta))
}

#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    /// Not known to stand in the log; entries put in the same commit.
    Journal {
        after: &'a [EntryId],
    },
    Log,
}

/// Takes a record over when it is newer than what is there; the log wins a tie.
fn replay_one(
    draft: &mut Draft<'_>,
    record: &LogRecord,
    source: Source<'_>,
) -> Result<(), IndexError> {
    let id = record.change.entry_id();
    let node = draft.get::<NodeV1>(&key::node(id))?;
    let dirty = draft.get::<DirtyV1>(&key::dirty(id))?;
    let known = node
        .as_ref()
        .map(|node| node.seq)
        .max(dirty.as_ref().map(|dirty| dirty.seq));
    let newer = match source {
        Source::Journal { .. } => known.is_none_or(|known| known < record.seq),
        Source::Log => known.is_none_or(|known| known <= record.seq),
    };
    if !newer {
        // The log's state of an entry that changed since: what snapshots hold meanwhile.
        if matches!(source, Source::Log) && dirty.is_some() {
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
        Source::Log => {
            draft.remove(key::dirty(id));
            draft.remove(key::published(id));
            Ok(())
        }
        Source::Journal { after } => {
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

/// Candidates only: rebuilding takes back those that something refers to after all.
fn mark_dying(
    draft: &mut Draft<'_>,
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

/// Makes all derived rows anew from the entries.
fn rebuild(store: &Store, meta: &mut MetaV1, orphans: Orphans) -> Result<FillReport, IndexError> {
    for table in [key::NAMES, key::CHILDREN, key::INODES, key::REFERENCES] {
        clear(store, meta, table)?;
    }
    let mut report = FillReport::default();
    let mut lost = Vec::new();
    let mut after = vec![key::NODES];
    loop {
        let ids = some_ids(store, &after)?;
        let Some(last) = ids.last() else { break };
        after = [key::node(*last).as_slice(), &[0]].concat();
        let mut draft = Draft::new(store);
        for id in ids {
            let Some((seq, entry)) = draft.entry(id)? else {
                continue;
            };
            meta.next_ino = meta.next_ino.max(Ino(entry.ino.0 + 1));
            meta.last_seq = meta.last_seq.max(seq);
            report.entries += 1;
            for pack in packs(&entry) {
                draft.remove(key::dying(pack.id));
                draft.put(key::reference(pack.id, id), &ReferenceV1)?;
            }
            if has_place(&draft, &entry)? {
                draft.link(&entry)?;
            } else {
                // Findable by number, unless the number is another's.
                if ino_owner(&draft, entry.ino)?.is_none() {
                    draft.put(key::inode(entry.ino), &InodeV1(id))?;
                }
                lost.push(id);
            }
        }
        let (writes, next) = draft.finish(meta.clone())?;
        store.apply(Space::Records, &writes)?;
        *meta = next;
    }
    if orphans == Orphans::Adopt && !lost.is_empty() {
        adopt(store, meta, &lost, &mut report)?;
    }
    Ok(report)
}

fn some_ids(store: &Store, from: &[u8]) -> Result<Vec<EntryId>, IndexError> {
    let mut ids = Vec::new();
    store.visit(Space::Records, &[key::NODES], from, &mut |key, _| {
        ids.extend(key::entry_of(key));
        if ids.len() < BATCH {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(ids)
}

fn clear(store: &Store, meta: &mut MetaV1, table: u8) -> Result<(), IndexError> {
    loop {
        let mut keys = Vec::new();
        store.visit(Space::Records, &[table], &[table], &mut |key, _| {
            keys.push(key.to_vec());
            if keys.len() < 4 * BATCH {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        if keys.is_empty() {
            return Ok(());
        }
        let mut draft = Draft::new(store);
        keys.into_iter().for_each(|key| draft.remove(key));
        let (writes, next) = draft.finish(meta.clone())?;
        store.apply(Space::Records, &writes)?;
        *meta = next;
    }
}

/// Whether the entry can stand where its record says: the parent is a known directory that leads
/// to the root, the name is free and so is the inode number.
fn has_place(draft: &Draft<'_>, entry: &Entry) -> Result<bool, IndexError> {
    if entry.id == EntryId::ROOT {
        return Ok(true);
    }
    let mut at = entry.parent;
    // A path has at most this many components; a ring of directories has no end.
    for _ in 0..MAX_DEPTH {
        if at == EntryId::ROOT {
            let name = key::name(entry.parent, &entry.name);
            return Ok(draft.get::<ChildV1>(&name)?.is_none()
                && draft.get::<InodeV1>(&key::inode(entry.ino))?.is_none());
        }
        match draft.get::<NodeV1>(&key::node(at))? {
            Some(node) if node.kind == NodeKindV1::Directory && at != entry.id => {
                at = node.parent;
            }
            _ => return Ok(false),
        }
    }
    Ok(false)
}

/// Deepest directory (`PATH_MAX` of Linux is 4096 bytes).
const MAX_DEPTH: usize = 2048;

/// Moves entries without a place into `/lost+found`, as changes of their own. What lies below a
/// moved directory stays where it is in it.
fn adopt(
    store: &Store,
    meta: &mut MetaV1,
    lost: &[EntryId],
    report: &mut FillReport,
) -> Result<(), IndexError> {
    // Where only the number is taken (two machines gave it out) another one is enough.
    let mut misplaced = Vec::new();
    for ids in lost.chunks(BATCH) {
        place(store, meta, ids, |draft, entry| {
            if has_place_but_ino(draft, entry)? {
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
    let mut below = Vec::new();
    for ids in misplaced.chunks(BATCH) {
        place(store, meta, ids, |draft, entry| {
            if parent_is_known(draft, entry)? && !name_is_taken(draft, entry)? {
                below.push(entry.id);
                return Ok(Placing::Later);
            }
            report.lost_and_found.push(entry.name.clone());
            move_to(draft, entry, directory)?;
            Ok(Placing::Now)
        })?;
    }
    for ids in below.chunks(BATCH) {
        place(store, meta, ids, |draft, entry| {
            // Still none: a ring of directories.
            if !has_place_but_ino(draft, entry)? {
                report.lost_and_found.push(entry.name.clone());
                move_to(draft, entry, directory)?;
            }
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

/// Lets `decide` change each entry's place, and stores those that have one now.
fn place(
    store: &Store,
    meta: &mut MetaV1,
    ids: &[EntryId],
    mut decide: impl FnMut(&mut Draft<'_>, &mut Entry) -> Result<Placing, IndexError>,
) -> Result<(), IndexError> {
    let mut draft = Draft::new(store);
    meta.last_seq = Seq(meta.last_seq.0 + 1);
    for &id in ids {
        let Some((_, mut entry)) = draft.entry(id)? else {
            continue;
        };
        if decide(&mut draft, &mut entry)? == Placing::Later {
            continue;
        }
        if ino_owner(&draft, entry.ino)? != Some(id) {
            entry.ino = meta.next_ino;
            meta.next_ino = Ino(meta.next_ino.0 + 1);
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
    store.apply(Space::Records, &writes)?;
    *meta = next;
    Ok(())
}

fn move_to(draft: &Draft<'_>, entry: &mut Entry, directory: EntryId) -> Result<(), IndexError> {
    entry.parent = directory;
    if name_is_taken(draft, entry)? {
        entry.name = unique_name(entry);
    }
    Ok(())
}

fn parent_is_known(draft: &Draft<'_>, entry: &Entry) -> Result<bool, IndexError> {
    let parent = draft.get::<NodeV1>(&key::node(entry.parent))?;
    Ok(parent.is_some_and(|parent| parent.kind == NodeKindV1::Directory))
}

fn name_is_taken(draft: &Draft<'_>, entry: &Entry) -> Result<bool, IndexError> {
    let row = draft.get::<ChildV1>(&key::name(entry.parent, &entry.name))?;
    Ok(row.is_some_and(|row| row.id != entry.id))
}

fn ino_owner(draft: &Draft<'_>, ino: Ino) -> Result<Option<EntryId>, IndexError> {
    let row = draft.get::<InodeV1>(&key::inode(ino))?;
    Ok(row.map(|row| row.0))
}

fn has_place_but_ino(draft: &Draft<'_>, entry: &Entry) -> Result<bool, IndexError> {
    let free = Entry {
        // A number that no row can have, so that only parent and name decide.
        ino: Ino(u64::MAX),
        ..entry.clone()
    };
    has_place(draft, &free)
}

fn unique_name(entry: &Entry) -> Name {
    let mut bytes = entry.id.to_string().into_bytes();
    bytes.push(b'-');
    bytes.extend_from_slice(entry.name.as_bytes());
    bytes.truncate(crate::model::MAX_NAME_BYTES);
    Name::new(bytes).unwrap_or_else(|_| entry.name.clone())
}

fn lost_and_found(store: &Store, meta: &mut MetaV1) -> Result<EntryId, IndexError> {
    let mut draft = Draft::new(store);
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
    entry.ino = meta.next_ino;
    entry.attributes.mode = 0o755;
    meta.next_ino = Ino(meta.next_ino.0 + 1);
    meta.last_seq = Seq(meta.last_seq.0 + 1);
    draft.put_entry(&entry, meta.last_seq)?;
    draft.link(&entry)?;
    let dirty = DirtyV1 {
        seq: meta.last_seq,
        since: Timestamp::now(),
        tombstone: None,
    };
    draft.put(key::dirty(entry.id), &dirty)?;
    let (writes, next) = draft.finish(meta.clone())?;
    store.apply(Space::Records, &writes)?;
    *meta = next;
    Ok(entry.id)
}

impl Shared {
    fn fill_step(&self, writer: &mut Writer, records: &[LogRecord]) -> Result<(), IndexError> {
        self.housekeep_with(writer, |draft, _| {
            records
                .iter()
                .try_for_each(|record| replay_one(draft, record, Source::Log))
        })
    }
}

/// Filling, in this order: `begin_fill`, `fill` for each manifest of the log, `finish_fill`.
impl Index {
    /// Whether the log has to be read into this index before it may change.
    #[must_use]
    pub fn must_fill(&self) -> bool {
        self.shared.writer().meta.fill == FillV1::Needed
    }

    /// Refuses commits until [`Self::finish_fill`].
    ///
    /// # Errors
    /// When the database fails.
    pub fn begin_fill(&self) -> Result<(), IndexError> {
        self.shared.housekeep(|_, meta| {
            meta.fill = FillV1::Needed;
            Ok(())
        })
    }

    /// Takes records of the log over where they are newer.
    ///
    /// # Errors
    /// When the database fails.
    pub fn fill(&self, records: &[LogRecord]) -> Result<(), IndexError> {
        let mut writer = self.shared.writer();
        records
            .chunks(BATCH)
            .try_for_each(|records| self.shared.fill_step(&mut writer, records))
    }

    /// Makes names and references from what was filled in, and allows commits.
    ///
    /// # Errors
    /// When the database fails; filling starts over then.
    pub fn finish_fill(
        &self,
        head: LogHeadV1,
        last_seq: Seq,
        next_ino: Ino,
    ) -> Result<FillReport, IndexError> {
        let mut writer = self.shared.writer();
        let report = {
            let guard = self.shared.store();
            let store = guard.as_ref().ok_or_else(super::closed)?;
            let mut meta = writer.meta.clone();
            meta.last_seq = meta.last_seq.max(last_seq);
            meta.next_ino = meta.next_ino.max(next_ino);
            let outcome = rebuild(store, &mut meta, Orphans::Adopt);
            writer.meta = meta;
            outcome?
        };
        let next_ino = writer.meta.next_ino.0;
        self.shared
            .next_ino
            .fetch_max(next_ino, std::sync::atomic::Ordering::Relaxed);
        self.shared.housekeep_with(&mut writer, |_, meta| {
            meta.fill = FillV1::Complete;
            meta.log = head;
            Ok(())
        })?;
        self.shared.compact(&mut writer)?;
        Ok(report)
    }

    /// The store that this state was first used with, as `Remote::describe` told it; empty before.
    #[must_use]
    pub fn store_description(&self) -> String {
        self.shared.writer().meta.identity.store.clone()
    }

    /// Ties this state to a library and a store, in rows and journal.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn bind(&self, library: LibraryId, store: &str) -> Result<(), IndexError> {
        let mut writer = self.shared.writer();
        self.shared.housekeep_with(&mut writer, |_, meta| {
            meta.identity.library = library;
            store.clone_into(&mut meta.identity.store);
            Ok(())
        })?;
        self.shared.compact(&mut writer)
    }

    /// Whether the index holds nothing but the root directory.
    ///
    /// # Errors
    /// When the database fails.
    pub fn is_empty(&self) -> Result<bool, IndexError> {
        let mut count = 0;
        self.shared.read(|store| {
            let prefix = [key::NODES];
            visit_rows::<NodeV1>(store, &prefix, &prefix, &mut |_, _| {
                count += 1;
                if count > 1 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
        })?;
        Ok(count <= 1)
    }
}
