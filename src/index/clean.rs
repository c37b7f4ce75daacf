//! The mark of a clean stop: a digest of the database's files as they were left. While they are
//! the same, byte for byte, so are the rows, and a start need not read each of them for the sum.
//!
//! The mark counts once: it is taken away before the database is opened. A run that ends otherwise
//! leaves none, and the next start reads all rows.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::disk;
use crate::model::stored::ENTRY_SCHEMA;

/// Beside the database's directory, in the state directory.
const FILE: &str = "index.clean";
/// How long a stop reads the files for it. They are in the kernel's cache mostly; from a slow disk
/// the rest of the daemon's 30 s is needed for other things, and the next start takes longer.
const STOP_BUDGET: Duration = Duration::from_secs(8);
/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

fn path(state: &Path) -> PathBuf {
    state.join(FILE)
}

/// Digests the files of `database`, which must be closed, and leaves the mark.
///
/// # Errors
/// What the disk says; there is no mark then.
pub(super) fn leave(state: &Path, database: &Path) -> io::Result<()> {
    let until = Instant::now() + STOP_BUDGET;
    let Some(text) = digest(database, &|| Instant::now() < until)? else {
        return Ok(());
    };
    disk::write_durably(&path(state), |file| file.write_all(text.as_bytes()))
}

/// How the last run left the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// With a mark that fits its files: they hold what was committed.
    Clean,
    Somehow,
}

/// Compares the files of `database` with the mark, and takes that away.
pub(super) fn take(state: &Path, database: &Path) -> Left {
    let path = path(state);
    let Ok(left) = fs::read_to_string(&path) else {
        return Left::Somehow;
    };
    // One that stays does no harm: the first write to the database makes it wrong.
    let _ = fs::remove_file(&path);
    match digest(database, &|| true) {
        Ok(Some(found)) if found == left => Left::Clean,
        _ => Left::Somehow,
    }
}

/// One line: the program and the records that it knows, since another one has to look for rows that
/// are too new for it; then the digest of names, lengths and bytes. `None` when `go_on` says so.
fn digest(database: &Path, go_on: &dyn Fn() -> bool) -> io::Result<Option<String>> {
    let mut hasher = blake3::Hasher::new();
    for path in files(database)? {
        let name = path.as_os_str().as_encoded_bytes();
        let mut file = File::open(database.join(&path))?;
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name);
        hasher.update(&file.metadata()?.len().to_le_bytes());
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if !go_on() {
                return Ok(None);
            }
            match file.read(&mut buffer)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            };
        }
    }
    Ok(Some(format!(
        "{} {ENTRY_SCHEMA} {}\n",
        env!("CARGO_PKG_VERSION"),
        hasher.finalize()
    )))
}

/// All files below `database`, relative to it, in order.
fn files(database: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut directories) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(database.join(&directory))? {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                directories.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
