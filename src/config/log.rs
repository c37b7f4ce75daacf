//! The log.

use std::path::PathBuf;

use super::reader::SettingReader;

/// Importance of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Details for developers.
    Debug,
    /// Events of normal operation.
    Info,
    /// Trouble that tgfs works around.
    Warning,
    /// Trouble that somebody has to look at.
    Error,
}

/// Contents and place of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Least important message that is logged.
    pub level: LogLevel,
    /// A file beside stderr.
    pub file: Option<PathBuf>,
}

/// Words for levels.
const LEVELS: [(&str, LogLevel); 5] = [
    ("DEBUG", LogLevel::Debug),
    ("INFO", LogLevel::Info),
    ("WARNING", LogLevel::Warning),
    ("WARN", LogLevel::Warning),
    ("ERROR", LogLevel::Error),
];

impl LogLevel {
    /// Parses a level, in upper or lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let named = LEVELS
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text));
        named.map(|(_, level)| *level)
    }
}

impl LogSettings {
    pub(super) fn read(reader: &mut SettingReader<'_>) -> Self {
        Self {
            level: reader
                .choice("LOG_LEVEL", &LEVELS)
                .unwrap_or(LogLevel::Info),
            file: reader.path("LOG_FILE"),
        }
    }
}
