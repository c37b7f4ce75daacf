//! At start: ties a state to its store, and reads what the store's log has and the index has not.

use std::sync::Arc;

use bytes::Bytes;

use crate::index::{FillReport, Index, IndexError, LogHead};
use crate::model::{Digest, Ino, LibraryId, LogRecord, Seq, WriterId};
use crate::remote::retry::{Deadline, retry};
use crate::remote::{
    LibraryMark, LogDecoder, LogHeader, LogKind, LogObject, Remote, RemoteError, RemoteErrorKind,
    is_superseded,
};

/// Records that are taken over in one go.
const STEP: usize = 1024;

/// Whose library it is when another daemon wrote to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Refuse.
    Continue,
    /// Ours from now on: raises the epoch, which makes the other daemon stop.
    TakeOver,
}

/// What attaching found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachReport {
    /// Objects of the log that were read.
    pub manifests: u64,
    pub fill: FillReport,
    /// What is not as it should be, for people: gaps, unreadable snapshots, other writers.
    pub notes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error(
        "this state belongs to the store {own}, not to {given}; use that store, or another --state"
    )]
    OtherStore { own: String, given: String },
    #[error(
        "the store {store} holds library {found}, and this state belongs to library {own}; use the store that belongs to it, or another --state"
    )]
    OtherLibrary {
        store: String,
        found: LibraryId,
        own: LibraryId,
    },
    #[error(
        "the store {0} holds no library, but this state was used with one there; is its disk mounted?"
    )]
    LibraryGone(String),
    #[error(
        "another tgfs (writer {0}) has written to this library since this state was used last; stop it and run `tgfs recover --take-over` here, or go on there"
    )]
    OtherWriter(WriterId),
    #[error("the work was interrupted: {0}")]
    Interrupted(String),
}

impl AttachError {
    /// Whether it may succeed later by itself: the store cannot be reached.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Remote(error) => error.is_retryable(),
            Self::Index(error) => error.is_retryable(),
            Self::OtherStore { .. }
            | Self::OtherLibrary { .. }
            | Self::LibraryGone(_)
            | Self::OtherWriter(_)
            | Self::Interrupted(_) => false,
        }
    }
}

/// Ties the index to the store, makes the library in a new store, and fills in what the log has
/// more than the index: nothing, what an unacknowledged manifest says, or everything. While it
/// fills, commits are refused and reads see what is there. Nothing is made because of an error.
///
/// # Errors
/// See [`AttachError`]; the index is as usable as before.
pub async fn attach(
    index: &Arc<Index>,
    remote: &Arc<dyn Remote>,
    claim: Claim,
    deadline: Deadline,
) -> Result<AttachReport, AttachError> {
    let given = remote.describe();
    let own = index.store_description();
    if !own.is_empty() && own != given {
        return Err(AttachError::OtherStore { own, given });
    }
    let found = retry(deadline, || remote.library()).await?;
    let found = found.map(|mark| mark.id);
    let log_is_new = bind(index, remote, found, &own, &given).await?;
    let from = if index.must_fill() || log_is_new == LogIs::New {
        LogHead::default()
    } else {
        index.log_head()
    };
    let log = Log {
        index,
        remote,
        deadline,
    };
    log.fill_from(from, claim).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogIs {
    /// To this index: all of it has to be read.
    New,
    Known,
}

async fn bind(
    index: &Arc<Index>,
    remote: &Arc<dyn Remote>,
    found: Option<LibraryId>,
    own: &str,
    given: &str,
) -> Result<LogIs, AttachError> {
    let library = index.library_id();
    match found {
        Some(found) if found == library => {
            if own.is_empty() {
                index.bind(library, given)?;
                return Ok(LogIs::New);
            }
            Ok(LogIs::Known)
        }
        // A state that was never used takes over what is there.
        Some(found) if own.is_empty() && index.is_empty()? => {
            index.begin_fill()?;
            index.bind(found, given)?;
            Ok(LogIs::New)
        }
        Some(found) => Err(AttachError::OtherLibrary {
            store: given.to_owned(),
            found,
            own: library,
        }),
        None if own.is_empty() => {
            // A remote that encrypts adds its key.
            let mark = LibraryMark {
                id: library,
                wrap: None,
            };
            remote.create_library(&mark).await?;
            index.bind(library, given)?;
            Ok(LogIs::New)
        }
        None => Err(AttachError::LibraryGone(given.to_owned())),
    }
}

struct Log<'a> {
    index: &'a Arc<Index>,
    remote: &'a Arc<dyn Remote>,
    deadline: Deadline,
}

