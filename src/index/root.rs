//! The root directory of a library.

use crate::model::{Attributes, Entry, EntryId, EntryKind, Ino, Name, Timestamp, XattrMap};

/// Owner of the root directory of a new library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

impl Owner {
    /// Returns user and group of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            uid: nix::unistd::getuid().as_raw(),
            gid: nix::unistd::getgid().as_raw(),
        }
    }
}

/// Returns the root directory of a new library.
pub(super) fn root_entry(owner: Owner) -> Entry {
    let now = Timestamp::now();
    Entry {
        id: EntryId::ROOT,
        parent: EntryId::ROOT,
        name: root_name(),
        ino: Ino::ROOT,
        attributes: Attributes {
            mode: 0o755,
            uid: owner.uid,
            gid: owner.gid,
            atime: now,
            mtime: now,
            ctime: now,
            created: now,
            xattrs: XattrMap::new(),
        },
        kind: EntryKind::Directory,
    }
}

/// Returns the name in the root's record; the root itself has none.
fn root_name() -> Name {
    match Name::new("root") {
        Ok(name) => name,
        Err(error) => unreachable!("{error}"),
    }
}

/// Returns the root of a library whose own is not known yet.
pub(super) fn interim_root() -> Entry {
    root_entry(Owner::of_process())
}
