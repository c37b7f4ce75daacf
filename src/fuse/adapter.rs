//! FUSE requests as calls of [`crate::vfs::Vfs`], one method per request. `dispatch` describes
//! which thread answers each of them.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr,
    Request, TimeOrNow, WriteFlags,
};

use super::convert::{self, caller, ino, open_flags};
use super::dispatch::{Adapter, Creation, accept_attr, handle};
use super::reply::{answer_attribute, answer_position, answer_space, finish, guarded};
use super::{directory, negotiation};
use crate::vfs::{CopyRange, Opened, SetAttr, TreeUse, Vfs};

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        negotiation::ask(config);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.as_bytes().to_vec();
        self.enter("lookup", TreeUse::Look, reply, move |vfs| {
            vfs.lookup(ino(parent), &name)
        });
    }

    fn forget(&self, _request: &Request, number: INodeNo, count: u64) {
        self.forget_inode(number, count);
    }

    fn getattr(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        let call = move |vfs: &Vfs| vfs.getattr(ino(number));
        // The mountpoint itself is known, and programs that look at all mounts must not wait for it.
        match number {
            INodeNo::ROOT => finish("getattr", guarded(|| call(&self.vfs)), reply, accept_attr),
            _ => self.answer("getattr", TreeUse::Look, reply, call, accept_attr),
        }
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
        let work = async move {
            vfs.until_loaded(TreeUse::Change).await;
            vfs.setattr(ino(number), open, change, by).await
        };
        self.spawn("setattr", self.deadlines.write, reply, work, accept_attr);
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
        let (name, by) = (name.as_bytes().to_vec(), caller(request));
        self.enter("mkdir", TreeUse::Change, reply, move |vfs| {
            vfs.mkdir(ino(parent), &name, mode & 0o7777, by)
        });
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.as_bytes().to_vec();
        self.change("unlink", reply, move |vfs| vfs.unlink(ino(parent), &name));
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.as_bytes().to_vec();
        self.change("rmdir", reply, move |vfs| vfs.rmdir(ino(parent), &name));
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
        let (name, new_name) = (name.as_bytes().to_vec(), new_name.as_bytes().to_vec());
        self.change("rename", reply, move |vfs| {
            vfs.rename(ino(parent), &name, ino(new_parent), &new_name, mode)
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
        let wanted = Creation {
            parent: ino(parent),
            name: name.as_bytes().to_vec(),
            mode: mode & 0o7777,
            flags: OpenFlags(flags),
            by: caller(request),
        };
        self.create_or_open(wanted, reply);
    }

    fn open(&self, request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (vfs, by) = (self.vfs.clone(), caller(request));
        let (access, existing) = (convert::access(flags), convert::existing(flags));
        let usage = convert::tree_use(access, existing);
        let work = async move {
            vfs.until_loaded(usage).await;
            vfs.open(ino(number), access, existing, by).await
        };
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
        self.spawn_unless_done("read", self.deadlines.read, reply, work, accept);
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
        // The slice is the event loop's own buffer, and the next request overwrites it.
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
        self.release_handle(open, reply);
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
        // Listings use cookies, so an open directory has no state.
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
        self.when_loaded(TreeUse::Look, reply, move |vfs, reply| {
            directory::list(vfs, ino(number), offset, reply);
        });
    }

    fn readdirplus(
        &self,
        _request: &Request,
        number: INodeNo,
        _open: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        self.when_loaded(TreeUse::Look, reply, move |vfs, reply| {
            directory::list_with_attributes(vfs, ino(number), offset, reply);
        });
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
        finish("statfs", result, reply, answer_space);
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
        if !convert::is_user_attribute(name) {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let mode = match convert::xattr_mode(flags) {
            Ok(mode) => mode,
            Err(errno) => return reply.error(errno),
        };
        let (name, value) = (name.as_bytes().to_vec(), value.to_vec());
        self.change("setxattr", reply, move |vfs| {
            vfs.setxattr(ino(number), &name, &value, mode)
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
        if !convert::is_user_attribute(name) {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let name = name.as_bytes().to_vec();
        self.when_loaded(TreeUse::Look, reply, move |vfs, reply| {
            let value = guarded(|| vfs.getxattr(ino(number), &name));
            answer_attribute("getxattr", value, size, reply);
        });
    }

    fn listxattr(&self, _request: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        self.when_loaded(TreeUse::Look, reply, move |vfs, reply| {
            let names = guarded(|| vfs.listxattr(ino(number))).map(convert::attribute_list);
            answer_attribute("listxattr", names, size, reply);
        });
    }

    fn removexattr(&self, _request: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        if !convert::is_user_attribute(name) {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let name = name.as_bytes().to_vec();
        self.change("removexattr", reply, move |vfs| {
            vfs.removexattr(ino(number), &name)
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
        finish("lseek", result, reply, answer_position);
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
        let range = CopyRange {
            from: handle(from),
            from_offset,
            to: handle(to),
            to_offset,
            len,
        };
        let work = async move { vfs.copy_file_range(range).await };
        let accept = |copied: u64, reply: ReplyWrite| {
            // The call's own limit is 1 GiB, and the answer could not hold a larger number.
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
        // Programs ask of each file whether it is a terminal (TCGETS).
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
        // This tells the kernel to answer by itself, because files are always ready.
        reply.error(Errno::ENOSYS);
    }
}
