//! `stat` answers, made from stored attributes.

use super::types::{Attr, FileKind};
use crate::index::{Node, NodeKind};
use crate::model::{Attributes, BlobId, Entry, EntryKind, Ino};

/// Number of links of whatever has a name. For a directory it means "not counted", as on btrfs: programs
/// such as `find` and Perl's File::Find take a larger number for two more than it has subdirectories, and
/// look for no others.
const NAMES: u32 = 1;

fn base(node: &Node, ino: Ino, kind: FileKind, size: u64, mode: u32) -> Attr {
    let attributes = &node.attributes;
    Attr {
        ino,
        id: Some(node.id),
        kind,
        size,
        blocks: 0,
        mode,
        nlink: NAMES,
        uid: attributes.uid,
        gid: attributes.gid,
        atime: attributes.mtime,
        mtime: attributes.mtime,
        ctime: attributes.mtime,
        created: attributes.created,
    }
}

/// Returns the read bits of `mode`, so that everyone who may read the original may read its views.
fn readable(mode: u32) -> u32 {
    mode & 0o444
}

/// Makes the `stat` of a directory in `/.hls`. Everyone who may read the original may search it.
pub fn mirror(node: &Node, ino: Ino) -> Attr {
    base(
        node,
        ino,
        FileKind::Directory,
        0,
        node.attributes.mode & 0o555,
    )
}

/// Makes the `stat` of a directory of views.
pub fn view_directory(node: &Node, ino: Ino) -> Attr {
    let read = readable(node.attributes.mode);
    base(node, ino, FileKind::Directory, 0, read | read >> 2)
}

/// Makes the `stat` of a view. A view has the times of its file, so that libraries do not scan it
/// again after a restart.
pub fn view(node: &Node, ino: Ino, size: u64) -> Attr {
    base(
        node,
        ino,
        FileKind::File,
        size,
        readable(node.attributes.mode),
    )
}

/// Makes the `stat` of a view that can be made again with other bytes. The fraction of the second in
/// its mtime differs each time the view is made. Otherwise the kernel would keep its cached pages
/// when the size is the same.
pub fn made_view(node: &Node, ino: Ino, size: u64, making: BlobId) -> Attr {
    let mut attr = view(node, ino, size);
    let hash = blake3::hash(making.as_bytes());
    let number = u32::from_le_bytes([0, 1, 2, 3].map(|at| hash.as_bytes()[at]));
    attr.mtime.nanos = number % 1_000_000_000;
    attr
}

/// Makes the `stat` of a generated file of `size` bytes.
pub fn generated(owner: &Node, ino: Ino, size: u64, mode: u32) -> Attr {
    base(owner, ino, FileKind::File, size, mode)
}

/// Makes the `stat` of a stored file or directory.
pub fn real(node: &Node) -> Attr {
    let (kind, size) = match node.kind {
        NodeKind::Directory => (FileKind::Directory, 0),
        NodeKind::File { size } => (FileKind::File, size),
    };
    let mut attr = of_attributes(&node.attributes, node.ino, kind, size);
    attr.id = Some(node.id);
    attr
}

fn of_attributes(attributes: &Attributes, ino: Ino, kind: FileKind, size: u64) -> Attr {
    Attr {
        ino,
        id: None,
        kind,
        size,
        blocks: size.div_ceil(512),
        mode: attributes.mode,
        nlink: NAMES,
        uid: attributes.uid,
        gid: attributes.gid,
        atime: attributes.atime,
        mtime: attributes.mtime,
        ctime: attributes.ctime,
        created: attributes.created,
    }
}

/// Makes the `stat` of a file whose name is gone.
pub fn unlinked(entry: &Entry) -> Attr {
    let size = match &entry.kind {
        EntryKind::File(content) => content.size,
        EntryKind::Directory => 0,
    };
    let mut attr = of_attributes(&entry.attributes, entry.ino, FileKind::File, size);
    attr.id = Some(entry.id);
    attr.nlink = 0;
    attr
}

/// Returns `mode` without the bits that give privileges.
pub fn without_set_id(mode: u32) -> u32 {
    // Set-group-id without group execute means mandatory locking, not privileges.
    let group = if mode & 0o010 != 0 { 0o2000 } else { 0 };
    mode & !(0o4000 | group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bits_that_give_privileges_are_cleared() {
        assert_eq!(without_set_id(0o6755), 0o755);
        assert_eq!(without_set_id(0o2745), 0o2745, "mandatory locking");
        assert_eq!(without_set_id(0o644), 0o644);
    }
}
