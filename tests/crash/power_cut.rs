//! What `close` and `fsync` promise over a power cut. A real one takes a disk of its own, which a container
//! does not get. So these tests read the calls of the daemon: what a program was told to be on the disk must
//! have been synced since its last write.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon::{Daemon, Site};
use crate::material::{need, noise};

/// Settle time in which no test ends, so that ingest adds no calls.
const LONG: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(20);
const CALLS: &str = "trace=write,pwrite64,writev,pwritev,ftruncate,fsync,fdatasync";

/// A trace of the daemon's writes and syncs.
struct Trace {
    tracer: Child,
    file: PathBuf,
}

impl Trace {
    fn begin(daemon: &Daemon, file: PathBuf) -> Self {
        need("strace", "strace");
        let tracer = Command::new("strace")
            .args(["-f", "-y", "-e", CALLS, "-o"])
            .arg(&file)
            .args(["-p", &daemon.pid().to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", daemon.pid());
        let begun = Instant::now();
        while fs::read_to_string(&status)
            .unwrap()
            .contains("TracerPid:\t0")
        {
            assert!(begun.elapsed() < PATIENCE, "strace does not attach");
            std::thread::sleep(Duration::from_millis(20));
        }
        // The threads follow the process.
        std::thread::sleep(Duration::from_millis(300));
        Self { tracer, file }
    }

    /// Returns the files below `directory` that were written, and whether each was synced since.
    fn end(mut self, directory: &Path) -> BTreeMap<String, bool> {
        let pid = i32::try_from(self.tracer.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
        self.tracer.wait().unwrap();
        let text = String::from_utf8_lossy(&fs::read(&self.file).unwrap()).into_owned();
        synced(&text, directory)
    }
}

/// Reads lines such as `77 fdatasync(12</path>) = 0`, of which some come in two parts:
/// `77 fdatasync(12</path> <unfinished ...>` and `77 <... fdatasync resumed>) = 0`.
fn synced(trace: &str, directory: &Path) -> BTreeMap<String, bool> {
    let below = format!("{}/", directory.display());
    let mut files = BTreeMap::new();
    let mut syncing: HashMap<&str, String> = HashMap::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        if call.starts_with("<... f") && call.contains("sync resumed") {
            if let Some(path) = syncing.remove(thread) {
                // A write beside the sync takes its mark, so only what is still marked was synced.
                files.entry(path).and_modify(|synced: &mut Option<&str>| {
                    if *synced == Some(thread) {
                        *synced = Some("");
                    }
                });
            }
            continue;
        }
        let path = call
            .split_once('<')
            .and_then(|(_, rest)| rest.split_once('>'));
        let Some(path) = path.and_then(|(path, _)| path.strip_prefix(&below)) else {
            continue;
        };
        let is_sync = call.starts_with("fsync") || call.starts_with("fdatasync");
        let state = match (is_sync, call.contains("<unfinished")) {
            (true, true) => {
                syncing.insert(thread, path.to_owned());
                match files.get(path) {
                    Some(Some("")) | None => continue,
                    Some(_) => Some(thread),
                }
            }
            (true, false) => Some(""),
            (false, _) => None,
        };
        files.insert(path.to_owned(), state);
    }
    let is_synced = |(path, state): (String, Option<&str>)| (path, state == Some(""));
    files.into_iter().map(is_synced).collect()
}

/// Checks that the bytes and the name were written and synced.
fn all_is_on_the_disk(files: &BTreeMap<String, bool>, call: &str) {
    let is_bytes = |path: &str| {
        let id = path.strip_prefix("spool/").unwrap_or_default();
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    for part in ["bytes", "name"] {
        let is_part = |path: &str| match part {
            "bytes" => is_bytes(path),
            _ => path.starts_with("journal/"),
        };
        let mut found = files.iter().filter(|(path, _)| is_part(path)).peekable();
        assert!(found.peek().is_some(), "{call}: no {part}: {files:?}");
        assert!(
            found.all(|(_, synced)| *synced),
            "{call}: {part}: {files:?}"
        );
    }
}

#[test]
fn what_close_and_fsync_acknowledge_is_synced() {
    let mut site = Site::new();
    site.settle_for(LONG);
    let daemon = site.start();
    let traced = |call: &str, work: &dyn Fn() -> Option<File>| {
        let file = site.state().with_file_name(format!("trace-{call}"));
        let trace = Trace::begin(&daemon, file);
        let open = work();
        let files = trace.end(&site.state());
        drop(open);
        all_is_on_the_disk(&files, call);
    };
    traced("close", &|| {
        fs::write(site.path("closed"), noise(300_000, 1)).unwrap();
        None
    });
    traced("fsync", &|| {
        let mut file = File::create(site.path("open")).unwrap();
        file.write_all(&noise(300_000, 2)).unwrap();
        file.sync_all().unwrap();
        Some(file)
    });
    traced("fdatasync", &|| {
        let mut file = File::create(site.path("data")).unwrap();
        file.write_all(&noise(300_000, 3)).unwrap();
        file.sync_data().unwrap();
        Some(file)
    });
}

#[test]
fn a_trace_is_read() {
    let trace = "1 write(3</s/journal/1>, \"x\", 1) = 1\n\
        2 fdatasync(3</s/journal/1> <unfinished ...>\n\
        1 pwrite64(4</s/spool/a>, \"x\", 1, 0) = 1\n\
        2 <... fdatasync resumed>) = 0\n\
        1 write(5</s/b>, \"x\", 1) = 1\n\
        2 fsync(5</s/b> <unfinished ...>\n\
        1 write(5</s/b>, \"y\", 1) = 1\n\
        2 <... fsync resumed>) = 0\n\
        1 write(6</elsewhere>, \"x\", 1) = 1\n";
    let found = synced(trace, Path::new("/s"));
    let expected = [("b", false), ("journal/1", true), ("spool/a", false)];
    assert_eq!(
        found,
        expected.map(|(path, is)| (path.to_owned(), is)).into()
    );
}
