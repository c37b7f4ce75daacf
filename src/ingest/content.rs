//! A file's bytes into packs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinError, JoinSet};

use super::Shared;
use super::jobs::Lane;
use super::openings::{self, Opening};
use super::outgoing::{split, total};
use super::packer::SHARED_BELOW_BYTES;
use crate::failpoint;
use crate::media::inspect::name::media_kind;
use crate::model::{
    Blob, BlobId, ByteRange, Digest, EntryId, EntryKind, ErrorKind, Extent, ExtentSource,
    FileContent, FileState, FsError, FsResult, PackRef, PackSlice, Views, ViewsState,
};
use crate::remote::{PackInput, RemoteError};
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

/// What of an entry is sent: its content, or what its views need.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    pub lane: Lane,
    pub id: EntryId,
}

/// A blob that is being sent.
#[derive(Debug)]
struct Upload {
    of: Part,
    blob: BlobId,
    file: Arc<SpoolFile>,
    /// What acknowledged packs hold.
    sent: Vec<PackSlice>,
}

impl Upload {
    fn inputs(&self, ranges: &[ByteRange]) -> Vec<PackInput> {
        ranges
            .iter()
            .map(|range| PackInput {
                path: self.file.path.clone(),
                offset: range.offset,
                len: range.len,
            })
            .collect()
    }
}

