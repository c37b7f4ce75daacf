//! The first seconds of a state that does not know the tree yet.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::client;
use crate::daemon::{Daemon, Site, wait_for};
use crate::service::Service;

const EIO: i32 = 5;

fn is_mounted(mountpoint: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.contains(mountpoint.to_str().unwrap())
}

#[test]
fn the_first_look_and_the_first_copy_wait_until_the_library_is_there() {
    let service = Service::with_bots(1);
    let first = Site::new(&service);
    let daemon = first.start();
    fs::write(first.file("known.bin"), b"known").unwrap();
    first.finish(daemon);
    for name in ["a new library", "a new machine"] {
        let fresh;
        let service = match name {
            "a new library" => {
                fresh = Service::with_bots(1);
                &fresh
            }
            _ => &service,
        };
        let site = Site::new(service);
        service.goes_away();
        std::thread::scope(|scope| {
            let daemon = scope.spawn(|| Daemon::start(site.mounting()).unwrap());
            wait_for("the mount is there", || is_mounted(site.mountpoint()));
            let listed = scope.spawn(|| fs::read_dir(site.mountpoint()).map(Iterator::count));
            let copied = scope.spawn(|| fs::write(site.file("copied.bin"), b"copied"));
            std::thread::sleep(Duration::from_secs(2));
            assert!(!daemon.is_finished(), "{name}: ready too early");
            assert!(!listed.is_finished() && !copied.is_finished(), "{name}");
            service.comes_back();
            copied.join().unwrap().unwrap();
            assert!(listed.join().unwrap().unwrap() > 0, "{name}");
            let daemon = daemon.join().unwrap();
            assert!(!daemon.ready().contains("library="), "{}", daemon.ready());
            assert_eq!(fs::read(site.file("copied.bin")).unwrap(), b"copied");
            site.finish(daemon);
        });
    }
}

#[test]
fn after_the_deadline_a_library_that_is_not_there_is_neither_empty_nor_silent() {
    let service = Service::with_bots(1);
    let site = Site::new(&service)
        .with("TGFS_READ_DEADLINE", "3s")
        .with("TGFS_WRITE_DEADLINE", "4s");
    service.goes_away();
    let daemon = Daemon::start(site.mounting()).unwrap();
    assert!(
        daemon.ready().ends_with("library=loading"),
        "{}",
        daemon.ready()
    );
    let begun = Instant::now();
    let error = fs::read_dir(site.mountpoint()).unwrap().next().unwrap();
    assert_eq!(error.unwrap_err().raw_os_error(), Some(EIO));
    assert!(begun.elapsed() >= Duration::from_secs(3));
    assert!(fs::write(site.file("new.bin"), b"new").is_err());
    // Programs that look at all mounts do not wait.
    let begun = Instant::now();
    assert!(fs::metadata(site.mountpoint()).unwrap().is_dir());
    assert!(begun.elapsed() < Duration::from_secs(3));
    let answer = client::get(
        &daemon,
        "/playlist/local/00000000000000000000000000000000.m3u8",
    );
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());

    service.comes_back();
    wait_for("the library is usable", || {
        fs::write(site.file("new.bin"), b"new").is_ok()
    });
    site.finish(daemon);
}
