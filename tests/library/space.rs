//! A spool that is too small, and many small files.

use std::time::Duration;

use tgfs::model::ErrorKind;
use tgfs::vfs::{AccessMode, AllocateMode, Existing, SetAttr};

use crate::library::LibrarySettings;
use crate::material::noise;
use crate::test_library::{TestLibrary, USER};

const MIB: usize = 1 << 20;

fn small(spool_bytes: u64) -> TestLibrary {
    let mut settings = LibrarySettings {
        spool_bytes,
        pack_bytes: 256 << 10,
        ..LibrarySettings::default()
    };
    settings.write_hints.linger = Duration::from_millis(20);
    TestLibrary::with(settings)
}

#[test]
fn a_tree_ten_times_the_spool_copies_in() {
    let library = small(2 << 20);
    let bytes: Vec<_> = (0..40).map(|seed| noise(MIB / 2, seed)).collect();
    let name = |number: usize| format!("tree/{}/{number}.bin", number % 3);
    for (number, bytes) in bytes.iter().enumerate() {
        library.write(&name(number), bytes).unwrap();
    }
    for (number, bytes) in bytes.iter().enumerate() {
        library.wait_for(&name(number), "stored");
        assert!(library.read(&name(number)).unwrap() == *bytes, "{number}");
    }
    library.until("the spool is empty", || library.spool_used() == 0);
}

#[test]
fn a_file_that_the_spool_can_never_take_is_refused_and_the_next_one_is_not() {
    let library = small(2 << 20);
    library.stored("before.bin", &noise(MIB, 1));
    let error = library.write("huge.bin", &noise(3 * MIB, 2)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoSpace);
    assert!(error.message.contains("TGFS_SPOOL_SIZE"), "{error}");
    library.wait_for("huge.bin", "failed");
    let reason = library.info("huge.bin").error.unwrap();
    assert!(reason.contains("larger than the spool"), "{reason}");
    let kept = library.read("huge.bin").unwrap();
    assert!(kept.len() >= MIB && noise(3 * MIB, 2).starts_with(&kept));
    library.remove("huge.bin").unwrap();
    library.until("its space is free", || library.spool_used() == 0);
    library.stored("after.bin", &noise(MIB, 3));
    assert!(library.read("before.bin").unwrap() == noise(MIB, 1));
}

#[test]
fn space_for_a_file_that_cannot_fit_is_refused_before_it_is_written() {
    let library = small(2 << 20);
    let handle = library.create("huge.bin").unwrap();
    let asked = library.vfs();
    let allocated = library.block_on(asked.fallocate(handle, 0, 1 << 30, AllocateMode::Extend));
    assert_eq!(allocated.unwrap_err().kind, ErrorKind::NoSpace);
    library.close(handle).unwrap();
}

/// A file three times as large as the spool, written in parts that drain one after the other.
fn stored_in_parts(library: &TestLibrary, name: &str) -> Vec<u8> {
    let bytes = noise(6 * MIB, 1);
    for (number, part) in bytes.chunks(MIB).enumerate() {
        let handle = match number {
            0 => library.create(name).unwrap(),
            _ => library
                .open(name, AccessMode::ReadWrite, Existing::Keep)
                .unwrap(),
        };
        library
            .write_at(handle, (number * MIB) as u64, part)
            .unwrap();
        library.close(handle).unwrap();
        library.wait_for(name, "stored");
    }
    bytes
}

#[test]
fn room_is_asked_for_what_is_not_in_the_spool_yet() {
    let library = small(2 << 20);
    let handle = library.create("f.bin").unwrap();
    let allocate = |offset: usize, len: usize, mode| {
        let asked = library.vfs();
        let (offset, len) = (offset as u64, len as u64);
        library.block_on(asked.fallocate(handle, offset, len, mode))
    };
    library.write_at(handle, 0, &noise(3 * MIB / 2, 1)).unwrap();
    allocate(0, 2 * MIB, AllocateMode::KeepSize).unwrap();
    let refused = allocate(MIB, 3 * MIB / 2, AllocateMode::KeepSize).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::NoSpace);
    assert!(refused.message.contains("TGFS_SPOOL_SIZE"), "{refused}");
    // A hole needs no room, and bytes that stood there are not counted twice.
    allocate(0, 1 << 30, AllocateMode::PunchHole).unwrap();
    allocate(0, 2 * MIB, AllocateMode::KeepSize).unwrap();
    let refused = allocate(0, 1 << 30, AllocateMode::ZeroRange).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::TooLarge);
    library.close(handle).unwrap();
}

#[test]
fn a_size_that_could_never_be_filled_is_refused() {
    let library = small(2 << 20);
    let handle = library.create("huge.bin").unwrap();
    let ino = library.attr("huge.bin").unwrap().ino;
    let resize = |handle, size| {
        let change = SetAttr {
            size: Some(size),
            ..SetAttr::default()
        };
        let asked = library.vfs();
        library.block_on(asked.setattr(ino, handle, change, USER))
    };
    for by in [Some(handle), None] {
        let refused = resize(by, 1 << 30).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::TooLarge);
        assert!(refused.message.contains("TGFS_SPOOL_SIZE"), "{refused}");
        assert_eq!(library.attr("huge.bin").unwrap().size, 0);
    }
    // A size that fits may be announced, and a refused one harms nothing.
    resize(Some(handle), 2 << 20).unwrap();
    library.write_at(handle, 0, &noise(MIB, 2)).unwrap();
    library.close(handle).unwrap();
    library.wait_for("huge.bin", "stored");
    let bytes = library.read("huge.bin").unwrap();
    assert!(bytes.len() == 2 * MIB && bytes.starts_with(&noise(MIB, 2)));
}

