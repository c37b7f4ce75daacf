//! Names that wait, names that stay local, and files that are kept as failed.

use std::time::Duration;

use tgfs::model::ErrorKind;

use crate::house::House;
use crate::library::LibrarySettings;
use crate::material::noise;

#[test]
fn a_name_that_tools_write_under_is_held_until_the_rename() {
    let mut house = House::new();
    let names = [
        "f.bin.part",
        "g.bin.crdownload",
        ".h.bin.Ab3xY9",
        ".goutputstream-A1B2C3",
        "notes.txt~",
    ];
    for name in names {
        house.write(name, name.as_bytes()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(1500));
    house.restart();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(house.packs_held(), 0, "something was sent");
    for name in names {
        assert_eq!(house.state(name), "spooled", "{name}");
        assert_eq!(house.read(name).unwrap(), name.as_bytes());
    }
    assert_eq!(house.vfs().pending().unwrap().files, names.len() as u64);
    for (number, name) in names.iter().enumerate() {
        let place = format!("final-{number}.bin");
        house.rename(name, &place).unwrap();
        house.wait_for(&place, "stored");
        assert_eq!(house.read(&place).unwrap(), name.as_bytes());
    }
}

#[test]
fn what_file_managers_leave_stays_local_and_is_nobodys_worry() {
    let mut house = House::new();
    let names = [".DS_Store", "._film.mkv", "Thumbs.db", "desktop.ini"];
    for name in names {
        house.write(name, b"leavings").unwrap();
    }
    house.stored("real.bin", b"real");
    house.restart();
    house.until("nothing is pending", || {
        house.vfs().pending().unwrap().files == 0 && house.vfs().jobs().unwrap().is_empty()
    });
    for name in names {
        assert_eq!(house.read(name).unwrap(), b"leavings", "{name}");
    }
    assert_eq!(house.packs_held(), 1);
}

#[test]
fn a_file_whose_writer_was_interrupted_is_kept_with_the_reason_and_can_be_retried() {
    let mut house = House::new();
    let bytes = noise(300_000, 1);
    let handle = house.create("half.bin").unwrap();
    house.write_at(handle, 0, &bytes[..100_000]).unwrap();
    house.block_on(house.vfs().fsync(handle)).unwrap();
    house.write_at(handle, 100_000, &bytes[100_000..]).unwrap();
    house.kill();
    house.start();
    house.wait_for("half.bin", "failed");
    let reason = house.info("half.bin").error.unwrap();
    assert!(reason.contains("retry"), "{reason}");
    assert!(house.read("half.bin").unwrap() == bytes);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(house.packs_held(), 0);
    house.vfs().retry(&crate::house::path("half.bin")).unwrap();
    house.wait_for("half.bin", "stored");
    house.restart();
    assert!(house.read("half.bin").unwrap() == bytes);
}

#[test]
fn a_failed_write_keeps_the_file_failed_until_it_is_retried() {
    let mut settings = LibrarySettings::default();
    settings.vfs.max_file_size = 100_000;
    let mut house = House::with(settings);
    let error = house.write("big.bin", &noise(300_000, 1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge);
    house.wait_for("big.bin", "failed");
    house.restart();
    assert_eq!(house.state("big.bin"), "failed");
    // The part that was written before is kept, and stored when the user says so.
    let kept = house.read("big.bin").unwrap();
    house.vfs().retry(&crate::house::path("big.bin")).unwrap();
    house.wait_for("big.bin", "stored");
    assert!(house.read("big.bin").unwrap() == kept);
}

/// An empty file has no byte outside packs, so that the log may have its name before the first write.
#[test]
fn a_file_whose_first_write_fails_after_its_name_was_published_is_failed() {
    let mut settings = LibrarySettings::default();
    settings.vfs.max_file_size = 100_000;
    let house = House::with(settings);
    let handle = house.create("f.bin").unwrap();
    house.until("its name is published", || {
        house.index().unpublished().unwrap().is_empty()
    });
    house.write_at(handle, 0, &noise(300_000, 1)).unwrap_err();
    house.close(handle).unwrap_err();
    house.wait_for("f.bin", "failed");
}

#[test]
fn a_failed_file_that_is_written_anew_is_ingested() {
    let mut settings = LibrarySettings::default();
    settings.vfs.max_file_size = 100_000;
    let house = House::with(settings);
    house.write("f.bin", &noise(300_000, 1)).unwrap_err();
    house.wait_for("f.bin", "failed");
    house.stored("f.bin", &noise(90_000, 2));
    assert!(house.read("f.bin").unwrap() == noise(90_000, 2));
}
