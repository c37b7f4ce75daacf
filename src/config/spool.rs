//! The spool and the mount.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::SettingReader;
use crate::model::{HlsListing, SidecarSubtitles};

/// The directory for bytes that the store does not hold yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// An absolute path.
    pub dir: PathBuf,
    /// Most bytes; `None`: the free space less 5 GiB.
    pub size: Option<u64>,
    /// Free bytes that are left to index and journal.
    pub reserve: u64,
    /// Largest file in bytes; `None`: no limit.
    pub max_file_size: Option<u64>,
}

impl SpoolSettings {
    pub(super) fn read(reader: &mut SettingReader<'_>, state_dir: &Path) -> Self {
        let dir = reader
            .path("TGFS_SPOOL_DIR")
            .or_else(|| reader.path("TEMP_UPLOADS_DIR"))
            .unwrap_or_else(|| state_dir.join("spool"));
        Self {
            dir,
            size: reader.size("TGFS_SPOOL_SIZE"),
            reserve: reader.size("TGFS_SPOOL_RESERVE").unwrap_or_default(),
            max_file_size: reader.size("MAX_UPLOAD_SIZE").filter(|size| *size > 0),
        }
    }
}

/// Appearance of the mount, and the time at which a written file counts as complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSettings {
    /// Listing of `.hls` in the root.
    pub hls_listing: HlsListing,
    /// Appearance of subtitles beside their film.
    pub sidecars: SidecarSubtitles,
    /// Quiet time between a file's last close and its ingest.
    pub settle: Duration,
}

impl MountSettings {
    pub(super) fn read(reader: &mut SettingReader<'_>) -> Self {
        let listings = [
            ("visible", HlsListing::Visible),
            ("hidden", HlsListing::Hidden),
        ];
        Self {
            hls_listing: reader
                .choice("TGFS_VIEWS", &listings)
                .unwrap_or(HlsListing::Visible),
            sidecars: match reader.is_on("TGFS_SIDECAR_SUBTITLES") {
                true => SidecarSubtitles::Shown,
                false => SidecarSubtitles::Absent,
            },
            settle: reader.duration("TGFS_SETTLE"),
        }
    }
}
