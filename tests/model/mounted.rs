//! The file system as programs see it, through a mount.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::harness::TestMount;
use crate::material::noise;
use crate::reference::{Fault, Node, Operation, Tree};
use crate::{Precision, Subject};

pub struct ThroughMount {
    test: TestMount,
}

impl ThroughMount {
    pub fn new() -> Self {
        Self {
            test: TestMount::new(),
        }
    }

    fn path(&self, path: &[&str]) -> PathBuf {
        path.iter()
            .fold(self.test.path.clone(), |whole, name| whole.join(name))
    }

    fn attempt(&self, operation: &Operation) -> io::Result<Vec<u8>> {
        match operation {
            Operation::Write {
                path,
                offset,
                len,
                seed,
            } => {
                let mut options = fs::File::options();
                let file = options
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(self.path(path))?;
                file.write_all_at(&noise(*len, *seed), *offset)?;
            }
            Operation::Replace { path, len, seed } => {
                fs::write(self.path(path), noise(*len, *seed))?
            }
            Operation::Truncate { path, size } => {
                fs::File::options()
                    .write(true)
                    .open(self.path(path))?
                    .set_len(*size)?;
            }
            Operation::Copy { from, to } => copy(&self.path(from), &self.path(to))?,
            Operation::Rename { from, to } => fs::rename(self.path(from), self.path(to))?,
            Operation::Unlink(path) => fs::remove_file(self.path(path))?,
            Operation::MakeDirectory(path) => fs::create_dir(self.path(path))?,
            Operation::RemoveDirectory(path) => fs::remove_dir(self.path(path))?,
            Operation::Read { path, offset, len } => {
                // For a directory, reading fails at the read, and opening for writing fails at the open.
                let file = fs::File::open(self.path(path))?;
                let mut bytes = vec![0; *len];
                let mut got = file.read_at(&mut bytes, *offset)?;
                while got < *len {
                    match file.read_at(&mut bytes[got..], *offset + got as u64)? {
                        0 => break,
                        more => got += more,
                    }
                }
                bytes.truncate(got);
                if *len == 0 && file.metadata()?.is_dir() {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                return Ok(bytes);
            }
        }
        Ok(Vec::new())
    }
}

/// Copies a file with `fs::copy`, which uses copy_file_range. A file is not copied onto itself, because
/// `fs::copy` would empty it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let source = fs::metadata(from)?;
    if source.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if from != to {
        fs::copy(from, to)?;
    }
    Ok(())
}

impl Subject for ThroughMount {
    fn apply(&mut self, operation: &Operation) -> Result<Vec<u8>, Fault> {
        self.attempt(operation).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Fault::NotFound,
            io::ErrorKind::AlreadyExists => Fault::Exists,
            io::ErrorKind::NotADirectory => Fault::NotDirectory,
            io::ErrorKind::IsADirectory => Fault::IsDirectory,
            io::ErrorKind::DirectoryNotEmpty => Fault::NotEmpty,
            io::ErrorKind::InvalidInput => Fault::Invalid,
            _ => Fault::Other(error.raw_os_error().unwrap_or(0)),
        })
    }

    fn tree(&mut self) -> Result<Tree, String> {
        let mut tree = Tree::new();
        let mut waiting = vec![self.test.path.clone()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                if path == self.test.path.join(".hls") {
                    continue;
                }
                let key = path
                    .strip_prefix(&self.test.path)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                let meta = fs::symlink_metadata(&path).unwrap();
                if meta.is_dir() {
                    waiting.push(path);
                    tree.insert(key, Node::Directory);
                } else {
                    let bytes = fs::read(&path).map_err(|error| format!("{key}: {error}"))?;
                    assert_eq!(meta.len(), bytes.len() as u64, "stat and read of {key}");
                    tree.insert(key, Node::File(bytes));
                }
            }
        }
        Ok(tree)
    }

    fn restart(&mut self) {
        self.test.restart();
    }

    fn precision(&self) -> Precision {
        Precision::ExactFaults
    }
}
