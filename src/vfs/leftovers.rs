//! Leftovers of the last run: files that were being written when the daemon ended, files on their
//! way to the remote, and spool files that no record names.

use std::collections::HashSet;
use std::sync::Arc;

use super::draft::take_over_slices;
use super::interrupted::{INTERRUPTED, InterruptedFiles};
use super::sealing::Sealer;
use super::spool_records::SpoolRecords;
use crate::index::ChildKind;
use crate::ingest::{self, Ingest};
use crate::model::{
    Blob, BlobId, ByteRange, Entry, EntryId, EntryKind, ErrorKind, Extent, ExtentSource,
    FileContent, FileState, FsResult, MAX_NAME_BYTES, Name, ViewsState,
};
use crate::spool::Spool;
use crate::tree::{NewEntry, Tree};

/// Directory for entries whose own directory is unknown.
const LOST_AND_FOUND: &str = "lost+found";
/// Message on a file that was recovered from its spool file alone. It may have been only half written.
const FOUND: &str = "found in the spool without a record in the index; `tgfs retry` ingests it";

/// Outcome of [`LeftoverFiles::take_up`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    /// Files whose ingest goes on.
    pub files: u64,
    /// Files kept as `failed`, because the daemon ended while they were being written.
    pub interrupted: u64,
    /// Spool files that nothing named and that are now in the tree again.
    pub adopted: u64,
}

/// Finder of unfinished work of the last run, which it gives back to its files.
#[derive(Debug)]
pub struct LeftoverFiles {
    tree: Arc<Tree>,
    spool: Arc<Spool>,
    ingest: Ingest,
    interrupted: InterruptedFiles,
    records: Arc<SpoolRecords>,
    sealer: Arc<Sealer>,
}

/// The parts that a restart concerns.
#[derive(Debug)]
pub struct LeftoverParts {
    pub tree: Arc<Tree>,
    pub spool: Arc<Spool>,
    pub ingest: Ingest,
    pub interrupted: InterruptedFiles,
    pub records: Arc<SpoolRecords>,
    pub sealer: Arc<Sealer>,
}

impl LeftoverFiles {
    /// Creates the finder of one library's leftovers.
    pub fn new(parts: LeftoverParts) -> Self {
        Self {
            tree: parts.tree,
            spool: parts.spool,
            ingest: parts.ingest,
            interrupted: parts.interrupted,
            records: parts.records,
            sealer: parts.sealer,
        }
    }

    /// Takes up the leftovers. Runs once, before the first change. Deletes nothing in the spool.
    ///
    /// # Errors
    /// `Io` when index or spool cannot be read.
    pub fn take_up(&self) -> FsResult<Resumed> {
        let mut resumed = Resumed {
            interrupted: self.interrupted.keep_all()?,
            ..Resumed::default()
        };
        let unfinished = self.ingest.unfinished()?;
        let mut known = HashSet::new();
        for id in unfinished {
            let Ok(entry) = self.tree.entry(id) else {
                continue;
            };
            if let EntryKind::File(content) = &entry.kind {
                known.extend(content.blobs.iter().map(|blob| blob.id));
                known.extend(content.views.derived().map(|derived| derived.id));
                self.ingest.own(id, ingest::spooled_blobs(content));
                self.sealer.submit(id)?;
                resumed.files += 1;
            }
        }
        for blob in self.spool.ids() {
            if !known.contains(&blob) {
                resumed.adopted += u64::from(self.adopt(blob)?);
            }
        }
        Ok(resumed)
    }

