//! Tests of the H.264 rendition of video that browsers do not play.

use tgfs::media::build::cuts::CutPolicy;
use tgfs::media::build::rendition::{RenditionOutcome, is_wanted};
use tgfs::media::build::{BuildOutcome, BuildReport};
use tgfs::media::hls::views;
use tgfs::model::{Compat, Hardware, Track, TrackKind};

use super::check::check;
use super::support::*;

fn build_compat(name: &str, hardware: Hardware) -> (Built, BuildReport) {
    build_as(&film(name), &CutPolicy::default(), Compat::With(hardware))
}

fn durations(built: &Built, playlist: &str) -> Vec<f64> {
    let text = built.text(playlist);
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("#EXTINF:"));
    lines
        .map(|line| line.trim_end_matches(',').parse().unwrap())
        .collect()
}

/// Returns the URI of each variant with the tag line before it.
fn variants(master: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = master.lines().collect();
    let pairs = lines
        .windows(2)
        .filter(|pair| pair[0].starts_with("#EXT-X-STREAM-INF"));
    pairs
        .map(|pair| (pair[1].to_owned(), pair[0].to_owned()))
        .collect()
}

#[test]
fn a_rendition_follows_the_film_segment_by_segment() {
    for (name, has_transport) in [("hevc.mkv", true), ("old.avi", false)] {
        let source = film(name);
        let plain = build(&source);
        assert!(is_wanted(&plain.views), "{name}");
        let (built, account) = build_compat(name, Hardware::None);
        assert_eq!(account.rendition, RenditionOutcome::Made, "{name}");
        assert!(!is_wanted(&built.views), "{name}");
        let rendition = built.views.tracks.last().unwrap();
        assert!(
            rendition.codec.starts_with("avc1.64"),
            "{name}: {}",
            rendition.codec
        );
        assert!(matches!(&rendition.kind, TrackKind::Video { range, .. } if range == "SDR"));

        // The views that existed before are the same, byte for byte.
        for path in plain.files("video") {
            assert!(plain.read(&path) == built.read(&path), "{name}: {path}");
        }
        let (of_film, of_rendition) = (
            durations(&built, "video.m3u8"),
            durations(&built, "video-2.m3u8"),
        );
        assert_eq!(of_film.len(), of_rendition.len(), "{name}");
        for (number, (film, rendition)) in of_film.iter().zip(&of_rendition).enumerate() {
            // The last one lasts from its first decoding to the end: as much longer as pictures are decoded ahead.
            let ahead = if number + 1 == of_film.len() {
                0.15
            } else {
                0.05
            };
            assert!(
                (film - rendition).abs() < ahead,
                "{name}: segment {number}: {film} {rendition}"
            );
        }
        check(&built);
        let (own, other) = (
            pictures(&built.join("video")),
            pictures(&built.join("video-2")),
        );
        assert!(
            own.len().abs_diff(other.len()) <= 1,
            "{name}: {} {}",
            own.len(),
            other.len()
        );
        assert!(
            (own[0].0 - other[0].0).abs() < 90,
            "{name}: {} {}",
            own[0].0,
            other[0].0
        );
        // The first picture of each segment can be decoded without any other.
        for path in &built.files("video-2")[1..] {
            let alone = built.directory.path().join("alone.mp4");
            let bytes = [built.read("video-2/init.mp4"), built.read(path)].concat();
            std::fs::write(&alone, bytes).unwrap();
            assert!(!pictures(&alone).is_empty(), "{name}: {path}");
        }

        let master = built.text("master.m3u8");
        hls_m3u8::MasterPlaylist::try_from(master.as_str()).unwrap();
        let variants = variants(&master);
        assert_eq!(variants[0].0, "video.m3u8", "{name}");
        let (_, line) = variants
            .iter()
            .find(|(uri, _)| uri == "video-2.m3u8")
            .unwrap();
        assert!(
            line.contains(&rendition.codec) && line.contains("RESOLUTION="),
            "{line}"
        );
        let offered = views::find(&built.views, "ts/master.m3u8").is_some();
        assert!(offered, "{name}: H.264 goes into MPEG-TS");
        let transport = built.text("ts/master.m3u8");
        assert_eq!(
            transport.contains("\nvideo.m3u8"),
            has_transport,
            "{name}: {transport}"
        );
        assert!(transport.contains("\nvideo-2.m3u8"), "{name}: {transport}");
        assert_eq!(
            pictures(&join_transport(&built, "video-2")).len(),
            other.len(),
            "{name}"
        );
    }
}

