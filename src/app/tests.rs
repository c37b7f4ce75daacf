//! Tests of a start while the store is away, refuses, or comes back. They use the parts as the daemon has
//! them, and a remote that breaks on request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::parts::{OpenPurpose, Parts};
use super::store::OpenStore;
use crate::config::{self, Config, ConfigInputs};
use crate::index::{Index, Owner};
use crate::model::{AttachState, ErrorKind, FsResult, Ino, StoreStatus, TreePath};
use crate::process::Launcher;
use crate::remote::testing::{Fault, FaultyRemote, Operation};
use crate::remote::{
    KdfCost, LocalRemote, LockedRemote, LogKind, LogStore as _, Passphrases, RemoteErrorKind,
};
use crate::vfs::{AccessMode, Caller, SetIdBits, TreeUse, Vfs};

const ALWAYS: usize = 100_000;
/// Longest wait for any event. The machine that runs the tests may be slow.
const PATIENCE: Duration = Duration::from_secs(60);
const ALL: [Operation; 5] = [
    Operation::Put,
    Operation::Get,
    Operation::Delete,
    Operation::AppendLog,
    Operation::ReadLog,
];
const USER: Caller = Caller {
    uid: 0,
    gid: 0,
    pid: 0,
};

/// A state and a store; either can be opened again.
struct Place {
    dir: tempfile::TempDir,
}

struct Open {
    parts: Parts,
    remote: Arc<FaultyRemote>,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn config(&self, state: &str) -> Config {
        let path = |name: &str| self.dir.path().join(name).to_str().unwrap().to_owned();
        let settings = [
            ("HOME", path("home")),
            ("TGFS_STATE_DIR", path(state)),
            ("TGFS_STORE", format!("local:{}", path("store"))),
            ("TGFS_SETTLE", "50ms".to_owned()),
            ("TGFS_READ_DEADLINE", "1s".to_owned()),
            ("TGFS_SPOOL_RESERVE", "0".to_owned()),
        ];
        let inputs = ConfigInputs {
            environment: settings
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            working_dir: self.dir.path().to_owned(),
            ..ConfigInputs::default()
        };
        config::load(&inputs).config.unwrap()
    }

    fn remote(&self) -> Arc<FaultyRemote> {
        let store = LocalRemote::open(&self.dir.path().join("store")).unwrap();
        FaultyRemote::new(Arc::new(store))
    }

    /// Runs a daemon on `state`, calls `during`, and closes the daemon in order. Returns the result of the
    /// start.
    fn run(
        &self,
        state: &str,
        remote: Arc<FaultyRemote>,
        during: impl AsyncFnOnce(&Open),
    ) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let config = self.config(state);
        let ended = runtime.block_on(async {
            let (index, _) = Index::open(&config.state_dir, Owner::of_process())?;
            let parts = Parts::assemble(
                &config,
                OpenPurpose::Serve,
                Launcher::Direct,
                Arc::new(index),
                OpenStore {
                    remote: LockedRemote::new(
                        Arc::<FaultyRemote>::clone(&remote),
                        Passphrases::default(),
                        KdfCost::STANDARD,
                    ),
                    moving: None,
                },
            );
            let parts = parts.await?;
            let open = Open { parts, remote };
            during(&open).await;
            open.parts.close().await
        });
        // Tasks that look for their end every few seconds have to release state and store first.
        runtime.shutdown_timeout(Duration::from_secs(20));
        ended
    }

    /// Makes a library with one stored file, and closes it again.
    fn with_library() -> Self {
        let place = Self::new();
        let stored = place.run("state", place.remote(), async |open| {
            write(open.vfs(), "film.bin", b"stored").await.unwrap();
            open.until_stored("film.bin").await;
        });
        stored.unwrap();
        place
    }
}

