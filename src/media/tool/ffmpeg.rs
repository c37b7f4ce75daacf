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

/// Stall timeout: the longest silence while we wait for output.
const STALL: Duration = Duration::from_secs(60);
/// Longest run. 100 GB from a slow disk take an hour.
const WALL: Duration = Duration::from_secs(6 * 3600);
/// Limit of the address space in bytes. ffmpeg holds one group of pictures of all tracks (135 MB were
/// seen), and its libraries alone map 1 GiB.
const MEMORY: u64 = 4 << 30;

/// Stall-timeout multiplier for low-priority tasks.
const LOW_PRIORITY: u32 = 10;
/// Longest run of encoding. Two hours of 4K take a night on two cores at low priority.
const ENCODE_WALL: Duration = Duration::from_secs(72 * 3600);
/// Limit of the address space for encoding: frames of 4K that wait for the encoder, and one arena per
/// thread.
const ENCODE_MEMORY: u64 = 16 << 30;

/// ffmpeg and ffprobe.
#[derive(Debug, Clone)]
pub struct Ffmpeg {
    spawner: Spawner,
    ffmpeg: PathBuf,
    ffprobe: PathBuf,
    stall: Duration,
    /// Limit of threads; `None` leaves it to ffmpeg.
    threads: Option<String>,
}

impl Ffmpeg {
    /// Uses the programs of these names in PATH.
    #[must_use]
    pub fn new(launcher: Launcher) -> Self {
        Self::with_programs(launcher, "ffmpeg".into(), "ffprobe".into())
    }
    /// Uses the programs at these paths.
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
    /// Limits the threads of each decoder and encoder; `None` leaves it to ffmpeg.
    #[must_use]
    pub fn with_threads(mut self, threads: Option<NonZeroU16>) -> Self {
        self.threads = threads.map(|count| count.to_string());
        self
    }
    /// Sets another stall timeout than 60 s, for tests.
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
