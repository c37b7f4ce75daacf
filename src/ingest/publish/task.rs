//! Task that sends the changes that the remote's log does not hold yet, one manifest at a time. A
//! manifest is acknowledged once it was read back and no other writer's manifest is beside it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{broadcast, watch};

use super::error::PublishError;
use super::log_objects::{LogSizes, decode_all, encode, encode_snapshot, header};
use super::pace::{GATHER, ManifestPace, PublishUrgency, UrgencySignal};
use super::state::PublisherState;
use crate::failpoint;
use crate::index::{Acknowledged, Activity, Index, IndexError, LogHead, Outbox};
use crate::model::{Digest, StoreStatus, WriterId};
use crate::remote::retry::{Deadline, retry};
use crate::remote::{LogKind, LogObject, Remote, RemoteError, RemoteErrorKind, is_superseded};

/// Bytes of records in one manifest, roughly and before compression. A manifest goes out early when
/// this much can go.
const MANIFEST_BYTES: usize = 1024 * 1024;
/// Longest send. A send that takes longer is given up and begun again.
const SEND_DEADLINE: Duration = Duration::from_secs(120);
/// Pause after an error that waiting alone does not fix (a full disk, missing rights).
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(5);

/// Lock of blocking work on the index, which goes on when the task that awaits it is aborted.
pub type IndexGuard = Arc<tokio::sync::Mutex<()>>;

/// Extent of one round of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PublishRound {
    /// All changes are due.
    All,
    /// Only full manifests go, because the rest is not due.
    Full,
}

/// Changes that a round left although they could go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsent {
    Nothing,
    Something,
}

/// Round that is due, and its urgency.
#[derive(Debug, Clone, Copy)]
struct DueRound {
    round: PublishRound,
    urgency: PublishUrgency,
}

/// Task that publishes.
#[derive(Debug)]
pub struct PublishTask {
    pub index_guard: IndexGuard,
    pub index: Arc<Index>,
    pub remote: Arc<dyn Remote>,
    pub writer: WriterId,
    pub urgency: Arc<UrgencySignal>,
    pub report: watch::Sender<PublisherState>,
    pub events: broadcast::Sender<Acknowledged>,
}

impl PublishTask {
    /// Publishes until an error is final.
    pub async fn run(self) {
        let mut standing = self.index.store_status();
        // The index and the sender outlive this task.
        let _ = standing.wait_for(StoreStatus::is_attached).await;
        drop(standing);
        // The start may have found that the log has lost manifests.
        if let Err(error) = self.snapshot_if_due().await {
            tracing::warn!(%error, "a snapshot that is due cannot be written now");
        }
        let mut activity = self.index.activity();
        let mut pace = ManifestPace::new(self.remote.write_hints().manifest_interval);
        let mut due = DueRound {
            round: PublishRound::All,
            urgency: PublishUrgency::Low,
        };
        loop {
            let looked_at = activity.borrow_and_update().bytes;
            pace.looked();
            let unsent = match self.publish_all(due, &mut pace).await {
                Ok(Unsent::Nothing) => None,
                Ok(Unsent::Something) => Some(due.urgency),
                Err(error) if error.is_final() => {
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
                    Some(PublishUrgency::Now)
                }
            };
            due = self.wait(&mut activity, &pace, unsent, looked_at).await;
        }
    }

