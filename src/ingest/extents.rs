//! Arithmetic on a file's extents: effects of a write, a truncation or a hole on the list. Pure.

use crate::model::{Blob, Extent, ExtentSource, FileContent};

/// Extents of a file that is being written, in file order and without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtentList {
    extents: Vec<Extent>,
    size: u64,
}

impl ExtentList {
    /// Begins with the extents of an entry.
    #[must_use]
    pub fn new(extents: Vec<Extent>) -> Self {
        let size = extents.iter().map(|extent| extent.len).sum();
        Self { extents, size }
    }

    /// Returns the size of the file in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the extents in file order.
    #[must_use]
    pub fn as_slice(&self) -> &[Extent] {
        &self.extents
    }

    /// Returns the extents in file order.
    #[must_use]
    pub fn into_vec(self) -> Vec<Extent> {
        self.extents
    }

    /// Returns the extents of `[offset, offset + len)`, cut to the end of the file.
    #[must_use]
    pub fn range(&self, offset: u64, len: u64) -> Vec<Extent> {
        let end = offset.saturating_add(len).min(self.size);
        let mut found = Vec::new();
        let mut start = 0;
        // Extents are in file order, so those before the range are skipped.
        for extent in &self.extents {
            let extent_end = start + extent.len;
            if extent_end > offset && start < end {
                let from = offset.max(start);
                let to = end.min(extent_end);
                found.push(cut(extent, from - start, to - from));
            }
            if extent_end >= end {
                break;
            }
            start = extent_end;
        }
        found
    }

    /// Replaces `[offset, offset + length of the replacement)`. A gap behind the old end becomes
    /// zeros, as POSIX demands for a write beyond the end.
    pub fn splice(&mut self, offset: u64, replacement: &[Extent]) {
        let len: u64 = replacement.iter().map(|extent| extent.len).sum();
        if len == 0 {
            return;
        }
        // Nearly every tool appends in order. Appending must not copy the list.
        if offset == self.size {
            replacement
                .iter()
                .for_each(|extent| push(&mut self.extents, *extent));
            self.size += len;
            return;
        }
        let end = offset + len;
        let mut spliced = Vec::with_capacity(self.extents.len() + replacement.len() + 2);
        for extent in self.range(0, offset.min(self.size)) {
            push(&mut spliced, extent);
        }
        if offset > self.size {
            push(&mut spliced, zeros(offset - self.size));
        }
        replacement
            .iter()
            .for_each(|extent| push(&mut spliced, *extent));
        for extent in self.range(end, self.size.saturating_sub(end)) {
            push(&mut spliced, extent);
        }
        self.extents = spliced;
        self.size = self.size.max(end);
    }

    /// Cuts the file to `size` bytes, or appends zeros up to it.
    pub fn truncate(&mut self, size: u64) {
        if size < self.size {
            self.extents = self.range(0, size);
        } else if size > self.size {
            push(&mut self.extents, zeros(size - self.size));
        }
        self.size = size;
    }

    /// Puts zeros over the part of `[offset, offset + len)` that the file has.
    pub fn punch(&mut self, offset: u64, len: u64) {
        let len = len.min(self.size.saturating_sub(offset));
        if len > 0 {
            self.splice(offset, &[zeros(len)]);
        }
    }
}

/// Returns an extent of zeros.
#[must_use]
pub const fn zeros(len: u64) -> Extent {
    Extent {
        source: ExtentSource::Zeros,
        offset: 0,
        len,
    }
}

fn cut(extent: &Extent, skip: u64, len: u64) -> Extent {
    let offset = match extent.source {
        ExtentSource::Blob(_) => extent.offset + skip,
        ExtentSource::Zeros => 0,
    };
    Extent {
        source: extent.source,
        offset,
        len,
    }
}

/// Appends an extent, and merges it into the last one where its bytes continue that.
fn push(extents: &mut Vec<Extent>, next: Extent) {
    if next.len == 0 {
        return;
    }
    if let Some(last) = extents.last_mut()
        && last.source == next.source
        && (last.source == ExtentSource::Zeros || last.offset + last.len == next.offset)
    {
        last.len += next.len;
        return;
    }
    extents.push(next);
}

/// Returns the extents that make up a range of a file, and the blobs that they name.
#[must_use]
pub fn needed(content: &FileContent, offset: u64, len: u64) -> (Vec<Extent>, Vec<Blob>) {
    let extents = ExtentList::new(content.extents.clone()).range(offset, len);
    let named = |blob: &&Blob| {
        extents
            .iter()
            .any(|e| e.source == ExtentSource::Blob(blob.id))
    };
    let blobs = content.blobs.iter().filter(named).cloned().collect();
    (extents, blobs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::BlobId;

    const BLOB: BlobId = BlobId::from_bytes([7; 16]);

    fn data(offset: u64, len: u64) -> Extent {
        Extent {
            source: ExtentSource::Blob(BLOB),
            offset,
            len,
        }
    }

    /// Returns one number for each byte: 0 for a zero, otherwise its position in the blob + 1.
    fn flatten(list: &ExtentList) -> Vec<u64> {
        list.as_slice()
            .iter()
            .flat_map(|extent| {
                (0..extent.len).map(|at| match extent.source {
                    ExtentSource::Blob(_) => extent.offset + at + 1,
                    ExtentSource::Zeros => 0,
                })
            })
            .collect()
    }

    #[test]
    fn sequential_writes_stay_one_extent() {
        let mut list = ExtentList::default();
        for at in 0..100 {
            list.splice(at * 10, &[data(at * 10, 10)]);
        }
        assert_eq!(list.as_slice(), &[data(0, 1000)]);
    }

    proptest! {
        #[test]
        fn every_operation_does_what_a_plain_file_does(
            ops in proptest::collection::vec((0u8..3, 0u64..60, 1u64..30, 0u64..1000), 1..40)
        ) {
            let mut list = ExtentList::default();
            let mut model: Vec<u64> = Vec::new();
            for (op, offset, len, from) in ops {
                let (at, end) = (offset as usize, (offset + len) as usize);
                match op {
                    0 => {
                        list.splice(offset, &[data(from, len)]);
                        if model.len() < end { model.resize(end, 0); }
                        for i in 0..len { model[at + i as usize] = from + i + 1; }
                    }
                    1 => {
                        list.truncate(offset);
                        model.resize(at, 0);
                    }
                    _ => {
                        list.punch(offset, len);
                        let stop = end.min(model.len());
                        if at < stop { model[at..stop].fill(0); }
                    }
                }
                prop_assert_eq!(flatten(&list), model.clone());
                prop_assert_eq!(list.size(), model.len() as u64);
                let part = ExtentList::new(list.range(offset, len));
                let (from, to) = (at.min(model.len()), end.min(model.len()));
                prop_assert_eq!(flatten(&part), model[from..to].to_vec());
            }
        }
    }
}
