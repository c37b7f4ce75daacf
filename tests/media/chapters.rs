//! Tests of chapters: as JSON, as a WebVTT track, and named by the multivariant playlists.

use std::fs;
use std::path::{Path, PathBuf};

use super::support::*;

/// Returns three chapters as ffmpeg reads them, the first `late` milliseconds late. JSON and WebVTT must escape the
/// first title; the second has none.
fn chapters(late: u32) -> String {
    let titles = ["title=\"Cold\" & <open> --> here\n", "", "title=Das Ende\n"];
    let starts = [late, late + 1500, late + 3000, late + 4000];
    let mut text = ";FFMETADATA1\n".to_owned();
    for (title, times) in titles.iter().zip(starts.windows(2)) {
        let [start, end] = times else { unreachable!() };
        text.push_str(&format!(
            "[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\n{title}"
        ));
    }
    text
}

/// Makes a film of 4 s with the chapters; Both start `late` seconds late.
fn film(directory: &Path, name: &str, late: u32) -> PathBuf {
    let metadata = directory.join("chapters.txt");
    fs::write(&metadata, chapters(late * 1000)).unwrap();
    let path = directory.join(name);
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=160x90:r=25:d=4",
        "-i",
        metadata.to_str().unwrap(),
        "-map",
        "0:v",
        "-map_metadata",
        "1",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-bf",
        "0",
        "-pix_fmt",
        "yuv420p",
        "-output_ts_offset",
        &late.to_string(),
        "-y",
        path.to_str().unwrap(),
    ]);
    path
}

/// Returns the start, duration and title of each chapter.
fn listed(built: &Built) -> Vec<(f64, f64, String)> {
    let list: serde_json::Value = serde_json::from_str(&built.text("chapters.json")).unwrap();
    let list = list.as_array().unwrap();
    for (index, one) in list.iter().enumerate() {
        assert_eq!(one["chapter"], index as u64 + 1);
        assert_eq!(one["titles"].as_array().unwrap().len(), 1);
        assert_eq!(one["titles"][0]["language"], "und");
    }
    let of = |one: &serde_json::Value| {
        let title = one["titles"][0]["title"].as_str().unwrap();
        (
            one["start-time"].as_f64().unwrap(),
            one["duration"].as_f64().unwrap(),
            title.to_owned(),
        )
    };
    list.iter().map(of).collect()
}

#[test]
fn chapters_of_matroska_and_mp4_are_files_that_playlists_name() {
    let directory = tempfile::tempdir().unwrap();
    let first = "\"Cold\" & <open> --> here";
    // ffmpeg writes no chapter without a title into MP4.
    let of_mkv = vec![
        (0.0, 1.5, first),
        (1.5, 1.5, "Chapter 2"),
        (3.0, 1.0, "Das Ende"),
    ];
    let of_mp4 = vec![(0.0, 3.0, first), (3.0, 1.0, "Das Ende")];
    for (name, expected) in [("film.mkv", of_mkv), ("film.mp4", of_mp4)] {
        let built = build(&film(directory.path(), name, 0));
        let listed = listed(&built);
        let shown: Vec<_> = listed
            .iter()
            .map(|(start, length, title)| (*start, *length, title.as_str()))
            .collect();
        assert_eq!(shown, expected, "{name}");
        let files = built.files("");
        assert!(files.contains(&"chapters.json".to_owned()), "{files:?}");
        assert!(files.contains(&"chapters.vtt".to_owned()), "{files:?}");
        let cue = "1\n00:00:00.000 --> 00:00:0";
        let text = built.text("chapters.vtt");
        assert!(
            text.starts_with(&format!("WEBVTT\n\n{cue}")),
            "{name}: {text}"
        );
        assert!(
            text.contains("\n\"Cold\" &amp; &lt;open&gt; --&gt; here\n\n2\n"),
            "{name}: {text}"
        );
        assert!(
            text.ends_with("00:00:03.000 --> 00:00:04.000\nDas Ende\n"),
            "{name}: {text}"
        );
        let tag = "#EXT-X-SESSION-DATA:DATA-ID=\"com.apple.hls.chapters\",URI=";
        let named = |master: &str, uri: &str| {
            let text = built.text(master);
            assert!(
                text.contains(&format!("{tag}\"{uri}\"\n")),
                "{name}: {text}"
            );
        };
        named("master.m3u8", "chapters.json");
        named("ts/master.m3u8", "../chapters.json");
        // The chapters' own text track in MP4 is no subtitle.
        assert!(built.views.subtitles.is_empty(), "{name}");
        assert_eq!(built.views.note, None, "{name}");
        // Players still open the playlist.
        assert_eq!(
            digests(&built.lay_out().join("master.m3u8"), &["-map", "0:v"]).len(),
            100
        );
    }
}

#[test]
fn chapters_count_from_the_first_picture() {
    let directory = tempfile::tempdir().unwrap();
    let built = build(&film(directory.path(), "film.mkv", 10));
    let starts: Vec<f64> = listed(&built).iter().map(|(start, ..)| *start).collect();
    assert_eq!(starts, [0.0, 1.5, 3.0]);
}

#[test]
fn a_film_without_chapters_has_no_such_files() {
    let built = build(&super::support::film("main.mkv"));
    assert!(
        !built
            .files("")
            .iter()
            .any(|name| name.starts_with("chapters"))
    );
    assert!(!built.text("master.m3u8").contains("SESSION-DATA"));
}
