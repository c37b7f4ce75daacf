//! Tests of moves of a library from one store to another, interrupted at every call.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::*;
use crate::remote::{
    ForeignFiles, ForeignLayer, LibraryMark, LogLayer, LogPlace, LogStore, MovingRemote, PackLayer,
    PackStore, RemoteError, Removal, Urgency,
};
use crate::tree::Tree;
use crate::upkeep::moving::{Moved, Mover, move_log};

/// Calls that a run may make on both stores together before it ends.
#[derive(Debug, Clone)]
struct Life(Arc<AtomicU64>);

impl Life {
    fn of(calls: u64) -> Self {
        Self(Arc::new(AtomicU64::new(calls)))
    }
    fn spend(&self) -> Result<(), RemoteError> {
        let left = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        left.map(drop).map_err(|_| {
            RemoteError::new(RemoteErrorKind::Denied, "go on", "the run was killed here")
        })
    }
    fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

/// Local store that gives its packs addresses of another kind.
#[derive(Debug)]
struct Place {
    inner: LocalRemote,
    kind: Kind,
    life: Life,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    Channel,
}

#[async_trait::async_trait]
impl PackLayer for Place {
    fn inner_packs(&self) -> &dyn PackStore {
        &self.inner
    }
    async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError> {
        self.life.spend()?;
        let address = self.inner.put(pack).await?;
        Ok(match self.kind {
            Kind::Directory => address,
            Kind::Channel => PackAddress::Telegram(TelegramAddress {
                channel: crate::model::ChannelId::new(1),
                message: crate::model::MessageId::new(2),
                document: 3,
                dc: 4,
            }),
        })
    }
    async fn get(
        &self,
        pack: &PackRef,
        range: ByteRange,
        urgency: Urgency,
    ) -> Result<Bytes, RemoteError> {
        self.life.spend()?;
        self.inner.get(pack, range, urgency).await
    }
    async fn size(&self, pack: &PackRef) -> Result<u64, RemoteError> {
        self.life.spend()?;
        self.inner.size(pack).await
    }
    async fn delete(&self, pack: &PackRef) -> Result<Removal, RemoteError> {
        self.life.spend()?;
        self.inner.delete(pack).await
    }
}

#[async_trait::async_trait]
impl LogLayer for Place {
    fn inner_log(&self) -> &dyn LogStore {
        &self.inner
    }
    fn describe(&self) -> String {
        match self.kind {
            Kind::Directory => self.inner.describe(),
            Kind::Channel => "telegram".into(),
        }
    }
    async fn library(&self) -> Result<Option<LibraryMark>, RemoteError> {
        self.life.spend()?;
        self.inner.library().await
    }
    async fn create_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        self.life.spend()?;
        self.inner.create_library(mark).await
    }
    async fn update_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        self.life.spend()?;
        self.inner.update_library(mark).await
    }
    async fn append_log(&self, object: LogObject, bytes: Bytes) -> Result<(), RemoteError> {
        self.life.spend()?;
        self.inner.append_log(object, bytes).await
    }
    async fn list_log(&self, kind: LogKind, after: u64) -> Result<Vec<LogObject>, RemoteError> {
        self.life.spend()?;
        self.inner.list_log(kind, after).await
    }
    async fn read_log(&self, object: LogObject) -> Result<Bytes, RemoteError> {
        self.life.spend()?;
        self.inner.read_log(object).await
    }
    async fn endorse_snapshot(&self, snapshot: LogObject) -> Result<(), RemoteError> {
        self.life.spend()?;
        self.inner.endorse_snapshot(snapshot).await
    }
    async fn delete_log(&self, object: LogObject) -> Result<(), RemoteError> {
        self.life.spend()?;
        self.inner.delete_log(object).await
    }
}

impl ForeignLayer for Place {
    fn inner_foreign(&self) -> &dyn ForeignFiles {
        &self.inner
    }
}

/// A state, its old store and the new one.
struct Move {
    state: tempfile::TempDir,
    old: tempfile::TempDir,
    new: tempfile::TempDir,
}

