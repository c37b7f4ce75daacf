//! Tests of exit statuses: 0 done, 1 failed with a line for each problem, 2 wrong usage; of all commands.

use crate::daemon::Serving;
use crate::scratch::Scratch;

/// Wrong usage, and a word of the sentence that says so.
const WRONG_USAGE: [(&[&str], &str); 22] = [
    (&[], "Usage"),
    (&["nonsense"], "nonsense"),
    (&["help", "nonsense"], "nonsense"),
    (&["mount"], "MOUNTPOINT"),
    (&["mount", "--http", "no host:x", "m"], "HOST:PORT"),
    (
        &["mount", "--log", "loud", "m"],
        "debug, info, warning or error",
    ),
    (&["mount", "--store", "cloud", "m"], "local:DIR or telegram"),
    (&["serve", "--http", "off"], "without HTTP"),
    (&["serve", "extra"], "extra"),
    (&["umount"], "MOUNTPOINT"),
    (&["stop", "extra"], "extra"),
    (&["upload"], "FILE"),
    (&["url"], "PATH"),
    (&["delete"], "PATH|ID"),
    (&["retry"], "PATH"),
    (&["plan"], "FILE"),
    (&["list", "--nonsense"], "--nonsense"),
    (&["cleanup"], "--hours"),
    (&["cleanup", "--hours", "many"], "many"),
    (&["import"], "--channel"),
    (&["strm", "library"], "--base-url"),
    (
        &["strm", "--base-url", "foo", "library"],
        "http://192.168.1.5:8080",
    ),
];

#[test]
fn wrong_usage_is_2_with_a_sentence() {
    let scratch = Scratch::new();
    for (arguments, word) in WRONG_USAGE {
        let ended = scratch.run(arguments);
        assert_eq!(
            (ended.status, ended.stdout.as_str()),
            (2, ""),
            "{arguments:?}: {ended:?}"
        );
        assert!(ended.stderr.contains(word), "{arguments:?}: {ended:?}");
    }
    assert!(!scratch.state().exists());
}

/// Failures of commands on a library with one file `/x` and no daemon.
const FAILURES: [(&[&str], &str); 13] = [
    (&["list", "/none"], "/none"),
    (&["status", "/none"], "/none"),
    (&["status", "--wait", "/none"], "/none"),
    (&["url", "/none"], "/none"),
    (&["delete", "/none"], "/none"),
    (&["delete", "/"], "the root cannot be removed"),
    (&["retry", "/none"], "/none"),
    (&["cache-clear", "/none"], "/none"),
    (&["plan", "none.mkv"], "none.mkv"),
    (&["umount", "none"], "not a tgfs mount"),
    (&["stop"], "no daemon runs"),
    (&["reload"], "no daemon runs"),
    (
        &["upload", "--to", "/x", "y"],
        "/x is a file, not a directory",
    ),
];

/// Commands that succeed on the same library.
const SUCCESSES: [&[&str]; 13] = [
    &["help"],
    &["help", "mount"],
    &["--help"],
    &["version"],
    &["--version"],
    &["list"],
    &["status"],
    &["retry", "/x"],
    &["config"],
    &["db-stats"],
    &["cleanup", "--hours", "0"],
    &["cache-clear"],
    &["verify"],
];

#[test]
fn a_failure_is_1_with_one_line_and_a_success_is_0_without() {
    let scratch = Scratch::new();
    for name in ["x", "y"] {
        std::fs::write(scratch.path().join(name), name).unwrap();
    }
    scratch.run(&["upload", "x"]).ok();
    for (arguments, word) in FAILURES {
        let error = scratch.run(arguments).failed();
        assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
        assert!(error.contains(word), "{arguments:?}: {error}");
        // No names of variants, no quotes of Rust.
        assert!(
            !error.contains("NotDirectory") && !error.contains("Some("),
            "{error}"
        );
    }
    for arguments in SUCCESSES {
        let ended = scratch.run(arguments);
        assert_eq!(
            (ended.status, ended.stderr.as_str()),
            (0, ""),
            "{arguments:?}: {ended:?}"
        );
        assert!(!ended.stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(
        scratch.run(&["version"]).ok(),
        scratch.run(&["--version"]).ok()
    );
}

#[test]
fn stop_ends_a_daemon_and_frees_its_state() {
    let scratch = Scratch::new();
    for _ in 0..3 {
        let mut serving = Serving::start(&scratch);
        let told = scratch.run(&["stop"]).ok();
        assert!(told.starts_with("stopped the daemon"), "{told}");
        // The next command opens the state itself, at once.
        scratch.run(&["list"]).ok();
        assert_eq!(serving.wait(), 0);
    }
}

/// Settings of the older system that do nothing are named by `config`, and by no other command.
#[test]
fn settings_without_effect_are_told_by_config() {
    let scratch = Scratch::new();
    let env = "SEGMENTS_DIR=/srv/segments\nSESSION_IDLE_TIMEOUT=5\n";
    std::fs::write(scratch.path().join(".env"), env).unwrap();
    let checked = scratch.run(&["config", "--check"]);
    assert_eq!(checked.status, 0, "{checked:?}");
    assert!(
        checked.stderr.contains("SEGMENTS_DIR (.env line 1)"),
        "{checked:?}"
    );
    let json = scratch.run(&["config", "--check", "--json"]).json();
    assert_eq!(json["without_effect"].as_array().unwrap().len(), 2);
}
