//! Changes of a stored file: only the written bytes take spool and upload.

use bytes::Bytes;
use std::time::Duration;
use tgfs::model::Timestamp;
use tgfs::vfs::{AccessMode, AllocateMode, Existing, SetAttr, XattrMode};

use crate::material::noise;
use crate::test_library::TestLibrary;

const MIB: usize = 1 << 20;

fn replace(bytes: &mut Vec<u8>, offset: usize, with: &[u8]) {
    bytes.resize(bytes.len().max(offset + with.len()), 0);
    bytes[offset..offset + with.len()].copy_from_slice(with);
}

#[test]
fn an_overwritten_part_takes_its_own_bytes_only() {
    let mut library = TestLibrary::new();
    let mut bytes = noise(6 * MIB, 1);
    library.stored("film.bin", &bytes);
    library.until("the spool is empty", || library.spool_used() == 0);
    let before = library.packs_held();
    library.refuse_packs();
    library.overwrite("film.bin", 3_000_001, &noise(10_000, 2));
    replace(&mut bytes, 3_000_001, &noise(10_000, 2));
    assert!(library.spool_used() <= 64 << 10, "{}", library.spool_used());
    assert!(library.read("film.bin").unwrap() == bytes);
    library.restart();
    library.wait_for("film.bin", "stored");
    assert_eq!(library.packs_held(), before + 1);
    library.restart();
    assert!(library.read("film.bin").unwrap() == bytes);
    library.until("the spool is empty", || library.spool_used() == 0);
}

#[test]
fn cut_grown_punched_and_appended_files_read_back() {
    let mut library = TestLibrary::new();
    let mut bytes = noise(2 * MIB, 1);
    library.stored("f.bin", &bytes);
    let puts = library.remote().puts();
    library.truncate("f.bin", 1_500_000);
    bytes.truncate(1_500_000);
    library.truncate("f.bin", 1_700_000);
    bytes.resize(1_700_000, 0);
    let handle = library
        .open("f.bin", AccessMode::ReadWrite, Existing::Keep)
        .unwrap();
    library
        .block_on(
            library
                .vfs()
                .fallocate(handle, 4096, 8192, AllocateMode::PunchHole),
        )
        .unwrap();
    library.close(handle).unwrap();
    replace(&mut bytes, 4096, &[0; 8192]);
    library.wait_for("f.bin", "stored");
    assert_eq!(library.remote().puts(), puts, "zeros and cuts are sent");
    let end = bytes.len();
    library.overwrite("f.bin", end as u64, b"appended");
    bytes.extend_from_slice(b"appended");
    library.restart();
    assert!(library.read("f.bin").unwrap() == bytes);
    library.wait_for("f.bin", "stored");
    library.restart();
    assert!(library.read("f.bin").unwrap() == bytes);
}

#[test]
fn attributes_and_a_truncation_to_the_same_size_send_nothing() {
    let mut library = TestLibrary::new();
    library.stored("f.bin", &noise(MIB, 1));
    library.settled();
    let (puts, packs) = (library.remote().puts(), library.packs_held());
    let ino = library.attr("f.bin").unwrap().ino;
    library.truncate("f.bin", MIB as u64);
    let mtime = Timestamp {
        seconds: 1_000_000_000,
        nanos: 5,
    };
    library.set(
        "f.bin",
        SetAttr {
            mode: Some(0o600),
            mtime: Some(mtime),
            ..SetAttr::default()
        },
    );
    library
        .vfs()
        .setxattr(ino, b"user.note", b"seen", XattrMode::Set)
        .unwrap();
    library.settled();
    library.wait_for("f.bin", "stored");
    assert_eq!(
        (library.remote().puts(), library.packs_held()),
        (puts, packs)
    );
    assert_eq!(library.spool_used(), 0);
    library.stop();
    library.remove_directory("state");
    library.start();
    let attr = library.attr("f.bin").unwrap();
    assert_eq!(
        (attr.mode & 0o777, attr.mtime, attr.ino),
        (0o600, mtime, ino)
    );
    assert_eq!(library.vfs().getxattr(ino, b"user.note").unwrap(), b"seen");
}

