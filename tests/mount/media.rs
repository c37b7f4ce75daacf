//! Tests of ffmpeg writing into the mount and reading from it.

use crate::harness::TestMount;
use crate::material::need;

const SOURCE: &str = "ffmpeg -nostdin -v error -f lavfi -i testsrc2=s=320x180:r=25:d=4 -f lavfi -i sine=d=4 -c:v libx264 -preset ultrafast -g 25 -c:a aac";

fn mount() -> TestMount {
    need("ffmpeg", "ffmpeg");
    let test = TestMount::new();
    test.run(&format!(r#"{SOURCE} "$OUT/source.mkv""#));
    test
}

/// Shell function that checks that files have the same packets, by ffmpeg's own digests.
const SAME_PACKETS: &str = r#"
same() { for f in "$@"; do ffmpeg -nostdin -v error -i "$f" -map 0 -c copy -f streamhash -; done | sort | uniq -c | awk -v n=$# '$1 != n { bad = 1 } END { exit bad }'; }
"#;

#[test]
fn ffmpeg_writes_mp4_and_goes_back_to_patch_it() {
    let test = mount();
    test.run(&format!(
        r#"{SAME_PACKETS}
        ffmpeg -nostdin -v error -i "$OUT/source.mkv" -c copy plain.mp4
        ffmpeg -nostdin -v error -i "$OUT/source.mkv" -c copy -movflags +faststart fast.mp4
        ffmpeg -nostdin -v error -i "$OUT/source.mkv" -c copy "$OUT/reference.mp4"
        cmp plain.mp4 "$OUT/reference.mp4"; same plain.mp4 fast.mp4"#
    ));
}

#[test]
fn ffmpeg_writes_matroska() {
    let test = mount();
    test.run(
        r#"ffmpeg -nostdin -v error -i "$OUT/source.mkv" -c copy -fflags +bitexact film.mkv
        ffmpeg -nostdin -v error -i "$OUT/source.mkv" -c copy -fflags +bitexact "$OUT/reference.mkv"
        cmp film.mkv "$OUT/reference.mkv""#,
    );
}

#[test]
fn the_hls_muxer_replaces_its_playlist_by_renames() {
    let test = mount();
    test.run(
        r#"ffmpeg -nostdin -v error -i "$OUT/source.mkv" -c copy -f hls -hls_time 1 -hls_list_size 0 out.m3u8
        test "$(grep -c '^out.*ts$' out.m3u8)" = "$(ls out*.ts | wc -l)"; test "$(ls | grep -c tmp)" = 0"#,
    );
}

#[test]
fn a_stored_film_is_the_file_that_was_copied() {
    need("getfattr", "attr");
    let mut test = mount();
    test.run(r#"mkdir Film; cp "$OUT/source.mkv" Film/film.mkv"#);
    test.wait_for_state("Film/film.mkv", &["stored"]);
    test.run(r#"cmp "$OUT/source.mkv" Film/film.mkv"#);
    test.restart();
    test.run(&format!(
        r#"{SAME_PACKETS} cmp "$OUT/source.mkv" Film/film.mkv; same "$OUT/source.mkv" Film/film.mkv
        ffmpeg -nostdin -v error -ss 2 -i Film/film.mkv -frames:v 1 -f null -"#
    ));
}

#[test]
fn segments_of_a_transport_stream_are_ranges_of_it() {
    need("getfattr", "attr");
    let test = mount();
    test.run(r#"ffmpeg -nostdin -v error -i "$OUT/source.mkv" -c copy "$OUT/source.ts"; cp "$OUT/source.ts" film.ts"#);
    test.wait_for_state("film.ts", &["stored"]);
    let wait = "for i in $(seq 300); do test -e .hls/film.ts/master.m3u8 && break; sleep 0.1; done";
    test.run(&format!(
        r#"{SAME_PACKETS} {wait}
        cd .hls/film.ts
        for form in . ts; do
            for part in $(grep -v '^#' $form/video.m3u8); do tail -c +377 $form/$part; done | cmp - "$OUT/source.ts"
            test "$(stat -c %s $form/video/00001.ts)" = "$(wc -c < $form/video/00001.ts)"
            same "$OUT/source.ts" $form/master.m3u8
        done
        ! test -e video/init.mp4"#
    ));
}

#[test]
fn views_lie_beside_the_tree_and_go_with_their_file() {
    need("getfattr", "attr");
    let test = mount();
    test.run(r#"mkdir Film; cp "$OUT/source.mkv" Film/film.mkv"#);
    test.wait_for_state("Film/film.mkv", &["stored"]);
    let hls = ".hls/Film/film.mkv";
    let wait =
        format!("for i in $(seq 300); do test -e {hls}/master.m3u8 && break; sleep 0.1; done");
    test.run(&format!(
        r#"{wait}
        grep -q EXTM3U {hls}/master.m3u8; grep -q EXTINF {hls}/video.m3u8
        test "$(stat -c %s {hls}/video/init.mp4)" = "$(wc -c < {hls}/video/init.mp4)"
        test "$(stat -c %b {hls}/video/init.mp4)" = 0
        ! touch {hls}/x 2> /dev/null; ! rm -f {hls}/master.m3u8 2> /dev/null; ! mkdir .hls/y 2> /dev/null
        ffmpeg -nostdin -v error -i {hls}/master.m3u8 -map 0:v:0 -c copy -f framehash - | grep -v '^#' | wc -l > "$OUT/frames"
        test "$(cat "$OUT/frames")" = 100
        mv Film Other; test -e .hls/Other/film.mkv/master.m3u8; ! test -e {hls}
        rm Other/film.mkv; ! test -e .hls/Other/film.mkv; rmdir Other"#
    ));
    let denied = test.sh("mkdir .hls/y");
    assert!(
        String::from_utf8_lossy(&denied.stderr).contains("Read-only"),
        "{}",
        crate::material::said(&denied)
    );
}
