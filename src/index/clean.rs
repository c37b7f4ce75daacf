//! The mark of a clean stop, which is a digest of the database's files. While the files match it, the rows
//! are unchanged, and a start need not read every row for the sum.
//!
//! A start removes the mark before it opens the database. A run that does not stop cleanly leaves none,
//! and the next start reads all rows.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::disk;
use crate::model::stored::ENTRY_SCHEMA;

/// Name of the mark in the state directory.
const FILE: &str = "index.clean";
/// Longest time that a stop reads files for the mark. The kernel's cache holds most of them. A stop
/// that needs more leaves no mark, since the daemon has 30 s for everything.
const STOP_BUDGET: Duration = Duration::from_secs(8);
/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

fn path(state: &Path) -> PathBuf {
    state.join(FILE)
}

/// Digests the files of `database`, which must be closed, and writes the mark.
///
/// # Errors
/// When the disk fails. There is no mark then.
pub(super) fn leave(state: &Path, database: &Path) -> io::Result<()> {
    let until = Instant::now() + STOP_BUDGET;
    let Some(text) = digest(database, &|| Instant::now() < until)? else {
        return Ok(());
    };
    disk::write_durably(&path(state), |file| file.write_all(text.as_bytes()))
}

/// State in which the last run left the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Left {
    /// A mark matches the files, so they hold every commit.
    Clean,
    /// The last half second of rows that are not in the journal may be missing.
    #[default]
    Somehow,
}

/// Compares the files of `database` with the mark, and removes it.
pub(super) fn take(state: &Path, database: &Path) -> Left {
    let path = path(state);
    let Ok(left) = disk::read_regular_text(&path) else {
        return Left::Somehow;
    };
    // A mark that stays does no harm. The first write to the database makes it wrong.
    let _ = fs::remove_file(&path);
    match digest(database, &|| true) {
        Ok(Some(found)) if found == left => Left::Clean,
        _ => Left::Somehow,
    }
}

/// Returns the line of the mark: release, newest schema, digest of names, lengths and bytes. The release
/// is part of it because another release must check for rows that are too new for it. Returns `None` when
/// `go_on` ends the work.
fn digest(database: &Path, go_on: &dyn Fn() -> bool) -> io::Result<Option<String>> {
    let mut hasher = blake3::Hasher::new();
    for path in files(database)? {
        let name = path.as_os_str().as_encoded_bytes();
        let mut file = disk::open_regular(&database.join(&path))?;
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

/// Returns all files below `database`, relative to it, sorted.
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
