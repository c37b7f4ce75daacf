//! A file together with its views.

use std::sync::Arc;

use crate::media::hls::view::ViewNode;
use crate::media::hls::views;
use crate::model::{Blob, Entry, EntryKind, ErrorKind, FileContent, FsResult, Views, ViewsState};

/// A file together with its views.
#[derive(Debug, Clone)]
pub struct ViewedFile {
    pub entry: Arc<Entry>,
}

impl ViewedFile {
    /// Returns the content of the file.
    pub fn content(&self) -> FsResult<&FileContent> {
        match &self.entry.kind {
            EntryKind::File(content) => Ok(content),
            EntryKind::Directory => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Returns the views of the file.
    pub fn views(&self) -> FsResult<&Views> {
        match &self.content()?.views {
            ViewsState::Ready(views) => Ok(views),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Returns the tag of all views that are made from the film alone. It includes the derived
    /// blob, because a second build may produce the same map with other subtitle texts.
    pub fn tag(&self) -> FsResult<String> {
        let views = self.views()?;
        Ok(format!("{}-{}", views.map_digest, views.derived.id))
    }

    /// Returns the blob that was made from the file.
    pub fn derived(&self) -> FsResult<&Blob> {
        let derived = self.content()?.views.derived();
        derived.ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Returns the node at `path` below the file's view directory.
    pub fn node(&self, path: &str) -> FsResult<ViewNode> {
        views::find(self.views()?, path).ok_or_else(|| ErrorKind::NotFound.into())
    }
}
