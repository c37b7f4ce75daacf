//! Sends what the remote's log does not hold yet, one manifest at a time, and acknowledges it
//! when it was read back and no other writer's stands beside it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use super::pace::{GATHER, Pace, Wish, Wishes};
use crate::failpoint;
use crate::index::{Acknowledged, Activity, Index, IndexError, LogHead, Outbox};
use crate::model::{Digest, LogRecord, Seq, StoreStatus, WriterId};
use crate::remote::retry::{Deadline, retry};
use crate::remote::{
    LogDecoder, LogEncoder, LogHeader, LogKind, LogObject, Remote, RemoteError, RemoteErrorKind,
    is_superseded,
};
use crate::sync::MutexExt as _;

/// Bytes of records in one manifest, roughly and before compression. It goes out early when this
/// much can go.
const MANIFEST_BYTES: usize = 1024 * 1024;
/// A snapshot is due when the log since the last one has at least this many bytes...
const SNAPSHOT_LOG_BYTES: u64 = 1024 * 1024;
/// ...and is larger than this part of it.
const SNAPSHOT_LOG_PART: u64 = 4;
/// One send is given up after this long and begun again.
const SEND_DEADLINE: Duration = Duration::from_secs(120);
/// After an error that waiting alone does not mend (a full disk, missing rights).
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(5);
/// Acknowledgements that a slow listener may lag behind by.
const EVENTS: usize = 4096;
/// Rows of the publisher in the index.
const ROWS: &str = "publisher";
const LOG_BYTES_ROW: &[u8] = b"log-bytes";
const SNAPSHOT_BYTES_ROW: &[u8] = b"snapshot-bytes";

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error(
        "another tgfs (writer {0}) writes to this library; nothing is lost here, but nothing more is published: stop one of the two, then run `tgfs recover --take-over` where the library shall live on"
    )]
    OtherWriter(WriterId),
    #[error("publishing stopped: {0}")]
    Stopped(String),
}

/// What publishing is at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublisherState {
    /// Everything up to here that could be published is acknowledged.
    pub idle_at: Option<Seq>,
    /// Entries that wait for their bytes.
    pub held_back: usize,
    /// Why it does not get on at the moment.
    pub problem: Option<String>,
    /// Why it ended for good.
    pub stopped: Option<String>,
}

/// The task that publishes; it ends when this is dropped.
#[derive(Debug)]
pub struct Publisher {
    index: Arc<Index>,
    wishes: Arc<Wishes>,
    state: watch::Receiver<PublisherState>,
    events: broadcast::Sender<Acknowledged>,
    /// `None` once it was stopped.
    task: Mutex<Option<JoinHandle<()>>>,
    busy: Busy,
}

/// Held by blocking work on the index: it goes on when the task that awaits it is aborted.
type Busy = Arc<tokio::sync::Mutex<()>>;

impl Publisher {
    /// Starts publishing, as often as the remote likes, as soon as the index stands as attached:
    /// before, nobody knows where the log ends and whose it is. Inside a tokio runtime.
    #[must_use]
    pub fn start(index: Arc<Index>, remote: Arc<dyn Remote>) -> Self {
        let wishes = Arc::new(Wishes::default());
        let (report, state) = watch::channel(PublisherState::default());
        let (events, _) = broadcast::channel(EVENTS);
        let busy = Busy::default();
        let work = Work {
            busy: Arc::clone(&busy),
            index: Arc::clone(&index),
            remote,
            writer: WriterId::random(),
            wishes: Arc::clone(&wishes),
            report,
            events: events.clone(),
        };
        Self {
            index,
            wishes,
            state,
            events,
            task: Mutex::new(Some(tokio::spawn(work.run()))),
            busy,
        }
    }

    /// Says that something important can be published: it goes as soon as the pace allows.
    pub fn urge(&self) {
        self.wishes.raise(Wish::Soon);
    }

    /// Publishes what waits now, whatever the pace.
    pub fn hurry(&self) {
        self.wishes.raise(Wish::Now);
    }

    /// Entries as they are acknowledged. Who lags finds out with `Index::is_published`.
    #[must_use]
    pub fn acknowledged(&self) -> broadcast::Receiver<Acknowledged> {
        self.events.subscribe()
    }