impl Open {
    fn vfs(&self) -> &Vfs {
        &self.parts.vfs
    }
    fn status(&self) -> StoreStatus {
        self.vfs().store_status()
    }
    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(
                begun.elapsed() < PATIENCE,
                "not in time: {what}; {:?}",
                self.status()
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
    async fn until_state(&self, state: AttachState) {
        let is_so = || self.status().state == state;
        self.until(&format!("{state:?}"), is_so).await;
    }
    async fn until_stored(&self, name: &str) {
        let is_so = || state(self.vfs(), name).as_deref() == Ok("stored");
        self.until(&format!("{name} is stored"), is_so).await;
    }
}

fn away(remote: &FaultyRemote) {
    for operation in ALL {
        remote.inject(
            operation,
            &Fault::Fail(RemoteErrorKind::Unavailable),
            ALWAYS,
        );
    }
}

async fn write(vfs: &Vfs, name: &str, bytes: &[u8]) -> FsResult<()> {
    let (_, opened) = vfs.create(
        Ino::ROOT,
        name.as_bytes(),
        0o644,
        AccessMode::ReadWrite,
        USER,
    )?;
    let bytes = Bytes::copy_from_slice(bytes);
    vfs.write(opened.handle, 0, bytes, SetIdBits::Keep).await?;
    let flushed = vfs.flush(opened.handle, USER).await;
    vfs.release(opened.handle);
    flushed
}

async fn read(vfs: &Vfs, name: &str) -> FsResult<Bytes> {
    let resource = vfs.open_resource(&path(name)).await?;
    let bytes = vfs.read(resource.handle, 0, 1 << 20).await;
    vfs.release(resource.handle);
    bytes
}

fn path(name: &str) -> TreePath {
    TreePath::parse(name.as_bytes()).unwrap()
}

fn state(vfs: &Vfs, name: &str) -> Result<String, ErrorKind> {
    let id = vfs.resolve(&path(name)).map_err(|error| error.kind)?.id;
    let info = vfs.info(id.ok_or(ErrorKind::NotFound)?);
    Ok(info.map_err(|error| error.kind)?.state.as_str().to_owned())
}

/// Returns the names in the root that users made.
fn names(vfs: &Vfs) -> FsResult<Vec<String>> {
    let mut names = Vec::new();
    vfs.read_directory(&TreePath::root(), 0, &mut |entry| {
        names.push(String::from_utf8(entry.name.clone()).unwrap());
        std::ops::ControlFlow::Continue(())
    })?;
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    Ok(names)
}

#[test]
fn a_start_goes_on_without_the_store_and_catches_up() {
    let place = Place::with_library();
    let remote = place.remote();
    away(&remote);
    let ran = place.run("state", remote, async |open| {
        let vfs = open.vfs();
        assert_eq!(open.status().state, AttachState::Reaching);
        assert!(open.status().explain().unwrap().contains("injected"));
        assert_eq!(names(vfs).unwrap(), ["film.bin"]);
        let error = read(vfs, "film.bin").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::RemoteUnavailable);
        write(vfs, "new.bin", b"new").await.unwrap();
        assert_eq!(&read(vfs, "new.bin").await.unwrap()[..], b"new");
        vfs.rename(
            Ino::ROOT,
            b"film.bin",
            Ino::ROOT,
            b"renamed.bin",
            crate::vfs::RenameMode::Replace,
        )
        .unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(open.remote.puts(), 0, "a pack went out before its time");
        open.remote.heal();
        open.until_state(AttachState::Attached).await;
        open.until_stored("new.bin").await;
        assert_eq!(&read(vfs, "renamed.bin").await.unwrap()[..], b"stored");
        assert_eq!(open.status().explain(), None);
    });
    ran.unwrap();
    // The store has everything, too.
    let ran = place.run("other state", place.remote(), async |open| {
        assert_eq!(names(open.vfs()).unwrap(), ["new.bin", "renamed.bin"]);
    });
    ran.unwrap();
}

/// Packs that are meant for another library, or for one that has gone on elsewhere, would be lost in it.
#[test]
fn no_pack_goes_out_before_the_log_was_looked_at() {
    let place = Place::with_library();
    let remote = place.remote();
    // The library's key is known. After that the store does not answer any more.
    remote.inject(Operation::ReadLog, &Fault::Delay(Duration::ZERO), 1);
    remote.inject(Operation::ReadLog, &Fault::Hang, ALWAYS);
    let ran = place.run("state", remote, async |open| {
        assert_eq!(open.status().state, AttachState::Reaching);
        assert_eq!(&read(open.vfs(), "film.bin").await.unwrap()[..], b"stored");
        write(open.vfs(), "new.bin", b"new").await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(open.remote.puts(), 0);
        open.remote.heal();
        open.until_stored("new.bin").await;
    });
    ran.unwrap();
}

#[test]
fn a_fresh_state_shows_nothing_false_until_it_is_filled() {
    let place = Place::with_library();
    let remote = place.remote();
    remote.inject(Operation::ReadLog, &Fault::Hang, ALWAYS);
    let log_of = async |open: &Open| open.remote.list_log(LogKind::Manifest, 0).await.unwrap();
    let ran = place.run("fresh", remote, async |open| {
        let vfs = open.vfs();
        assert_eq!(open.status().state, AttachState::Filling);
        let log = log_of(open).await;
        // The answer is neither "empty" nor "no such file", because nobody knows yet.
        assert_eq!(names(vfs).unwrap_err().kind, ErrorKind::RemoteUnavailable);
        let error = vfs.resolve(&path("film.bin")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::RemoteUnavailable);
        assert!(vfs.list(&TreePath::root()).is_err());
        let refused = write(vfs, "new.bin", b"new").await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::ReadOnly);
        // Whoever asks waits for the deadline first.
        let asked = Instant::now();
        vfs.until_loaded(TreeUse::Look).await;
        assert!(vfs.is_loading() && asked.elapsed() >= Duration::from_secs(1));
        // Nothing may be published, and least of all the new state's own empty root.
        assert_eq!(log_of(open).await, log, "something was published");
        open.remote.heal();
        vfs.until_loaded(TreeUse::Change).await;
        assert_eq!(names(vfs).unwrap(), ["film.bin"]);
        assert_eq!(&read(vfs, "film.bin").await.unwrap()[..], b"stored");
        write(vfs, "new.bin", b"new").await.unwrap();
        open.until_stored("new.bin").await;
    });
    ran.unwrap();
}

