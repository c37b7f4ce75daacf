//! Packs that small blobs share. A channel takes about 20 messages a minute, and ten thousand posters
//! must not take ten thousand messages.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::jobs::{FileStage, Jobs};
use super::outgoing::{MAX_SLICES, Outgoing, PackFollower, PackSlot, SendError, remote_error};
use super::upload_progress::{MeteredBytes, PackEnd};
use crate::model::{ErrorKind, FsError, FsResult, PackRef};
use crate::remote::{Cipher, PackInput, SealedPack, SendMeter};

/// Size below which blobs share packs, in bytes. A larger blob has a pack of its own, unless so many
/// bytes wait that packs grow.
pub const SHARED_BELOW_BYTES: u64 = 4 << 20;
/// Most blobs that wait for their packs: four packs with the most slices. Each blob takes a task of a
/// few KiB, and its file in the spool.
const MAX_WAITING: usize = 4 * MAX_SLICES;

/// Packs within one linger that do not wait for more blobs: a film's poster, its map and one spare.
const QUICK_PACKS: usize = 3;
/// Linger of those packs. It is long enough to gather the files that one `cp -r` makes at a time.
const QUICK_LINGER: Duration = Duration::from_millis(300);

/// Pack and offset of each input of a small blob.
pub type Placed = Vec<(u64, PackRef)>;

/// Small blob that waits for a pack.
struct PackRequest {
    of: FileStage,
    inputs: Vec<PackInput>,
    reply: oneshot::Sender<FsResult<Placed>>,
}

impl PackRequest {
    fn bytes(&self) -> u64 {
        self.inputs.iter().map(|input| input.len).sum()
    }
}

/// Packer of small blobs. It ends when this is dropped.
#[derive(Debug)]
pub struct Packer {
    requests: mpsc::UnboundedSender<PackRequest>,
    room: Arc<Semaphore>,
    collector: Arc<PackCollector>,
}

/// Task side of the packer: gathers requests into packs and sends these.
#[derive(Debug)]
struct PackCollector {
    outgoing: Arc<Outgoing>,
    jobs: Arc<Jobs>,
    /// Size of a full pack in bytes while few bytes wait.
    pack_bytes: AtomicU64,
    /// Set when packs must no longer wait for more blobs.
    hurry: AtomicBool,
    hurried: Notify,
}

/// Place among the blobs that wait.
#[derive(Debug)]
pub struct Ticket<'a> {
    packer: &'a Packer,
    _room: Option<OwnedSemaphorePermit>,
}

impl Packer {
    /// Starts the packer. Needs a tokio runtime.
    #[must_use]
    pub fn start(outgoing: Arc<Outgoing>, jobs: Arc<Jobs>, pack_bytes: u64) -> Self {
        let (requests, receiver) = mpsc::unbounded_channel();
        let collector = Arc::new(PackCollector {
            outgoing,
            jobs,
            pack_bytes: pack_bytes.into(),
            hurry: AtomicBool::new(false),
            hurried: Notify::new(),
        });
        tokio::spawn(collect(Arc::clone(&collector), receiver));
        Self {
            requests,
            room: Arc::new(Semaphore::new(MAX_WAITING)),
            collector,
        }
    }

    /// Changes the size of a full pack.
    pub fn set_pack_bytes(&self, bytes: u64) {
        self.collector.pack_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Sends the gathered blobs now, and from now on each pack without waiting for more blobs.
    pub fn hurry(&self) {
        self.collector.hurry.store(true, Ordering::Relaxed);
        self.collector.hurried.notify_one();
    }

    /// Waits until there is room for one more blob.
    pub async fn enter(&self) -> Ticket<'_> {
        Ticket {
            packer: self,
            _room: Arc::clone(&self.room).acquire_owned().await.ok(),
        }
    }
}

