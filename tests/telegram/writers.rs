//! Two machines that write to one library.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::daemon::{Site, wait_for};
use crate::material::noise;
use crate::service::{HOME, Service};

fn expect_file(site: &Site, name: &str) {
    assert!(
        fs::read(site.file(name)).unwrap() == bytes_of(name),
        "{name}"
    );
}

fn bytes_of(name: &str) -> Vec<u8> {
    noise(1_200_000, name.len() as u64)
}

fn write(site: &Site, name: &str) {
    fs::write(site.file(name), bytes_of(name)).unwrap();
}

fn expect_refused(site: &Site) {
    wait_for("the other writer is noticed", || {
        site.standing() == "refused"
    });
    let status = site.run(&["status"]).ok();
    assert!(status.contains("recover --take-over"), "{status}");
    assert!(fs::create_dir(site.file("more")).is_err());
}

#[test]
fn of_two_daemons_one_stops_and_loses_nothing_and_may_take_over() {
    let service = Service::with_bots(2);
    let one = Site::new(&service);
    let daemon = one.start();
    write(&one, "a.bin");
    one.finish(daemon);
    let first = one.start();
    let two = Site::new(&service);
    let second = two.start();
    expect_file(&two, "a.bin");
    write(&two, "bb.bin");
    two.settled();

    // The next write of the first machine meets the writes of the second.
    write(&one, "ccc.bin");
    expect_refused(&one);
    expect_file(&one, "a.bin");
    expect_file(&one, "ccc.bin");
    first.stop();
    let taken = one.run(&["recover", "--take-over"]).ok();
    assert!(
        taken.contains("recovered 3 files and 0 directories"),
        "{taken}"
    );
    let first = one.start();
    for name in ["a.bin", "bb.bin", "ccc.bin"] {
        expect_file(&one, name);
    }
    one.settled();

    // Now the second machine is refused, and keeps the files that it accepted.
    write(&two, "dddd.bin");
    expect_refused(&two);
    expect_file(&two, "dddd.bin");
    assert_eq!(one.standing(), "attached");
    write(&one, "eeeee.bin");
    one.settled();
    assert_eq!(one.standing(), "attached");
    first.stop();
    second.stop();
    let third = Site::new(&service);
    let _daemon = third.start();
    for name in ["a.bin", "bb.bin", "ccc.bin", "eeeee.bin"] {
        expect_file(&third, name);
    }
}

#[test]
fn a_restored_copy_of_an_older_state_writes_nothing() {
    let service = Service::with_bots(2);
    let site = Site::new(&service);
    let daemon = site.start();
    write(&site, "a.bin");
    site.finish(daemon);
    let old = site.keep_state();
    let daemon = site.start();
    write(&site, "bb.bin");
    fs::remove_file(site.file("a.bin")).unwrap();
    let inode = fs::metadata(site.file("bb.bin")).unwrap().ino();
    site.finish(daemon);
    let posts = service.posts(HOME).unwrap();

    site.restore_state(&old);
    let ended = site.mounting().status().unwrap();
    assert_eq!(ended.code(), Some(1), "{}", site.log());
    assert!(site.log().contains("recover --take-over"), "{}", site.log());
    let refused = site.run(&["upload", "/proc/self/status"]);
    assert_eq!(refused.status, 1, "{refused:?}");
    assert_eq!(service.posts(HOME).unwrap(), posts);

    let taken = site.run(&["recover", "--take-over"]).ok();
    assert!(taken.contains("recovered 1 file"), "{taken}");
    let daemon = site.start();
    expect_file(&site, "bb.bin");
    assert!(!site.file("a.bin").exists());
    assert_eq!(fs::metadata(site.file("bb.bin")).unwrap().ino(), inode);
    write(&site, "ccc.bin");
    site.finish(daemon);
    let other = Site::new(&service);
    let _daemon = other.start();
    expect_file(&other, "bb.bin");
    expect_file(&other, "ccc.bin");
}
