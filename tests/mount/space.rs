//! Tests of the errors that tools get when the spool cannot take their bytes.

use std::io::Write;
use std::os::fd::IntoRawFd;

use crate::harness::TestMount;
use crate::material::{need, said};

const ENOSPC: i32 = 28;
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

/// Tools show the error of `close` when they have not looked at that of `write`.
#[test]
fn close_tells_that_there_was_no_space_and_not_that_the_disk_is_broken() {
    let test = TestMount::with_spool(SPOOL_BYTES);
    let mut file = std::fs::File::create(test.path.join("large")).unwrap();
    let block = vec![7; 1 << 20];
    let error = (0..20).find_map(|_| file.write_all(&block).err()).unwrap();
    assert_eq!(error.raw_os_error(), Some(ENOSPC));
    let closed = nix::unistd::close(file.into_raw_fd());
    assert_eq!(closed, Err(nix::errno::Errno::ENOSPC));
}
