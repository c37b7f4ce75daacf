//! A client that others wrote: Telethon, in Python, over three transports and both paddings of the key.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use telegram_sim::{Bot, Channel, Options, Pace, Server};
use tempfile::tempdir;
use tokio::process::Command;

/// Time limit of all sessions together.
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_client_signs_in_sends_reads_edits_pins_and_deletes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = root.join("../../target/telethon");
    assert!(
        packages.join("requirements.txt").exists(),
        "Telethon is missing: run scripts/setup-telethon"
    );
    let server = Server::start(Options {
        pace: Pace::unlimited(),
        ..Options::default()
    });
    let server = server.await.unwrap();
    let directory = tempdir().unwrap();
    let key = directory.path().join("key.pem");
    std::fs::write(&key, server.key_pem().unwrap()).unwrap();
    let scripts = root.join("tests/telethon");
    let options = server.options();
    let running = Command::new("python3")
        .arg(scripts.join("session.py"))
        .arg(server.address().port().to_string())
        .arg(&key)
        .arg(options.api_id.to_string())
        .arg(&options.api_hash)
        .arg(server.token(Bot(1)))
        .arg(server.chat_id(Channel(1)).to_string())
        .env(
            "PYTHONPATH",
            std::env::join_paths([scripts, packages]).unwrap(),
        )
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(PATIENCE, running).await;
    let ended = ended.expect("Telethon did not end").unwrap();
    let told = String::from_utf8_lossy(&ended.stdout).into_owned();
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{told}\n{errors}");
    assert_eq!(told.lines().count(), 3, "{told}");
    // The pin's notice is no message of a user, and everything else was deleted.
    assert_eq!(server.posts(Channel(1)).unwrap(), []);
}