/// How far reading has come.
#[derive(Debug)]
struct Progress {
    head: LogHead,
    last_seq: Seq,
    next_ino: Ino,
    report: AttachReport,
}

impl Log<'_> {
    async fn fill_from(&self, from: LogHead, claim: Claim) -> Result<AttachReport, AttachError> {
        let all = from == LogHead::default();
        let objects = self.list(LogKind::Manifest, from.number).await?;
        if objects.is_empty() && !self.index.must_fill() && claim == Claim::Continue {
            return Ok(AttachReport::default());
        }
        if !all && claim == Claim::Continue {
            self.refuse_others(&objects, &from).await?;
        }
        let mut progress = Progress {
            head: from,
            last_seq: Seq(0),
            next_ino: Ino(0),
            report: AttachReport::default(),
        };
        self.blocking(|index| index.begin_fill()).await?;
        if all {
            self.newest_snapshot(&mut progress).await?;
        }
        let covered = progress.head.number;
        for object in objects.into_iter().filter(|object| object.number > covered) {
            match retry(self.deadline, || self.remote.read_log(object)).await {
                Ok(bytes) => self.take_manifest(object, bytes, &mut progress).await?,
                // Encrypted, and not what was encrypted: as damaged as one that does not decode.
                Err(error) if error.kind == RemoteErrorKind::Corrupt => {
                    progress.skip(object, &error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
        }
        let mut head = progress.head;
        if claim == Claim::TakeOver {
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
        Ok(retry(self.deadline, || self.remote.list_log(kind, after)).await?)
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
            let read = retry(self.deadline, || self.remote.read_log(*object)).await;
            if !is_superseded(read, from.epoch)? {
                return Err(AttachError::OtherWriter(object.writer));
            }
        }
        Ok(())
    }

    /// Takes the newest snapshot that is whole; with none, the log is read from its start.
    async fn newest_snapshot(&self, progress: &mut Progress) -> Result<(), AttachError> {
        for object in self.list(LogKind::Snapshot, 0).await?.into_iter().rev() {
            let bytes = match retry(self.deadline, || self.remote.read_log(object)).await {
                Ok(bytes) => bytes,
                Err(error) if error.is_retryable() => return Err(error.into()),
                Err(error) => {
                    progress.report.notes.push(format!(
                        "snapshot {} cannot be read ({error}); the one before it is used",
                        object.number
                    ));
                    continue;
                }
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

    async fn take_manifest(
        &self,
        object: LogObject,
        bytes: Bytes,
        progress: &mut Progress,
    ) -> Result<(), AttachError> {
        let header = match LogDecoder::new(&bytes) {
            Ok(decoder) => decoder.header().clone(),
            Err(error)
                if matches!(
                    error.kind,
                    RemoteErrorKind::Foreign | RemoteErrorKind::Denied
                ) =>
            {
                return Err(error.into());
            }
            Err(error) => {
                progress.skip(object, &error.to_string());
                return Ok(());
            }
        };
        if header.epoch < progress.head.epoch {
            progress.note(object, "skipped, from before the library was taken over");
            return Ok(());
        }
        if let Err(reason) = check(&bytes, self.index.library_id()) {
            progress.skip(object, &reason.to_string());
            return Ok(());
        }
        let expected = progress.head.number + 1;
        if header.number > expected {
            progress.note(
                object,
                &format!("the manifests from {expected} on are missing"),
            );
        } else if progress.head.digest != [0; 32] && header.previous.0 != progress.head.digest {
            progress.note(object, "it does not follow from the one before it");
        }
        let digest = Digest::of(&bytes).0;
        let header = self.take(bytes).await?;
        progress.see(&header);
        progress.head = LogHead {
            number: header.number,
            digest,
            epoch: header.epoch,
        };
        progress.report.manifests += 1;
        Ok(())
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
    fn see(&mut self, header: &LogHeader) {
        self.last_seq = self.last_seq.max(header.last_seq);
        self.next_ino = self.next_ino.max(header.next_ino);
    }

    fn note(&mut self, object: LogObject, text: &str) {
        let note = format!("manifest {}: {text}", object.number);
        self.report.notes.push(note);
    }

    /// Goes on behind a manifest that cannot be taken.
    fn skip(&mut self, object: LogObject, reason: &str) {
        self.note(
            object,
            &format!("skipped, its changes are missing ({reason})"),
        );
        self.head.number = self.head.number.max(object.number);
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
