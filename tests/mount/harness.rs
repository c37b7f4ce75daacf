//! A real mount in this process over a library in a temporary directory, and functions that run tools on it.
#![allow(dead_code)] // Each test binary uses its part of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tgfs::fuse::{Deadlines, DetachOutcome, MountConfig, Mounted, clean_stale, mount};
use tgfs::model::{MountAudience, WriteMode};
use tgfs::remote::testing::FaultyRemote;
use tgfs::vfs::Vfs;
use tokio::runtime::Runtime;

use super::library::{Library, LibrarySettings};
use super::material::{need, noise, said};

/// Time after which a hanging tool fails its test. It is long because the machine may be slow.
const TOOL_TIMEOUT_SECONDS: u32 = 120;

/// Longest wait for a state.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct TestMount {
    pub path: PathBuf,
    /// Directory outside the mount, for sources and copies.
    pub outside: PathBuf,
    config: MountConfig,
    settings: LibrarySettings,
    living: Option<Living>,
    unmounted: Option<(Library, Runtime)>,
    directory: TempDir,
}

/// State that a restart replaces.
struct Living {
    mounted: Mounted,
    library: Library,
    runtime: Runtime,
}

impl TestMount {
    pub fn new() -> Self {
        Self::with(WriteMode::Writable)
    }

    pub fn with(mode: WriteMode) -> Self {
        Self::over(LibrarySettings::default(), mode)
    }

    pub fn with_spool(spool_bytes: u64) -> Self {
        let settings = LibrarySettings {
            spool_bytes,
            ..LibrarySettings::default()
        };
        Self::over(settings, WriteMode::Writable)
    }

    pub fn over(settings: LibrarySettings, mode: WriteMode) -> Self {
        // FUSE needs both the kernel module and `fusermount3`. Without them nothing here can run, and a
        // silent skip would look like success.
        assert!(
            Path::new("/dev/fuse").exists(),
            "/dev/fuse is missing: these tests need FUSE (`modprobe fuse`, or a container with --device /dev/fuse)"
        );
        need("fusermount3", "fuse3");
        let directory = tempfile::Builder::new()
            .prefix("tgfs-mount-")
            .tempdir()
            .unwrap();
        let outside = directory.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let config = MountConfig {
            audience: MountAudience::Owner,
            mode,
            deadlines: Deadlines::default(),
            private: vec![directory.path().join("state")],
        };
        let mut test = Self {
            path: directory.path().join("mnt"),
            outside,
            config,
            settings,
            living: None,
            unmounted: None,
            directory,
        };
        test.start();
        test
    }

    fn start(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let root = self.directory.path().join("state");
        let library = Library::open_with(&root, &runtime, self.settings.clone());
        let vfs: Vfs = library.vfs();
        let mounted = mount(vfs, &self.path, &self.config, runtime.handle()).unwrap();
        self.living = Some(Living {
            mounted,
            library,
            runtime,
        });
    }

    /// Unmounts and closes the library in an orderly way.
    fn stop(&mut self) -> DetachOutcome {
        let Living {
            mounted,
            library,
            runtime,
        } = self.living.take().unwrap();
        let outcome = runtime
            .block_on(mounted.unmount(Duration::from_secs(20)))
            .unwrap();
        library.close(&runtime);
        runtime.shutdown_timeout(Duration::from_secs(10));
        outcome
    }

    /// Stops everything and starts it again from the data on disk.
    pub fn restart(&mut self) {
        self.restart_after(|_| {});
    }

    /// Does the same as [`Self::restart`], and calls `between` on the library's directory in between.
    pub fn restart_after(&mut self, between: impl FnOnce(&Path)) {
        assert_eq!(
            self.stop(),
            DetachOutcome::Ended,
            "files in the mount are still open"
        );
        between(&self.directory.path().join("state"));
        self.start();
    }

    pub fn cache_stats(&self) -> tgfs::model::CacheStats {
        self.living.as_ref().unwrap().library.cache().stats()
    }

