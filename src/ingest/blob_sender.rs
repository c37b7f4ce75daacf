//! Sending of blobs. The ranges that no pack holds yet go into shared packs or into packs of their own.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinError, JoinSet};

use super::blob_locks::BlobLocks;
use super::changes::ChangeSignal;
use super::jobs::{FileStage, Jobs};
use super::notes::Notes;
use super::openings::OpeningOf;
use super::outgoing::{Outgoing, PackFollower, SentPack, remote_error, split, total};
use super::packer::{Packer, SHARED_BELOW_BYTES};
use super::parts::CommonParts;
use super::settings::LiveSettings;
use super::slices::{merge_slices, slice, subtract};
use super::steps::RunningSteps;
use super::upload_progress::{MeteredBytes, PackEnd};
use crate::model::{Blob, BlobId, ByteRange, ErrorKind, FsError, FsResult, PackSlice};
use crate::remote::{PackInput, RemoteError, SendMeter};
use crate::spool::{Spool, SpoolFile};

/// Order to send ranges of a blob.
#[derive(Debug)]
pub struct BlobToSend<'a> {
    /// Stage that the sending belongs to.
    pub of: FileStage,
    /// Blob as its entry knows it.
    pub blob: &'a Blob,
    /// Ranges that are needed. Those that packs hold are left out.
    pub ranges: Vec<ByteRange>,
    /// Ranges that are pinned in the block cache while they are sent.
    pub opening: OpeningOf<'a>,
}

/// Blob that is being sent.
#[derive(Debug)]
struct BlobUpload {
    of: FileStage,
    blob: BlobId,
    file: Arc<SpoolFile>,
    /// Slices that acknowledged packs hold.
    sent: Vec<PackSlice>,
}

impl BlobUpload {
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

/// Ranges of a blob, and the pack that holds them.
#[derive(Debug)]
struct SentRanges {
    ranges: Vec<ByteRange>,
    sent: SentPack,
}

/// Sender of spooled blobs. Slices are noted as packs are acknowledged, so that none is sent twice.
#[derive(Debug)]
pub struct BlobSender {
    outgoing: Arc<Outgoing>,
    packer: Arc<Packer>,
    jobs: Arc<Jobs>,
    notes: Arc<Notes>,
    spool: Arc<Spool>,
    settings: Arc<LiveSettings>,
    steps: Arc<RunningSteps>,
    changes: Arc<ChangeSignal>,
    locks: BlobLocks,
}

impl BlobSender {
    /// Builds the sender over the parts that it needs.
    #[must_use]
    pub fn new(parts: &CommonParts) -> Self {
        Self {
            outgoing: Arc::clone(&parts.outgoing),
            packer: Arc::clone(&parts.packer),
            jobs: Arc::clone(&parts.jobs),
            notes: Arc::clone(&parts.notes),
            spool: Arc::clone(&parts.spool),
            settings: Arc::clone(&parts.settings),
            steps: Arc::clone(&parts.steps),
            changes: Arc::clone(&parts.changes),
            locks: BlobLocks::default(),
        }
    }

    /// Sends the ranges of a blob that neither its record nor the notes of an earlier run know as
    /// sent. The permit is given back while the blob only waits for a shared pack.
    ///
    /// # Errors
    /// `Io` when the spool misses the bytes or the index fails; the remote's errors.
    pub async fn send(
        self: &Arc<Self>,
        order: BlobToSend<'_>,
        permit: &mut Option<OwnedSemaphorePermit>,
    ) -> FsResult<()> {
        let BlobToSend { of, blob, .. } = order;
        let _lock = self.locks.lock(blob.id).await;
        let sent = merge_slices(blob.slices.clone(), &self.notes.slices(blob.id)?);
        let ranges = subtract(&order.ranges, &sent);
        let missing = total(&ranges);
        let stored = total(&order.ranges) - missing;
        self.jobs
            .update_upload(of, |upload| upload.add_stored(stored));
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
        let _opening = self.outgoing.openings.hold(order.opening, &file).await;
        self.jobs.set_unsent(of.stage, of.id, missing);
        let upload = BlobUpload {
            of,
            blob: blob.id,
            file,
            sent,
        };
        let smallest = self.settings.get().pack_bytes;
        let full = self.outgoing.pack_bytes(self.jobs.unsent(), smallest);
        // Packs that grow are not filled by files of a few MiB alone.
        let shares = missing < SHARED_BELOW_BYTES || (full > smallest && missing <= full / 2);
        if shares {
            self.send_shared(upload, ranges, permit).await
        } else {
            self.send_apart(upload, ranges).await
        }
    }

