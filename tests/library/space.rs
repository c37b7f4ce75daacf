//! A spool that is too small, and many small files.

use std::time::Duration;

use tgfs::model::ErrorKind;
use tgfs::vfs::{AccessMode, AllocateMode, Existing, SetAttr};

use crate::house::{House, USER};
use crate::library::LibrarySettings;
use crate::material::noise;

const MIB: usize = 1 << 20;

fn small(spool_bytes: u64) -> House {
    let mut settings = LibrarySettings {
        spool_bytes,
        pack_bytes: 256 << 10,
        ..LibrarySettings::default()
    };
    settings.write_hints.linger = Duration::from_millis(20);
    House::with(settings)
}

#[test]
fn a_tree_ten_times_the_spool_copies_in() {
    let house = small(2 << 20);
    let bytes: Vec<_> = (0..40).map(|seed| noise(MIB / 2, seed)).collect();
    let name = |number: usize| format!("tree/{}/{number}.bin", number % 3);
    for (number, bytes) in bytes.iter().enumerate() {
        house.write(&name(number), bytes).unwrap();
    }
    for (number, bytes) in bytes.iter().enumerate() {
        house.wait_for(&name(number), "stored");
        assert!(house.read(&name(number)).unwrap() == *bytes, "{number}");
    }
    house.until("the spool is empty", || house.spool_used() == 0);
}

#[test]
fn a_file_that_the_spool_can_never_take_is_refused_and_the_next_one_is_not() {
    let house = small(2 << 20);
    house.stored("before.bin", &noise(MIB, 1));
    let error = house.write("huge.bin", &noise(3 * MIB, 2)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoSpace);
    assert!(error.message.contains("TGFS_SPOOL_SIZE"), "{error}");
    house.wait_for("huge.bin", "failed");
    let reason = house.info("huge.bin").error.unwrap();
    assert!(reason.contains("larger than the spool"), "{reason}");
    let kept = house.read("huge.bin").unwrap();
    assert!(kept.len() >= MIB && noise(3 * MIB, 2).starts_with(&kept));
    house.remove("huge.bin").unwrap();
    house.until("its space is free", || house.spool_used() == 0);
    house.stored("after.bin", &noise(MIB, 3));
    assert!(house.read("before.bin").unwrap() == noise(MIB, 1));
}

#[test]
fn space_for_a_file_that_cannot_fit_is_refused_before_it_is_written() {
    let house = small(2 << 20);
    let handle = house.create("huge.bin").unwrap();
    let asked = house.vfs();
    let allocated = house.block_on(asked.fallocate(handle, 0, 1 << 30, AllocateMode::Extend));
    assert_eq!(allocated.unwrap_err().kind, ErrorKind::NoSpace);
    house.close(handle).unwrap();
}

/// A file three times as large as the spool, written in parts that drain one after the other.
fn stored_in_parts(house: &House, name: &str) -> Vec<u8> {
    let bytes = noise(6 * MIB, 1);
    for (number, part) in bytes.chunks(MIB).enumerate() {
        let handle = match number {
            0 => house.create(name).unwrap(),
            _ => house
                .open(name, AccessMode::ReadWrite, Existing::Keep)
                .unwrap(),
        };
        house.write_at(handle, (number * MIB) as u64, part).unwrap();
        house.close(handle).unwrap();
        house.wait_for(name, "stored");
    }
    bytes
}

#[test]
fn room_is_asked_for_what_is_not_in_the_spool_yet() {
    let house = small(2 << 20);
    let handle = house.create("f.bin").unwrap();
    let allocate = |offset: usize, len: usize, mode| {
        let asked = house.vfs();
        let (offset, len) = (offset as u64, len as u64);
        house.block_on(asked.fallocate(handle, offset, len, mode))
    };
    house.write_at(handle, 0, &noise(3 * MIB / 2, 1)).unwrap();
    allocate(0, 2 * MIB, AllocateMode::KeepSize).unwrap();
    let refused = allocate(MIB, 3 * MIB / 2, AllocateMode::KeepSize).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::NoSpace);
    assert!(refused.message.contains("TGFS_SPOOL_SIZE"), "{refused}");
    // A hole needs no room, and bytes that stood there are not counted twice.
    allocate(0, 1 << 30, AllocateMode::PunchHole).unwrap();
    allocate(0, 2 * MIB, AllocateMode::KeepSize).unwrap();
    let refused = allocate(0, 1 << 30, AllocateMode::ZeroRange).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::TooLarge);
    house.close(handle).unwrap();
}

