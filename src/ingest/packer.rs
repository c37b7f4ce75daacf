//! Small blobs share packs: a channel takes about 20 messages a minute, and ten thousand posters
//! must not take ten thousand of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::content::{SendError, remote_error};
use super::jobs::{Jobs, Lane};
use super::outgoing::{MAX_SLICES, Outgoing};
use crate::model::{EntryId, ErrorKind, FsError, FsResult, PackRef};
use crate::remote::{Cipher, PackInput, SealedPack};

/// Blobs below this share packs; from here on a message of its own is cheap enough, unless so much
/// waits that packs grow.
pub const SHARED_BELOW_BYTES: u64 = 4 << 20;
/// Blobs that wait for their packs: four packs of as many slices as one can have. Each waits with
/// a task of a few KiB, and with its file in the spool.
const MAX_WAITING: usize = 4 * MAX_SLICES;

/// Packs of small blobs that do not wait for more, within one linger: a film's poster, its map and
/// one to spare.
const QUICK_PACKS: usize = 3;
/// Enough to gather what one `cp -r` makes at a time.
const QUICK_LINGER: Duration = Duration::from_millis(300);

/// Where a small blob's bytes went, slice by slice.
pub type Placed = Vec<(u64, PackRef)>;

struct Item {
    lane: Lane,
    id: EntryId,
    inputs: Vec<PackInput>,
    reply: oneshot::Sender<FsResult<Placed>>,
}

impl Item {
    fn bytes(&self) -> u64 {
        self.inputs.iter().map(|input| input.len).sum()
    }
}

#[derive(Debug)]
pub struct Packer {
    items: mpsc::UnboundedSender<Item>,
    room: Arc<Semaphore>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outgoing: Arc<Outgoing>,
    jobs: Arc<Jobs>,
    /// Bytes of a pack that is full while little waits.
    pack_bytes: AtomicU64,
    /// Set when nothing shall be waited for any more.
    hurry: AtomicBool,
    hurried: Notify,
}

/// A place among the blobs that wait.
#[derive(Debug)]
pub struct Ticket<'a> {
    packer: &'a Packer,
    _room: Option<OwnedSemaphorePermit>,
}

