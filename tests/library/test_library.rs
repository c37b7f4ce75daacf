//! A library in a temporary directory, read and written by path.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;
use tgfs::model::{ErrorKind, FileInfo, FsResult, Ino, TreePath};
use tgfs::remote::RemoteErrorKind;
use tgfs::remote::testing::{Fault, FaultyRemote, Operation};
use tgfs::upkeep::cleanup::{CleanupReport, delete_dying_packs};
use tgfs::vfs::{
    AccessMode, Attr, Caller, CopyRange, Existing, HandleId, RenameMode, SetAttr, SetIdBits, Vfs,
};
use tokio::runtime::Runtime;

use crate::library::{Library, LibrarySettings};
use crate::material::need;

/// Longest wait for anything; the test machine may be slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// Number of calls that no test reaches.
pub const ALWAYS: usize = 10_000;
const WRITE_BYTES: usize = 128 * 1024;

pub const USER: Caller = Caller {
    uid: 1000,
    gid: 1000,
    pid: 0,
};

/// A library in a temporary directory; it is stopped, killed and started again at will.
pub struct TestLibrary {
    root: TempDir,
    pub settings: LibrarySettings,
    running: Option<(Library, Runtime)>,
}

impl TestLibrary {
    pub fn new() -> Self {
        Self::with(LibrarySettings::default())
    }

    pub fn with(settings: LibrarySettings) -> Self {
        let mut library = Self::unstarted(settings);
        library.start();
        library
    }

    fn unstarted(settings: LibrarySettings) -> Self {
        let root = tempfile::Builder::new()
            .prefix("tgfs-library-")
            .tempdir()
            .unwrap();
        Self {
            root,
            settings,
            running: None,
        }
    }

    /// Begins a library whose clock stands still while anything runs, and leaps when all tasks wait:
    /// for tests with minutes of waiting.
    pub fn with_leaping_clock(settings: LibrarySettings) -> Self {
        let mut library = Self::unstarted(settings);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        library.start_in(runtime);
        library
    }

    pub fn start(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        self.start_in(runtime);
    }

    fn start_in(&mut self, runtime: Runtime) {
        let library = Library::open_with(self.root.path(), &runtime, self.settings.clone());
        self.running = Some((library, runtime));
    }

    /// Stops the library as SIGTERM does.
    pub fn stop(&mut self) {
        let (library, runtime) = self.running.take().unwrap();
        library.close(&runtime);
        runtime.shutdown_timeout(Duration::from_secs(20));
    }

