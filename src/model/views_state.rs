//! Progress of the views of a file.

use super::{Blob, ByteRange, SubtitleTexts, Views};

/// Progress of a file's views.
#[derive(Debug, Clone, PartialEq)]
pub enum ViewsState {
    /// The file was not probed yet.
    Pending,
    /// Neither the name nor the bytes are those of media.
    NotMedia,
    Ready(Box<Views>),
    /// HLS cannot carry this media, for this reason; the file itself is stored.
    Unsupported(String),
    /// The name is that of media, but media tools cannot read the bytes (state `plain`).
    Unreadable(String),
    /// Subtitles, which join the playlists of the film beside them.
    Subtitles(Box<SubtitleTexts>),
}

impl ViewsState {
    /// Returns the derived blob, if the state has one.
    #[must_use]
    pub const fn derived(&self) -> Option<&Blob> {
        match self {
            Self::Ready(views) => Some(&views.derived),
            Self::Subtitles(texts) => Some(&texts.derived),
            Self::Pending | Self::NotMedia | Self::Unsupported(_) | Self::Unreadable(_) => None,
        }
    }

    /// Returns the derived blob for changes, if the state has one.
    #[must_use]
    pub const fn derived_mut(&mut self) -> Option<&mut Blob> {
        match self {
            Self::Ready(views) => Some(&mut views.derived),
            Self::Subtitles(texts) => Some(&mut texts.derived),
            Self::Pending | Self::NotMedia | Self::Unsupported(_) | Self::Unreadable(_) => None,
        }
    }

    /// Returns whether the remote holds every derived byte.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        let derived = self.derived();
        derived.is_none_or(|blob| blob.covers(ByteRange::new(0, blob.len)))
    }
}
