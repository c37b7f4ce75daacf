//! A faulty service: no byte is lost or wrong, and no upload fails.

use std::fs;
use std::time::Duration;

use telegram_sim::Bot;

use crate::daemon::{Site, wait_for};
use crate::material::{Random, noise};
use crate::service::{HOME, Service};

const FILES: u64 = 20;
const BAD_DAY: &str = "flood=5%:1,drop=3%,expire=5%,stall=1%";

fn bytes_of(file: u64) -> Vec<u8> {
    let len = Random(file).below(2_500_000);
    noise(usize::try_from(len).unwrap(), file)
}

#[test]
fn floods_drops_stale_references_and_stalls_lose_nothing() {
    let service = Service::with_bots(4);
    let site = Site::new(&service);
    service.set_faults(BAD_DAY.parse().unwrap());
    let daemon = site.start();
    for file in 0..FILES {
        fs::write(site.file(&format!("{file}.bin")), bytes_of(file)).unwrap();
    }
    site.finish(daemon);
    // Cold caches: another machine, with only the settings.
    let other = Site::new(&service);
    let _daemon = other.start();
    for file in 0..FILES {
        let found = fs::read(other.file(&format!("{file}.bin"))).unwrap();
        assert!(found == bytes_of(file), "{file}.bin");
    }
    let listed = other.run(&["list", "--json"]).json();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len() as u64, FILES);
    for file in listed {
        assert_eq!(file["state"], "stored", "{file}");
    }
}

#[test]
fn a_bot_that_loses_its_place_is_told_once_and_again_when_it_is_back() {
    let service = Service::with_bots(2);
    let site = Site::new(&service);
    let daemon = site.start();
    let told = |words: &str| {
        let log = site.log();
        let lines = log.lines().filter(|line| line.contains(words));
        lines.count()
    };
    let (lost, back) = ("bot 2 cannot work in channel", "bot 2 works in channel");
    let shown = || site.run(&["status"]).stdout.contains(lost);
    fs::write(site.file("first.bin"), noise(100_000, 1)).unwrap();
    site.settled();
    assert!(!shown());

    service.remove_bot(HOME, Bot(2)).unwrap();
    let mut files = 0;
    wait_for("the lost place is shown", || {
        files += 1;
        fs::write(site.file(&format!("{files}.bin")), noise(10_000, files)).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        shown()
    });
    site.settled();
    service.add_bot(HOME, Bot(2)).unwrap();
    wait_for("the return is noticed", || !shown());
    assert_eq!((told(lost), told(back)), (1, 1), "{}", site.log());
    site.finish(daemon);
}

/// A clock that is set right or wrong while the daemon runs, or was wrong before it started.
#[test]
fn a_clock_that_is_ahead_of_the_service_stops_nothing() {
    const HOUR: Duration = Duration::from_secs(3600);
    let service = Service::with_bots(2);
    let site = Site::new(&service);
    let mut daemon = site.start();
    for (number, hours_ahead) in [0, 1, 0, 720].into_iter().enumerate() {
        service.set_message_clock_lag(HOUR * hours_ahead);
        if number == 3 {
            site.finish(daemon);
            daemon = site.start();
        }
        let name = site.file(&format!("{number}.bin"));
        fs::write(name, noise(700_000, number as u64)).unwrap();
        site.settled();
    }
    site.finish(daemon);
    service.set_message_clock_lag(Duration::ZERO);
    let other = Site::new(&service);
    let _daemon = other.start();
    for number in 0..4 {
        let found = fs::read(other.file(&format!("{number}.bin"))).unwrap();
        assert!(found == noise(700_000, number), "{number}.bin");
    }
}
