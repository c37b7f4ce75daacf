//! Tests of refused operations, of files that are kept apart, and of the values of attributes.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};

use crate::harness::TestMount;
use crate::material::{need, noise};

const EPERM: i32 = 1;
const EINVAL: i32 = 22;
const EOPNOTSUPP: i32 = 95;

#[test]
fn links_and_devices_are_refused() {
    let test = TestMount::new();
    fs::write(test.path.join("f"), b"x").unwrap();
    let error = symlink("f", test.path.join("link")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(EPERM));
    let error = fs::hard_link(test.path.join("f"), test.path.join("hard")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(EPERM));
    assert!(!test.sh("mkfifo pipe").status.success());
    let mut names: Vec<_> = fs::read_dir(&test.path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.retain(|name| name != ".hls");
    assert_eq!(names, ["f"]);
}

#[test]
fn exchanging_two_names_is_refused_whole() {
    need("python3", "python3");
    let test = TestMount::new();
    let said = test.run(
        r#"echo 1 > a; echo 2 > b; python3 -c "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
r = libc.renameat2(-100, b'a', -100, b'b', 2); print(r, ctypes.get_errno())
r = libc.renameat2(-100, b'a', -100, b'b', 1); print(r, ctypes.get_errno())
"; cat a b"#,
    );
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines, [format!("-1 {EINVAL}").as_str(), "-1 17", "1", "2"]);
}

