//! Listings of directories, with and without attributes.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use fuser::{INodeNo, ReplyDirectory, ReplyDirectoryPlus};

use super::convert::{GENERATION, entry_ttl, file_attr, file_type};
use super::errno::errno;
use crate::model::{ErrorKind, FsResult, Ino};
use crate::vfs::{Attr, DirEntry, Vfs};

/// Number of entries collected at a time for a listing with attributes. About this many fit into
/// one reply of the kernel's usual 32 KiB.
const BATCH_ENTRIES: usize = 160;

/// Answers with as many entries behind `after` as fit.
pub(super) fn list(vfs: &Vfs, directory: Ino, after: u64, mut reply: ReplyDirectory) {
    let listed = super::reply::guarded(|| {
        vfs.readdir(directory, after, &mut |entry| {
            let full = reply.add(
                INodeNo(entry.ino.0),
                entry.cookie,
                file_type(entry.kind),
                OsStr::from_bytes(&entry.name),
            );
            if full {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
    });
    super::reply::finish("readdir", listed, reply, |(), reply| reply.ok());
}

/// Does the same as [`list`], with attributes. Each entry that the kernel takes counts as a
/// look-up, except `.` and `..`.
pub(super) fn list_with_attributes(
    vfs: &Vfs,
    directory: Ino,
    after: u64,
    mut reply: ReplyDirectoryPlus,
) {
    let mut cookie = after;
    loop {
        let batch = match super::reply::guarded(|| collect(vfs, directory, cookie)) {
            Ok(batch) => batch,
            Err(error) => return reply.error(errno(error.kind)),
        };
        for entry in &batch {
            match add(vfs, directory, entry, &mut reply) {
                Ok(ControlFlow::Continue(())) => cookie = entry.cookie,
                Ok(ControlFlow::Break(())) => return reply.ok(),
                // Entries that are already in the reply count as looked up, so the reply has to be
                // sent. The kernel asks again from this entry on and then gets the error.
                Err(_) if cookie != after => return reply.ok(),
                Err(error) => return reply.error(errno(error.kind)),
            }
        }
        if batch.len() < BATCH_ENTRIES {
            return reply.ok();
        }
    }
}

/// Returns the next entries. They are looked up after the listing and not during it, because `vfs`
/// may hold a lock while it visits.
fn collect(vfs: &Vfs, directory: Ino, after: u64) -> FsResult<Vec<DirEntry>> {
    let mut batch = Vec::with_capacity(BATCH_ENTRIES);
    vfs.readdir(directory, after, &mut |entry| {
        batch.push(entry.clone());
        if batch.len() < BATCH_ENTRIES {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(batch)
}

fn add(
    vfs: &Vfs,
    directory: Ino,
    entry: &DirEntry,
    reply: &mut ReplyDirectoryPlus,
) -> FsResult<ControlFlow<()>> {
    let is_dot = matches!(entry.name.as_slice(), b"." | b"..");
    let found = super::reply::guarded(|| {
        if is_dot {
            vfs.getattr(entry.ino)
        } else {
            vfs.lookup(directory, &entry.name)
        }
    });
    let attr = match found {
        Ok(attr) => attr,
        // The entry was removed after the listing.
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(ControlFlow::Continue(())),
        Err(error) => return Err(error),
    };
    if push(entry, &attr, reply) {
        if !is_dot {
            vfs.forget(attr.ino, 1);
        }
        return Ok(ControlFlow::Break(()));
    }
    Ok(ControlFlow::Continue(()))
}

/// Adds an entry to the reply. Returns whether the reply was already full, so that the entry is not in it.
fn push(entry: &DirEntry, attr: &Attr, reply: &mut ReplyDirectoryPlus) -> bool {
    reply.add(
        INodeNo(attr.ino.0),
        entry.cookie,
        OsStr::from_bytes(&entry.name),
        &entry_ttl(attr),
        &file_attr(attr),
        GENERATION,
    )
}