/// Parts of one run.
struct Run {
    index: Arc<Index>,
    shared: Arc<dyn Remote>,
    life: Life,
    noted: bool,
}

impl Move {
    /// Makes two files with packs of their own, two that share one, and a change that is not published.
    async fn begin() -> (Self, Vec<String>) {
        let library = Library::new().await;
        let films = library.directory(EntryId::ROOT, "films");
        library
            .stored_file(films.id, "heat", &vec![7; 1_200_000])
            .await;
        let one = library
            .stored_file(films.id, "one", b"the same bytes")
            .await;
        let copy = library.entry(EntryId::ROOT, "copy", one.kind.clone());
        library.commit(&[put(&copy)]);
        library.publish().await;
        library.directory(EntryId::ROOT, "unpublished");
        let expected = paths(&library.index);
        library.index.shutdown().unwrap();
        let (state, old) = library.crashed(&[]);
        let new = tempfile::tempdir().unwrap();
        (Self { state, old, new }, expected)
    }

    fn place(&self, kind: Kind, life: &Life) -> Arc<dyn Remote> {
        let directory = match kind {
            Kind::Directory => self.old.path(),
            Kind::Channel => self.new.path(),
        };
        Arc::new(Place {
            inner: LocalRemote::open(directory).unwrap(),
            kind,
            life: life.clone(),
        })
    }

    fn open(&self, life: Life) -> (Run, Arc<MovingRemote>) {
        let (index, _) = open_index(self.state.path());
        let log = match index.store_description().starts_with("local:") {
            true => LogPlace::Old,
            false => LogPlace::New,
        };
        let old = self.place(Kind::Directory, &life);
        let moving = MovingRemote::new(old, self.place(Kind::Channel, &life), log);
        let shared: Arc<dyn Remote> = Arc::<MovingRemote>::clone(&moving);
        let run = Run {
            index,
            shared,
            life,
            noted: false,
        };
        (run, moving)
    }

    /// Moves the library as a daemon does, until the run ends.
    async fn run(&self, life: Life) -> Result<Moved, String> {
        let (mut run, moving) = self.open(life);
        if moving.log_place() == LogPlace::Old {
            let noted = &mut run.noted;
            let note = || {
                *noted = true;
                Ok(())
            };
            move_log(&run.index, &run.shared, &moving, note, soon())
                .await
                .map_err(|error| error.to_string())?;
            assert!(run.noted);
        }
        attach_to(&run.index, &run.shared)
            .await
            .map_err(|error| error.to_string())?;
        run.publish().await?;
        let workshop = self.state.path().join("moving");
        std::fs::create_dir_all(&workshop).unwrap();
        let mover = Mover {
            index: Arc::clone(&run.index),
            tree: Arc::new(Tree::new(Arc::clone(&run.index))),
            remote: Arc::clone(&run.shared),
            workshop,
        };
        let moved = mover.round(&|_| false, &|| false).await;
        let moved = moved.map_err(|error| error.to_string())?;
        run.publish().await?;
        let now = std::time::Duration::ZERO;
        let cleaned = delete_dying_packs(&run.index, &run.shared, now, &|_| false).await;
        match cleaned.unwrap().problem {
            None => Ok(moved),
            Some(problem) => Err(problem),
        }
    }
}

impl Run {
    async fn publish(&self) -> Result<(), String> {
        let publisher = Publisher::start(Arc::clone(&self.index), Arc::clone(&self.shared));
        let death = async {
            while !self.life.is_over() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let published = tokio::select! {
            published = publisher.drained() => published.map_err(|error| error.to_string()),
            () = death => Err("killed".to_owned()),
        };
        publisher.stop().await;
        published
    }
}

fn packs_in(store: &tempfile::TempDir) -> usize {
    let folders = std::fs::read_dir(store.path().join("packs")).unwrap();
    folders
        .map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count())
        .sum()
}