    /// Gives the bytes written for it to a file whose writing was cut off before its first commit.
    fn give_back(&self, blob: BlobId, len: u64, record: &Entry) -> FsResult<bool> {
        let EntryKind::File(spooled) = &record.kind else {
            return Ok(false);
        };
        let given = self.tree.update(record.id, |entry| {
            let EntryKind::File(content) = &mut entry.kind else {
                return Ok(false);
            };
            if content.size > 0 || content.version != spooled.version {
                return Ok(false);
            }
            let whole = whole_blob(blob, len, INTERRUPTED.to_owned());
            content.version += 1;
            (content.size, content.extents, content.blobs) =
                (whole.size, whole.extents, whole.blobs);
            (content.state, content.views) = (whole.state, whole.views);
            Ok(true)
        });
        match given {
            Ok((entry, true)) => self.records.own(&entry).map(|()| true),
            Ok((_, false)) => Ok(false),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives a spool file that no unfinished entry names a place in the tree again. Its record names the
    /// owner. Without a record, or when the owner's place is taken, it goes to `/lost+found`.
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
        if let Some(record) = &record
            && (self.give_back(blob, len, record)? || self.restore(blob, record)?)
        {
            return Ok(true);
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
        let content = whole_blob(blob, len, FOUND.to_owned());
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
        self.records.own(&self.tree.entry(entry.id)?)?;
        Ok(true)
    }

    /// Restores a file as its spool record describes it, if all of its bytes are available. The spool file
    /// of an overlay is not enough, because it has holes where the bytes of the base belong.
    fn restore(&self, blob: BlobId, record: &Entry) -> FsResult<bool> {
        let EntryKind::File(spooled) = &record.kind else {
            return Ok(false);
        };
        let mut content = (**spooled).clone();
        // A record from before the first commit names the owner of the bytes, but not their layout.
        if content.blob(blob).is_none() {
            return Ok(false);
        }
        let current = match self.tree.entry(record.id) {
            Ok(entry) => Some(entry),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(Entry {
            kind: EntryKind::File(current),
            ..
        }) = &current
        {
            if current.version >= content.version {
                return Ok(false);
            }
            take_over_slices(&mut content.blobs, current);
        }
        let at_hand = content.extents.iter().all(|extent| match extent.source {
            ExtentSource::Zeros => true,
            ExtentSource::Blob(id) => {
                let range = ByteRange::new(extent.offset, extent.len);
                self.spool.get(id).is_some()
                    || content.blob(id).is_some_and(|blob| blob.covers(range))
            }
        });
        if !at_hand {
            return Ok(false);
        }
        if !matches!(content.state, FileState::Failed(_)) {
            content.state = FileState::Failed(FOUND.to_owned());
        }
        content.views = ViewsState::Pending;
        let entry = match current {
            Some(_) => {
                let replaced = self.tree.update(record.id, |entry| {
                    entry.kind = EntryKind::File(Box::new(content));
                    entry.attributes.mtime = record.attributes.mtime;
                    Ok(())
                })?;
                replaced.0
            }
            None => {
                let kind = EntryKind::File(Box::new(content));
                let mut entry = Entry {
                    kind,
                    ..record.clone()
                };
                if self.tree.node(entry.parent).is_err() {
                    entry.parent = self.lost_and_found()?;
                }
                entry.name = self.free_name(entry.parent, entry.name)?;
                self.tree.restore(entry)?
            }
        };
        self.records.own(&entry)?;
        Ok(true)
    }

    /// Returns whether the tree has the bytes of a spool file, or newer ones. Such a spool file is
    /// then handled by ingest as usual.
    fn is_superfluous(&self, blob: BlobId, record: &Entry) -> FsResult<bool> {
        let EntryKind::File(spooled) = &record.kind else {
            return Ok(false);
        };
        let is_derived = spooled
            .views
            .derived()
            .is_some_and(|derived| derived.id == blob);
        let current = match self.tree.entry(record.id) {
            Ok(entry) => entry,
            // The user removed the file, and the crash came before its bytes were deleted. Derived
            // bytes of a removed file are of no use to anybody.
            Err(error) if error.kind == ErrorKind::NotFound => {
                let was_removed = self.ingest.unpublished_at_start().contains(&record.id)
                    || self.spool.was_removed(blob, record.id);
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
            // The bytes are stored or about to be. Ingest releases the copy here when it may.
            self.ingest.own(current.id, ingest::spooled_blobs(content));
            self.ingest.submit(current.id);
            return Ok(true);
        }
        // A record newer than the index means that the index was rolled back, so its bytes count. An older
        // record was replaced by a commit, and the bytes of that commit were on the disk before it.
        if is_derived || spooled.version < content.version {
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
            let keep = MAX_NAME_BYTES - suffix.len();
            let mut bytes = name.as_bytes()[..name.as_bytes().len().min(keep)].to_vec();
            bytes.extend_from_slice(suffix.as_bytes());
            candidate = Name::new(bytes)?;
        }
        Ok(candidate)
    }

    fn lost_and_found(&self) -> FsResult<EntryId> {
        let mut name = Name::new(LOST_AND_FOUND)?;
        let mut number = 1;
        while let Some(child) = self.tree.child(EntryId::ROOT, &name)? {
            if child.kind == ChildKind::Directory {
                return Ok(child.id);
            }
            // The name belongs to a file of the user's.
            number += 1;
            name = Name::new(format!("{LOST_AND_FOUND}.{number}"))?;
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

/// Makes the content of a file that consists of one whole spool file.
fn whole_blob(blob: BlobId, len: u64, reason: String) -> FileContent {
    FileContent {
        size: len,
        extents: vec![Extent {
            source: ExtentSource::Blob(blob),
            offset: 0,
            len,
        }],
        blobs: vec![Blob {
            id: blob,
            len,
            digest: None,
            slices: Vec::new(),
        }],
        state: FileState::Failed(reason),
        ..FileContent::empty()
    }
}

fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn own_gid() -> u32 {
    nix::unistd::getegid().as_raw()
}
