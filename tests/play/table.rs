//! The table of sources and players in docs/MEDIA.md: each cell is what a player did just now.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::material::need;
use crate::vlc::Vlc;

/// Film of `scripts/media/make_films`, and what it is.
const SOURCES: [(&str, &str); 9] = [
    ("main.mkv", "H.264 + AAC, Matroska"),
    ("main.mp4", "H.264 + AAC, MP4"),
    ("dvb.ts", "H.264 + AAC, MPEG-TS"),
    ("hevc.mkv", "HEVC 10 bit + AC-3"),
    ("bluray.mkv", "H.264 + TrueHD, DTS, E-AC-3"),
    ("vp9.webm", "VP9 + Opus"),
    ("av1.mkv", "AV1 + FLAC"),
    ("mpeg2.ts", "MPEG-2 + MP2, MPEG-TS"),
    ("old.avi", "MPEG-4 + MP3, AVI"),
];
const YES: &str = "yes";
/// Longest that VLC, which plays in real time, takes to show a few pictures.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn film(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("films");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/media/make_films");
    let status = Command::new(script).arg(&directory).arg(name).status();
    assert!(status.unwrap().success(), "make_films {name}");
    directory.join(name)
}

fn run(program: &str, arguments: &[&str]) -> Output {
    need(program, program);
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Whether ffmpeg decodes the first three seconds of picture and sound without a complaint.
fn ffmpeg(url: &str, seek: &[&str]) -> bool {
    let input = [&["-v", "error"], seek, &["-i", url]].concat();
    let output = run(
        "ffmpeg",
        &[&input[..], &["-t", "3", "-f", "framemd5", "-"]].concat(),
    );
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let frames = |stream: &str| {
        lines
            .lines()
            .filter(|line| line.starts_with(stream))
            .count()
    };
    let is_silent = output.stderr.is_empty() && output.status.success();
    is_silent && frames("0,") > 40 && frames("1,") > 20
}

/// Whether mpv shows pictures.
fn mpv(url: &str, seek: &[&str]) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let into = format!("--vo-image-outdir={}", directory.path().display());
    #[rustfmt::skip]
    let arguments = [
        "--no-config", "--untimed", "--ao=null", "--ao-null-untimed=yes", "--vo=image", &into, "--frames=30",
        url,
    ];
    let output = run("mpv", &[&arguments[..], seek].concat());
    output.status.success() && std::fs::read_dir(directory.path()).unwrap().count() == 30
}

/// Whether VLC decodes picture and sound.
fn vlc(url: &str) -> bool {
    let mut vlc = Vlc::play(url);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if vlc.counted("video decoded") >= 30 && vlc.counted("audio decoded") >= 30 {
            return true;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    false
}

fn cell(plays: bool, otherwise: &str) -> String {
    let otherwise = format!("no: {otherwise}");
    if plays { YES.to_owned() } else { otherwise }
}

fn row(daemon: &Daemon, (name, what): (&str, &str)) -> String {
    let path = film(name);
    daemon.run(&["upload", "--to", "/", path.to_str().unwrap()]);
    let in_tree = format!("/{name}");
    daemon.run(&["status", "--wait", &in_tree]);
    let list = daemon.run(&["list", "--json", &in_tree]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let id = list[0]["id"].as_str().unwrap();
    let url = format!("http://{}/playlist/local/{id}.m3u8", daemon.address());
    let transport = format!("{url}?container=ts");
    let has_transport = run("curl", &["-sf", &transport]).status.success();
    let in_transport = |plays: &dyn Fn() -> bool| match has_transport {
        true => cell(plays(), "see above"),
        false => cell(false, "not in MPEG-TS"),
    };
    [
        what.to_owned(),
        cell(ffmpeg(&url, &[]), "its decoder complains"),
        in_transport(&|| ffmpeg(&transport, &["-ss", "5.5"])),
        cell(mpv(&url, &[]), "its decoder complains"),
        in_transport(&|| mpv(&transport, &["--start=5.5"])),
        cell(vlc(&url), "it shows nothing"),
        in_transport(&|| vlc(&transport)),
    ]
    .join(" | ")
}

#[test]
fn the_table_of_players_is_what_they_do() {
    let daemon = Daemon::start();
    let rows: Vec<String> = SOURCES
        .into_iter()
        .map(|source| format!("| {} |", row(&daemon, source)))
        .collect();
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/MEDIA.md");
    let text = std::fs::read_to_string(document).unwrap();
    let missing: Vec<&String> = rows
        .iter()
        .filter(|row| !text.contains(row.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/MEDIA.md says otherwise; the rows are now:\n{}",
        rows.join("\n")
    );
}
