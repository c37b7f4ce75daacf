//! A library on a local store or a simulated channel, and the daemons that mount it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use telegram_sim::{Options, Pace, Server};
use tempfile::TempDir;
use tgfs::failpoint::Step;
use tgfs::fuse::clean_stale;
use tgfs::index::{Index, Owner};
use tokio::runtime::Runtime;

pub use crate::child::Daemon;
use crate::fixture::{self, Place};
use crate::material;

/// How long a step is waited for; the machine may be slow.
const PATIENCE: Duration = Duration::from_secs(180);

pub struct Site {
    directory: TempDir,
    mountpoint: PathBuf,
    program: PathBuf,
    /// The simulated service, where the library is in a channel. Its runtime must outlive it.
    service: Option<(Server, Runtime)>,
}

impl Site {
    /// An empty directory for a library at `place`, used by `program`.
    pub fn new(place: Place, program: PathBuf) -> Self {
        let mut site = Self::without_service(program);
        site.start_service(place);
        site
    }

    /// What the old release left, used by today's program.
    pub fn unpacked(place: Place) -> Self {
        let mut site = Self::without_service(env!("CARGO_BIN_EXE_tgfs").into());
        fixture::unpack(place, site.path());
        site.start_service(place);
        if place != Place::Channel {
            site.relocate();
        }
        site
    }

    fn without_service(program: PathBuf) -> Self {
        material::need("fusermount3", "fuse3");
        let directory = tempfile::Builder::new()
            .prefix("tgfs-upgrade-")
            .tempdir()
            .unwrap();
        let mountpoint = directory.path().join("mnt");
        Self {
            directory,
            mountpoint,
            program,
            service: None,
        }
    }

    /// Starts the simulated service on what it kept; nothing, where the library is in a local store.
    pub fn start_service(&mut self, place: Place) {
        if place != Place::Channel {
            return;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let options = Options {
            bots: 2,
            pace: Pace::unlimited(),
            data: Some(self.path().join("service")),
            ..Options::default()
        };
        let server = runtime.block_on(Server::start(options)).unwrap();
        server.write_env(&self.path().join(".env")).unwrap();
        self.service = Some((server, runtime));
    }

    /// A state names the directory of its local store, which is a new one in each test.
    fn relocate(&self) {
        let store = self.path().join("store").canonicalize().unwrap();
        let (index, _) = Index::open(&self.state(), Owner::of_process()).unwrap();
        let library = index.library_id();
        index
            .bind(library, &format!("local:{}", store.display()))
            .unwrap();
        index.shutdown().unwrap();
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    pub fn lose_state(&self) {
        fs::remove_dir_all(self.state()).unwrap();
    }

    /// Stops the simulated service, so that its directory can be packed.
    pub fn stop_service(&mut self) {
        if let Some((server, runtime)) = self.service.take() {
            runtime.block_on(server.stop());
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            // Nothing of the machine's own configuration.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("TGFS_STATE_DIR", self.state())
            .env("TGFS_SETTLE", "100ms")
            .env("TGFS_PACE", "fast")
            .current_dir(self.path());
        if self.service.is_none() {
            let store = self.path().join("store");
            command.env("TGFS_STORE", format!("local:{}", store.display()));
        }
        command
    }

    /// The output of a command that succeeds.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            material::said(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.run(arguments)).unwrap()
    }

    fn mounting(&self) -> Command {
        let mountpoint = self.mountpoint.to_str().unwrap();
        let mut command = self.command(&["mount", "--http", "127.0.0.1:0", mountpoint]);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path().join("log"))
            .unwrap();
        command.stderr(log);
        command
    }

    /// Returns when the library is mounted and nothing is left to do.
    pub fn start(&self) -> Daemon {
        let running = Daemon::start(self.mounting());
        let running = running.unwrap_or_else(|| panic!("no start: {}", self.log()));
        self.settled();
        running
    }

    /// A daemon that is killed at the next pass of `step`.
    pub fn start_to_die(&self, step: Step) -> Daemon {
        let mut command = self.mounting();
        command.env("TGFS_CRASH_AT", format!("{}:1", step.as_str()));
        Daemon::start(command).unwrap_or_else(|| panic!("no start: {}", self.log()))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// Waits until all files and views are made and published.
    pub fn settled(&self) {
        wait_for("all is published", || {
            let stats = self.json(&["db-stats", "--json"]);
            let stat = |name: &str| {
                let mut stats = stats.as_array().unwrap().iter();
                let found = stats.find(|stat| stat["name"] == name);
                found.unwrap()["value"].as_u64().unwrap()
            };
            let status = self.json(&["status", "--json"]);
            status["jobs"].as_array().unwrap().is_empty()
                && stat("unpublished entries") == 0
                && stat("files only here") == 0
        });
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = clean_stale(&self.mountpoint);
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