impl Ticket<'_> {
    /// Waits until a pack with these bytes of a file is acknowledged.
    ///
    /// # Errors
    /// The error of the remote or of the local disk.
    pub async fn add(self, of: FileStage, inputs: Vec<PackInput>) -> FsResult<Placed> {
        let (reply, answer) = oneshot::channel();
        let stopped = || FsError::new(ErrorKind::Io, "ingest is stopping");
        let request = PackRequest { of, inputs, reply };
        self.packer.requests.send(request).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// Rule for the closing of packs. A few small blobs go at once, and only many wait for each other.
#[derive(Debug, Default)]
struct Haste {
    /// Times at which the packs that did not wait were begun, at most [`QUICK_PACKS`].
    quick: VecDeque<Instant>,
}

impl Haste {
    /// Returns the time at which a pack that is begun at `now` must be closed.
    fn closes(&mut self, now: Instant, linger: Duration) -> Instant {
        while self
            .quick
            .front()
            .is_some_and(|begun| now >= *begun + linger)
        {
            self.quick.pop_front();
        }
        if self.quick.len() >= QUICK_PACKS {
            return now + linger;
        }
        self.quick.push_back(now);
        now + linger.min(QUICK_LINGER)
    }
}

async fn collect(
    collector: Arc<PackCollector>,
    mut receiver: mpsc::UnboundedReceiver<PackRequest>,
) {
    let mut haste = Haste::default();
    while let Some(first) = receiver.recv().await {
        let closes = haste.closes(Instant::now(), collector.outgoing.write_hints().linger);
        let mut bytes = first.bytes();
        let mut slices = first.inputs.len();
        let mut requests = vec![first];
        while bytes < collector.full() && slices < MAX_SLICES {
            let next = if collector.hurry.load(Ordering::Relaxed) {
                receiver.try_recv().ok()
            } else {
                // Cancel safe: `recv` loses nothing when another branch is taken.
                tokio::select! {
                    next = receiver.recv() => next,
                    () = tokio::time::sleep_until(closes) => None,
                    () = collector.hurried.notified() => continue,
                }
            };
            let Some(next) = next else { break };
            bytes += next.bytes();
            slices += next.inputs.len();
            requests.push(next);
        }
        for request in &requests {
            collector
                .jobs
                .set_unsent(request.of.stage, request.of.id, 0);
        }
        // The next pack is collected meanwhile. The limit of waiting blobs bounds the number of packs.
        tokio::spawn(Arc::clone(&collector).send_pack(requests));
    }
}

impl PackCollector {
    /// Returns the size of a full pack at the moment, in bytes.
    fn full(&self) -> u64 {
        let smallest = self.pack_bytes.load(Ordering::Relaxed);
        self.outgoing.pack_bytes(self.jobs.unsent(), smallest)
    }

    /// Sends one pack and answers the requests in it.
    async fn send_pack(self: Arc<Self>, requests: Vec<PackRequest>) {
        let slot = self.outgoing.slot().await;
        // Files that were removed meanwhile need no place.
        let mut requests: Vec<PackRequest> = requests
            .into_iter()
            .filter(|request| self.jobs.contains(request.of.id))
            .collect();
        loop {
            let error = match self.send(&requests, &slot).await {
                Ok(placed) => return answer(requests, placed),
                Err(error) => error,
            };
            // A file that changed, went or cannot be read must not delay the others. Each round leaves out at
            // least one.
            let (good, bad) = match &error {
                SendError::Changed(places) => unchanged(requests, places),
                SendError::Spool(_) => readable(requests).await,
                SendError::Remote(_) => (requests, Vec::new()),
            };
            let error = remote_error(error);
            if bad.is_empty() {
                return fail_together(good, error);
            }
            fail(bad, &error);
            requests = good;
        }
    }

    /// Lets each file count its own bytes of a pack.
    fn watch(&self, requests: &[PackRequest], meter: &Arc<SendMeter>) {
        let mut start = 0;
        for request in requests {
            let bytes = MeteredBytes {
                meter: Arc::clone(meter),
                start,
                len: request.bytes(),
            };
            start += bytes.len;
            self.jobs
                .update_upload(request.of, |upload| upload.watch(bytes));
        }
    }

    async fn send(
        &self,
        requests: &[PackRequest],
        slot: &PackSlot<'_>,
    ) -> Result<Vec<(u64, PackRef)>, SendError> {
        let inputs: Vec<PackInput> = requests
            .iter()
            .flat_map(|request| request.inputs.clone())
            .collect();
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let jobs: Vec<FileStage> = requests.iter().map(|request| request.of).collect();
        let tell = |error: &crate::remote::RemoteError| {
            for of in &jobs {
                self.jobs
                    .set_trouble(of.stage, of.id, Some(error.to_string()));
            }
        };
        let follower = PackFollower {
            tell: &tell,
            meter: Arc::default(),
        };
        let meter = Arc::clone(&follower.meter);
        self.watch(requests, &meter);
        let sent = self.outgoing.send(inputs, slot, follower).await;
        let end = match &sent {
            Ok(_) => PackEnd::Stored,
            Err(_) => PackEnd::Failed,
        };
        for of in &jobs {
            self.jobs
                .update_upload(*of, |upload| upload.unwatch(&meter, end));
        }
        let sent = sent?;
        Ok(sent
            .offsets
            .into_iter()
            .map(|offset| (offset, sent.pack.clone()))
            .collect())
    }
}

/// Answers each request with its part of the places.
fn answer(requests: Vec<PackRequest>, placed: Vec<(u64, PackRef)>) {
    let mut placed = placed.into_iter();
    for request in requests {
        let part = placed.by_ref().take(request.inputs.len()).collect();
        // The step that asked may have ended. The pack then holds a slice that nothing names.
        let _ = request.reply.send(Ok(part));
    }
}

/// Tells each request why its bytes could not be sent.
fn fail(requests: Vec<PackRequest>, error: &FsError) {
    for request in requests {
        let _ = request.reply.send(Err(error.clone()));
    }
}

/// Failure of a pack that several files share. It is logged once, not for each of them.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the pack that the file shares with others could not be sent")]
pub struct SharedFailure;

/// Tells all requests of a pack that it could not be sent.
fn fail_together(requests: Vec<PackRequest>, error: FsError) {
    let files = requests.len();
    if files < 2 {
        return fail(requests, &error);
    }
    tracing::warn!(files, %error, "a pack could not be sent; its files are sent again");
    fail(
        requests,
        &FsError::explained(error.kind, error.message, SharedFailure),
    );
}

/// Sorts requests into those without an input at these places of their pack, and the others.
fn unchanged(
    requests: Vec<PackRequest>,
    places: &BTreeSet<usize>,
) -> (Vec<PackRequest>, Vec<PackRequest>) {
    let mut first = 0;
    requests.into_iter().partition(|request| {
        let own = first..first + request.inputs.len();
        first = own.end;
        places.range(own).next().is_none()
    })
}

/// Sorts requests into those whose bytes can be read, and the others.
async fn readable(requests: Vec<PackRequest>) -> (Vec<PackRequest>, Vec<PackRequest>) {
    let sorting = tokio::task::spawn_blocking(move || {
        requests
            .into_iter()
            .partition(|request| SealedPack::seal(request.inputs.clone(), &Cipher::Plain).is_ok())
    });
    // The task ends early only with the runtime. Nobody waits for an answer then.
    sorting.await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::BlockCache;
    use crate::ingest::jobs::Stage;
    use crate::model::EntryId;
    use crate::remote::LocalRemote;
    use crate::remote::testing::{Fault, FaultyRemote, Operation};

    /// Files are removed or written while the pack that they share with a film is on its way. The film must
    /// not wait for further attempts.
    #[tokio::test]
    async fn a_file_that_goes_or_changes_while_its_pack_is_sent_holds_no_other_up() {
        let directory = tempfile::tempdir().unwrap();
        let remote = FaultyRemote::new(Arc::new(LocalRemote::open(directory.path()).unwrap()));
        remote.inject(Operation::Put, &Fault::Hang, 1);
        let jobs = Arc::new(Jobs::default());
        let cache = BlockCache::new(remote.clone(), 1 << 20, Duration::from_secs(1));
        let outgoing = Arc::new(Outgoing::new(remote.clone(), Arc::new(cache)));
        let packer = Arc::new(Packer::start(outgoing, Arc::clone(&jobs), 64 << 20));
        let mut waiting = Vec::new();
        for name in ["goes", "stays", "changes", "grows", "stays too"] {
            let path = directory.path().join(name);
            std::fs::write(&path, name).unwrap();
            let id = EntryId::random();
            jobs.submit(id);
            let (packer, len) = (Arc::clone(&packer), name.len() as u64);
            waiting.push(tokio::spawn(async move {
                let input = PackInput {
                    path,
                    offset: 0,
                    len,
                };
                packer
                    .enter()
                    .await
                    .add(
                        FileStage {
                            stage: Stage::Content,
                            id,
                        },
                        vec![input],
                    )
                    .await
            }));
        }
        while remote.puts() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::fs::remove_file(directory.path().join("goes")).unwrap();
        for name in ["changes", "grows"] {
            let longer = name.to_uppercase() + &name[5..];
            std::fs::write(directory.path().join(name), longer).unwrap();
        }
        remote.heal();
        let mut stored = Vec::new();
        for answer in waiting {
            stored.push(answer.await.unwrap().is_ok());
        }
        assert_eq!(stored, [false, true, false, false, true]);
    }

    #[test]
    fn few_small_blobs_go_at_once_and_many_wait_for_each_other() {
        let mut haste = Haste::default();
        let linger = Duration::from_secs(30);
        let begun = Instant::now();
        let waits = |haste: &mut Haste, at: u64| {
            let now = begun + Duration::from_secs(at);
            haste.closes(now, linger) - now
        };
        for at in 0..3 {
            assert_eq!(waits(&mut haste, at), QUICK_LINGER);
        }
        assert_eq!(waits(&mut haste, 3), linger);
        assert_eq!(waits(&mut haste, 30), QUICK_LINGER);
        assert_eq!(waits(&mut haste, 30), linger);
        // A directory's linger is short anyway.
        let local = Duration::from_millis(100);
        assert_eq!(Haste::default().closes(begun, local), begun + local);
    }
}
