//! Errors of building views. They say nothing about the film.

use crate::process::ProcessError;

/// Kind of an error, which decides if another attempt can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaErrorKind {
    /// ffmpeg or ffprobe is not installed.
    ToolMissing,
    /// The tool was killed, hung, or could not be started or confined.
    ToolStopped,
    /// The caller cancelled it.
    Cancelled,
    /// The disk is full.
    NoSpace,
    /// The source or the derived file could not be read or written.
    Io,
    /// The tool wrote output that breaks its format.
    Protocol,
}

/// Error of building views.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MediaError {
    /// Its kind.
    pub kind: MediaErrorKind,
    /// Sentence for people.
    pub message: String,
}

impl MediaError {
    /// Creates an error.
    pub fn new(kind: MediaErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
    /// Returns whether the same file can succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self.kind {
            MediaErrorKind::ToolMissing
            | MediaErrorKind::ToolStopped
            | MediaErrorKind::Cancelled
            | MediaErrorKind::NoSpace
            | MediaErrorKind::Io => true,
            MediaErrorKind::Protocol => false,
        }
    }
}

impl From<ProcessError> for MediaError {
    fn from(error: ProcessError) -> Self {
        let kind = match &error {
            ProcessError::ProgramMissing(_) => MediaErrorKind::ToolMissing,
            ProcessError::Start { .. }
            | ProcessError::Stalled { .. }
            | ProcessError::TooSlow { .. } => MediaErrorKind::ToolStopped,
            ProcessError::Cancelled(_) => MediaErrorKind::Cancelled,
            ProcessError::Input(..) | ProcessError::Io { .. } => MediaErrorKind::Io,
            ProcessError::TooMuchOutput(_) => MediaErrorKind::Protocol,
        };
        let hint = match kind {
            MediaErrorKind::ToolMissing => "; install ffmpeg, which brings it",
            _ => "",
        };
        Self::new(kind, format!("{error}{hint}"))
    }
}

impl From<std::io::Error> for MediaError {
    fn from(error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                MediaErrorKind::NoSpace
            }
            // Only the tool's pipe can end early: the source is sealed.
            std::io::ErrorKind::UnexpectedEof => MediaErrorKind::Protocol,
            _ => MediaErrorKind::Io,
        };
        Self::new(kind, error.to_string())
    }
}
