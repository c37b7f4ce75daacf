//! Location of the bytes of extents, by pure arithmetic over recorded offsets and lengths. The pack size
//! setting is not used, since it may have changed.

use std::sync::Arc;

use crate::model::{
    BLOCK_BYTES, Blob, BlobId, ByteRange, ErrorKind, Extent, ExtentSource, FsError, FsResult,
    PackRef,
};
use crate::spool::SpoolFile;

/// A lookup of the extents behind a range, and of the blobs that they name. `None` ends reading ahead.
pub type ExtentLookup<'a> = &'a dyn Fn(ByteRange) -> Option<(Vec<Extent>, Vec<Blob>)>;

/// A run of bytes that one step can read.
#[derive(Debug)]
pub enum ReadLocation {
    Zeros(usize),
    Spool {
        file: Arc<SpoolFile>,
        offset: u64,
        len: usize,
    },
    /// Within one block of the pack.
    Pack {
        pack: PackRef,
        offset: u64,
        len: usize,
    },
}

impl ReadLocation {
    /// Returns its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Zeros(len) | Self::Spool { len, .. } | Self::Pack { len, .. } => *len as u64,
        }
    }
}

/// Returns the locations of `extents` in order. The spool is preferred, since it is nearer.
///
/// # Errors
/// `Io` when bytes are neither in the spool nor in a pack.
pub fn locate(
    extents: &[Extent],
    blobs: &[Blob],
    spooled: impl Fn(BlobId) -> Option<Arc<SpoolFile>>,
) -> FsResult<Vec<ReadLocation>> {
    let mut places = Vec::new();
    for extent in extents {
        match extent.source {
            ExtentSource::Zeros => places.push(ReadLocation::Zeros(length(extent.len)?)),
            ExtentSource::Blob(id) => {
                if let Some(file) = spooled(id) {
                    let len = length(extent.len)?;
                    places.push(ReadLocation::Spool {
                        file,
                        offset: extent.offset,
                        len,
                    });
                } else {
                    let blob = blobs.iter().find(|blob| blob.id == id);
                    locate_in_packs(blob, extent, &mut places)?;
                }
            }
        }
    }
    Ok(places)
}

fn locate_in_packs(
    blob: Option<&Blob>,
    extent: &Extent,
    places: &mut Vec<ReadLocation>,
) -> FsResult<()> {
    let missing = || {
        FsError::new(
            ErrorKind::Io,
            "bytes are neither in the spool nor in a pack; run `tgfs verify`",
        )
    };
    let blob = blob.ok_or_else(missing)?;
    let (mut at, end) = (extent.offset, extent.offset.saturating_add(extent.len));
    let first = blob
        .slices
        .partition_point(|slice| slice.blob_offset + slice.len <= at);
    for slice in &blob.slices[first..] {
        if at >= end || slice.blob_offset > at {
            break;
        }
        let stop = end.min(slice.blob_offset + slice.len);
        while at < stop {
            let offset = slice.pack_offset + (at - slice.blob_offset);
            let len = (BLOCK_BYTES - offset % BLOCK_BYTES).min(stop - at);
            places.push(ReadLocation::Pack {
                pack: slice.pack.clone(),
                offset,
                len: length(len)?,
            });
            at += len;
        }
    }
    if at < end { Err(missing()) } else { Ok(()) }
}

fn length(len: u64) -> FsResult<usize> {
    usize::try_from(len).map_err(|_| ErrorKind::TooLarge.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Digest, PackAddress, PackId, PackSlice};

    fn slice(number: u8, blob_offset: u64, pack_offset: u64, len: u64) -> PackSlice {
        let pack = PackRef {
            id: PackId::from_bytes([number; 16]),
            address: PackAddress::Local,
            data_len: pack_offset + len,
            len: pack_offset + len,
            table_digest: Digest::of(b""),
        };
        PackSlice {
            blob_offset,
            pack_offset,
            len,
            pack,
        }
    }

    proptest! {
        /// Ragged packs: each byte is found in the pack that holds it, and no location crosses a block.
        #[test]
        fn ragged_packs_are_read_where_they_are(
            lens in proptest::collection::vec((1u64..2_000_000, 0u64..1_000_000), 1..6),
            from in 0u64..4_000_000, want in 0u64..4_000_000,
        ) {
            let mut at = 0;
            let mut slices = Vec::new();
            for (number, (len, pack_offset)) in lens.iter().enumerate() {
                slices.push(slice(number as u8, at, *pack_offset, *len));
                at += len;
            }
            let id = BlobId::from_bytes([1; 16]);
            let blob = Blob { id, len: at, digest: None, slices: slices.clone() };
            let from = from.min(at);
            let len = want.min(at - from);
            let extent = Extent { source: ExtentSource::Blob(id), offset: from, len };
            let places = locate(&[extent], &[blob], |_| None).unwrap();
            let mut position = from;
            for place in places {
                let ReadLocation::Pack { pack, offset, len } = place else { panic!("not in a pack") };
                let home = slices.iter().find(|s| s.pack.id == pack.id).unwrap();
                prop_assert_eq!(offset - home.pack_offset, position - home.blob_offset);
                prop_assert_eq!(offset / BLOCK_BYTES, (offset + len as u64 - 1) / BLOCK_BYTES);
                position += len as u64;
            }
            prop_assert_eq!(position, from + len);
        }
    }

    #[test]
    fn a_hole_in_the_packs_is_an_error_and_never_zeros() {
        let id = BlobId::from_bytes([1; 16]);
        let blob = Blob {
            id,
            len: 30,
            digest: None,
            slices: vec![slice(1, 0, 0, 10), slice(2, 20, 0, 10)],
        };
        let extent = Extent {
            source: ExtentSource::Blob(id),
            offset: 5,
            len: 20,
        };
        assert!(locate(&[extent], std::slice::from_ref(&blob), |_| None).is_err());
        assert!(locate(&[extent], &[], |_| None).is_err());
    }
}
