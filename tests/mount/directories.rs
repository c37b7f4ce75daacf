//! Tests of listing while names come and go, and of files that lose their name while they are open.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::harness::TestMount;
use crate::material::{need, noise};

/// Number of files: several times as many as one reply in the kernel's listing buffer holds.
const MANY: usize = 3000;

#[test]
fn a_directory_can_be_emptied_while_it_is_listed() {
    let test = TestMount::new();
    let directory = test.path.join("many");
    fs::create_dir(&directory).unwrap();
    for index in 0..MANY {
        fs::write(directory.join(format!("file {index}")), b"").unwrap();
    }
    for entry in fs::read_dir(&directory).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(
        fs::read_dir(&directory).unwrap().count(),
        0,
        "entries were skipped"
    );
    fs::remove_dir(&directory).unwrap();
}

#[test]
fn each_name_that_stays_is_listed_once_while_others_come_and_go() {
    let test = TestMount::new();
    let directory = test.path.join("churn");
    fs::create_dir(&directory).unwrap();
    for index in 0..1000 {
        fs::write(directory.join(format!("stay {index}")), b"").unwrap();
        fs::write(directory.join(format!("go {index}")), b"").unwrap();
    }
    let mut seen = Vec::new();
    for (index, entry) in fs::read_dir(&directory).unwrap().enumerate() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if index % 2 == 0 && index / 2 < 1000 {
            let _ = fs::remove_file(directory.join(format!("go {}", index / 2)));
            fs::write(directory.join(format!("new {index}")), b"").unwrap();
        }
        if name.starts_with("stay") {
            seen.push(name);
        }
    }
    let unique: BTreeSet<_> = seen.iter().collect();
    assert_eq!(unique.len(), 1000, "names were skipped");
    assert_eq!(seen.len(), 1000, "names came twice");
}

/// Programs that take a directory's links for two more than its subdirectories find all of them.
#[test]
fn walkers_that_count_links_find_everything() {
    need("perl", "perl");
    let test = TestMount::new();
    test.run("mkdir -p a/b/c; touch a/b/c/film; mkdir d");
    assert_eq!(
        test.run("stat -c %h . a a/b a/b/c/film .hls"),
        "1\n1\n1\n1\n1"
    );
    let found = test
        .run("perl -MFile::Find -e 'find(sub { print \"$File::Find::name\\n\" if -f }, \".\")'");
    assert!(found.lines().any(|line| line == "./a/b/c/film"), "{found}");
}

/// A server of NFS keeps handles for longer than the kernel keeps inodes, and over restarts.
#[test]
fn handles_outlive_the_kernels_inodes() {
    need("python3", "python3");
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        return; // only root may open by handle
    }
    let mut test = TestMount::new();
    test.run("mkdir -p a/b; echo film > a/b/film");
    let script = test.outside.join("handle.py");
    fs::write(&script, HANDLES).unwrap();
    let python = |test: &TestMount, what: &str| {
        test.run(&format!(
            "python3 {} {what} a a/b a/b/film",
            script.display()
        ))
    };
    let kept = test.outside.join("handles");
    python(&test, &format!("keep {}", kept.display()));
    test.restart();
    let opened = python(&test, &format!("open {}", kept.display()));
    assert_eq!(opened, "a: b\na/b: film\na/b/film: film");
}

/// Keeps handles in a file, or opens those that it holds, with their parents.
const HANDLES: &str = r"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
class Handle(ctypes.Structure):
    _fields_ = [('n', ctypes.c_uint), ('t', ctypes.c_int), ('b', ctypes.c_ubyte * 128)]
what, kept, paths = sys.argv[1], sys.argv[2], sys.argv[3:]
if what == 'keep':
    with open(kept, 'wb') as out:
        for path in paths:
            handle, mount = Handle(n=128), ctypes.c_int()
            if libc.name_to_handle_at(-100, path.encode(), ctypes.byref(handle), ctypes.byref(mount), 0):
                sys.exit(os.strerror(ctypes.get_errno()))
            out.write(bytes(handle))
