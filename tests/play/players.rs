//! Verdict of each headless player on a film: yes, or no with the reason.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::film_on_air::Film;
use crate::kinds;
use crate::material::{need, said};
use crate::tools;
use crate::vlc::Vlc;

pub const YES: &str = "yes";
/// Cell of what is not given to a player.
pub const NOT_TRIED: &str = "not tried";
/// Longest time VLC, which plays in real time, needs to show a few pictures.
const PATIENCE: Duration = Duration::from_secs(20);

/// `yes`, or `no` with the reason.
pub fn cell(plays: bool, otherwise: &str) -> String {
    match plays {
        true => YES.to_owned(),
        false => format!("no: {otherwise}"),
    }
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Checks that the player decodes three seconds of picture and sound, without complaints unless the film
/// gives a reason.
fn ffmpeg(program: &Path, film: &Film, url: &str, from: f64) -> String {
    let from = format!("{from:.2}");
    let seek: &[&str] = if from == "0.00" { &[] } else { &["-ss", &from] };
    let input = [&["-v", "error"], seek, &["-i", url]].concat();
    let output = run(
        program,
        &[&input[..], &["-t", "3", "-f", "framemd5", "-"]].concat(),
    );
    let lines = String::from_utf8_lossy(&output.stdout);
    // Streams are numbered in output order, video first.
    let frames = |number: usize| {
        let stream = format!("{number},");
        let of = lines.lines().filter(|line| line.starts_with(&stream));
        of.count() as f64
    };
    let shows = !film.has_picture || frames(0) > film.rate * 0.8;
    let sounds = !film.has_sound || frames(usize::from(film.has_picture)) > 20.0;
    let complaints = String::from_utf8_lossy(&output.stderr);
    let why = if complaints.contains("support hardware accelerated AV1") {
        Some("no decoder for AV1")
    } else if !shows && frames(0) > 0.0 {
        // ffmpeg 5.1 drops the segment's first key frame and waits for the next one.
        Some("behind a seek it begins late")
    } else if !shows || !sounds || !output.status.success() {
        Some("it shows nothing")
    } else if !complaints.is_empty() && !film.may_complain {
        Some("its decoder complains")
    } else {
        None
    };
    if why.is_some() {
        let first: Vec<&str> = complaints.lines().take(4).collect();
        eprintln!("{}: ffmpeg from {from} {url}: {first:#?}", film.name);
    }
    cell(why.is_none(), why.unwrap_or_default())
}

pub fn ffmpeg_5(film: &Film) -> String {
    need("ffmpeg", "ffmpeg");
    ffmpeg(Path::new("ffmpeg"), film, &film.url, 0.0)
}

/// Checks playback after a seek to `seconds`.
pub fn ffmpeg_5_transport(film: &Film, url: &str, from: f64) -> String {
    ffmpeg(Path::new("ffmpeg"), film, url, from)
}

/// Checks playback from the start and after a seek.
pub fn ffmpeg_8(film: &Film, from: f64) -> String {
    ffmpeg(&tools::ffmpeg_8(), film, &film.url, from)
}

/// Checks that the player shows pictures, or plays sound when the film has none.
fn mpv(film: &Film, url: &str, seek: &[&str]) -> String {
    need("mpv", "mpv");
    let directory = tempfile::tempdir().unwrap();
    let into = format!("--vo-image-outdir={}", directory.path().display());
    let sound = directory.path().join("sound.raw");
    let sound_file = format!("--ao-pcm-file={}", sound.display());
    let whole = ["--no-config", "--untimed"];
    let output = if film.has_picture {
        #[rustfmt::skip]
        let pictures = ["--ao=null", "--ao-null-untimed=yes", "--vo=image", &into, "--frames=30", url];
        run(Path::new("mpv"), &[&whole, &pictures[..], seek].concat())
    } else {
        let sounds = ["--ao=pcm", &sound_file, "--vo=null", url];
        run(Path::new("mpv"), &[&whole, &sounds[..], seek].concat())
    };
    let found = if film.has_picture {
        std::fs::read_dir(directory.path()).unwrap().count() == 30
    } else {
        // One second of stereo.
        sound.metadata().is_ok_and(|file| file.len() > 190_000)
    };
    cell(output.status.success() && found, "its decoder complains")
}

pub fn mpv_plain(film: &Film) -> String {
    mpv(film, &film.url, &[])
}

/// Checks playback after a seek.
pub fn mpv_transport(film: &Film, url: &str) -> String {
    mpv(film, url, &[&format!("--start={:.2}", film.middle())])
}

/// Checks that VLC decodes picture and sound.
pub fn vlc(film: &Film, url: &str) -> String {
    let mut vlc = Vlc::play(url);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let shows = !film.has_picture || vlc.counted("video decoded") >= 20;
        if shows && (!film.has_sound || vlc.counted("audio decoded") >= 20) {
            return cell(true, "");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    cell(false, "it shows nothing")
}

/// Checks that GStreamer's discoverer, which starts all decoders, finds video, audio and duration, and
/// that the film is seekable.
pub fn gstreamer(film: &Film) -> String {
    need("gst-discoverer-1.0", "gstreamer1.0-plugins-base-apps");
    let output = Command::new("gst-discoverer-1.0")
        .arg(&film.url)
        // Keeps GStreamer's registry out of the user's home.
        .env("GST_REGISTRY", film.place.join("gstreamer"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = said(&output);
    let has = |word: &str| text.lines().any(|line| line.trim_start().starts_with(word));
    let duration = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Duration: "))
        .map_or(0.0, seconds);
    let why = if film.has_picture && !has("video") {
        Some("it finds no picture")
    } else if film.has_sound && !has("audio") {
        Some("it finds no sound")
    } else if (duration - film.seconds).abs() > 0.5 {
        Some("it gets the length wrong")
    } else if !has("Seekable: yes") {
        Some("it cannot seek")
    } else {
        None
    };
    if why.is_some() {
        eprintln!("{}: gst-discoverer-1.0: {text}", film.name);
    }
    cell(why.is_none(), why.unwrap_or_default())
}

/// `0:01:02.5`
fn seconds(clock: &str) -> f64 {
    let parts = clock
        .split(':')
        .map(|part| part.parse::<f64>().unwrap_or(0.0));
    parts.fold(0.0, |sum, part| sum * 60.0 + part)
}

/// Browser without a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Browser {
    Chromium,
    Firefox,
}

impl Browser {
    /// Returns its name in scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chromium => "Chromium",
            Self::Firefox => "Firefox",
        }
    }

    /// Returns the players that are tried in it, and their scripts. Panics when the browser is missing.
    pub fn players(self) -> Vec<(&'static str, PathBuf)> {
        let hls_js = ("hls.js", tools::module("hls.js/dist/hls.min.js"));
        let shaka = tools::module("shaka-player/dist/shaka-player.compiled.js");
        let video_js = tools::module("video.js/dist/video.min.js");
        match self {
            Self::Chromium => {
                need("chromium", "chromium");
                vec![hls_js, ("Shaka", shaka), ("video.js", video_js)]
            }
            Self::Firefox => {
                need("firefox-esr", "firefox-esr");
                vec![hls_js]
            }
        }
    }

    /// Returns the players that get a film of the table.
    fn tries(self, film: &str) -> &'static [&'static str] {
        match (self, kinds::contains(film)) {
            (Self::Chromium, true) => &["hls.js", "Shaka"],
            (Self::Chromium, false) => &["hls.js", "Shaka", "video.js"],
            (Self::Firefox, true) => &[],
            (Self::Firefox, false) => &["hls.js"],
        }
    }

    /// Lets `script` of tests/browser run in it for these films, and returns what it prints.
    pub fn run(self, script: &str, page: &str, films: &[Value]) -> Value {
        let players = self.players();
        let players: HashMap<_, _> = players.iter().map(|(name, path)| (name, path)).collect();
        let wanted =
            json!({ "browser": self.name(), "page": page, "players": players, "films": films });
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
        let mut child = Command::new("node")
            .arg(path.join(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("node is missing: `apt-get install nodejs npm`");
        let mut input = child.stdin.take().unwrap();
        input.write_all(wanted.to_string().as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{script}: {}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Returns the cells of the browser's players by film name. One browser plays all films in sequence.
pub fn in_browser(browser: Browser, page: &str, films: &[Film]) -> HashMap<String, Vec<String>> {
    let list: Vec<Value> = films
        .iter()
        .filter(|film| film.has_views)
        .map(|film| {
            json!({ "name": film.name, "url": film.url, "picture": film.has_picture, "sound": film.has_sound,
                "players": browser.tries(&film.name) })
        })
        .collect();
    let found = browser.run("players.mjs", page, &list);
    let cell_of = |film: &Film, player: &str| {
        if !browser.tries(&film.name).contains(&player) {
            return NOT_TRIED.to_owned();
        }
        let found = &found[&film.name][player];
        if !found["faults"].is_null() && found["plays"] != true {
            eprintln!("{}: {player} in {browser:?}: {found}", film.name);
        }
        cell(
            found["plays"] == true,
            found["why"].as_str().unwrap_or("it says nothing"),
        )
    };
    let players = browser.players();
    let cells = |film: &Film| -> Vec<String> {
        let of = players.iter();
        of.map(|(player, _)| cell_of(film, player)).collect()
    };
    let named = films.iter().map(|film| (film.name.clone(), cells(film)));
    named.collect()
}
