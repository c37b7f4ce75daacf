//! Tests with a remote that hangs, fails or lies: the errors that a program sees, and the ones it does not.

use std::fs;
use std::time::Duration;

use tgfs::remote::RemoteErrorKind;
use tgfs::remote::testing::{Fault, Operation};

use crate::harness::TestMount;
use crate::material::{need, noise};

/// Number of calls that exceeds those of any test.
const ALWAYS: usize = 10_000;
const EIO: i32 = 5;

/// Returns a mount with a file whose bytes are only in the remote.
fn stored(len: usize) -> (TestMount, Vec<u8>) {
    need("getfattr", "attr");
    let mut test = TestMount::new();
    let bytes = noise(len, 77);
    fs::write(test.path.join("far.bin"), &bytes).unwrap();
    test.wait_for_state("far.bin", &["stored"]);
    // A restart drops the bytes that the caches and the kernel hold.
    test.restart();
    (test, bytes)
}

#[test]
fn a_hanging_remote_is_an_error_and_holds_nobody_else_up() {
    let (test, bytes) = stored(2_000_000);
    test.remote().inject(Operation::Get, &Fault::Hang, ALWAYS);
    let path = test.path.join("far.bin");
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8).map(|_| scope.spawn(|| fs::read(&path))).collect();
        // More readers wait than there are event loops. All other operations have to work.
        assert_eq!(fs::metadata(&path).unwrap().len(), 2_000_000);
        fs::write(test.path.join("near.bin"), b"written meanwhile").unwrap();
        assert_eq!(
            fs::read(test.path.join("near.bin")).unwrap(),
            b"written meanwhile"
        );
        let mut names: Vec<_> = fs::read_dir(&test.path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, [".hls", "far.bin", "near.bin"]);
        for reader in readers {
            let error = reader.join().unwrap().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(EIO), "{error}");
        }
    });
    test.remote().heal();
    assert!(fs::read(&path).unwrap() == bytes);
}

#[test]
fn damaged_bytes_never_reach_a_program() {
    let (test, bytes) = stored(1_500_000);
    test.remote().inject(Operation::Get, &Fault::FlipBit, 40);
    for _ in 0..60 {
        match fs::read(test.path.join("far.bin")) {
            Ok(found) => assert!(found == bytes),
            Err(error) => assert_eq!(error.raw_os_error(), Some(EIO), "{error}"),
        }
    }
    test.remote().heal();
    assert!(fs::read(test.path.join("far.bin")).unwrap() == bytes);
}

#[test]
fn writing_goes_on_while_nothing_can_be_sent() {
    need("getfattr", "attr");
    let mut test = TestMount::new();
    let unavailable = Fault::Fail(RemoteErrorKind::Unavailable);
    test.remote().inject(Operation::Put, &unavailable, ALWAYS);
    test.remote()
        .inject(Operation::AppendLog, &unavailable, ALWAYS);
    let bytes = noise(1_200_000, 5);
    fs::write(test.path.join("f.bin"), &bytes).unwrap();
    fs::rename(test.path.join("f.bin"), test.path.join("g.bin")).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(fs::read(test.path.join("g.bin")).unwrap() == bytes);
    assert!(!["stored", "failed"].contains(&test.state_of("g.bin").as_str()));
    // After the restart the remote works.
    test.restart();
    assert!(fs::read(test.path.join("g.bin")).unwrap() == bytes);
    test.wait_for_state("g.bin", &["stored"]);
    assert!(fs::read(test.path.join("g.bin")).unwrap() == bytes);
}
