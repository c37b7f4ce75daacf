//! Tests of the views beside the tracks: bitmap subtitles, fonts, a picture, the playlist of key frames.

use std::fs;
use std::path::Path;
use std::process::Command;

use tgfs::model::FilePurpose;

use super::sample::sample;
use super::support::*;

fn copied(input: &Path, stream: &str, filter: &[&str]) -> Vec<String> {
    digests(input, &[&["-map", stream, "-c", "copy"], filter].concat())
}

#[test]
fn bitmap_subtitles_are_files_of_their_own() {
    for (name, extension) in [
        ("subtitles_pgs.mkv", "sup"),
        ("subtitles_vobsub.mkv", "mks"),
    ] {
        let source = sample(name);
        let built = build(&source);
        super::check::check(&built);
        for (number, language) in ["eng", "fre"].into_iter().enumerate() {
            let path = format!("{language}.{extension}");
            let file = built.views.files.iter().find(|file| file.path == path);
            assert_eq!(file.unwrap().purpose, FilePurpose::Subtitle, "{path}");
            let alone = built.directory.path().join(&path);
            fs::write(&alone, built.read(&path)).unwrap();
            // ffmpeg reads a `.sup` in smaller packets than Matroska has.
            let joined: &[&str] = match extension {
                "sup" => &["-bsf:s", "pgs_frame_merge"],
                _ => &[],
            };
            let expected = copied(&source, &format!("0:s:{number}"), &[]);
            assert!(!expected.is_empty());
            assert_eq!(copied(&alone, "0:0", joined), expected, "{path}");
            let stream = format!("s:{number}");
            let shift = first_time(&alone, "s:0") - first_time(&source, &stream);
            assert!(shift.abs() < 0.002, "{path} comes {shift} s late");
        }
        // HLS carries no bitmap subtitles.
        assert!(!built.text("master.m3u8").contains("SUBTITLES"));
    }
}

#[test]
fn fonts_are_listed_and_byte_exact() {
    let directory = tempfile::tempdir().unwrap();
    let font: Vec<u8> = (0..100_000_u32).map(|at| (at * 7 % 251) as u8).collect();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("a.ttf"), &font).unwrap();
    let main = film("main.mkv");
    ffmpeg(&[
        "-i",
        main.to_str().unwrap(),
        "-map",
        "0:v",
        "-map",
        "0:s:2",
        "-c",
        "copy",
        "-attach",
        &path("a.ttf"),
        "-metadata:s:t",
        "mimetype=application/x-truetype-font",
        "-metadata:s:t",
        "filename=../Fancy Bold.ttf",
        &path("film.mkv"),
    ]);
    let built = build(Path::new(&path("film.mkv")));
    assert_eq!(built.files("fonts"), ["fonts/Fancy Bold.ttf"]);
    assert!(built.read("fonts/Fancy Bold.ttf") == font);
    assert!(built.files("").contains(&"eng.sdh.ass".to_owned()));
}

#[test]
fn a_film_has_a_picture() {
    for name in ["main.mkv", "hevc.mkv", "vp9.webm", "dvb.ts", "editlist.mp4"] {
        let built = build(&film(name));
        let picture = built.directory.path().join("picture.jpg");
        fs::write(&picture, built.read("thumbnail.jpg")).unwrap();
        let frames = digests(&picture, &[]);
        assert_eq!(frames.len(), 1, "{name}");
    }
    assert!(build(&film("song.m4a")).views.files.is_empty());
}

/// Each range is a whole picture: it decodes to the film's frame.
#[test]
fn the_playlist_of_key_frames_names_whole_pictures() {
    let built = build(&film("main.mkv"));
    let master = built.text("master.m3u8");
    assert!(
        master.contains("#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH="),
        "{master}"
    );
    assert!(built.files("").contains(&"video-iframes.m3u8".to_owned()));
    let text = built.text("video-iframes.m3u8");
    let parsed = hls_m3u8::MediaPlaylist::try_from(text.as_str()).unwrap();
    assert!(parsed.has_i_frames_only);
    let all = digests(&built.source, &["-map", "0:v:0", "-vsync", "0"]);
    let mut count = 0;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(range) = line.strip_prefix("#EXT-X-BYTERANGE:") else {
            continue;
        };
        let bytes: usize = range.strip_suffix("@0").unwrap().parse().unwrap();
        let segment = built.read(lines.next().unwrap());
        assert!(bytes < segment.len());
        let path = built.directory.path().join("picture.mp4");
        let head = built.read("video/init.mp4");
        fs::write(&path, [&head, &segment[..bytes]].concat()).unwrap();
        let output = Command::new("ffmpeg")
            .args(["-v", "quiet", "-i", path.to_str().unwrap()])
            .args(["-frames:v", "1", "-f", "framemd5", "-"])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let frame = said.lines().find(|line| !line.starts_with('#')).unwrap();
        let digest = frame.split(',').nth(5).unwrap().trim().to_owned();
        assert!(all.contains(&digest), "picture {count}");
        count += 1;
    }
    assert_eq!(count, built.views.tracks[0].segments.len());
    // A file with sound alone has no such playlist.
    assert!(
        !build(&film("song.m4a"))
            .text("master.m3u8")
            .contains("I-FRAME")
    );
}
