//! The media tool: what the rest of this layer asks of ffmpeg. A trait, because fast tests have a
//! scripted stand-in.

pub mod encode;

use std::ffi::OsString;
use std::fmt::Debug;
use std::io::Read;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::SubtitleFormat;
use crate::process::{
    CancelFlag, Devices, Exit, INPUT_PATH, Job, Launcher, Limits, Priority, Running, Spawner,
};

use self::encode::Encoder;
use super::error::MediaError;
use super::inspect::select::AAC_CHANNELS;
use super::inspect::sniff::Container;

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

/// One thing to do with a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Streams, programmes and format, as JSON.
    Probe,
    /// These streams into one fragmented MP4. The first is video, or all are audio.
    Remux(Vec<Pick>, Lead),
    /// One audio stream as AAC, stereo, in a fragmented MP4.
    EncodeAudio(u32),
    /// A group of pictures in its file, as another in a fragmented MP4.
    EncodeGroup(encode::GroupTask),
    /// A video stream as H.264, in a fragmented MP4.
    EncodeVideo(encode::RenditionTask),
    /// These streams, unchanged, into a small Matroska file: first so many of text, then bitmaps.
    CopySubtitles(Vec<u32>, usize),
    /// The n-th stream of such a file as text.
    SubtitleText(u32, SubtitleFormat),
    /// The n-th stream of such a file alone.
    SubtitleBitmap(u32, BitmapFormat),
    /// An attachment, byte for byte.
    Attachment(u32),
    /// A picture of a video stream as JPEG, at so many milliseconds.
    Picture(u32, u64),
    /// The pictures of a film that has one a second, so many pixels wide, in sheets of JPEG.
    Sprites {
        width: usize,
        columns: usize,
        rows: usize,
    },
}

/// A stream by its number in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    pub stream: u32,
    pub way: StreamConversion,
}

/// What the fragments of a pass follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// Its key frames.
    Video,
    /// Nothing: without a limit the whole film would be one fragment, held in memory.
    Audio,
}

/// How a stream becomes a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamConversion {
    /// As it is.
    Copied,
    /// As it is, with its ADTS headers taken off: MP4 has none.
    CopiedFromAdts,
    /// Audio, as AAC stereo.
    Encoded,
}

/// Files of subtitles that are pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitmapFormat {
    /// As Blu-rays have them.
    Sup,
    Matroska,
}

/// A running task; reading it reads the tool's output.
pub trait ToolOutput: Read + Send {
    /// Waits for the end.
    ///
    /// # Errors
    /// When the tool was stopped.
    fn finish(self: Box<Self>) -> Result<Exit, MediaError>;
}

