//! The state directory: a journal of events, and the parts of documents as files.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::event::Event;

/// Appends one line an event. A line that a killed process did not finish is cut off at the next start.
pub(crate) struct Journal {
    file: File,
    directory: PathBuf,
}

/// Takes the directory for one server, until the file is dropped.
pub(crate) fn lock(directory: &Path) -> Result<File> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let file = File::create(directory.join("lock"))
        .with_context(|| format!("cannot write in {}", directory.display()))?;
    file.try_lock()
        .with_context(|| format!("another server uses {}", directory.display()))?;
    Ok(file)
}

impl Journal {
    /// Opens the directory, makes it if need be, and returns the events so far.
    pub(crate) fn open(directory: &Path) -> Result<(Self, Vec<Event>)> {
        for part in ["documents", "uploads"] {
            fs::create_dir_all(directory.join(part))
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let path = directory.join("journal");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let events = text[..whole]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).context("a line of the journal is damaged"))
            .collect::<Result<Vec<Event>>>()?;
        file.set_len(whole as u64)?;
        let journal = Self {
            file,
            directory: directory.to_owned(),
        };
        Ok((journal, events))
    }

    pub(crate) fn append(&mut self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .context("cannot write the journal")
    }

    /// Returns the directory of a document's parts.
    pub(crate) fn document(&self, id: i64) -> PathBuf {
        self.directory.join("documents").join(id.to_string())
    }

    /// Returns the directory of an upload's parts, until a message uses them.
    pub(crate) fn upload(&self, bot: u32, file_id: i64) -> PathBuf {
        self.directory
            .join("uploads")
            .join(format!("{bot}-{file_id}"))
    }

    /// Removes documents that no post names and uploads that no process remembers.
    pub(crate) fn sweep(&self, is_known: impl Fn(i64) -> bool) -> Result<()> {
        for entry in fs::read_dir(self.directory.join("documents"))? {
            let entry = entry?;
            let id = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if !id.is_some_and(&is_known) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        for entry in fs::read_dir(self.directory.join("uploads"))? {
            fs::remove_dir_all(entry?.path())?;
        }
        Ok(())
    }
}
