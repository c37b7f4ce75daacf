//! Tests with a disk under the spool that fails: the errors that tools get, and the bytes that are kept.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tgfs::model::TreePath;

use crate::harness::TestMount;
use crate::material::{need, noise, said};

const PATIENCE: Duration = Duration::from_secs(60);

/// Tools that write their input to `f` and check the result of `close`. Each creates or overwrites a file in
/// its own way.
const WRITERS: [(&str, &str); 3] = [
    ("cp", "cp /dev/stdin f"),
    ("dd", "dd of=f bs=64K status=none"),
    (
        "python3",
        "python3 -c \"
import shutil, sys
to = open('f', 'wb', buffering=0); shutil.copyfileobj(sys.stdin.buffer, to); to.close()
\"",
    ),
];

/// Runs `script` with `bytes` as its input. Calls `meanwhile` when all bytes are written and the file is not
/// yet closed.
fn write_through(test: &TestMount, script: &str, bytes: &[u8], meanwhile: impl FnOnce()) -> Output {
    let mut child = test
        .command(&test.path, script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(bytes).unwrap();
    let begun = Instant::now();
    while fs::metadata(test.path.join("f")).map_or(0, |meta| meta.len()) < bytes.len() as u64 {
        assert!(begun.elapsed() < PATIENCE, "`{script}` does not write");
        std::thread::sleep(Duration::from_millis(10));
    }
    meanwhile();
    drop(input);
    child.wait_with_output().unwrap()
}

#[test]
fn tools_hear_of_it_at_close_and_what_was_written_is_kept() {
    need("getfattr", "attr");
    for (tool, script) in WRITERS {
        need(tool, tool);
        let mut test = TestMount::new();
        // Whole blocks, because a tool that collects bytes would hold back a part of a block until its end.
        let bytes = noise(8 * 64 * 1024, 1);
        let output = write_through(&test, script, &bytes, || test.damage_spool());
        let text = said(&output);
        assert!(!output.status.success(), "{tool} did not notice");
        assert!(text.contains("Input/output error"), "{tool}: {text}");

        test.wait_for_state("f", &["failed"]);
        let reason = test.run("getfattr --only-values -n user.tgfs.error f");
        assert!(reason.contains("disk of the spool"), "{tool}: {reason}");
        assert!(fs::read(test.path.join("f")).unwrap() == bytes, "{tool}");
        test.restart();
        assert_eq!(test.state_of("f"), "failed", "{tool}");
        assert!(fs::read(test.path.join("f")).unwrap() == bytes, "{tool}");

        // `tgfs retry` calls this.
        test.vfs().retry(&TreePath::parse(b"f").unwrap()).unwrap();
        test.wait_for_state("f", &["stored"]);
        assert!(fs::read(test.path.join("f")).unwrap() == bytes, "{tool}");
    }
}

#[test]
fn copying_again_at_once_replaces_what_failed() {
    need("getfattr", "attr");
    for (tool, script) in WRITERS {
        need(tool, tool);
        let test = TestMount::new();
        let bytes = noise(8 * 64 * 1024, 1);
        let first = write_through(&test, script, &bytes, || test.damage_spool());
        assert!(!first.status.success(), "{tool} did not notice");
        let second = write_through(&test, script, &bytes, || ());
        assert!(second.status.success(), "{tool}: {}", said(&second));
        test.wait_for_state("f", &["stored"]);
        assert!(fs::read(test.path.join("f")).unwrap() == bytes, "{tool}");
    }
}
