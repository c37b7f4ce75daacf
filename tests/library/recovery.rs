//! The store alone gives the tree back: paths, ids, inode numbers, times, bytes.

use tgfs::model::{EntryId, Ino, Timestamp};

use crate::material::noise;
use crate::test_library::{TestLibrary, film};

#[derive(Debug, PartialEq)]
struct Seen {
    path: String,
    id: Option<EntryId>,
    ino: Ino,
    mtime: Timestamp,
    mode: u32,
    bytes: Option<Vec<u8>>,
}

fn tree(library: &TestLibrary, directory: &str, seen: &mut Vec<Seen>) {
    for name in library.names(directory) {
        let path = format!("{directory}/{name}");
        let attr = library.attr(&path).unwrap();
        let is_directory = attr.kind == tgfs::vfs::FileKind::Directory;
        seen.push(Seen {
            id: attr.id,
            ino: attr.ino,
            mtime: attr.mtime,
            mode: attr.mode,
            bytes: (!is_directory).then(|| library.read(&path).unwrap()),
            path: path.clone(),
        });
        if is_directory {
            tree(library, &path, seen);
        }
    }
}

fn all(library: &TestLibrary) -> Vec<Seen> {
    let mut seen = Vec::new();
    tree(library, "", &mut seen);
    seen
}

#[test]
fn the_tree_comes_back_from_the_store_alone() {
    let mut library = TestLibrary::new();
    library.stored("Heat (1995)/heat.mkv", &film());
    library.stored("a/b/c/deep.bin", &noise(2_500_000, 1));
    for number in 0..30 {
        let name = format!("a/small {number}\n\"é.txt");
        library.write(&name, &noise(100 * number, 9)).unwrap();
    }
    library.stored("gone.bin", b"gone");
    library.stored("moved.bin", &noise(5000, 2));
    library.settled();
    library.overwrite("a/b/c/deep.bin", 1_000_000, b"changed in the middle");
    library.rename("moved.bin", "a/b/moved.bin").unwrap();
    library.copy("a/b/moved.bin", "copy.bin").unwrap();
    library.rename("a/b", "renamed").unwrap();
    library.remove("gone.bin").unwrap();
    library.settled();
    library.cleanup(std::time::Duration::ZERO);
    let before = all(&library);
    let newest = before
        .iter()
        .map(|seen| seen.ino)
        .filter(|ino| !ino.is_virtual())
        .max();
    library.stop();
    library.remove_directory("state");
    library.remove_directory("spool");
    library.start();
    let after = all(&library);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after, "{} and {}", before.path, after.path);
    }
    assert_eq!(before.len(), after.len());
    assert!(library.names("").iter().all(|name| name != "lost+found"));
    library.write("next.bin", b"next").unwrap();
    assert!(Some(library.attr("next.bin").unwrap().ino) > newest);
    library.wait_for("next.bin", "stored");
}