    pub fn config(&self) -> &MountConfig {
        &self.config
    }

    /// Returns whether the mount reports within `patience` that it ended.
    pub fn ends_by_itself(&mut self, patience: Duration) -> bool {
        let living = self.living.as_mut().unwrap();
        let ended = living.mounted.ended();
        let waited = async { tokio::time::timeout(patience, ended).await };
        living.runtime.block_on(waited).is_ok()
    }

    /// Unmounts and leaves the library running.
    pub fn unmount(&mut self, drain: Duration) -> DetachOutcome {
        let Living {
            mounted,
            library,
            runtime,
        } = self.living.take().unwrap();
        let outcome = runtime.block_on(mounted.unmount(drain)).unwrap();
        self.unmounted = Some((library, runtime));
        outcome
    }

    pub fn vfs(&self) -> Vfs {
        self.living.as_ref().unwrap().library.vfs()
    }

    pub fn remote(&self) -> &FaultyRemote {
        self.living.as_ref().unwrap().library.remote()
    }

    pub fn traffic(&self) -> tgfs::remote::testing::Traffic {
        self.living.as_ref().unwrap().library.traffic()
    }

    /// Marks each file in the spool as one whose bytes the disk failed to take.
    #[cfg(debug_assertions)]
    pub fn damage_spool(&self) {
        let spool = self.living.as_ref().unwrap().library.spool();
        for file in spool.ids().into_iter().filter_map(|id| spool.get(id)) {
            file.damage();
        }
    }

    pub fn runtime(&self) -> &Runtime {
        &self.living.as_ref().unwrap().runtime
    }

    /// Runs `script` in bash with `-euo pipefail` and the mount as working directory. `$OUT` is the directory
    /// outside the mount.
    pub fn sh(&self, script: &str) -> Output {
        self.sh_in(&self.path, script)
    }

    pub fn sh_in(&self, directory: &Path, script: &str) -> Output {
        self.command(directory, script).output().unwrap()
    }

    /// Returns the command of [`Self::sh`].
    pub fn command(&self, directory: &Path, script: &str) -> Command {
        let mut command = Command::new("timeout");
        command
            .args([
                "-k",
                "5",
                &TOOL_TIMEOUT_SECONDS.to_string(),
                "bash",
                "-euo",
                "pipefail",
                "-c",
            ])
            .arg(script)
            .env("OUT", &self.outside)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", &self.outside)
            .current_dir(directory);
        command
    }

    /// Does the same as [`Self::sh`], and fails the test if the script does not succeed.
    pub fn run(&self, script: &str) -> String {
        let output = self.sh(script);
        assert!(
            output.status.success(),
            "`{script}` ended with {}\n{}",
            output.status,
            said(&output)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Writes `len` bytes that do not compress and equal no others by coincidence.
    pub fn source(&self, name: &str, len: usize, seed: u64) -> PathBuf {
        let path = self.outside.join(name);
        fs::write(&path, noise(len, seed)).unwrap();
        path
    }

    /// Returns `user.tgfs.state` of a file in the mount.
    pub fn state_of(&self, name: &str) -> String {
        self.run(&format!(
            "getfattr --only-values -n user.tgfs.state -- '{name}'"
        ))
    }

    pub fn wait_for_state(&self, name: &str, wanted: &[&str]) {
        let start = Instant::now();
        loop {
            let state = self.state_of(name);
            if wanted.contains(&state.as_str()) {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{name} is {state}, and not {wanted:?}, after {PATIENCE:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for TestMount {
    fn drop(&mut self) {
        if let Some(Living {
            mounted,
            library,
            runtime,
        }) = self.living.take()
        {
            // The unmount is lazy, so that an open file of a failed test does not block it.
            drop(mounted);
            drop(library);
            runtime.shutdown_background();
        }
        if let Some((library, runtime)) = self.unmounted.take() {
            drop(library);
            runtime.shutdown_background();
        }
        let _ = clean_stale(&self.path);
    }
}
