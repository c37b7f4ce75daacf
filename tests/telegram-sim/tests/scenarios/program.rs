//! The simulator as a program: what it prints and writes, how it ends, what it keeps.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::tempdir;

use crate::bot::{Target, noise};
use crate::client::{DC, client, make_key};

/// A started program, killed when the test is over.
struct Program {
    child: Child,
    ready: String,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_telegram-sim"))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut ready).unwrap();
        Self { child, ready }
    }

    fn word(&self, name: &str) -> &str {
        let start = format!("{name}=");
        self.ready
            .split_whitespace()
            .find_map(|word| word.strip_prefix(&start))
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.ready))
    }

    /// The exit status after SIGTERM.
    fn terminate(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn it_says_ready_writes_its_settings_and_ends_on_sigterm() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("env");
    let name = file.to_str().unwrap();
    let program = Program::start(&[
        "--listen",
        "127.0.0.1:0",
        "--bots",
        "3",
        "--write-env",
        name,
    ]);
    assert!(program.ready.starts_with("ready "), "{}", program.ready);
    assert_eq!(program.word("bots"), "3");
    assert_eq!(program.word("env"), name);
    TcpStream::connect(program.word("listen")).unwrap();
    let settings = settings(&file);
    let server = format!("2@{}", program.word("listen"));
    assert_eq!(settings["TELEGRAM_SERVER"], server);
    assert_eq!(settings["TGFS_STORE"], "telegram");
    assert!(settings["CHAT_ID"].starts_with("-100"));
    assert!(settings["TELEGRAM_API_ID"].parse::<i32>().is_ok());
    assert!(settings.contains_key("TELEGRAM_API_HASH"));
    for number in 1..=3 {
        let (id, secret) = settings[&format!("BOT_TOKEN_{number}")]
            .split_once(':')
            .map(|(id, secret)| (id.to_owned(), secret.to_owned()))
            .unwrap();
        assert_eq!(id, format!("10000000{number}"));
        assert_eq!(secret.len(), 35);
    }
    let key = fs::read_to_string(&settings["TELEGRAM_SERVER_KEY"]).unwrap();
    assert!(key.starts_with("-----BEGIN RSA PUBLIC KEY-----"));
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(program.terminate(), Some(0));
}

#[test]
fn bots_take_the_channels_in_turn() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("env");
    let name = file.to_str().unwrap();
    let _program = Program::start(&[
        "--listen",
        "127.0.0.1:0",
        "--bots",
        "3",
        "--channels",
        "2",
        "--write-env",
        name,
    ]);
    let settings = settings(&file);
    assert!(!settings.contains_key("CHAT_ID"));
    assert_eq!(settings["CHAT_ID_1"], settings["CHAT_ID_3"]);
    assert_ne!(settings["CHAT_ID_1"], settings["CHAT_ID_2"]);
}

#[test]
fn wrong_flags_are_wrong_usage() {
    for wrong in [
        &["--bots", "0"][..],
        &["--bots", "1", "--faults", "rain=5%"],
        &["--bots", "1", "--second-dc-bots", "1"],
        &["--bots", "1", "--second-dc", "127.0.0.1"],
    ] {
        let status = Command::new(env!("CARGO_BIN_EXE_telegram-sim"))
            .args(["--listen", "127.0.0.1:0", "--write-env", "/dev/null"])
            .args(wrong)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(2), "{wrong:?}");
    }
}

fn target(settings: &BTreeMap<String, String>) -> Target {
    let server = settings["TELEGRAM_SERVER"].strip_prefix("2@").unwrap();
    Target {
        address: server.parse().unwrap(),
        dc: DC,
        pem: fs::read_to_string(&settings["TELEGRAM_SERVER_KEY"]).unwrap(),
        api_id: settings["TELEGRAM_API_ID"].parse().unwrap(),
        api_hash: settings["TELEGRAM_API_HASH"].clone(),
        tokens: vec![settings["BOT_TOKEN_1"].clone()],
        chat: settings["CHAT_ID"].clone(),
    }
}

#[tokio::test]
async fn what_was_answered_survives_kill_9() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("env");
    let state = directory.path().join("state");
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--bots",
        "1",
        "--write-env",
        file.to_str().unwrap(),
        "--data",
        state.to_str().unwrap(),
    ];
    let mut program = Program::start(&arguments);
    let first = target(&settings(&file));
    let key = make_key(first.address, &first.pem).await;
    let signed_in = client(&[(DC, first.address, key)], first.api_id);
    let signing_in = signed_in.bot_sign_in(&first.tokens[0], &first.api_hash);
    signing_in.await.unwrap();
    let bot = first.settle(signed_in).await;
    let data = noise(700_000);
    let id = bot.put(&data, "answered").await;
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    drop(program);

    let _program = Program::start(&arguments);
    let again = target(&settings(&file));
    assert_eq!(again.tokens, first.tokens);
    assert_eq!(again.pem, first.pem);
    let client = client(&[(DC, again.address, key)], again.api_id);
    assert!(
        client.is_authorized().await.unwrap(),
        "the key is still signed in"
    );
    let bot = again.settle(client).await;
    let document = bot.document(id).await;
    assert!(bot.read(&document).await == data);
}
