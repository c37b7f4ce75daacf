//! FUSE requests as calls of [`Vfs`].
//!
//! Requests that touch only the local index are answered on the event loop's own thread. Those
//! that may wait (for the remote, the spool, room) run as tasks with the reply inside them, each
//! with an outer deadline: fuser cannot tell us of signals, so a caller can only die after its
//! request was answered.
//!
//! No request sends a notification to the kernel: `inval_*` from here would wait for a page or a
//! directory lock that the kernel holds until this very request is answered.

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr,
    Request, TimeOrNow, WriteFlags,
};
use tokio::runtime::Handle;

use super::convert::{self, GENERATION, attr_ttl, caller, entry_ttl, file_attr, ino, open_flags};
use super::directory;
use super::mount::Deadlines;
use super::reply::{Refuse, answer_attribute, finish, guarded};
use crate::model::{ErrorKind, FsError, FsResult, MAX_NAME_BYTES};
use crate::vfs::{Attr, Caller, HandleId, Opened, SetAttr, Vfs};

/// Longest write the kernel sends, in bytes: its own ceiling is 256 pages.
const MAX_WRITE_BYTES: u32 = 1024 * 1024;

/// Readahead and other requests without a waiting process that the kernel keeps open at a time.
/// Requests with one are bounded by the processes; a file has one write at a time (the kernel
/// holds its lock), so copied data is bounded by `MAX_WRITE_BYTES` for each file being written.
const MAX_BACKGROUND_REQUESTS: u16 = 64;

/// Unit of `statfs` in bytes.
const STATFS_BLOCK_BYTES: u32 = 4096;

/// What is asked of the kernel beyond what fuser asks for (`ASYNC_READ`, `MAX_PAGES`). No
/// `WRITEBACK_CACHE`: errors of a write would show after its `close`.
const CAPABILITIES: [InitFlags; 6] = [
    // Without it each WRITE costs a GETXATTR security.capability before (1.75 to 3.1 times slower).
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    // Bytes that changed without the kernel's doing (an upload over the socket) have another mtime
    // or size; cached pages go when the kernel sees that.
    InitFlags::FUSE_AUTO_INVAL_DATA,
];

pub(super) struct Adapter {
    vfs: Vfs,
    tasks: Handle,
    deadlines: Deadlines,
}

impl Adapter {
    pub(super) fn new(vfs: Vfs, tasks: Handle, deadlines: Deadlines) -> Self {
        Self {
            vfs,
            tasks,
            deadlines,
        }
    }

    /// Runs `work` as a task that ends in an answer: its own, or EIO after `deadline`. A panic
    /// drops the reply, which answers EIO as well.
    fn spawn<T, R>(
        &self,
        operation: &'static str,
        deadline: Duration,
        reply: R,
        work: impl Future<Output = FsResult<T>> + Send + 'static,
        accept: impl FnOnce(T, R) + Send + 'static,
    ) where
        T: Send + 'static,
        R: Refuse + Send + 'static,
    {
        self.tasks.spawn(async move {
            let result = match tokio::time::timeout(deadline, work).await {
                Ok(result) => result,
                Err(_) => Err(FsError::new(
                    ErrorKind::RemoteUnavailable,
                    format!("{operation} took longer than {} s", deadline.as_secs()),
                )),
            };
            finish(operation, result, reply, accept);
        });
    }

    fn enter(
        &self,
        operation: &'static str,
        reply: ReplyEntry,
        call: impl FnOnce(&Vfs) -> FsResult<Attr>,
    ) {
        let result = guarded(|| call(&self.vfs));
        finish(operation, result, reply, |attr, reply: ReplyEntry| {
            reply.entry_with_ttls(
                &attr_ttl(&attr),
                &entry_ttl(&attr),
                &file_attr(&attr),
                GENERATION,
            );
        });
    }

    fn change(
        &self,
        operation: &'static str,
        reply: ReplyEmpty,
        call: impl FnOnce(&Vfs) -> FsResult<()>,
    ) {
        let result = guarded(|| call(&self.vfs));
        finish(operation, result, reply, |(), reply: ReplyEmpty| reply.ok());
    }

