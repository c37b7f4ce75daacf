//! Sends what the remote's log does not hold yet, one manifest at a time, and acknowledges it
//! when it was read back and no other writer's stands beside it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::failpoint;
use crate::index::{Acknowledged, Index, IndexError, LogHead, Outbox};
use crate::model::{Digest, LogRecord, Seq, StoreStatus, WriterId};
use crate::remote::retry::{Deadline, retry};
use crate::remote::{
    LogDecoder, LogEncoder, LogHeader, LogKind, LogObject, Remote, RemoteError, RemoteErrorKind,
};

/// A manifest goes out early when this much waits, in bytes of the journal.
const WAITING_BYTES: u64 = 1024 * 1024;
/// Bytes of records in one manifest, roughly and before compression.
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

/// How long changes wait for others to share their manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A directory has no limit on messages; a second is enough to gather what a copy of many
    /// small files makes.
    Local,
    /// About 20 messages a minute a channel, of which 4 are for the log.
    Channel,
}

impl Pace {
    const fn interval(self) -> Duration {
        match self {
            Self::Local => Duration::from_secs(1),
            Self::Channel => Duration::from_secs(15),
        }
    }
}

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
    urge: Arc<Notify>,
    state: watch::Receiver<PublisherState>,
    events: broadcast::Sender<Acknowledged>,
    /// `None` once it was stopped.
    task: Mutex<Option<JoinHandle<()>>>,
    busy: Busy,
}

/// Held by blocking work on the index: it goes on when the task that awaits it is aborted.
type Busy = Arc<tokio::sync::Mutex<()>>;

impl Publisher {
    /// Starts publishing as soon as the index stands as attached: before, nobody knows where the
    /// log ends and whose it is. Inside a tokio runtime.
    #[must_use]
    pub fn start(index: Arc<Index>, remote: Arc<dyn Remote>, pace: Pace) -> Self {
        let urge = Arc::new(Notify::new());
        let (report, state) = watch::channel(PublisherState::default());
        let (events, _) = broadcast::channel(EVENTS);
        let busy = Busy::default();
        let work = Work {
            busy: Arc::clone(&busy),
            index: Arc::clone(&index),
            remote,
            pace,
            writer: WriterId::random(),
            urge: Arc::clone(&urge),
            report,
            events: events.clone(),
        };
        Self {
            index,
            urge,
            state,
            events,
            task: Mutex::new(Some(tokio::spawn(work.run()))),
            busy,
        }
    }

    /// Publishes what waits now, without waiting for more.
    pub fn urge(&self) {
        self.urge.notify_one();
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
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(task) = task {
            task.abort();
            // Aborted is how it shall end; a panic was logged by its hook.
            let _ = task.await;
        }
        drop(self.busy.lock().await);
    }

    /// Returns when everything committed before the call that could be published (files whose
    /// bytes are still on their way cannot) is acknowledged. Waits as long as the remote is away.
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
            self.urge();
            if state.changed().await.is_err() {
                return Err(PublishError::Stopped("the task ended".into()));
            }
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // A manifest that is under way is taken for our own at the next start.
        if let Some(task) = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            task.abort();
        }
    }
}

#[derive(Debug)]
struct Work {
    busy: Busy,
    index: Arc<Index>,
    remote: Arc<dyn Remote>,
    pace: Pace,
    writer: WriterId,
    urge: Arc<Notify>,
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
        let mut last_sent: Option<Instant> = None;
        let mut sent_bytes = 0;
        loop {
            let looked_at = activity.borrow_and_update().bytes;
            let pause = match self.publish_all().await {
                Ok(Sent::Nothing) => None,
                Ok(Sent::Something) => {
                    last_sent = Some(Instant::now());
                    None
                }
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
                    Some(PAUSE_AFTER_ERROR)
                }
            };
            if pause.is_none() {
                sent_bytes = looked_at;
            }
            self.wait(&mut activity, pause, last_sent, sent_bytes).await;
        }
    }

    /// Until there is something to look at and it is due.
    async fn wait(
        &self,
        activity: &mut watch::Receiver<crate::index::Activity>,
        pause: Option<Duration>,
        last_sent: Option<Instant>,
        sent_bytes: u64,
    ) {
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
            return;
        }
        tokio::select! {
            () = self.urge.notified() => return,
            // The index outlives this task, so the sender does.
            _ = activity.changed() => {}
        }
        let due = last_sent.map_or_else(Instant::now, |at| at + self.pace.interval());
        let enough = activity.wait_for(|activity| activity.bytes - sent_bytes >= WAITING_BYTES);
        tokio::select! {
            () = self.urge.notified() => {}
            () = tokio::time::sleep_until(due) => {}
            _ = enough => {}
        }
    }

    /// Manifest after manifest until nothing is left that can go.
    async fn publish_all(&self) -> Result<Sent, PublishError> {
        let mut sent = Sent::Nothing;
        loop {
            let looked_at = self.index.last_seq();
            let outbox = self.blocking(|index| index.outbox(MANIFEST_BYTES)).await?;
            if outbox.records.is_empty() {
                self.report.send_modify(|state| {
                    state.idle_at = Some(looked_at);
                    state.held_back = outbox.held_back;
                    state.problem = None;
                });
                return Ok(sent);
            }
            self.publish(outbox).await?;
            sent = Sent::Something;
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
        let seqs = || records.iter().map(|record| record.seq);
        LogHeader {
            library: self.index.library_id(),
            writer: self.writer,
            epoch: head.epoch,
            number,
            previous: Digest(head.digest),
            first: seqs().min().unwrap_or_default(),
            last: seqs().max().unwrap_or_default(),
            next_ino: self.index.ino_bound(),
            last_seq: self.index.last_seq(),
        }
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
            let bytes = retry(deadline, || self.remote.read_log(object)).await?;
            // One of a daemon that this library was taken from; that one will notice, and stop.
            let superseded =
                LogDecoder::new(&bytes).is_ok_and(|other| other.header().epoch < head.epoch);
            if !superseded {
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
        let head = self.index.log_head();
        let mut header = self.header(head.number, &head, &[]);
        header.last = header.last_seq;
        let bytes = self
            .blocking(move |index| encode_snapshot(index, &header))
            .await?;
        let object = LogObject {
            kind: LogKind::Snapshot,
            number: head.number,
            writer: self.writer,
        };
        self.send(object, &bytes).await?;
        decode_all(&bytes)?;
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Nothing,
    Something,
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

fn encode_snapshot(index: &Index, header: &LogHeader) -> Result<Bytes, PublishError> {
    let mut encoder = LogEncoder::new(header)?;
    index.published::<PublishError>(&mut |record| Ok(encoder.push(&record)?))?;
    Ok(encoder.finish()?)
}

fn decode_all(bytes: &Bytes) -> Result<(), RemoteError> {
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