#[test]
fn there_is_no_trash() {
    let test = TestMount::new();
    let error = fs::create_dir(test.path.join(".Trash-0")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    need("gio", "libglib2.0-bin");
    fs::write(test.path.join("f"), b"x").unwrap();
    let output = test.sh("gio trash f");
    assert!(
        !output.status.success(),
        "gio must say that there is no trash, and offer to delete"
    );
    assert_eq!(
        fs::read(test.path.join("f")).unwrap(),
        b"x",
        "the file stays where it was"
    );
}

#[test]
fn attributes_of_users_are_kept() {
    need("setfattr", "attr");
    let mut test = TestMount::new();
    let steps = r#"touch f; mkdir d
        setfattr -n user.note -v hello f; setfattr -n user.empty f; setfattr -n user.d -v 1 d
        test "$(getfattr --only-values -n user.note f)" = hello
        setfattr -x user.empty f; ! getfattr -n user.empty f"#;
    test.run(steps);
    let no_others = test.sh("setfattr -n trusted.x -v 1 f");
    assert!(!no_others.status.success());
    test.restart();
    assert_eq!(test.run("getfattr --only-values -n user.note f"), "hello");
    assert_eq!(
        test.run("getfattr -d f | grep -c user"),
        "1",
        "only what the user set is listed"
    );
    need("python3", "python3");
    test.run(&format!(
        r#"python3 -c "
import os, errno
def fails(want, f):
    try: f()
    except OSError as e: assert e.errno == want, e
    else: raise AssertionError('no error')
os.setxattr('f', 'user.a', b'1', os.XATTR_CREATE)
fails(errno.EEXIST, lambda: os.setxattr('f', 'user.a', b'2', os.XATTR_CREATE))
os.setxattr('f', 'user.a', b'3', os.XATTR_REPLACE)
fails(errno.ENODATA, lambda: os.setxattr('f', 'user.b', b'2', os.XATTR_REPLACE))
fails(errno.ENODATA, lambda: os.getxattr('f', 'user.b'))
fails({EOPNOTSUPP}, lambda: os.getxattr('f', 'security.selinux'))
fails({EOPNOTSUPP}, lambda: os.setxattr('f', 'system.posix_acl_access', b'x' * 28))
assert os.getxattr('f', 'user.a') == b'3'
""#
    ));
}

#[test]
fn our_own_attributes_say_how_far_a_file_is() {
    need("getfattr", "attr");
    let test = TestMount::new();
    test.source("big", 1_000_000, 3);
    test.run(r#"cp "$OUT/big" big"#);
    test.wait_for_state("big", &["stored"]);
    assert_eq!(
        test.run("getfattr --only-values -n user.tgfs.id big").len(),
        32
    );
    assert_eq!(
        test.run("getfattr --only-values -n user.tgfs.progress big"),
        "100"
    );
    assert_eq!(
        test.run("getfattr -d big"),
        "",
        "they are not listed, so that cp -a stays quiet"
    );
    test.run("setfattr -n user.tgfs.state -v nonsense big");
    assert_eq!(test.state_of("big"), "stored");
    test.run(r#"cmp "$OUT/big" big"#);
}

#[test]
fn a_killed_copy_is_kept_apart() {
    need("getfattr", "attr");
    let test = TestMount::new();
    let mut child = Command::new("bash")
        .args(["-c", "exec cat > killed.bin"])
        .current_dir(&test.path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes = noise(500_000, 6);
    let mut input = child.stdin.take().unwrap();
    input.write_all(&bytes).unwrap();
    // Its last bytes may still be in the pipe. It only matters that it never finished.
    while fs::metadata(test.path.join("killed.bin")).map_or(0, |meta| meta.len()) < 400_000 {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    drop(input);
    test.wait_for_state("killed.bin", &["failed"]);
    let reason = test.run("getfattr --only-values -n user.tgfs.error killed.bin");
    assert!(reason.contains("signal"), "{reason}");
    let kept = fs::read(test.path.join("killed.bin")).unwrap();
    assert!(
        bytes.starts_with(&kept) && kept.len() >= 400_000,
        "what came is readable"
    );
}

#[test]
fn names_of_unfinished_copies_wait_for_their_rename() {
    need("getfattr", "attr");
    let test = TestMount::new();
    test.source("big", 300_000, 3);
    test.run(r#"cp "$OUT/big" film.bin.part; cp "$OUT/big" other.bin"#);
    test.wait_for_state("other.bin", &["stored"]);
    assert_eq!(test.state_of("film.bin.part"), "spooled");
    test.run("mv film.bin.part film.bin");
    test.wait_for_state("film.bin", &["stored"]);
    test.run(r#"cmp "$OUT/big" film.bin"#);
}

#[test]
fn times_are_kept_to_the_nanosecond_also_before_1970() {
    let mut test = TestMount::new();
    let path = test.path.join("f");
    fs::write(&path, b"x").unwrap();
    for (seconds, nanos) in [
        (1_700_000_000, 123_456_789),
        (-1, 500_000_000),
        (-86_400, 0),
        (-3, 7),
    ] {
        let time = nix::sys::time::TimeSpec::new(seconds, nanos);
        nix::sys::stat::utimensat(
            nix::fcntl::AT_FDCWD,
            &path,
            &time,
            &time,
            nix::sys::stat::UtimensatFlags::FollowSymlink,
        )
        .unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.mtime(), found.mtime_nsec()), (seconds, nanos));
        assert_eq!((found.atime(), found.atime_nsec()), (seconds, nanos));
    }
    test.restart();
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.mtime(), found.mtime_nsec()), (-3, 7));
}

#[test]
fn modes_and_owners_are_kept() {
    let mut test = TestMount::new();
    fs::write(test.path.join("f"), b"x").unwrap();
    fs::set_permissions(test.path.join("f"), fs::Permissions::from_mode(0o4711)).unwrap();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root {
        std::os::unix::fs::chown(test.path.join("f"), Some(1234), Some(2345)).unwrap();
        let meta = fs::metadata(test.path.join("f")).unwrap();
        assert_eq!(
            meta.mode() & 0o7777,
            0o711,
            "a new owner does not inherit set-user-id"
        );
    }
    if is_root {
        let shared = test.path.join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o2775)).unwrap();
        std::os::unix::fs::chown(&shared, Some(1234), Some(2345)).unwrap();
        let mode = fs::metadata(&shared).unwrap().mode() & 0o7777;
        assert_eq!(
            mode, 0o2775,
            "a directory passes its group on, whoever owns it"
        );
    }
    test.restart();
    let meta = fs::metadata(test.path.join("f")).unwrap();
    if is_root {
        assert_eq!(
            (meta.uid(), meta.gid(), meta.mode() & 0o7777),
            (1234, 2345, 0o711)
        );
    } else {
        assert_eq!(meta.mode() & 0o7777, 0o4711);
    }
}

#[test]
fn absurd_sizes_are_refused() {
    let test = TestMount::new();
    let file = fs::File::create(test.path.join("f")).unwrap();
    let error = file.set_len(999_999_999_999_999).unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ErrorKind::FileTooLarge | ErrorKind::StorageFull
        ),
        "{error}"
    );
    assert_eq!(file.metadata().unwrap().len(), 0);
}

#[test]
fn df_tells_room() {
    let test = TestMount::new();
    let free: u64 = test
        .run("df --output=avail -B1 . | tail -1")
        .trim()
        .parse()
        .unwrap();
    assert!(free > 1024 * 1024, "file managers ask before they copy");
}

/// Build tools make their stamps with `: > stamp`.
#[test]
fn emptying_a_file_gives_it_a_new_time_even_if_it_was_empty() {
    let test = TestMount::new();
    for content in ["", "bytes"] {
        let path = test.path.join("stamp");
        fs::write(&path, content).unwrap();
        let past = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(past)
            .unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mtime(), 1_000);
        fs::File::create(&path).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert!(found.len() == 0 && found.mtime() > 1_000_000, "{content:?}");
    }
}