    #[must_use]
    pub fn state(&self) -> watch::Receiver<PublisherState> {
        self.state.clone()
    }

    /// Ends publishing and lets go of index and remote: they can be closed when this returns.
    pub async fn stop(&self) {
        let task = self.task.acquire().take();
        if let Some(task) = task {
            task.abort();
            // Aborted is how it shall end; a panic was logged by its hook.
            let _ = task.await;
        }
        drop(self.busy.lock().await);
    }

    /// Returns when everything committed before the call that could be published (files whose
    /// bytes are still on their way cannot) is acknowledged, which is hurried. Waits as long as the
    /// remote is away.
    ///
    /// # Errors
    /// When publishing ended for good.
    pub async fn drained(&self) -> Result<(), PublishError> {
        let target = self.index.last_seq();
        let mut state = self.state.clone();
        loop {
            {
                let now = state.borrow_and_update();
                if now.idle_at.is_some_and(|idle| idle >= target) {
                    return Ok(());
                }
                if let Some(reason) = &now.stopped {
                    return Err(PublishError::Stopped(reason.clone()));
                }
            }
            self.hurry();
            if state.changed().await.is_err() {
                return Err(PublishError::Stopped("the task ended".into()));
            }
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // A manifest that is under way is taken for our own at the next start.
        if let Some(task) = self.task.acquire().take() {
            task.abort();
        }
    }
}

/// What is sent at a look at the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    All,
    /// Only as much as fills whole manifests: the rest is not due.
    Full,
}

/// Whether a round left something that can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Something,
}

#[derive(Debug)]
struct Work {
    busy: Busy,
    index: Arc<Index>,
    remote: Arc<dyn Remote>,
    writer: WriterId,
    wishes: Arc<Wishes>,
    report: watch::Sender<PublisherState>,
    events: broadcast::Sender<Acknowledged>,
}

