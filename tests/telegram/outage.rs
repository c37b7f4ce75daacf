//! The service goes away and comes back while the library is in use.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::{Daemon, Site, wait_for};
use crate::material::{need, noise};
use crate::service::{HOME, Service};

const EIO: i32 = 5;
/// `TGFS_READ_DEADLINE` here.
const DEADLINE: Duration = Duration::from_secs(6);

#[test]
fn what_is_here_goes_on_and_the_rest_fails_in_time_until_the_service_is_back() {
    let service = Service::with_bots(2);
    let site = Site::new(&service).with("TGFS_READ_DEADLINE", "6s");
    let read_before = noise(1_400_000, 1);
    let not_read = noise(1_400_000, 2);
    let daemon = site.start();
    fs::create_dir(site.file("folder")).unwrap();
    fs::write(site.file("folder/read.bin"), &read_before).unwrap();
    fs::write(site.file("folder/far.bin"), &not_read).unwrap();
    // A restart empties the caches of files that were written.
    site.finish(daemon);
    let _daemon = site.start();
    assert!(fs::read(site.file("folder/read.bin")).unwrap() == read_before);

    service.goes_away();
    let mut names: Vec<_> = fs::read_dir(site.file("folder"))
        .unwrap()
        .map(|item| item.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["far.bin", "read.bin"]);
    assert_eq!(
        fs::metadata(site.file("folder/far.bin")).unwrap().len(),
        1_400_000
    );
    assert!(fs::read(site.file("folder/read.bin")).unwrap() == read_before);
    // A waiting reader can be killed, and waits at most for the deadline.
    let mut cat = Command::new("cat")
        .arg(site.file("folder/far.bin"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let killed_at = Instant::now();
    cat.kill().unwrap();
    assert_eq!(cat.wait().unwrap().signal(), Some(9));
    assert!(killed_at.elapsed() < DEADLINE / 2, "cat did not go");
    let begun = Instant::now();
    let error = fs::read(site.file("folder/far.bin")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(EIO), "{error}");
    assert!(begun.elapsed() < DEADLINE * 3, "{:?}", begun.elapsed());

    // Copying in goes on, and the copies can be read.
    let written = noise(2_500_000, 3);
    fs::write(site.file("new.bin"), &written).unwrap();
    fs::rename(site.file("folder"), site.file("renamed")).unwrap();
    assert!(fs::read(site.file("new.bin")).unwrap() == written);
    std::thread::sleep(Duration::from_secs(1));
    assert!(site.stat("spool", "bytes only here") >= 2_500_000);
    let posted = service.packs(HOME).len();

    service.comes_back();
    wait_for("the far file is read", || {
        fs::read(site.file("renamed/far.bin")).is_ok_and(|found| found == not_read)
    });
    site.published();
    assert!(service.packs(HOME).len() > posted);
    let other = Site::new(&service);
    let _daemon = other.start();
    assert!(fs::read(other.file("new.bin")).unwrap() == written);
    assert!(fs::read(other.file("renamed/read.bin")).unwrap() == read_before);
}

#[test]
fn what_lies_in_the_disk_cache_is_read_by_a_start_that_does_not_reach_the_service() {
    for passphrase in ["", "correct horse battery"] {
        let service = Service::with_bots(1);
        let site = Site::new(&service)
            .with("TGFS_READ_DEADLINE", "6s")
            .with("TGFS_PASSPHRASE", passphrase)
            .with("CACHE_TYPE", "tiered");
        let bytes = noise(3_000_000, 1);
        let daemon = site.start();
        fs::write(site.file("read.bin"), &bytes).unwrap();
        fs::write(site.file("far.bin"), &bytes).unwrap();
        site.finish(daemon);
        let daemon = site.start();
        // Otherwise the spool of the last run would serve the read.
        wait_for("the spool is empty", || site.stat("spool", "size") == 0);
        assert!(fs::read(site.file("read.bin")).unwrap() == bytes);
        assert!(site.stat("cache", "misses") > 0);
        site.finish(daemon);
        service.goes_away();
        let daemon = Daemon::start(site.mounting()).unwrap();
        assert!(fs::read(site.file("read.bin")).unwrap() == bytes);
        assert_eq!(site.stat("cache", "misses"), 0);
        assert!(site.stat("disk cache", "hits") >= 5);
        assert!(fs::read(site.file("far.bin")).is_err());
        let cleared = site.run(&["cache-clear"]);
        assert_eq!(cleared.status, 0, "{cleared:?}");
        assert_eq!(site.stat("disk cache", "blocks"), 0);
        service.comes_back();
        drop(daemon);
    }
}

#[test]
fn a_scan_and_the_small_views_need_no_service() {
    need("ffmpeg", "ffmpeg");
    let service = Service::with_bots(1);
    let site = Site::new(&service).with("TGFS_READ_DEADLINE", "6s");
    let subtitle = "1\n00:00:01,000 --> 00:00:02,000\nhello\n";
    fs::write(site.outside("sub.srt"), subtitle).unwrap();
    let source = site.outside("film.mkv");
    let pictures = "testsrc2=s=640x360:r=25:d=60";
    let made = Command::new("ffmpeg")
        .args("-nostdin -v error -f lavfi -i".split(' '))
        .arg(pictures)
        .args("-f lavfi -i anoisesrc=d=60:r=44100 -i".split(' '))
        .arg(site.outside("sub.srt"))
        .args(
            "-c:v libx264 -preset ultrafast -b:v 8M -minrate 8M -maxrate 8M -bufsize 2M".split(' '),
        )
        .args(
            "-x264-params nal-hrd=cbr:keyint=50 -c:a aac -b:a 256k -metadata:s:s:0 language=eng"
                .split(' '),
        )
        .arg(&source)
        .status();
    assert!(made.unwrap().success());
    let daemon = site.start();
    fs::copy(&source, site.file("film.mkv")).unwrap();
    site.finish(daemon);

    service.goes_away();
    let _daemon = Daemon::start(site.mounting()).unwrap();
    let probed = Command::new("ffprobe")
        .args(["-v", "error", "-show_streams", "-show_format"])
        .arg(site.file("film.mkv"))
        .output()
        .unwrap();
    assert!(probed.status.success(), "{probed:?}");
    assert!(String::from_utf8_lossy(&probed.stdout).contains("h264"));
    assert_eq!(site.stat("cache", "misses"), 0);
    let hls = site.file(".hls/film.mkv");
    for view in [
        "master.m3u8",
        "video.m3u8",
        "video/init.mp4",
        "sub-1.m3u8",
        "audio-1/00001.m4s",
    ] {
        let read = fs::read(hls.join(view));
        assert!(read.is_ok_and(|bytes| !bytes.is_empty()), "{view}");
    }
    let text = fs::read_to_string(hls.join("eng.srt")).unwrap();
    assert!(text.contains("hello"), "{text}");
    assert!(
        fs::read(site.file("film.mkv")).is_err(),
        "the film itself is away"
    );
}