/// Checks that everything is in the new store, and that it alone gives the tree back.
async fn assert_moved(place: &Move, expected: &[String]) {
    assert_eq!(packs_in(&place.old), 0, "packs stayed behind");
    let channel = place.place(Kind::Channel, &Life::of(u64::MAX));
    let state = tempfile::tempdir().unwrap();
    let (index, _) = open_index(state.path());
    let report = attach_to(&index, &channel).await.unwrap();
    assert_eq!(report.notes, Vec::<String>::new());
    assert_eq!(paths(&index), expected);
    let report = verify(&index, &channel, VerifyDepth::Blocks, &mut |_| ())
        .await
        .unwrap();
    assert_eq!((report.files, report.packs), (3, 2));
    assert_eq!(report.problems, []);
}

#[tokio::test]
async fn a_library_moves_and_leaves_nothing_behind() {
    let (place, expected) = Move::begin().await;
    assert_eq!(packs_in(&place.old), 2);
    let moved = place.run(Life::of(u64::MAX)).await.unwrap();
    assert_eq!((moved.packs, packs_in(&place.new)), (2, 2));
    assert_moved(&place, &expected).await;
    // The next run has nothing to do.
    let moved = place.run(Life::of(u64::MAX)).await.unwrap();
    assert_eq!(moved, Moved::default());
    assert!(moved.is_all());
}

#[tokio::test]
async fn a_move_that_is_cut_off_anywhere_goes_on() {
    let mut calls = 0;
    loop {
        let (place, expected) = Move::begin().await;
        let killed = place.run(Life::of(calls)).await;
        place.run(Life::of(u64::MAX)).await.unwrap();
        assert_moved(&place, &expected).await;
        if killed.is_ok() {
            break;
        }
        calls += 1;
    }
    assert!(calls > 30, "only {calls} places to be cut off at");
}

#[tokio::test]
async fn a_pack_that_somebody_reads_stays_for_now() {
    let (place, expected) = Move::begin().await;
    let (run, moving) = place.open(Life::of(u64::MAX));
    move_log(&run.index, &run.shared, &moving, || Ok(()), soon())
        .await
        .unwrap();
    let workshop = place.state.path().join("moving");
    std::fs::create_dir_all(&workshop).unwrap();
    let mover = Mover {
        index: Arc::clone(&run.index),
        tree: Arc::new(Tree::new(Arc::clone(&run.index))),
        remote: Arc::clone(&run.shared),
        workshop,
    };
    let moved = mover.round(&|_| true, &|| false).await.unwrap();
    assert_eq!((moved.packs, moved.in_use), (0, 2));
    // A pack is opened while it is moved. Its copy is deleted again.
    let asked = AtomicU64::new(0);
    let opened = |_| asked.fetch_add(1, Ordering::SeqCst) % 2 == 1;
    let moved = mover.round(&opened, &|| false).await.unwrap();
    assert_eq!((moved.packs, moved.in_use), (0, 2));
    assert_eq!(packs_in(&place.new), 0);
    drop((run, moving, mover));
    place.run(Life::of(u64::MAX)).await.unwrap();
    assert_moved(&place, &expected).await;
}

#[tokio::test]
async fn a_channel_with_another_library_or_a_later_log_is_refused() {
    let (place, _) = Move::begin().await;
    let copy = tempfile::tempdir().unwrap();
    catch_up::copy_files(place.state.path(), copy.path());
    place.run(Life::of(u64::MAX)).await.unwrap();
    // A copy of the state from before the move.
    let again = Move {
        state: copy,
        old: place.old,
        new: place.new,
    };
    let refused = again.run(Life::of(u64::MAX)).await.unwrap_err();
    assert!(refused.contains("has gone on"), "{refused}");

    let (mut place, _) = Move::begin().await;
    let (other, _) = Move::begin().await;
    place.new = other.old;
    let refused = place.run(Life::of(u64::MAX)).await.unwrap_err();
    assert!(refused.contains("holds library"), "{refused}");
}
