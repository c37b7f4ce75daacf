//! What a start finds: files that were being written when the daemon ended, files on their way to
//! the remote, and spool files that no record names.

use super::{Inner, Vfs};
use crate::index::Rows;
use crate::ingest;
use crate::model::{
    BlobId, Entry, EntryId, EntryKind, ErrorKind, Extent, ExtentSource, FileContent, FileState,
    FsError, FsResult, Name, TreePath, ViewsState,
};
use crate::tree::NewEntry;

/// Where entries whose directory is unknown go.
const LOST_AND_FOUND: &str = "lost+found";

/// Rows that say which files are being written right now.
#[derive(Debug)]
pub struct WritingMarks {
    rows: Rows,
}

impl WritingMarks {
    #[must_use]
    pub fn new(rows: Rows) -> Self {
        Self { rows }
    }

    pub fn put(&self, id: EntryId) -> FsResult<()> {
        self.rows.put(id.as_bytes(), b"").map_err(io)
    }

    pub fn remove(&self, id: EntryId) -> FsResult<()> {
        self.rows.remove(id.as_bytes()).map_err(io)
    }

    fn all(&self) -> FsResult<Vec<EntryId>> {
        let rows = self.rows.scan(b"").map_err(io)?;
        Ok(rows
            .into_iter()
            .filter_map(|(key, _)| Some(EntryId::from_bytes(key.try_into().ok()?)))
            .collect())
    }
}

fn io(error: crate::index::IndexError) -> FsError {
    FsError::new(ErrorKind::Io, error.to_string())
}

/// What [`Vfs::resume`] did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    /// Files whose ingest goes on.
    pub files: u64,
    /// Files kept as `failed`, since the daemon ended while they were written.
    pub interrupted: u64,
    /// Spool files that nothing named, now in the tree again.
    pub adopted: u64,
}

impl Vfs {
    /// Takes up what an earlier run left: call it once, before the first request. Nothing in the
    /// spool is deleted here.
    ///
    /// # Errors
    /// `Io` when index or spool cannot be read.
    pub fn resume(&self) -> FsResult<Resumed> {
        let mut resumed = Resumed::default();
        for id in self.0.writing.all()? {
            resumed.interrupted += u64::from(self.0.keep_interrupted(id)?);
            self.0.writing.remove(id)?;
        }
        let unfinished = self.0.ingest.unfinished()?;
        let mut known = std::collections::HashSet::new();
        for id in unfinished {
            let Ok(entry) = self.0.tree.entry(id) else {
                continue;
            };
            if let EntryKind::File(content) = &entry.kind {
                known.extend(content.blobs.iter().map(|blob| blob.id));
                if let ViewsState::Ready(views) = &content.views {
                    known.insert(views.derived.id);
                }
                self.0.ingest.own(id, ingest::spooled_blobs(content));
                self.submit(id)?;
                resumed.files += 1;
            }
        }
        for blob in self.0.spool.ids() {
            if !known.contains(&blob) {
                resumed.adopted += u64::from(self.0.adopt(blob)?);
            }
        }
        Ok(resumed)
    }
}

impl Vfs {
    /// Submits stored files whose views were not made when the index was lost: nothing else
    /// remembers them. Reads every record once.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn submit_pending_views(&self) -> FsResult<u64> {
        let mut pending = Vec::new();
        self.0.visit_all(|entry| {
            if matches!(&entry.kind, EntryKind::File(c) if matches!(c.views, ViewsState::Pending)) {
                pending.push(entry.id);
            }
        })?;
        pending.iter().try_for_each(|id| self.submit(*id))?;
        Ok(pending.len() as u64)
    }
}

