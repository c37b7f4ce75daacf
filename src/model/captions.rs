//! What is made of a user's subtitle file, from its bytes alone: which film it belongs to follows
//! from the tree, at each look.

use serde::{Deserialize, Serialize};

use super::{Blob, ByteRange, SubtitleFormat, ViewsState};

/// The texts of one version of a subtitle file. Frozen as version 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captions {
    /// The texts, in UTF-8.
    pub derived: Blob,
    /// Each text as a range of the derived blob; the one as WebVTT comes first and is always there.
    pub texts: Vec<(SubtitleFormat, ByteRange)>,
    /// How the file was encoded, as the Encoding Standard calls it, e.g. `windows-1252`.
    pub encoding: String,
    pub cues: u32,
    /// What a viewer should know, e.g. that some cues could not be read.
    pub note: Option<String>,
}

impl Captions {
    /// Whether every derived byte stands in an acknowledged pack, so that a manifest may name it.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.derived.covers(ByteRange::new(0, self.derived.len))
    }

    #[must_use]
    pub fn text(&self, format: SubtitleFormat) -> Option<ByteRange> {
        let mut texts = self.texts.iter();
        texts
            .find(|(known, _)| *known == format)
            .map(|(_, range)| *range)
    }
}

/// The derived blob, of whatever there is one.
impl ViewsState {
    #[must_use]
    pub const fn derived(&self) -> Option<&Blob> {
        match self {
            Self::Ready(views) => Some(&views.derived),
            Self::Captions(captions) => Some(&captions.derived),
            Self::Pending | Self::NotMedia | Self::Unsupported(_) | Self::Unreadable(_) => None,
        }
    }

    #[must_use]
    pub const fn derived_mut(&mut self) -> Option<&mut Blob> {
        match self {
            Self::Ready(views) => Some(&mut views.derived),
            Self::Captions(captions) => Some(&mut captions.derived),
            Self::Pending | Self::NotMedia | Self::Unsupported(_) | Self::Unreadable(_) => None,
        }
    }

    /// Whether no derived byte is missing in the remote.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        let derived = self.derived();
        derived.is_none_or(|blob| blob.covers(ByteRange::new(0, blob.len)))
    }
}
