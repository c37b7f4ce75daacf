//! Tests that packets and frames read through the views equal those of the source.

use super::support::*;

/// Asserts that the packets of each track equal the source's and that the views pass `check`.
fn packets_equal(name: &str, tracks: &[(&str, &str)]) -> Built {
    let source = film(name);
    let built = build(&source);
    super::check::check(&built);
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

/// Asserts that the decoded frames are equal, for sources whose packets the muxer must rewrite.
fn frames_equal(name: &str, tracks: &[(&str, &str)]) -> Built {
    let source = film(name);
    let built = build(&source);
    super::check::check(&built);
    for (track, stream) in tracks {
        let expected = digests(&source, &["-map", stream, "-vsync", "0"]);
        let found = digests(&built.join(track), &["-map", "0:0", "-vsync", "0"]);
        assert!(!expected.is_empty());
        assert!(
            found == expected,
            "{name} {track}: frames differ ({} and {})",
            found.len(),
            expected.len()
        );
    }
    built
}

fn derived_share(built: &Built) -> f64 {
    built.views.derived.len as f64 / built.source.metadata().unwrap().len() as f64
}

#[test]
fn a_film_with_two_languages_and_subtitles() {
    let built = packets_equal(
        "main.mkv",
        &[
            ("video", "0:v:0"),
            ("audio-1", "0:a:0"),
            ("audio-2", "0:a:1"),
        ],
    );
    assert!(derived_share(&built) < 0.03, "{}", derived_share(&built));
    assert!(built.views.independent_segments);
    assert_eq!(built.views.note, None);
    let root = built.lay_out();
    let master = root.join("master.m3u8");
    // Without `-vsync 0` ffmpeg would drop and duplicate frames to reach a rate that it guesses.
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
    for stream in ["0:v:0", "0:a:0"] {
        let source = digests(&built.source, &["-map", stream, "-vsync", "0"]);
        assert!(
            digests(&master, &["-map", stream, "-vsync", "0"]) == source,
            "{stream}: frames differ"
        );
    }
}

#[test]
fn subtitles_keep_their_times_and_names() {
    let built = build(&film("main.mkv"));
    let keys: Vec<&str> = built
        .views
        .subtitles
        .iter()
        .map(|subtitle| subtitle.key.as_str())
        .collect();
    assert_eq!(keys, ["eng", "spa.forced", "eng.sdh"]);
    let files = built.files("");
    for name in [
        "eng.srt",
        "eng.vtt",
        "spa.forced.srt",
        "eng.sdh.ass",
        "sub-3.m3u8",
    ] {
        assert!(files.iter().any(|file| file == name), "{name} of {files:?}");
    }
    let srt = built.text("eng.srt");
    assert!(srt.contains("English cue 1 é 字幕"), "{srt}");
    assert!(built.text("eng.sdh.ass").contains("{\\pos(96,20)}Styled 2"));
    // On the segments' time line a cue has the same distance from the first picture as in the source.
    let pictures = first_time(&built.join("video"), "v:0") - f64::from(built.views.origin_seconds);
    let first = built.text("sub-1/00001.vtt");
    let cue = first.lines().find(|line| line.contains("-->")).unwrap();
    let seconds: f64 = cue
        .split(' ')
        .next()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        (seconds - pictures - 0.25).abs() < 0.002,
        "{cue}: {pictures}"
    );
    let master = built.text("master.m3u8");
    assert!(master.contains(
        "TYPE=SUBTITLES,GROUP-ID=\"subtitles\",NAME=\"English\",LANGUAGE=\"en\",DEFAULT=YES"
    ));
    assert!(master.contains("FORCED=YES") && master.contains("describes-music-and-sound"));
}

#[test]
fn containers_of_one_film_serve_the_same_packets() {
    let both = [("video", "0:v:0"), ("audio-1", "0:a:0")];
    for name in [
        "main.mp4",
        "fragmented.mp4",
        "merged.mkv",
        "laced.mkv",
        "cover.mkv",
    ] {
        let built = packets_equal(name, &both);
        assert!(
            derived_share(&built) < 0.05,
            "{name}: {}",
            derived_share(&built)
        );
    }
    assert_eq!(build(&film("main.mp4")).views.subtitles.len(), 1);
}

#[test]
fn other_codecs() {
    packets_equal("hevc.mkv", &[("video", "0:v:0"), ("audio-1", "0:a:0")]);
    packets_equal("vp9.webm", &[("video", "0:v:0"), ("audio-1", "0:a:0")]);
    packets_equal("av1.mkv", &[("video", "0:v:0"), ("audio-1", "0:a:0")]);
    packets_equal("old.avi", &[("video", "0:v:0"), ("audio-1", "0:a:0")]);
    let codecs = |name: &str| -> Vec<String> {
        build(&film(name))
            .views
            .tracks
            .iter()
            .map(|track| track.codec.clone())
            .collect()
    };
    assert_eq!(
        codecs("main.mkv"),
        ["avc1.64001e", "mp4a.40.2", "mp4a.40.2"]
    );
    assert_eq!(codecs("hevc.mkv"), ["hvc1.2.4.L63.90", "ac-3", "mp4a.40.2"]);
    assert_eq!(codecs("vp9.webm"), ["vp09.00.11.08", "opus"]);
    assert_eq!(codecs("av1.mkv"), ["av01.0.00M.08", "fLaC"]);
}

#[test]
fn compressed_and_stripped_matroska() {
    packets_equal("zlib.mkv", &[("video", "0:v:0"), ("audio-1", "0:a:0")]);
    packets_equal("stripped.mkv", &[("video", "0:v:0"), ("audio-1", "0:a:0")]);
}

