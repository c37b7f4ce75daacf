//! Dispatch of requests to calls of [`Vfs`]. Requests that touch only the local index are answered
//! on the event loop's own thread. Requests that may wait (for the remote, the spool, or room) run
//! as tasks that own the reply, each with an outer deadline. fuser cannot report signals, so a
//! caller can only die after its request was answered. A read starts on the event loop's thread,
//! and becomes a task if its bytes are not at hand.
//!
//! No request sends a notification to the kernel: `inval_*` from here would wait for a page or a
//! directory lock that the kernel holds until this very request is answered.

use std::ffi::OsStr;
use std::future::Future;
use std::os::unix::ffi::OsStrExt;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fuser::{FileHandle, INodeNo, OpenFlags, ReplyCreate, ReplyEmpty, ReplyEntry};
use tokio::runtime::Handle;

use super::config::Deadlines;
use super::convert::{self, GENERATION, attr_ttl, entry_ttl, file_attr, ino, open_flags};
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

    /// Runs `work` as a task that ends in an answer: the result of `work`, or EIO after `deadline`.
    /// A panic drops the reply, which answers EIO as well.
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
        let work = within(operation, deadline, work);
        self.tasks
            .spawn(async move { finish(operation, work.await, reply, accept) });
    }

    /// Does the same as [`Self::spawn`], for work that seldom has to wait. Work that completes at once is
    /// answered from here, because waking another thread would take longer than reading 64 KiB from memory.
    pub(super) fn spawn_unless_done<T, R>(
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
        let mut work = Box::pin(within(operation, deadline, work));
        let begun = {
            // Timers and tasks of the work belong to the runtime.
            let _runtime = self.tasks.enter();
            // Nobody has to be woken, because the task that continues the work polls it again.
            let mut nobody = Context::from_waker(Waker::noop());
            guarded(|| Ok(work.as_mut().poll(&mut nobody)))
        };
        match begun {
            Ok(Poll::Pending) => {
                self.tasks
                    .spawn(async move { finish(operation, work.await, reply, accept) });
            }
            Ok(Poll::Ready(result)) => finish(operation, result, reply, accept),
            Err(error) => finish(operation, Err(error), reply, accept),
        }
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

    /// Drops references of the kernel. There is no reply.
    pub(super) fn forget_inode(&self, number: INodeNo, count: u64) {
        if let Err(error) = guarded(|| {
            self.vfs.forget(ino(number), count);
            Ok(())
        }) {
            tracing::warn!("forget: {error}");
        }
    }

    /// Opens a file whose name another caller created between the kernel's look-up and its CREATE.
    /// Without `O_EXCL` such a CREATE is an open.
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
                // The size may have changed with the open.
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

/// Returns the outcome of `work`, or EIO after `deadline`.
async fn within<T>(
    operation: &'static str,
    deadline: Duration,
    work: impl Future<Output = FsResult<T>>,
) -> FsResult<T> {
    tokio::time::timeout(deadline, work)
        .await
        .unwrap_or_else(|_| {
            Err(FsError::new(
                ErrorKind::RemoteUnavailable,
                format!("{operation} took longer than {} s", deadline.as_secs()),
            ))
        })
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
