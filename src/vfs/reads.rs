//! Reads through handles, and the information they give to the read-ahead.

use std::sync::Arc;

use super::drafts::Drafts;
use super::open::{FileHandle, OpenFile, OpenKind, OpenTable};
use super::open_view::follow_content;
use super::types::HandleId;
use crate::ingest::extents::ExtentList;
use crate::model::{ByteRange, ErrorKind, FsResult, Pieces};
use crate::read::{ExtentReader, ReadReach, Reading};

/// Reader of the objects that handles are open on.
#[derive(Debug)]
pub struct HandleReader {
    open: Arc<OpenTable>,
    drafts: Arc<Drafts>,
    reader: ExtentReader,
}

impl HandleReader {
    /// Creates a reader of the handles in `open`.
    pub fn new(open: Arc<OpenTable>, drafts: Arc<Drafts>, reader: ExtentReader) -> Self {
        Self {
            open,
            drafts,
            reader,
        }
    }

    /// Returns exactly the requested bytes, up to the end of the file, as pieces where they lie.
    ///
    /// # Errors
    /// `BadHandle`, `RemoteUnavailable`, `Corrupt`, or `Io`.
    pub async fn read(&self, handle: HandleId, offset: u64, len: u64) -> FsResult<Pieces> {
        match &*self.open.get(handle)? {
            OpenKind::Fixed(bytes) => {
                let from = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                Ok(bytes
                    .slice(from..from.saturating_add(len).min(bytes.len()))
                    .into())
            }
            OpenKind::View(view) => view.read(&self.reader, offset, len).await,
            OpenKind::Snapshot { content, follower } => {
                let range = ByteRange::new(offset, len);
                follow_content(&self.reader, follower, content, range, ReadReach::Within);
                let extents = ExtentList::new(content.extents.clone()).range(offset, len);
                self.reader.read_pieces(&extents, &content.blobs).await
            }
            OpenKind::File(open) => {
                self.follow(open, ByteRange::new(offset, len));
                self.read_file(&open.file, offset, len).await
            }
        }
    }

    async fn read_file(&self, file: &OpenFile, offset: u64, len: u64) -> FsResult<Pieces> {
        let (extents, blobs) = self.drafts.extents_at(file, offset, len)?;
        match self.reader.read_pieces(&extents, &blobs).await {
            // The spooled copy may have gone between the look-up and the read, because packs hold
            // the bytes now. The newer record says where.
            Err(error) if error.kind == ErrorKind::Io => {
                let (extents, blobs) = self.drafts.extents_at(file, offset, len)?;
                self.reader.read_pieces(&extents, &blobs).await
            }
            result => result,
        }
    }

    /// Tells the read-ahead about a read of a file as it is now.
    fn follow(&self, open: &FileHandle, range: ByteRange) {
        let reading = Reading {
            of: None,
            range,
            reach: ReadReach::Within,
        };
        let source = |range: ByteRange| {
            let found = self.drafts.extents_at(&open.file, range.offset, range.len);
            found.ok()
        };
        self.reader.follow(&open.follower, reading, &source);
    }
}