/// Transport streams that are not served from ranges.
#[test]
fn transport_streams() {
    let both = [("video", "0:v:0"), ("audio-1", "0:a:0")];
    let built = frames_equal("padded-dvb.ts", &both);
    assert!(built.views.independent_segments);
    // A player cannot start at a recovery point, so the playlists must not claim it.
    let built = frames_equal("padded-opengop.ts", &both);
    assert!(!built.views.independent_segments);
    assert!(!built.text("master.m3u8").contains("INDEPENDENT"));
    assert!(!built.text("video.m3u8").contains("INDEPENDENT"));
    let built = frames_equal("padded-mpeg2.ts", &both[..1]);
    // MP4 has one name for layers 2 and 3, so ffmpeg uses another decoder; the bytes are equal.
    let packets = |input: &std::path::Path| digests(input, &["-map", "0:a:0", "-c", "copy"]);
    assert_eq!(packets(&built.join("audio-1")), packets(&built.source));
}

#[test]
fn delays_between_tracks_stay() {
    for name in ["delay.mkv", "late.mkv"] {
        let built = packets_equal(name, &[("video", "0:v:0")]);
        let source = packets(&built.source, &["-map", "0:a:0"]);
        let served = packets(&built.join("audio-1"), &[]);
        let silence = served.len() - source.len();
        assert!(
            (60..80).contains(&silence),
            "{name}: {silence} packets in front"
        );
        let same = |(one, other): (&(f64, String), &(f64, String))| one.1 == other.1;
        assert!(source.iter().zip(&served[silence..]).all(same), "{name}");
        let of_source = source[0].0 - first_time(&built.source, "v:0");
        let of_served = served[silence].0 - first_time(&built.join("video"), "v:0");
        assert!(
            (of_source - of_served).abs() < 0.001,
            "{name}: {of_source} became {of_served}"
        );
    }
}

/// Each layout of AAC LC and Opus has a frame of silence of its own, which decoders take as the film's own frames.
#[test]
fn late_sound_is_preceded_by_silence_in_each_layout() {
    let directory = tempfile::tempdir().unwrap();
    let video = film("video.mkv");
    let layouts = [
        ("aac", "mono"),
        ("aac", "stereo"),
        ("aac", "3.0"),
        ("aac", "4.0"),
        ("aac", "5.0"),
        ("aac", "5.1"),
        ("libopus", "mono"),
        ("libopus", "stereo"),
    ];
    for (codec, layout) in layouts {
        let source = directory.path().join(format!("{codec}-{layout}.mkv"));
        let tone = format!("sine=440:r=48000:d=3,aformat=channel_layouts={layout}");
        let sound = ["-itsoffset", "1.5", "-f", "lavfi", "-i", &tone];
        let coded = ["-c:v", "copy", "-c:a", codec, "-t", "4"];
        let files = ["-i", video.to_str().unwrap()];
        let out = [source.to_str().unwrap()];
        ffmpeg(&[&files[..], &sound, &coded, &out].concat());
        let built = build(&source);
        super::check::check(&built);
        let list = built.lay_out().join("master.m3u8");
        let (begins, complaints) = quiet_until(&list);
        assert_eq!(complaints, "", "{codec} {layout}");
        let picture = first_time(&built.join("video"), "v:0");
        let expected = quiet_until(&source).0 - first_time(&source, "v:0");
        // A decoder fades the first frame of sound in.
        assert!(
            (begins - picture - expected).abs() < 0.025,
            "{codec} {layout}: {begins} {picture} {expected}"
        );
    }
}

/// Returns the second at which the first sound of a film is heard, and ffmpeg's complaints.
fn quiet_until(input: &std::path::Path) -> (f64, String) {
    let raw = tempfile::NamedTempFile::new().unwrap();
    let path = raw.path().to_str().unwrap();
    let start = first_time(input, "a:0");
    let decoded = [
        "-map", "0:a:0", "-ac", "1", "-ar", "48000", "-f", "s16le", "-y", path,
    ];
    let (_, complaints) = ffmpeg(&[&["-i", input.to_str().unwrap()], &decoded[..]].concat());
    let bytes = std::fs::read(raw.path()).unwrap();
    let mut samples = bytes.chunks_exact(2);
    let loud = samples.position(|one| i16::from_le_bytes([one[0], one[1]]).unsigned_abs() > 300);
    (start + loud.unwrap() as f64 / 48_000.0, complaints)
}

/// A cut that starts between key frames hides frames by an edit list. They are served, in sync.
#[test]
fn an_edit_list_only_adds_frames_in_front() {
    let source = film("editlist.mp4");
    let built = build(&source);
    super::check::check(&built);
    let expected = digests(&source, &["-map", "0:v:0", "-vsync", "0"]);
    let found = digests(&built.join("video"), &["-map", "0:v:0", "-vsync", "0"]);
    assert!(
        found.ends_with(&expected),
        "{} and {}",
        found.len(),
        expected.len()
    );
}

#[test]
fn sound_alone_has_views() {
    for name in ["song.m4a", "song.flac", "song.mp3"] {
        let built = packets_equal(name, &[("audio-1", "0:a:0")]);
        let root = built.lay_out();
        let (_, complaints) = ffmpeg(&[
            "-i",
            root.join("master.m3u8").to_str().unwrap(),
            "-f",
            "framemd5",
            "-",
        ]);
        assert_eq!(complaints, "", "{name}");
        assert!(built.views.tracks[0].segments.len() >= 3, "{name}");
    }
    let built = build(&film("song.wav"));
    super::check::check(&built);
    assert_eq!(built.views.tracks[0].codec, "mp4a.40.2");
}
