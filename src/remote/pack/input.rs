//! The sources of a pack's data: runs of spool files, one after the other.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::meter::SendMeter;
use crate::disk;
use crate::model::ByteRange;

/// Bytes that are copied between two looks at the progress.
const COPY_BYTES: u64 = 16 << 20;

/// A run of bytes of a file that goes into a pack.
#[derive(Debug, Clone)]
pub struct PackInput {
    pub path: PathBuf,
    pub offset: u64,
    pub len: u64,
}

impl PackInput {
    fn open(&self) -> io::Result<File> {
        disk::open_regular(&self.path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
        })
    }
}

/// All inputs of a pack, as one run from offset 0.
#[derive(Debug)]
pub struct PackInputs {
    runs: Vec<PackInput>,
    len: u64,
}

impl PackInputs {
    pub fn new(runs: Vec<PackInput>) -> Self {
        let len = runs.iter().map(|run| run.len).sum();
        Self { runs, len }
    }
    /// Returns the bytes of all inputs.
    pub fn len(&self) -> u64 {
        self.len
    }
    /// Returns the length of each input in bytes.
    pub fn lens(&self) -> Vec<u64> {
        self.runs.iter().map(|run| run.len).collect()
    }
    /// Returns the offset of each input.
    pub fn offsets(&self) -> Vec<u64> {
        let mut at = 0;
        let next = self.runs.iter().map(|run| {
            let offset = at;
            at += run.len;
            offset
        });
        next.collect()
    }

    /// Returns exactly the bytes of `range`. Blocking.
    ///
    /// # Errors
    /// When the range passes the end, or an input cannot be read or is shorter than it was.
    pub fn read(&self, range: ByteRange) -> io::Result<Vec<u8>> {
        if range.end() > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; usize::try_from(range.len).map_err(io::Error::other)?];
        let mut start = 0;
        for run in &self.runs {
            if start >= range.end() {
                break;
            }
            let slice = ByteRange::new(start, run.len);
            if let Some(common) = intersect(slice, range) {
                let target = positions(common, range)?;
                let from = run.offset + (common.offset - start);
                run.open()?.read_exact_at(&mut bytes[target], from)?;
            }
            start += run.len;
        }
        Ok(bytes)
    }

    /// Copies all bytes, inside the kernel where possible. Blocking.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn copy_to(&self, output: &mut impl io::Write, meter: &SendMeter) -> io::Result<()> {
        let mut done = 0;
        for run in &self.runs {
            let mut file = run.open()?;
            io::Seek::seek(&mut file, io::SeekFrom::Start(run.offset))?;
            let mut left = run.len;
            while left > 0 {
                let part = left.min(COPY_BYTES);
                let copied = io::copy(&mut (&mut file).take(part), output)?;
                if copied != part {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("{} is shorter than it was", run.path.display()),
                    ));
                }
                left -= part;
                done += part;
                meter.reach(done);
            }
        }
        Ok(())
    }
}

/// Returns the bytes that two ranges share; `None` when there are none.
pub fn intersect(a: ByteRange, b: ByteRange) -> Option<ByteRange> {
    let start = a.offset.max(b.offset);
    let end = a.end().min(b.end());
    (start < end).then(|| ByteRange::new(start, end - start))
}

/// Returns `part` as positions in a buffer that has the bytes of `whole`.
///
/// # Errors
/// When a position does not fit into memory.
pub fn positions(part: ByteRange, whole: ByteRange) -> io::Result<std::ops::Range<usize>> {
    let start = usize::try_from(part.offset - whole.offset).map_err(io::Error::other)?;
    let len = usize::try_from(part.len).map_err(io::Error::other)?;
    Ok(start..start + len)
}
