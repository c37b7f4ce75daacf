//! Tests of ffprobe on stored films: the blocks that it reads are pinned, so that it costs the store nothing.

use std::time::Duration;

use tgfs::model::WriteMode;
use tgfs::remote::testing::Distance;

use crate::harness::TestMount;
use crate::library::LibrarySettings;
use crate::material::need;

/// Script that makes a film of 20 s at 10 Mbit/s with two audio tracks and a subtitle, in each container.
const FILMS: &str = r#"
ffmpeg -nostdin -v error -f lavfi -i testsrc2=s=1280x720:r=25:d=20 -f lavfi -i sine=d=20 -f lavfi -i sine=f=300:d=20 \
    -map 0 -map 1 -map 2 -c:v libx264 -preset ultrafast -b:v 10M -minrate 10M -maxrate 10M -bufsize 2M \
    -x264-params nal-hrd=cbr:keyint=50 -c:a aac "$OUT/source.mkv"
printf '1\n00:00:01,000 --> 00:00:02,000\nhello\n' > "$OUT/sub.srt"
ffmpeg -nostdin -v error -i "$OUT/source.mkv" -i "$OUT/sub.srt" -map 0 -map 1 -c copy "$OUT/film.mkv"
cd "$OUT"
for how in end.mp4:+disable_chpl fast.mp4:+faststart fragmented.mp4:+frag_keyframe+empty_moov; do
    ffmpeg -nostdin -v error -i source.mkv -map 0 -c copy -movflags "${how#*:}" "${how%%:*}"
done
ffmpeg -nostdin -v error -i source.mkv -map 0 -c copy film.ts
ffmpeg -nostdin -v error -i source.mkv -map 0 -c copy -bsf:v h264_mp4toannexb film.avi
"#;

const NAMES: [&str; 5] = ["film.mkv", "end.mp4", "fast.mp4", "film.ts", "film.avi"];
const FRAGMENTED: &str = "fragmented.mp4";

fn settings() -> LibrarySettings {
    let distance = Distance {
        latency: Duration::from_millis(1),
        lanes: 4,
        lane_bytes_per_second: 200_000_000,
        bots: 2,
        bot_bytes_per_second: 400_000_000,
    };
    LibrarySettings {
        distance: Some(distance),
        pack_bytes: 8 << 20,
        cache_bytes: 64 << 20,
        pinned_bytes: 256 << 20,
        ..LibrarySettings::default()
    }
}

/// Runs ffprobe and returns the bytes that it reads from the store.
fn probe(test: &TestMount, name: &str) -> u64 {
    let before = test.traffic().got_bytes;
    let shown = test.run(&format!(
        "ffprobe -v error -show_format -show_streams -show_chapters -of json {name}"
    ));
    assert!(shown.contains("h264"), "{name}: {shown}");
    test.traffic().got_bytes - before
}

#[test]
fn a_scan_of_stored_films_costs_the_store_nothing() {
    need("ffprobe", "ffmpeg");
    need("getfattr", "attr");
    let mut test = TestMount::over(settings(), WriteMode::Writable);
    test.run(FILMS);
    let all = NAMES.into_iter().chain([FRAGMENTED]);
    for name in all.clone() {
        test.run(&format!(r#"cp "$OUT/{name}" ."#));
    }
    for name in all {
        test.wait_for_state(name, &["stored"]);
    }
    test.restart();
    for name in NAMES {
        assert_eq!(probe(&test, name), 0, "{name}");
    }
    // This file has no table, so ffprobe looks at each of its fragments. The second look costs nothing.
    assert!(probe(&test, FRAGMENTED) > 0);
    let stats = test.cache_stats();
    assert!(stats.pinned.hits > 0);
    assert!(
        stats.pinned.bytes <= 6 * (10 << 20),
        "{}",
        stats.pinned.bytes
    );
    // A player opens the file and seeks once. Only the frames come from the store.
    test.run("ffmpeg -nostdin -v error -ss 15 -i film.mkv -frames:v 1 -f null -");
    test.run(r#"cmp "$OUT/film.mkv" film.mkv; cmp "$OUT/film.ts" film.ts"#);
    test.restart();
    assert_eq!(probe(&test, FRAGMENTED), 0);
}

#[test]
fn on_a_new_machine_the_first_look_is_short_and_pinned() {
    need("ffprobe", "ffmpeg");
    need("getfattr", "attr");
    let mut test = TestMount::over(settings(), WriteMode::Writable);
    test.run(FILMS);
    let names = ["film.mkv", "end.mp4", "fast.mp4"];
    for name in names {
        test.run(&format!(r#"cp "$OUT/{name}" ."#));
    }
    for name in names {
        test.wait_for_state(name, &["stored"]);
    }
    test.restart_after(|state| std::fs::remove_dir_all(state.join("pinned")).unwrap());
    for name in names {
        let bytes = probe(&test, name);
        assert!(bytes > 0 && bytes <= 2 << 20, "{name}: {bytes} bytes");
    }
    test.restart();
    for name in names {
        assert_eq!(probe(&test, name), 0, "{name}");
    }
    // A reader that reads on is not a scan: none of its blocks are pinned.
    let before = test.cache_stats().pinned.bytes;
    test.run("cat film.mkv > /dev/null");
    test.restart();
    assert!(test.cache_stats().pinned.bytes <= before);
}