#[test]
fn a_stored_file_larger_than_the_spool_is_cut_and_grown() {
    let library = small(2 << 20);
    let mut bytes = stored_in_parts(&library, "f.bin");
    for size in [5 * MIB, 6 * MIB] {
        library.truncate("f.bin", size as u64);
        bytes.resize(size, 0);
        library.wait_for("f.bin", "stored");
        assert!(library.read("f.bin").unwrap() == bytes, "{size}");
    }
    // Writing the whole file again takes all of it into the spool.
    let handle = library
        .open("f.bin", AccessMode::ReadWrite, Existing::Keep)
        .unwrap();
    let asked = library.vfs();
    let all = library.block_on(asked.fallocate(handle, 0, 6 << 20, AllocateMode::KeepSize));
    assert_eq!(all.unwrap_err().kind, ErrorKind::NoSpace);
    library.close(handle).unwrap();
    assert!(library.read("f.bin").unwrap() == bytes);
}

#[test]
fn a_full_spool_that_nothing_drains_says_so_and_loses_nothing() {
    let mut library = small(2 << 20);
    // A temporary name: the file waits for its rename, so that nothing is sent.
    library
        .write("held.bin.part", &noise(3 * MIB / 2, 1))
        .unwrap();
    library.until("it is settled", || {
        library.vfs().pending().unwrap().files == 1
    });
    std::thread::sleep(Duration::from_millis(300));
    let error = library.write("more.bin", &noise(MIB, 2)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoSpace);
    library.wait_for("more.bin", "failed");
    library.restart();
    assert!(library.read("held.bin.part").unwrap() == noise(3 * MIB / 2, 1));
    library.remove("more.bin").unwrap();
    library.rename("held.bin.part", "held.bin").unwrap();
    library.wait_for("held.bin", "stored");
    library.stored("more.bin", &noise(MIB, 2));
}

#[test]
fn a_remote_that_is_away_for_a_while_only_slows_a_copy_down() {
    let library = small(2 << 20);
    let fault = tgfs::remote::testing::Fault::Fail(tgfs::remote::RemoteErrorKind::Unavailable);
    library
        .remote()
        .inject(tgfs::remote::testing::Operation::Put, &fault, 6);
    for seed in 0..6 {
        library
            .write(&format!("{seed}.bin"), &noise(MIB, seed))
            .unwrap();
    }
    for seed in 0..6 {
        library.wait_for(&format!("{seed}.bin"), "stored");
    }
}

#[test]
fn removed_files_give_back_what_they_took() {
    let library = TestLibrary::new();
    library.refuse_packs();
    for number in 0..30 {
        library.write(&format!("{number}.txt"), b"small").unwrap();
    }
    let held = library.spool_used();
    assert!(held >= 30 * 5, "{held}");
    for number in 0..29 {
        library.remove(&format!("{number}.txt")).unwrap();
    }
    library.until("one file is left", || library.spool_used() == held / 30);
}

#[test]
fn a_thousand_small_files_are_stored_in_few_packs() {
    let mut library = TestLibrary::with(LibrarySettings {
        pack_bytes: 4 << 20,
        ..LibrarySettings::default()
    });
    let name = |number: u64| format!("posters/{:02}/{number}.jpg", number % 20);
    for number in 0..1000 {
        library.write(&name(number), &noise(4096, number)).unwrap();
    }
    for number in 0..1000 {
        library.wait_for(&name(number), "stored");
    }
    let puts = library.remote().puts();
    assert!(puts <= 100, "{puts} packs for 1000 files of 4 KiB");
    library.restart();
    for number in (0..1000).step_by(97) {
        assert!(library.read(&name(number)).unwrap() == noise(4096, number));
    }
}

/// A disk that is full takes the place of a stored film with a part of the new one.
#[test]
fn a_replacement_that_does_not_fit_says_so_at_close_and_where_the_old_version_is() {
    let library = small(2 << 20);
    library.stored("film.bin", &noise(MIB, 1));
    library.settled();
    let handle = library.create("film.bin").unwrap();
    let written = library.write_at(handle, 0, &noise(3 * MIB, 2));
    assert_eq!(written.unwrap_err().kind, ErrorKind::NoSpace);
    let closed = library.close(handle);
    assert_eq!(closed.unwrap_err().kind, ErrorKind::NoSpace);
    library.wait_for("film.bin", "failed");
    let reason = library.info("film.bin").error.unwrap();
    assert!(reason.contains("still in the store"), "{reason}");
    assert!(reason.contains("24 hours from now"), "{reason}");
    assert!(!library.index().dying_packs(10).unwrap().is_empty());
    // A new file has no version before.
    library.write("new.bin", &noise(3 * MIB, 3)).unwrap_err();
    library.wait_for("new.bin", "failed");
    let reason = library.info("new.bin").error.unwrap();
    assert!(!reason.contains("still in the store"), "{reason}");
    for name in ["film.bin", "new.bin"] {
        library.remove(name).unwrap();
    }
    library.until("their space is free", || library.spool_used() == 0);
    library.stored("film.bin", &noise(MIB, 2));
    assert_eq!(library.info("film.bin").error, None);
}
