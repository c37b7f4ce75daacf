//! Tests of the confinement of the media tools, with the real launcher.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tgfs::media::tool::MediaTool;
use tgfs::media::tool::ffmpeg::Ffmpeg;
use tgfs::process::{
    CancelFlag, Devices, INPUT_PATH, Launcher, Priority, ProcessJob, ProcessLimits, Spawner,
};

use super::support::*;

/// Returns the launcher with the real program, whose hidden command `confine` the daemon uses.
fn launcher() -> Launcher {
    Launcher::Confined(env!("CARGO_BIN_EXE_tgfs").into())
}

fn job(program: &str, args: &[&str], input: Option<PathBuf>) -> ProcessJob {
    ProcessJob {
        program: program.into(),
        args: args.iter().map(OsString::from).collect(),
        input,
        limits: ProcessLimits {
            stall: Duration::from_secs(30),
            wall: Duration::from_secs(60),
            memory: 4 << 30,
        },
        priority: Priority::Usual,
        devices: Devices::None,
        cancel: CancelFlag::default(),
    }
}

fn shell(script: &str, input: Option<PathBuf>) -> (Option<i32>, String) {
    let spawner = Spawner::new(launcher());
    let (exit, output) = spawner
        .run(&job("sh", &["-c", script], input), 1 << 20)
        .unwrap();
    (
        exit.code,
        String::from_utf8_lossy(&output).into_owned() + &exit.stderr,
    )
}

/// Makes a private film, as the spool keeps it: 0600 in a directory that only we may enter.
fn private_film() -> (tempfile::TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spooled");
    std::fs::copy(film("main.mkv"), &path).unwrap();
    for (path, mode) in [(&path, 0o600), (&directory.path().to_path_buf(), 0o700)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    (directory, path)
}

#[test]
fn a_private_film_gets_its_views_through_confined_tools() {
    let (_keep, path) = private_film();
    let tool: Arc<dyn MediaTool> = Arc::new(Ffmpeg::new(launcher()));
    let built = build_with(&tool, &path);
    super::check::check(&built);
    assert_eq!(built.views.tracks.len(), 3);
    assert_eq!(built.views.subtitles.len(), 3);
}

#[test]
fn the_input_is_seekable_and_nothing_can_be_written() {
    let (keep, path) = private_film();
    let (code, text) = shell(
        &format!("head -c 4 {INPUT_PATH} | od -An -tx1"),
        Some(path.clone()),
    );
    assert_eq!((code, text.trim()), (Some(0), "1a 45 df a3"));
    let target = keep.path().join("new");
    let script = format!(
        "echo x > {}; echo x > /tmp/tgfs-confine-test-$$; echo x > {}",
        target.display(),
        path.display()
    );
    let before = path.metadata().unwrap().len();
    let (_, text) = shell(&script, Some(path.clone()));
    assert!(!target.exists());
    assert_eq!(path.metadata().unwrap().len(), before, "{text}");
}

#[test]
fn environment_and_privileges_are_gone() {
    let (_, text) = shell(
        "set; grep -E 'NoNewPrivs|^Uid' /proc/self/status; ulimit -c; ulimit -f",
        None,
    );
    assert!(!text.contains("CARGO"), "{text}");
    if !text.contains("Permission denied") {
        assert!(text.contains("NoNewPrivs:\t1"), "{text}");
    }
}

#[test]
fn a_launcher_without_a_program_says_so() {
    let (exit, _) = Spawner::new(launcher())
        .run(&job("/usr/bin/env", &[], None), 1 << 20)
        .unwrap();
    assert_eq!(exit.code, Some(0));
    let missing = Spawner::new(Launcher::Confined("/bin/false".into()))
        .run(&job("sh", &["-c", "true"], None), 10)
        .unwrap();
    assert_ne!(missing.0.code, Some(0));
}
