//! Changes of a stored file: only the written bytes take spool and upload.

use bytes::Bytes;
use std::time::Duration;
use tgfs::model::Timestamp;
use tgfs::vfs::{AccessMode, AllocateMode, Existing, SetAttr, XattrMode};

use crate::house::House;
use crate::material::noise;

const MIB: usize = 1 << 20;

fn replace(bytes: &mut Vec<u8>, offset: usize, with: &[u8]) {
    bytes.resize(bytes.len().max(offset + with.len()), 0);
    bytes[offset..offset + with.len()].copy_from_slice(with);
}

#[test]
fn an_overwritten_part_takes_its_own_bytes_only() {
    let mut house = House::new();
    let mut bytes = noise(6 * MIB, 1);
    house.stored("film.bin", &bytes);
    house.until("the spool is empty", || house.spool_used() == 0);
    let before = house.packs_held();
    house.refuse_packs();
    house.overwrite("film.bin", 3_000_001, &noise(10_000, 2));
    replace(&mut bytes, 3_000_001, &noise(10_000, 2));
    assert!(house.spool_used() <= 64 << 10, "{}", house.spool_used());
    assert!(house.read("film.bin").unwrap() == bytes);
    house.restart();
    house.wait_for("film.bin", "stored");
    assert_eq!(house.packs_held(), before + 1);
    house.restart();
    assert!(house.read("film.bin").unwrap() == bytes);
    house.until("the spool is empty", || house.spool_used() == 0);
}

#[test]
fn cut_grown_punched_and_appended_files_read_back() {
    let mut house = House::new();
    let mut bytes = noise(2 * MIB, 1);
    house.stored("f.bin", &bytes);
    let puts = house.remote().puts();
    house.truncate("f.bin", 1_500_000);
    bytes.truncate(1_500_000);
    house.truncate("f.bin", 1_700_000);
    bytes.resize(1_700_000, 0);
    let handle = house
        .open("f.bin", AccessMode::ReadWrite, Existing::Keep)
        .unwrap();
    house
        .block_on(
            house
                .vfs()
                .fallocate(handle, 4096, 8192, AllocateMode::PunchHole),
        )
        .unwrap();
    house.close(handle).unwrap();
    replace(&mut bytes, 4096, &[0; 8192]);
    house.wait_for("f.bin", "stored");
    assert_eq!(house.remote().puts(), puts, "zeros and cuts are sent");
    let end = bytes.len();
    house.overwrite("f.bin", end as u64, b"appended");
    bytes.extend_from_slice(b"appended");
    house.restart();
    assert!(house.read("f.bin").unwrap() == bytes);
    house.wait_for("f.bin", "stored");
    house.restart();
    assert!(house.read("f.bin").unwrap() == bytes);
}

#[test]
fn attributes_and_a_truncation_to_the_same_size_send_nothing() {
    let mut house = House::new();
    house.stored("f.bin", &noise(MIB, 1));
    house.settled();
    let (puts, packs) = (house.remote().puts(), house.packs_held());
    let ino = house.attr("f.bin").unwrap().ino;
    house.truncate("f.bin", MIB as u64);
    let mtime = Timestamp {
        seconds: 1_000_000_000,
        nanos: 5,
    };
    house.set(
        "f.bin",
        SetAttr {
            mode: Some(0o600),
            mtime: Some(mtime),
            ..SetAttr::default()
        },
    );
    house
        .vfs()
        .setxattr(ino, b"user.note", b"seen", XattrMode::Set)
        .unwrap();
    house.settled();
    house.wait_for("f.bin", "stored");
    assert_eq!((house.remote().puts(), house.packs_held()), (puts, packs));
    assert_eq!(house.spool_used(), 0);
    house.stop();
    house.remove_directory("state");
    house.start();
    let attr = house.attr("f.bin").unwrap();
    assert_eq!(
        (attr.mode & 0o777, attr.mtime, attr.ino),
        (0o600, mtime, ino)
    );
    assert_eq!(house.vfs().getxattr(ino, b"user.note").unwrap(), b"seen");
}