impl Work {
    async fn run(self) {
        let mut standing = self.index.standing();
        // The index outlives this task, so the sender does.
        let _ = standing.wait_for(StoreStatus::is_attached).await;
        drop(standing);
        let mut activity = self.index.activity();
        let mut pace = Pace::new(self.remote.write_hints().manifest_interval);
        let (mut round, mut wish) = (Round::All, Wish::Some);
        loop {
            let looked_at = activity.borrow_and_update().bytes;
            pace.looked();
            let open_wish = match self.publish_all(round, wish, &mut pace).await {
                Ok(Left::Nothing) => None,
                Ok(Left::Something) => Some(wish),
                Err(error) if is_final(&error) => {
                    tracing::error!(%error, "publishing stopped");
                    self.report
                        .send_modify(|state| state.stopped = Some(error.to_string()));
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "publishing does not get on");
                    self.report
                        .send_modify(|state| state.problem = Some(error.to_string()));
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                    Some(Wish::Now)
                }
            };
            (round, wish) = self.wait(&mut activity, &pace, open_wish, looked_at).await;
        }
    }

    /// Until something may go; what, and what for.
    async fn wait(
        &self,
        activity: &mut watch::Receiver<Activity>,
        pace: &Pace,
        open_wish: Option<Wish>,
        looked_at: u64,
    ) -> (Round, Wish) {
        let mut wish = match open_wish {
            Some(wish) => wish,
            None => tokio::select! {
                wish = self.wishes.next() => wish,
                // The index outlives this task, so the sender does.
                _ = activity.changed() => Wish::Some,
            },
        };
        // What comes together goes together.
        if wish != Wish::Now {
            tokio::select! {
                () = tokio::time::sleep(GATHER) => {}
                () = self.wishes.now() => wish = Wish::Now,
            }
        }
        let mut enough =
            std::pin::pin!(activity.wait_for(|now| now.bytes - looked_at >= MANIFEST_BYTES as u64));
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(pace.due(wish)) => return (Round::All, wish),
                more = self.wishes.next() => wish = wish.max(more),
                _ = &mut enough => return (Round::Full, wish),
            }
        }
    }

    /// Manifest after manifest while they are full, and in a round of all a last one.
    async fn publish_all(
        &self,
        round: Round,
        wish: Wish,
        pace: &mut Pace,
    ) -> Result<Left, PublishError> {
        loop {
            let looked_at = self.index.last_seq();
            let outbox = self.blocking(|index| index.outbox(MANIFEST_BYTES)).await?;
            let (more, held_back) = (outbox.more, outbox.held_back);
            let is_due =
                round == Round::All && (wish > Wish::Some || held_back == 0 || !pace.is_patient());
            if !more && !outbox.records.is_empty() && !is_due {
                return Ok(Left::Something);
            }
            if !more && round == Round::Full {
                return Ok(Left::Nothing);
            }
            if !outbox.records.is_empty() {
                self.publish(outbox).await?;
                pace.sent();
            }
            if !more {
                self.report.send_modify(|state| {
                    state.idle_at = Some(looked_at);
                    state.held_back = held_back;
                    state.problem = None;
                });
                return Ok(Left::Nothing);
            }
        }
    }

    async fn blocking<T: Send + 'static, E: Into<PublishError> + Send + 'static>(
        &self,
        work: impl FnOnce(&Index) -> Result<T, E> + Send + 'static,
    ) -> Result<T, PublishError> {
        let index = Arc::clone(&self.index);
        let busy = Arc::clone(&self.busy).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work(&index);
            // The index first: who waits for the guard wants to close it.
            drop(index);
            drop(busy);
            outcome
        });
        match done.await {
            Ok(outcome) => outcome.map_err(Into::into),
            Err(error) => Err(PublishError::Stopped(error.to_string())),
        }
    }

    async fn publish(&self, outbox: Outbox) -> Result<(), PublishError> {
        let head = self.index.log_head();
        let writer = self.writer;
        // Both must be durable first: a sequence number that the log knows is never given out
        // again, and a manifest whose acknowledgement is lost is known as ours.
        self.blocking(move |index| {
            index.note_writer(writer)?;
            index.sync()
        })
        .await?;
        let header = self.header(head.number + 1, &head, &outbox.records);
        let bytes = encode(&header, &outbox.records)?;
        let object = LogObject {
            kind: LogKind::Manifest,
            number: header.number,
            writer,
        };
        self.send(object, &bytes).await?;
        self.check_alone(&head, object).await?;
        let new_head = LogHead {
            number: header.number,
            digest: Digest::of(&bytes).0,
            epoch: head.epoch,
        };
        let sent = bytes.len() as u64;
        let acknowledged = self
            .blocking(move |index| {
                let acknowledged = index.acknowledge(new_head, &outbox.records)?;
                add_log_bytes(index, sent)?;
                Ok::<_, IndexError>(acknowledged)
            })
            .await?;
        for entry in acknowledged {
            // Nobody listening is fine.
            let _ = self.events.send(entry);
        }
        self.snapshot_if_due().await
    }

    fn header(&self, number: u64, head: &LogHead, records: &[LogRecord]) -> LogHeader {
        header(&self.index, self.writer, number, head, records)
    }

    /// Adds an object to the log and compares what comes back.
    async fn send(&self, object: LogObject, bytes: &Bytes) -> Result<(), PublishError> {
        let deadline = Deadline::after(SEND_DEADLINE);
        retry(deadline, || self.remote.append_log(object, bytes.clone())).await?;
        failpoint::pass(failpoint::Step::ManifestPut);
        let back = retry(deadline, || self.remote.read_log(object)).await?;
        if back == *bytes {
            Ok(())
        } else {
            Err(RemoteError::new(
                RemoteErrorKind::Corrupt,
                "read the manifest back",
                "it is not what was written",
            )
            .into())
        }
    }

    /// Whether the log between the last manifest and this one holds nobody else's.
    async fn check_alone(&self, head: &LogHead, ours: LogObject) -> Result<(), PublishError> {
        let deadline = Deadline::after(SEND_DEADLINE);
        let found = retry(deadline, || {
            self.remote.list_log(LogKind::Manifest, head.number)
        })
        .await?;
        for object in found.into_iter().filter(|object| *object != ours) {
            let read = retry(deadline, || self.remote.read_log(object)).await;
            // One of a daemon that this library was taken from; that one will notice, and stop.
            if !is_superseded(read, head.epoch)? {
                return Err(PublishError::OtherWriter(object.writer));
            }
            tracing::warn!(writer = %object.writer, "the writer that this library was taken from still writes");
        }
        Ok(())
    }

    async fn snapshot_if_due(&self) -> Result<(), PublishError> {
        let due = self
            .blocking(|index| {
                let rows = index.rows(ROWS)?;
                let log = read_number(&rows.get(LOG_BYTES_ROW)?);
                let snapshot = read_number(&rows.get(SNAPSHOT_BYTES_ROW)?);
                Ok::<_, IndexError>(log >= SNAPSHOT_LOG_BYTES.max(snapshot / SNAPSHOT_LOG_PART))
            })
            .await?;
        if due {
            self.snapshot().await?;
        }
        Ok(())
    }

    /// Writes a snapshot, reads it back and decodes it; then the one before the last may go.
    async fn snapshot(&self) -> Result<(), PublishError> {
        let writer = self.writer;
        let (object, bytes) = self
            .blocking(move |index| encode_snapshot(index, writer))
            .await?;
        self.send(object, &bytes).await?;
        decode_all(&bytes)?;
        let deadline = Deadline::after(SEND_DEADLINE);
        retry(deadline, || self.remote.endorse_snapshot(object)).await?;
        let size = bytes.len() as u64;
        self.blocking(move |index| {
            let rows = index.rows(ROWS)?;
            rows.put(SNAPSHOT_BYTES_ROW, &size.to_le_bytes())?;
            rows.put(LOG_BYTES_ROW, &0_u64.to_le_bytes())?;
            index.compact_journal()
        })
        .await?;
        let deadline = Deadline::after(SEND_DEADLINE);
        let mut snapshots = retry(deadline, || self.remote.list_log(LogKind::Snapshot, 0)).await?;
        // This one, and the one before it as what recovery falls back to.
        snapshots.truncate(snapshots.len().saturating_sub(2));
        for old in snapshots {
            retry(deadline, || self.remote.delete_log(old)).await?;
        }
        Ok(())
    }
}