    /// Waits until changes may go. `unsent` is the urgency of changes that the last round left, and
    /// `looked_at` the bytes of changes that had come before it.
    async fn wait(
        &self,
        activity: &mut watch::Receiver<Activity>,
        pace: &ManifestPace,
        unsent: Option<PublishUrgency>,
        looked_at: u64,
    ) -> DueRound {
        let mut urgency = match unsent {
            Some(urgency) => urgency,
            None => tokio::select! {
                urgency = self.urgency.next() => urgency,
                // The index and the sender outlive this task.
                _ = activity.changed() => PublishUrgency::Low,
            },
        };
        // Changes that come together go together.
        if urgency != PublishUrgency::Now {
            tokio::select! {
                () = tokio::time::sleep(GATHER) => {}
                () = self.urgency.now() => urgency = PublishUrgency::Now,
            }
        }
        let mut enough =
            std::pin::pin!(activity.wait_for(|now| now.bytes - looked_at >= MANIFEST_BYTES as u64));
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(pace.due(urgency)) => {
                    return DueRound { round: PublishRound::All, urgency };
                }
                more = self.urgency.next() => urgency = urgency.max(more),
                _ = &mut enough => return DueRound { round: PublishRound::Full, urgency },
            }
        }
    }

    /// Publishes one manifest after another while they are full. A round of all changes then publishes
    /// a last one.
    async fn publish_all(
        &self,
        due: DueRound,
        pace: &mut ManifestPace,
    ) -> Result<Unsent, PublishError> {
        let DueRound { round, urgency } = due;
        loop {
            let looked_at = self.index.last_seq();
            let outbox = self.blocking(|index| index.outbox(MANIFEST_BYTES)).await?;
            let (more, held_back) = (outbox.more, outbox.held_back);
            let is_due = round == PublishRound::All
                && (urgency > PublishUrgency::Low || held_back == 0 || !pace.is_patient());
            if !more && !outbox.records.is_empty() && !is_due {
                return Ok(Unsent::Something);
            }
            if !more && round == PublishRound::Full {
                return Ok(Unsent::Nothing);
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
                return Ok(Unsent::Nothing);
            }
        }
    }

    /// Runs blocking work on the index off the async threads.
    async fn blocking<T: Send + 'static, E: Into<PublishError> + Send + 'static>(
        &self,
        work: impl FnOnce(&Index) -> Result<T, E> + Send + 'static,
    ) -> Result<T, PublishError> {
        let index = Arc::clone(&self.index);
        let guard = Arc::clone(&self.index_guard).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work(&index);
            // The index is dropped first: a stop that waits for the guard closes the index next.
            drop(index);
            drop(guard);
            outcome
        });
        match done.await {
            Ok(outcome) => outcome.map_err(Into::into),
            Err(error) => Err(PublishError::Stopped(error.to_string())),
        }
    }

    /// Sends one manifest and acknowledges its records.
    async fn publish(&self, outbox: Outbox) -> Result<(), PublishError> {
        let head = self.index.log_head();
        let writer = self.writer;
        // Both are made durable first. A sequence number that the log knows is then never given out
        // again, and a manifest whose acknowledgement is lost is recognised as ours.
        self.blocking(move |index| {
            index.note_writer(writer)?;
            index.sync()
        })
        .await?;
        let header = header(&self.index, writer, head.number + 1, &head, &outbox.records);
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
                LogSizes::open(index)?.add_log(sent)?;
                Ok::<_, IndexError>(acknowledged)
            })
            .await?;
        for entry in acknowledged {
            // An error only says that nobody listens.
            let _ = self.events.send(entry);
        }
        self.snapshot_if_due().await
    }

    /// Adds an object to the log, reads it back and compares it.
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

    /// Checks that the log behind the last manifest holds none but ours.
    async fn check_alone(&self, head: &LogHead, ours: LogObject) -> Result<(), PublishError> {
        let deadline = Deadline::after(SEND_DEADLINE);
        let found = retry(deadline, || {
            self.remote.list_log(LogKind::Manifest, head.number)
        })
        .await?;
        for object in found.into_iter().filter(|object| *object != ours) {
            let read = retry(deadline, || self.remote.read_log(object)).await;
            // This is a manifest of a daemon that this library was taken from. That daemon will notice
            // and stop.
            if !is_superseded(read, head.epoch)? {
                return Err(PublishError::OtherWriter(object.writer));
            }
            tracing::warn!(writer = %object.writer, "the writer that this library was taken from still writes");
        }
        Ok(())
    }

    async fn snapshot_if_due(&self) -> Result<(), PublishError> {
        let due = self
            .blocking(|index| LogSizes::open(index)?.is_snapshot_due())
            .await?;
        if due {
            self.snapshot().await?;
        }
        Ok(())
    }

    /// Writes a snapshot, reads it back and decodes it. Then deletes those before the last one.
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
            LogSizes::open(index)?.begin_log(size)?;
            index.compact_journal()
        })
        .await?;
        let deadline = Deadline::after(SEND_DEADLINE);
        let mut snapshots = retry(deadline, || self.remote.list_log(LogKind::Snapshot, 0)).await?;
        // This one and the one before it stay, because recovery falls back to the older one. One with a
        // higher number is not ours; it must not push ours out.
        snapshots.retain(|old| old.number < object.number);
        snapshots.pop();
        for old in snapshots {
            retry(deadline, || self.remote.delete_log(old)).await?;
        }
        Ok(())
    }
}
