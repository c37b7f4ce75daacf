//! Derivation of all rows that lead to entries from those of the entries: names, cookies, inode numbers and references.
//! The tables are compared with what they should hold, and only rows that differ are written.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::draft::RowDraft;
use super::error::IndexError;
use super::key;
use super::lost_and_found::{FillReport, adopt};
use super::places::Directories;
use super::record::{ChildKindV1, ChildV1, InodeV1, MetaV1, NodeKindV1, NodeV1, ReferenceV1};
use super::scan::visit_rows;
use super::store::{KeySpace, RowStore};
use super::table::{Row, bring_in_line};
use crate::model::{EntryId, FileContent, Ino, PackId};

/// Treatment of entries whose parent is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orphans {
    /// Their parent may still come.
    Wait,
    Adopt,
}

/// Derives all other rows from those of the entries.
pub(super) fn rebuild(
    store: &RowStore,
    meta: &mut MetaV1,
    orphans: Orphans,
) -> Result<FillReport, IndexError> {
    let links = Links::read(store, meta)?;
    let mut report = FillReport {
        entries: links.0.len() as u64,
        ..FillReport::default()
    };
    let directories = links.directories();
    let standings = links.standings(&directories);
    let mut lost = Vec::new();
    for (link, standing) in links.0.iter().zip(&standings) {
        if *standing != Standing::Placed {
            lost.push(link.id);
        }
    }
    write_links(store, meta, &links, &standings)?;
    write_references(store, meta, &links)?;
    drop((links, standings));
    if orphans == Orphans::Adopt && !lost.is_empty() {
        adopt(store, meta, &directories, &lost, &mut report)?;
    }
    Ok(report)
}

/// What leads to an entry.
#[derive(Debug)]
struct Link {
    id: EntryId,
    parent: EntryId,
    child: ChildV1,
}

/// All entries, in the order of their ids.
#[derive(Debug)]
struct Links(Vec<Link>);

/// Whether an entry can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// By name and by number.
    Placed,
    /// By number alone, since its directory is unknown or its name is taken.
    Numbered,
    /// Not at all, since another entry has the number.
    Hidden,
}

impl Links {
    /// Reads the rows of all entries, and raises the bounds in the meta row to theirs.
    fn read(store: &RowStore, meta: &mut MetaV1) -> Result<Self, IndexError> {
        let mut links = Vec::new();
        let prefix = [key::NODES];
        visit_rows::<NodeV1>(store, &prefix, &prefix, &mut |row, node| {
            if let Some(id) = key::entry_of(row) {
                meta.next_ino = meta.next_ino.max(Ino(node.ino.0.saturating_add(1)));
                meta.last_seq = meta.last_seq.max(node.seq);
                let child = ChildV1 {
                    id,
                    ino: node.ino,
                    name: node.name,
                    kind: match node.kind {
                        NodeKindV1::Directory => ChildKindV1::Directory,
                        NodeKindV1::File { .. } => ChildKindV1::File,
                    },
                };
                let parent = node.parent;
                links.push(Link { id, parent, child });
            }
            ControlFlow::Continue(())
        })?;
        Ok(Self(links))
    }

    fn directories(&self) -> Directories {
        let directories = self
            .0
            .iter()
            .filter(|link| link.id != EntryId::ROOT && link.child.kind == ChildKindV1::Directory);
        Directories::new(directories.map(|link| (link.id, link.parent)).collect())
    }

    /// Gives each entry its place if it can have it. The parent must be a directory with a path to the root, and name
    /// and inode number must be free.
    fn standings(&self, directories: &Directories) -> Vec<Standing> {
        let mut inos = HashSet::with_capacity(self.0.len());
        let mut names = HashSet::with_capacity(self.0.len());
        let mut standings = Vec::with_capacity(self.0.len());
        for link in &self.0 {
            let standing = if link.id == EntryId::ROOT {
                inos.insert(link.child.ino);
                Standing::Placed
            } else if !inos.insert(link.child.ino) {
                Standing::Hidden
            } else if directories.is_rooted(link.parent)
                && !directories.is_cut(link.id)
                && names.insert((link.parent, link.child.name.as_bytes()))
            {
                Standing::Placed
            } else {
                Standing::Numbered
            };
            standings.push(standing);
        }
        standings
    }

