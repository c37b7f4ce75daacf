//! Tests with a film of 50 GiB, which has offsets above 32 bits in all parts. The film is sparse and is
//! copied as `cp` copies sparse files, so it takes no more room than its data.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::harness::TestMount;
use crate::material::need;

/// Distance in bytes from one pair of fragment and data to the next.
const STEP: u64 = 128 << 20;
const FRAGMENTS: u64 = 400;
/// Duration of a fragment.
const SECONDS: u64 = 2;

fn box_head(bytes: &[u8]) -> (usize, &[u8]) {
    let size = u32::from_be_bytes(bytes[..4].try_into().unwrap());
    (size as usize, &bytes[4..8])
}

/// Rewrites a fragmented MP4 with room between its fragments: the data of fragment n is n steps from the
/// beginning. The room between two fragments is one box that all readers skip.
fn stretch(film: &Path, to: &Path) {
    let bytes = std::fs::read(film).unwrap();
    let out = File::create(to).unwrap();
    let (mut at, mut end, mut number) = (0, 0, 0);
    while at < bytes.len() {
        let (size, kind) = box_head(&bytes[at..]);
        let whole = &bytes[at..at + size];
        if kind == b"moof" {
            number += 1;
            let start = number * STEP - size as u64;
            let mut free = 1_u32.to_be_bytes().to_vec();
            free.extend_from_slice(b"free");
            free.extend_from_slice(&(start - end).to_be_bytes());
            out.write_all_at(&free, end).unwrap();
            end = start;
        }
        out.write_all_at(whole, end).unwrap();
        end += size as u64;
        at += size;
    }
    assert_eq!(number, FRAGMENTS);
}

#[test]
fn a_film_of_50_gib_plays_at_its_start_and_its_end() {
    need("ffmpeg", "ffmpeg");
    need("getfattr", "attr");
    let test = TestMount::with_spool(64 << 30);
    let length = FRAGMENTS * SECONDS;
    test.run(&format!(
        r#"cd "$OUT"
        ffmpeg -nostdin -v error -f lavfi -i testsrc2=s=320x180:r=25:d=10 -f lavfi -i sine=d=10 -c:v libx264 -preset superfast -bf 2 -g 50 -keyint_min 50 -sc_threshold 0 -c:a aac clip.mkv
        ffmpeg -nostdin -v error -stream_loop -1 -i clip.mkv -t {length} -c copy -movflags +frag_keyframe+empty_moov+default_base_moof short.mp4"#
    ));
    let outside = test.run(r#"echo "$OUT""#);
    let outside = Path::new(&outside);
    let film = outside.join("film.mp4");
    stretch(&outside.join("short.mp4"), &film);
    assert!(film.metadata().unwrap().len() > 50 << 30);
    test.run(r#"cp --sparse=always "$OUT/film.mp4" film.mp4"#);
    test.wait_for_state("film.mp4", &["stored"]);
    let hls = ".hls/film.mp4";
    test.run(&format!(
        "for i in $(seq 300); do test -e {hls}/master.m3u8 && break; sleep 0.1; done; test -e {hls}/master.m3u8"
    ));
    let segments = test.run(&format!("ls {hls}/video | grep -c m4s"));
    let segments: u64 = segments.parse().unwrap();
    assert!(segments >= length / 8, "{segments} segments");
    // Decodes twenty pictures. Behind a seek this ffmpeg finds them in MPEG-TS only.
    let pictures = |from: u64, input: &str| {
        let seek = match from {
            0 => String::new(),
            from => format!("-ss {from}.02"),
        };
        test.run(&format!(
            "ffmpeg -nostdin -v error {seek} -i {input} -vsync 0 -frames:v 20 -map 0:v -f framemd5 - | grep '^0,' | cut -d, -f6"
        ))
    };
    let end = length - SECONDS - 2;
    for (from, playlist) in [
        (0, "master.m3u8"),
        (0, "ts/master.m3u8"),
        (end, "ts/master.m3u8"),
    ] {
        let found = pictures(from, &format!("{hls}/{playlist}"));
        assert_eq!(found.lines().count(), 20, "{playlist} from {from}");
        let expected = pictures(from, r#""$OUT/short.mp4""#);
        assert_eq!(found, expected, "{playlist} from {from}");
    }
    // The last segment is at an offset above 32 bits; its bytes come from there.
    test.run(&format!(
        r#"cat {hls}/video/init.mp4 {hls}/video/$(printf %05d {segments}).m4s > "$OUT/last.mp4"
        test "$(ffmpeg -nostdin -v error -i "$OUT/last.mp4" -f framemd5 - | grep -c '^0,')" -ge 25"#
    ));
    test.run(
        r#"test "$(stat -c %s film.mp4)" = "$(stat -c %s "$OUT/film.mp4")"
        for end in head tail; do cmp <($end -c 200M film.mp4) <($end -c 200M "$OUT/film.mp4"); done"#,
    );
}
