//! Reader of the log's changes that the index lacks. It may lack none, a lost acknowledgement, some
//! changes, or all.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::attach_error::{AttachError, AttachReport};
use super::known_log::MissingManifests;
use super::log_checks::{Unfit, can_follow, check, describe, is_near};
use super::patient_request::PatientRequests;
use crate::index::{Begun, Index, IndexError, LateAck, LogHead};
use crate::ingest::publish::log_objects::LogSizes;
use crate::model::{AttachState, Digest, Ino, LibraryClaim, LogRecord, Seq};
use crate::remote::{
    LogDecoder, LogHeader, LogKind, LogObject, PassedOver, Remote, RemoteErrorKind, is_superseded,
};

/// Records that the index takes in one go.
const RECORDS_AT_ONCE: usize = 128 * 1024;
/// Bytes of records that the index takes in one go.
const BYTES_AT_ONCE: u64 = 32 * 1024 * 1024;
/// Longest manifest, unpacked, that can be one of ours whose acknowledgement was lost. It is held in memory
/// as a whole.
const MAX_NOTED_BYTES: u64 = 128 * 1024 * 1024;
/// Objects of the log that are read side by side. Each is a round trip, and about 1 MiB at most.
const READ_AHEAD: usize = 8;

/// Reader of the log into an index.
pub(super) struct LogReader<'a> {
    pub index: &'a Arc<Index>,
    pub remote: &'a Arc<dyn Remote>,
    pub requests: PatientRequests<'a>,
}

/// Position in the log that was reached, and the report so far.
#[derive(Debug)]
struct CatchUpProgress {
    head: LogHead,
    last_seq: Seq,
    next_ino: Ino,
    report: AttachReport,
}

/// Treatment of the records that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RecordTreatment {
    /// They are known, and only noted as acknowledged.
    Note,
    /// They go into the rows.
    Fill,
}

/// A manifest, by the remote's answer.
enum Manifest {
    Whole {
        header: LogHeader,
        bytes: Bytes,
        passed_over: PassedOver,
    },
    /// The manifest was written by a daemon that the library was taken from.
    Superseded,
    /// The manifest is not readable for this reason. Its changes are missing.
    Unreadable(String),
}

