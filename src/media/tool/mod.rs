//! The media tool: everything that this module asks of ffmpeg and ffprobe. It is a trait, so that
//! fast tests can use a scripted stand-in.

pub mod encode;
pub mod exit;
pub mod ffmpeg;
pub mod task;

mod arguments;

use std::fmt::Debug;
use std::io::Read;
use std::path::Path;

use self::task::Task;
use super::container::Container;
use super::error::MediaError;
use crate::process::{CancelFlag, Exit};

/// A running task. Reading it reads the tool's output.
pub trait ToolOutput: Read + Send {
    /// Waits for the end.
    ///
    /// # Errors
    /// When the tool was stopped.
    fn finish(self: Box<Self>) -> Result<Exit, MediaError>;
}

/// Tool for media work on files. Blocking.
pub trait MediaTool: Send + Sync + Debug {
    /// Starts `task` on `source`, read as `container`.
    ///
    /// # Errors
    /// When the tool is missing or cannot be started.
    fn start(
        &self,
        source: &Path,
        container: Container,
        task: &Task,
        cancel: &CancelFlag,
    ) -> Result<Box<dyn ToolOutput>, MediaError>;
}
