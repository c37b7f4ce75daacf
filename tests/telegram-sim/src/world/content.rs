//! The bytes of documents, in the parts they were uploaded in: nothing is copied together.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

/// One part, in memory or in a file of its own.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Memory(Bytes),
    File { path: PathBuf, length: usize },
}

impl Part {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File { length, .. } => *length,
        }
    }

    /// Writes a part to `path`, whole or not at all.
    pub(crate) fn write(path: PathBuf, bytes: &[u8]) -> Result<Self> {
        let unfinished = path.with_extension("new");
        fs::write(&unfinished, bytes)
            .and_then(|()| fs::rename(&unfinished, &path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::File {
            path,
            length: bytes.len(),
        })
    }

    fn copy_to(&self, offset: usize, length: usize, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Memory(bytes) => out.extend_from_slice(&bytes[offset..offset + length]),
            Self::File { path, .. } => {
                let start = out.len();
                out.resize(start + length, 0);
                File::open(path)?.read_exact_at(&mut out[start..], offset as u64)?;
            }
        }
        Ok(())
    }
}

/// The parts of a document: all of one size but the last.
#[derive(Debug)]
pub(crate) struct Content {
    part_bytes: usize,
    size: u64,
    parts: Vec<Part>,
}

impl Content {
    pub(crate) fn new(parts: Vec<Part>) -> Self {
        Self {
            part_bytes: parts.first().map_or(1, Part::len).max(1),
            size: parts.iter().map(|part| part.len() as u64).sum(),
            parts,
        }
    }

    /// The document whose parts lie in `directory`, named by their numbers.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let mut parts = Vec::new();
        loop {
            let path = directory.join(parts.len().to_string());
            match fs::metadata(&path) {
                Ok(found) => parts.push(Part::File {
                    path,
                    length: usize::try_from(found.len())?,
                }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
            }
        }
        ensure!(!parts.is_empty(), "no parts in {}", directory.display());
        Ok(Self::new(parts))
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The same document with one byte turned over.
    pub(crate) fn with_flipped(&self, offset: u64) -> Result<Self> {
        ensure!(
            offset < self.size,
            "the document has only {} bytes",
            self.size
        );
        let offset = usize::try_from(offset)?;
        let (index, within) = (offset / self.part_bytes, offset % self.part_bytes);
        let mut parts = self.parts.clone();
        let mut bytes = Vec::new();
        parts[index].copy_to(0, parts[index].len(), &mut bytes)?;
        bytes[within] ^= 0xff;
        parts[index] = match &parts[index] {
            Part::Memory(_) => Part::Memory(bytes.into()),
            Part::File { path, .. } => Part::write(path.clone(), &bytes)?,
        };
        Ok(Self::new(parts))
    }
}

/// A range of a document, cut to its end.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    content: Arc<Content>,
    offset: u64,
    length: usize,
}

impl Slice {
    pub(crate) fn new(content: Arc<Content>, offset: u64, limit: usize) -> Self {
        let left = content.size.saturating_sub(offset);
        Self {
            length: usize::try_from(left).map_or(limit, |left| left.min(limit)),
            content,
            offset,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Appends the bytes of the range.
    pub(crate) fn copy_to(&self, out: &mut Vec<u8>) -> Result<()> {
        let mut at = usize::try_from(self.offset)?;
        let mut left = self.length;
        while left > 0 {
            let (index, within) = (at / self.content.part_bytes, at % self.content.part_bytes);
            let part = self
                .content
                .parts
                .get(index)
                .context("a hole in a document")?;
            let now = left.min(part.len() - within);
            part.copy_to(within, now, out)
                .context("cannot read a document")?;
            at += now;
            left -= now;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cross_parts_and_end_with_the_document() {
        let parts = ["abcd", "efgh", "ij"].map(|text| Part::Memory(Bytes::from(text)));
        let content = Arc::new(Content::new(parts.to_vec()));
        let read = |offset, limit| {
            let mut out = Vec::new();
            Slice::new(content.clone(), offset, limit)
                .copy_to(&mut out)
                .expect("a range");
            String::from_utf8(out).expect("letters")
        };
        assert_eq!(read(0, 4), "abcd");
        assert_eq!(read(2, 7), "cdefghi");
        assert_eq!(read(8, 100), "ij");
        assert_eq!(read(10, 4), "");
        assert_eq!(read(99, 4), "");
        let flipped = content.with_flipped(5).expect("a byte");
        let mut out = Vec::new();
        let slice = Slice::new(Arc::new(flipped), 4, 2);
        slice.copy_to(&mut out).expect("a range");
        assert_eq!(out, [b'e', b'f' ^ 0xff]);
    }
}
