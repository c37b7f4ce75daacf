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

impl LogSettings {
    pub(super) fn read(reader: &mut SettingReader<'_>) -> Self {
        let levels = [
            ("DEBUG", LogLevel::Debug),
            ("INFO", LogLevel::Info),
            ("WARNING", LogLevel::Warning),
            ("WARN", LogLevel::Warning),
            ("ERROR", LogLevel::Error),
        ];
        Self {
            level: reader
                .choice("LOG_LEVEL", &levels)
                .unwrap_or(LogLevel::Info),
            file: reader.path("LOG_FILE"),
        }
    }
}
