//! Names that wait, names that stay local, and files that are kept as failed.

use std::time::Duration;

use tgfs::model::ErrorKind;

use crate::library::LibrarySettings;
use crate::material::noise;
use crate::test_library::TestLibrary;

#[test]
fn a_name_that_tools_write_under_is_held_until_the_rename() {
    let mut library = TestLibrary::new();
    let names = [
        "f.bin.part",
        "g.bin.crdownload",
        ".h.bin.Ab3xY9",
        ".goutputstream-A1B2C3",
        "notes.txt~",
        "i.bin.PART",
        "j.bin.!ut",
        ".fuse_hidden0000007a00000001",
    ];
    for name in names {
        library.write(name, name.as_bytes()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(1500));
    library.restart();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(library.packs_held(), 0, "something was sent");
    for name in names {
        assert_eq!(library.state(name), "spooled", "{name}");
        assert_eq!(library.read(name).unwrap(), name.as_bytes());
    }
    assert_eq!(library.vfs().pending().unwrap().files, names.len() as u64);
    let waiting = library.vfs().awaiting_rename().unwrap();
    assert_eq!(waiting.len(), names.len());
    for job in waiting {
        let reason = job.error.unwrap();
        assert!(reason.contains("rename"), "{}: {reason}", job.path);
    }
    for (number, name) in names.iter().enumerate() {
        let place = format!("final-{number}.bin");
        library.rename(name, &place).unwrap();
        library.wait_for(&place, "stored");
        assert_eq!(library.read(&place).unwrap(), name.as_bytes());
    }
}

/// aria2 writes under the final name, and keeps a file of its own beside it until it is done.
#[test]
fn a_download_with_a_marker_beside_it_is_held_until_the_marker_goes() {
    let mut library = TestLibrary::new();
    for (film, marker) in [("a.bin", "a.bin.aria2"), ("b.bin", "b.bin.aria2")] {
        library.write(marker, b"state").unwrap();
        library.write(film, b"half of it").unwrap();
    }
    std::thread::sleep(Duration::from_millis(1500));
    library.restart();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(library.packs_held(), 0, "something was sent");
    assert_eq!(library.state("a.bin"), "spooled");
    let reason = library.info("a.bin").error.unwrap();
    assert!(reason.contains("unfinished"), "{reason}");
    library.remove("a.bin.aria2").unwrap();
    library.wait_for("a.bin", "stored");
    assert_eq!(library.state("b.bin"), "spooled");
    // The other is moved away, as a script behind the downloader does, or the user knows better.
    library.rename("b.bin", "done/b.bin").unwrap();
    library.wait_for("done/b.bin", "stored");
    library.write("c.bin", b"whole").unwrap();
    library.write("c.bin.aria2", b"state").unwrap();
    let at = crate::test_library::path("c.bin");
    library.vfs().retry(&at).unwrap();
    library.wait_for("c.bin", "stored");
}

/// Only films of which the store has all bytes can lack playlists.
#[test]
fn what_is_no_stored_film_needs_no_playlists() {
    let mut settings = LibrarySettings::default();
    settings.vfs.settle = Duration::from_secs(600);
    let library = TestLibrary::with(settings);
    for (name, bytes) in [
        ("e.txt", ""),
        ("e.mkv", ""),
        ("f.mkv.part", "x"),
        ("g.bin", "x"),
    ] {
        library.write(name, bytes.as_bytes()).unwrap();
    }
    assert_eq!(library.vfs().pending().unwrap().without_views, 0);
}

#[test]
fn what_file_managers_leave_stays_local_and_is_nobodys_worry() {
    let mut library = TestLibrary::new();
    let names = [".DS_Store", "._film.mkv", "Thumbs.db", "desktop.ini"];
    for name in names {
        library.write(name, b"leavings").unwrap();
    }
    library.stored("real.bin", b"real");
    library.restart();
    library.until("nothing is pending", || {
        library.vfs().pending().unwrap().files == 0 && library.vfs().jobs().unwrap().is_empty()
    });
    for name in names {
        assert_eq!(library.read(name).unwrap(), b"leavings", "{name}");
    }
    assert_eq!(library.packs_held(), 1);
}

#[test]
fn a_file_whose_writer_was_interrupted_is_kept_with_the_reason_and_can_be_retried() {
    let mut library = TestLibrary::new();
    let bytes = noise(300_000, 1);
    let handle = library.create("half.bin").unwrap();
    library.write_at(handle, 0, &bytes[..100_000]).unwrap();
    library.block_on(library.vfs().fsync(handle)).unwrap();
    library
        .write_at(handle, 100_000, &bytes[100_000..])
        .unwrap();
    library.kill();
    library.start();
    library.wait_for("half.bin", "failed");
    let reason = library.info("half.bin").error.unwrap();
    assert!(reason.contains("retry"), "{reason}");
    assert!(library.read("half.bin").unwrap() == bytes);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(library.packs_held(), 0);
    library
        .vfs()
        .retry(&crate::test_library::path("half.bin"))
        .unwrap();
    library.wait_for("half.bin", "stored");
    library.restart();
    assert!(library.read("half.bin").unwrap() == bytes);
}

#[test]
fn a_failed_write_keeps_the_file_failed_until_it_is_retried() {
    let mut settings = LibrarySettings::default();
    settings.vfs.max_file_size = 100_000;
    let mut library = TestLibrary::with(settings);
    let error = library.write("big.bin", &noise(300_000, 1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge);
    library.wait_for("big.bin", "failed");
    library.restart();
    assert_eq!(library.state("big.bin"), "failed");
    // The part that was written before is kept, and stored when the user says so.
    let kept = library.read("big.bin").unwrap();
    library
        .vfs()
        .retry(&crate::test_library::path("big.bin"))
        .unwrap();
    library.wait_for("big.bin", "stored");
    assert!(library.read("big.bin").unwrap() == kept);
}

/// An empty file has no byte outside packs, so that the log may have its name before the first write.
#[test]
fn a_file_whose_first_write_fails_after_its_name_was_published_is_failed() {
    let mut settings = LibrarySettings::default();
    settings.vfs.max_file_size = 100_000;
    let library = TestLibrary::with(settings);
    let handle = library.create("f.bin").unwrap();
    library.until("its name is published", || {
        library.index().unpublished().unwrap().is_empty()
    });
    library.write_at(handle, 0, &noise(300_000, 1)).unwrap_err();
    library.close(handle).unwrap_err();
    library.wait_for("f.bin", "failed");
}

#[test]
fn a_failed_file_that_is_written_anew_is_ingested() {
    let mut settings = LibrarySettings::default();
    settings.vfs.max_file_size = 100_000;
    let library = TestLibrary::with(settings);
    library.write("f.bin", &noise(300_000, 1)).unwrap_err();
    library.wait_for("f.bin", "failed");
    library.stored("f.bin", &noise(90_000, 2));
    assert!(library.read("f.bin").unwrap() == noise(90_000, 2));
}