    /// Another caller made the name between the kernel's look-up and its CREATE: without `O_EXCL`
    /// that is an open.
    fn open_raced(
        &self,
        parent: INodeNo,
        name: &OsStr,
        by: Caller,
        flags: OpenFlags,
        reply: ReplyCreate,
    ) {
        let found = guarded(|| self.vfs.lookup(ino(parent), name.as_bytes()));
        let attr = match found {
            Ok(attr) => attr,
            Err(error) => return finish("create", Err(error), reply, |(), _| {}),
        };
        let vfs = self.vfs.clone();
        let work = async move {
            let opened = vfs
                .open(
                    attr.ino,
                    convert::access(flags),
                    convert::existing(flags),
                    by,
                )
                .await;
            match opened {
                // The size may have changed with it.
                Ok(opened) => vfs.getattr(attr.ino).map(|attr| (attr, opened)),
                Err(error) => {
                    vfs.forget(attr.ino, 1);
                    Err(error)
                }
            }
        };
        self.spawn("create", self.deadlines.write, reply, work, accept_created);
    }
}

fn accept_created((attr, opened): (Attr, Opened), reply: ReplyCreate) {
    reply.created(
        &entry_ttl(&attr),
        &file_attr(&attr),
        GENERATION,
        FileHandle(opened.handle.0),
        open_flags(opened),
    );
}

fn handle(handle: FileHandle) -> HandleId {
    HandleId(handle.0)
}

