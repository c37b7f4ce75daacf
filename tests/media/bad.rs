//! Tests of odd, damaged and hostile files: the outcome is clear, nothing is left behind, and nothing else is
//! opened.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tgfs::media::build::BuildOutcome;
use tgfs::media::error::MediaErrorKind;
use tgfs::media::reason::{UnreadableReason, UnsupportedReason};
use tgfs::media::tool::MediaTool;
use tgfs::media::tool::exit::Complaint;
use tgfs::media::tool::ffmpeg::Ffmpeg;
use tgfs::process::Launcher;

use super::support::*;

#[test]
fn files_that_name_other_files_are_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let target = film("main.mkv");
    let target = target.to_str().unwrap();
    for text in [
        format!("ffconcat version 1.0\nfile '{target}'\n"),
        format!("file '{target}'\n"),
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n"),
        format!("<?xml version=\"1.0\"?><MPD><BaseURL>{target}</BaseURL></MPD>"),
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n".to_owned(),
    ] {
        let path = directory.path().join("film.mkv");
        fs::write(&path, &text).unwrap();
        assert_eq!(refused(&path), BuildOutcome::NotMedia, "{text}");
    }
}

#[test]
fn files_that_are_no_media() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("film.mp4");
    for bytes in [
        Vec::new(),
        vec![b'x'; 100_000],
        vec![0; 5000],
        b"\xff".to_vec(),
    ] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(refused(&path), BuildOutcome::NotMedia);
    }
}

#[test]
fn damaged_files_say_why() {
    for name in ["truncated.mp4", "encrypted.mp4"] {
        match refused(&film(name)) {
            BuildOutcome::Unreadable(reason) => {
                let reason = reason.to_string();
                assert!(
                    !reason.is_empty() && !reason.contains("/proc"),
                    "{name}: {reason}"
                );
                assert!(
                    reason.contains("moov") || reason.contains("encrypted"),
                    "{name}: {reason}"
                );
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let directory = tempfile::tempdir().unwrap();
    for head in [
        &b"\x1a\x45\xdf\xa3"[..],
        b"\0\0\0\x18ftypisom",
        b"RIFF\0\0\0\0AVI LIST",
        b"OggS",
        b"fLaC",
    ] {
        let path = directory.path().join("film");
        fs::write(&path, [head, &[0x11; 3000]].concat()).unwrap();
        let outcome = refused(&path);
        assert!(
            matches!(
                outcome,
                BuildOutcome::Unreadable(_) | BuildOutcome::Unsupported(_)
            ),
            "{head:?}: {outcome:?}"
        );
    }
}

#[test]
fn a_cut_or_corrupt_film_plays_as_far_as_it_goes() {
    let built = build(&film("truncated.mkv"));
    super::check::check(&built);
    let note = built.views.note.clone().unwrap();
    assert!(
        note.contains("damaged") && note.contains("of 24 seconds"),
        "{note}"
    );
    super::check::check(&build(&film("corrupt.mkv")));
}

#[test]
fn video_that_hls_cannot_carry_is_named() {
    assert_eq!(
        refused(&film("vp8.webm")),
        BuildOutcome::Unsupported(UnsupportedReason::VideoCodec("vp8".to_owned()))
    );
}

#[test]
fn words_inside_a_film_cannot_leave_their_place() {
    let built = build(&film("hostile.mkv"));
    super::check::check(&built);
    let master = built.text("master.m3u8");
    assert_eq!(
        master.matches("#EXT-X-ENDLIST").count(),
        2,
        "only inside names: {master}"
    );
    assert!(
        !master
            .lines()
            .any(|line| line.starts_with("#EXT-X-ENDLIST")),
        "{master}"
    );
    for name in built.files("").iter().chain(&built.directories()) {
        assert!(!name.contains('/') && !name.contains(".."), "{name}");
    }
    let keys: Vec<&str> = built
        .views
        .subtitles
        .iter()
        .map(|subtitle| subtitle.key.as_str())
        .collect();
    assert_eq!(keys, ["und", "und.2"]);
}

fn broken_tool(script: &str) -> (tempfile::TempDir, Arc<dyn MediaTool>) {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("ffmpeg");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let tool = Ffmpeg::with_programs(Launcher::Direct, program, PathBuf::from("ffprobe"))
        .with_stall(Duration::from_secs(5));
    (directory, Arc::new(tool))
}

#[test]
fn a_tool_that_dies_or_hangs_is_worth_another_try() {
    let source = film("main.mkv");
    for script in [
        "kill -9 $$",
        "sleep 1000",
        "exec 1>&-; sleep 0.1; kill -11 $$",
    ] {
        let (_keep, tool) = broken_tool(script);
        let directory = tempfile::tempdir().unwrap();
        let error = run(&tool, &source, &directory.path().join("derived")).unwrap_err();
        assert!(error.is_retryable(), "{script}: {error}");
        assert_eq!(error.kind, MediaErrorKind::ToolStopped, "{script}: {error}");
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            0,
            "files left behind"
        );
    }
}

#[test]
fn a_pass_that_fails_is_never_published() {
    let source = film("main.mkv");
    let (_keep, tool) =
        broken_tool("head -c 300000 /dev/zero; echo 'broken pipe dream' >&2; exit 1");
    let directory = tempfile::tempdir().unwrap();
    let outcome = run(&tool, &source, &directory.path().join("derived")).unwrap();
    assert_eq!(
        outcome,
        BuildOutcome::Unreadable(UnreadableReason::Complaint(Complaint::Other(
            "broken pipe dream".to_owned()
        )))
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_missing_tool_is_named() {
    let tool: Arc<dyn MediaTool> = Arc::new(Ffmpeg::with_programs(
        Launcher::Direct,
        "no-ffmpeg".into(),
        "no-ffprobe".into(),
    ));
    let directory = tempfile::tempdir().unwrap();
    let error = run(&tool, &film("main.mkv"), &directory.path().join("derived")).unwrap_err();
    assert_eq!(error.kind, MediaErrorKind::ToolMissing);
    assert!(
        error.is_retryable() && error.to_string().contains("no-ffprobe"),
        "{error}"
    );
}

/// A decoder that crashes costs its track, not the film.
#[test]
fn what_cannot_be_decoded_is_missed_and_the_film_plays() {
    let (_keep, tool) =
        broken_tool("case \"$*\" in *aac*|*mjpeg*) kill -11 $$;; esac\nexec ffmpeg \"$@\"");
    let built = build_with(&tool, &film("hevc.mkv"));
    super::check::check(&built);
    let codecs: Vec<&str> = built
        .views
        .tracks
        .iter()
        .map(|t| t.codec.as_str())
        .collect();
    assert_eq!(codecs, ["hvc1.2.4.L63.90", "ac-3"]);
    assert_eq!(built.views.files, []);
}