/// Does media work on files. Blocking.
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
        let job = Job {
            program: program.clone(),
            args: arguments(container, task, self.threads.as_deref())
                .into_iter()
                .map(OsString::from)
                .collect(),
            input: Some(source.to_path_buf()),
            limits: Limits {
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

/// Input options: only files and pipes, only the demuxer that the bytes ask for. The protocol list
/// alone was seen to follow a concat script.
fn input(container: Container) -> Vec<String> {
    let demuxer = container.demuxer();
    let whitelist = match container {
        Container::Matroska => "matroska,webm",
        Container::Mp4 => "mov,mp4,m4a,3gp,3g2,mj2",
        _ => demuxer,
    };
    [
        "-v",
        "error",
        "-protocol_whitelist",
        "file,pipe",
        "-format_whitelist",
        whitelist,
        "-f",
        demuxer,
        "-i",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([format!("file:{INPUT_PATH}")])
    .collect()
}

/// One moof a key frame and track, no empty `moov`, so that edit lists and delays between tracks are
/// exact (`+cmaf` would drop them); time of edits in 1/90000 s instead of ms.
const FRAGMENTED_MP4: [&str; 9] = [
    "-strict",
    "-2",
    "-movflags",
    "+frag_keyframe+delay_moov+default_base_moof+separate_moof",
    "-movie_timescale",
    "90000",
    "-f",
    "mp4",
    "pipe:1",
];

const WITHOUT_METADATA: [&str; 4] = ["-map_metadata", "-1", "-map_chapters", "-1"];
/// Of the AAC track beside what browsers cannot play.
const AAC_RATE: &str = "160k";
/// At most 640 pixels wide.
const PICTURE_SIZE: &str = "scale=w='min(640,iw)':h=-2";
/// Five seconds, in microseconds.
const SHORT_FRAGMENTS: [&str; 2] = ["-frag_duration", "5000000"];
/// A line of progress on stderr every few seconds: a pass for subtitles writes next to nothing, and
/// must not look as if it hung.
const PROGRESS: [&str; 4] = ["-progress", "pipe:2", "-stats_period", "5"];
/// The same where the last lines matter, of the few that are kept.
const SLOW_PROGRESS: [&str; 5] = ["-nostats", "-progress", "pipe:2", "-stats_period", "20"];

fn arguments(container: Container, task: &Task, threads: Option<&str>) -> Vec<String> {
    let mut list = Vec::new();
    // Before the input it is for decoders, behind it for encoders.
    if let Some(count) = threads.filter(|_| *task != Task::Probe) {
        list.extend(["-threads".to_owned(), count.to_owned()]);
    }
    match task {
        // The small file starts with its first cue, not with the film.
        Task::SubtitleText(..) | Task::SubtitleBitmap(..) => list.push("-copyts".to_owned()),
        Task::Attachment(stream) => {
            list.extend([format!("-dump_attachment:{stream}"), "pipe:1".to_owned()]);
        }
        // What turns the picture stands in the track's header, and stays there.
        Task::EncodeGroup(_) => list.push("-noautorotate".to_owned()),
        Task::EncodeVideo(rendition) => list.extend(rendition.before_input()),
        Task::Picture(_, millis) => {
            let at = format!("{}.{:03}", millis / 1000, millis % 1000);
            list.extend(["-skip_frame", "nokey", "-ss", &at].map(str::to_owned));
        }
        // What it makes smoother is smaller than a pixel here, and costs a third of the time.
        Task::Sprites { .. } => {
            list.extend(["-skip_loop_filter", "all"].map(str::to_owned));
        }
        _ => {}
    }
    list.extend(input(container));
    let mut add = |items: &[&str]| list.extend(items.iter().map(|item| (*item).to_owned()));
    match task {
        Task::Probe => add(&[
            "-show_streams",
            "-show_programs",
            "-show_format",
            "-of",
            "json",
        ]),
        Task::Remux(picks, lead) => {
            for pick in picks {
                add(&["-map", &format!("0:{}", pick.stream)]);
            }
            add(&["-dn", "-sn", "-c", "copy"]);
            add(&WITHOUT_METADATA);
            for (index, pick) in picks.iter().enumerate() {
                match pick.way {
                    StreamConversion::Copied => {}
                    StreamConversion::CopiedFromAdts => {
                        add(&[&format!("-bsf:{index}"), "aac_adtstoasc"])
                    }
                    StreamConversion::Encoded => {
                        add(&[&format!("-c:{index}"), "aac"]);
                        add(&[&format!("-ac:{index}"), &AAC_CHANNELS.to_string()]);
                        add(&[&format!("-b:{index}"), AAC_RATE]);
                    }
                }
            }
            threads.iter().for_each(|count| add(&["-threads", count]));
            match lead {
                Lead::Video => {}
                Lead::Audio => add(&SHORT_FRAGMENTS),
            }
            add(&FRAGMENTED_MP4);
        }
        Task::EncodeAudio(stream) => {
            add(&["-map", &format!("0:{stream}"), "-vn", "-dn", "-sn"]);
            add(&WITHOUT_METADATA);
            add(&["-c:a", "aac", "-ac", &AAC_CHANNELS.to_string()]);
            add(&["-b:a", AAC_RATE]);
            threads.iter().for_each(|count| add(&["-threads", count]));
            add(&SHORT_FRAGMENTS);
            add(&FRAGMENTED_MP4);
        }
        Task::EncodeGroup(_) | Task::EncodeVideo(_) => {
            let options = match task {
                Task::EncodeGroup(group) => group.arguments(),
                Task::EncodeVideo(rendition) => rendition.arguments(),
                _ => Vec::new(),
            };
            options.iter().for_each(|option| add(&[option]));
            add(&WITHOUT_METADATA);
            threads.iter().for_each(|count| add(&["-threads", count]));
            add(&SLOW_PROGRESS);
            add(&FRAGMENTED_MP4);
            if let Task::EncodeVideo(rendition) = task {
                rendition.behind().iter().for_each(|option| add(&[option]));
            }
        }
        Task::CopySubtitles(streams, texts) => {
            for stream in streams {
                add(&["-map", &format!("0:{stream}")]);
            }
            add(&PROGRESS);
            add(&["-c", "copy"]);
            // Matroska cannot hold MP4's own text. As ASS its signs stay text; as SubRip some would
            // become tags.
            if container == Container::Mp4 {
                for index in 0..*texts {
                    add(&[&format!("-c:{index}"), "ass"]);
                }
            }
            add(&WITHOUT_METADATA);
            add(&["-f", "matroska", "pipe:1"]);
        }
        Task::SubtitleBitmap(stream, format) => {
            let muxer = match format {
                BitmapFormat::Sup => "sup",
                BitmapFormat::Matroska => "matroska",
            };
            add(&["-map", &format!("0:{stream}"), "-c", "copy"]);
            add(&["-f", muxer, "pipe:1"]);
        }
        // The attachment stands in the header; ffmpeg wants an output all the same.
        Task::Attachment(_) => add(&["-map", "0", "-c", "copy", "-t", "0", "-f", "null", "-"]),
        Task::Picture(stream, _) => {
            add(&["-map", &format!("0:{stream}"), "-frames:v", "1"]);
            add(&["-vf", PICTURE_SIZE, "-pix_fmt", "yuvj420p"]);
            add(&["-c:v", "mjpeg", "-q:v", "4", "-f", "mjpeg", "pipe:1"]);
        }
        Task::Sprites {
            width,
            columns,
            rows,
        } => {
            // A frame that cannot be decoded is the one before, and moves no other from its place.
            let filter = format!(
                "fps=1:start_time=0:eof_action=pass,scale=w={width}:h=trunc({width}/dar/2)*2,setsar=1,tile={columns}x{rows}"
            );
            add(&["-map", "0:v", "-an", "-vf", &filter, "-pix_fmt", "yuvj420p"]);
            add(&["-c:v", "mjpeg", "-q:v", "5", "-f", "mjpeg", "pipe:1"]);
        }
        Task::SubtitleText(stream, format) => {
            let muxer = match format {
                SubtitleFormat::Srt => "srt",
                SubtitleFormat::Vtt => "webvtt",
                SubtitleFormat::Ass => "ass",
            };
            add(&["-map", &format!("0:{stream}"), "-c", "copy"]);
            add(&["-f", muxer, "pipe:1"]);
        }
    }
    match task {
        Task::Probe => list,
        _ => ["-nostdin", "-hide_banner"]
            .map(str::to_owned)
            .into_iter()
            .chain(list)
            .collect(),
    }
}