/// Only the user's own attributes exist. EOPNOTSUPP keeps tools quiet about the rest (ACLs,
/// capabilities, labels) and, unlike ENOSYS, does not switch the others off.
fn is_user_attribute(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"user.")
}

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for capability in CAPABILITIES {
            if let Err(missing) = config.add_capabilities(capability) {
                tracing::debug!(?missing, "the kernel does not offer a FUSE capability");
            }
        }
        // Refusals carry the nearest allowed value.
        if let Err(nearest) = config.set_max_write(MAX_WRITE_BYTES) {
            tracing::debug!(nearest, "the kernel takes only shorter writes");
        }
        if let Err(nearest) = config.set_max_background(MAX_BACKGROUND_REQUESTS) {
            tracing::debug!(nearest, "the kernel takes fewer background requests");
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.enter("lookup", reply, |vfs| {
            vfs.lookup(ino(parent), name.as_bytes())
        });
    }

    fn forget(&self, _request: &Request, number: INodeNo, count: u64) {
        if let Err(error) = guarded(|| {
            self.vfs.forget(ino(number), count);
            Ok(())
        }) {
            tracing::warn!("forget: {error}");
        }
    }

    fn getattr(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        let result = guarded(|| self.vfs.getattr(ino(number)));
        finish("getattr", result, reply, |attr, reply: ReplyAttr| {
            reply.attr(&attr_ttl(&attr), &file_attr(&attr));
        });
    }

    fn setattr(
        &self,
        request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        open: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = SetAttr {
            size,
            mode: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            atime: atime.map(convert::timestamp),
            mtime: mtime.map(convert::timestamp),
            privileges: convert::setattr_bits(request, size, uid.or(gid), mode),
        };
        let (vfs, by, open) = (self.vfs.clone(), caller(request), open.map(handle));
        let work = async move { vfs.setattr(ino(number), open, change, by).await };
        let accept = |attr: Attr, reply: ReplyAttr| reply.attr(&attr_ttl(&attr), &file_attr(&attr));
        self.spawn("setattr", self.deadlines.write, reply, work, accept);
    }

    fn readlink(&self, _request: &Request, _number: INodeNo, reply: ReplyData) {
        reply.error(Errno::EINVAL);
    }

    fn mknod(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _device: u32,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EPERM);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        self.enter("mkdir", reply, |vfs| {
            vfs.mkdir(ino(parent), name.as_bytes(), mode & 0o7777, caller(request))
        });
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.change("unlink", reply, |vfs| {
            vfs.unlink(ino(parent), name.as_bytes())
        });
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.change("rmdir", reply, |vfs| {
            vfs.rmdir(ino(parent), name.as_bytes())
        });
    }

    fn symlink(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _target: &Path,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EPERM);
    }

    fn link(
        &self,
        _request: &Request,
        _number: INodeNo,
        _parent: INodeNo,
        _name: &OsStr,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EPERM);
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mode = match convert::rename_mode(flags) {
            Ok(mode) => mode,
            Err(errno) => return reply.error(errno),
        };
        self.change("rename", reply, |vfs| {
            vfs.rename(
                ino(parent),
                name.as_bytes(),
                ino(new_parent),
                new_name.as_bytes(),
                mode,
            )
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (flags, by) = (OpenFlags(flags), caller(request));
        let result = guarded(|| {
            self.vfs.create(
                ino(parent),
                name.as_bytes(),
                mode & 0o7777,
                convert::access(flags),
                by,
            )
        });
        match result {
            Err(error) if error.kind == ErrorKind::Exists && !convert::is_exclusive(flags) => {
                self.open_raced(parent, name, by, flags, reply);
            }
            result => finish("create", result, reply, accept_created),
        }
    }

    fn open(&self, request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (vfs, by) = (self.vfs.clone(), caller(request));
        let (access, existing) = (convert::access(flags), convert::existing(flags));
        let work = async move { vfs.open(ino(number), access, existing, by).await };
        let accept = |opened: Opened, reply: ReplyOpen| {
            reply.opened(FileHandle(opened.handle.0), open_flags(opened));
        };
        self.spawn("open", self.deadlines.write, reply, work, accept);
    }

    fn read(
        &self,
        _request: &Request,
        _number: INodeNo,
        open: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let vfs = self.vfs.clone();
        let work = async move { vfs.read(handle(open), offset, u64::from(size)).await };
        let accept = |data: Bytes, reply: ReplyData| reply.data(&data);
        self.spawn("read", self.deadlines.read, reply, work, accept);
    }

    fn write(
        &self,
        _request: &Request,
        _number: INodeNo,
        open: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let vfs = self.vfs.clone();
        let bits = convert::written_bits(write_flags);
        // The slice is the event loop's own buffer, which its next request overwrites.
        let data = Bytes::copy_from_slice(data);
        let work = async move {
            let written = u32::try_from(data.len()).unwrap_or(u32::MAX);
            vfs.write(handle(open), offset, data, bits).await?;
            Ok(written)
        };
        let accept = |written: u32, reply: ReplyWrite| reply.written(written);
        self.spawn("write", self.deadlines.write, reply, work, accept);
    }

    fn flush(
        &self,
        request: &Request,
        _number: INodeNo,
        open: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        let (vfs, by) = (self.vfs.clone(), caller(request));
        let work = async move { vfs.flush(handle(open), by).await };
        let accept = |(), reply: ReplyEmpty| reply.ok();
        self.spawn("flush", self.deadlines.write, reply, work, accept);
    }

    fn release(
        &self,
        _request: &Request,
        _number: INodeNo,
        open: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.change("release", reply, |vfs| {
            vfs.release(handle(open));
            Ok(())
        });
    }

    fn fsync(
        &self,
        _request: &Request,
        _number: INodeNo,
        open: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let vfs = self.vfs.clone();
        let work = async move { vfs.fsync(handle(open)).await };
        let accept = |(), reply: ReplyEmpty| reply.ok();
        self.spawn("fsync", self.deadlines.write, reply, work, accept);
    }

    fn opendir(&self, _request: &Request, _number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // Listings go by cookies, so an open directory has no state.
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn readdir(
        &self,
        _request: &Request,
        number: INodeNo,
        _open: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        directory::list(&self.vfs, ino(number), offset, reply);
    }

    fn readdirplus(
        &self,
        _request: &Request,
        number: INodeNo,
        _open: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        directory::list_with_attributes(&self.vfs, ino(number), offset, reply);
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        _number: INodeNo,
        _open: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let vfs = self.vfs.clone();
        let work = async move { vfs.sync_names().await };
        let accept = |(), reply: ReplyEmpty| reply.ok();
        self.spawn("fsyncdir", self.deadlines.write, reply, work, accept);
    }

    fn statfs(&self, _request: &Request, _number: INodeNo, reply: ReplyStatfs) {
        let result = guarded(|| self.vfs.space());
        finish("statfs", result, reply, |space, reply: ReplyStatfs| {
            let unit = u64::from(STATFS_BLOCK_BYTES);
            let free = space.free / unit;
            reply.statfs(
                space.total / unit,
                free,
                free,
                space.files,
                u64::from(u32::MAX),
                STATFS_BLOCK_BYTES,
                u32::try_from(MAX_NAME_BYTES).unwrap_or(u32::MAX),
                STATFS_BLOCK_BYTES,
            );
        });
    }

    fn setxattr(
        &self,
        _request: &Request,
        number: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        if !is_user_attribute(name) {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let mode = match convert::xattr_mode(flags) {
            Ok(mode) => mode,
            Err(errno) => return reply.error(errno),
        };
        self.change("setxattr", reply, |vfs| {
            vfs.setxattr(ino(number), name.as_bytes(), value, mode)
        });
    }

    fn getxattr(
        &self,
        _request: &Request,
        number: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        if !is_user_attribute(name) {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let value = guarded(|| self.vfs.getxattr(ino(number), name.as_bytes()));
        answer_attribute("getxattr", value, size, reply);
    }

    fn listxattr(&self, _request: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        let names = guarded(|| self.vfs.listxattr(ino(number))).map(|names| {
            let mut list = Vec::new();
            for name in names {
                list.extend_from_slice(&name);
                list.push(0);
            }
            list
        });
        answer_attribute("listxattr", names, size, reply);
    }

    fn removexattr(&self, _request: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        if !is_user_attribute(name) {
            return reply.error(Errno::EOPNOTSUPP);
        }
        self.change("removexattr", reply, |vfs| {
            vfs.removexattr(ino(number), name.as_bytes())
        });
    }

    fn fallocate(
        &self,
        _request: &Request,
        _number: INodeNo,
        open: FileHandle,
        offset: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mode = match convert::allocate_mode(mode) {
            Ok(mode) => mode,
            Err(errno) => return reply.error(errno),
        };
        let vfs = self.vfs.clone();
        let work = async move { vfs.fallocate(handle(open), offset, len, mode).await };
        let accept = |(), reply: ReplyEmpty| reply.ok();
        self.spawn("fallocate", self.deadlines.write, reply, work, accept);
    }

    fn lseek(
        &self,
        _request: &Request,
        _number: INodeNo,
        open: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let target = match convert::seek_target(whence) {
            Ok(target) => target,
            Err(errno) => return reply.error(errno),
        };
        let Ok(offset) = u64::try_from(offset) else {
            return reply.error(Errno::ENXIO);
        };
        let result = guarded(|| self.vfs.seek(handle(open), offset, target));
        finish(
            "lseek",
            result,
            reply,
            |found, reply: ReplyLseek| match i64::try_from(found) {
                Ok(found) => reply.offset(found),
                Err(_) => reply.error(Errno::EOVERFLOW),
            },
        );
    }

    fn copy_file_range(
        &self,
        _request: &Request,
        _from: INodeNo,
        from: FileHandle,
        from_offset: u64,
        _to: INodeNo,
        to: FileHandle,
        to_offset: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let vfs = self.vfs.clone();
        let work = async move {
            vfs.copy_file_range(handle(from), from_offset, handle(to), to_offset, len)
                .await
        };
        let accept = |copied: u64, reply: ReplyWrite| {
            // The call's own limit is 1 GiB; more could not be said in the answer.
            reply.written(u32::try_from(copied).unwrap_or(u32::MAX));
        };
        self.spawn("copy_file_range", self.deadlines.write, reply, work, accept);
    }

    fn ioctl(
        &self,
        _request: &Request,
        _number: INodeNo,
        _open: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _input: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        // Programs ask each file whether it is a terminal (TCGETS).
        reply.error(Errno::ENOTTY);
    }

    fn poll(
        &self,
        _request: &Request,
        _number: INodeNo,
        _open: FileHandle,
        _notifier: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        // Tells the kernel to answer by itself: files are always ready.
        reply.error(Errno::ENOSYS);
    }
}
