//! Tests of names that are arbitrary bytes, of long names, and of paths that are not names.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::harness::TestMount;

#[test]
fn any_bytes_are_a_name() {
    let mut test = TestMount::new();
    let names: Vec<Vec<u8>> = vec![
        b"with space".to_vec(),
        b"new\nline".to_vec(),
        b"tab\tquote\"and'and\\back".to_vec(),
        "日本語 Ünïcödé 🎬".as_bytes().to_vec(),
        vec![0xff, 0xfe, 0x80, b'.', b'x'],
        b"-rf".to_vec(),
        b"%2e%2e".to_vec(),
        b"...".to_vec(),
        b"$(touch x)`;|&<>*?".to_vec(),
        vec![b'n'; 255],
    ];
    for name in &names {
        let path = test.path.join(OsStr::from_bytes(name));
        fs::write(&path, name).unwrap();
        let directory = test.path.join("dirs").join(OsStr::from_bytes(name));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let listed = |test: &TestMount| {
        let mut found: Vec<Vec<u8>> = fs::read_dir(test.path.join("dirs"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_vec())
            .collect();
        found.sort();
        found
    };
    let mut expected = names.clone();
    expected.sort();
    assert_eq!(listed(&test), expected);
    test.restart();
    assert_eq!(listed(&test), expected);
    for name in &names {
        let path = test
            .path
            .join("dirs")
            .join(OsStr::from_bytes(name))
            .join(OsStr::from_bytes(name));
        assert_eq!(&fs::read(path).unwrap(), name);
        fs::remove_file(test.path.join(OsStr::from_bytes(name))).unwrap();
    }
}

#[test]
fn longer_names_are_refused() {
    let test = TestMount::new();
    let error = fs::write(test.path.join("n".repeat(256)), b"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidFilename, "{error}");
    let error = fs::create_dir(test.path.join("n".repeat(256))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidFilename, "{error}");
    let error = fs::metadata(test.path.join("n".repeat(256))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidFilename, "{error}");
}

#[test]
fn missing_is_missing_and_nothing_else() {
    let test = TestMount::new();
    fs::write(test.path.join("file"), b"x").unwrap();
    fs::create_dir(test.path.join("dir")).unwrap();
    let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
    assert_eq!(
        kind(fs::read(test.path.join("no")).map(drop)),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(fs::read(test.path.join("file/no")).map(drop)),
        ErrorKind::NotADirectory
    );
    assert_eq!(
        kind(fs::remove_file(test.path.join("dir"))),
        ErrorKind::IsADirectory
    );
    assert_eq!(
        kind(fs::remove_dir(test.path.join("file"))),
        ErrorKind::NotADirectory
    );
    assert_eq!(
        kind(fs::create_dir(test.path.join("dir"))),
        ErrorKind::AlreadyExists
    );
    assert_eq!(
        kind(fs::rename(test.path.join("dir"), test.path.join("file"))),
        ErrorKind::NotADirectory
    );
    assert_eq!(
        kind(fs::rename(test.path.join("file"), test.path.join("dir"))),
        ErrorKind::IsADirectory
    );
    fs::create_dir(test.path.join("dir/below")).unwrap();
    assert_eq!(
        kind(fs::rename(
            test.path.join("dir"),
            test.path.join("dir/below/x")
        )),
        ErrorKind::InvalidInput
    );
}