#[test]
fn hdr_becomes_ordinary_light() {
    let (built, account) = build_compat("hdr.mkv", Hardware::None);
    assert_eq!(account.rendition, RenditionOutcome::Made);
    assert_eq!(built.views.note, None);
    let kinds: Vec<&TrackKind> = built.views.tracks.iter().map(|track| &track.kind).collect();
    assert!(matches!(kinds[0], TrackKind::Video { range, .. } if range == "PQ"));
    assert!(matches!(kinds[1], TrackKind::Video { range, .. } if range == "SDR"));
    let joined = built.join("video-2");
    let probe = std::process::Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-show_entries",
            "stream=pix_fmt,color_transfer",
            "-of",
            "csv=p=0",
        ])
        .arg(&joined)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&probe.stdout).into_owned();
    assert!(said.contains("yuv420p") && said.contains("bt709"), "{said}");
}

/// The machine of a test has no such hardware: its trial fails, and software does the work.
#[test]
fn hardware_that_is_not_there_costs_nothing() {
    for hardware in [
        Hardware::Nvidia,
        Hardware::Intel,
        Hardware::Vaapi,
        Hardware::Any,
    ] {
        let (built, account) = build_compat("old.avi", hardware);
        assert_eq!(account.rendition, RenditionOutcome::Made, "{hardware:?}");
        assert_eq!(built.views.note, None, "{hardware:?}");
    }
}

#[test]
fn what_browsers_play_gets_none() {
    for name in ["main.mkv", "vp9.webm", "song.m4a"] {
        let (built, account) = build_compat(name, Hardware::None);
        assert_eq!(account.rendition, RenditionOutcome::NotWanted, "{name}");
        let plain = build(&film(name));
        assert_eq!(plain.views.map_digest, built.views.map_digest, "{name}");
    }
}

/// A rendition beside ranges of the film would need a copy of the whole film. So the rendition is the only
/// video, and a film that browsers play is still served as ranges.
#[test]
fn a_transport_stream_becomes_its_rendition() {
    let plain = build(&film("mpeg2.ts"));
    assert!(plain.views.in_place.is_some() && is_wanted(&plain.views));
    let (built, account) = build_compat("mpeg2.ts", Hardware::None);
    assert_eq!(account.rendition, RenditionOutcome::Made);
    assert!(built.views.in_place.is_none());
    let videos: Vec<&Track> = built
        .views
        .tracks
        .iter()
        .filter(|track| matches!(track.kind, TrackKind::Video { .. }))
        .collect();
    assert_eq!(videos.len(), 1);
    assert!(
        videos[0].codec.starts_with("avc1.64"),
        "{}",
        videos[0].codec
    );
    let note = built.views.note.as_deref().unwrap_or_default();
    assert!(note.contains("the file has it in mpeg2video"), "{note}");
    check(&built);
    let (of_film, of_rendition) = (
        pictures(&film("mpeg2.ts")).len(),
        pictures(&built.join("video")).len(),
    );
    assert!(
        of_film.abs_diff(of_rendition) <= 1,
        "{of_film} {of_rendition}"
    );

    let (built, account) = build_compat("dvb.ts", Hardware::None);
    assert_eq!(account.rendition, RenditionOutcome::NotWanted);
    assert!(built.views.in_place.is_some());
}

/// MP4 does not carry VP8: without a rendition there is no HLS, and with one it is the film's only video.
#[test]
fn video_that_mp4_does_not_carry_is_encoded_whole() {
    for (name, sound) in [("vp8sound.webm", true), ("vp8.webm", false)] {
        let source = film(name);
        let BuildOutcome::Unsupported(reason) = refused(&source) else {
            panic!("{name}");
        };
        assert!(reason.rendition_helps(), "{name}: {reason}");
        let (built, account) = build_compat(name, Hardware::None);
        assert_eq!(account.rendition, RenditionOutcome::Made, "{name}");
        check(&built);
        assert!(built.views.note.as_ref().unwrap().contains("vp8"), "{name}");
        let (own, other) = (pictures(&source), pictures(&built.join("video")));
        assert_eq!(own.len(), other.len(), "{name}");
        let master = built.text("master.m3u8");
        assert_eq!(variants(&master)[0].0, "video.m3u8", "{name}");
        assert_eq!(master.contains("TYPE=AUDIO"), sound, "{name}: {master}");
        let seconds: f64 = durations(&built, "video.m3u8").iter().sum();
        assert!(
            (seconds * 30.0 - own.len() as f64).abs() < 3.0,
            "{name}: {seconds} s"
        );
        if sound {
            let (of_video, of_sound) = (
                durations(&built, "video.m3u8"),
                durations(&built, "audio-1.m3u8"),
            );
            assert_eq!(of_video.len(), of_sound.len(), "{name}");
            let (video, audio) = (built.join("video"), built.join("audio-1"));
            let apart = first_time(&video, "0") - first_time(&audio, "0");
            let of_source = first_time(&source, "v:0") - first_time(&source, "a:0");
            assert!(
                (apart - of_source).abs() < 0.03,
                "{name}: {apart} and {of_source}"
            );
        }
    }
}