const fn is_final(error: &PublishError) -> bool {
    match error {
        PublishError::OtherWriter(_) | PublishError::Stopped(_) => true,
        PublishError::Index(_) | PublishError::Remote(_) => false,
    }
}

fn encode(header: &LogHeader, records: &[LogRecord]) -> Result<Bytes, RemoteError> {
    let mut encoder = LogEncoder::new(header)?;
    records.iter().try_for_each(|record| encoder.push(record))?;
    encoder.finish()
}

/// What the log says of every entry, in one object. Blocking.
///
/// # Errors
/// When the index cannot be read.
pub fn encode_snapshot(
    index: &Index,
    writer: WriterId,
) -> Result<(LogObject, Bytes), PublishError> {
    let head = index.log_head();
    let mut header = header(index, writer, head.number, &head, &[]);
    header.last = header.last_seq;
    let mut encoder = LogEncoder::new(&header)?;
    index.published::<PublishError>(&mut |record| Ok(encoder.push(&record)?))?;
    let object = LogObject {
        kind: LogKind::Snapshot,
        number: head.number,
        writer,
    };
    Ok((object, encoder.finish()?))
}

fn header(
    index: &Index,
    writer: WriterId,
    number: u64,
    head: &LogHead,
    records: &[LogRecord],
) -> LogHeader {
    let seqs = || records.iter().map(|record| record.seq);
    LogHeader {
        library: index.library_id(),
        writer,
        epoch: head.epoch,
        number,
        previous: Digest(head.digest),
        first: seqs().min().unwrap_or_default(),
        last: seqs().max().unwrap_or_default(),
        next_ino: index.ino_bound(),
        last_seq: index.last_seq(),
    }
}

/// Whether an object of the log is whole.
///
/// # Errors
/// How it is not.
pub fn decode_all(bytes: &Bytes) -> Result<(), RemoteError> {
    let mut decoder = LogDecoder::new(bytes)?;
    while decoder.next_record()?.is_some() {}
    Ok(())
}

fn read_number(bytes: &Option<Vec<u8>>) -> u64 {
    let bytes = bytes.as_deref().and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

fn add_log_bytes(index: &Index, sent: u64) -> Result<(), IndexError> {
    let rows = index.rows(ROWS)?;
    let sum = read_number(&rows.get(LOG_BYTES_ROW)?) + sent;
    rows.put(LOG_BYTES_ROW, &sum.to_le_bytes())
}
