//! How far the views of a file have come.

use super::{Blob, ByteRange, SubtitleTexts, Views};

/// How far a file's views have come.
#[derive(Debug, Clone, PartialEq)]
pub enum ViewsState {
    /// Not looked at yet.
    Pending,
    /// Neither name nor bytes say that it is media.
    NotMedia,
    Ready(Box<Views>),
    /// Media that HLS cannot carry, for this reason; the file itself is stored.
    Unsupported(String),
    /// A media name on bytes that media tools cannot read (state `plain`).
    Unreadable(String),
    /// Subtitles, which join the playlist of the film that they lie beside.
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
