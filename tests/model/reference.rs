//! Plain model of a file system: paths and bytes in memory, with the errors of Linux.

use std::collections::BTreeMap;

use crate::material::{Random, noise};

pub type TreePath = Vec<&'static str>;
pub type Tree = BTreeMap<String, Node>;

/// Names of files. They are few, so that operations meet.
const NAMES: [&str; 4] = ["a", "b", "c d", "é"];
const DEEPEST: u64 = 3;
const LARGEST_FILE: u64 = 900_000;

#[derive(Clone, PartialEq, Eq)]
pub enum Node {
    Directory,
    File(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    NotFound,
    Exists,
    NotDirectory,
    IsDirectory,
    NotEmpty,
    Invalid,
    Other(i32),
}

#[derive(Debug, Clone)]
pub enum Operation {
    /// Opens the file, creates it if it is missing, writes and closes.
    Write {
        path: TreePath,
        offset: u64,
        len: usize,
        seed: u64,
    },
    /// Opens the file with `O_TRUNC`, then writes.
    Replace {
        path: TreePath,
        len: usize,
        seed: u64,
    },
    Truncate {
        path: TreePath,
        size: u64,
    },
    Rename {
        from: TreePath,
        to: TreePath,
    },
    /// Copies with `copy_file_range` if the subject has it.
    Copy {
        from: TreePath,
        to: TreePath,
    },
    Unlink(TreePath),
    MakeDirectory(TreePath),
    RemoveDirectory(TreePath),
    Read {
        path: TreePath,
        offset: u64,
        len: usize,
    },
}

impl Operation {
    pub fn random(random: &mut Random) -> Self {
        let path = path(random);
        let len = |random: &mut Random| {
            let limit = if random.below(5) == 0 { 300_000 } else { 5000 };
            usize::try_from(random.below(limit)).unwrap()
        };
        match random.below(100) {
            0..20 => Self::Write {
                path,
                offset: random.below(LARGEST_FILE - 300_000),
                len: 1 + len(random),
                seed: random.next(),
            },
            20..32 => Self::Replace {
                path,
                len: len(random),
                seed: random.next(),
            },
            32..40 => Self::Truncate {
                path,
                size: random.below(LARGEST_FILE),
            },
            40..58 => Self::Rename {
                from: path,
                to: self::path(random),
            },
            58..66 => Self::Copy {
                from: path,
                to: self::path(random),
            },
            66..72 => Self::Unlink(path),
            72..88 => Self::MakeDirectory(path),
            88..93 => Self::RemoveDirectory(path),
            _ => Self::Read {
                path,
                offset: random.below(LARGEST_FILE),
                len: len(random),
            },
        }
    }
}

fn path(random: &mut Random) -> TreePath {
    let depth = 1 + random.below(DEEPEST);
    (0..depth).map(|_| *random.pick(&NAMES)).collect()
}

#[derive(Default)]
pub struct Model {
    tree: Tree,
}

fn key(path: &[&str]) -> String {
    path.join("/")
}

impl Model {
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    pub fn apply(&mut self, operation: &Operation) -> Result<Vec<u8>, Fault> {
        match operation {
            Operation::Write {
                path,
                offset,
                len,
                seed,
            } => {
                let data = noise(*len, *seed);
                let file = self.file_or_new(path)?;
                let end = usize::try_from(*offset).unwrap() + data.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[end - data.len()..end].copy_from_slice(&data);
            }
            Operation::Replace { path, len, seed } => *self.file_or_new(path)? = noise(*len, *seed),
            Operation::Truncate { path, size } => {
                self.file(path)?.resize(usize::try_from(*size).unwrap(), 0);
            }
            Operation::Copy { from, to } => {
                let bytes = self.file(from)?.clone();
                if key(from) != key(to) {
                    *self.file_or_new(to)? = bytes;
                }
            }
            Operation::Rename { from, to } => self.rename(from, to)?,
            Operation::Unlink(path) => {
                self.file(path)?;
                self.tree.remove(&key(path));
            }
            Operation::MakeDirectory(path) => {
                self.parent(path)?;
                if self.tree.contains_key(&key(path)) {
                    return Err(Fault::Exists);
                }
                self.tree.insert(key(path), Node::Directory);
            }
            Operation::RemoveDirectory(path) => {
                self.parent(path)?;
                match self.tree.get(&key(path)).ok_or(Fault::NotFound)? {
                    Node::File(_) => return Err(Fault::NotDirectory),
                    Node::Directory if self.has_children(path) => return Err(Fault::NotEmpty),
                    Node::Directory => self.tree.remove(&key(path)),
                };
            }
            Operation::Read { path, offset, len } => {
                let file = self.file(path)?;
                let start = usize::try_from(*offset).unwrap().min(file.len());
                return Ok(file[start..(start + len).min(file.len())].to_vec());
            }
        }
        Ok(Vec::new())
    }

