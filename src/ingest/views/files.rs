//! Files that the media tool reads and writes: the film as one plain file, and the derived file.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ingest::extents::ExtentList;
use crate::ingest::parts::CommonParts;
use crate::ingest::spool_record::spool_record;
use crate::model::{
    BlobId, Entry, EntryId, EntryKind, ErrorKind, Extent, ExtentSource, FileContent, FsError,
    FsResult, ViewsState,
};
use crate::read::ExtentReader;
use crate::spool::Spool;

/// Bytes copied at a time where the tool needs one plain file.
const COPY_BYTES: u64 = 4 << 20;

/// Kind of a file that a step makes in the spool, and that is useless after the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MakingKind {
    /// The bytes of views, until they are complete.
    Derived,
    /// A copy of a whole file.
    Whole,
}

impl MakingKind {
    /// Returns the word in the names of such files.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Derived => "derived",
            Self::Whole => "whole",
        }
    }
}

/// Returns true for the name of a file that a step makes: `<entry>.<kind>-<random>`. Earlier versions
/// wrote `<entry>.derived` and `<entry>.remade`.
fn is_in_the_making(name: &str) -> bool {
    let Some((entry, rest)) = name.split_once('.') else {
        return false;
    };
    let kind = match rest.split_once('-') {
        Some((kind, random)) if random.parse::<BlobId>().is_ok() => kind,
        Some(_) => return false,
        None => rest,
    };
    let kinds = [MakingKind::Derived, MakingKind::Whole].map(MakingKind::as_str);
    entry.parse::<EntryId>().is_ok() && (kinds.contains(&kind) || kind == "remade")
}

/// File that the media tool reads. A temporary copy is removed when this is dropped.
#[derive(Debug)]
pub struct ToolInput {
    pub path: PathBuf,
    is_copy: bool,
}

impl Drop for ToolInput {
    fn drop(&mut self) {
        if self.is_copy {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Access to the files of the media tool, which lie in the spool.
#[derive(Debug)]
pub struct ToolFiles {
    spool: Arc<Spool>,
    reader: ExtentReader,
}

impl ToolFiles {
    /// Builds the access over the parts that it needs.
    #[must_use]
    pub fn new(parts: &CommonParts) -> Self {
        Self {
            spool: Arc::clone(&parts.spool),
            reader: parts.reader.clone(),
        }
    }

    /// Returns a new path where a derived file is made. Work that was dropped may still write to its own
    /// for a while.
    #[must_use]
    pub fn derived_path(&self, entry: &Entry) -> PathBuf {
        self.new_path(entry, MakingKind::Derived)
    }

    fn new_path(&self, entry: &Entry, kind: MakingKind) -> PathBuf {
        let name = format!("{}.{}-{}", entry.id, kind.as_str(), BlobId::random());
        self.spool.directory().join(name)
    }

    /// Removes the files that steps of an earlier run left in the middle. Some are as large as a film.
    /// Blocking.
    pub fn sweep(&self) {
        let found = std::fs::read_dir(self.spool.directory());
        for file in found.into_iter().flatten().flatten() {
            let name = file.file_name();
            if !name.to_str().is_some_and(is_in_the_making) {
                continue;
            }
            // The next start tries again.
            if let Err(error) = std::fs::remove_file(file.path()) {
                tracing::debug!(file = %file.path().display(), %error, "a file that a step left stays behind");
            }
        }
    }

    /// Returns the file as one plain file: its spool file if that holds all of it, otherwise a copy.
    ///
    /// # Errors
    /// `TooLarge` when a copy is larger than the spool can ever take; `NoSpace` when it is too
    /// large at the moment; errors of the disk and of the read path.
    pub async fn input(&self, entry: &Entry, content: &FileContent) -> FsResult<ToolInput> {
        if let [extent] = content.extents.as_slice()
            && let ExtentSource::Blob(blob) = extent.source
            && extent.offset == 0
            && let Some(file) = self.spool.get(blob)
            && std::fs::metadata(&file.path)?.len() == content.size
        {
            return Ok(ToolInput {
                path: file.path.clone(),
                is_copy: false,
            });
        }
        self.check_room(content)?;
        let input = ToolInput {
            path: self.new_path(entry, MakingKind::Whole),
            is_copy: true,
        };
        self.copy(content, &input.path).await?;
        Ok(input)
    }

    /// Checks that the spool has room for a copy. Holes stay holes in the copy, and take no room.
    fn check_room(&self, content: &FileContent) -> FsResult<()> {
        let is_hole = |extent: &&Extent| extent.source == ExtentSource::Zeros;
        let holes = content.extents.iter().filter(is_hole);
        let taken = content.size - holes.map(|extent| extent.len).sum::<u64>();
        if taken > self.spool.capacity() {
            return Err(FsError::new(
                ErrorKind::TooLarge,
                "the media tool needs a whole copy, and that is larger than the spool can ever take; raise TGFS_SPOOL_SIZE and run `tgfs retry`",
            ));
        }
        if self.spool.free() < taken {
            return Err(FsError::new(
                ErrorKind::NoSpace,
                "the spool has no room for the copy that the media tool needs",
            ));
        }
        Ok(())
    }

    async fn copy(&self, content: &FileContent, path: &Path) -> FsResult<()> {
        let mut file = tokio::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(path)
            .await?;
        let extents = ExtentList::new(content.extents.clone());
        let mut at = 0;
        for extent in &content.extents {
            let end = at + extent.len;
            if extent.source == ExtentSource::Zeros {
                tokio::io::AsyncSeekExt::seek(&mut file, SeekFrom::Start(end)).await?;
                at = end;
            }
            while at < end {
                let part = extents.range(at, COPY_BYTES.min(end - at));
                let bytes = self.reader.read(&part, &content.blobs).await?;
                tokio::io::AsyncWriteExt::write_all(&mut file, &bytes).await?;
                at += bytes.len() as u64;
            }
        }
        tokio::io::AsyncWriteExt::flush(&mut file).await?;
        file.set_len(content.size).await?;
        Ok(())
    }

    /// Moves a derived file into the spool, with a record that names its entry. Returns `state`.
    ///
    /// # Errors
    /// `Io` when the spool's disk fails.
    pub fn take_derived(
        &self,
        entry: &Entry,
        path: &Path,
        state: ViewsState,
    ) -> FsResult<ViewsState> {
        let Some(id) = state.derived().map(|derived| derived.id) else {
            return Ok(state);
        };
        let mut record = entry.clone();
        if let EntryKind::File(content) = &mut record.kind {
            content.views = state.clone();
        }
        self.spool.write_record(id, &spool_record(&record)?)?;
        self.spool.adopt(id, path)?;
        self.spool.sync_directory()?;
        Ok(state)
    }
}
