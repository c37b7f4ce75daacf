//! Tests of a daemon that may have few files open.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::scratch::Scratch;

/// A daemon behind `prlimit`.
struct Limited {
    child: Child,
    mountpoint: PathBuf,
    log: PathBuf,
}

impl Limited {
    fn start(scratch: &Scratch, limit: &str) -> Self {
        let mountpoint = scratch.path().canonicalize().unwrap().join("mnt");
        let plain = scratch.command(&["mount", "--http", "127.0.0.1:0", "mnt"]);
        let log = scratch.path().join("log");
        let mut command = Command::new("prlimit");
        command
            .arg(format!("--nofile={limit}"))
            .arg(plain.get_program())
            .args(plain.get_args())
            .env_clear()
            .envs(
                plain
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .current_dir(scratch.path())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        assert!(ready.starts_with("ready "), "{ready:?}");
        Self {
            child,
            mountpoint,
            log,
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = tgfs::fuse::clean_stale(&self.mountpoint);
    }
}

/// Far more files than descriptors are open, closed and not yet stored; each is kept, and later ones as well.
#[test]
fn sixty_four_descriptors_are_enough_for_any_number_of_files() {
    let scratch = Scratch::new();
    let mut daemon = Limited::start(&scratch, "64:64");
    let content = |number: usize| vec![number as u8; 20_000 + number];
    let path = |number: usize| daemon.mountpoint.join(format!("{number}.bin"));
    let mut open: Vec<File> = (0..150).map(|n| File::create(path(n)).unwrap()).collect();
    for (number, file) in open.iter_mut().enumerate() {
        file.write_all(&content(number)).unwrap();
        file.sync_all().unwrap();
    }
    drop(open);
    for number in 150..170 {
        std::fs::write(path(number), content(number)).unwrap();
    }
    scratch.run(&["status", "--wait"]).ok();
    for number in 0..170 {
        assert!(
            std::fs::read(path(number)).unwrap() == content(number),
            "{number}"
        );
    }
    let said = daemon.said();
    assert!(said.contains("ulimit -n") && said.contains("64"), "{said}");
    scratch.run(&["umount", "mnt"]).ok();
    assert!(daemon.child.wait().unwrap().success());
}

#[test]
fn a_start_raises_the_limit_as_far_as_it_may() {
    let scratch = Scratch::new();
    let daemon = Limited::start(&scratch, "64:4096");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.child.id())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    assert_eq!(words[3..5], ["4096", "4096"], "{line}");
    assert!(!daemon.said().contains("ulimit -n"));
}
