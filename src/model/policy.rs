//! Choices that a user makes and several modules act on. `config` and `cli` parse into them, and the
//! modules that act take them as they are.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Treatment of a segment that is larger than `MAX_CHUNK_SIZE` (`TGFS_OVERSIZE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Oversize {
    /// It is copied anyway, since segments may span packs.
    #[default]
    Keep,
    /// Its video is encoded again, smaller.
    Reencode,
}

/// Making of a rendition in H.264 for video that browsers do not play (`TGFS_COMPAT_VIDEO`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compat {
    /// No rendition.
    #[default]
    Off,
    /// A rendition, made by this hardware when it works, otherwise by software.
    With(Hardware),
}

/// Hardware that encodes renditions (`FFMPEG_HARDWARE_ACCEL`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Hardware {
    /// Software only.
    #[default]
    None,
    /// NVENC.
    Nvidia,
    /// Quick Sync.
    Intel,
    /// VA-API.
    Vaapi,
    /// The first of these that works.
    Any,
}

/// Appearance of the directory `.hls` in the listing of the root (`TGFS_VIEWS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HlsListing {
    /// Listed.
    Visible,
    /// Left out of the listing, but reachable by name.
    Hidden,
}

/// Appearance of a film's subtitles as files beside it (`TGFS_SIDECAR_SUBTITLES`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SidecarSubtitles {
    /// Listed and readable.
    Shown,
    /// Neither listed nor found by name.
    Absent,
}

/// Permission to change files (`--read-only`). The store can refuse changes as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum WriteMode {
    /// Files and names may be changed.
    Writable = 0,
    /// Every change is refused.
    ReadOnly = 1,
}

/// The users who may use a mount (`--allow-other`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountAudience {
    /// Only the user who mounted.
    Owner,
    /// All users, as far as modes and owners allow (`allow_other`).
    Everyone,
}

/// Rate of posts to one channel (`TGFS_PACE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimit {
    /// Half of the rate that the service is known to tolerate.
    Gentle,
    /// 20 posts a minute.
    Normal,
    /// No limit until the service asks for a wait.
    Fast,
}

/// Treatment of deleted posts that are too old for a bot to delete (`TGFS_TOMBSTONE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TombstonePolicy {
    /// They stay in the channel unchanged, and are counted.
    Leave,
    /// Their bytes are replaced by a few, at most one post a minute.
    Write,
}

/// Certificate files of the gateway (`SSL_CERT_PATH`, `SSL_KEY_PATH`); read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub certificates: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// Amount of data that `verify` reads from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyDepth {
    /// Size and table of each pack.
    Packs,
    /// Every block of every pack as well.
    Blocks,
}

/// Answer to a library that another daemon has written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LibraryClaim {
    /// Refuse.
    Continue,
    /// Take the library over: the epoch is raised, which makes the other daemon stop.
    TakeOver,
}
