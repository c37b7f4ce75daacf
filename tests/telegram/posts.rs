//! Numbers of posts, and the channels that they go to.

use std::fs;
use std::time::Duration;

use telegram_sim::{Bot, Channel, Options, Pace};

use crate::daemon::{Site, wait_for};
use crate::material::noise;
use crate::service::{HOME, Service};

const TWO: Channel = Channel(2);
/// Most posts for [`SMALL_FILES`] files: their packs, the manifests, and the mark of the library.
const FEW: usize = 12;
const SMALL_FILES: u64 = 300;

fn two_channels() -> Service {
    Service::start(Options {
        bots: 4,
        channels: 2,
        pace: Pace::unlimited(),
        ..Options::default()
    })
}

#[test]
fn many_small_files_share_few_posts() {
    let service = Service::start(Options {
        bots: 2,
        ..Options::default()
    });
    let site = Site::new(&service)
        .with("TGFS_PACE", "normal")
        .with("TGFS_PACK_SIZE", "64MiB");
    let _daemon = site.start();
    for number in 0..SMALL_FILES {
        let path = site.file(&format!("{number}.bin"));
        fs::write(path, noise(4096, number)).unwrap();
    }
    site.published();
    let posts = service.posts(HOME).unwrap();
    assert!(posts.len() <= FEW, "{} posts: {posts:?}", posts.len());
    assert_eq!(
        service.all_calls().get("messages.sendMedia"),
        Some(&(posts.len() as u64 - 1))
    );
}

#[test]
fn packs_go_to_both_channels_and_a_bot_that_is_thrown_out_is_missed_by_nobody() {
    let service = two_channels();
    let site = Site::new(&service);
    let daemon = site.start();
    let write = |name: &str, seed| fs::write(site.file(name), noise(6_000_000, seed)).unwrap();
    write("a.bin", 1);
    site.packs_are_out();
    for channel in [HOME, TWO] {
        assert!(
            !service.packs(channel).is_empty(),
            "{channel:?} holds no pack"
        );
    }
    assert!(
        service.posts_of(TWO, "manifest").is_empty(),
        "the log has one home"
    );

    // Bots 1 and 3 are in the first channel.
    service.remove_bot(HOME, Bot(1)).unwrap();
    write("b.bin", 2);
    site.finish(daemon);
    let other = Site::new(&service);
    let _daemon = other.start();
    for (name, seed) in [("a.bin", 1), ("b.bin", 2)] {
        let found = fs::read(other.file(name)).unwrap();
        assert!(found == noise(6_000_000, seed), "{name}");
    }
}

#[test]
fn a_channel_that_is_full_takes_no_more_packs() {
    let service = two_channels();
    let site = Site::new(&service).with("TGFS_ROLLOVER", "20");
    let _daemon = site.start();
    service.skip_ids(HOME, 20).unwrap();
    fs::write(site.file("a.bin"), noise(6_000_000, 1)).unwrap();
    site.packs_are_out();
    let before = service.packs(HOME).len();
    fs::write(site.file("b.bin"), noise(6_000_000, 2)).unwrap();
    site.packs_are_out();
    assert_eq!(
        service.packs(HOME).len(),
        before,
        "a full channel got a pack"
    );
    assert!(service.packs(TWO).len() >= 6);
    // The log stays in the home channel.
    assert!(service.posts_of(TWO, "manifest").is_empty());
    wait_for("a warning when both are full", || {
        service.skip_ids(TWO, 20).unwrap();
        let name = format!("{}.bin", service.last_id(TWO).unwrap());
        fs::write(site.file(&name), noise(1_500_000, 3)).unwrap();
        site.packs_are_out();
        std::thread::sleep(Duration::from_millis(100));
        site.log().contains("make another one")
    });
}
