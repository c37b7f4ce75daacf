//! Messages on the socket: one request as a JSON line, then answers as JSON lines up to `done` or
//! `failed`. For an upload the file's bytes follow once the daemon said [`Response::Go`].

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Reloaded;
use crate::model::shown;
use crate::model::{
    ConfinementInfo, FileInfo, FsResult, JobInfo, PendingInfo, StoreStatus, TreePath, VerifyDepth,
};

/// A path or id as the user wrote it. Names need not be UTF-8, JSON texts must.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum WirePath {
    Text(String),
    Bytes(Vec<u8>),
}

impl WirePath {
    /// Takes bytes of any encoding.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes(bytes.to_vec()),
        }
    }
    /// Returns the bytes as they were given.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
    /// Parses the path in the tree.
    ///
    /// # Errors
    /// `InvalidArgument` or `NameTooLong` if a component is not a valid name.
    pub fn to_tree_path(&self) -> FsResult<TreePath> {
        Ok(TreePath::parse(self.as_bytes())?)
    }
}

/// Time at which a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// The command ends at once.
    No,
    /// It ends when the files have a final state.
    UntilFinal,
}

/// Treatment of bytes that are only in the spool when the daemon stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UploadsAtStop {
    /// They go on at the next start.
    Leave,
    /// The daemon stops when they are stored.
    Finish,
}

/// One command, as a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// Asks for one [`Response::Daemon`].
    Ping,
    List {
        directory: WirePath,
    },
    Status {
        path: Option<WirePath>,
        wait: Wait,
    },
    Url {
        path: WirePath,
    },
    Delete {
        targets: Vec<WirePath>,
    },
    Retry {
        paths: Vec<WirePath>,
    },
    /// `size` bytes follow.
    Upload {
        directory: WirePath,
        name: WirePath,
        size: u64,
        wait: Wait,
    },
    DbStats,
    Cleanup {
        hours: u64,
    },
    CacheClear {
        path: Option<WirePath>,
    },
    Verify {
        depth: VerifyDepth,
    },
    /// Takes over the films that others posted to a channel.
    Import {
        /// `-100…` or `@name`
        channel: String,
        directory: WirePath,
    },
    Reload,
    /// Asks for one [`Response::LoginLink`].
    LoginLink,
    Stop {
        uploads: UploadsAtStop,
    },
}

/// The process that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonInfo {
    pub pid: u32,
    pub version: String,
    /// `None` without a mount; a byte that is not UTF-8 is shown as `\xE9`.
    pub mountpoint: Option<String>,
    /// The same path, percent-encoded; only if `mountpoint` is not exact.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mountpoint_bytes: Option<String>,
    /// `http://127.0.0.1:8080`; without a daemon, the address in the settings.
    pub http: Option<String>,
    /// Base of the public URLs.
    pub public: Option<String>,
    /// `local:DIR`
    pub store: String,
    pub state_dir: String,
    /// Whether the tree can be used already.
    #[serde(default)]
    pub library: LibraryReadiness,
    /// Link that signs in once; only in what a daemon tells at its start.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub login: Option<String>,
}

impl DaemonInfo {
    /// Returns the exact path of the mount.
    #[must_use]
    pub fn mountpoint(&self) -> Option<PathBuf> {
        let text = self.mountpoint.as_deref()?;
        Some(exact_path(text, self.mountpoint_bytes.as_deref()))
    }
}

fn exact_path(text: &str, encoded: Option<&str>) -> PathBuf {
    PathBuf::from(OsString::from_vec(shown::bytes_of(text, encoded)))
}

/// Whether the tree of a daemon's library can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LibraryReadiness {
    #[default]
    Usable,
    /// It is still being read from the store. Whoever asks for it waits.
    Loading,
}

/// A link that signs a browser in once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginLink {
    pub url: String,
    /// The same link under PUBLIC_DOMAIN.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub public: Option<String>,
    /// Seconds for which it can be used.
    pub seconds: u64,
}

/// The addresses at which a file can be played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlInfo {
    pub id: String,
    /// Path in the tree; a byte that is not UTF-8 is shown as `\xE9`.
    pub path: String,
    /// The same path, percent-encoded; only if `path` is not exact.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_bytes: Option<String>,
    /// By the stable id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub local: Option<String>,
    /// By the name's slug.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub public: Option<String>,
    /// The stored bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    /// `master.m3u8` in the mount.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mount: Option<String>,
    /// The same path, percent-encoded; only if `mount` is not exact.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mount_bytes: Option<String>,
    /// True if playlists exist already; without them only `file` works.
    pub has_views: bool,
}

impl UrlInfo {
    /// Returns the exact path of `master.m3u8` in the mount.
    #[must_use]
    pub fn mount(&self) -> Option<PathBuf> {
        let text = self.mount.as_deref()?;
        Some(exact_path(text, self.mount_bytes.as_deref()))
    }
}

/// Unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatUnit {
    Count,
    Bytes,
    Seconds,
}

/// One line of `db-stats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// `index`, `journal`, `cache`, `disk cache`, `pinned`, `spool`, `remote`
    pub part: String,
    pub name: String,
    pub value: u64,
    pub unit: StatUnit,
}

