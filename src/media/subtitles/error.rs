//! Reasons why a text has no subtitles.

/// Reasons why a text has no subtitles. Their messages are stored with the file, so they are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubtitleError {
    #[error("the file is no text")]
    NotText,
    #[error("not one cue with a time could be found")]
    NoCues,
    #[error("its cues are larger than subtitles ever are")]
    CuesTooLarge,
    #[error("reading it takes longer than subtitles ever do")]
    TooSlow,
    /// The reader panicked, and would panic again.
    #[error("tgfs failed to read them")]
    Failed,
    /// Nobody waits for the text any more. This is never stored.
    #[error("reading it was stopped")]
    Cancelled,
}
