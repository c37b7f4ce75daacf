//! Nodes that are visible but not stored: `/.hls`, the views below it, and the sidecar subtitles
//! beside a film. They are all derived from the tree and the records of files, so they move and
//! disappear with their file.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::model::{EntryId, Ino, Name};
use crate::sync::MutexExt as _;

/// Name of the directory that mirrors the tree with views.
pub const HLS_NAME: &[u8] = b".hls";

/// Time for which removing or renaming a sidecar succeeds after its film left the folder. `rm -r`,
/// `mv folder/* x/` and `rsync --delete` listed the sidecar before, and have to end without an error.
const GHOST_LIFE: Duration = Duration::from_secs(60);
/// Largest number of sidecars remembered that way. A film has a handful.
const MAX_GHOSTS: usize = 4096;

/// Files in `/.hls` that tell media libraries to leave it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Marker {
    Ignore,
    NoMedia,
    PlexIgnore,
    CacheDirTag,
}

impl Marker {
    pub const ALL: [Self; 4] = [
        Self::Ignore,
        Self::NoMedia,
        Self::PlexIgnore,
        Self::CacheDirTag,
    ];

    /// Returns the file name of the marker.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ignore => ".ignore",
            Self::NoMedia => ".nomedia",
            Self::PlexIgnore => ".plexignore",
            Self::CacheDirTag => "CACHEDIR.TAG",
        }
    }

    /// Returns the marker of this name.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|marker| marker.name().as_bytes() == name)
    }

    /// Returns the bytes of the marker.
    #[must_use]
    pub const fn content(self) -> &'static [u8] {
        match self {
            Self::Ignore | Self::NoMedia => b"",
            Self::PlexIgnore => b"*\n",
            // This signature is required by the Cache Directory Tagging Specification.
            Self::CacheDirTag => {
                b"Signature: 8a477f597d28d172789f06886806bc55\n# Views made by tgfs; no backup needs them.\n"
            }
        }
    }
}

/// A node that is computed, not stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum VirtualNode {
    /// The mirror of a directory. The mirror of the root is `/.hls` itself.
    Mirror(EntryId),
    Marker(Marker),
    /// A view. `path` is relative to the file's view directory, and empty for that directory itself.
    View {
        file: EntryId,
        path: String,
    },
    /// Subtitle `key` of a film, in the film's directory. A text is shown as `.srt`, pictures under
    /// the name of their view.
    Sidecar {
        film: EntryId,
        key: String,
    },
    /// A sidecar whose film left a moment ago.
    Ghost {
        parent: EntryId,
        name: Name,
    },
}

impl VirtualNode {
    /// Returns the directory that holds the views of a file.
    #[must_use]
    pub fn view_directory(file: EntryId) -> Self {
        Self::View {
            file,
            path: String::new(),
        }
    }

    /// Returns the inode number of the node. It is the same on each start and after recovery.
    #[must_use]
    pub fn ino(&self) -> Ino {
        let mut hasher = blake3::Hasher::new();
        match self {
            Self::Mirror(id) => hasher.update(b"m").update(id.as_bytes()),
            Self::Marker(marker) => hasher.update(b"k").update(marker.name().as_bytes()),
            Self::View { file, path } => hasher
                .update(b"v")
                .update(file.as_bytes())
                .update(path.as_bytes()),
            Self::Sidecar { film, key } => hasher
                .update(b"s")
                .update(film.as_bytes())
                .update(key.as_bytes()),
            Self::Ghost { parent, name } => hasher
                .update(b"g")
                .update(parent.as_bytes())
                .update(name.as_bytes()),
        };
        let mut number = [0; 8];
        number.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        // The hash gives 61 bits. They stay below the bit that marks a virtual node, and the number
        // is never negative for old tools.
        Ino(Ino::VIRTUAL_BIT | (u64::from_le_bytes(number) >> 3))
    }
}

#[derive(Debug)]
struct KnownNode {
    node: VirtualNode,
    lookups: u64,
}

/// Virtual nodes that the kernel knows by number. Their number is bounded by the kernel's own
/// cache, because each lookup is returned by a forget.
#[derive(Debug, Default)]
pub struct VirtualInodes {
    known: Mutex<HashMap<Ino, KnownNode>>,
    /// User's files that took the place of sidecars, by the inode number that the kernel had for
    /// the sidecar.
    replaced: Mutex<HashMap<Ino, EntryId>>,
}

