//! A file's bytes into packs.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use super::jobs::Lane;
use super::packer::SHARED_BELOW_BYTES;
use crate::failpoint;
use crate::model::{
    Blob, BlobId, ByteRange, Digest, EntryId, EntryKind, ErrorKind, Extent, ExtentSource,
    FileState, FsError, FsResult, PackRef, PackSlice,
};
use crate::remote::{self, PackInput, Remote, RemoteError, SealedPack};
use crate::spool::SpoolFile;

/// Why a pack could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("the spool: {0}")]
    Spool(#[from] std::io::Error),
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

pub fn remote_error(error: SendError) -> FsError {
    match error {
        SendError::Spool(error) => error.into(),
        SendError::Remote(error) => error.into(),
    }
}

/// Seals and stores one pack; where its slices lie in it.
pub async fn send(
    remote: &Arc<dyn Remote>,
    inputs: Vec<PackInput>,
) -> Result<(PackRef, Vec<u64>), SendError> {
    let cipher = remote.cipher().clone();
    let sealed = tokio::task::spawn_blocking(move || SealedPack::seal(inputs, &cipher))
        .await
        .map_err(std::io::Error::other)??;
    let pack = remote::store_pack(remote, &sealed).await?;
    failpoint::pass(failpoint::Step::PackPut);
    Ok((pack, sealed.slice_offsets()))
}

/// What of a blob is to be sent.
#[derive(Debug)]
struct Missing {
    file: Arc<SpoolFile>,
    ranges: Vec<ByteRange>,
}

impl Missing {
    fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.len).sum()
    }
}

impl Shared {
    /// Sends what no pack holds yet and notes where it is. The permit bounds how many large files
    /// are sent side by side; a small one gives it back while its shared pack fills.
    pub(super) async fn store_content(
        self: &Arc<Self>,
        id: EntryId,
        permit: OwnedSemaphorePermit,
    ) -> FsResult<()> {
        let entry = self.tree.entry(id)?;
        let EntryKind::File(content) = &entry.kind else {
            return Ok(());
        };
        // Asked after the record was read: a draft that begins now is not in it.
        if self.jobs.is_held(id) || matches!(content.state, FileState::Failed(_)) {
            return Ok(());
        }
        if !content.is_durable() {
            let mut permit = Some(permit);
            for blob in &content.blobs {
                let ranges = named_ranges(&content.extents, blob.id);
                self.store_blob(Lane::Content, id, blob, ranges, &mut permit)
                    .await?;
            }
            self.place_slices(id)?;
        }
        self.jobs.set_progress(Lane::Content, id, "publish", 99);
        self.publisher.urge();
        Ok(())
    }

    /// Sends the ranges of a blob that neither its record nor an earlier run's notes say are sent.
    pub(super) async fn store_blob(
        self: &Arc<Self>,
        lane: Lane,
        id: EntryId,
        blob: &Blob,
        ranges: Vec<ByteRange>,
        permit: &mut Option<OwnedSemaphorePermit>,
    ) -> FsResult<()> {
        let _turn = self.sending.turn(blob.id).await;
        let mut sent = merge_slices(blob.slices.clone(), &self.notes.slices(blob.id)?);
        let ranges = subtract(&ranges, &sent);
        if ranges.is_empty() {
            return self.notes.note_slices(blob.id, &sent);
        }
        let file = self.spool.get(blob.id).ok_or_else(|| {
            FsError::new(
                ErrorKind::Io,
                format!(
                    "bytes that are not stored yet are missing in the spool (blob {})",
                    blob.id
                ),
            )
        })?;
        let missing = Missing { file, ranges };
        let total = missing.bytes();
        self.jobs.set_progress(lane, id, "upload", 0);
        if total < SHARED_BELOW_BYTES {
            drop(permit.take());
            let placed = self.packer.add(inputs(&missing)).await?;
            for (range, (pack_offset, pack)) in missing.ranges.iter().zip(placed) {
                sent.push(slice(*range, pack_offset, pack));
            }
        } else {
            let mut done = 0;
            for group in split(&missing.ranges, self.settings.load().pack_bytes) {
                if !self.jobs.contains(id) {
                    return Err(ErrorKind::NotFound.into());
                }
                let group = Missing {
                    file: Arc::clone(&missing.file),
                    ranges: group,
                };
                let (pack, offsets) = send(&self.remote, inputs(&group))
                    .await
                    .map_err(remote_error)?;
                for (range, pack_offset) in group.ranges.iter().zip(offsets) {
                    sent.push(slice(*range, pack_offset, pack.clone()));
                }
                sent = merge_slices(sent, &[]);
                self.notes.note_slices(blob.id, &sent)?;
                done += group.bytes();
                self.jobs
                    .set_progress(lane, id, "upload", percent(done, total));
                self.changed();
            }
        }
        self.notes.note_slices(blob.id, &merge_slices(sent, &[]))
    }

