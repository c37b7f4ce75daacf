//! Dispatch of requests to calls of [`Vfs`]. Requests that touch only the local index are answered
//! on the event loop's own thread. Requests that may wait (for the remote, the spool, or room) run
//! as tasks that own the reply, each with an outer deadline. fuser cannot report signals, so a
//! caller can only die after its request was answered. A read starts on the event loop's thread,
//! and becomes a task if its bytes are not at hand. While the library is still being loaded, every
//! request that needs the tree becomes a task, and waits for the tree up to its deadline.
//!
//! No request sends a notification to the kernel: `inval_*` from here would wait for a page or a
//! directory lock that the kernel holds until this very request is answered.

use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fuser::{FileHandle, INodeNo, OpenFlags, ReplyAttr, ReplyCreate, ReplyEmpty, ReplyEntry};
use tokio::runtime::Handle;

use super::config::Deadlines;
use super::convert::{self, GENERATION, attr_ttl, entry_ttl, file_attr, ino, open_flags};
use super::reply::{Refuse, finish, guarded};
use crate::model::{ErrorKind, FsError, FsResult, Ino};
use crate::vfs::{Attr, Caller, HandleId, Opened, TreeUse, Vfs};

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

    /// Answers at once when the library is loaded, and else from a task that waits for it. `answer` only
    /// touches the local index.
    pub(super) fn when_loaded<R>(
        &self,
        usage: TreeUse,
        reply: R,
        answer: impl FnOnce(&Vfs, R) + Send + 'static,
    ) where
        R: Send + 'static,
    {
        if !self.vfs.is_loading() {
            return answer(&self.vfs, reply);
        }
        let vfs = self.vfs.clone();
        self.tasks.spawn(async move {
            vfs.until_loaded(usage).await;
            answer(&vfs, reply);
        });
    }

    /// Answers with the result of `call`, once the library is loaded.
    pub(super) fn answer<T, R>(
        &self,
        operation: &'static str,
        usage: TreeUse,
        reply: R,
        call: impl FnOnce(&Vfs) -> FsResult<T> + Send + 'static,
        accept: impl FnOnce(T, R) + Send + 'static,
    ) where
        R: Refuse + Send + 'static,
    {
        self.when_loaded(usage, reply, move |vfs, reply| {
            finish(operation, guarded(|| call(vfs)), reply, accept);
        });
    }

    pub(super) fn enter(
        &self,
        operation: &'static str,
        usage: TreeUse,
        reply: ReplyEntry,
        call: impl FnOnce(&Vfs) -> FsResult<Attr> + Send + 'static,
    ) {
        let accept = |attr: Attr, reply: ReplyEntry| {
            reply.entry_with_ttls(
                &attr_ttl(&attr),
                &entry_ttl(&attr),
                &file_attr(&attr),
                GENERATION,
            );
        };
        self.answer(operation, usage, reply, call, accept);
    }

    pub(super) fn change(
        &self,
        operation: &'static str,
        reply: ReplyEmpty,
        call: impl FnOnce(&Vfs) -> FsResult<()> + Send + 'static,
    ) {
        let accept = |(), reply: ReplyEmpty| reply.ok();
        self.answer(operation, TreeUse::Change, reply, call, accept);
    }

    /// Gives up a handle. It was opened when the library was loaded, so nothing has to be waited for.
    pub(super) fn release_handle(&self, open: FileHandle, reply: ReplyEmpty) {
        let released = guarded(|| {
            self.vfs.release(handle(open));
            Ok(())
        });
        finish("release", released, reply, |(), reply: ReplyEmpty| {
            reply.ok();
        });
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

    /// Makes a file and opens it. Opens a file whose name another caller created between the kernel's
    /// look-up and its CREATE: without `O_EXCL` such a CREATE is an open.
    pub(super) fn create_or_open(&self, wanted: Creation, reply: ReplyCreate) {
        if self.vfs.is_loading() {
            let vfs = self.vfs.clone();
            let work = async move {
                vfs.until_loaded(TreeUse::Change).await;
                match wanted.create(&vfs) {
                    Err(error) if wanted.is_raced(&error) => wanted.open_raced(&vfs).await,
                    result => result,
                }
            };
            return self.spawn("create", self.deadlines.write, reply, work, accept_created);
        }
        match guarded(|| wanted.create(&self.vfs)) {
            Err(error) if wanted.is_raced(&error) => {
                let vfs = self.vfs.clone();
                let work = async move { wanted.open_raced(&vfs).await };
                self.spawn("create", self.deadlines.write, reply, work, accept_created);
            }
            result => finish("create", result, reply, accept_created),
        }
    }
}

/// A CREATE of the kernel.
pub(super) struct Creation {
    pub(super) parent: Ino,
    pub(super) name: Vec<u8>,
    pub(super) mode: u32,
    pub(super) flags: OpenFlags,
    pub(super) by: Caller,
}

impl Creation {
    fn create(&self, vfs: &Vfs) -> FsResult<(Attr, Opened)> {
        let access = convert::access(self.flags);
        vfs.create(self.parent, &self.name, self.mode, access, self.by)
    }

    fn is_raced(&self, error: &FsError) -> bool {
        error.kind == ErrorKind::Exists && !convert::is_exclusive(self.flags)
    }

    async fn open_raced(&self, vfs: &Vfs) -> FsResult<(Attr, Opened)> {
        let found = vfs.lookup(self.parent, &self.name)?;
        let (access, existing) = (convert::access(self.flags), convert::existing(self.flags));
        match vfs.open(found.ino, access, existing, self.by).await {
            // The size may have changed with the open.
            Ok(opened) => vfs.getattr(found.ino).map(|attr| (attr, opened)),
            Err(error) => {
                vfs.forget(found.ino, 1);
                Err(error)
            }
        }
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

pub(super) fn accept_attr(attr: Attr, reply: ReplyAttr) {
    reply.attr(&attr_ttl(&attr), &file_attr(&attr));
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

pub(super) fn handle(handle: FileHandle) -> HandleId {
    HandleId(handle.0)
}