/// Figures of a `cleanup` or `cache-clear`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleaned {
    pub cache_bytes: u64,
    pub cache_blocks: u64,
    pub finished_jobs: u64,
    /// Packs that nothing needed, and their bytes in the store.
    pub packs: u64,
    pub pack_bytes: u64,
    /// Packs that the store no longer allows to be deleted.
    pub packs_left: u64,
    /// Packs that are tried again later.
    pub packs_failed: u64,
}

/// The outcome of `verify`; each finding was told before as [`Response::Finding`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    pub packs: u64,
    /// Packs that nothing names and that could not be deleted.
    pub packs_left: u64,
    /// Packs that the store will soon not show any more.
    pub packs_fading: u64,
    /// Bytes of the packs.
    #[serde(default)]
    pub bytes: u64,
    /// Bytes that were read of them: tables, and with `--deep` every block.
    pub bytes_read: u64,
    pub findings: u64,
}

/// The plan for a film, which stores nothing (`tgfs plan`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanReport {
    pub file: String,
    /// The same path, percent-encoded; only if `file` is not exact.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file_bytes: Option<String>,
    pub size: u64,
    /// `ready`, `unsupported`, `unreadable` or `not media`.
    pub outcome: String,
    /// Seconds.
    pub duration: Option<f64>,
    pub tracks: Vec<PlanTrack>,
    /// Cuts of the leading track.
    pub cuts: Option<PlanCuts>,
    /// Sources of the segments of the leading track.
    #[serde(default)]
    pub segments: Vec<PlanSegments>,
    /// Bytes that would be made beside the file: packed audio, samples that do not map, the map.
    pub derived_bytes: u64,
    /// Reasons for missing playlists, and tracks that are left out.
    pub notes: Vec<String>,
}

/// Segments from `first` to `last`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSegments {
    pub kind: PlanSegmentKind,
    pub first: u64,
    pub last: u64,
}

/// Source of a segment's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanSegmentKind {
    /// Ranges of the file alone.
    Mapped,
    /// Some bytes of it, or all, are stored beside the file.
    Derived,
    /// Some frames are encoded again, to be smaller.
    Reencoded,
}

impl PlanSegmentKind {
    /// Returns the word that `tgfs plan` prints.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::Derived => "derived",
            Self::Reencoded => "encoded again",
        }
    }
}

/// Cuts of a film, and for comparison those of the older system. Sizes are bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanCuts {
    pub segments: u64,
    pub copied: u64,
    pub reencoded: u64,
    pub total: u64,
    pub average: u64,
    pub largest: u64,
    /// `None` if there is nothing to compare: sound alone, or no MAX_CHUNK_SIZE.
    pub ten_passes: Option<PlanTenPasses>,
}

/// Cuts by the older system's rule: of ten copies of the film, cut at ten durations, the one with the
/// fewest segments above MAX_CHUNK_SIZE, which are then encoded again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanTenPasses {
    /// Seconds.
    pub duration: f64,
    pub segments: u64,
    pub reencoded: u64,
    /// Per cent of the film's time.
    pub reencoded_percent: f64,
}

/// One track of the plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanTrack {
    /// `video`, `audio` or `subtitle`
    pub kind: String,
    pub codec: String,
    pub language: String,
    pub title: String,
    pub segments: u32,
    /// Bytes of samples that are ranges of the file.
    pub mapped: u64,
    /// Bytes of samples that are stored beside it.
    pub derived: u64,
    /// Seconds of the longest segment.
    pub longest: f64,
    /// Bytes of the largest segment.
    pub largest: u64,
}

/// One answer, as a line of JSON. A request has any number of them, the last of which is
/// [`Response::Done`] or [`Response::Failed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Response {
    Daemon(DaemonInfo),
    /// Tells the client to send the bytes of its upload.
    Go,
    File(FileInfo),
    Job(JobInfo),
    /// State of the library and its store.
    Store(StoreStatus),
    Pending(PendingInfo),
    Confinement(ConfinementInfo),
    Urls(UrlInfo),
    /// `done` of `total`: bytes, or per cent if `total` is 100. A `total` of 0 says only that work goes on.
    Progress {
        path: String,
        step: String,
        done: u64,
        total: u64,
    },
    Removed {
        path: String,
        /// The same path, percent-encoded; only if `path` is not exact.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        path_bytes: Option<String>,
        files: u64,
    },
    Retried {
        path: String,
        /// The same path, percent-encoded; only if `path` is not exact.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        path_bytes: Option<String>,
        /// Reason why the file may be incomplete, which is stored as it is all the same.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        incomplete: Option<String>,
    },
    Stat(Stat),
    Cleaned(Cleaned),
    /// A difference that `verify` found, or one of several files that a command could not do.
    Finding {
        text: String,
    },
    Verified(Verified),
    Reloaded(Reloaded),
    LoginLink(LoginLink),
    Done,
    /// The failure, and what to do about it.
    Failed {
        message: String,
    },
}

impl Response {
    /// Returns whether no more answers follow.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::Done | Self::Failed { .. })
    }
}