impl VirtualInodes {
    /// Counts one lookup.
    pub fn remember(&self, node: VirtualNode) -> Ino {
        let ino = node.ino();
        let mut known = self.known.acquire();
        known
            .entry(ino)
            .or_insert(KnownNode { node, lookups: 0 })
            .lookups += 1;
        ino
    }

    /// Returns the node of a number that the kernel knows.
    pub fn get(&self, ino: Ino) -> Option<VirtualNode> {
        let known = self.known.acquire();
        known.get(&ino).map(|known| known.node.clone())
    }

    /// Makes a sidecar's number refer to a user's file.
    pub fn replace(&self, ino: Ino, by: EntryId) {
        self.replaced.acquire().insert(ino, by);
    }

    /// Returns the user's file that took the place of a sidecar.
    pub fn replacement(&self, ino: Ino) -> Option<EntryId> {
        self.replaced.acquire().get(&ino).copied()
    }

    /// Drops `count` lookups of the kernel.
    pub fn forget(&self, ino: Ino, count: u64) {
        let mut known = self.known.acquire();
        if let Some(entry) = known.get_mut(&ino) {
            entry.lookups = entry.lookups.saturating_sub(count);
            if entry.lookups == 0 {
                known.remove(&ino);
                self.replaced.acquire().remove(&ino);
            }
        }
    }
}

#[derive(Debug)]
struct Ghost {
    parent: EntryId,
    name: Name,
    /// Directory that the film moved to, or `None` if the film was removed.
    film_went_to: Option<EntryId>,
    until: Instant,
}

/// Sidecars of films that left their folder within the last minute.
#[derive(Debug, Default)]
pub struct Ghosts {
    list: Mutex<Vec<Ghost>>,
}

impl Ghosts {
    /// Remembers the sidecars of a film that left `parent`.
    pub fn add(&self, parent: EntryId, names: Vec<Name>, film_went_to: Option<EntryId>) {
        let now = Instant::now();
        let mut list = self.list.acquire();
        list.retain(|ghost| ghost.until > now);
        let room = MAX_GHOSTS.saturating_sub(list.len());
        list.extend(names.into_iter().take(room).map(|name| Ghost {
            parent,
            name,
            film_went_to,
            until: now + GHOST_LIFE,
        }));
    }

    /// Returns whether a name was that of a sidecar a moment ago.
    pub fn contains(&self, parent: EntryId, name: &Name) -> bool {
        let now = Instant::now();
        let list = self.list.acquire();
        list.iter()
            .any(|g| g.parent == parent && g.name == *name && g.until > now)
    }

    /// Returns whether the film of this ghost moved to `directory`.
    pub fn went_to(&self, parent: EntryId, name: &Name, directory: EntryId) -> bool {
        let list = self.list.acquire();
        list.iter()
            .any(|g| g.parent == parent && g.name == *name && g.film_went_to == Some(directory))
    }

    /// Forgets a sidecar.
    pub fn remove(&self, parent: EntryId, name: &Name) {
        let mut list = self.list.acquire();
        list.retain(|g| g.parent != parent || g.name != *name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_numbers_are_stable_and_distinct() {
        let id = EntryId::from_bytes([3; 16]);
        let view = VirtualNode::View {
            file: id,
            path: "video.m3u8".into(),
        };
        assert_eq!(view.ino(), view.clone().ino());
        assert!(view.ino().is_virtual());
        assert_ne!(
            view.ino(),
            VirtualNode::Sidecar {
                film: id,
                key: "video.m3u8".into()
            }
            .ino()
        );
        assert_ne!(view.ino(), VirtualNode::Mirror(id).ino());
    }

    #[test]
    fn a_forgotten_node_is_gone_and_a_remembered_one_is_not() {
        let table = VirtualInodes::default();
        let node = VirtualNode::Marker(Marker::Ignore);
        let ino = table.remember(node.clone());
        table.remember(node.clone());
        table.forget(ino, 1);
        assert_eq!(table.get(ino), Some(node));
        table.forget(ino, 1);
        assert_eq!(table.get(ino), None);
    }
}
