//! The root directory of a library.

use crate::model::{Attributes, Entry, EntryId, EntryKind, Ino, Name, Timestamp, XattrMap};

/// Who owns the root directory of a new library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

impl Owner {
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            uid: nix::unistd::getuid().as_raw(),
            gid: nix::unistd::getgid().as_raw(),
        }
    }
}

/// The root directory of a new library.
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

/// The root has no name; its record needs one.
fn root_name() -> Name {
    match Name::new("root") {
        Ok(name) => name,
        Err(error) => unreachable!("{error}"),
    }
}

pub(super) fn interim_root() -> Entry {
    root_entry(Owner::of_process())
}
