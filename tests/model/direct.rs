//! The file system, called without a kernel.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tgfs::model::{ErrorKind, FsResult, Ino};
use tgfs::vfs::{
    AccessMode, Attr, Caller, CopyRange, Existing, FileKind, HandleId, Opened, RenameMode, SetAttr,
    SetIdBits, Vfs,
};
use tokio::runtime::Runtime;

use crate::library::Library;
use crate::material::noise;
use crate::reference::{Fault, Node, Operation, Tree};
use crate::{Precision, Subject};

/// Size of the requests into which the kernel cuts writes and reads.
const REQUEST_BYTES: usize = 128 * 1024;

pub struct Direct {
    directory: TempDir,
    life: Option<Life>,
}

/// State that a restart replaces.
struct Life {
    library: Library,
    runtime: Runtime,
}

impl Life {
    fn begin(directory: &TempDir) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let library = Library::open(&directory.path().join("state"), &runtime);
        Self { library, runtime }
    }
}

const CALLER: Caller = Caller {
    uid: 0,
    gid: 0,
    pid: 0,
};

impl Direct {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("tgfs-model-")
            .tempdir()
            .unwrap();
        let life = Some(Life::begin(&directory));
        Self { directory, life }
    }

    fn life(&self) -> &Life {
        self.life.as_ref().unwrap()
    }
}

fn walk(vfs: &Vfs, path: &[&str]) -> FsResult<Attr> {
    let mut attr = vfs.getattr(Ino::ROOT)?;
    for name in path {
        attr = vfs.lookup(attr.ino, name.as_bytes())?;
    }
    Ok(attr)
}

fn parent<'a>(vfs: &Vfs, path: &[&'a str]) -> FsResult<(Ino, &'a [u8])> {
    let (last, parents) = path.split_last().unwrap();
    let attr = walk(vfs, parents)?;
    if attr.kind != FileKind::Directory {
        return Err(ErrorKind::NotDirectory.into());
    }
    Ok((attr.ino, last.as_bytes()))
}

fn file(vfs: &Vfs, path: &[&str]) -> FsResult<Attr> {
    let attr = walk(vfs, path)?;
    match attr.kind {
        FileKind::File => Ok(attr),
        FileKind::Directory => Err(ErrorKind::IsDirectory.into()),
    }
}

async fn open_or_create(vfs: &Vfs, path: &[&str], existing: Existing) -> FsResult<Opened> {
    let (directory, name) = parent(vfs, path)?;
    match vfs.lookup(directory, name) {
        Ok(attr) if attr.kind == FileKind::Directory => Err(ErrorKind::IsDirectory.into()),
        Ok(attr) => {
            vfs.open(attr.ino, AccessMode::ReadWrite, existing, CALLER)
                .await
        }
        Err(error) if error.kind == ErrorKind::NotFound => Ok(vfs
            .create(directory, name, 0o644, AccessMode::ReadWrite, CALLER)?
            .1),
        Err(error) => Err(error),
    }
}

async fn close(vfs: &Vfs, handle: HandleId) -> FsResult<()> {
    let flushed = vfs.flush(handle, CALLER).await;
    vfs.release(handle);
    flushed
}

async fn write(vfs: &Vfs, handle: HandleId, offset: u64, data: &[u8]) -> FsResult<()> {
    for (index, chunk) in data.chunks(REQUEST_BYTES).enumerate() {
        let at = offset + (index * REQUEST_BYTES) as u64;
        vfs.write(handle, at, Bytes::copy_from_slice(chunk), SetIdBits::Keep)
            .await?;
    }
    close(vfs, handle).await
}

async fn read(vfs: &Vfs, ino: Ino, offset: u64, len: usize) -> FsResult<Vec<u8>> {
    let opened = vfs
        .open(ino, AccessMode::Read, Existing::Keep, CALLER)
        .await?;
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let more = (len - bytes.len()).min(REQUEST_BYTES) as u64;
        let got = vfs
            .read(opened.handle, offset + bytes.len() as u64, more)
            .await?;
        if got.is_empty() {
            break;
        }
        bytes.extend_from_slice(&got);
    }
    close(vfs, opened.handle).await?;
    Ok(bytes)
}

/// Copies a file as the kernel does: with COPY_FILE_RANGE, or with reads and writes if that is refused.
async fn copy(vfs: &Vfs, from: &[&str], to: &[&str]) -> FsResult<()> {
    let source = file(vfs, from)?;
    if from == to {
        return Ok(());
    }
    let target = open_or_create(vfs, to, Existing::Truncate).await?;
    let opened = vfs
        .open(source.ino, AccessMode::Read, Existing::Keep, CALLER)
        .await?;
    let shared = vfs
        .copy_file_range(CopyRange {
            from: opened.handle,
            from_offset: 0,
            to: target.handle,
            to_offset: 0,
            len: source.size,
        })
        .await;
    vfs.release(opened.handle);
    match shared {
        Ok(copied) => {
            assert_eq!(
                copied, source.size,
                "bytes that copy_file_range says it copied"
            );
            close(vfs, target.handle).await
        }
        Err(error) if error.kind == ErrorKind::NotSupported => {
            let bytes = read(vfs, source.ino, 0, usize::try_from(source.size).unwrap()).await?;
            write(vfs, target.handle, 0, &bytes).await
        }
        Err(error) => Err(error),
    }
}

