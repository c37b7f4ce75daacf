//! The cache of the store's blocks.

use std::path::{Path, PathBuf};

use super::machine::MIN_CACHE_BYTES;
use super::reader::SettingReader;

/// Memory in bytes beside a cache on the disk: blocks on their way to readers, and read-ahead.
const MEMORY_BESIDE_DISK_BYTES: u64 = 128 << 20;

/// Places where blocks of the store are kept for the next reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// Bytes in memory.
    pub memory: u64,
    /// `None`: only pinned blocks are on the disk.
    pub disk: Option<DiskCacheSettings>,
    /// Bytes, in the state directory, of blocks that a scan of the library reads; 0 for none.
    pub pinned: u64,
}

/// The cache on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskCacheSettings {
    /// An absolute path.
    pub dir: PathBuf,
    /// Most bytes.
    pub size: u64,
}

/// Limits of blocks that are fetched before they are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreloadSettings {
    /// Segments of 8 MiB ahead of one reader.
    pub segments: u64,
    /// Readers at the same time.
    pub readers: usize,
}

/// A word of CACHE_TYPE.
#[derive(Debug, Clone, Copy)]
enum CacheKind {
    Memory,
    Disk,
    Tiered,
}

impl CacheSettings {
    pub(super) fn read(reader: &mut SettingReader<'_>, state_dir: &Path) -> Self {
        let kinds = [
            ("memory", CacheKind::Memory),
            ("disk", CacheKind::Disk),
            ("tiered", CacheKind::Tiered),
        ];
        let kind = reader
            .choice("CACHE_TYPE", &kinds)
            .unwrap_or(CacheKind::Memory);
        let default = reader.settings.default_cache_bytes;
        let asked = reader.size("CACHE_SIZE");
        let on_disk = reader.size("TGFS_CACHE_DISK_SIZE").unwrap_or_default();
        let dir = reader
            .path("CACHE_DIR")
            .unwrap_or_else(|| state_dir.join("cache"));
        let memory = asked.unwrap_or(default);
        let (memory, on_disk) = match kind {
            CacheKind::Memory => (memory, None),
            CacheKind::Tiered => (memory, Some(on_disk)),
            CacheKind::Disk => {
                let memory = MEMORY_BESIDE_DISK_BYTES.min(default);
                (memory, Some(asked.unwrap_or(on_disk)))
            }
        };
        Self {
            memory: memory.max(MIN_CACHE_BYTES),
            disk: on_disk.map(|size| DiskCacheSettings { dir, size }),
            pinned: reader.size("TGFS_PIN_SIZE").unwrap_or_default(),
        }
    }
}

impl PreloadSettings {
    pub(super) fn read(reader: &mut SettingReader<'_>) -> Self {
        Self {
            segments: reader.count("PRELOAD_SEGMENTS"),
            readers: reader.count("MAX_CONCURRENT_PRELOADS"),
        }
    }
}
