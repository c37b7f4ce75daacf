//! The texts derived from a user's subtitle file. They depend on its bytes alone. Each look-up takes the
//! film that the file belongs to from the tree.

use super::{Blob, ByteRange, SubtitleFormat};

/// The texts of one version of a subtitle file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtitleTexts {
    /// The texts, in UTF-8.
    pub derived: Blob,
    /// Each text as a range of the derived blob; WebVTT comes first and is always present.
    pub texts: Vec<(SubtitleFormat, ByteRange)>,
    /// The file's encoding, by its name in the Encoding Standard, e.g. `windows-1252`.
    pub encoding: String,
    pub cues: u32,
    /// Remark for viewers, e.g. that some cues could not be read.
    pub note: Option<String>,
}

impl SubtitleTexts {
    /// Returns whether every derived byte is in an acknowledged pack, so that a manifest may name it.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.derived.covers(ByteRange::new(0, self.derived.len))
    }

    /// Returns the range of the text in `format`.
    #[must_use]
    pub fn text(&self, format: SubtitleFormat) -> Option<ByteRange> {
        let mut texts = self.texts.iter();
        texts
            .find(|(known, _)| *known == format)
            .map(|(_, range)| *range)
    }
}