impl Inner {
    /// The file was being written when the daemon ended. What reached the spool is kept.
    fn keep_interrupted(&self, id: EntryId) -> FsResult<bool> {
        let kept = self.tree.update(id, |entry| {
            if let EntryKind::File(content) = &mut entry.kind {
                content.state = FileState::Failed(
                    "tgfs ended while it was being written; copy it again, or `tgfs retry` it as it is"
                        .to_owned(),
                );
            }
            Ok(())
        });
        match kept {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives a spool file that no unfinished entry names a place in the tree again. Its record says
    /// whose it was; without one, or when that place is taken, it goes to `/lost+found`.
    fn adopt(&self, blob: BlobId) -> FsResult<bool> {
        let record = self
            .spool
            .read_record(blob)
            .ok()
            .and_then(|bytes| ingest::read_spool_record(&bytes));
        if let Some(record) = &record
            && self.is_superfluous(blob, record)?
        {
            return Ok(false);
        }
        let Some(file) = self.spool.get(blob) else {
            return Ok(false);
        };
        let len = std::fs::metadata(&file.path)?.len();
        if len == 0 {
            self.ingest.disown_blob(blob);
            return Ok(false);
        }
        let (name, attributes) = match &record {
            Some(record) => (record.name.clone(), Some(record.attributes.clone())),
            None => (Name::new(blob.to_string())?, None),
        };
        let parent = record
            .as_ref()
            .map(|record| record.parent)
            .filter(|parent| self.tree.node(*parent).is_ok());
        let parent = match parent {
            Some(parent) if self.tree.child(parent, &name)?.is_none() => parent,
            _ => self.lost_and_found()?,
        };
        let new = NewEntry {
            mode: 0o600,
            uid: own_uid(),
            gid: own_gid(),
        };
        let content = FileContent {
            size: len,
            extents: vec![Extent {
                source: ExtentSource::Blob(blob),
                offset: 0,
                len,
            }],
            blobs: vec![crate::model::Blob {
                id: blob,
                len,
                digest: None,
                slices: Vec::new(),
            }],
            state: FileState::Failed(
                "found in the spool without a record in the index; `tgfs retry` ingests it".into(),
            ),
            ..FileContent::empty()
        };
        let name = self.free_name(parent, name)?;
        let entry = self
            .tree
            .add(parent, name, new, EntryKind::File(Box::new(content)))?;
        if let Some(attributes) = attributes {
            self.tree.update(entry.id, |entry| {
                entry.attributes = attributes;
                Ok(())
            })?;
        }
        self.own_spooled(&self.tree.entry(entry.id)?)?;
        Ok(true)
    }

    /// Whether the tree has a spool file's bytes, or newer ones: then it goes the usual way.
    fn is_superfluous(&self, blob: BlobId, record: &Entry) -> FsResult<bool> {
        let EntryKind::File(spooled) = &record.kind else {
            return Ok(false);
        };
        let is_derived = matches!(&spooled.views, ViewsState::Ready(v) if v.derived.id == blob);
        let current = match self.tree.entry(record.id) {
            Ok(entry) => entry,
            // The user removed the file, and the crash came before its bytes went; derived bytes
            // of a file that is gone are of no use to anybody.
            Err(error) if error.kind == ErrorKind::NotFound => {
                let was_removed = self.ingest.unpublished_at_start().contains(&record.id);
                if is_derived || was_removed {
                    self.ingest.disown_blob(blob);
                }
                return Ok(is_derived || was_removed);
            }
            Err(error) => return Err(error),
        };
        let EntryKind::File(content) = &current.kind else {
            return Ok(false);
        };
        if ingest::spooled_blobs(content).contains(&blob) {
            // Stored already or about to be; ingest lets go of the copy here when it may.
            self.ingest.own(current.id, ingest::spooled_blobs(content));
            self.ingest.submit(current.id);
            return Ok(true);
        }
        // A record newer than the index is what a rolled back index left: those bytes count.
        if is_derived || spooled.version < content.version && content.is_durable() {
            self.ingest.disown_blob(blob);
            return Ok(true);
        }
        Ok(false)
    }

    fn free_name(&self, parent: EntryId, name: Name) -> FsResult<Name> {
        let mut candidate = name.clone();
        let mut number = 1;
        while self.tree.child(parent, &candidate)?.is_some() {
            number += 1;
            let suffix = format!(".{number}");
            let keep = crate::model::MAX_NAME_BYTES - suffix.len();
            let mut bytes = name.as_bytes()[..name.as_bytes().len().min(keep)].to_vec();
            bytes.extend_from_slice(suffix.as_bytes());
            candidate = Name::new(bytes)?;
        }
        Ok(candidate)
    }

    fn lost_and_found(&self) -> FsResult<EntryId> {
        let name = Name::new(LOST_AND_FOUND)?;
        if let Some(child) = self.tree.child(EntryId::ROOT, &name)? {
            return Ok(child.id);
        }
        let new = NewEntry {
            mode: 0o700,
            uid: own_uid(),
            gid: own_gid(),
        };
        Ok(self
            .tree
            .add(EntryId::ROOT, name, new, EntryKind::Directory)?
            .id)
    }
}

fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn own_gid() -> u32 {
    nix::unistd::getegid().as_raw()
}

/// Stopping.
impl Vfs {
    /// Commits every draft; afterwards all that was written is in spool and journal.
    ///
    /// # Errors
    /// The first error; the others are tried all the same.
    pub async fn commit_all(&self) -> FsResult<()> {
        let mut result = Ok(());
        for file in self.0.open.all_files() {
            let committed = self.commit_file(&file).await;
            result = result.and(committed);
        }
        let waiting = self.0.settle.take_all();
        let vfs = self.clone();
        let submitted = super::files::blocking(move || {
            waiting.into_iter().try_for_each(|id| match vfs.submit(id) {
                Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
                result => result,
            })
        })
        .await;
        result.and(submitted)
    }

    /// Where a path is in the tree, for messages.
    #[must_use]
    pub fn describe(&self, id: EntryId) -> String {
        self.0
            .tree
            .path_of(id)
            .unwrap_or_else(|_| TreePath::root())
            .display()
    }
}