#[test]
fn a_write_that_is_open_while_the_version_below_goes_out_keeps_all_bytes() {
    let mut library = TestLibrary::new();
    let mut bytes = noise(3 * MIB, 1);
    library.refuse_packs();
    library.write("f.bin", &bytes).unwrap();
    library.until("ingest has it", || library.state("f.bin") != "spooled");
    let handle = library
        .open("f.bin", AccessMode::ReadWrite, Existing::Keep)
        .unwrap();
    library.write_at(handle, 100, b"newer").unwrap();
    replace(&mut bytes, 100, b"newer");
    // Also when packs of the base, or its copy in the spool, go meanwhile.
    library.remote().heal();
    std::thread::sleep(Duration::from_secs(3));
    library.close(handle).unwrap();
    library.wait_for("f.bin", "stored");
    assert!(library.read("f.bin").unwrap() == bytes);
    library.restart();
    assert!(library.read("f.bin").unwrap() == bytes);
}

#[test]
fn readers_with_the_file_open_see_writes_and_answers_in_flight_do_not() {
    let library = TestLibrary::new();
    library.stored("f.bin", &[b'a'; 1000]);
    let answer = library
        .block_on(
            library
                .vfs()
                .open_resource(&crate::test_library::path("f.bin")),
        )
        .unwrap();
    let reader = library
        .open("f.bin", AccessMode::Read, Existing::Keep)
        .unwrap();
    library.overwrite("f.bin", 0, &[b'b'; 10]);
    let read = |handle| library.block_on(library.vfs().read(handle, 0, 10)).unwrap();
    assert_eq!(read(reader), Bytes::from_static(&[b'b'; 10]));
    assert_eq!(read(answer.handle), Bytes::from_static(&[b'a'; 10]));
    library.vfs().release(reader);
    library.vfs().release(answer.handle);
}

#[test]
fn a_replaced_version_comes_back_while_the_new_one_is_not_published() {
    let mut library = TestLibrary::new();
    let old = noise(2 * MIB, 1);
    library.stored("whole.bin", &old);
    library.stored("renamed.bin", &old);
    library.settled();
    library.refuse_packs();
    library.write("whole.bin", &noise(2 * MIB, 2)).unwrap();
    library.write("new.bin", &noise(2 * MIB, 3)).unwrap();
    library.rename("new.bin", "renamed.bin").unwrap();
    for _ in 0..20 {
        assert_eq!(library.cleanup(Duration::ZERO).deleted, 0);
        std::thread::sleep(Duration::from_millis(100));
    }
    // The disk is lost with all bytes that were only there.
    library.kill();
    library.remove_directory("state");
    library.remove_directory("spool");
    library.start();
    assert!(library.read("whole.bin").unwrap() == old);
    assert!(library.read("renamed.bin").unwrap() == old);
}

/// The last reference to a pack goes with an entry that is published at once, while the log's
/// state of another one still names the pack.
#[test]
fn a_pack_that_the_logs_state_of_another_file_names_is_kept() {
    let mut library = TestLibrary::new();
    let old = noise(8192, 1);
    library.write("a.txt", &old).unwrap();
    library.write("b.txt", &noise(8192, 2)).unwrap();
    library.wait_for("a.txt", "stored");
    library.wait_for("b.txt", "stored");
    library.settled();
    assert_eq!(library.packs_held(), 1, "both are meant to share a pack");
    library.refuse_packs();
    library.write("a.txt", b"newer").unwrap();
    library.remove("b.txt").unwrap();
    let a = library.attr("a.txt").unwrap().id.unwrap();
    library.until("all but the new version is published", || {
        library.index().unpublished().unwrap() == [a]
    });
    assert_eq!(library.cleanup(Duration::ZERO).deleted, 0);
    assert_eq!(library.packs_held(), 1);
    library.kill();
    library.remove_directory("state");
    library.remove_directory("spool");
    library.start();
    assert!(library.read("a.txt").unwrap() == old);
    assert!(library.attr("b.txt").is_err());
}

#[test]
fn what_was_replaced_goes_once_the_new_version_is_published() {
    let library = TestLibrary::new();
    library.stored("f.bin", &noise(2 * MIB, 1));
    library.settled();
    assert_eq!(library.packs_held(), 1);
    library.stored("f.bin", &noise(4096, 2));
    library.settled();
    assert_eq!(library.cleanup(Duration::from_secs(3600)).deleted, 0);
    library.cleanup_until(1);
    assert!(library.read("f.bin").unwrap() == noise(4096, 2));
}
