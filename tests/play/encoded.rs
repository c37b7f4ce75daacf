//! Playback across re-encoded parts: players must show no gap and no error.

use std::process::Stdio;

use crate::daemon::Daemon;
use crate::film::prepared;
use crate::material::need;
use crate::vlc;

/// Returns the complaints of VLC's decoder while it plays the whole film in real time.
fn complaints(url: &str) -> Vec<String> {
    need("cvlc", "vlc-bin vlc-plugin-base");
    let home = tempfile::tempdir().unwrap();
    let output = vlc::command(&home)
        .args(["-I", "dummy", "-vv", "--play-and-exit", "--no-audio"])
        .args(["--vout=dummy", url])
        .env("HOME", home.path())
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("using video decoder module"), "{said}");
    // VLC reports this for the first picture as well.
    let is_usual = |line: &str| line.contains("Reinit context");
    let is_complaint = |line: &&str| {
        !is_usual(line)
            && (line.contains("[h264 @")
                || line.contains("decoder error")
                || line.contains("avcodec error"))
    };
    said.lines()
        .filter(is_complaint)
        .map(str::to_owned)
        .collect()
}

#[test]
fn vlc_decodes_across_encoded_parts() {
    let daemon = Daemon::start_with(&[("TGFS_OVERSIZE", "reencode"), ("MAX_CHUNK_SIZE", "3MiB")]);
    let path = prepared("large.mkv");
    daemon.run(&["upload", "--to", "/", path.to_str().unwrap()]);
    daemon.run(&["status", "--wait", "/large.mkv"]);
    let url = daemon.url("/playlist/local/large.m3u8");
    assert_eq!(complaints(&url), [""; 0]);
    let transport = format!("{url}?container=ts");
    assert_eq!(complaints(&transport), [""; 0]);
}
