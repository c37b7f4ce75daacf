//! Cache of decoded entries for reading.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::model::{Entry, EntryId, FsResult};
use crate::sync::MutexExt as _;

/// Largest number of entries that are kept. They are those that players and open handles read.
const MAX_ENTRIES: usize = 256;

/// A cache of decoded entries that never returns one from before a change.
#[derive(Debug, Default)]
pub(super) struct RecentEntries(Mutex<Decoded>);

#[derive(Debug, Default)]
struct Decoded {
    entries: HashMap<EntryId, Arc<Entry>>,
    /// Number of changes so far. An entry that was read before a change is not kept after it.
    generation: u64,
}

impl RecentEntries {
    /// Returns an entry. If it is not kept, `read` reads it.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn get(&self, id: EntryId, read: impl FnOnce() -> FsResult<Entry>) -> FsResult<Arc<Entry>> {
        let generation = {
            let decoded = self.0.acquire();
            if let Some(entry) = decoded.entries.get(&id) {
                return Ok(Arc::clone(entry));
            }
            decoded.generation
        };
        let entry = Arc::new(read()?);
        let mut decoded = self.0.acquire();
        if decoded.generation == generation {
            if decoded.entries.len() >= MAX_ENTRIES {
                decoded.entries.clear();
            }
            decoded.entries.insert(id, Arc::clone(&entry));
        }
        Ok(entry)
    }

    /// Forgets entries that were changed.
    pub fn forget(&self, ids: impl IntoIterator<Item = EntryId>) {
        let mut decoded = self.0.acquire();
        decoded.generation += 1;
        for id in ids {
            decoded.entries.remove(&id);
        }
    }

    /// Forgets all entries.
    pub fn forget_all(&self) {
        let mut decoded = self.0.acquire();
        decoded.generation += 1;
        decoded.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Attributes, EntryKind, Ino, Name, Timestamp, XattrMap};

    fn entry(name: &str) -> Entry {
        let now = Timestamp::now();
        Entry {
            id: EntryId::from_bytes([1; 16]),
            parent: EntryId::ROOT,
            name: Name::new(name).unwrap(),
            ino: Ino(2),
            attributes: Attributes {
                mode: 0o644,
                uid: 0,
                gid: 0,
                atime: now,
                mtime: now,
                ctime: now,
                created: now,
                xattrs: XattrMap::new(),
            },
            kind: EntryKind::Directory,
        }
    }

    #[test]
    fn an_entry_that_changed_while_it_was_read_is_not_kept() {
        let recent = RecentEntries::default();
        let id = entry("old").id;
        let read = recent.get(id, || {
            recent.forget([id]);
            Ok(entry("old"))
        });
        assert_eq!(read.unwrap().name, entry("old").name);
        let again = recent.get(id, || Ok(entry("new"))).unwrap();
        assert_eq!(again.name, entry("new").name);
        let kept = recent.get(id, || Ok(entry("newer"))).unwrap();
        assert_eq!(kept.name, entry("new").name);
        recent.forget_all();
        let fresh = recent.get(id, || Ok(entry("newest"))).unwrap();
        assert_eq!(fresh.name, entry("newest").name);
    }
}
