//! Content stage, which puts a file's bytes into packs and notes their places in its entry.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::blob_sender::{BlobSender, BlobToSend};
use super::jobs::{FileStage, Jobs, Stage};
use super::notes::Notes;
use super::openings::OpeningOf;
use super::outgoing::total;
use super::parts::CommonParts;
use super::publish::publisher::Publisher;
use super::slices::{merge_slices, named_ranges, slices_digest, subtract};
use crate::failpoint;
use crate::media::inspect::name::media_kind;
use crate::model::{Blob, Entry, EntryId, EntryKind, FileContent, FileState, FsResult};
use crate::tree::Tree;

/// Stage that stores the bytes of files.
#[derive(Debug)]
pub struct ContentStage {
    tree: Arc<Tree>,
    jobs: Arc<Jobs>,
    notes: Arc<Notes>,
    publisher: Arc<Publisher>,
    sender: Arc<BlobSender>,
}

impl ContentStage {
    /// Builds the stage over the parts that it needs.
    #[must_use]
    pub fn new(parts: &CommonParts, sender: Arc<BlobSender>) -> Self {
        Self {
            tree: Arc::clone(&parts.tree),
            jobs: Arc::clone(&parts.jobs),
            notes: Arc::clone(&parts.notes),
            publisher: Arc::clone(&parts.publisher),
            sender,
        }
    }

    /// Adds the bytes that a file will send to those that wait, before its stage begins.
    pub fn expect(&self, id: EntryId) {
        // A file that cannot be read now is examined when its stage begins.
        let Ok(content) = self.tree.content(id) else {
            return;
        };
        let (mut all, mut unsent) = (0, 0);
        for blob in &content.blobs {
            let named = named_ranges(&content.extents, blob.id);
            // Without the notes of an earlier run, more is expected than will be sent.
            let noted = self.notes.slices(blob.id).unwrap_or_default();
            let known = merge_slices(blob.slices.clone(), &noted);
            all += total(&named);
            unsent += total(&subtract(&named, &known));
        }
        self.jobs.expect(Stage::Content, id, unsent);
        self.jobs.expect_upload(of_content(id), all, all - unsent);
    }

    /// Sends the bytes that no pack holds yet, and notes their places. The permit bounds the number of
    /// large files that are sent side by side. A small file gives it back while its shared pack fills.
    ///
    /// # Errors
    /// `NotFound` when the file is gone; errors of the spool, the index or the remote.
    pub async fn store(&self, id: EntryId, permit: OwnedSemaphorePermit) -> FsResult<()> {
        let entry = self.tree.entry(id)?;
        let EntryKind::File(content) = &entry.kind else {
            return Ok(());
        };
        // This is asked after the record was read, so the record has no draft that begins now.
        if self.jobs.is_held(id) || matches!(content.state, FileState::Failed(_)) {
            return Ok(());
        }
        if !content.is_durable() {
            let mut permit = Some(permit);
            let named = |blob: &Blob| total(&named_ranges(&content.extents, blob.id));
            let all = content.blobs.iter().map(named).sum();
            self.jobs.begin_upload(of_content(id), all);
            for blob in &content.blobs {
                let order = BlobToSend {
                    of: of_content(id),
                    blob,
                    ranges: named_ranges(&content.extents, blob.id),
                    opening: opening_of(&entry, content),
                };
                self.sender.send(order, &mut permit).await?;
            }
            self.place_slices(id)?;
        }
        self.jobs.set_progress(Stage::Content, id, "publish", 99);
        self.publisher.urge();
        Ok(())
    }

    /// Writes the noted slices into the entry. A newer version of the file keeps the slices that it
    /// shares.
    fn place_slices(&self, id: EntryId) -> FsResult<()> {
        self.tree.update(id, |entry| {
            let EntryKind::File(content) = &mut entry.kind else {
                return Ok(());
            };
            for blob in &mut content.blobs {
                let noted = self.notes.slices(blob.id)?;
                blob.slices = merge_slices(std::mem::take(&mut blob.slices), &noted);
                blob.digest = Some(slices_digest(&blob.slices));
            }
            Ok(())
        })?;
        failpoint::pass(failpoint::Step::PackNamed);
        Ok(())
    }
}

const fn of_content(id: EntryId) -> FileStage {
    FileStage {
        stage: Stage::Content,
        id,
    }
}

/// Returns the opening to pin. Only a film that is one extent is pinned: the blob of an overlay holds
/// only a part of the opening, which is pinned when the film is first opened.
fn opening_of(entry: &Entry, content: &FileContent) -> OpeningOf<'static> {
    match media_kind(&entry.name).is_media() && content.extents.len() == 1 {
        true => OpeningOf::Film,
        false => OpeningOf::Nothing,
    }
}
