//! One directory of block and table files: their names, reading, writing, scanning.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::disk::{self, TEMPORARY_SUFFIX};
use crate::model::{BlockIndex, PackId};

/// Suffix of a file that holds a pack's table.
const TABLE: &str = "table";
/// Most bytes that are read of a file: the table of the largest pack fits.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A file, identified by its content. Among files that were last used at the same time, a block sorts
/// before its pack's table, so the table is evicted after the blocks that need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CachedFile {
    /// A block as the store holds it.
    Block(PackId, BlockIndex),
    /// The pack's table.
    Table(PackId),
}

impl CachedFile {
    /// Returns the pack that the content belongs to.
    pub const fn pack(&self) -> PackId {
        match self {
            Self::Block(pack, _) | Self::Table(pack) => *pack,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Block(pack, block) => format!("{pack}.{}", block.0),
            Self::Table(pack) => format!("{pack}.{TABLE}"),
        }
    }

    fn parse(name: &OsStr) -> Option<Self> {
        let (pack, what) = name.to_str()?.split_once('.')?;
        let pack = pack.parse().ok()?;
        if what == TABLE {
            return Some(Self::Table(pack));
        }
        let block = what.parse().ok()?;
        // `+7` and `007` parse as numbers, but they are not names of ours.
        let item = Self::Block(pack, BlockIndex(block));
        (item.name() == name.to_str()?).then_some(item)
    }
}

/// Milliseconds since 1970.
pub type Millis = u64;

/// Returns the time of the clock.
pub fn now() -> Millis {
    millis(SystemTime::now())
}

fn millis(time: SystemTime) -> Millis {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A directory of cached files, not locked.
#[derive(Debug)]
pub struct CacheDirectory {
    root: PathBuf,
}

/// Decision whether a scan goes on after a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanStep {
    Continue,
    Stop,
}

impl CacheDirectory {
    /// Names a directory, which must exist before files are written.
    pub const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns the path of the directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the subdirectory of a file: one of 256, by the first byte of the pack's id.
    fn directory(&self, item: CachedFile) -> PathBuf {
        self.root.join(format!("{:02x}", item.pack().as_bytes()[0]))
    }

    fn path(&self, item: CachedFile) -> PathBuf {
        self.directory(item).join(item.name())
    }

    /// Returns the bytes of a file; `None` when it is absent.
    ///
    /// # Errors
    /// The error that the file system reports.
    pub fn read(&self, item: CachedFile) -> io::Result<Option<Bytes>> {
        let file = match disk::open_regular(&self.path(item)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = file.metadata()?.len();
        let mut bytes = Vec::with_capacity(usize::try_from(len.min(MAX_FILE_BYTES)).unwrap_or(0));
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        Ok(Some(bytes.into()))
    }

    /// Writes a file and renames it into place. The write is not durable: the check at reading detects a
    /// file that a crash tore.
    ///
    /// # Errors
    /// The error that the file system reports. No part of the file is left then.
    pub fn write(&self, item: CachedFile, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(item);
        let mut temporary = path.clone().into_os_string();
        temporary.push(TEMPORARY_SUFFIX);
        let written = self
            .create(item, Path::new(&temporary))
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&temporary, &path));
        if written.is_err() {
            // The first error is the one to report; the next scan removes what is left.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn create(&self, item: CachedFile, path: &Path) -> io::Result<File> {
        let open = || disk::create_regular(path);
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk::make_private_directory(&self.directory(item))?;
                open()
            }
            opened => opened,
        }
    }

    /// Stores the time of use of a file, for the next start.
    ///
    /// # Errors
    /// The error that the file system reports.
    pub fn touch(&self, item: CachedFile, used: Millis) -> io::Result<()> {
        let file = disk::open_regular(&self.path(item))?;
        file.set_modified(UNIX_EPOCH + Duration::from_millis(used))
    }

    /// Removes a file. An absent file is no error.
    ///
    /// # Errors
    /// The error that the file system reports.
    pub fn remove(&self, item: CachedFile) -> io::Result<()> {
        match fs::remove_file(self.path(item)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Calls `each` with every file of ours, its length in bytes and its time of use. Removes files that a
    /// crash left half written, and leaves foreign files alone.
    ///
    /// # Errors
    /// The error that the file system reports. The scan ends there.
    pub fn scan(
        &self,
        each: &mut dyn FnMut(CachedFile, u64, Millis) -> ScanStep,
    ) -> io::Result<()> {
        for first in 0..=u8::MAX {
            let directory = self.root.join(format!("{first:02x}"));
            let files = match fs::read_dir(&directory) {
                Ok(files) => files,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for file in files {
                let file = file?;
                let name = file.file_name();
                if name
                    .to_str()
                    .is_some_and(|name| name.ends_with(TEMPORARY_SUFFIX))
                {
                    fs::remove_file(file.path())?;
                    continue;
                }
                let Some(item) = CachedFile::parse(&name) else {
                    continue;
                };
                let metadata = match file.metadata() {
                    Ok(metadata) => metadata,
                    // The file was removed after the directory was read.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                let used = metadata.modified().map_or(0, millis);
                if each(item, metadata.len(), used) == ScanStep::Stop {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Returns the free bytes of the file system that our user may use.
    pub fn free(&self) -> u64 {
        // Without an answer the file system counts as empty. A failing write shows when it is full.
        nix::sys::statvfs::statvfs(&self.root).map_or(u64::MAX, |space| {
            space.blocks_available() * space.fragment_size()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_foreign_ones_are_none() {
        let pack = PackId::from_bytes([0xab; 16]);
        for item in [
            CachedFile::Block(pack, BlockIndex(7)),
            CachedFile::Table(pack),
        ] {
            assert_eq!(CachedFile::parse(OsStr::new(&item.name())), Some(item));
        }
        for foreign in [
            "x",
            "x.table",
            "ab.0",
            &format!("{pack}.07"),
            &format!("{pack}.+7"),
        ] {
            assert_eq!(CachedFile::parse(OsStr::new(foreign)), None, "{foreign}");
        }
    }
}
