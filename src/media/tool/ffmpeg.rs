//! Runs ffmpeg and ffprobe as confined child processes, with the limits of each task.

use std::ffi::OsString;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::arguments::arguments;
use super::encode::Encoder;
use super::task::Task;
use super::{MediaTool, ToolOutput};
use crate::media::container::Container;
use crate::media::error::MediaError;
use crate::process::{
    CancelFlag, Devices, Exit, Launcher, Priority, ProcessJob, ProcessLimits, Running, Spawner,
};

/// Longest silence while we wait for output.
const STALL: Duration = Duration::from_secs(60);
/// Longest run: 100 GB from a slow disk take an hour.
const WALL: Duration = Duration::from_secs(6 * 3600);
/// Address space in bytes. ffmpeg holds one group of pictures of all tracks (135 MB were seen), its
/// libraries alone map 1 GiB.
const MEMORY: u64 = 4 << 30;

/// So many times longer may be silent what only runs when nothing else does.
const LOW_PRIORITY: u32 = 10;
/// The longest run of encoding: two hours of 4K take a night on two cores, at the priority that it has.
const ENCODE_WALL: Duration = Duration::from_secs(72 * 3600);
/// And its address space: frames of 4K that wait for the encoder, and an arena a thread.
const ENCODE_MEMORY: u64 = 16 << 30;

/// ffmpeg and ffprobe.
#[derive(Debug, Clone)]
pub struct Ffmpeg {
    spawner: Spawner,
    ffmpeg: PathBuf,
    ffprobe: PathBuf,
    stall: Duration,
    /// `None`: as many as it likes.
    threads: Option<String>,
}

impl Ffmpeg {
    /// The programs of these names in PATH.
    #[must_use]
    pub fn new(launcher: Launcher) -> Self {
        Self::with_programs(launcher, "ffmpeg".into(), "ffprobe".into())
    }
    #[must_use]
    pub fn with_programs(launcher: Launcher, ffmpeg: PathBuf, ffprobe: PathBuf) -> Self {
        Self {
            spawner: Spawner::new(launcher),
            ffmpeg,
            ffprobe,
            stall: STALL,
            threads: None,
        }
    }
    /// This many threads for each decoder and encoder; `None`: as ffmpeg likes.
    #[must_use]
    pub fn with_threads(mut self, threads: Option<NonZeroU16>) -> Self {
        self.threads = threads.map(|count| count.to_string());
        self
    }
    /// Another stall limit than 60 s, for tests.
    #[must_use]
    pub fn with_stall(mut self, stall: Duration) -> Self {
        self.stall = stall;
        self
    }
}

impl ToolOutput for Running {
    fn finish(self: Box<Self>) -> Result<Exit, MediaError> {
        Ok(Running::finish(*self)?)
    }
}

impl MediaTool for Ffmpeg {
    fn start(
        &self,
        source: &Path,
        container: Container,
        task: &Task,
        cancel: &CancelFlag,
    ) -> Result<Box<dyn ToolOutput>, MediaError> {
        let program = match task {
            Task::Probe => &self.ffprobe,
            _ => &self.ffmpeg,
        };
        let job = ProcessJob {
            program: program.clone(),
            args: arguments(container, task, self.threads.as_deref())
                .into_iter()
                .map(OsString::from)
                .collect(),
            input: Some(source.to_path_buf()),
            limits: ProcessLimits {
                stall: match task {
                    Task::EncodeVideo(_) => self.stall * LOW_PRIORITY,
                    _ => self.stall,
                },
                wall: match task {
                    Task::EncodeVideo(_) => ENCODE_WALL,
                    _ => WALL,
                },
                memory: match task {
                    Task::EncodeVideo(_) | Task::EncodeGroup(_) => ENCODE_MEMORY,
                    _ => MEMORY,
                },
            },
            priority: match task {
                Task::EncodeVideo(_) => Priority::Low,
                _ => Priority::Usual,
            },
            devices: match task {
                Task::EncodeVideo(rendition) if rendition.encoder != Encoder::Software => {
                    Devices::Graphics
                }
                _ => Devices::None,
            },
            cancel: cancel.clone(),
        };
        Ok(Box::new(self.spawner.start(&job)?))
    }
}