    /// Ends the library without committing anything more.
    pub fn kill(&mut self) {
        let (library, runtime) = self.running.take().unwrap();
        drop(library);
        runtime.shutdown_timeout(Duration::from_secs(20));
    }

    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Waits as [`Self::until`] does, with a clock that moves only while the runtime waits.
    pub fn until_leaping(&self, what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
        self.block_on(async {
            let begun = tokio::time::Instant::now();
            let pause = (limit / 100).min(Duration::from_secs(2));
            while !is_so() {
                assert!(begun.elapsed() < limit, "not in time: {what}");
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.block_on(async { tokio::time::sleep(time).await });
    }

    /// Returns the time of the runtime's clock.
    pub fn now(&self) -> tokio::time::Instant {
        self.block_on(async { tokio::time::Instant::now() })
    }

    pub fn traffic(&self) -> tgfs::remote::testing::Traffic {
        self.library().traffic()
    }

    fn library(&self) -> &Library {
        &self.running.as_ref().unwrap().0
    }
    pub fn vfs(&self) -> Vfs {
        self.library().vfs()
    }
    pub fn remote(&self) -> &FaultyRemote {
        self.library().remote()
    }
    pub fn index(&self) -> &tgfs::index::Index {
        self.library().index()
    }
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.running.as_ref().unwrap().1.block_on(future)
    }
    pub fn directory(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn remove_directory(&self, name: &str) {
        match fs::remove_dir_all(self.directory(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
    }

    /// Lets the store refuse packs; it still takes the log.
    pub fn refuse_packs(&self) {
        let fault = Fault::Fail(RemoteErrorKind::Unavailable);
        self.remote().inject(Operation::Put, &fault, ALWAYS);
    }

    /// Returns the number of files in the store's pack directory.
    pub fn packs_held(&self) -> usize {
        walk(&self.directory("store").join("packs"))
    }

    /// Returns the bytes on the disk that the spool takes, without records.
    pub fn spool_used(&self) -> u64 {
        self.library().spool().used()
    }

    pub fn cleanup(&self, keep: Duration) -> CleanupReport {
        let library = self.library();
        let in_use = library.vfs().packs_in_use();
        let remote = library.shared_remote();
        self.block_on(delete_dying_packs(
            library.index(),
            &remote,
            keep,
            &|pack| in_use.contains(&pack),
        ))
        .unwrap()
    }

    /// Cleans up until the store holds `packs` packs.
    pub fn cleanup_until(&self, packs: usize) {
        self.until(&format!("{packs} packs are held"), || {
            self.cleanup(Duration::ZERO);
            self.packs_held() == packs
        });
    }

    pub fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for TestLibrary {
    fn drop(&mut self) {
        if let Some((library, runtime)) = self.running.take() {
            drop(library);
            runtime.shutdown_background();
        }
    }
}

fn walk(directory: &Path) -> usize {
    fs::read_dir(directory)
        .unwrap()
        .map(|item| item.unwrap().path())
        .map(|path| if path.is_dir() { walk(&path) } else { 1 })
        .sum()
}

/// Parses a path of the tree, such as `films/heat.mkv`.
pub fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

/// Actions of a user.
impl TestLibrary {
    pub fn attr(&self, at: &str) -> FsResult<Attr> {
        self.vfs().resolve(&path(at))
    }

    fn parent(&self, at: &str) -> (Ino, Vec<u8>) {
        let at = path(at);
        let (parent, name) = at.split_last().unwrap();
        let looked_up = parent.names().iter().try_fold(Ino::ROOT, |at, name| {
            self.vfs()
                .lookup(at, name.as_bytes())
                .map(|found| found.ino)
        });
        let parent = match looked_up {
            Ok(ino) => ino,
            Err(_) => self.vfs().make_directories(&parent, USER).unwrap(),
        };
        (parent, name.as_bytes().to_vec())
    }

    pub fn open(&self, at: &str, access: AccessMode, existing: Existing) -> FsResult<HandleId> {
        let (parent, name) = self.parent(at);
        let ino = self.vfs().lookup(parent, &name)?.ino;
        let opened = self.block_on(self.vfs().open(ino, access, existing, USER))?;
        Ok(opened.handle)
    }

    /// Opens a file for writing; makes it if it does not exist.
    pub fn create(&self, at: &str) -> FsResult<HandleId> {
        let (parent, name) = self.parent(at);
        match self
            .vfs()
            .create(parent, &name, 0o644, AccessMode::ReadWrite, USER)
        {
            Ok((_, opened)) => Ok(opened.handle),
            Err(error) if error.kind == ErrorKind::Exists => {
                self.open(at, AccessMode::ReadWrite, Existing::Truncate)
            }
            Err(error) => Err(error),
        }
    }

    pub fn write_at(&self, handle: HandleId, offset: u64, bytes: &[u8]) -> FsResult<()> {
        for (number, part) in bytes.chunks(WRITE_BYTES).enumerate() {
            let at = offset + (number * WRITE_BYTES) as u64;
            let part = Bytes::copy_from_slice(part);
            self.block_on(self.vfs().write(handle, at, part, SetIdBits::Keep))?;
        }
        Ok(())
    }

    pub fn close(&self, handle: HandleId) -> FsResult<()> {
        let flushed = self.block_on(self.vfs().flush(handle, USER));
        self.vfs().release(handle);
        flushed
    }

    /// Writes a file as `cp` does.
    pub fn write(&self, at: &str, bytes: &[u8]) -> FsResult<()> {
        let handle = self.create(at)?;
        let written = self.write_at(handle, 0, bytes);
        written.and(self.close(handle))
    }

    /// Changes a part of a file as `dd conv=notrunc seek=` does.
    pub fn overwrite(&self, at: &str, offset: u64, bytes: &[u8]) {
        let handle = self
            .open(at, AccessMode::ReadWrite, Existing::Keep)
            .unwrap();
        self.write_at(handle, offset, bytes).unwrap();
        self.close(handle).unwrap();
    }

    /// Copies a whole file as `cp --reflink` does.
    pub fn copy(&self, from: &str, to: &str) -> FsResult<()> {
        let len = self.attr(from)?.size;
        let from = self.open(from, AccessMode::Read, Existing::Keep)?;
        let to = self.create(to)?;
        let copied = self.block_on(self.vfs().copy_file_range(CopyRange {
            from,
            from_offset: 0,
            to,
            to_offset: 0,
            len,
        }));
        self.vfs().release(from);
        self.close(to)?;
        assert_eq!(copied?, len);
        Ok(())
    }

    pub fn read(&self, at: &str) -> FsResult<Vec<u8>> {
        let resource = self.block_on(self.vfs().open_resource(&path(at)))?;
        let mut bytes = Vec::new();
        let result = loop {
            let offset = bytes.len() as u64;
            match self.block_on(self.vfs().read(resource.handle, offset, 1 << 20)) {
                Ok(part) if part.is_empty() => break Ok(()),
                Ok(part) => bytes.extend_from_slice(&part),
                Err(error) => break Err(error),
            }
        };
        self.vfs().release(resource.handle);
        result.map(|()| bytes)
    }

    pub fn set(&self, at: &str, change: SetAttr) {
        let ino = self.attr(at).unwrap().ino;
        self.block_on(self.vfs().setattr(ino, None, change, USER))
            .unwrap();
    }

    pub fn truncate(&self, at: &str, size: u64) {
        let change = SetAttr {
            size: Some(size),
            ..SetAttr::default()
        };
        self.set(at, change);
    }

    pub fn remove(&self, at: &str) -> FsResult<()> {
        let (parent, name) = self.parent(at);
        self.vfs().unlink(parent, &name)
    }

    pub fn rename(&self, from: &str, to: &str) -> FsResult<()> {
        let ((from, name), (to, new_name)) = (self.parent(from), self.parent(to));
        self.vfs()
            .rename(from, &name, to, &new_name, RenameMode::Replace)
    }

    pub fn remove_dir(&self, at: &str) -> FsResult<()> {
        let (parent, name) = self.parent(at);
        self.vfs().rmdir(parent, &name)
    }

    /// Returns the names in a directory, sorted, without `.` and `..`.
    pub fn names(&self, at: &str) -> Vec<String> {
        let mut names = Vec::new();
        self.vfs()
            .read_directory(&path(at), 0, &mut |entry| {
                names.push(String::from_utf8(entry.name.clone()).unwrap());
                ControlFlow::Continue(())
            })
            .unwrap();
        names.retain(|name| name != "." && name != "..");
        names.sort();
        names
    }

    pub fn info(&self, at: &str) -> FileInfo {
        let id = self.attr(at).unwrap().id.unwrap();
        self.vfs().info(id).unwrap()
    }

    pub fn state(&self, at: &str) -> String {
        self.info(at).state.as_str().to_owned()
    }

    pub fn wait_for(&self, at: &str, state: &str) {
        let begun = Instant::now();
        loop {
            let info = self.info(at);
            if info.state.as_str() == state {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{at} is {} and not {state}: {:?}",
                info.state.as_str(),
                info.error
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Writes a file and waits until the store has it.
    pub fn stored(&self, at: &str, bytes: &[u8]) {
        self.write(at, bytes).unwrap();
        self.wait_for(at, "stored");
    }

    /// Waits until everything is published and no job is left.
    pub fn settled(&self) {
        self.until("everything is published", || {
            self.vfs().jobs().unwrap().is_empty() && self.index().unpublished().unwrap().is_empty()
        });
    }
}

/// Returns a film of two seconds with an audio track, and text subtitles in English and Spanish.
pub fn film() -> Vec<u8> {
    static FILM: OnceLock<Vec<u8>> = OnceLock::new();
    FILM.get_or_init(make_film).clone()
}

fn make_film() -> Vec<u8> {
    need("ffmpeg", "ffmpeg");
    let directory = tempfile::tempdir().unwrap();
    let srt = directory.path().join("cues.srt");
    fs::write(&srt, "1\n00:00:00,200 --> 00:00:01,500\nHello\n").unwrap();
    let out = directory.path().join("film.mkv");
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i"])
        .arg("testsrc2=s=160x90:r=25:d=2")
        .args(["-f", "lavfi", "-i", "sine=d=2", "-i"])
        .args([&srt, &PathBuf::from("-i"), &srt])
        .args(["-map", "0", "-map", "1", "-map", "2", "-map", "3"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "25"])
        .args(["-c:a", "aac", "-c:s", "srt"])
        .args(["-metadata:s:s:0", "language=eng"])
        .args(["-metadata:s:s:1", "language=spa"])
        .arg(&out)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::read(out).unwrap()
}