#[test]
fn a_damaged_index_takes_up_its_spool_once_it_is_filled() {
    let place = Place::with_library();
    let remote = place.remote();
    remote.inject(
        Operation::Put,
        &Fault::Fail(RemoteErrorKind::Unavailable),
        ALWAYS,
    );
    let ran = place.run("state", remote, async |open| {
        write(open.vfs(), "spooled.bin", b"only here")
            .await
            .unwrap();
    });
    ran.unwrap();
    let state = place.config("state").state_dir;
    std::fs::remove_dir_all(state.join("index")).unwrap();
    std::fs::remove_dir_all(state.join("journal")).unwrap();
    let remote = place.remote();
    away(&remote);
    let ran = place.run("state", remote, async |open| {
        assert_eq!(open.status().state, AttachState::Filling);
        open.remote.heal();
        open.until_state(AttachState::Attached).await;
        let vfs = open.vfs();
        open.until("it can be written to", || !vfs.awaits_resume())
            .await;
        assert_eq!(names(vfs).unwrap(), ["film.bin", "spooled.bin"]);
        assert_eq!(&read(vfs, "spooled.bin").await.unwrap()[..], b"only here");
    });
    ran.unwrap();
}

#[test]
fn a_refusal_at_once_ends_the_start() {
    let place = Place::with_library();
    let remote = place.remote();
    let denied = Fault::Fail(RemoteErrorKind::Denied);
    remote.inject(Operation::ReadLog, &denied, 1);
    let ran = place.run("state", remote, async |_| panic!("it started"));
    let refused = ran.unwrap_err();
    assert!(format!("{refused:#}").contains("injected"), "{refused:#}");
    // The failed start has released everything.
    let ran = place.run("state", place.remote(), async |open| {
        assert_eq!(names(open.vfs()).unwrap(), ["film.bin"]);
    });
    ran.unwrap();
}

#[test]
fn a_refusal_later_leaves_the_library_readable() {
    let place = Place::with_library();
    let remote = place.remote();
    away(&remote);
    let ran = place.run("state", remote, async |open| {
        let vfs = open.vfs();
        write(vfs, "before.bin", b"before").await.unwrap();
        open.remote.heal();
        let denied = Fault::Fail(RemoteErrorKind::Denied);
        open.remote.inject(Operation::ReadLog, &denied, ALWAYS);
        open.until_state(AttachState::Refused).await;
        assert_eq!(names(vfs).unwrap(), ["before.bin", "film.bin"]);
        let error = read(vfs, "film.bin").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::RemoteUnavailable);
        assert_eq!(&read(vfs, "before.bin").await.unwrap()[..], b"before");
        let refused = write(vfs, "after.bin", b"after").await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::ReadOnly);
        assert!(refused.message.contains("injected"), "{refused}");
        assert_eq!(open.remote.puts(), 0);
    });
    ran.unwrap();
    let ran = place.run("state", place.remote(), async |open| {
        open.until_stored("before.bin").await;
    });
    ran.unwrap();
}

#[test]
fn another_writer_makes_a_running_daemon_read_only() {
    let place = Place::with_library();
    let ran = place.run("state", place.remote(), async |open| {
        // This does the same as another daemon that has the same library.
        let log = place.dir.path().join("store/log");
        let last = open.remote.list_log(LogKind::Manifest, 0).await.unwrap();
        let last = last.last().unwrap();
        let theirs = format!("{:020}-{}", last.number + 1, "5".repeat(32));
        let ours = log.join(format!("{:020}-{}", last.number, last.writer));
        std::fs::copy(ours, log.join(theirs)).unwrap();
        write(open.vfs(), "late.bin", b"late").await.unwrap();
        open.until_state(AttachState::Refused).await;
        let refused = write(open.vfs(), "later.bin", b"x").await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::ReadOnly);
        assert!(refused.message.contains("--take-over"), "{refused}");
        assert_eq!(&read(open.vfs(), "late.bin").await.unwrap()[..], b"late");
    });
    ran.unwrap();
    let ran = place.run("state", place.remote(), async |_| panic!("it started"));
    let refused = ran.unwrap_err();
    assert!(format!("{refused:#}").contains("--take-over"));
}

#[test]
fn a_new_library_is_there_when_the_start_returns() {
    let place = Place::new();
    let ran = place.run("state", place.remote(), async |open| {
        assert_eq!(open.status().explain(), None);
        assert_eq!(names(open.vfs()).unwrap(), Vec::<String>::new());
        write(open.vfs(), "first.bin", b"1").await.unwrap();
        open.until_stored("first.bin").await;
    });
    ran.unwrap();
}
