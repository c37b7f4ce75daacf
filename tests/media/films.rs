//! Packets and frames through the views equal the source's.

use super::support::*;

/// Packets of every copied track of `name` equal the source's.
fn packets_equal(name: &str, tracks: &[(&str, &str)]) -> Built {
    let source = film(name);
    let built = build(&source);
    for (track, stream) in tracks {
        let expected = digests(&source, &["-map", stream, "-c", "copy"]);
        let found = digests(&built.join(track), &["-map", "0:0", "-c", "copy"]);
        assert!(!expected.is_empty());
        assert_eq!(
            found.len(),
            expected.len(),
            "{name} {track}: number of packets"
        );
        assert!(found == expected, "{name} {track}: packets differ");
    }
    built
}

#[test]
fn a_film_with_two_languages() {
    let built = packets_equal(
        "main.mkv",
        &[
            ("video", "0:v:0"),
            ("audio-1", "0:a:0"),
            ("audio-2", "0:a:1"),
        ],
    );
    let root = built.lay_out();
    let source = digests(&built.source, &["-map", "0:v:0", "-vsync", "0"]);
    let master = root.join("master.m3u8");
    // Without `-vsync 0` ffmpeg would drop and double frames to a rate that it guesses.
    let (_, complaints) = ffmpeg(&[
        "-i",
        master.to_str().unwrap(),
        "-vsync",
        "0",
        "-f",
        "framemd5",
        "-",
    ]);
    assert_eq!(complaints, "");
    let decoded = digests(&root.join("master.m3u8"), &["-map", "0:v:0", "-vsync", "0"]);
    assert!(decoded == source, "decoded frames differ");
    println!("{}", built.text("master.m3u8"));
    println!("{}", built.text("video.m3u8"));
    println!("{}", built.text("audio-1.m3u8"));
    println!(
        "derived {} of {}",
        built.views.derived.len,
        built.source.metadata().unwrap().len()
    );
}
