//! Tests with `kill -9` of a daemon that serves a mount, at chosen steps and at random moments. Every byte
//! that was acknowledged to a program before the kill has to be there under every later daemon.
#![allow(clippy::unwrap_used)] // A failed step is a failed test.

mod child;
mod daemon;
#[path = "../mount/material.rs"]
mod material;
mod workload;

use std::time::Duration;

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

#[test]
fn nothing_acknowledged_is_lost_when_killed_at_each_step() {
    let site = Site::new();
    let mut workload = Workload::new(7);
    let mut never_reached = Vec::new();
    for step in Step::ALL {
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
    for step in Step::ALL {
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
