//! Clients of the control socket that do nothing, or take nothing. Commands are answered all the same, the
//! memory stays bounded, and the daemon can be stopped.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::Serving;
use crate::scratch::Scratch;

/// Most memory of a daemon with an empty cache.
const MEMORY: u64 = 200 * 1024 * 1024;
/// Time for a command. The daemon needs less than a second; the rest is for a debug build on a machine that
/// does other work.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Opens connections to the socket, and sends the beginning of a request on each.
fn flood(scratch: &Scratch, count: usize, bytes: &[u8]) -> Vec<UnixStream> {
    let path = scratch.state().join("control.sock");
    let open = |_| {
        let mut stream = UnixStream::connect(&path).unwrap();
        let limit = Some(Duration::from_millis(200));
        stream.set_write_timeout(limit).unwrap();
        // The daemon may hang up on such a client.
        let _ = stream.write_all(bytes);
        stream
    };
    (0..count).map(open).collect()
}

/// Runs a command, and fails if it takes too long.
fn run_in_time(flood: &str, mut command: Command) {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > ANSWER_TIME {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{flood}: no answer after {ANSWER_TIME:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success(), "{flood}: {status}");
}

/// Returns a request whose answer is longer than the kernel takes on its own.
fn long_answer() -> String {
    let paths = vec!["\"/absent\""; 4000].join(",");
    format!("{{\"do\":\"retry\",\"paths\":[{paths}]}}\n")
}

#[test]
fn floods_of_the_control_socket_keep_no_command_waiting() {
    let scratch = Scratch::new();
    let mut serving = Serving::start(&scratch);
    let refused = long_answer();
    let unended = vec![b' '; 1_000_000];
    let mut held = Vec::new();
    for (name, count, bytes) in [
        ("clients that say nothing", 512, &[][..]),
        ("requests that never end", 100, &unended),
        ("answers that nobody takes", 100, refused.as_bytes()),
    ] {
        held.extend(flood(&scratch, count, bytes));
        run_in_time(name, scratch.command(&["list"]));
        run_in_time(name, scratch.command(&["status"]));
        let resident = serving.resident_bytes();
        assert!(resident < MEMORY, "{name}: {} MiB", resident >> 20);
    }
    run_in_time("the stop", scratch.command(&["stop"]));
    assert_eq!(serving.wait(), 0);
}

#[test]
fn a_signal_stops_a_daemon_whose_places_are_all_taken() {
    let scratch = Scratch::new();
    let serving = Serving::start(&scratch);
    let held = flood(&scratch, 100, long_answer().as_bytes());
    let (tell, told) = std::sync::mpsc::channel();
    let holding = std::thread::spawn(move || {
        let is_over = told.recv_timeout(ANSWER_TIME).is_ok();
        drop(held);
        is_over
    });
    assert_eq!(serving.stop(), 0);
    let _ = tell.send(());
    assert!(holding.join().unwrap(), "the stop waited for the clients");
}
