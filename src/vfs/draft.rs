//! Draft of a file that is being written: the extents of its last version, overlaid with the ranges
//! written since. A byte has the same offset in the draft's own blob as in the file. The blob is
//! therefore a sparse file, and only written ranges take space.

use std::io;
use std::sync::Arc;

use crate::ingest::extents::ExtentList;
use crate::model::{
    Blob, BlobId, ByteRange, Extent, ExtentSource, FileContent, FileState, Timestamp,
};
use crate::spool::{NotedStep, Spool, SpoolFile};

/// Part of a file that the draft's own blob has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnPart {
    /// Everything: bytes, holes and length are those of the file. A start needs nothing but the blob.
    All,
    /// Some ranges. The base has the others, and the note of the writing tells them apart.
    Ranges,
}

/// Uncommitted changes of one file.
#[derive(Debug)]
pub struct FileDraft {
    pub extents: ExtentList,
    /// Blobs of the base and, after the first write, the draft's own blob.
    blobs: Vec<Blob>,
    /// Blobs of the version that was stored when the draft began.
    stored: Vec<BlobId>,
    own: Option<Arc<SpoolFile>>,
    own_part: OwnPart,
    /// End of the bytes of the own blob that the newest version names. A change before it changes a
    /// version that may have been closed.
    committed_end: u64,
    /// Time of the last uncommitted change of content.
    pub modified: Option<Timestamp>,
}

/// Layout of a draft's bytes at one moment.
#[derive(Debug)]
pub struct DraftLayout {
    extents: ExtentList,
    blobs: Vec<Blob>,
    own_part: OwnPart,
    modified: Option<Timestamp>,
}

impl FileDraft {
    /// Creates a draft of a file with this content.
    #[must_use]
    pub fn over(content: &FileContent) -> Self {
        Self {
            extents: ExtentList::new(content.extents.clone()),
            blobs: content.blobs.clone(),
            stored: match content.state {
                FileState::Stored => content.blobs.iter().map(|blob| blob.id).collect(),
                _ => Vec::new(),
            },
            own: None,
            own_part: match content.size {
                0 => OwnPart::All,
                _ => OwnPart::Ranges,
            },
            committed_end: 0,
            modified: None,
        }
    }

    /// Returns the steps from the newest version to this draft, if the draft has no change yet.
    #[must_use]
    pub fn noted_steps(&self) -> Vec<NotedStep> {
        let mut steps: Vec<NotedStep> = self.own_id().map(NotedStep::Blob).into_iter().collect();
        if self.own_part == OwnPart::All {
            steps.extend([NotedStep::Mirror, NotedStep::Resize(self.size())]);
        }
        steps
    }

    /// Returns whether a change at or behind `offset` changes bytes of the newest version in place.
    #[must_use]
    pub fn changes_committed(&self, offset: u64) -> bool {
        offset < self.committed_end
    }

    /// Notes that the extents are the newest version now.
    pub fn was_committed(&mut self) {
        let own = self.own_id().map(ExtentSource::Blob);
        let extents = self.extents.as_slice().iter();
        let ends = extents
            .filter(|extent| Some(extent.source) == own)
            .map(|extent| extent.offset + extent.len);
        self.committed_end = ends.max().unwrap_or(0);
        self.modified = None;
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

    /// Returns whether a blob of the version that was stored is not part of the draft any more.
    #[must_use]
    pub fn gives_up_stored_bytes(&self) -> bool {
        let named = self.named_blobs();
        let is_named = |id: &BlobId| named.iter().any(|blob| blob.id == *id);
        !self.stored.iter().all(is_named)
    }

    /// Returns whether a commit would change anything.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.modified.is_some()
    }

