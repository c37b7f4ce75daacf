//! Recovery with only the settings, from channels that were changed meanwhile.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use telegram_sim::{Fault, ForeignDocument, ForeignPost, Injection};

use crate::daemon::{Site, wait_for};
use crate::material::noise;
use crate::service::{HOME, Service};

const NAMES: [&str; 3] = ["first.bin", "second.bin", "third.bin"];
/// Numbers that a deleted series leaves unused.
const GAP: i32 = 50_000;

fn bytes_of(name: &str) -> Vec<u8> {
    noise(1_300_000, name.len() as u64)
}

/// Writes files and publishes them with a daemon of its own.
fn write(site: &Site, name: &str) {
    let daemon = site.start();
    fs::write(site.file(name), bytes_of(name)).unwrap();
    site.finish(daemon);
}

fn identity(path: &Path) -> (u64, i64, u64) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.ino(), metadata.mtime_nsec(), metadata.len())
}

/// Makes a library of [`NAMES`], and returns its posts of the log.
fn library(service: &Service) -> Vec<Vec<i32>> {
    let site = Site::new(service);
    let mut logs = Vec::new();
    let mut seen = 0;
    for name in NAMES {
        write(&site, name);
        let log: Vec<i32> = service
            .posts_of(HOME, "manifest")
            .iter()
            .map(|post| post.id)
            .filter(|id| *id > seen)
            .collect();
        seen = *log.last().unwrap();
        logs.push(log);
    }
    logs
}

fn stranger(caption: String, bytes: &[u8]) -> ForeignPost {
    ForeignPost {
        caption,
        document: Some(ForeignDocument {
            name: "cat.jpg".into(),
            mime_type: "image/jpeg".into(),
            bytes: bytes.to_vec(),
        }),
    }
}

fn expect_files(site: &Site, names: &[&str]) {
    let mut found: Vec<String> = fs::read_dir(site.mountpoint())
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".hls")
        .collect();
    found.sort();
    assert_eq!(found, names);
    for name in names {
        assert!(
            fs::read(site.file(name)).unwrap() == bytes_of(name),
            "{name}"
        );
    }
}

#[test]
fn gaps_and_what_others_posted_harm_nothing() {
    let service = Service::with_bots(2);
    let site = Site::new(&service);
    let other_library = "library=00112233445566778899aabbccddeeff home=2000000001";
    for name in NAMES {
        write(&site, name);
        service.skip_ids(HOME, GAP / 2).unwrap();
        // A picture of others, and posts that imitate ours: of another library, and of none.
        for caption in [
            "look, a cat".to_owned(),
            format!(
                "tgfs1 manifest number=2 writer=00112233445566778899aabbccddeeff piece=1/1 {other_library}"
            ),
            "tgfs1 manifest number=x".to_owned(),
        ] {
            service
                .add_foreign_post(HOME, stranger(caption, b"no log"))
                .unwrap();
        }
    }
    let daemon = site.start();
    let before = NAMES.map(|name| identity(&site.file(name)));
    daemon.stop();
    let on_top = service
        .add_foreign_post(HOME, stranger("welcome to this channel".into(), b"x"))
        .unwrap();
    service.pin_post(HOME, on_top).unwrap();

    let other = Site::new(&service);
    let told = other.run(&["recover"]).ok();
    assert!(told.contains("recovered 3 files"), "{told}");
    let daemon = other.start();
    expect_files(&other, &NAMES);
    assert_eq!(NAMES.map(|name| identity(&other.file(name))), before);
    daemon.stop();
    // The library can be written to: it is not taken for that of another writer.
    write(&other, "fourth.bin");
    let third = Site::new(&service);
    let _daemon = third.start();
    expect_files(
        &third,
        &["first.bin", "fourth.bin", "second.bin", "third.bin"],
    );
    // The library's mark was pinned again, and not posted again.
    assert_eq!(service.posts_of(HOME, "library").len(), 1);
    assert_ne!(service.pinned(HOME).unwrap(), Some(on_top));
}

#[test]
fn what_is_lost_is_told_and_the_rest_comes() {
    let service = Service::with_bots(2);
    let logs = library(&service);
    for post in &logs[1] {
        service.delete_post(HOME, *post).unwrap();
    }
    let site = Site::new(&service);
    let told = site.run(&["recover"]).ok();
    assert!(told.contains("recovered 2 files"), "{told}");
    assert!(told.contains("are missing"), "{told}");
    let daemon = site.start();
    expect_files(&site, &["first.bin", "third.bin"]);

    // A deleted pack is reported with the file that needs it.
    let pack = service.posts_of(HOME, "pack")[0].id;
    service.delete_post(HOME, pack).unwrap();
    site.run(&["cache-clear"]).ok();
    let verified = site.run(&["verify"]);
    assert_eq!(verified.status, 1, "{verified:?}");
    assert!(verified.stdout.contains("first.bin: "), "{verified:?}");
    assert!(!verified.stdout.contains("third.bin"), "{verified:?}");
    daemon.stop();
}

#[test]
fn a_log_that_cannot_be_read_is_never_taken_for_an_empty_one() {
    let service = Service::with_bots(2);
    library(&service);
    let log = service.posts_of(HOME, "manifest");
    let unreadable = Injection::on("upload.getFile", Fault::Internal).times(u32::MAX);
    service.inject(unreadable);
    let site = Site::new(&service);
    let mut command = site.mounting();
    let mut daemon = command.spawn().unwrap();
    wait_for("the log is asked for", || {
        service.calls("upload.getFile") > 20
    });
    assert!(fs::create_dir(site.file("new")).is_err());
    assert_ne!(site.standing(), "attached");
    assert_eq!(service.posts_of(HOME, "manifest"), log);
    service.clear_injections();
    wait_for("the library is there", || site.standing() == "attached");
    expect_files(&site, &NAMES);
    assert_eq!(service.posts_of(HOME, "manifest"), log);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

/// Names that do not compress: a snapshot is due after a MiB of them.
fn make_directories(site: &Site, from: u64) {
    for number in from..from + 250 {
        let bytes = noise(240, number).into_iter();
        let name: String = bytes.map(|byte| char::from(b'0' + byte % 75)).collect();
        fs::create_dir(site.file(&name)).unwrap();
    }
}

#[test]
fn the_snapshot_before_a_damaged_one_serves() {
    let service = Service::with_bots(2);
    let site = Site::new(&service);
    let daemon = site.start();
    let mut directories = 0;
    wait_for("there are two snapshots", || {
        make_directories(&site, directories);
        directories += 250;
        service.posts_of(HOME, "snapshot").len() == 2
    });
    site.finish(daemon);
    let newest = service.posts_of(HOME, "snapshot").pop().unwrap().id;
    assert_eq!(service.pinned(HOME).unwrap(), Some(newest));
    service.flip_byte(HOME, newest, 5_000).unwrap();
    let other = Site::new(&service);
    let told = other.run(&["recover"]).ok();
    assert!(told.contains("the one before it is used"), "{told}");
    let recovered = format!("recovered 0 files and {directories} directories");
    assert!(told.contains(&recovered), "{told}");
}