impl Shared {
    /// Counts what a file will send among what waits, before its turn comes.
    pub(super) fn expect_content(&self, id: EntryId) {
        // A file that cannot be read now is looked at when its turn comes.
        let Ok(content) = self.tree.content(id) else {
            return;
        };
        let unsent = content.blobs.iter().map(|blob| {
            let named = named_ranges(&content.extents, blob.id);
            total(&subtract(&named, &blob.slices))
        });
        self.jobs.expect(Lane::Content, id, unsent.sum());
    }

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
                let of = Part {
                    lane: Lane::Content,
                    id,
                };
                self.store_blob(of, blob, ranges, &mut permit).await?;
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
        of: Part,
        blob: &Blob,
        ranges: Vec<ByteRange>,
        permit: &mut Option<OwnedSemaphorePermit>,
    ) -> FsResult<()> {
        let _turn = self.sending.turn(blob.id).await;
        let sent = merge_slices(blob.slices.clone(), &self.notes.slices(blob.id)?);
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
        let _opening = self.opening(of, blob, &file).await;
        let missing = total(&ranges);
        self.jobs.set_unsent(of.lane, of.id, missing);
        self.jobs.set_progress(of.lane, of.id, "upload", 0);
        let upload = Upload {
            of,
            blob: blob.id,
            file,
            sent,
        };
        let smallest = self.settings.load().pack_bytes;
        let full = self.outgoing.pack_bytes(self.jobs.unsent(), smallest);
        // Packs that grow are not filled by files of a few MiB alone.
        let shares = missing < SHARED_BELOW_BYTES || (full > smallest && missing <= full / 2);
        if shares {
            self.store_shared(upload, ranges, permit).await
        } else {
            self.store_apart(upload, ranges).await
        }
    }

    /// Says what of the blob is to be pinned while it is sent.
    async fn opening(&self, of: Part, blob: &Blob, file: &Arc<SpoolFile>) -> Option<Opening> {
        let entry = self.tree.entry(of.id).ok()?;
        let EntryKind::File(content) = &entry.kind else {
            return None;
        };
        match of.lane {
            // A version that is an overlay opens with what is written in its own blob only in part;
            // who opens it first has it pinned.
            Lane::Content => {
                let is_film = media_kind(&entry.name).is_media();
                let is_whole = is_film && content.extents.len() == 1;
                match is_whole {
                    true => Some(self.outgoing.openings.of_film(&file.path).await),
                    false => None,
                }
            }
            Lane::Views => {
                let Some(views) = self.views_of(of.id, content, blob.id) else {
                    // Texts, all of which a player wants at its start.
                    let all = vec![ByteRange::new(0, blob.len)];
                    let is_current = content.views.derived()?.id == blob.id;
                    return is_current.then(|| self.outgoing.openings.of_ranges(&file.path, all));
                };
                let derived = Arc::clone(file);
                let looking =
                    tokio::task::spawn_blocking(move || openings::of_derived(&views, &derived));
                // Without them a player waits a little.
                let ranges = looking.await.unwrap_or_default();
                Some(self.outgoing.openings.of_ranges(&file.path, ranges))
            }
        }
    }

    /// The views that a derived blob is of: the file's, or those that are made again.
    fn views_of(&self, id: EntryId, content: &FileContent, blob: BlobId) -> Option<Views> {
        match &content.views {
            ViewsState::Ready(views) if views.derived.id == blob => Some((**views).clone()),
            _ => {
                let made = self.remakes.made(id, content.version);
                made.filter(|views| views.derived.id == blob)
            }
        }
    }

    /// In a pack with others. While that fills, another file may have the permit.
    async fn store_shared(
        &self,
        mut upload: Upload,
        ranges: Vec<ByteRange>,
        permit: &mut Option<OwnedSemaphorePermit>,
    ) -> FsResult<()> {
        let Part { lane, id } = upload.of;
        let ticket = self.packer.enter().await;
        drop(permit.take());
        let placed = ticket.add(lane, id, upload.inputs(&ranges)).await?;
        for (range, (pack_offset, pack)) in ranges.iter().zip(placed) {
            upload.sent.push(slice(*range, pack_offset, pack));
        }
        self.note_sent(&mut upload)
    }

    /// In packs of its own, side by side; how large they are is decided as they are begun.
    async fn store_apart(
        self: &Arc<Self>,
        mut upload: Upload,
        ranges: Vec<ByteRange>,
    ) -> FsResult<()> {
        let Part { lane, id } = upload.of;
        let all = total(&ranges);
        let mut rest = ranges;
        let mut planned: VecDeque<Vec<ByteRange>> = VecDeque::new();
        let mut under_way = JoinSet::new();
        let mut done = 0;
        let mut failed = None;
        loop {
            let side_by_side = self.outgoing.side_by_side();
            while failed.is_none() && under_way.len() < side_by_side {
                if planned.is_empty() && !rest.is_empty() {
                    (planned, rest) = self.plan_packs(&rest);
                    self.jobs.set_unsent(lane, id, total(&rest));
                }
                let Some(group) = planned.pop_front() else {
                    break;
                };
                let inputs = upload.inputs(&group);
                under_way.spawn(Arc::clone(self).send_group(upload.of, inputs, group));
            }
            let Some(outcome) = under_way.join_next().await else {
                break;
            };
            match outcome.unwrap_or_else(|error| Err(ended_early(&error))) {
                Ok((group, pack, offsets)) => {
                    for (range, pack_offset) in group.iter().zip(offsets) {
                        upload.sent.push(slice(*range, pack_offset, pack.clone()));
                    }
                    self.note_sent(&mut upload)?;
                    done += total(&group);
                    self.jobs
                        .set_progress(lane, id, "upload", percent(done, all));
                    self.jobs.set_trouble(lane, id, None);
                    self.changed();
                }
                // Those under way are waited for: what they store is noted and not sent twice.
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            None => Ok(()),
            Some(error) => {
                self.jobs.set_unsent(lane, id, all - done);
                Err(error)
            }
        }
    }

    /// The packs that are begun next, as large as what waits asks for, and what is left.
    fn plan_packs(&self, ranges: &[ByteRange]) -> (VecDeque<Vec<ByteRange>>, Vec<ByteRange>) {
        let smallest = self.settings.load().pack_bytes;
        let full = self.outgoing.pack_bytes(self.jobs.unsent(), smallest);
        let share = self.outgoing.share(total(ranges), full);
        let mut groups = split(ranges, share).into_iter();
        let next = groups.by_ref().take(self.outgoing.side_by_side()).collect();
        (next, groups.flatten().collect())
    }

    /// Sends one pack once there is a slot for it, unless the file went or all is stopping.
    async fn send_group(
        self: Arc<Self>,
        of: Part,
        inputs: Vec<PackInput>,
        group: Vec<ByteRange>,
    ) -> FsResult<(Vec<ByteRange>, PackRef, Vec<u64>)> {
        let slot = self.outgoing.slot().await;
        if !self.jobs.contains(of.id) {
            return Err(ErrorKind::NotFound.into());
        }
        if self.stopping.load(Ordering::Relaxed) {
            return Err(FsError::new(ErrorKind::Io, "ingest is stopping"));
        }
        let tell = |error: &RemoteError| {
            self.jobs
                .set_trouble(of.lane, of.id, Some(error.to_string()));
        };
        let sent = self.outgoing.send(inputs, &slot, &tell).await;
        let (pack, offsets) = sent.map_err(remote_error)?;
        Ok((group, pack, offsets))
    }

    fn note_sent(&self, upload: &mut Upload) -> FsResult<()> {
        upload.sent = merge_slices(std::mem::take(&mut upload.sent), &[]);
        self.notes.note_slices(upload.blob, &upload.sent)
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

fn ended_early(error: &JoinError) -> FsError {
    FsError::new(
        ErrorKind::Io,
        format!("sending a pack ended early: {error}"),
    )
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

/// A blob that one pack holds whole.
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
