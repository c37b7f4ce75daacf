//! Tests of how the gateway starts: what it announces, what it warns of, and what it refuses.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::scratch::{Ended, Scratch};

/// Running `tgfs serve`, whose log can be read once it has ended.
struct Announced {
    child: Child,
    ready: String,
}

impl Announced {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut ready).unwrap();
        Self { child, ready }
    }
    fn field(&self, name: &str) -> Option<&str> {
        let mut words = self.ready.split_ascii_whitespace();
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }
    fn log(mut self) -> String {
        self.child.kill().unwrap();
        let mut log = String::new();
        let mut from = self.child.stderr.take().unwrap();
        from.read_to_string(&mut log).unwrap();
        log
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn status_of(url: &str) -> String {
    let mut fetch = Command::new("curl");
    fetch.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", url]);
    String::from_utf8(fetch.output().unwrap().stdout).unwrap()
}

#[test]
fn what_it_announces_can_be_opened_wherever_it_listens() {
    for address in [
        "127.0.0.1:0",
        "0.0.0.0:0",
        "[::]:0",
        "[::1]:0",
        "localhost:0",
    ] {
        let scratch = Scratch::new();
        let running = Announced::start(scratch.command(&["serve", "--http", address]));
        for field in ["http", "login"] {
            let url = running.field(field).unwrap().to_owned();
            let url = match field {
                "http" => format!("{url}/healthz"),
                _ => url,
            };
            assert_eq!(status_of(&url), "200", "{address}: {url}");
        }
        let told = scratch.run(&["login-link"]).ok();
        assert_eq!(status_of(told.trim()), "200", "{address}: {told}");
    }
}

#[test]
fn an_open_gateway_warns_at_each_start_and_asks_nobody_to_sign_in() {
    let scratch = Scratch::new();
    for _ in 0..2 {
        let mut command = scratch.command(&["serve", "--http", "127.0.0.1:0"]);
        command.env("TGFS_HTTP_OPEN", "on");
        let running = Announced::start(command);
        assert_eq!(running.field("login"), None);
        let files = format!("{}/files.json", running.field("http").unwrap());
        assert_eq!(status_of(&files), "200");
        let error = scratch.run(&["login-link"]).failed();
        assert!(error.contains("nobody needs to sign in"), "{error}");
        let log = running.log();
        let warned = |line: &str| line.contains("WARN") && line.contains("TGFS_HTTP_OPEN is on");
        assert!(log.lines().any(warned), "{log}");
    }
}

/// Writes a certificate and its key, and returns their paths.
fn certificate(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (
        directory.join(format!("{name}.pem")),
        directory.join(format!("{name}.key")),
    );
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

#[test]
fn a_certificate_that_cannot_work_is_refused_before_anything_starts() {
    let scratch = Scratch::new();
    let (first, first_key) = certificate(scratch.path(), "first");
    let (_, other_key) = certificate(scratch.path(), "other");
    let text = scratch.path().join("text.pem");
    fs::write(&text, "no certificate").unwrap();
    let missing = scratch.path().join("missing.pem");
    let directory = scratch.path().to_path_buf();
    for (certificate, key, told) in [
        (&missing, &first_key, "missing.pem"),
        (&first, &missing, "missing.pem"),
        (&text, &first_key, "text.pem"),
        (&first, &text, "text.pem"),
        (&directory, &first_key, "cannot read"),
        (&first_key, &first_key, "first.key"),
        (&first, &other_key, "does not belong"),
    ] {
        let run = |arguments: &[&str]| {
            let mut command = scratch.command(arguments);
            command
                .env("SSL_CERT_PATH", certificate)
                .env("SSL_KEY_PATH", key);
            Ended::of(command.output().unwrap())
        };
        for arguments in [
            ["config", "--check"].as_slice(),
            &["serve", "--http", "127.0.0.1:0"],
            &["mount", "--http", "127.0.0.1:0", "films"],
        ] {
            let error = run(arguments).failed_with_hints();
            assert!(
                error.contains(told),
                "{arguments:?} {certificate:?}: {error}"
            );
        }
    }
    let mut command = scratch.command(&["serve", "--http", "127.0.0.1:0"]);
    command
        .env("SSL_CERT_PATH", &first)
        .env("SSL_KEY_PATH", &first_key);
    let running = Announced::start(command);
    let http = running.field("http").unwrap();
    assert!(http.starts_with("https://127.0.0.1:"), "{http}");
}