#[test]
fn a_size_that_could_never_be_filled_is_refused() {
    let house = small(2 << 20);
    let handle = house.create("huge.bin").unwrap();
    let ino = house.attr("huge.bin").unwrap().ino;
    let resize = |handle, size| {
        let change = SetAttr {
            size: Some(size),
            ..SetAttr::default()
        };
        let asked = house.vfs();
        house.block_on(asked.setattr(ino, handle, change, USER))
    };
    for by in [Some(handle), None] {
        let refused = resize(by, 1 << 30).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::TooLarge);
        assert!(refused.message.contains("TGFS_SPOOL_SIZE"), "{refused}");
        assert_eq!(house.attr("huge.bin").unwrap().size, 0);
    }
    // A size that fits may be announced, and a refused one harms nothing.
    resize(Some(handle), 2 << 20).unwrap();
    house.write_at(handle, 0, &noise(MIB, 2)).unwrap();
    house.close(handle).unwrap();
    house.wait_for("huge.bin", "stored");
    let bytes = house.read("huge.bin").unwrap();
    assert!(bytes.len() == 2 * MIB && bytes.starts_with(&noise(MIB, 2)));
}

#[test]
fn a_stored_file_larger_than_the_spool_is_cut_and_grown() {
    let house = small(2 << 20);
    let mut bytes = stored_in_parts(&house, "f.bin");
    for size in [5 * MIB, 6 * MIB] {
        house.truncate("f.bin", size as u64);
        bytes.resize(size, 0);
        house.wait_for("f.bin", "stored");
        assert!(house.read("f.bin").unwrap() == bytes, "{size}");
    }
    // Writing the whole file again takes all of it into the spool.
    let handle = house
        .open("f.bin", AccessMode::ReadWrite, Existing::Keep)
        .unwrap();
    let asked = house.vfs();
    let all = house.block_on(asked.fallocate(handle, 0, 6 << 20, AllocateMode::KeepSize));
    assert_eq!(all.unwrap_err().kind, ErrorKind::NoSpace);
    house.close(handle).unwrap();
    assert!(house.read("f.bin").unwrap() == bytes);
}

#[test]
fn a_full_spool_that_nothing_drains_says_so_and_loses_nothing() {
    let mut house = small(2 << 20);
    // A temporary name: the file waits for its rename, so that nothing is sent.
    house
        .write("held.bin.part", &noise(3 * MIB / 2, 1))
        .unwrap();
    house.until("it is settled", || {
        house.vfs().pending().unwrap().files == 1
    });
    std::thread::sleep(Duration::from_millis(300));
    let error = house.write("more.bin", &noise(MIB, 2)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoSpace);
    house.wait_for("more.bin", "failed");
    house.restart();
    assert!(house.read("held.bin.part").unwrap() == noise(3 * MIB / 2, 1));
    house.remove("more.bin").unwrap();
    house.rename("held.bin.part", "held.bin").unwrap();
    house.wait_for("held.bin", "stored");
    house.stored("more.bin", &noise(MIB, 2));
}

#[test]
fn a_remote_that_is_away_for_a_while_only_slows_a_copy_down() {
    let house = small(2 << 20);
    let fault = tgfs::remote::testing::Fault::Fail(tgfs::remote::RemoteErrorKind::Unavailable);
    house
        .remote()
        .inject(tgfs::remote::testing::Operation::Put, &fault, 6);
    for seed in 0..6 {
        house
            .write(&format!("{seed}.bin"), &noise(MIB, seed))
            .unwrap();
    }
    for seed in 0..6 {
        house.wait_for(&format!("{seed}.bin"), "stored");
    }
}

#[test]
fn removed_files_give_back_what_they_took() {
    let house = House::new();
    house.refuse_packs();
    for number in 0..30 {
        house.write(&format!("{number}.txt"), b"small").unwrap();
    }
    let held = house.spool_used();
    assert!(held >= 30 * 5, "{held}");
    for number in 0..29 {
        house.remove(&format!("{number}.txt")).unwrap();
    }
    house.until("one file is left", || house.spool_used() == held / 30);
}

#[test]
fn a_thousand_small_files_are_stored_in_few_packs() {
    let mut house = House::with(LibrarySettings {
        pack_bytes: 4 << 20,
        ..LibrarySettings::default()
    });
    let name = |number: u64| format!("posters/{:02}/{number}.jpg", number % 20);
    for number in 0..1000 {
        house.write(&name(number), &noise(4096, number)).unwrap();
    }
    for number in 0..1000 {
        house.wait_for(&name(number), "stored");
    }
    let puts = house.remote().puts();
    assert!(puts <= 100, "{puts} packs for 1000 files of 4 KiB");
    house.restart();
    for number in (0..1000).step_by(97) {
        assert!(house.read(&name(number)).unwrap() == noise(4096, number));
    }
}