    /// Sends the ranges in a pack with other blobs. Another file may have the permit while it fills.
    async fn send_shared(
        &self,
        mut upload: BlobUpload,
        ranges: Vec<ByteRange>,
        permit: &mut Option<OwnedSemaphorePermit>,
    ) -> FsResult<()> {
        let ticket = self.packer.enter().await;
        drop(permit.take());
        let placed = ticket.add(upload.of, upload.inputs(&ranges)).await?;
        for (range, (pack_offset, pack)) in ranges.iter().zip(placed) {
            upload.sent.push(slice(*range, pack_offset, pack));
        }
        self.note_sent(&mut upload)
    }

    /// Sends the ranges in packs of their own, side by side. The size of each pack is decided when it
    /// is begun.
    async fn send_apart(
        self: &Arc<Self>,
        mut upload: BlobUpload,
        ranges: Vec<ByteRange>,
    ) -> FsResult<()> {
        let FileStage { stage, id } = upload.of;
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
                    self.jobs.set_unsent(stage, id, total(&rest));
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
                Ok(SentRanges { ranges, sent }) => {
                    for (range, pack_offset) in ranges.iter().zip(sent.offsets) {
                        let slice = slice(*range, pack_offset, sent.pack.clone());
                        upload.sent.push(slice);
                    }
                    self.note_sent(&mut upload)?;
                    done += total(&ranges);
                    self.jobs.set_trouble(stage, id, None);
                    self.changes.raise();
                }
                // Packs under way are waited for: the slices that they store are noted and not sent twice.
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            None => Ok(()),
            Some(error) => {
                self.jobs.set_unsent(stage, id, all - done);
                Err(error)
            }
        }
    }

    /// Returns the packs to begin next, whose size follows from the waiting bytes, and the ranges that
    /// are left.
    fn plan_packs(&self, ranges: &[ByteRange]) -> (VecDeque<Vec<ByteRange>>, Vec<ByteRange>) {
        let smallest = self.settings.get().pack_bytes;
        let full = self.outgoing.pack_bytes(self.jobs.unsent(), smallest);
        let share = self.outgoing.share(total(ranges), full);
        let mut groups = split(ranges, share).into_iter();
        let next = groups.by_ref().take(self.outgoing.side_by_side()).collect();
        (next, groups.flatten().collect())
    }

    /// Sends one pack once a slot is free, unless the file is gone or ingest is stopping.
    async fn send_group(
        self: Arc<Self>,
        of: FileStage,
        inputs: Vec<PackInput>,
        group: Vec<ByteRange>,
    ) -> FsResult<SentRanges> {
        let slot = self.outgoing.slot().await;
        if !self.jobs.contains(of.id) {
            return Err(ErrorKind::NotFound.into());
        }
        if self.steps.is_stopping() {
            return Err(FsError::new(ErrorKind::Io, "ingest is stopping"));
        }
        let tell = |error: &RemoteError| {
            self.jobs
                .set_trouble(of.stage, of.id, Some(error.to_string()));
        };
        let meter: Arc<SendMeter> = Arc::default();
        let bytes = MeteredBytes {
            meter: Arc::clone(&meter),
            start: 0,
            len: total(&group),
        };
        self.jobs.update_upload(of, |upload| upload.watch(bytes));
        let follower = PackFollower {
            tell: &tell,
            meter: Arc::clone(&meter),
        };
        let sent = self.outgoing.send(inputs, &slot, follower).await;
        let end = match &sent {
            Ok(_) => PackEnd::Stored,
            Err(_) => PackEnd::Failed,
        };
        self.jobs
            .update_upload(of, |upload| upload.unwatch(&meter, end));
        Ok(SentRanges {
            ranges: group,
            sent: sent.map_err(remote_error)?,
        })
    }

    fn note_sent(&self, upload: &mut BlobUpload) -> FsResult<()> {
        upload.sent = merge_slices(std::mem::take(&mut upload.sent), &[]);
        self.notes.note_slices(upload.blob, &upload.sent)
    }
}

fn ended_early(error: &JoinError) -> FsError {
    FsError::new(
        ErrorKind::Io,
        format!("sending a pack ended early: {error}"),
    )
}
