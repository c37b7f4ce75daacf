//! Chapters of a film.

/// Most chapters of one film. Discs have up to 99, and no player lists thousands.
pub const MAX_CHAPTERS: usize = 1000;
/// Longest title of a chapter in characters, so that a film of [`MAX_CHAPTERS`] stays a small record.
pub const MAX_CHAPTER_TITLE: usize = 200;

/// A named part of a film. The chapters of a film are sorted, and none overlaps the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    /// Milliseconds since the film's beginning.
    pub start_ms: u64,
    /// Milliseconds since the film's beginning; greater than the start.
    pub end_ms: u64,
    /// One line; empty if the file has no title for it.
    pub title: String,
}

impl Chapter {
    /// Returns the title, or `Chapter <n>` if there is none. `index` counts from 0.
    #[must_use]
    pub fn shown_title(&self, index: usize) -> String {
        match self.title.as_str() {
            "" => format!("Chapter {}", index + 1),
            title => title.to_owned(),
        }
    }
}
