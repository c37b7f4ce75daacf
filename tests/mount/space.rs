//! Tests of the errors that tools get when the spool cannot take their bytes.

use crate::harness::TestMount;
use crate::material::{need, said};

const SPOOL_BYTES: u64 = 8 << 20;

/// Asserts that the tool ends with 1 and prints the system's text of the error.
fn refuses(test: &TestMount, script: &str, words: &str) {
    let output = test.sh(script);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "`{script}`: {text}");
    assert!(text.contains(words), "`{script}`: {text}");
}

#[test]
fn a_file_that_can_never_fit_is_refused_when_it_is_announced() {
    need("fallocate", "util-linux");
    let test = TestMount::with_spool(SPOOL_BYTES);
    refuses(&test, "truncate -s 1G announced", "File too large");
    refuses(
        &test,
        "fallocate -l 1G allocated",
        "No space left on device",
    );
    refuses(
        &test,
        "dd if=/dev/urandom of=written bs=1M count=20 status=none",
        "No space left on device",
    );
    assert_eq!(test.run("stat -c %s announced allocated"), "0\n0");
    test.wait_for_state("written", &["failed"]);
    test.run("rm announced allocated written");
    // The mount takes as many bytes as it reports as free.
    let free: u64 = test
        .run("stat -f -c '%a %S' . | { read a s; echo $((a * s)); }")
        .parse()
        .unwrap();
    assert!(free <= SPOOL_BYTES, "{free} bytes free");
    test.source("small", 3 << 20, 1);
    test.run(
        r#"truncate -s 3M small; fallocate -l 3M small; dd if="$OUT/small" of=small conv=notrunc bs=1M status=none; cmp "$OUT/small" small"#,
    );
    test.wait_for_state("small", &["stored"]);
}