async fn attempt(vfs: &Vfs, operation: &Operation) -> FsResult<Vec<u8>> {
    match operation {
        Operation::Write {
            path,
            offset,
            len,
            seed,
        } => {
            let opened = open_or_create(vfs, path, Existing::Keep).await?;
            write(vfs, opened.handle, *offset, &noise(*len, *seed)).await?;
        }
        Operation::Replace { path, len, seed } => {
            let opened = open_or_create(vfs, path, Existing::Truncate).await?;
            write(vfs, opened.handle, 0, &noise(*len, *seed)).await?;
        }
        Operation::Truncate { path, size } => {
            let attr = file(vfs, path)?;
            let change = SetAttr {
                size: Some(*size),
                ..SetAttr::default()
            };
            let changed = vfs.setattr(attr.ino, None, change, CALLER).await?;
            assert_eq!(changed.size, *size);
        }
        Operation::Copy { from, to } => copy(vfs, from, to).await?,
        Operation::Rename { from, to } => {
            let (from, name) = parent(vfs, from)?;
            let (to, new_name) = parent(vfs, to)?;
            vfs.rename(from, name, to, new_name, RenameMode::Replace)?;
        }
        Operation::Unlink(path) => {
            let (directory, name) = parent(vfs, path)?;
            vfs.unlink(directory, name)?;
        }
        Operation::MakeDirectory(path) => {
            let (directory, name) = parent(vfs, path)?;
            vfs.mkdir(directory, name, 0o755, CALLER)?;
        }
        Operation::RemoveDirectory(path) => {
            let (directory, name) = parent(vfs, path)?;
            vfs.rmdir(directory, name)?;
        }
        Operation::Read { path, offset, len } => {
            return read(vfs, file(vfs, path)?.ino, *offset, *len).await;
        }
    }
    Ok(Vec::new())
}

async fn tree(vfs: &Vfs) -> Result<Tree, String> {
    let mut tree = Tree::new();
    let mut waiting = vec![(Ino::ROOT, String::new())];
    while let Some((directory, path)) = waiting.pop() {
        let mut entries = Vec::new();
        vfs.readdir(directory, 0, &mut |entry| {
            entries.push(entry.clone());
            ControlFlow::Continue(())
        })
        .unwrap();
        for entry in entries {
            let name = String::from_utf8(entry.name).unwrap();
            if name == "." || name == ".." || (directory == Ino::ROOT && name == ".hls") {
                continue;
            }
            let key = if path.is_empty() {
                name
            } else {
                format!("{path}/{name}")
            };
            match entry.kind {
                FileKind::Directory => {
                    waiting.push((entry.ino, key.clone()));
                    tree.insert(key, Node::Directory);
                }
                FileKind::File => {
                    let size = vfs.getattr(entry.ino).unwrap().size;
                    let bytes = match read(vfs, entry.ino, 0, usize::MAX).await {
                        Ok(bytes) => bytes,
                        Err(error) => return Err(format!("{key}: {error}")),
                    };
                    assert_eq!(size, bytes.len() as u64, "stat and read of {key}");
                    tree.insert(key, Node::File(bytes));
                }
            }
        }
    }
    Ok(tree)
}

impl Subject for Direct {
    fn apply(&mut self, operation: &Operation) -> Result<Vec<u8>, Fault> {
        let Life { library, runtime } = self.life();
        let vfs = library.vfs();
        let result = runtime.block_on(attempt(&vfs, operation));
        result.map_err(|error| match error.kind {
            ErrorKind::NotFound => Fault::NotFound,
            ErrorKind::Exists => Fault::Exists,
            ErrorKind::NotDirectory => Fault::NotDirectory,
            ErrorKind::IsDirectory => Fault::IsDirectory,
            ErrorKind::NotEmpty => Fault::NotEmpty,
            ErrorKind::InvalidArgument => Fault::Invalid,
            other => panic!("{operation:?}: {other:?}: {error}"),
        })
    }

    fn tree(&mut self) -> Result<Tree, String> {
        let Life { library, runtime } = self.life();
        runtime.block_on(tree(&library.vfs()))
    }

    fn restart(&mut self) {
        let Life { library, runtime } = self.life.take().unwrap();
        library.close(&runtime);
        runtime.shutdown_timeout(Duration::from_secs(10));
        self.life = Some(Life::begin(&self.directory));
    }

    fn precision(&self) -> Precision {
        Precision::AnyFault
    }
}