impl LogReader<'_> {
    /// Reads the whole log into an index that knows nothing of it for sure.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub async fn read_all(&self, claim: LibraryClaim) -> Result<AttachReport, AttachError> {
        // The newest snapshot comes first. In a long channel only the end of the log is cheap to find.
        let snapshots = self.list(LogKind::Snapshot, 0).await?;
        let is_needed = self.index.must_fill() || claim == LibraryClaim::TakeOver;
        if snapshots.is_empty() && !is_needed {
            let manifests = self.list(LogKind::Manifest, 0).await?;
            if manifests.is_empty() {
                return Ok(AttachReport::default());
            }
        }
        self.index.set_attach_state(AttachState::Filling);
        self.blocking(Index::begin_fill).await?;
        let mut progress = self.progress(LogHead::default());
        self.newest_snapshot(snapshots, &mut progress).await?;
        let objects = self.list(LogKind::Manifest, progress.head.number).await?;
        self.take_all(objects, RecordTreatment::Fill, &mut progress)
            .await?;
        self.finish(progress, claim).await
    }

    /// Reads the log behind the last manifest that this index knows.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub async fn follow(&self, claim: LibraryClaim) -> Result<AttachReport, AttachError> {
        let from = self.index.log_head();
        let mut objects = self
            .list(LogKind::Manifest, from.number.saturating_sub(1))
            .await?;
        let mut progress = self.progress(from);
        if from.number > 0 && !objects.iter().any(|object| object.number == from.number) {
            let lost = self.lost_manifests(&from).await?;
            progress.report.notes.extend(lost);
        }
        objects.retain(|object| object.number > from.number);
        if claim == LibraryClaim::Continue {
            self.refuse_others(&objects, &from).await?;
            let treatment = self
                .take_all(objects, RecordTreatment::Note, &mut progress)
                .await?;
            if treatment == RecordTreatment::Note {
                return Ok(progress.report);
            }
        } else {
            self.begin_filling().await?;
            self.take_all(objects, RecordTreatment::Fill, &mut progress)
                .await?;
        }
        self.finish(progress, claim).await
    }

    /// Describes the manifests up to `head` that the store has lost, and has a snapshot made that
    /// restates them.
    async fn lost_manifests(&self, head: &LogHead) -> Result<Option<String>, AttachError> {
        let mut covered = 0;
        for object in self.list(LogKind::Snapshot, 0).await?.into_iter().rev() {
            let read = self.requests.send(|| self.remote.read_log(object)).await;
            let bytes = match read {
                Ok(bytes) => bytes,
                Err(AttachError::Remote(error)) if !error.is_retryable() => continue,
                Err(error) => return Err(error),
            };
            if check(&bytes, object, self.index.library_id()).is_ok() {
                covered = object.number;
                break;
            }
        }
        let manifests = self.list(LogKind::Manifest, covered).await?;
        let missing = MissingManifests::find(head, covered, &manifests);
        let described = missing.describe(&self.remote.describe());
        if described.is_some() {
            self.blocking(|index| LogSizes::open(index)?.make_snapshot_due())
                .await?;
        }
        Ok(described.map(|text| format!("{text}; a snapshot with all of it is written")))
    }

    async fn finish(
        &self,
        progress: CatchUpProgress,
        claim: LibraryClaim,
    ) -> Result<AttachReport, AttachError> {
        let mut head = progress.head;
        if claim == LibraryClaim::TakeOver {
            head.epoch = head.epoch.saturating_add(1);
        }
        let (last_seq, next_ino) = (progress.last_seq, progress.next_ino);
        let mut report = progress.report;
        report.fill = self
            .blocking(move |index| index.finish_fill(head, last_seq, next_ino))
            .await?;
        Ok(report)
    }

    fn progress(&self, head: LogHead) -> CatchUpProgress {
        CatchUpProgress {
            head,
            last_seq: self.index.last_seq(),
            next_ino: self.index.ino_bound(),
            report: AttachReport::default(),
        }
    }

    async fn list(&self, kind: LogKind, after: u64) -> Result<Vec<LogObject>, AttachError> {
        self.requests
            .send(|| self.remote.list_log(kind, after))
            .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Index) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, AttachError> {
        let index = Arc::clone(self.index);
        match tokio::task::spawn_blocking(move || work(&index)).await {
            Ok(outcome) => Ok(outcome?),
            Err(error) => Err(AttachError::Interrupted(error)),
        }
    }

    /// Refuses manifests of other daemons behind the last acknowledged one. A manifest is our own if one
    /// of our starts wrote it and ended before it could note the acknowledgement.
    async fn refuse_others(
        &self,
        objects: &[LogObject],
        from: &LogHead,
    ) -> Result<(), AttachError> {
        for object in objects {
            if self.index.is_own_writer(object.writer)? {
                continue;
            }
            let read = match self.requests.send(|| self.remote.read_log(*object)).await {
                Err(AttachError::Remote(error)) => Err(error),
                Err(error) => return Err(error),
                Ok(bytes) => Ok(bytes),
            };
            if !is_superseded(read, from.epoch)? {
                return Err(AttachError::OtherWriter(object.writer));
            }
        }
        Ok(())
    }

    /// Takes the newest snapshot that is whole. Without one the log is read from its start.
    async fn newest_snapshot(
        &self,
        snapshots: Vec<LogObject>,
        progress: &mut CatchUpProgress,
    ) -> Result<(), AttachError> {
        for object in snapshots.into_iter().rev() {
            let bytes = match self.requests.send(|| self.remote.read_log(object)).await {
                Ok(bytes) => bytes,
                Err(AttachError::Remote(error)) if !error.is_retryable() => {
                    progress.report.notes.push(format!(
                        "snapshot {} cannot be read ({error}); the one before it is used",
                        object.number
                    ));
                    continue;
                }
                Err(error) => return Err(error),
            };
            // It is checked as a whole before the first record is taken, since half a snapshot is of no
            // use.
            match check(&bytes, object, self.index.library_id()) {
                Ok(passed) => progress.note_passed_over("snapshot", object, &passed),
                Err(Unfit::NoKey(error)) => return Err(error.into()),
                Err(reason) => {
                    progress.report.notes.push(format!(
                        "snapshot {} is damaged ({reason}); the one before it is used",
                        object.number
                    ));
                    continue;
                }
            }
            let header = self.take(bytes).await?;
            progress.see(&header);
            progress.head = LogHead {
                number: header.number,
                digest: [0; 32],
                epoch: header.epoch,
            };
            return Ok(());
        }
        Ok(())
    }

    /// Reads manifests side by side and takes them in their order. Returns the last treatment. Noting
    /// turns into filling at the first record that is not known.
    async fn take_all(
        &self,
        objects: Vec<LogObject>,
        mut treatment: RecordTreatment,
        progress: &mut CatchUpProgress,
    ) -> Result<RecordTreatment, AttachError> {
        let reads = objects.into_iter().map(|object| async move {
            let read = self.requests.send(|| self.remote.read_log(object)).await;
            (object, read)
        });
        let mut reads = stream::iter(reads).buffered(READ_AHEAD);
        while let Some((object, read)) = reads.next().await {
            match self.open(object, read, progress)? {
                Manifest::Superseded => progress.note(
                    object,
                    "skipped, from before the library was taken over".into(),
                ),
                Manifest::Unreadable(reason) => {
                    progress.note(
                        object,
                        format!("skipped, its changes are missing ({reason})"),
                    );
                    if !is_near(object.number, progress.head.number) {
                        continue;
                    }
                    progress.head.number = progress.head.number.max(object.number);
                    if treatment == RecordTreatment::Note {
                        let head = progress.head;
                        self.blocking(move |index| index.acknowledge(head, &[]))
                            .await?;
                    }
                }
                Manifest::Whole {
                    header,
                    bytes,
                    passed_over,
                } => {
                    progress.judge(object, &header);
                    progress.note_passed_over("manifest", object, &passed_over);
                    let head = LogHead {
                        number: header.number,
                        digest: Digest::of(&bytes).0,
                        epoch: header.epoch,
                    };
                    if treatment == RecordTreatment::Note && !self.note(head, &bytes).await? {
                        self.begin_filling().await?;
                        treatment = RecordTreatment::Fill;
                    }
                    if treatment == RecordTreatment::Fill {
                        self.take(bytes).await?;
                    }
                    progress.see(&header);
                    progress.head = head;
                    progress.report.manifests += 1;
                }
            }
        }
        Ok(treatment)
    }

    /// Judges the answer for a manifest.
    ///
    /// # Errors
    /// Those that say nothing about the manifest itself.
    fn open(
        &self,
        object: LogObject,
        read: Result<Bytes, AttachError>,
        progress: &CatchUpProgress,
    ) -> Result<Manifest, AttachError> {
        let is_gone = |kind| matches!(kind, RemoteErrorKind::NotFound | RemoteErrorKind::Corrupt);
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(AttachError::Remote(error)) if is_gone(error.kind) => {
                return Ok(Manifest::Unreadable(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        let header = match LogDecoder::new(&bytes) {
            Ok(decoder) => decoder.header().clone(),
            Err(error) if is_gone(error.kind) => {
                return Ok(Manifest::Unreadable(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        if header.epoch < progress.head.epoch {
            return Ok(Manifest::Superseded);
        }
        if !can_follow(
            &header,
            &progress.head,
            progress.last_seq,
            progress.next_ino,
        ) {
            return Ok(Manifest::Unreadable(Unfit::Numbers.to_string()));
        }
        Ok(match check(&bytes, object, self.index.library_id()) {
            Ok(passed_over) => Manifest::Whole {
                header,
                bytes,
                passed_over,
            },
            Err(reason) => Manifest::Unreadable(reason.to_string()),
        })
    }

    /// Acknowledges a manifest if all of its records are known here; returns whether they are.
    async fn note(&self, head: LogHead, bytes: &Bytes) -> Result<bool, AttachError> {
        let bytes = bytes.clone();
        let index = Arc::clone(self.index);
        let noted = tokio::task::spawn_blocking(move || {
            let mut decoder = LogDecoder::new(&bytes)?;
            let mut records: Vec<LogRecord> = Vec::new();
            while let Some(record) = decoder.next_record()? {
                records.push(record);
                if decoder.unpacked() > MAX_NOTED_BYTES {
                    return Ok(false);
                }
            }
            Ok(index.acknowledge_late(head, &records)? != LateAck::Unknown)
        });
        match noted.await {
            Ok(outcome) => outcome,
            Err(error) => Err(AttachError::Interrupted(error)),
        }
    }

    /// Begins to fill rows that were thought to be complete, because the log knows more.
    async fn begin_filling(&self) -> Result<(), AttachError> {
        match self.blocking(Index::begin_fill_unchanged).await? {
            Begun::Yes => {
                self.index.set_attach_state(AttachState::Filling);
                Ok(())
            }
            Begun::Changed => Err(AttachError::Diverged(self.remote.describe())),
        }
    }

    /// Takes all records of a checked object into the index.
    async fn take(&self, bytes: Bytes) -> Result<LogHeader, AttachError> {
        let index = Arc::clone(self.index);
        let taken = tokio::task::spawn_blocking(move || {
            let mut decoder = LogDecoder::new(&bytes)?;
            let mut records: Vec<LogRecord> = Vec::new();
            let mut taken = 0;
            while let Some(record) = decoder.next_record()? {
                records.push(record);
                let is_much = decoder.unpacked() - taken >= BYTES_AT_ONCE;
                if is_much || records.len() >= RECORDS_AT_ONCE {
                    fill_sorted(&index, &mut records)?;
                    taken = decoder.unpacked();
                }
            }
            fill_sorted(&index, &mut records)?;
            Ok(decoder.header().clone())
        });
        match taken.await {
            Ok(outcome) => outcome,
            Err(error) => Err(AttachError::Interrupted(error)),
        }
    }
}

impl CatchUpProgress {
    /// Adds a note on records that were passed over, if there are any.
    fn note_passed_over(&mut self, kind: &str, object: LogObject, passed: &PassedOver) {
        let note = describe(passed).map(|text| format!("{kind} {}: {text}", object.number));
        self.report.notes.extend(note);
    }

    /// Raises the bounds to those of an object.
    fn see(&mut self, header: &LogHeader) {
        self.last_seq = self.last_seq.max(header.last_seq);
        self.next_ino = self.next_ino.max(header.next_ino);
    }

    /// Adds a note about a manifest to the report.
    fn note(&mut self, object: LogObject, text: String) {
        let number = object.number;
        self.report.notes.push(format!("manifest {number}: {text}"));
    }

    /// Adds a note if a manifest does not follow from the one before it.
    fn judge(&mut self, object: LogObject, header: &LogHeader) {
        let expected = self.head.number.saturating_add(1);
        if header.number > expected {
            self.note(
                object,
                format!("the manifests from {expected} on are missing"),
            );
        } else if self.head.digest != [0; 32] && header.previous.0 != self.head.digest {
            self.note(object, "it does not follow from the one before it".into());
        }
    }
}

/// Takes records into the index and empties the list. Rows lie in the order of their entries, so records
/// in that order share pages of the database.
fn fill_sorted(index: &Index, records: &mut Vec<LogRecord>) -> Result<(), IndexError> {
    records.sort_by_key(|record| record.change.entry_id());
    index.fill(records)?;
    records.clear();
    Ok(())
}