    /// Returns the entries that have one of these standings.
    fn with(&self, standings: &[Standing], wanted: &[Standing]) -> Vec<&Link> {
        let pairs = self.0.iter().zip(standings);
        let fitting = pairs.filter(|(_, standing)| wanted.contains(standing));
        fitting.map(|(link, _)| link).collect()
    }
}

/// Writes the rows by name, by cookie and by inode number.
fn write_links(
    store: &RowStore,
    meta: &mut MetaV1,
    links: &Links,
    standings: &[Standing],
) -> Result<(), IndexError> {
    let mut found = links.with(standings, &[Standing::Placed, Standing::Numbered]);
    found.sort_unstable_by_key(|link| link.child.ino);
    let rows = found
        .iter()
        .map(|link| Row::of(key::inode(link.child.ino), &InodeV1(link.id)));
    bring_in_line(store, meta, key::INODES, rows)?;

    let mut placed = links.with(standings, &[Standing::Placed]);
    placed.retain(|link| link.id != EntryId::ROOT);
    placed.sort_unstable_by_key(|link| (link.parent, link.child.ino));
    let rows = placed
        .iter()
        .map(|link| Row::of(key::child(link.parent, link.child.ino), &link.child));
    bring_in_line(store, meta, key::CHILDREN, rows)?;

    placed.sort_unstable_by_key(|link| (link.parent, link.child.name.as_bytes()));
    let rows = placed
        .iter()
        .map(|link| Row::of(key::name(link.parent, &link.child.name), &link.child));
    bring_in_line(store, meta, key::NAMES, rows)
}

/// Writes the references of files to packs. A pack that has one is not dying.
fn write_references(store: &RowStore, meta: &mut MetaV1, links: &Links) -> Result<(), IndexError> {
    let mut references = references(store, links)?;
    references.sort_unstable();
    let rows = references
        .iter()
        .map(|(pack, id)| Row::of(key::reference(*pack, *id), &ReferenceV1));
    bring_in_line(store, meta, key::REFERENCES, rows)?;
    let mut draft = RowDraft::new(store);
    let prefix = [key::DYING];
    store.visit(KeySpace::Records, &prefix, &prefix, &mut |row, _| {
        let pack = key::pack_of(row);
        let at = pack.map(|pack| references.partition_point(|(other, _)| *other < pack));
        let next = at.and_then(|at| references.get(at)).map(|(pack, _)| *pack);
        if pack.is_some() && next == pack {
            draft.remove(row.to_vec());
        }
        ControlFlow::Continue(())
    })?;
    draft.write_all(meta)
}

/// Returns all references of files to packs.
fn references(store: &RowStore, links: &Links) -> Result<Vec<(PackId, EntryId)>, IndexError> {
    let mut references = Vec::new();
    let mut missing = None;
    let mut files = links
        .0
        .iter()
        .filter(|link| link.child.kind == ChildKindV1::File)
        .map(|link| link.id)
        .peekable();
    let prefix = [key::CONTENTS];
    visit_rows::<FileContent>(store, &prefix, &prefix, &mut |row, content| {
        let Some(id) = key::entry_of(row) else {
            return ControlFlow::Continue(());
        };
        match files.next_if(|next| *next <= id) {
            Some(file) if file == id => {}
            Some(file) => {
                missing = Some(file);
                return ControlFlow::Break(());
            }
            // No entry has this content.
            None => return ControlFlow::Continue(()),
        }
        references.extend(content.packs().iter().map(|pack| (pack.id, id)));
        ControlFlow::Continue(())
    })?;
    match missing.or_else(|| files.next()) {
        Some(id) => Err(IndexError::Damaged(format!("file {id} has no content"))),
        None => Ok(references),
    }
}
