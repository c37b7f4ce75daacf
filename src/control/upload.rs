//! Takes the bytes of an upload on the same path as a copy into the mount. They go into a name that is not
//! ingested, and take their own name when they are complete.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::Sender;

use super::wire::{Response, WirePath};
use crate::model::{EntryId, ErrorKind, FsError, FsResult, Ino, Name, TreePath};
use crate::vfs::{AccessMode, Caller, FileKind, HandleId, RenameMode, SetIdBits, Vfs};

/// Bytes of one write. It is as large as the kernel's largest write, for the sake of the spool.
const WRITE_BYTES: usize = 1 << 20;

/// Bytes between two progress answers: a hundred answers a second at 1 GB/s, one a second on a slow disk.
const PROGRESS_BYTES: u64 = 8 << 20;

/// Mode of an uploaded file; a copy through the mount keeps the source's.
const FILE_MODE: u32 = 0o644;

/// Announcement of an upload by a client.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) directory: WirePath,
    pub(super) name: WirePath,
    /// Bytes that follow.
    pub(super) size: u64,
}

/// Returns the file's id once its bytes are durable in the spool. Dropping the future removes received
/// bytes.
pub(super) async fn receive<R>(
    vfs: &Vfs,
    incoming: &Incoming,
    body: &mut R,
    out: &Sender<Response>,
) -> FsResult<EntryId>
where
    R: AsyncRead + Send + Unpin,
{
    let name = Name::new(incoming.name.as_bytes())?;
    let directory = incoming.directory.to_tree_path()?;
    let target = directory.join(name.clone());
    refuse_file(vfs, &directory)?;
    refuse_directory(vfs, &target)?;
    let caller = own_caller();
    let parent = vfs
        .make_directories(&directory, caller)
        .map_err(|error| name_directory(error, &directory))?;
    let temporary = format!(".tgfs-upload-{}.part", EntryId::random()).into_bytes();
    let (_, opened) = vfs.create(parent, &temporary, FILE_MODE, AccessMode::Write, caller)?;
    let mut guard = Guard {
        vfs,
        parent,
        temporary,
        handle: Some(opened.handle),
    };
    // The first read shows if the client still wants to send.
    let _ = out.send(Response::Go).await;
    copy(vfs, opened.handle, incoming, &target, body, out).await?;
    vfs.flush(opened.handle, caller).await?;
    guard.close();
    vfs.rename(
        parent,
        &guard.temporary,
        parent,
        name.as_bytes(),
        RenameMode::Replace,
    )?;
    guard.temporary.clear();
    let attr = vfs.resolve(&target)?;
    attr.id.ok_or_else(|| FsError::from(ErrorKind::NotFound))
}

/// Reports that a file is in the way of `--to`.
fn name_directory(error: FsError, directory: &TreePath) -> FsError {
    match error.kind {
        ErrorKind::NotDirectory => FsError::new(
            ErrorKind::NotDirectory,
            format!(
                "{} is a file, not a directory; choose a directory with --to",
                directory.display()
            ),
        ),
        _ => error,
    }
}

/// Refuses a file in the place of the directory.
fn refuse_file(vfs: &Vfs, directory: &TreePath) -> FsResult<()> {
    match vfs.resolve(directory) {
        Ok(attr) if attr.kind == FileKind::File => {
            Err(name_directory(ErrorKind::NotDirectory.into(), directory))
        }
        // A directory that is missing is made.
        _ => Ok(()),
    }
}

fn refuse_directory(vfs: &Vfs, target: &TreePath) -> FsResult<()> {
    match vfs.resolve(target) {
        Ok(attr) if attr.kind == FileKind::Directory => Err(FsError::new(
            ErrorKind::IsDirectory,
            format!(
                "{} is a directory; choose another name for the file",
                target.display()
            ),
        )),
        Ok(_) => Ok(()),
        // A file in the place of the directory is reported when the directories are made.
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::NotDirectory) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn copy<R>(
    vfs: &Vfs,
    handle: HandleId,
    incoming: &Incoming,
    target: &TreePath,
    body: &mut R,
    out: &Sender<Response>,
) -> FsResult<()>
where
    R: AsyncRead + Send + Unpin,
{
    let mut offset = 0;
    let mut told = 0;
    while offset < incoming.size {
        let left = usize::try_from(incoming.size - offset).unwrap_or(usize::MAX);
        let mut buffer = BytesMut::with_capacity(WRITE_BYTES.min(left));
        let mut limited = (&mut *body).take(WRITE_BYTES.min(left) as u64);
        while limited.limit() > 0 && limited.read_buf(&mut buffer).await? > 0 {}
        if buffer.is_empty() {
            let text = format!(
                "{}: only {offset} of {} bytes came; nothing was kept, upload it again",
                target.display(),
                incoming.size
            );
            return Err(FsError::new(ErrorKind::Io, text));
        }
        let len = buffer.len() as u64;
        vfs.write(handle, offset, buffer.freeze(), SetIdBits::Keep)
            .await?;
        offset += len;
        if offset - told >= PROGRESS_BYTES || offset == incoming.size {
            told = offset;
            let progress = Response::Progress {
                path: target.display(),
                step: "copying".to_owned(),
                done: offset,
                total: incoming.size,
            };
            // A client that has gone ends the execution elsewhere.
            let _ = out.send(progress).await;
        }
    }
    Ok(())
}

fn own_caller() -> Caller {
    Caller {
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        // No process behind the handle can die by a signal. Broken connections are noticed here.
        pid: 0,
    }
}

/// Guard that removes an upload which did not come to its end.
struct Guard<'a> {
    vfs: &'a Vfs,
    parent: Ino,
    /// Path of the temporary name. Empty once the file has its own name.
    temporary: Vec<u8>,
    handle: Option<HandleId>,
}

impl Guard<'_> {
    fn close(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.vfs.release(handle);
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.temporary.is_empty()
            && let Err(error) = self.vfs.unlink(self.parent, &self.temporary)
        {
            let name = String::from_utf8_lossy(&self.temporary);
            tracing::warn!("{name}: a broken upload could not be removed: {error}");
        }
        self.close();
    }
}