else:
    mount = os.open('.', os.O_RDONLY)
    with open(kept, 'rb') as into:
        for path in paths:
            handle = Handle.from_buffer_copy(into.read(ctypes.sizeof(Handle)))
            fd = libc.open_by_handle_at(mount, ctypes.byref(handle), os.O_RDONLY)
            if fd < 0:
                sys.exit(path + ': ' + os.strerror(ctypes.get_errno()))
            shown = ' '.join(os.listdir(fd)) if os.path.isdir(path) else os.read(fd, 9).decode().strip()
            print(path + ': ' + shown)
";

#[test]
fn a_file_can_be_renamed_while_it_is_written() {
    let test = TestMount::new();
    let (part, film) = (test.path.join("f.part"), test.path.join("f.bin"));
    let bytes = noise(2_000_000, 7);
    let mut file = fs::File::create(&part).unwrap();
    file.write_all(&bytes[..1_000_000]).unwrap();
    fs::rename(&part, &film).unwrap();
    file.write_all(&bytes[1_000_000..]).unwrap();
    drop(file);
    assert!(fs::read(&film).unwrap() == bytes);
    assert!(!part.exists());
}

#[test]
fn a_file_without_a_name_lives_until_it_is_closed() {
    let test = TestMount::new();
    let path = test.path.join("gone");
    let bytes = noise(500_000, 8);
    fs::write(&path, &bytes).unwrap();
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    fs::remove_file(&path).unwrap();
    assert!(!path.exists());
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    let mut found = Vec::new();
    file.read_to_end(&mut found).unwrap();
    assert!(found == bytes);
    file.write_all_at(b"still writable", 10).unwrap();
    let mut start = [0; 24];
    file.read_exact_at(&mut start, 0).unwrap();
    assert_eq!(&start[10..], b"still writable");
    // The name is free again and stands for another file.
    fs::write(&path, b"new").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    drop(file);
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn a_replaced_file_stays_readable_for_those_who_have_it_open() {
    let test = TestMount::new();
    let (old, new) = (noise(300_000, 9), noise(200_000, 10));
    fs::write(test.path.join("f"), &old).unwrap();
    fs::write(test.path.join("g"), &new).unwrap();
    let mut file = fs::File::open(test.path.join("f")).unwrap();
    fs::rename(test.path.join("g"), test.path.join("f")).unwrap();
    let mut found = Vec::new();
    file.read_to_end(&mut found).unwrap();
    assert!(found == old);
    assert!(fs::read(test.path.join("f")).unwrap() == new);
}

#[test]
fn two_descriptors_see_each_others_writes() {
    let test = TestMount::new();
    let path = test.path.join("f");
    let writer = fs::File::create(&path).unwrap();
    let reader = fs::File::open(&path).unwrap();
    let other = fs::File::options().write(true).open(&path).unwrap();
    writer.write_all_at(&[1; 10_000], 0).unwrap();
    other.write_all_at(&[2; 5000], 2500).unwrap();
    let mut found = vec![0; 10_000];
    reader.read_exact_at(&mut found, 0).unwrap();
    let expected: Vec<u8> = (0..10_000)
        .map(|at| if (2500..7500).contains(&at) { 2 } else { 1 })
        .collect();
    assert!(found == expected);
    writer.set_len(3000).unwrap();
    assert_eq!(reader.metadata().unwrap().len(), 3000);
    assert_eq!(reader.read_at(&mut found, 2000).unwrap(), 1000);
}

#[test]
fn inode_numbers_survive_renames_and_restarts() {
    let mut test = TestMount::new();
    fs::create_dir(test.path.join("d")).unwrap();
    fs::write(test.path.join("d/f"), b"x").unwrap();
    let number = |path: &str| fs::metadata(test.path.join(path)).unwrap().ino();
    let (directory, file) = (number("d"), number("d/f"));
    fs::rename(test.path.join("d"), test.path.join("e")).unwrap();
    assert_eq!((number("e"), number("e/f")), (directory, file));
    test.restart();
    let number = |path: &str| fs::metadata(test.path.join(path)).unwrap().ino();
    assert_eq!((number("e"), number("e/f")), (directory, file));
}
