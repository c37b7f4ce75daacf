//! Reads what the log has and the index has not: nothing, an acknowledgement that was lost, some
//! changes, or everything.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::asking::Asking;
use super::fill::{AttachError, AttachReport};
use crate::index::{Begun, Index, IndexError, Late, LogHead};
use crate::model::{Digest, Ino, LibraryClaim, LibraryId, LogRecord, Seq, Standing};
use crate::remote::{
    LogDecoder, LogHeader, LogKind, LogObject, Remote, RemoteError, RemoteErrorKind, is_superseded,
};

/// Records that are taken over in one go.
const STEP: usize = 1024;
/// Objects of the log that are read side by side. Each is a round trip and about 1 MiB at most.
const READ_AHEAD: usize = 8;

pub(super) struct Log<'a> {
    pub index: &'a Arc<Index>,
    pub remote: &'a Arc<dyn Remote>,
    pub asking: Asking<'a>,
}

/// How far reading has come.
#[derive(Debug)]
struct Progress {
    head: LogHead,
    last_seq: Seq,
    next_ino: Ino,
    report: AttachReport,
}

/// Whether records go into the rows, or are known and only noted as acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Noting,
    Filling,
}

/// One manifest as it came.
enum Manifest {
    Whole {
        header: LogHeader,
        bytes: Bytes,
    },
    /// Of a writer that the library was taken from.
    Superseded,
    /// Its changes are missing.
    Unreadable(String),
}

