//! A browser signs in by a link and with the token, and out again.

use std::path::Path;
use std::process::Command;

use crate::daemon::Daemon;

#[test]
fn a_browser_signs_in_by_a_link_and_with_the_token() {
    let daemon = Daemon::start();
    let file = daemon.directory().join("notes.txt");
    std::fs::write(&file, "some text").unwrap();
    daemon.run(&["upload", "--to", "/", file.to_str().unwrap()]);
    let link = daemon.run(&["login-link"]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("node")
        .arg(root.join("tests/browser/login.mjs"))
        .args([&format!("http://{}/", daemon.address()), link.trim()])
        .env("TOKEN", daemon.token())
        .output()
        .expect("node is missing: `apt-get install nodejs npm chromium`");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complained}");
}
