//! Arithmetic on ranges of a blob and on the slices of packs that hold them. Pure.

use crate::model::{Blob, BlobId, ByteRange, Digest, Extent, ExtentSource, PackRef, PackSlice};

/// Returns one digest over the places of a blob's bytes. It suffices because each pack's table pins the
/// digests of its blocks.
#[must_use]
pub fn slices_digest(slices: &[PackSlice]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for slice in slices {
        hasher.update(&slice.pack.table_digest.0);
        hasher.update(&slice.pack_offset.to_le_bytes());
        hasher.update(&slice.len.to_le_bytes());
    }
    Digest(*hasher.finalize().as_bytes())
}

/// Returns a new blob that one pack holds whole.
#[must_use]
pub fn blob_of_pack(pack: PackRef) -> Blob {
    let len = pack.data_len;
    let slices = vec![slice(ByteRange::new(0, len), 0, pack)];
    Blob {
        id: BlobId::random(),
        len,
        digest: Some(slices_digest(&slices)),
        slices,
    }
}

/// Returns the slice of a blob that holds `range` at `pack_offset` of the pack's data.
#[must_use]
pub fn slice(range: ByteRange, pack_offset: u64, pack: PackRef) -> PackSlice {
    PackSlice {
        blob_offset: range.offset,
        pack_offset,
        len: range.len,
        pack,
    }
}

/// Returns the ranges of `blob` that extents name, ascending and without overlap.
#[must_use]
pub fn named_ranges(extents: &[Extent], blob: BlobId) -> Vec<ByteRange> {
    let mut ranges: Vec<ByteRange> = extents
        .iter()
        .filter(|extent| extent.source == ExtentSource::Blob(blob))
        .map(|extent| ByteRange::new(extent.offset, extent.len))
        .collect();
    ranges.sort_by_key(|range| range.offset);
    let mut merged: Vec<ByteRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.offset <= last.end() => {
                last.len = last.len.max(range.end() - last.offset);
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// Merges two lists of slices, ascending by offset and with each byte once. The first of two slices of
/// the same bytes stays.
#[must_use]
pub fn merge_slices(mut slices: Vec<PackSlice>, more: &[PackSlice]) -> Vec<PackSlice> {
    slices.extend_from_slice(more);
    slices.sort_by_key(|slice| slice.blob_offset);
    let mut merged: Vec<PackSlice> = Vec::with_capacity(slices.len());
    let mut end = 0;
    for slice in slices {
        let slice_end = slice.blob_offset + slice.len;
        if merged.is_empty() || slice.blob_offset >= end {
            end = slice_end;
            merged.push(slice);
        } else if slice_end > end {
            let skip = end - slice.blob_offset;
            merged.push(PackSlice {
                blob_offset: end,
                pack_offset: slice.pack_offset + skip,
                len: slice.len - skip,
                pack: slice.pack,
            });
            end = slice_end;
        }
    }
    merged
}

/// Returns `ranges` without the bytes that `sent` covers. Both are ascending.
#[must_use]
pub fn subtract(ranges: &[ByteRange], sent: &[PackSlice]) -> Vec<ByteRange> {
    let mut left = Vec::new();
    for range in ranges {
        let mut at = range.offset;
        for slice in sent {
            let slice_end = slice.blob_offset + slice.len;
            if slice_end <= at || slice.blob_offset >= range.end() {
                continue;
            }
            if slice.blob_offset > at {
                left.push(ByteRange::new(at, slice.blob_offset - at));
            }
            at = slice_end;
        }
        if at < range.end() {
            left.push(ByteRange::new(at, range.end() - at));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ingest::outgoing::split;
    use crate::model::{PackAddress, PackId};

    fn slice_at(blob_offset: u64, len: u64) -> PackSlice {
        let pack = PackRef {
            id: PackId::random(),
            address: PackAddress::Local,
            data_len: len,
            len,
            table_digest: Digest::of(b""),
        };
        PackSlice {
            blob_offset,
            pack_offset: 0,
            len,
            pack,
        }
    }

    proptest! {
        /// Merged slices cover the bytes of their parts once. The bytes left to send are the rest.
        #[test]
        fn nothing_is_sent_twice_and_nothing_is_left_out(
            slices in proptest::collection::vec((0u64..100, 1u64..30), 0..8),
            ranges in proptest::collection::vec((0u64..100, 1u64..30), 0..8),
            pack in 1u64..40,
        ) {
            let merged = merge_slices(slices.iter().map(|(o, l)| slice_at(*o, *l)).collect(), &[]);
            let id = BlobId::from_bytes([1; 16]);
            let extents: Vec<Extent> = ranges.iter().map(|(offset, len)| Extent {
                source: ExtentSource::Blob(id), offset: *offset, len: *len,
            }).collect();
            let left = subtract(&named_ranges(&extents, id), &merged);
            for at in 0..140u64 {
                let sent = slices.iter().any(|(o, l)| (*o..o + l).contains(&at));
                let named = ranges.iter().any(|(o, l)| (*o..o + l).contains(&at));
                let covered = merged.iter()
                    .filter(|s| (s.blob_offset..s.blob_offset + s.len).contains(&at)).count();
                prop_assert_eq!(covered, usize::from(sent));
                let to_send = left.iter().filter(|r| (r.offset..r.end()).contains(&at)).count();
                prop_assert_eq!(to_send, usize::from(named && !sent));
            }
            let groups = split(&left, pack);
            prop_assert!(groups.iter().all(|g| g.iter().map(|r| r.len).sum::<u64>() <= pack));
            let total: u64 = groups.iter().flatten().map(|r| r.len).sum();
            prop_assert_eq!(total, left.iter().map(|r| r.len).sum::<u64>());
        }
    }
}
