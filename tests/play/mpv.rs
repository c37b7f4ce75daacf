//! mpv. Debian 12's build uses ffmpeg 5.1, which reads no subtitles from HLS and cannot seek in
//! MP4 segments. So subtitles are given by their own URLs, and seeks use the file.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Library;
use crate::film::{FRAMES, SECONDS};
use crate::material::{need, said};

/// Length of the header of 16-bit WAVE files that mpv writes, in bytes.
const WAVE_HEAD_BYTES: usize = 44;

/// Plays `arguments` to the end as fast as possible and returns the output.
fn mpv(arguments: &[&str]) -> String {
    mpv_in_time(&[&["--untimed", "--ao-null-untimed=yes"], arguments].concat())
}

/// Plays `arguments` to the end and returns the output.
fn mpv_in_time(arguments: &[&str]) -> String {
    need("mpv", "mpv");
    let output = Command::new("mpv")
        .arg("--no-config")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = said(&output).replace('\r', "\n");
    assert!(output.status.success(), "mpv {arguments:?}: {text}");
    text
}

/// Writes each decoded frame as a picture into `directory`.
pub fn frames(directory: &Path, arguments: &[&str]) -> usize {
    let pictures = format!("--vo-image-outdir={}", directory.display());
    let to_pictures = [
        "--ao=null",
        "--vo=image",
        "--vo-image-format=jpg",
        &pictures,
    ];
    mpv(&[&to_pictures, arguments].concat());
    std::fs::read_dir(directory).unwrap().count()
}

/// Counts the zero crossings in a 16-bit WAVE file.
fn crossings(file: &Path) -> usize {
    let bytes = std::fs::read(file).unwrap();
    let samples: Vec<i16> = bytes[WAVE_HEAD_BYTES..]
        .chunks_exact(2)
        .map(|sample| i16::from_le_bytes([sample[0], sample[1]]))
        .collect();
    samples
        .windows(2)
        .filter(|pair| (pair[0] < 0) != (pair[1] < 0))
        .count()
}

fn is_chosen(said: &str, track: &str) -> bool {
    said.lines()
        .any(|line| line.contains("(+)") && line.contains(track))
}

#[test]
fn mpv_plays_every_frame_and_seeks_in_the_file() {
    let library = Library::with_film();
    let all = library.daemon.directory().join("all");
    assert_eq!(frames(&all, &[&library.playlist()]), FRAMES);
    let end = library.daemon.directory().join("end");
    let start = format!("--start={}", SECONDS * 3 / 4);
    let decoded = frames(&end, &[&start, &library.url("fs/film.mkv")]);
    assert!(
        decoded.abs_diff(FRAMES / 4) <= 1,
        "{decoded} of {FRAMES} frames follow three quarters"
    );
}

/// Seeks to ten places, frame-exact. This mpv gets nothing from MP4 segments after a seek.
#[test]
fn mpv_seeks_to_the_frame_in_transport_streams() {
    let library = Library::with_film();
    let url = format!("{}?container=ts", library.playlist());
    let picture = |name: String, start: &str, url: &str| {
        let directory = library.daemon.directory().join(name);
        let start = format!("--start={start}");
        let count = frames(
            &directory,
            &["--no-audio", "--sid=no", "--frames=1", &start, url],
        );
        assert_eq!(count, 1, "{url} from {start}");
        std::fs::read(directory.join("00000001.jpg")).unwrap()
    };
    let mut state = 20_261_124_u64;
    for number in 0..10 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // The target lies between two frames, so rounding cannot matter: audio starts half a frame earlier.
        let frame = usize::try_from(state >> 33).unwrap() % (FRAMES - 2);
        let start = format!("{:.3}", (frame as f64 + 0.1) / 25.0);
        let found = picture(format!("ts-{number}"), &start, &url);
        let file = library.url("fs/film.mkv");
        let expected = picture(format!("file-{number}"), &start, &file);
        assert!(found == expected, "another picture at {start}");
    }
    let all = library.daemon.directory().join("all-ts");
    assert_eq!(frames(&all, &[&url]), FRAMES);
}

#[test]
fn mpv_lets_choose_each_track() {
    let library = Library::with_film();
    let subtitle = |key: &str| format!("--sub-file={}", library.subtitle(key));
    let (english, spanish) = (subtitle("eng.srt"), subtitle("spa"));
    let choices = [
        ("1", 440, "--alang=en", "English two"),
        ("2", 880, "--alang=es", "Español two"),
    ];
    for (track, hertz, language, cue) in choices {
        let sound = library.daemon.directory().join(format!("{track}.wav"));
        let playlist = library.playlist();
        let (aid, sid) = (format!("--aid={track}"), format!("--sid={track}"));
        // mpv prints subtitles when video is off.
        let chosen = ["--vid=no", &aid, &sid, &english, &spanish, &playlist];
        let to_file = [
            "--ao=pcm",
            "--audio-format=s16",
            &format!("--ao-pcm-file={}", sound.display()),
        ];
        let said = mpv(&[&to_file[..], &chosen].concat());
        assert!(is_chosen(&said, language), "{said}");
        assert!(is_chosen(&said, &sid), "{said}");
        // mpv drops lines that it cannot print in time.
        let said = mpv_in_time(&[&["--ao=null", "--speed=8"], &chosen[..]].concat());
        assert!(said.contains(cue), "{said}");
        let (found, meant) = (crossings(&sound), 2 * hertz * SECONDS);
        assert!(
            found.abs_diff(meant) < meant / 20,
            "the tone of track {track} passes zero {found} times, not {meant}"
        );
    }
    // The file contains its own subtitles.
    let said = mpv_in_time(&[
        "--vid=no",
        "--ao=null",
        "--speed=8",
        "--sid=2",
        &library.url("fs/film.mkv"),
    ]);
    assert!(is_chosen(&said, "--slang=spa"), "{said}");
    assert!(said.contains("Español two"), "{said}");
}
