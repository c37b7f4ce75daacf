//! Tests of writes by one or several programs, and of the bytes that are kept.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use crate::harness::TestMount;
use crate::material::{need, noise};

/// Bytes by which a file without bytes of its own may grow the spool, for records and blocks.
const NEARLY_NOTHING: u64 = 64 * 1024;

fn spooled(test: &TestMount) -> u64 {
    let space = test.vfs().space().unwrap();
    space.total - space.free
}

#[test]
fn appenders_in_one_file_lose_no_line() {
    let test = TestMount::new();
    let path = test.path.join("log");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let mut file = fs::File::options()
                    .append(true)
                    .create(true)
                    .open(path)
                    .unwrap();
                for line in 0..100 {
                    // One system call per line: `writeln!` makes several, which may interleave.
                    let line = format!("writer {writer} line {line:03}\n");
                    file.write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<_> = (0..4)
        .flat_map(|writer| (0..100).map(move |line| format!("writer {writer} line {line:03}")))
        .collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn a_file_that_is_replaced_while_it_is_written_goes_on_by_itself() {
    let mut test = TestMount::new();
    let (path, other) = (test.path.join("f"), test.path.join("g"));
    let (old, new) = (noise(400_000, 1), noise(100_000, 2));
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    file.write_all(&old[..200_000]).unwrap();
    fs::write(&other, &new).unwrap();
    fs::rename(&other, &path).unwrap();
    file.write_all(&old[200_000..]).unwrap();
    file.sync_all().unwrap();
    let mut found = vec![0; old.len()];
    file.read_exact_at(&mut found, 0).unwrap();
    assert!(found == old);
    drop(file);
    assert!(fs::read(&path).unwrap() == new);
    test.restart();
    assert!(fs::read(&path).unwrap() == new);
    assert!(!test.path.join("lost+found").exists());
}

#[test]
fn a_removed_file_takes_writes_and_syncs_and_leaves_nothing() {
    let mut test = TestMount::new();
    let path = test.path.join("f");
    let bytes = noise(900_000, 3);
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    file.write_all(&bytes[..300_000]).unwrap();
    fs::remove_file(&path).unwrap();
    file.write_all(&bytes[300_000..600_000]).unwrap();
    file.sync_all().unwrap();
    file.write_all(&bytes[600_000..]).unwrap();
    let mut found = vec![0; bytes.len()];
    file.read_exact_at(&mut found, 0).unwrap();
    assert!(found == bytes);
    drop(file);
    test.restart();
    assert_eq!(test.run("ls -A"), ".hls");
    assert!(spooled(&test) < NEARLY_NOTHING, "its bytes are gone too");
}

#[test]
fn a_stored_file_that_is_changed_keeps_the_rest_of_its_bytes() {
    need("getfattr", "attr");
    let mut test = TestMount::new();
    let path = test.path.join("f.bin");
    let mut bytes = noise(3_000_000, 4);
    fs::write(&path, &bytes).unwrap();
    test.wait_for_state("f.bin", &["stored"]);
    test.restart();
    let file = fs::File::options().write(true).open(&path).unwrap();
    for (at, seed) in [(10, 5), (1_499_000, 6), (2_999_000, 7)] {
        let patch = noise(5000, seed);
        file.write_all_at(&patch, at as u64).unwrap();
        bytes.resize(bytes.len().max(at + patch.len()), 0);
        bytes[at..at + patch.len()].copy_from_slice(&patch);
    }
    // The bytes are written, made durable, and overwritten: the last write counts.
    file.sync_all().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(600));
    file.write_all_at(&[9; 3000], 20).unwrap();
    bytes[20..3020].fill(9);
    drop(file);
    assert!(fs::read(&path).unwrap() == bytes, "before it is stored");
    assert!(
        spooled(&test) < 256 * 1024,
        "only what was written takes room"
    );
    test.restart();
    assert!(fs::read(&path).unwrap() == bytes, "after a restart");
    test.wait_for_state("f.bin", &["stored"]);
    test.restart();
    assert!(
        fs::read(&path).unwrap() == bytes,
        "when packs alone hold it"
    );
}

#[test]
fn a_copy_inside_the_mount_takes_no_room_and_outlives_its_source() {
    need("getfattr", "attr");
    let mut test = TestMount::new();
    let bytes = noise(5_000_000, 8);
    fs::write(test.path.join("a.bin"), &bytes).unwrap();
    let before = spooled(&test);
    // The source may still be in the spool, or may already be stored.
    test.run("cp --reflink=auto a.bin b.bin");
    assert!(spooled(&test) <= before + NEARLY_NOTHING);
    fs::remove_file(test.path.join("a.bin")).unwrap();
    assert!(fs::read(test.path.join("b.bin")).unwrap() == bytes);
    test.wait_for_state("b.bin", &["stored"]);
    test.run("cp --reflink=auto b.bin c.bin; rm b.bin");
    test.wait_for_state("c.bin", &["stored"]);
    test.restart();
    assert!(spooled(&test) < NEARLY_NOTHING);
    assert!(fs::read(test.path.join("c.bin")).unwrap() == bytes);
}

#[test]
fn a_source_that_goes_before_its_copy_is_closed_lives_on_in_it() {
    need("python3", "python3");
    let test = TestMount::new();
    let bytes = noise(2_000_000, 9);
    fs::write(test.path.join("a.bin"), &bytes).unwrap();
    test.run(
        r#"python3 -c "
import os, time
a = os.open('a.bin', os.O_RDONLY); b = os.open('b.bin', os.O_CREAT | os.O_WRONLY)
n = 0
while n < 2000000: n += os.copy_file_range(a, b, 2000000 - n)
os.close(a); os.unlink('a.bin'); time.sleep(0.7); os.close(b)
""#,
    );
    assert!(fs::read(test.path.join("b.bin")).unwrap() == bytes);
}

#[test]
fn copying_again_makes_a_cut_copy_whole() {
    need("getfattr", "attr");
    let test = TestMount::new();
    let bytes = noise(800_000, 10);
    fs::write(test.outside.join("source"), &bytes).unwrap();
    let mut child = Command::new("bash")
        .args(["-c", "exec cat > f.bin"])
        .current_dir(&test.path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&bytes[..300_000]).unwrap();
    while fs::metadata(test.path.join("f.bin")).map_or(0, |meta| meta.len()) < 200_000 {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    drop(input);
    // The copy starts at once, when the file has not settled yet.
    test.run(r#"cp "$OUT/source" f.bin"#);
    test.wait_for_state("f.bin", &["stored"]);
    assert!(fs::read(test.path.join("f.bin")).unwrap() == bytes);
}
