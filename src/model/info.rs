//! Facts about files and jobs, as commands, the page and JSON answers show them.

use serde::{Deserialize, Serialize};

/// State of a file, as users see it (`user.tgfs.state`, `tgfs list`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublicState {
    Spooled,
    Ingesting,
    Uploading,
    Stored,
    Plain,
    Failed,
}

impl PublicState {
    /// Returns the name that users see, e.g. `stored`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spooled => "spooled",
            Self::Ingesting => "ingesting",
            Self::Uploading => "uploading",
            Self::Stored => "stored",
            Self::Plain => "plain",
            Self::Failed => "failed",
        }
    }
    /// Returns whether the state is final: it changes only when a user acts.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Stored | Self::Plain | Self::Failed)
    }
}

/// A file, as `tgfs list` shows it. Media facts are absent when the file is no media, or not mapped yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileInfo {
    /// 32 hexadecimal digits.
    pub id: String,
    /// Path in the tree; a byte that is not UTF-8 is shown as `\xE9`.
    pub path: String,
    /// The same path, percent-encoded; only if `path` is not exact.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_bytes: Option<String>,
    pub size: u64,
    pub state: PublicState,
    /// Per cent, 0 to 100. Until the bytes are stored, it is the share of them that the store has.
    pub progress: u8,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub upload: Option<UploadInfo>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub duration: Option<f64>,
    /// Width and height in pixels.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resolution: Option<(u32, u32)>,
    /// Average bits a second of the whole file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bitrate: Option<u64>,
    /// RFC 6381 codec strings.
    pub codecs: Vec<String>,
    /// Video segments (audio segments when there is no video).
    pub segments: u32,
    /// Bytes stored beside the file: the parts of its views that are not ranges of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub derived: Option<u64>,
    pub subtitles: Vec<SubtitleInfo>,
    /// In the order of time.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub chapters: Vec<ChapterInfo>,
    /// Seconds since 1970.
    pub created: i64,
    /// Seconds since 1970.
    pub modified: i64,
    /// Stem for `/playlist/local/<slug>.m3u8`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slug: Option<String>,
    /// True if `/.hls/<path>/master.m3u8` exists.
    pub has_views: bool,
    /// True if `thumbnails.vtt` is among them.
    #[serde(default)]
    pub has_thumbnails: bool,
    /// True if modes keep other users from reading the film: its addresses need a login.
    #[serde(default)]
    pub is_private: bool,
}

/// Subtitles of a film, as `tgfs list` shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtitleInfo {
    /// Name without extension of the direct subtitle view, e.g. `eng` or `spa.forced`.
    pub key: String,
    /// BCP-47.
    pub language: String,
    pub title: String,
    pub forced: bool,
    pub default: bool,
    /// True if the subtitles are for the deaf and hard of hearing.
    #[serde(default)]
    pub hearing_impaired: bool,
    /// Name of the user's file beside the film; absent when the subtitles are in the film.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    /// Extensions that can be asked for, e.g. `srt`, `vtt`, `ass`.
    pub formats: Vec<String>,
}

/// Chapter of a film, as `tgfs list` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChapterInfo {
    /// Seconds since the film's beginning.
    pub start: f64,
    /// Seconds since the film's beginning.
    pub end: f64,
    pub title: String,
}

/// Progress of an upload. It never goes back while the bytes stay the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadInfo {
    /// Bytes that the store has acknowledged.
    pub sent: u64,
    /// All bytes.
    pub total: u64,
    /// Rate of the last seconds; absent at the beginning.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bytes_per_second: Option<u64>,
    /// Time left at that rate; absent while nothing moves.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seconds_left: Option<u64>,
}

/// A job of ingest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobInfo {
    pub id: String,
    pub path: String,
    /// The same path, percent-encoded; only if `path` is not exact.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_bytes: Option<String>,
    pub state: PublicState,
    /// Current step, e.g. `upload` or `map`.
    pub step: String,
    pub progress: u8,
    /// Per cent of a step that is no upload.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub step_progress: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub upload: Option<UploadInfo>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// Bytes that are only in the spool.
    pub spool_bytes: u64,
    /// Seconds since the bytes came into the spool.
    pub age_seconds: u64,
}

/// Data that would be lost with the local disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingInfo {
    pub files: u64,
    pub bytes: u64,
    /// Seconds since the oldest of them came in.
    pub oldest_seconds: u64,
    /// Entries, directories and tombstones among them, whose newest state the store's log does not hold
    /// yet. The journal holds them until the next manifest.
    #[serde(default)]
    pub changes: u64,
    /// Films whose bytes are in the store and whose playlists are not made yet.
    #[serde(default)]
    pub without_views: u64,
}