    fn parent(&self, path: &[&str]) -> Result<(), Fault> {
        for end in 1..path.len() {
            match self.tree.get(&key(&path[..end])) {
                None => return Err(Fault::NotFound),
                Some(Node::File(_)) => return Err(Fault::NotDirectory),
                Some(Node::Directory) => {}
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &[&str]) -> Result<&mut Vec<u8>, Fault> {
        self.parent(path)?;
        match self.tree.get_mut(&key(path)) {
            None => Err(Fault::NotFound),
            Some(Node::Directory) => Err(Fault::IsDirectory),
            Some(Node::File(bytes)) => Ok(bytes),
        }
    }

    fn file_or_new(&mut self, path: &[&str]) -> Result<&mut Vec<u8>, Fault> {
        self.parent(path)?;
        self.tree
            .entry(key(path))
            .or_insert_with(|| Node::File(Vec::new()));
        self.file(path)
    }

    fn has_children(&self, path: &[&str]) -> bool {
        let below = format!("{}/", key(path));
        self.tree
            .range(below.clone()..)
            .next()
            .is_some_and(|(key, _)| key.starts_with(&below))
    }

    /// Renames with the checks in the order of `do_renameat2` in Linux.
    fn rename(&mut self, from: &[&str], to: &[&str]) -> Result<(), Fault> {
        self.parent(from)?;
        self.parent(to)?;
        let source = self.tree.get(&key(from)).ok_or(Fault::NotFound)?;
        let is_directory = *source == Node::Directory;
        if is_directory && to.len() > from.len() && to.starts_with(from) {
            return Err(Fault::Invalid);
        }
        if from.len() > to.len() && from.starts_with(to) {
            return Err(Fault::NotEmpty);
        }
        if key(from) == key(to) {
            return Ok(());
        }
        match (is_directory, self.tree.get(&key(to))) {
            (true, Some(Node::File(_))) => return Err(Fault::NotDirectory),
            (false, Some(Node::Directory)) => return Err(Fault::IsDirectory),
            (true, Some(Node::Directory)) if self.has_children(to) => return Err(Fault::NotEmpty),
            _ => {}
        }
        let below = format!("{}/", key(from));
        let moved: Vec<String> = self
            .tree
            .keys()
            .filter(|path| **path == key(from) || path.starts_with(&below))
            .cloned()
            .collect();
        for path in moved {
            if let Some(node) = self.tree.remove(&path) {
                self.tree
                    .insert(format!("{}{}", key(to), &path[key(from).len()..]), node);
            }
        }
        Ok(())
    }
}

/// Describes the entries that are missing, superfluous or different.
pub fn difference(expected: &Tree, found: &Tree) -> String {
    let mut lines = Vec::new();
    let describe = |node: &Node| match node {
        Node::Directory => "directory".to_owned(),
        Node::File(bytes) => format!("file of {} bytes", bytes.len()),
    };
    for (path, node) in expected {
        match found.get(path) {
            None => lines.push(format!("{path}: missing {}", describe(node))),
            Some(other) if other == node => {}
            Some(other) => {
                let at = match (node, other) {
                    (Node::File(a), Node::File(b)) => a.iter().zip(b).position(|(a, b)| a != b),
                    _ => None,
                };
                lines.push(format!(
                    "{path}: {} is {}, first other byte {at:?}",
                    describe(node),
                    describe(other)
                ));
            }
        }
    }
    for (path, node) in found {
        if !expected.contains_key(path) {
            lines.push(format!("{path}: unexpected {}", describe(node)));
        }
    }
    lines.join("; ")
}
