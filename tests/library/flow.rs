//! Use of a remote that is far away and takes few messages: a directory behind simulated distance,
//! with a clock that leaps over waits.

use std::time::Duration;

use tgfs::remote::testing::{Distance, Fault, Operation};
use tgfs::remote::{RemoteErrorKind, WriteHints};
use tgfs::vfs::{AccessMode, Existing, SetIdBits};

use crate::library::LibrarySettings;
use crate::material::{need, noise};
use crate::test_library::{ALWAYS, TestLibrary, USER, path};

const MIB: usize = 1 << 20;
const MB: u64 = 1_000_000;

/// A channel with some bots, as `remote::WriteHints` describes one.
fn channel(bots: usize) -> LibrarySettings {
    LibrarySettings {
        pack_bytes: 64 << 20,
        read_deadline: Duration::from_secs(30),
        cache_bytes: 256 << 20,
        write_hints: WriteHints {
            parallel_packs: 2 * bots,
            largest_pack: 512 << 20,
            linger: Duration::from_secs(30),
            manifest_interval: Duration::from_secs(15),
        },
        distance: Some(Distance {
            latency: Duration::from_millis(50),
            lanes: 8,
            lane_bytes_per_second: 8 * MB,
            bots,
            bot_bytes_per_second: 8 * MB,
        }),
        ..LibrarySettings::default()
    }
}

#[test]
fn ten_thousand_small_files_are_forty_messages_and_five_minutes() {
    let library = TestLibrary::with_leaping_clock(channel(2));
    let name = |number: u64| format!("posters/{:02}/{number}.jpg", number % 20);
    let begun = library.now();
    let folders: Vec<_> = (0..20)
        .map(|number| path(&format!("posters/{number:02}")))
        .map(|at| library.vfs().make_directories(&at, USER).unwrap())
        .collect();
    let vfs = library.vfs();
    let write = async |number: u64| {
        let (folder, name) = (folders[number as usize % 20], format!("{number}.jpg"));
        let made = vfs.create(folder, name.as_bytes(), 0o644, AccessMode::ReadWrite, USER);
        let (_, opened) = made.unwrap();
        let bytes = noise(4096, number).into();
        vfs.write(opened.handle, 0, bytes, SetIdBits::Keep)
            .await
            .unwrap();
        vfs.flush(opened.handle, USER).await.unwrap();
        vfs.release(opened.handle);
    };
    // As a mount takes files: some at a time, and 500 a second.
    for first in (0..10_000).step_by(20) {
        library.block_on(futures_util::future::join_all(
            (first..first + 20).map(&write),
        ));
        library.pass(Duration::from_millis(40));
    }
    let left = Duration::from_secs(300) - (library.now() - begun);
    library.until_leaping("all is published", left, || {
        library.index().unpublished().unwrap().is_empty()
            && library.vfs().jobs().unwrap().is_empty()
    });
    let traffic = library.traffic();
    assert!(traffic.posts <= 40, "{traffic:?}");
    for number in (0..10_000).step_by(997) {
        assert_eq!(library.state(&name(number)), "stored");
        assert!(library.read(&name(number)).unwrap() == noise(4096, number));
    }
}

#[test]
fn the_packs_of_one_film_are_sent_side_by_side_by_all_bots() {
    let mut settings = channel(8);
    settings.pack_bytes = 4 << 20;
    let library = TestLibrary::with_leaping_clock(settings);
    library.write("film.bin", &noise(160 * MIB, 1)).unwrap();
    let begun = library.now();
    library.until_leaping("it is stored", Duration::from_secs(60), || {
        library.state("film.bin") == "stored"
    });
    // 160 MiB at 64 MB/s are 2.6 s, and 21 s over one bot.
    let took = library.now() - begun;
    assert!(took < Duration::from_secs(10), "{took:?}");
    let traffic = library.traffic();
    assert_eq!((traffic.packs, traffic.packs_at_once), (16, 16));
    assert!(traffic.largest_pack <= 11 << 20, "{traffic:?}");
    assert!(library.read("film.bin").unwrap() == noise(160 * MIB, 1));
}

#[test]
fn many_middling_files_fill_grown_packs_instead_of_a_message_each() {
    let mut settings = channel(2);
    settings.pack_bytes = 8 << 20;
    let library = TestLibrary::with_leaping_clock(settings);
    let away = Fault::Fail(RemoteErrorKind::Unavailable);
    library.remote().inject(Operation::Put, &away, ALWAYS);
    for seed in 0..60 {
        library
            .write(&format!("{seed}.bin"), &noise(5 * MIB, seed))
            .unwrap();
    }
    library.pass(Duration::from_secs(20));
    library.remote().heal();
    library.until_leaping("all is stored", Duration::from_secs(200), || {
        (0..60).all(|seed| library.state(&format!("{seed}.bin")) == "stored")
    });
    let traffic = library.traffic();
    assert!(traffic.largest_pack > 16 << 20, "{traffic:?}");
    for seed in (0..60).step_by(7) {
        assert!(library.read(&format!("{seed}.bin")).unwrap() == noise(5 * MIB, seed));
    }
}

