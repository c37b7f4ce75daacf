use std::time::Duration;

use std::io::Read;

use super::*;

fn shell(script: &str) -> ProcessJob {
    ProcessJob {
        program: PathBuf::from("sh"),
        args: vec!["-c".into(), script.into()],
        input: None,
        limits: ProcessLimits {
            stall: Duration::from_secs(20),
            wall: Duration::from_secs(60),
            memory: 1 << 30,
        },
        priority: Priority::Usual,
        devices: Devices::None,
        cancel: CancelFlag::default(),
    }
}

fn spawner() -> Spawner {
    Spawner::new(Launcher::Direct)
}

#[test]
fn output_status_and_stderr_come_back() {
    let (exit, output) = spawner()
        .run(&shell("echo out; echo why >&2; exit 3"), 100)
        .unwrap();
    assert_eq!(output, b"out\n");
    assert_eq!((exit.code, exit.stderr.as_str()), (Some(3), "why\n"));
    assert!(!exit.is_success());
}

#[test]
fn the_input_is_readable_by_name_and_seekable() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"0123456789").unwrap();
    let mut job = shell(&format!("tail -c 3 {INPUT_PATH}; head -c 2 {INPUT_PATH}"));
    job.input = Some(file.path().to_path_buf());
    assert_eq!(spawner().run(&job, 100).unwrap().1, b"78901");
}

#[test]
fn a_missing_program_is_named() {
    let mut job = shell("");
    job.program = PathBuf::from("no-such-program-tgfs");
    let error = spawner().run(&job, 1).unwrap_err();
    assert!(matches!(error, ProcessError::ProgramMissing(_)) && error.is_retryable());
    assert!(error.to_string().contains("no-such-program-tgfs"));
}

#[test]
fn too_much_output_ends_the_job() {
    let error = spawner().run(&shell("yes"), 1000).unwrap_err();
    assert!(matches!(error, ProcessError::TooMuchOutput(_)));
}

#[test]
fn a_silent_job_is_stopped_with_its_children() {
    let mut job = shell("sleep 1000 & echo $!; sleep 1000");
    job.limits.stall = Duration::from_millis(300);
    let mut running = spawner().start(&job).unwrap();
    let mut text = String::new();
    running.read_to_string(&mut text).unwrap();
    assert!(matches!(
        running.finish(),
        Err(ProcessError::Stalled { .. })
    ));
    assert_gone(text.trim());
}

#[test]
fn cancelling_stops_it() {
    let job = shell("sleep 1000");
    job.cancel.cancel();
    assert!(matches!(
        spawner().run(&job, 10),
        Err(ProcessError::Cancelled(_))
    ));
}

#[test]
fn the_wall_limit_holds_although_output_flows() {
    let mut job = shell("while true; do echo x; sleep 0.05; done");
    job.limits.wall = Duration::from_millis(400);
    assert!(matches!(
        spawner().run(&job, 1 << 20),
        Err(ProcessError::TooSlow { .. })
    ));
}

#[test]
fn dropping_the_handle_ends_the_group() {
    let mut running = spawner()
        .start(&shell("sleep 1000 & echo $!; wait"))
        .unwrap();
    let mut first = [0; 16];
    let count = running.read(&mut first).unwrap();
    drop(running);
    assert_gone(String::from_utf8_lossy(&first[..count]).trim());
}

/// Checks that a process is gone. A killed grandchild may linger as a zombie until its new parent reaps it.
fn assert_gone(pid: &str) {
    let path = format!("/proc/{pid}/stat");
    for _ in 0..200 {
        match std::fs::read_to_string(&path) {
            Err(_) => return,
            Ok(stat) if stat.contains(") Z ") || stat.contains(") X ") => return,
            Ok(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    panic!("process {pid} still runs");
}
