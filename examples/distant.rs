//! Benchmark of a store that is far away, through a real mount: the share of the bots' rate that a film
//! reaches when it is copied in, and the share of the lanes' rate when it is read cold. The store is a
//! directory that answers with the given latency and rate.
//! `distant [MIB [BOTS [LANES [MB_PER_S [LATENCY_MS]]]]]`, default 512 8 8 8 50.
#![allow(clippy::unwrap_used)] // A failed step ends the measurement.

#[path = "../tests/mount/harness.rs"]
mod harness;
#[path = "../tests/mount/library.rs"]
mod library;
#[path = "../tests/mount/material.rs"]
mod material;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::TestMount;
use library::LibrarySettings;
use material::noise;
use tgfs::model::WriteMode;
use tgfs::remote::WriteHints;
use tgfs::remote::testing::Distance;

const MIB: u64 = 1 << 20;
/// Bytes that `cat` reads at a time.
const READ: usize = 128 * 1024;
/// Packs of the film: as many as a film of 2 GB has with the pack size of 64 MiB.
const PACKS: u64 = 32;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse().unwrap());
    let mut next = |fallback: u64| numbers.next().unwrap_or(fallback);
    let (mib, bots, lanes) = (next(512), next(8), next(8));
    let (rate, latency) = (next(8) * 1_000_000, Duration::from_millis(next(50)));
    let bots = usize::try_from(bots).unwrap();
    let settings = LibrarySettings {
        spool_bytes: 8 << 30,
        pack_bytes: (mib * MIB / PACKS).max(MIB),
        read_deadline: Duration::from_secs(30),
        cache_bytes: 1 << 30,
        write_hints: WriteHints {
            parallel_packs: 2 * bots,
            largest_pack: 512 * MIB,
            linger: Duration::from_secs(30),
            manifest_interval: Duration::from_secs(15),
        },
        distance: Some(Distance {
            latency,
            lanes: usize::try_from(lanes).unwrap(),
            lane_bytes_per_second: rate,
            bots,
            bot_bytes_per_second: rate,
        }),
        ..LibrarySettings::default()
    };
    let mut mount = TestMount::over(settings, WriteMode::Writable);
    upload(&mount, mib, bots as u64 * rate);
    mount.restart();
    read(&mount, lanes * rate);
    mount.restart();
    seek(&mount);
    mount.restart();
    probe(&mount);
}

fn upload(mount: &TestMount, mib: u64, most: u64) {
    let source = mount.outside.join("film.bin");
    let file = File::create(&source).unwrap();
    let part = noise(16 * MIB as usize, 1);
    for number in 0..mib.div_ceil(16) {
        file.write_all_at(&part, number * 16 * MIB).unwrap();
    }
    let begun = Instant::now();
    fs::copy(&source, mount.path.join("film.bin")).unwrap();
    let copied = begun.elapsed();
    let vfs = mount.vfs();
    let path = tgfs::model::TreePath::parse(b"film.bin").unwrap();
    let id = vfs.resolve(&path).unwrap().id.unwrap();
    while vfs.info(id).unwrap().state.as_str() != "stored" {
        std::thread::sleep(Duration::from_millis(5));
    }
    let stored = begun.elapsed() - copied;
    let traffic = mount.traffic();
    let bytes = mib.div_ceil(16) * 16 * MIB;
    println!(
        "upload: {} packs of at most {} MiB, stored {:.2} s after the copy: {:.1} MB/s, {:.2} of the bots' sum",
        traffic.packs,
        traffic.largest_pack / MIB,
        stored.as_secs_f64(),
        per_second(bytes, stored) / 1e6,
        per_second(bytes, stored) / most as f64,
    );
}

fn read(mount: &TestMount, most: u64) {
    let file = File::open(mount.path.join("film.bin")).unwrap();
    let size = file.metadata().unwrap().len();
    let mut buffer = vec![0; READ];
    let begun = Instant::now();
    let (mut at, mut first) = (0, None);
    let mut seconds = vec![0_u64; 64];
    while at < size {
        let got = file.read_at(&mut buffer, at).unwrap();
        first.get_or_insert(begun.elapsed());
        at += got as u64;
        let second = usize::try_from(begun.elapsed().as_secs()).unwrap();
        if let Some(sum) = seconds.get_mut(second) {
            *sum += got as u64;
        }
    }
    let took = begun.elapsed();
    let whole = usize::try_from(took.as_secs()).unwrap();
    let parts: Vec<String> = seconds[..whole.min(8)]
        .iter()
        .map(|sum| format!("{:.2}", *sum as f64 / most as f64))
        .collect();
    println!(
        "read: first byte after {:.0} ms; of the lanes' sum, second by second: {}; all: {:.2}",
        first.unwrap_or_default().as_secs_f64() * 1e3,
        parts.join(" "),
        per_second(size, took) / most as f64,
    );
    println!("      {:?}", mount.traffic());
}

fn seek(mount: &TestMount) {
    let file = File::open(mount.path.join("film.bin")).unwrap();
    let size = file.metadata().unwrap().len();
    let mut buffer = vec![0; READ];
    let mut times: Vec<f64> = (0..20)
        .map(|number| {
            // A player reads on for a while and then seeks.
            let from = size / 20 * ((number * 7) % 20);
            let begun = Instant::now();
            file.read_at(&mut buffer, from).unwrap();
            let took = begun.elapsed().as_secs_f64() * 1e3;
            for part in 1..24 {
                file.read_at(&mut buffer, from + part * READ as u64)
                    .unwrap();
            }
            took
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "seek while it is read ahead: first byte after {:.0} ms (median of 20), {:.0} ms (most)",
        times[10], times[19]
    );
}

fn probe(mount: &TestMount) {
    let before = mount.traffic();
    let path: &Path = &mount.path.join("film.bin");
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let mut buffer = vec![0; 32 * 1024];
    for at in (0..8)
        .map(|part| part * 32 * 1024)
        .chain([size - 65536, size / 2])
    {
        file.read_at(&mut buffer, at).unwrap();
    }
    std::thread::sleep(Duration::from_millis(500));
    let after = mount.traffic();
    println!(
        "a look at head and tail: {} blocks waited for, {} ahead",
        after.gets - after.gets_ahead - before.gets,
        after.gets_ahead - before.gets_ahead,
    );
}

fn per_second(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64()
}