    /// Writes the noted slices into the entry; a version that came meanwhile keeps what it shares.
    fn place_slices(&self, id: EntryId) -> FsResult<()> {
        self.tree.update(id, |entry| {
            let EntryKind::File(content) = &mut entry.kind else {
                return Ok(());
            };
            for blob in &mut content.blobs {
                let noted = self.notes.slices(blob.id)?;
                blob.slices = merge_slices(std::mem::take(&mut blob.slices), &noted);
                blob.digest = Some(slices_digest(&blob.slices));
            }
            Ok(())
        })?;
        failpoint::pass(failpoint::Step::PackNamed);
        Ok(())
    }
}

/// One digest over where a blob's bytes stand: each pack's table pins its blocks' digests.
pub fn slices_digest(slices: &[PackSlice]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for slice in slices {
        hasher.update(&slice.pack.table_digest.0);
        hasher.update(&slice.pack_offset.to_le_bytes());
        hasher.update(&slice.len.to_le_bytes());
    }
    Digest(*hasher.finalize().as_bytes())
}

fn inputs(missing: &Missing) -> Vec<PackInput> {
    missing
        .ranges
        .iter()
        .map(|range| PackInput {
            path: missing.file.path.clone(),
            offset: range.offset,
            len: range.len,
        })
        .collect()
}

fn slice(range: ByteRange, pack_offset: u64, pack: PackRef) -> PackSlice {
    PackSlice {
        blob_offset: range.offset,
        pack_offset,
        len: range.len,
        pack,
    }
}

pub fn percent(done: u64, total: u64) -> u8 {
    u8::try_from((done * 98).checked_div(total).unwrap_or(98)).unwrap_or(98)
}

/// The ranges of `blob` that extents name, ascending and without overlap.
fn named_ranges(extents: &[Extent], blob: BlobId) -> Vec<ByteRange> {
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

/// Ascending by offset, each byte once: of two slices of the same bytes the first stays.
fn merge_slices(mut slices: Vec<PackSlice>, more: &[PackSlice]) -> Vec<PackSlice> {
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

/// `ranges` without what `sent` covers; both ascending.
fn subtract(ranges: &[ByteRange], sent: &[PackSlice]) -> Vec<ByteRange> {
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

/// Groups of ranges of at most `pack_bytes` each.
fn split(ranges: &[ByteRange], pack_bytes: u64) -> Vec<Vec<ByteRange>> {
    /// Ranges of one pack: an overlay written in tiny pieces must not make a table of megabytes.
    const MAX_RANGES: usize = 4096;
    let pack_bytes = pack_bytes.max(1);
    let mut groups = Vec::new();
    let mut group: Vec<ByteRange> = Vec::new();
    let mut room = pack_bytes;
    for range in ranges {
        let mut rest = *range;
        while rest.len > 0 {
            if room == 0 || group.len() == MAX_RANGES {
                groups.push(std::mem::take(&mut group));
                room = pack_bytes;
            }
            let take = rest.len.min(room);
            group.push(ByteRange::new(rest.offset, take));
            rest = ByteRange::new(rest.offset + take, rest.len - take);
            room -= take;
        }
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
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
        /// Merged slices cover what the parts covered, once; what is left to send is the rest.
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
