//! Tests with a remote that hangs, fails or lies: the errors that a program sees, and the ones it does not.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use tgfs::remote::RemoteErrorKind;
use tgfs::remote::testing::{Fault, Operation};

use crate::harness::TestMount;
use crate::material::{need, noise};

/// Number of calls that exceeds those of any test.
const ALWAYS: usize = 10_000;
const EIO: i32 = 5;
/// Readers that wait at a time.
const READERS: u64 = 1_500;
/// Longest time for a few commands of somebody else. Alone they take milliseconds; the machine that tests may be busy.
const ANSWER_TIME: Duration = Duration::from_secs(4);

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

/// Most memory that reads without an answer may take beside the cache.
const BESIDE_CACHE: u64 = 200 << 20;

fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let resident = pages.split(' ').nth(1).unwrap();
    resident.parse::<u64>().unwrap() * 4096
}

#[test]
fn thousands_of_reads_without_an_answer_hold_nobody_else_up() {
    let (test, bytes) = stored(16_000_000);
    let near = test.path.join("near.bin");
    fs::write(&near, b"written before").unwrap();
    test.remote().inject(Operation::Get, &Fault::Hang, ALWAYS);
    let path = test.path.join("far.bin");
    let before = resident_bytes();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|number| {
                // Each has a descriptor of its own, and they are spread over the file.
                let (file, offset) = (fs::File::open(&path).unwrap(), number * 10_000);
                let read = move || file.read_at(&mut [0; 4096], offset);
                let thread = std::thread::Builder::new().stack_size(128 << 10);
                thread.spawn_scoped(scope, read).unwrap()
            })
            .collect();
        for _ in 0..5 {
            let begun = Instant::now();
            // A process of its own, which the readers hold no lock of.
            let said = test
                .run("ls && cat near.bin && stat -c %s far.bin && echo x > new.txt && rm new.txt");
            assert!(
                said.contains("written before") && said.contains("16000000"),
                "{said}"
            );
            let took = begun.elapsed();
            assert!(took < ANSWER_TIME, "{took:?}");
        }
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < BESIDE_CACHE, "{} MiB", grown >> 20);
        // Reads that nobody sent yet find the store again; the others end at their deadline.
        test.remote().heal();
        for reader in readers {
            if let Err(error) = reader.join().unwrap() {
                assert_eq!(error.raw_os_error(), Some(EIO), "{error}");
            }
        }
    });
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
