//! How a request becomes a call of [`Vfs`]. Requests that touch only the local index are answered on
//! the event loop's own thread. Those that may wait (for the remote, the spool, room) run as tasks
//! with the reply inside them, each with an outer deadline: fuser cannot tell us of signals, so a
//! caller can only die after its request was answered.
//!
//! No request sends a notification to the kernel: `inval_*` from here would wait for a page or a
//! directory lock that the kernel holds until this very request is answered.

use std::ffi::OsStr;
use std::future::Future;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use fuser::{FileHandle, INodeNo, OpenFlags, ReplyCreate, ReplyEmpty, ReplyEntry};
use tokio::runtime::Handle;

use super::convert::{self, GENERATION, attr_ttl, entry_ttl, file_attr, ino, open_flags};
use super::mount::Deadlines;
use super::reply::{Refuse, finish, guarded};
use crate::model::{ErrorKind, FsError, FsResult};
use crate::vfs::{Attr, Caller, HandleId, Opened, Vfs};

pub(super) struct Adapter {
    pub(super) vfs: Vfs,
    tasks: Handle,
    pub(super) deadlines: Deadlines,
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
    pub(super) fn spawn<T, R>(
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

    pub(super) fn enter(
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

    pub(super) fn change(
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
    pub(super) fn open_raced(
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

pub(super) fn accept_created((attr, opened): (Attr, Opened), reply: ReplyCreate) {
    reply.created(
        &entry_ttl(&attr),
        &file_attr(&attr),
        GENERATION,
        FileHandle(opened.handle.0),
        open_flags(opened),
    );
}

pub(super) fn handle(handle: FileHandle) -> HandleId {
    HandleId(handle.0)
}