#[test]
fn a_film_that_is_removed_under_way_starts_no_more_packs() {
    let mut settings = channel(1);
    settings.pack_bytes = 4 << 20;
    settings.write_hints.largest_pack = 0;
    let library = TestLibrary::with_leaping_clock(settings);
    library.write("film.bin", &noise(80 * MIB, 1)).unwrap();
    library.until_leaping("some packs are sent", Duration::from_secs(60), || {
        library.traffic().packs > 3
    });
    library.remove("film.bin").unwrap();
    let begun = library.traffic().packs;
    library.pass(Duration::from_secs(60));
    let sent = library.traffic().packs;
    assert!(sent <= begun && sent < 20, "{begun}, then {sent}");
    library.until_leaping("its space is free", Duration::from_secs(60), || {
        library.spool_used() == 0
    });
}

#[test]
fn a_store_that_refuses_is_tried_again_until_it_does_not_and_says_why_meanwhile() {
    for kind in [
        RemoteErrorKind::Unavailable,
        RemoteErrorKind::RateLimited,
        RemoteErrorKind::Denied,
        RemoteErrorKind::Full,
        RemoteErrorKind::Invalid,
        RemoteErrorKind::Corrupt,
    ] {
        let library = TestLibrary::with_leaping_clock(channel(2));
        library
            .remote()
            .inject(Operation::Put, &Fault::Fail(kind), ALWAYS);
        let files = [
            ("small.txt", noise(100, 1)),
            ("film.bin", noise(9 * MIB, 2)),
        ];
        for (name, bytes) in &files {
            library.write(name, bytes).unwrap();
        }
        library.pass(Duration::from_secs(3600));
        for (name, _) in &files {
            let shown = library.info(name).error.unwrap_or_default();
            assert!(shown.contains("injected"), "{kind:?} {name}: {shown}");
        }
        library.remote().heal();
        library.until_leaping("all is stored", Duration::from_secs(200), || {
            files
                .iter()
                .all(|(name, _)| library.state(name) == "stored")
        });
        assert_eq!(library.info("film.bin").error, None);
    }
}

#[test]
fn a_manifest_goes_at_once_and_only_faster_changes_wait() {
    let library = TestLibrary::with_leaping_clock(channel(2));
    library.pass(Duration::from_secs(60));
    library.write("film.bin", &noise(5 * MIB, 1)).unwrap();
    // 5 MiB at 8 MB/s are 0.7 s; the settle time, reading back and the manifest are added.
    library.until_leaping("it is stored", Duration::from_secs(8), || {
        library.state("film.bin") == "stored"
    });
    let before = library.traffic().posts;
    library.block_on(async {
        for number in 0..120 {
            library
                .vfs()
                .make_directories(
                    &crate::test_library::path(&format!("{number}")),
                    crate::test_library::USER,
                )
                .unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let posts = library.traffic().posts - before;
    assert!(
        (7..=10).contains(&posts),
        "{posts} manifests in two minutes"
    );
}

#[test]
fn a_cold_film_is_read_ahead_and_a_scan_of_heads_is_not() {
    let mut library = TestLibrary::with(channel(8));
    let bytes = noise(64 * MIB, 1);
    library.stored("film.bin", &bytes);
    library.settled();
    library.restart();
    let handle = library
        .open("film.bin", AccessMode::Read, Existing::Keep)
        .unwrap();
    let read = |offset: usize, len: usize| {
        let vfs = library.vfs();
        let read = vfs.read(handle, offset as u64, len as u64);
        assert!(library.block_on(read).unwrap()[..] == bytes[offset..offset + len]);
    };
    // The ranges of a file that ffprobe reads.
    for part in 0..8 {
        read(part * 32 * 1024, 32 * 1024);
    }
    read(60 * MIB, 256 * 1024);
    read(30 * MIB, 64 * 1024);
    assert_eq!(library.traffic().gets_ahead, 0);
    for part in 0..32 {
        read(part * MIB, MIB);
    }
    let traffic = library.traffic();
    let waited = traffic.gets - traffic.gets_ahead;
    assert!(traffic.gets_ahead > 40 && waited < 20, "{traffic:?}");
    let stats = library.vfs().cache_stats();
    assert!(
        stats.ahead_used > 40 && stats.ahead_errors == 0,
        "{stats:?}"
    );
    library.vfs().release(handle);
}

#[test]
fn a_player_that_asks_for_one_segment_after_the_other_finds_the_next_ones_there() {
    need("ffmpeg", "ffmpeg");
    let mut settings = channel(8);
    settings.write_hints.linger = Duration::from_millis(100);
    settings.write_hints.manifest_interval = Duration::from_millis(100);
    let mut library = TestLibrary::with(settings);
    library.stored("film.mkv", &long_film());
    library.settled();
    library.restart();
    let segments: Vec<String> = library
        .names(".hls/film.mkv/video")
        .into_iter()
        .filter(|name| name.ends_with(".m4s"))
        .map(|name| format!(".hls/film.mkv/video/{name}"))
        .collect();
    assert!(segments.len() >= 6, "{segments:?}");
    for at in &segments[..4] {
        library.read(at).unwrap();
    }
    std::thread::sleep(Duration::from_secs(2));
    let before = library.traffic();
    library.read(&segments[4]).unwrap();
    let after = library.traffic();
    let waited = |t: &tgfs::remote::testing::Traffic| t.gets - t.gets_ahead;
    assert_eq!(waited(&after), waited(&before), "{before:?} {after:?}");
}

/// Twelve key frames of noise, about 1 MiB each.
fn long_film() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("film.mkv");
    let made = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i"])
        .arg("nullsrc=s=320x180:r=10:d=60,geq=random(1)*255:128:128")
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-qp",
            "8",
            "-g",
            "50",
        ])
        .arg(&out)
        .status()
        .unwrap();
    assert!(made.success());
    std::fs::read(out).unwrap()
}