impl Log<'_> {
    /// The whole log into an index that knows nothing of it for sure.
    pub async fn read_all(&self, claim: LibraryClaim) -> Result<AttachReport, AttachError> {
        // The newest snapshot first: a channel's log is long, and only its end is cheap to find.
        let snapshots = self.list(LogKind::Snapshot, 0).await?;
        let is_needed = self.index.must_fill() || claim == LibraryClaim::TakeOver;
        if snapshots.is_empty() && !is_needed {
            let manifests = self.list(LogKind::Manifest, 0).await?;
            if manifests.is_empty() {
                return Ok(AttachReport::default());
            }
        }
        self.index.set_standing(Standing::Filling);
        self.blocking(Index::begin_fill).await?;
        let mut progress = Progress::from(LogHead::default());
        self.newest_snapshot(snapshots, &mut progress).await?;
        let objects = self.list(LogKind::Manifest, progress.head.number).await?;
        self.take_all(objects, Way::Filling, &mut progress).await?;
        self.finish(progress, claim).await
    }

    /// What the log has behind the last manifest that this index knows.
    pub async fn follow(&self, claim: LibraryClaim) -> Result<AttachReport, AttachError> {
        let from = self.index.log_head();
        let objects = self.list(LogKind::Manifest, from.number).await?;
        let mut progress = Progress::from(from);
        if claim == LibraryClaim::Continue {
            self.refuse_others(&objects, &from).await?;
            let way = self.take_all(objects, Way::Noting, &mut progress).await?;
            if way == Way::Noting {
                return Ok(progress.report);
            }
        } else {
            self.begin_filling().await?;
            self.take_all(objects, Way::Filling, &mut progress).await?;
        }
        self.finish(progress, claim).await
    }

    async fn finish(
        &self,
        progress: Progress,
        claim: LibraryClaim,
    ) -> Result<AttachReport, AttachError> {
        let mut head = progress.head;
        if claim == LibraryClaim::TakeOver {
            head.epoch += 1;
        }
        let (last_seq, next_ino) = (progress.last_seq, progress.next_ino);
        let mut report = progress.report;
        report.fill = self
            .blocking(move |index| index.finish_fill(head, last_seq, next_ino))
            .await?;
        Ok(report)
    }

    async fn list(&self, kind: LogKind, after: u64) -> Result<Vec<LogObject>, AttachError> {
        self.asking.ask(|| self.remote.list_log(kind, after)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Index) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, AttachError> {
        let index = Arc::clone(self.index);
        match tokio::task::spawn_blocking(move || work(&index)).await {
            Ok(outcome) => Ok(outcome?),
            Err(error) => Err(AttachError::Interrupted(error.to_string())),
        }
    }

    /// A manifest behind the last acknowledged one is ours if one of our starts wrote it and died
    /// before it could note the acknowledgement.
    async fn refuse_others(
        &self,
        objects: &[LogObject],
        from: &LogHead,
    ) -> Result<(), AttachError> {
        for object in objects {
            if self.index.is_own_writer(object.writer)? {
                continue;
            }
            let read = match self.asking.ask(|| self.remote.read_log(*object)).await {
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

    /// Takes the newest snapshot that is whole; with none, the log is read from its start.
    async fn newest_snapshot(
        &self,
        snapshots: Vec<LogObject>,
        progress: &mut Progress,
    ) -> Result<(), AttachError> {
        for object in snapshots.into_iter().rev() {
            let bytes = match self.asking.ask(|| self.remote.read_log(object)).await {
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
            // Whole before the first record is taken: half a snapshot is no state of anything.
            match check(&bytes, self.index.library_id()) {
                Ok(()) => {}
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

    /// Reads manifests side by side and takes them in their order. Which way it ended.
    async fn take_all(
        &self,
        objects: Vec<LogObject>,
        mut way: Way,
        progress: &mut Progress,
    ) -> Result<Way, AttachError> {
        let reads = objects.into_iter().map(|object| async move {
            let read = self.asking.ask(|| self.remote.read_log(object)).await;
            (object, read)
        });
        let mut reads = stream::iter(reads).buffered(READ_AHEAD);
        while let Some((object, read)) = reads.next().await {
            match self.open(read, progress.head.epoch)? {
                Manifest::Superseded => progress.note(
                    object,
                    "skipped, from before the library was taken over".into(),
                ),
                Manifest::Unreadable(reason) => {
                    progress.note(
                        object,
                        format!("skipped, its changes are missing ({reason})"),
                    );
                    progress.head.number = progress.head.number.max(object.number);
                    if way == Way::Noting {
                        let head = progress.head;
                        self.blocking(move |index| index.acknowledge(head, &[]))
                            .await?;
                    }
                }
                Manifest::Whole { header, bytes } => {
                    progress.judge(object, &header);
                    let head = LogHead {
                        number: header.number,
                        digest: Digest::of(&bytes).0,
                        epoch: header.epoch,
                    };
                    if way == Way::Noting && !self.note(head, &bytes).await? {
                        self.begin_filling().await?;
                        way = Way::Filling;
                    }
                    if way == Way::Filling {
                        self.take(bytes).await?;
                    }
                    progress.see(&header);
                    progress.head = head;
                    progress.report.manifests += 1;
                }
            }
        }
        Ok(way)
    }

    /// What came for a manifest. Errors say nothing about it.
    fn open(&self, read: Result<Bytes, AttachError>, epoch: u64) -> Result<Manifest, AttachError> {
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
        if header.epoch < epoch {
            return Ok(Manifest::Superseded);
        }
        Ok(match check(&bytes, self.index.library_id()) {
            Ok(()) => Manifest::Whole { header, bytes },
            Err(reason) => Manifest::Unreadable(reason.to_string()),
        })
    }

    /// Whether all of it was known here: then it is acknowledged now.
    async fn note(&self, head: LogHead, bytes: &Bytes) -> Result<bool, AttachError> {
        let bytes = bytes.clone();
        let index = Arc::clone(self.index);
        let noted = tokio::task::spawn_blocking(move || {
            let mut decoder = LogDecoder::new(&bytes)?;
            let mut records: Vec<LogRecord> = Vec::new();
            while let Some(record) = decoder.next_record()? {
                records.push(record);
            }
            Ok(index.acknowledge_late(head, &records)? != Late::Unknown)
        });
        match noted.await {
            Ok(outcome) => outcome,
            Err(error) => Err(AttachError::Interrupted(error.to_string())),
        }
    }

    /// The log knows more than rows that were thought to be complete.
    async fn begin_filling(&self) -> Result<(), AttachError> {
        match self.blocking(Index::begin_fill_unchanged).await? {
            Begun::Yes => {
                self.index.set_standing(Standing::Filling);
                Ok(())
            }
            Begun::Changed => Err(AttachError::Diverged(self.remote.describe())),
        }
    }

    /// All records of a checked object into the index.
    async fn take(&self, bytes: Bytes) -> Result<LogHeader, AttachError> {
        let index = Arc::clone(self.index);
        let taken = tokio::task::spawn_blocking(move || {
            let mut decoder = LogDecoder::new(&bytes)?;
            let mut records: Vec<LogRecord> = Vec::new();
            while let Some(record) = decoder.next_record()? {
                records.push(record);
                if records.len() >= STEP {
                    index.fill(&records)?;
                    records.clear();
                }
            }
            index.fill(&records)?;
            Ok(decoder.header().clone())
        });
        match taken.await {
            Ok(outcome) => outcome,
            Err(error) => Err(AttachError::Interrupted(error.to_string())),
        }
    }
}

impl Progress {
    fn from(head: LogHead) -> Self {
        Self {
            head,
            last_seq: Seq(0),
            next_ino: Ino(0),
            report: AttachReport::default(),
        }
    }

    fn see(&mut self, header: &LogHeader) {
        self.last_seq = self.last_seq.max(header.last_seq);
        self.next_ino = self.next_ino.max(header.next_ino);
    }

    fn note(&mut self, object: LogObject, text: String) {
        let number = object.number;
        self.report.notes.push(format!("manifest {number}: {text}"));
    }

    /// Says when a manifest does not follow from what was read before it.
    fn judge(&mut self, object: LogObject, header: &LogHeader) {
        let expected = self.head.number + 1;
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

/// Why an object of the log cannot be taken.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("it belongs to library {0}")]
    OtherLibrary(LibraryId),
    #[error(transparent)]
    NoKey(RemoteError),
    #[error(transparent)]
    Damaged(#[from] RemoteError),
}

/// Whether an object of the log is whole and this library's.
fn check(bytes: &Bytes, library: LibraryId) -> Result<(), Unfit> {
    let mut decoder = match LogDecoder::new(bytes) {
        Err(error) if error.kind == RemoteErrorKind::Denied => return Err(Unfit::NoKey(error)),
        opened => opened?,
    };
    while decoder.next_record()?.is_some() {}
    match decoder.header().library {
        found if found == library => Ok(()),
        found => Err(Unfit::OtherLibrary(found)),
    }
}
