//! The store alone gives the tree back: paths, ids, inode numbers, times, bytes.

use tgfs::model::{EntryId, Ino, Timestamp};

use crate::house::{House, film};
use crate::material::noise;

#[derive(Debug, PartialEq)]
struct Seen {
    path: String,
    id: Option<EntryId>,
    ino: Ino,
    mtime: Timestamp,
    mode: u32,
    bytes: Option<Vec<u8>>,
}

fn tree(house: &House, directory: &str, seen: &mut Vec<Seen>) {
    for name in house.names(directory) {
        let path = format!("{directory}/{name}");
        let attr = house.attr(&path).unwrap();
        let is_directory = attr.kind == tgfs::vfs::FileKind::Directory;
        seen.push(Seen {
            id: attr.id,
            ino: attr.ino,
            mtime: attr.mtime,
            mode: attr.mode,
            bytes: (!is_directory).then(|| house.read(&path).unwrap()),
            path: path.clone(),
        });
        if is_directory {
            tree(house, &path, seen);
        }
    }
}

fn all(house: &House) -> Vec<Seen> {
    let mut seen = Vec::new();
    tree(house, "", &mut seen);
    seen
}

#[test]
fn the_tree_comes_back_from_the_store_alone() {
    let mut house = House::new();
    house.stored("Heat (1995)/heat.mkv", &film());
    house.stored("a/b/c/deep.bin", &noise(2_500_000, 1));
    for number in 0..30 {
        let name = format!("a/small {number}\n\"é.txt");
        house.write(&name, &noise(100 * number, 9)).unwrap();
    }
    house.stored("gone.bin", b"gone");
    house.stored("moved.bin", &noise(5000, 2));
    house.settled();
    house.overwrite("a/b/c/deep.bin", 1_000_000, b"changed in the middle");
    house.rename("moved.bin", "a/b/moved.bin").unwrap();
    house.copy("a/b/moved.bin", "copy.bin").unwrap();
    house.rename("a/b", "renamed").unwrap();
    house.remove("gone.bin").unwrap();
    house.settled();
    house.cleanup(std::time::Duration::ZERO);
    let before = all(&house);
    let newest = before
        .iter()
        .map(|seen| seen.ino)
        .filter(|ino| !ino.is_virtual())
        .max();
    house.stop();
    house.remove_directory("state");
    house.remove_directory("spool");
    house.start();
    let after = all(&house);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after, "{} and {}", before.path, after.path);
    }
    assert_eq!(before.len(), after.len());
    assert!(house.names("").iter().all(|name| name != "lost+found"));
    house.write("next.bin", b"next").unwrap();
    assert!(Some(house.attr("next.bin").unwrap().ino) > newest);
    house.wait_for("next.bin", "stored");
}
