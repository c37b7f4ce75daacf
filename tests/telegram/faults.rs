//! A faulty service: no byte is lost or wrong, and no upload fails.

use std::fs;

use crate::daemon::Site;
use crate::material::{Random, noise};
use crate::service::Service;

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