    /// Returns the draft's own blob, which is created at the first write.
    pub fn own_blob(&mut self, spool: &Spool) -> io::Result<Arc<SpoolFile>> {
        if let Some(file) = &self.own {
            return Ok(Arc::clone(file));
        }
        let file = spool.create()?;
        if self.own_part == OwnPart::All
            && let Err(error) = file.set_len(self.size())
        {
            // The file may be larger than the disk can hold in one piece.
            spool.discard(file.id)?;
            return Err(error);
        }
        self.blobs.push(Blob {
            id: file.id,
            len: 0,
            digest: None,
            slices: Vec::new(),
        });
        self.own = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Writes into the own blob and lays the range over the file. Returns the step to note, if the blob
    /// does not show it.
    pub fn write(
        &mut self,
        spool: &Spool,
        offset: u64,
        data: &[u8],
    ) -> io::Result<Option<NotedStep>> {
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
        let step = NotedStep::Write(ByteRange::new(offset, len));
        Ok((self.own_part == OwnPart::Ranges).then_some(step))
    }

    /// Returns the layout that [`Self::restore`] goes back to.
    #[must_use]
    pub fn layout(&self) -> DraftLayout {
        DraftLayout {
            extents: self.extents.clone(),
            blobs: self.blobs.clone(),
            own_part: self.own_part,
            modified: self.modified,
        }
    }

    /// Restores an earlier layout.
    pub fn restore(&mut self, layout: DraftLayout) {
        (self.extents, self.blobs) = (layout.extents, layout.blobs);
        (self.own_part, self.modified) = (layout.own_part, layout.modified);
    }

    /// Lays shared bytes of another file over this one. No byte is moved.
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
        self.own_part = OwnPart::Ranges;
        self.extents.splice(offset, extents);
        self.modified = Some(Timestamp::now());
    }

    /// Truncates the file, or extends it with zeros. The own blob loses what is cut off, so that nothing
    /// brings it back.
    pub fn truncate(&mut self, spool: &Spool, size: u64) -> io::Result<()> {
        if size == self.size() {
            return Ok(());
        }
        if let Some(own) = self.own.clone() {
            if self.own_part == OwnPart::All || size < own.length()? {
                own.set_len(size)?;
                spool.count(&own)?;
            }
            if let Some(blob) = self.blobs.iter_mut().find(|blob| blob.id == own.id) {
                blob.len = blob.len.min(size);
            }
        }
        if size == 0 {
            self.own_part = OwnPart::All;
        }
        self.extents.truncate(size);
        self.modified = Some(Timestamp::now());
        Ok(())
    }

    /// Makes a hole.
    pub fn punch(&mut self, spool: &Spool, range: ByteRange) -> io::Result<()> {
        if let Some(own) = self.own.clone()
            && self.own_part == OwnPart::All
        {
            own.punch(range)?;
            spool.count(&own)?;
        }
        self.extents.punch(range.offset, range.len);
        self.modified = Some(Timestamp::now());
        Ok(())
    }

    /// Makes the written bytes durable. Blocks.
    pub fn sync(&self) -> io::Result<()> {
        self.own.as_ref().map_or(Ok(()), |file| file.sync())
    }

    /// Returns the blobs that the extents still name.
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

    /// Drops the draft's own blob if no extent names it. A commit without it lets the spool delete
    /// the blob, so later writes need another one.
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
        self.committed_end = 0;
        self.blobs.retain(|blob| blob.id != own);
        Some(own)
    }

    /// Drops an own blob that the disk failed to take, once no extent names it. A writer that
    /// starts over then gets a new blob, and no error for bytes that are no longer in the file.
    pub fn drop_damaged_blob(&mut self) -> Option<BlobId> {
        if self.own.as_ref()?.is_damaged() {
            self.drop_unnamed_blob()
        } else {
            None
        }
    }

    /// Returns the number of bytes that the own blob takes in the spool.
    #[must_use]
    pub fn spool_bytes(&self) -> u64 {
        self.own.as_ref().map_or(0, |file| file.counted())
    }

    fn own_len(&self) -> u64 {
        let own = self.own_id();
        let blob = self.blobs.iter().find(|blob| Some(blob.id) == own);
        blob.map_or(0, |blob| blob.len)
    }

    /// Returns the number of bytes that the own blob would take if every byte of the range were written.
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
        // Bytes that were cut off or punched are still in the own blob. A later write at the same
        // offset replaces them.
        let end = self.own_len().max(offset.saturating_add(len));
        self.spool_bytes().saturating_add(missing).min(end)
    }

    /// Returns the id of the own blob, if there is one.
    #[must_use]
    pub fn own_id(&self) -> Option<BlobId> {
        self.own.as_ref().map(|file| file.id)
    }

    /// Takes over slices that ingest found for the base's blobs while the draft was open.
    pub fn refresh_base(&mut self, content: &FileContent) {
        take_over_slices(&mut self.blobs, content);
    }
}

/// Copies newer locations of the same blobs from `content`. They differ when more of a blob's bytes
/// are in packs, or when a pack was moved.
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
