//! Tests of the confinement of the media tools, with the real launcher.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tgfs::media::tool::MediaTool;
use tgfs::media::tool::ffmpeg::Ffmpeg;
use tgfs::model::ConfinementLevel;
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

/// Runs a program in the place of a tool: Debian's Python, which may be hidden by another one in PATH.
fn intruder(film: PathBuf, arguments: &[&str]) -> BTreeMap<String, String> {
    let script = include_str!("intruder.py");
    let mut all = vec!["-c", script];
    all.extend(arguments);
    let job = job("/usr/bin/python3", &all, Some(film));
    let (exit, output) = Spawner::new(launcher()).run(&job, 1 << 20).unwrap();
    let text = String::from_utf8_lossy(&output).into_owned();
    // It ends by a signal to itself, which comes last.
    assert_eq!(exit.signal, Some(9), "{text}{}", exit.stderr);
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines
        .map(|(name, got)| (name.to_owned(), got.to_owned()))
        .collect()
}

#[test]
fn a_tool_that_was_taken_over_reaches_nothing() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};

    let (keep, film) = private_film();
    // All is open to everybody, so that only the confinement can refuse.
    let open = tempfile::tempdir().unwrap();
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(open.path(), mode(0o777)).unwrap();
    let socket = open.path().join("control");
    let secret = open.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let _control = UnixListener::bind(&socket).unwrap();
    for path in [&socket, &secret] {
        std::fs::set_permissions(path, mode(0o666)).unwrap();
    }
    let address = SocketAddr::from_abstract_name("tgfs-test").unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    let own = std::process::id().to_string();
    let got = intruder(
        film,
        &[
            socket.to_str().unwrap(),
            secret.to_str().unwrap(),
            open.path().to_str().unwrap(),
            &own,
        ],
    );
    let allowed: Vec<&str> = got
        .iter()
        .filter(|(_, got)| *got == "ok")
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(allowed, ["input", "own-signal", "own-thread"], "{got:?}");
    for call in ["clone3", "unknown", "x32-socket"] {
        assert!(got.get(call).is_none_or(|got| got == "ENOSYS"), "{got:?}");
    }
    // Another reason than the filter would hide that it is missing.
    for call in [
        "tcp",
        "udp",
        "unix",
        "netlink",
        "pair",
        "control",
        "abstract",
        "signal",
        "fork",
        "setsid",
        "setpgid",
        "ptrace",
        "orphan",
        "io_uring",
        "bpf",
        "keyctl",
        "userfaultfd",
        "unshare",
    ] {
        assert_eq!(got[call], "EPERM", "{call} of {got:?}");
    }
    assert_eq!(got["threads"], "EAGAIN");
    if nix::unistd::geteuid().is_root() {
        assert_ne!(got["uid"], "0");
    }
    drop(keep);
}

#[test]
fn what_is_enforced_is_reported() {
    let found = Spawner::new(launcher()).confinement();
    assert!(found.seccomp, "{found:?}");
    assert_eq!(
        found.level == ConfinementLevel::Full,
        found.missing.is_empty(),
        "{found:?}"
    );
    assert_eq!(found.landlock == 0, found.explain().contains("no Landlock"));
    let unconfined = Spawner::new(Launcher::Confined("/bin/false".into())).confinement();
    assert_eq!(unconfined.level, ConfinementLevel::Failed);
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
        &format!("exec od -An -tx1 -N4 {INPUT_PATH}"),
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
        "set; ulimit -c; ulimit -f; exec grep -E 'NoNewPrivs|^Uid' /proc/self/status",
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