impl Packer {
    #[must_use]
    pub fn start(outgoing: Arc<Outgoing>, jobs: Arc<Jobs>, pack_bytes: u64) -> Self {
        let (items, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            outgoing,
            jobs,
            pack_bytes: pack_bytes.into(),
            hurry: AtomicBool::new(false),
            hurried: Notify::new(),
        });
        tokio::spawn(collect(Arc::clone(&shared), receiver));
        Self {
            items,
            room: Arc::new(Semaphore::new(MAX_WAITING)),
            shared,
        }
    }

    pub fn set_pack_bytes(&self, bytes: u64) {
        self.shared.pack_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Sends what is gathered now, and from here on without waiting for more.
    pub fn hurry(&self) {
        self.shared.hurry.store(true, Ordering::Relaxed);
        self.shared.hurried.notify_one();
    }

    /// Waits until there is room for one more.
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
    /// What the remote or the local disk says.
    pub async fn add(self, lane: Lane, id: EntryId, inputs: Vec<PackInput>) -> FsResult<Placed> {
        let (reply, answer) = oneshot::channel();
        let stopped = || FsError::new(ErrorKind::Io, "ingest is stopping");
        let item = Item {
            lane,
            id,
            inputs,
            reply,
        };
        self.packer.items.send(item).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// Lets single small blobs go at once: only where many come does a pack wait for more.
#[derive(Debug, Default)]
struct Haste {
    /// When the packs that did not wait were begun, at most [`QUICK_PACKS`].
    quick: VecDeque<Instant>,
}

impl Haste {
    /// When a pack that is begun at `now` is to be closed.
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

async fn collect(shared: Arc<Shared>, mut receiver: mpsc::UnboundedReceiver<Item>) {
    let mut haste = Haste::default();
    while let Some(first) = receiver.recv().await {
        let closes = haste.closes(Instant::now(), shared.outgoing.write_hints().linger);
        let mut bytes = first.bytes();
        let mut slices = first.inputs.len();
        let mut items = vec![first];
        while bytes < shared.full() && slices < MAX_SLICES {
            let next = if shared.hurry.load(Ordering::Relaxed) {
                receiver.try_recv().ok()
            } else {
                // Cancel safe: `recv` loses nothing when another branch is taken.
                tokio::select! {
                    next = receiver.recv() => next,
                    () = tokio::time::sleep_until(closes) => None,
                    () = shared.hurried.notified() => continue,
                }
            };
            let Some(next) = next else { break };
            bytes += next.bytes();
            slices += next.inputs.len();
            items.push(next);
        }
        for item in &items {
            shared.jobs.set_unsent(item.lane, item.id, 0);
        }
        // Sent beside the collecting of the next one; the blobs that may wait bound how many.
        tokio::spawn(Arc::clone(&shared).send_shared(items));
    }
}

impl Shared {
    /// Bytes of a full pack as things are.
    fn full(&self) -> u64 {
        let smallest = self.pack_bytes.load(Ordering::Relaxed);
        self.outgoing.pack_bytes(self.jobs.unsent(), smallest)
    }

    async fn send_shared(self: Arc<Self>, items: Vec<Item>) {
        let slot = self.outgoing.slot().await;
        // Whoever was removed meanwhile needs no place.
        let mut items: Vec<Item> = items
            .into_iter()
            .filter(|item| self.jobs.contains(item.id))
            .collect();
        loop {
            let error = match self.send(&items, &slot).await {
                Ok(placed) => return answer(items, placed),
                Err(error) => error,
            };
            // A spool file that cannot be read, of a file that was removed meanwhile for one, must
            // not hold the others up, whether sealing or sending found it. Each round leaves out
            // at least one.
            let (good, bad) = readable(items).await;
            if bad.is_empty() {
                return fail(good, error);
            }
            fail(bad, error);
            items = good;
        }
    }

    async fn send(
        &self,
        items: &[Item],
        slot: &super::outgoing::Slot<'_>,
    ) -> Result<Vec<(u64, PackRef)>, SendError> {
        let inputs: Vec<PackInput> = items.iter().flat_map(|item| item.inputs.clone()).collect();
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let jobs: Vec<_> = items.iter().map(|item| (item.lane, item.id)).collect();
        let tell = |error: &crate::remote::RemoteError| {
            for (lane, id) in &jobs {
                self.jobs.set_trouble(*lane, *id, Some(error.to_string()));
            }
        };
        let (pack, offsets) = self.outgoing.send(inputs, slot, &tell).await?;
        Ok(offsets
            .into_iter()
            .map(|offset| (offset, pack.clone()))
            .collect())
    }
}

/// Gives each its part of what was placed for all of them.
fn answer(items: Vec<Item>, placed: Vec<(u64, PackRef)>) {
    let mut placed = placed.into_iter();
    for item in items {
        let part = placed.by_ref().take(item.inputs.len()).collect();
        // Whoever asked may have gone: then the pack holds a slice that nobody names.
        let _ = item.reply.send(Ok(part));
    }
}

fn fail(items: Vec<Item>, error: SendError) {
    let error = remote_error(error);
    for item in items {
        let _ = item.reply.send(Err(error.clone()));
    }
}

/// Those whose bytes can be read, and the others.
async fn readable(items: Vec<Item>) -> (Vec<Item>, Vec<Item>) {
    let sorting = tokio::task::spawn_blocking(move || {
        items
            .into_iter()
            .partition(|item| SealedPack::seal(item.inputs.clone(), &Cipher::Plain).is_ok())
    });
    // It ends early only with the runtime; then nobody waits for an answer.
    sorting.await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::BlockCache;
    use crate::remote::LocalRemote;
    use crate::remote::testing::{Fault, FaultyRemote, Operation};

    /// Files are removed while the pack that they share is on its way: a film's temporary
    /// neighbours must not make it wait for another attempt, and another.
    #[tokio::test]
    async fn a_file_that_goes_while_its_pack_is_sent_holds_no_other_up() {
        let directory = tempfile::tempdir().unwrap();
        let remote = FaultyRemote::new(Arc::new(LocalRemote::open(directory.path()).unwrap()));
        remote.inject(Operation::Put, &Fault::Hang, 1);
        let jobs = Arc::new(Jobs::default());
        let cache = BlockCache::new(remote.clone(), 1 << 20, Duration::from_secs(1));
        let outgoing = Arc::new(Outgoing::new(remote.clone(), Arc::new(cache)));
        let packer = Arc::new(Packer::start(outgoing, Arc::clone(&jobs), 64 << 20));
        let mut waiting = Vec::new();
        for name in ["goes", "stays", "goes too"] {
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
                    .add(Lane::Content, id, vec![input])
                    .await
            }));
        }
        while remote.puts() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for name in ["goes", "goes too"] {
            std::fs::remove_file(directory.path().join(name)).unwrap();
        }
        remote.heal();
        let mut stored = Vec::new();
        for answer in waiting {
            stored.push(answer.await.unwrap().is_ok());
        }
        assert_eq!(stored, [false, true, false]);
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
