//! `kill -9` while packs are uploaded: no byte is lost, and no pack stays in the channel twice.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::time::Duration;

use telegram_sim::Shape;
use tgfs::failpoint::Step;

use crate::daemon::{Site, wait_for};
use crate::material::{Random, noise};
use crate::service::{HOME, Service};
use crate::workload::Workload;

/// Daemons that are killed in the middle of an upload; `TGFS_CRASH_KILLS` changes the number.
const KILLS: u64 = 12;
/// Failpoints around calls of the service; tests/crash has the others.
const STEPS: [Step; 3] = [Step::PackPut, Step::PackNamed, Step::ManifestPut];
/// Milliseconds from the appearance of a pack in the channel to the kill. A call takes [`LATENCY`], so
/// that some kills come before the answer.
const KILL_WITHIN: u64 = 400;
const LATENCY: Duration = Duration::from_millis(60);

fn kills() -> u64 {
    let wanted = std::env::var("TGFS_CRASH_KILLS").ok();
    wanted
        .and_then(|number| number.parse().ok())
        .unwrap_or(KILLS)
}

/// Retries failed jobs: a file that was synchronized and not closed is kept, and waits for that.
fn retry_interrupted(site: &Site) {
    let status = site.run(&["status", "--json"]).json();
    for job in status["jobs"].as_array().unwrap() {
        if job["state"] == "failed" {
            site.run(&["retry", job["path"].as_str().unwrap()]).ok();
        }
    }
}

/// Checks, after everything was sent and cleaned up, that the channel holds exactly the packs that the
/// index names, each once.
fn expect_nothing_twice(site: &Site, service: &Service) {
    wait_for("each pack in the channel is needed", || {
        site.run(&["cleanup", "--hours", "0"]).ok();
        let verified = site.run(&["verify", "--json"]).json();
        let verified = verified.as_array().unwrap().last().unwrap().clone();
        assert_eq!(verified["findings"], 0, "{verified}");
        let posted = service.packs(HOME);
        let once: BTreeSet<_> = posted.iter().collect();
        verified["packs"] == posted.len() && once.len() == posted.len()
    });
}

#[test]
fn nothing_is_lost_or_stored_twice_when_killed_in_mid_upload() {
    let service = Service::with_bots(3);
    service.set_shape(Shape {
        latency: LATENCY,
        ..Shape::default()
    });
    let site = Site::new(&service).with("TGFS_KEEP_DELETED", "0");
    let mut random = Random(11);
    let name = |life: u64| format!("{life}.bin");
    let bytes = |life: u64| noise(4_300_000, life);
    for life in 0..kills() {
        let daemon = site.start();
        for earlier in life.saturating_sub(3)..life {
            let found = fs::read(site.file(&name(earlier))).unwrap();
            assert!(found == bytes(earlier), "{}", name(earlier));
        }
        let before = service.last_id(HOME).unwrap();
        let mut file = fs::File::create_new(site.file(&name(life))).unwrap();
        file.write_all(&bytes(life)).unwrap();
        file.sync_all().unwrap();
        drop(file);
        wait_for("a pack appears", || {
            let packs = service.posts_of(HOME, "pack");
            packs.iter().any(|post| post.id > before)
        });
        std::thread::sleep(Duration::from_millis(random.below(KILL_WITHIN)));
        daemon.kill();
    }
    let daemon = site.start();
    site.finish(daemon);
    let daemon = site.start();
    expect_nothing_twice(&site, &service);
    daemon.stop();
    // A machine that has only the channel.
    let other = Site::new(&service);
    let _daemon = other.start();
    for life in 0..kills() {
        let found = fs::read(other.file(&name(life))).unwrap();
        assert!(found == bytes(life), "{}", name(life));
    }
}

#[test]
fn nothing_is_lost_or_stored_twice_when_killed_at_a_step() {
    let service = Service::with_bots(2);
    let site = Site::new(&service).with("TGFS_KEEP_DELETED", "0");
    let mut workload = Workload::new(12);
    for step in STEPS {
        for pass in [1, 2] {
            let daemon = site.start();
            workload.check(site.mountpoint());
            daemon.kill();
            let patience = Duration::from_secs(30);
            let died = site
                .start_to_die(step, pass)
                .is_none_or(|daemon| workload.write_until_it_dies(&site, &daemon, patience));
            assert!(died, "no life came to {}:{pass}", step.as_str());
        }
    }
    let daemon = site.start();
    workload.check(site.mountpoint());
    retry_interrupted(&site);
    site.finish(daemon);
    let daemon = site.start();
    expect_nothing_twice(&site, &service);
    workload.check(site.mountpoint());
    daemon.stop();
}
