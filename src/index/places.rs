//! Directories by whether they lead to the root. They are looked at all together, in time that grows with
//! their number, since a forged log may hold chains and rings of any length.

use std::collections::{HashMap, HashSet};

use crate::model::EntryId;

/// Deepest directory (`PATH_MAX` of Linux is 4096 bytes).
const MAX_DEPTH: usize = 2048;

/// The directories of the rows.
#[derive(Debug, Default)]
pub(super) struct Directories {
    parents: HashMap<EntryId, EntryId>,
    places: HashMap<EntryId, Place>,
    /// Directories that must move so that all others hang below the root or below them.
    cut: HashSet<EntryId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is on the path that is walked now.
    OnPath,
    /// Its path to the root has this many directories.
    Rooted(usize),
    /// It hangs below a cut directory.
    Loose(usize),
}

impl Place {
    fn below(self) -> Self {
        match self {
            Self::OnPath => Self::Loose(1),
            Self::Rooted(depth) => Self::Rooted(depth + 1),
            Self::Loose(depth) => Self::Loose(depth + 1),
        }
    }

    fn is_too_deep(self) -> bool {
        match self {
            Self::OnPath => false,
            Self::Rooted(depth) | Self::Loose(depth) => depth > MAX_DEPTH,
        }
    }
}

impl Directories {
    /// Finds the places of directories by their parents. The root is not among them.
    pub fn new(parents: HashMap<EntryId, EntryId>) -> Self {
        let ids: Vec<EntryId> = parents.keys().copied().collect();
        let mut found = Self {
            parents,
            ..Self::default()
        };
        for id in ids {
            found.place(id);
        }
        found
    }

    /// Walks from a directory to the first one whose place is known, and places all on the way.
    fn place(&mut self, id: EntryId) {
        let mut path = Vec::new();
        let mut at = id;
        let mut place = loop {
            if at == EntryId::ROOT {
                break Place::Rooted(0);
            }
            match (self.places.get(&at), self.parents.get(&at)) {
                // A ring is cut here. The directory is on the path, so its place is set below.
                (Some(Place::OnPath), _) => {
                    self.cut.insert(at);
                    break Place::Loose(0);
                }
                (Some(known), _) => break *known,
                (None, Some(parent)) => {
                    self.places.insert(at, Place::OnPath);
                    path.push(at);
                    at = *parent;
                }
                // The parent is unknown, or no directory.
                (None, None) => {
                    self.cut.extend(path.last());
                    break Place::Loose(0);
                }
            }
        };
        for id in path.into_iter().rev() {
            place = place.below();
            if place.is_too_deep() {
                self.cut.insert(id);
                place = Place::Loose(1);
            }
            self.places.insert(id, place);
        }
    }

    /// Returns whether a directory leads to the root.
    pub fn is_rooted(&self, id: EntryId) -> bool {
        id == EntryId::ROOT || matches!(self.places.get(&id), Some(Place::Rooted(_)))
    }

    /// Returns whether there is a directory with this id.
    pub fn has(&self, id: EntryId) -> bool {
        id == EntryId::ROOT || self.parents.contains_key(&id)
    }

    /// Returns whether a directory must move, since nothing above it leads to the root.
    pub fn is_cut(&self, id: EntryId) -> bool {
        self.cut.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> EntryId {
        let mut bytes = [1; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        EntryId::from_bytes(bytes)
    }

    fn directories(parents: impl IntoIterator<Item = (EntryId, EntryId)>) -> Directories {
        Directories::new(parents.into_iter().collect())
    }

    #[test]
    fn rings_are_cut_once_and_chains_when_they_are_too_long() {
        let ring = (0..100_000).map(|number| (id(number), id((number + 1) % 100_000)));
        let ring = directories(ring);
        assert_eq!(ring.cut.len(), 100_000 / MAX_DEPTH + 1);
        assert!(!ring.is_rooted(id(5)));

        let chain = (1..=100_000).map(|number| match number {
            1 => (id(1), EntryId::ROOT),
            _ => (id(number), id(number - 1)),
        });
        let chain = directories(chain);
        assert!(chain.is_rooted(id(MAX_DEPTH as u32)));
        assert!(chain.is_cut(id(MAX_DEPTH as u32 + 1)));
        assert_eq!(chain.cut.len(), (100_000 - 1) / MAX_DEPTH);

        let orphans = directories([(id(1), id(2)), (id(3), id(1)), (id(4), id(4))]);
        assert!(orphans.is_cut(id(1)) && !orphans.is_cut(id(3)) && orphans.is_cut(id(4)));
        assert!(orphans.has(id(3)) && !orphans.has(id(2)) && !orphans.is_rooted(id(3)));
    }
}
