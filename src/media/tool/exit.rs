//! The one place that reads the exit status and the standard error of the media tool.

use std::fmt;

use crate::media::error::{MediaError, MediaErrorKind};
use crate::process::{Exit, INPUT_PATH, confine};

/// Longest complaint that is passed on, in characters.
const MAX_COMPLAINT: usize = 200;

/// Complaint of the media tool, read from its standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Complaint {
    /// It could not get memory.
    OutOfMemory,
    /// The MP4 file has no `moov` box.
    IndexMissing,
    /// Any other complaint: its first line, without ffmpeg's internal names.
    Other(String),
}

impl Complaint {
    /// Reads standard error; `None` when the tool said nothing.
    #[must_use]
    pub fn of(stderr: &str) -> Option<Self> {
        if stderr.contains("Cannot allocate memory") {
            return Some(Self::OutOfMemory);
        }
        let line = stderr.lines().map(cleaned).find(|line| !line.is_empty())?;
        Some(match line {
            "moov atom not found" => Self::IndexMissing,
            line => Self::Other(bounded(line)),
        })
    }

    /// Reads standard error of an encoder, which also prints its progress as `key=value` lines:
    /// the complaint is the last other line.
    #[must_use]
    pub fn of_encoder(stderr: &str) -> Option<Self> {
        let last = stderr
            .lines()
            .rfind(|line| !line.trim().is_empty() && !line.contains('='));
        Self::of(last.unwrap_or_default())
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory => f.write_str("the media tool ran out of memory"),
            Self::IndexMissing => {
                f.write_str("the file is incomplete: its index (moov) is missing; copy it again")
            }
            Self::Other(line) => f.write_str(line),
        }
    }
}

/// Checks that the tool did its work. Otherwise its exit says nothing about the film.
///
/// # Errors
/// When the tool was never started, was killed, or had no memory.
pub fn check_ran(exit: &Exit) -> Result<(), MediaError> {
    // Exit codes of shells and the dynamic loader for a program that cannot be executed.
    const NOT_STARTED: [i32; 2] = [126, 127];
    let stopped = |message: String| Err(MediaError::new(MediaErrorKind::ToolStopped, message));
    let confine_failed = i32::from(confine::CONFINE_FAILED);
    let complaint = Complaint::of(&exit.stderr);
    match (exit.code, exit.signal) {
        (Some(code), _) if code == confine_failed || NOT_STARTED.contains(&code) => {
            stopped(match complaint {
                Some(Complaint::Other(line)) => line,
                _ => "the media tool could not be started".to_owned(),
            })
        }
        (_, Some(signal)) => stopped(format!("the media tool was ended by signal {signal}")),
        (Some(code), None) if code != 0 && complaint == Some(Complaint::OutOfMemory) => {
            stopped(Complaint::OutOfMemory.to_string())
        }
        _ => Ok(()),
    }
}

/// Returns a line without the name of our descriptor and of the part of ffmpeg that speaks.
fn cleaned(line: &str) -> &str {
    let line = line.trim().trim_start_matches("file:");
    let line = line.trim_start_matches(INPUT_PATH).trim_start_matches(':');
    without_part(line.trim())
}

/// Returns a line without a prefix such as `[mov @ 0x55da3943ce40] `.
fn without_part(line: &str) -> &str {
    match line.split_once("] ") {
        Some((part, rest)) if part.starts_with('[') && part.contains(" @ 0x") => rest.trim(),
        _ => line,
    }
}

fn bounded(line: &str) -> String {
    let printable = line.chars().filter(|c| !c.is_control());
    printable.take(MAX_COMPLAINT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(stderr: &str) -> String {
        Complaint::of(stderr).map_or_else(String::new, |complaint| complaint.to_string())
    }

    #[test]
    fn complaints_are_told_without_what_is_inside_ffmpeg() {
        let said = "[mov,mp4,m4a,3gp,3g2,mj2 @ 0x55da3943ce40] moov atom not found\nfile:/proc/self/fd/0: Invalid data";
        assert_eq!(Complaint::of(said), Some(Complaint::IndexMissing));
        assert_eq!(told("file:/proc/self/fd/0: Invalid data\n"), "Invalid data");
        assert_eq!(told("[1] is not a part"), "[1] is not a part");
        assert_eq!(Complaint::of("\n"), None);
        assert_eq!(told(&"x".repeat(1000)).len(), MAX_COMPLAINT);
    }

    #[test]
    fn an_encoders_progress_is_no_complaint() {
        let said = "frame=12\nUnknown encoder 'libx264'\nspeed=1.5x\n";
        let expected = Complaint::Other("Unknown encoder 'libx264'".to_owned());
        assert_eq!(Complaint::of_encoder(said), Some(expected));
        assert_eq!(Complaint::of_encoder("frame=12\n"), None);
    }

    #[test]
    fn a_tool_that_did_not_work_is_an_error_and_one_that_refuses_is_none() {
        let ended = |code: Option<i32>, signal: Option<i32>, stderr: &str| {
            check_ran(&Exit {
                code,
                signal,
                stderr: stderr.to_owned(),
            })
        };
        assert!(ended(Some(0), None, "").is_ok());
        assert!(ended(Some(1), None, "Invalid data").is_ok());
        let kind = |done: Result<(), MediaError>| done.map_err(|error| error.kind);
        let stopped = Err(MediaErrorKind::ToolStopped);
        assert_eq!(kind(ended(None, Some(9), "")), stopped);
        assert_eq!(kind(ended(Some(127), None, "")), stopped);
        let memory = "x\n[mov @ 0x1] Cannot allocate memory";
        assert_eq!(kind(ended(Some(1), None, memory)), stopped);
        assert!(ended(Some(0), None, memory).is_ok());
    }
}
