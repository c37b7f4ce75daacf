//! Tests of the same commands against a running daemon and against the state alone.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::scratch::{Ended, Scratch};

/// Running `tgfs serve` on a free port; a drop kills it.
pub struct Serving {
    child: Child,
    ready: String,
}

impl Serving {
    pub fn start(scratch: &Scratch) -> Self {
        Self::of(scratch.command(&["serve", "--http", "127.0.0.1:0"]))
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut ready).unwrap();
        assert!(
            ready.starts_with("ready mount=none http=http://127.0.0.1:"),
            "{ready:?}"
        );
        Self { child, ready }
    }

    pub fn base(&self) -> &str {
        let (_, rest) = self.ready.split_once("http=").unwrap();
        rest.split(' ').next().unwrap()
    }

    /// Returns the memory that the daemon holds now.
    pub fn resident_bytes(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }

    /// Returns the exit status, once something else stopped it.
    pub fn wait(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    pub fn stop(mut self) -> i32 {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // After `stop` the process is already gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text_file(scratch: &Scratch, name: &str, bytes: usize) -> Vec<u8> {
    let content: Vec<u8> = (0..bytes).map(|at| (at * 7 % 251) as u8).collect();
    std::fs::write(scratch.path().join(name), &content).unwrap();
    content
}

/// Runs a file through upload, list, status, url, retry and delete.
fn a_files_life(scratch: &Scratch) {
    text_file(scratch, "notes.txt", 3_000_000);
    let uploaded = scratch
        .run(&["upload", "--json", "--to", "/Books/New", "notes.txt"])
        .json();
    assert_eq!(uploaded[0]["file"]["state"], "stored");
    assert_eq!(uploaded[0]["file"]["path"], "/Books/New/notes.txt");
    assert_eq!(uploaded[0]["file"]["size"], 3_000_000);
    let id = uploaded[0]["file"]["id"].as_str().unwrap().to_owned();

    let listed = scratch.run(&["list", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["id"], id.as_str());
    assert_eq!(scratch.run(&["list", "--json", "/Books"]).json(), listed);
    let text = scratch.run(&["list"]).ok();
    assert!(
        text.contains("/Books/New/notes.txt\n") && text.contains("stored  2.8 MiB"),
        "{text}"
    );

    scratch
        .run(&["status", "--wait", "/Books/New/notes.txt"])
        .ok();
    let status = scratch.run(&["status", "--json"]).json();
    assert_eq!(status["pending"]["files"], 0);
    assert_eq!(status["store"]["standing"], "attached");
    assert!(scratch.run(&["status"]).ok().contains(" stored"));
    let error = scratch
        .run(&["status", "--wait", "/Books/none.txt"])
        .failed();
    assert!(error.contains("/Books/none.txt: no such file"), "{error}");
    assert!(scratch.run(&["list", "/none"]).failed().contains("/none"));

    let url = scratch.run(&["url", &id]).ok();
    assert!(
        url.lines()
            .next()
            .unwrap()
            .ends_with("/fs/Books/New/notes.txt"),
        "{url}"
    );

    let error = scratch
        .run(&["delete", "/Books/New/notes.txt", "/Books/typo"])
        .failed();
    assert!(error.contains("/Books/typo"), "{error}");
    assert_eq!(
        scratch
            .run(&["list", "--json"])
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let removed = scratch.run(&["delete", "--video-id", &id]).ok();
    assert!(
        removed.contains("removed /Books/New/notes.txt (1 file)"),
        "{removed}"
    );
    assert_eq!(
        scratch
            .run(&["list", "--json"])
            .json()
            .as_array()
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn a_files_life_with_a_daemon() {
    let scratch = Scratch::new();
    let serving = Serving::start(&scratch);
    let mode = std::fs::metadata(scratch.state().join("control.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    a_files_life(&scratch);
    assert_eq!(serving.stop(), 0);
}

#[test]
fn a_files_life_without_a_daemon() {
    a_files_life(&Scratch::new());
}

#[test]
fn an_upload_comes_back_byte_for_byte_over_http() {
    let scratch = Scratch::new();
    let serving = Serving::start(&scratch);
    let content = text_file(&scratch, "a b#c.bin", 2_500_001);
    scratch.run(&["upload", "--no-wait", "a b#c.bin"]).ok();
    // The file itself needs the token, which only `--file` puts into the URL.
    let without = scratch.run(&["url", "/a b#c.bin"]).ok();
    assert_eq!(
        without.trim(),
        format!("{}/fs/a%20b%23c.bin", serving.base())
    );
    let url = scratch.run(&["url", "--file", "/a b#c.bin"]).ok();
    let token = std::fs::read_to_string(scratch.state().join("http-token")).unwrap();
    let expected = format!("{}/t/{}/fs/a%20b%23c.bin\n", serving.base(), token.trim());
    assert_eq!(url, expected);
    let mut fetch = std::process::Command::new("curl");
    let got = fetch
        .args(["-fsS", url.lines().next().unwrap()])
        .output()
        .unwrap();
    assert!(got.status.success() && got.stdout == content);
    // The older system's form of the command, and a second version under the same name.
    let second = text_file(&scratch, "a b#c.bin", 17);
    scratch.run(&["upload", "--video", "a b#c.bin"]).ok();
    let mut fetch = std::process::Command::new("curl");
    let got = fetch
        .args(["-fsS", url.lines().next().unwrap()])
        .output()
        .unwrap();
    assert!(got.stdout == second);
}

/// Signs in as a person does who runs the command on the machine of the library.
#[test]
fn a_link_from_the_command_signs_in_once() {
    let scratch = Scratch::new();
    let error = scratch.run(&["login-link"]).failed();
    assert!(error.contains("there is no tgfs state"), "{error}");
    let serving = Serving::start(&scratch);
    let curl = |arguments: &[&str]| {
        let mut fetch = Command::new("curl");
        fetch.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}"]);
        fetch.args(arguments).current_dir(scratch.path());
        String::from_utf8(fetch.output().unwrap().stdout).unwrap()
    };
    let (_, first) = serving.ready.split_once(" login=").unwrap();
    let second = scratch.run(&["login-link"]).ok();
    let as_json = scratch.run(&["login-link", "--json"]).json();
    assert_eq!(as_json["seconds"], 600);
    let page = format!("{}/files.json", serving.base());
    for link in [
        first.trim(),
        second.trim(),
        as_json["url"].as_str().unwrap(),
    ] {
        assert!(link.starts_with(&format!("{}/login?code=", serving.base())));
        let _ = std::fs::remove_file(scratch.path().join("jar"));
        assert_eq!(curl(&["-c", "jar", link]), "200");
        assert_eq!(curl(&["-b", "jar", &page]), "401", "looking signed in");
        assert_eq!(curl(&["-c", "jar", "-X", "POST", link]), "303");
        assert_eq!(curl(&["-b", "jar", &page]), "200");
        assert_eq!(curl(&["-X", "POST", link]), "401", "{link} works twice");
    }
    // The session outlives the daemon; its secret does not lie in the state.
    let jar = std::fs::read_to_string(scratch.path().join("jar")).unwrap();
    let secret = jar.split_ascii_whitespace().next_back().unwrap();
    let sessions = scratch.state().join("http-sessions");
    assert!(!std::fs::read_to_string(&sessions).unwrap().contains(secret));
    let mode = std::fs::metadata(&sessions).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(serving.stop(), 0);
    let serving = Serving::start(&scratch);
    let page = format!("{}/files.json", serving.base());
    assert_eq!(curl(&["-b", "jar", &page]), "200");
}

#[test]
fn a_second_daemon_is_refused_with_the_firsts_pid() {
    let scratch = Scratch::new();
    let serving = Serving::start(&scratch);
    let error = scratch
        .run(&["serve", "--http", "127.0.0.1:0"])
        .failed_with_hints();
    assert!(error.contains(&serving.child.id().to_string()), "{error}");
    assert!(scratch.run(&["recover"]).failed().contains("tgfs stop"));
    assert_eq!(serving.stop(), 0);
}

#[test]
fn a_reload_changes_what_it_can() {
    let scratch = Scratch::new();
    let env = scratch.path().join(".env");
    std::fs::write(&env, "LOG_LEVEL=warning\nCACHE_SIZE=64MiB\n").unwrap();
    let _serving = Serving::start(&scratch);
    assert!(scratch.run(&["reload"]).ok().contains("nothing changed"));
    std::fs::write(&env, "LOG_LEVEL=error\nCACHE_SIZE=32MiB\n").unwrap();
    let told = scratch.run(&["reload", "--json"]).json();
    assert_eq!(told["applied"][0], "LOG_LEVEL");
    assert_eq!(told["at_next_start"][0], "CACHE_SIZE");
    std::fs::write(&env, "LOG_LEVEL=loud\n").unwrap();
    let ended = scratch.run(&["--log", "error", "reload"]);
    assert_ne!(ended.status, 0, "{ended:?}");
}

#[test]
fn upkeep_answers_with_and_without_a_daemon() {
    let scratch = Scratch::new();
    text_file(&scratch, "x.bin", 100_000);
    scratch.run(&["upload", "x.bin"]).ok();
    let check = || {
        let stats = scratch.run(&["db-stats", "--json"]).json();
        assert!(!stats.as_array().unwrap().is_empty());
        assert!(
            scratch
                .run(&["verify", "--deep"])
                .ok()
                .contains("0 findings")
        );
        scratch.run(&["cleanup", "--hours", "0"]).ok();
        scratch.run(&["cache-clear"]).ok();
        scratch.run(&["cache-clear", "/x.bin"]).ok();
    };
    check();
    let _serving = Serving::start(&scratch);
    check();
}

#[test]
fn a_state_of_a_dead_daemon_is_no_obstacle() {
    let scratch = Scratch::new();
    let mut serving = Serving::start(&scratch);
    serving.child.kill().unwrap();
    serving.child.wait().unwrap();
    assert!(scratch.state().join("control.sock").exists());
    scratch.run(&["list"]).ok();
    Serving::start(&scratch);
}

#[test]
fn a_long_state_path_moves_the_socket() {
    let scratch = Scratch::new();
    let state = scratch.path().join("d".repeat(120));
    let runtime = scratch.path().join("run");
    std::fs::create_dir(&runtime).unwrap();
    let state = state.to_str().unwrap();
    let mut command = scratch.command(&["--state", state, "serve", "--http", "127.0.0.1:0"]);
    command
        .env("XDG_RUNTIME_DIR", &runtime)
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut ready)
        .unwrap();
    let mut list = scratch.command(&["--state", state, "list"]);
    let ended = Ended::of(list.env("XDG_RUNTIME_DIR", &runtime).output().unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ready.starts_with("ready "), "{ready:?}");
    assert_eq!(ended.ok(), "0 files, 0 B\n");
}

/// The kernel shows the environment with which a program started, and glibc reads that one.
#[test]
fn a_daemon_has_few_arenas_unless_someone_says_otherwise() {
    let scratch = Scratch::new();
    let daemon = Serving::start(&scratch);
    let environment = std::fs::read(format!("/proc/{}/environ", daemon.child.id())).unwrap();
    let named = |environment: &[u8]| {
        let variables = environment.split(|byte| *byte == 0);
        variables
            .filter(|one| one.starts_with(b"MALLOC_ARENA_MAX="))
            .map(|one| String::from_utf8_lossy(one).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(named(&environment), ["MALLOC_ARENA_MAX=2"]);
    assert_eq!(daemon.stop(), 0);
    let mut command = scratch.command(&["serve", "--http", "127.0.0.1:0"]);
    command.env("MALLOC_ARENA_MAX", "5");
    let daemon = Serving::of(command);
    let environment = std::fs::read(format!("/proc/{}/environ", daemon.child.id())).unwrap();
    assert_eq!(named(&environment), ["MALLOC_ARENA_MAX=5"]);
    assert_eq!(daemon.stop(), 0);
}

/// Nothing holds files, and yet a stop takes time: a client has not read its answer to the end.
#[test]
fn a_stop_that_takes_long_says_what_it_waits_for() {
    use std::io::{Read, Write};
    let scratch = Scratch::new();
    let serving = Serving::start(&scratch);
    text_file(&scratch, "large", 32 << 20);
    scratch.run(&["upload", "large"]).ok();
    let url = scratch.run(&["url", "--file", "/large"]).ok();
    let (address, path) = url
        .trim()
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut client = std::net::TcpStream::connect(address).unwrap();
    write!(client, "GET /{path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 1000]).unwrap();
    let mut stop = scratch
        .command(&["stop"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    let mut lines = BufReader::new(stop.stderr.take().unwrap());
    lines.read_line(&mut told).unwrap();
    let pid = serving.child.id();
    assert!(
        told.contains(&format!("waiting for the daemon (pid {pid})")),
        "{told:?}"
    );
    drop(client);
    assert!(stop.wait().unwrap().success());
}
