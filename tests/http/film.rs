//! The film that the tests play.
#![allow(dead_code)] // Each test binary uses a part of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const SECONDS: usize = 20;
pub const FRAMES: usize = 25 * SECONDS;

/// Returns the path of a film that `scripts/media/make_films` makes.
pub fn prepared(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("films");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/media/make_films");
    let status = Command::new(script).arg(&directory).arg(name).status();
    assert!(status.unwrap().success(), "make_films {name}");
    directory.join(name)
}

/// Makes a film of [`SECONDS`] with 25 frames a second, two audio and two subtitle tracks.
pub fn make(path: &Path) {
    let folder = path.parent().unwrap();
    let lines = |name: &str, text: &str| {
        let file = folder.join(name);
        let body = format!(
            "1\n00:00:01,000 --> 00:00:09,000\n{text} one\n\n2\n00:00:11,000 --> 00:00:19,000\n{text} two\n"
        );
        std::fs::write(&file, body).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (english, spanish) = (lines("e.srt", "English"), lines("s.srt", "Español"));
    let chapters = folder.join("chapters.txt");
    let half = SECONDS / 2;
    let text = format!(
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND={half}\ntitle=Dust\n\
         [CHAPTER]\nTIMEBASE=1/1\nSTART={half}\nEND={SECONDS}\ntitle=Heat\n"
    );
    std::fs::write(&chapters, text).unwrap();
    let chapters = chapters.to_str().unwrap();
    let picture = format!("testsrc2=s=640x360:r=25:d={SECONDS}");
    let tone = |hertz: u32| format!("sine={hertz}:d={SECONDS}");
    let (low, high) = (tone(440), tone(880));
    #[rustfmt::skip]
    let arguments = [
        "-y", "-v", "error",
        "-f", "lavfi", "-i", &picture,
        "-f", "lavfi", "-i", &low,
        "-f", "lavfi", "-i", &high,
        "-i", &english, "-i", &spanish, "-i", chapters, "-map_chapters", "5",
        "-map", "0:v", "-map", "1:a", "-map", "2:a", "-map", "3:s", "-map", "4:s",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-c:a", "aac", "-c:s", "srt",
        "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=spa",
        "-metadata:s:s:0", "language=eng", "-metadata:s:s:1", "language=spa",
    ];
    let status = Command::new("ffmpeg")
        .args(arguments)
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .expect("ffmpeg is missing: `apt-get install ffmpeg`");
    assert!(status.success());
}

/// Makes a film of few seconds and many bytes.
pub fn make_noise(path: &Path) {
    let picture = "testsrc2=s=1280x720:r=25:d=12,noise=alls=40:allf=t";
    #[rustfmt::skip]
    let arguments = [
        "-y", "-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=d=12",
        "-c:v", "libx264", "-preset", "ultrafast", "-qp", "28", "-g", "50", "-c:a", "aac",
    ];
    let status = Command::new("ffmpeg")
        .args(arguments)
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .expect("ffmpeg is missing: `apt-get install ffmpeg`");
    assert!(status.success());
}
