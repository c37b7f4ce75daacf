//! A file that is being written: the extents of its last version, overlaid with what was written
//! since. A byte of the draft's own blob stands at the same offset as in the file, so the blob is a
//! sparse file and only written ranges take space.

use std::io;
use std::sync::Arc;

use crate::ingest::extents::ExtentList;
use crate::model::{Blob, BlobId, Extent, ExtentSource, FileContent, Timestamp};
use crate::spool::{Spool, SpoolFile};

/// Uncommitted changes of one file.
#[derive(Debug)]
pub struct FileDraft {
    pub extents: ExtentList,
    /// Blobs of the base and, once something was written, the draft's own.
    blobs: Vec<Blob>,
    own: Option<Arc<SpoolFile>>,
    /// Time of the last change of content that is not committed.
    pub modified: Option<Timestamp>,
}

/// Where a draft's bytes were at one moment.
#[derive(Debug)]
pub struct DraftLayout {
    extents: ExtentList,
    blobs: Vec<Blob>,
    modified: Option<Timestamp>,
}

impl FileDraft {
    /// Starts from what the file holds.
    #[must_use]
    pub fn over(content: &FileContent) -> Self {
        Self {
            extents: ExtentList::new(content.extents.clone()),
            blobs: content.blobs.clone(),
            own: None,
            modified: None,
        }
    }

    /// Returns the size of the file in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.extents.size()
    }

    /// Returns the blobs of the base and the draft's own.
    #[must_use]
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    /// Whether there is anything that a commit would change.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.modified.is_some()
    }

    /// The draft's own blob, made at the first write.
    pub fn own_blob(&mut self, spool: &Spool) -> io::Result<Arc<SpoolFile>> {
        if let Some(file) = &self.own {
            return Ok(Arc::clone(file));
        }
        let file = spool.create()?;
        self.blobs.push(Blob {
            id: file.id,
            len: 0,
            digest: None,
            slices: Vec::new(),
        });
        self.own = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Writes into the own blob and lays the range over the file.
    pub fn write(&mut self, spool: &Spool, offset: u64, data: &[u8]) -> io::Result<()> {
        let own = self.own_blob(spool)?;
        let len = data.len() as u64;
        let source = ExtentSource::Blob(own.id);
        own.write_all_at(data, offset)?;
        spool.count(&own)?;
        self.extents.splice(
            offset,
            &[Extent {
                source,
                offset,
                len,
            }],
        );
        if let Some(blob) = self.blobs.iter_mut().find(|blob| blob.id == own.id) {
            blob.len = blob.len.max(offset + len);
        }
        self.modified = Some(Timestamp::now());
        Ok(())
    }

    /// What [`Self::restore`] goes back to.
    #[must_use]
    pub fn layout(&self) -> DraftLayout {
        DraftLayout {
            extents: self.extents.clone(),
            blobs: self.blobs.clone(),
            modified: self.modified,
        }
    }

    /// Goes back to an earlier layout.
    pub fn restore(&mut self, layout: DraftLayout) {
        (self.extents, self.blobs, self.modified) = (layout.extents, layout.blobs, layout.modified);
    }

    /// Lays shared bytes of another file over this one; no byte moves.
    pub fn share(&mut self, offset: u64, extents: &[Extent], blobs: &[Blob]) {
        for extent in extents {
            let ExtentSource::Blob(id) = extent.source else {
                continue;
            };
            if self.blobs.iter().any(|blob| blob.id == id) {
                continue;
            }
            self.blobs
                .extend(blobs.iter().find(|blob| blob.id == id).cloned());
        }
        self.extents.splice(offset, extents);
        self.modified = Some(Timestamp::now());
    }

    /// Cuts or extends with zeros.
    pub fn truncate(&mut self, size: u64) {
        if size != self.size() {
            self.extents.truncate(size);
            self.modified = Some(Timestamp::now());
        }
    }

    /// Makes a hole of `len` bytes.
    pub fn punch(&mut self, offset: u64, len: u64) {
        self.extents.punch(offset, len);
        self.modified = Some(Timestamp::now());
    }

    /// Makes what was written durable; blocks.
    pub fn sync(&self) -> io::Result<()> {
        self.own.as_ref().map_or(Ok(()), |file| file.sync())
    }

    /// The blobs that the extents still name.
    #[must_use]
    pub fn named_blobs(&self) -> Vec<Blob> {
        let named = |blob: &&Blob| {
            self.extents
                .as_slice()
                .iter()
                .any(|extent| extent.source == ExtentSource::Blob(blob.id))
        };
        self.blobs.iter().filter(named).cloned().collect()
    }

    /// Lets go of the own blob when no extent names it: a commit without it lets the spool delete
    /// it, so that what is written from now on needs another one.
    pub fn drop_unnamed_blob(&mut self) -> Option<BlobId> {
        let own = self.own.as_ref()?.id;
        let source = ExtentSource::Blob(own);
        if self
            .extents
            .as_slice()
            .iter()
            .any(|extent| extent.source == source)
        {
            return None;
        }
        self.own = None;
        self.blobs.retain(|blob| blob.id != own);
        Some(own)
    }

    /// Lets go of an own blob that the disk failed to take, once no extent names it: who begins anew
    /// gets a new one, and no error for bytes that are not in the file any more.
    pub fn drop_damaged_blob(&mut self) -> Option<BlobId> {
        if self.own.as_ref()?.is_damaged() {
            self.drop_unnamed_blob()
        } else {
            None
        }
    }

    /// Bytes that what was written takes in the spool.
    #[must_use]
    pub fn spool_bytes(&self) -> u64 {
        self.own.as_ref().map_or(0, |file| file.counted())
    }

    fn own_len(&self) -> u64 {
        let own = self.own_id();
        let blob = self.blobs.iter().find(|blob| Some(blob.id) == own);
        blob.map_or(0, |blob| blob.len)
    }

    /// What it would take if every byte of the range were written.
    #[must_use]
    pub fn bytes_when_filled(&self, offset: u64, len: u64) -> u64 {
        let own = self.own_id().map(ExtentSource::Blob);
        let written: u64 = self
            .extents
            .range(offset, len)
            .iter()
            .filter(|extent| Some(extent.source) == own)
            .map(|extent| extent.len)
            .sum();
        let missing = len.saturating_sub(written);
        // What was cut off or punched is still there, and is taken again by what stands there next.
        let end = self.own_len().max(offset.saturating_add(len));
        self.spool_bytes().saturating_add(missing).min(end)
    }

    /// The own blob, if there is one.
    #[must_use]
    pub fn own_id(&self) -> Option<BlobId> {
        self.own.as_ref().map(|file| file.id)
    }

    /// Takes over slices that ingest found for the base's blobs while the draft was open.
    pub fn refresh_base(&mut self, content: &FileContent) {
        take_over_slices(&mut self.blobs, content);
    }
}

/// Adds what `content` knows of where the same blobs stand: more of their bytes, or that a pack was
/// moved.
pub fn take_over_slices(blobs: &mut [Blob], content: &FileContent) {
    for blob in blobs {
        if let Some(newer) = content.blob(blob.id)
            && newer.slices.len() >= blob.slices.len()
        {
            blob.slices.clone_from(&newer.slices);
            blob.digest = newer.digest;
        }
    }
}
