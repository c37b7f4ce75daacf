//! Tests with `kill -9` of a daemon that serves a mount, at chosen steps and at random moments. Every byte
//! that was acknowledged to a program before the kill has to be there under every later daemon.
#![allow(clippy::unwrap_used)] // A failed step is a failed test.

mod child;
mod daemon;
#[path = "../mount/material.rs"]
mod material;
mod model;
mod power_cut;
mod promises;
mod sessions;
mod workload;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use daemon::Site;
use material::Random;
use tgfs::failpoint::Step;
use workload::Workload;

/// Daemons that are killed at a random moment, all on one library; `TGFS_CRASH_KILLS` overrides it.
const RANDOM_KILLS: u64 = 30;
/// Passes of each step at which a daemon dies; the first ones belong to the smallest files.
const PASSES: [u32; 3] = [1, 3, 8];
/// Longest time for which the workload writes to a daemon before its step counts as not reached.
const PATIENCE: Duration = Duration::from_secs(8);

/// Returns the steps that every file comes to.
fn steps_of_files() -> impl Iterator<Item = Step> {
    Step::ALL
        .into_iter()
        .filter(|step| *step != Step::ViewsBegun)
}

#[test]
fn nothing_acknowledged_is_lost_when_killed_at_each_step() {
    let site = Site::new();
    let mut workload = Workload::new(7);
    let mut never_reached = Vec::new();
    for step in steps_of_files() {
        for pass in PASSES {
            // The check uses a separate daemon, which is also killed: the one with the plan may reach its
            // step before anything is written.
            let daemon = site.start();
            workload.check(site.mountpoint());
            daemon.kill();
            let Some(daemon) = site.start_to_die(step, pass) else {
                continue;
            };
            let died = workload.write_until_it_dies(&site, &daemon, PATIENCE);
            // The journal of so small a library is trimmed only at the end.
            if !died && !daemon.terminate() {
                never_reached.push(format!("{}:{pass}", step.as_str()));
            }
            daemon.kill();
        }
    }
    let daemon = site.start();
    workload.check(site.mountpoint());
    daemon.stop();
    // Each step has to be reached, because a plan that never fires tests nothing.
    for step in steps_of_files() {
        let first = format!("{}:1", step.as_str());
        assert!(!never_reached.contains(&first), "no life came to {first}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_killed_at_any_moment() {
    let site = Site::new();
    let mut workload = Workload::new(8);
    let mut random = Random(9);
    let kills = std::env::var("TGFS_CRASH_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(RANDOM_KILLS);
    for _ in 0..kills {
        let daemon = site.start();
        workload.check(site.mountpoint());
        let life = Duration::from_millis(random.below(700));
        workload.write_and_kill_after(&site, &daemon, life);
    }
    let daemon = site.start();
    workload.check(site.mountpoint());
    daemon.stop();
}

/// A file that ends the daemon at the first moment of its step is set aside at the third start, film or
/// subtitles, and another file is none the worse for it.
#[test]
fn what_ended_two_daemons_is_set_aside_with_a_reason() {
    let names = ["bad.mkv", "bad.srt"];
    for name in names {
        let site = Site::new();
        let file = site.mountpoint().join(name);
        let daemon = site.start_to_die(Step::ViewsBegun, 1).unwrap();
        fs::write(&file, "1\n00:00:01,000 --> 00:00:02,000\nBoo\n").unwrap();
        wait_until("the first daemon died", || !daemon.is_alive());
        // The second one dies too, maybe before it is ready.
        if let Some(daemon) = site.start_to_die(Step::ViewsBegun, 1) {
            wait_until("the second daemon died", || !daemon.is_alive());
        }
        let daemon = site.start();
        wait_until("it is set aside", || attribute(&file, "state") == "plain");
        let reason = attribute(&file, "error");
        assert!(reason.contains("ended twice"), "{name}: {reason}");
        let good = site.mountpoint().join("good.srt");
        fs::write(&good, "1\n00:00:01,000 --> 00:00:02,000\nHello\n").unwrap();
        wait_until("the next is stored", || {
            attribute(&good, "state") == "stored"
        });
        daemon.stop();
    }
}

/// Returns an attribute of a file in the mount; empty if there is none.
fn attribute(file: &Path, name: &str) -> String {
    let output = Command::new("getfattr")
        .args(["--only-values", "-n", &format!("user.tgfs.{name}")])
        .arg(file)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "not in time: {what}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