#[test]
fn a_write_that_is_open_while_the_version_below_goes_out_keeps_all_bytes() {
    let mut house = House::new();
    let mut bytes = noise(3 * MIB, 1);
    house.refuse_packs();
    house.write("f.bin", &bytes).unwrap();
    house.until("ingest has it", || house.state("f.bin") != "spooled");
    let handle = house
        .open("f.bin", AccessMode::ReadWrite, Existing::Keep)
        .unwrap();
    house.write_at(handle, 100, b"newer").unwrap();
    replace(&mut bytes, 100, b"newer");
    // Also when packs of the base, or its copy in the spool, go meanwhile.
    house.remote().heal();
    std::thread::sleep(Duration::from_secs(3));
    house.close(handle).unwrap();
    house.wait_for("f.bin", "stored");
    assert!(house.read("f.bin").unwrap() == bytes);
    house.restart();
    assert!(house.read("f.bin").unwrap() == bytes);
}

#[test]
fn readers_with_the_file_open_see_writes_and_answers_in_flight_do_not() {
    let house = House::new();
    house.stored("f.bin", &[b'a'; 1000]);
    let answer = house
        .block_on(house.vfs().open_resource(&crate::house::path("f.bin")))
        .unwrap();
    let reader = house
        .open("f.bin", AccessMode::Read, Existing::Keep)
        .unwrap();
    house.overwrite("f.bin", 0, &[b'b'; 10]);
    let read = |handle| house.block_on(house.vfs().read(handle, 0, 10)).unwrap();
    assert_eq!(read(reader), Bytes::from_static(&[b'b'; 10]));
    assert_eq!(read(answer.handle), Bytes::from_static(&[b'a'; 10]));
    house.vfs().release(reader);
    house.vfs().release(answer.handle);
}

#[test]
fn a_replaced_version_comes_back_while_the_new_one_is_not_published() {
    let mut house = House::new();
    let old = noise(2 * MIB, 1);
    house.stored("whole.bin", &old);
    house.stored("renamed.bin", &old);
    house.settled();
    house.refuse_packs();
    house.write("whole.bin", &noise(2 * MIB, 2)).unwrap();
    house.write("new.bin", &noise(2 * MIB, 3)).unwrap();
    house.rename("new.bin", "renamed.bin").unwrap();
    for _ in 0..20 {
        assert_eq!(house.cleanup(Duration::ZERO).deleted, 0);
        std::thread::sleep(Duration::from_millis(100));
    }
    // The disk is lost with all bytes that were only there.
    house.kill();
    house.remove_directory("state");
    house.remove_directory("spool");
    house.start();
    assert!(house.read("whole.bin").unwrap() == old);
    assert!(house.read("renamed.bin").unwrap() == old);
}

/// The last reference to a pack goes with an entry that is published at once, while the log's
/// state of another one still names the pack.
#[test]
fn a_pack_that_the_logs_state_of_another_file_names_is_kept() {
    let mut house = House::new();
    let old = noise(8192, 1);
    house.write("a.txt", &old).unwrap();
    house.write("b.txt", &noise(8192, 2)).unwrap();
    house.wait_for("a.txt", "stored");
    house.wait_for("b.txt", "stored");
    house.settled();
    assert_eq!(house.packs_held(), 1, "both are meant to share a pack");
    house.refuse_packs();
    house.write("a.txt", b"newer").unwrap();
    house.remove("b.txt").unwrap();
    let a = house.attr("a.txt").unwrap().id.unwrap();
    house.until("all but the new version is published", || {
        house.index().unpublished().unwrap() == [a]
    });
    assert_eq!(house.cleanup(Duration::ZERO).deleted, 0);
    assert_eq!(house.packs_held(), 1);
    house.kill();
    house.remove_directory("state");
    house.remove_directory("spool");
    house.start();
    assert!(house.read("a.txt").unwrap() == old);
    assert!(house.attr("b.txt").is_err());
}

#[test]
fn what_was_replaced_goes_once_the_new_version_is_published() {
    let house = House::new();
    house.stored("f.bin", &noise(2 * MIB, 1));
    house.settled();
    assert_eq!(house.packs_held(), 1);
    house.stored("f.bin", &noise(4096, 2));
    house.settled();
    assert_eq!(house.cleanup(Duration::from_secs(3600)).deleted, 0);
    house.cleanup_until(1);
    assert!(house.read("f.bin").unwrap() == noise(4096, 2));
}
