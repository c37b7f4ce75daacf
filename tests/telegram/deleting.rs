//! Deletion of posts that nothing needs any more.

use std::fs;
use std::time::Duration;

use crate::daemon::{Site, wait_for};
use crate::material::noise;
use crate::service::{HOME, Service};

/// A bot deletes posts that are younger than 48 hours.
const TOO_LATE: Duration = Duration::from_secs(49 * 60 * 60);
const KEPT: &str = "kept.bin";

/// Writes two files and removes one. Returns how many packs that one had. Each change is published by a
/// daemon of its own.
fn remove_one(site: &Site, service: &Service, meanwhile: impl FnOnce()) -> usize {
    let daemon = site.start();
    fs::write(site.file(KEPT), noise(1_100_000, 1)).unwrap();
    site.packs_are_out();
    let kept = service.packs(HOME).len();
    fs::write(site.file("gone.bin"), noise(4_300_000, 2)).unwrap();
    site.finish(daemon);
    let gone = service.packs(HOME).len() - kept;
    assert!(gone >= 2, "{gone}");
    meanwhile();
    let daemon = site.start();
    fs::remove_file(site.file("gone.bin")).unwrap();
    site.finish(daemon);
    gone
}

fn expect_kept(service: &Service) {
    let other = Site::new(service);
    let _daemon = other.start();
    assert!(!other.file("gone.bin").exists());
    assert!(fs::read(other.file(KEPT)).unwrap() == noise(1_100_000, 1));
    other.run(&["verify", "--deep"]).ok();
}

#[test]
fn what_is_removed_goes_from_the_channel() {
    let service = Service::with_bots(2);
    let site = Site::new(&service).with("TGFS_KEEP_DELETED", "0");
    remove_one(&site, &service, || {});
    let daemon = site.start();
    wait_for("the posts go", || {
        site.run(&["cleanup", "--hours", "0"]).ok();
        service.packs(HOME).len() == 1
    });
    assert_eq!(site.stat("remote", "undeletable packs"), 0);
    daemon.stop();
    expect_kept(&service);
}

#[test]
fn what_is_too_old_stays_and_is_counted() {
    let service = Service::with_bots(2);
    let site = Site::new(&service).with("TGFS_KEEP_DELETED", "0");
    let age = || service.set_clock_offset(TOO_LATE);
    let gone = remove_one(&site, &service, age);
    let daemon = site.start();
    let before = service.packs(HOME);
    wait_for("all are counted", || {
        site.run(&["cleanup", "--hours", "0"]).ok();
        site.stat("remote", "undeletable packs") == gone as u64
    });
    assert_eq!(service.packs(HOME), before);
    daemon.stop();
    expect_kept(&service);
}

#[test]
fn what_is_too_old_is_blanked_where_that_is_wanted() {
    let service = Service::with_bots(2);
    let site = Site::new(&service)
        .with("TGFS_KEEP_DELETED", "0")
        .with("TGFS_TOMBSTONE", "on");
    let age = || service.set_clock_offset(TOO_LATE);
    let gone = remove_one(&site, &service, age);
    let daemon = site.start();
    let packs = service.packs(HOME).len();
    wait_for("one is blanked", || {
        site.run(&["cleanup", "--hours", "0"]).ok();
        !service.posts_of(HOME, "deleted").is_empty()
    });
    // Edits are limited to one a minute.
    site.run(&["cleanup", "--hours", "0"]).ok();
    let blanked = service.posts_of(HOME, "deleted");
    assert_eq!(blanked.len(), 1);
    assert_eq!(service.packs(HOME).len(), packs - 1);
    assert!(gone > 1);
    let left = service.document_bytes(HOME, blanked[0].id).unwrap();
    assert_eq!(left, b"tgfs: deleted");
    daemon.stop();
    expect_kept(&service);
}
