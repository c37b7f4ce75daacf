//! The whole configuration, as parts are built from it.

use std::path::PathBuf;
use std::time::Duration;

use super::cache::{CacheSettings, PreloadSettings};
use super::http::HttpSettings;
use super::log::LogSettings;
use super::media::MediaSettings;
use super::reader::SettingReader;
use super::resolved::ResolvedSettings;
use super::spool::{MountSettings, SpoolSettings};
use super::store::{EncryptionSettings, StoreConfig};

/// Smallest and largest pack in bytes. In a smaller pack the table outweighs the data. A larger one
/// exceeds Telegram's limit of 2000 MiB.
const PACK_SIZES: std::ops::RangeInclusive<u64> = (1 << 20)..=(2000 << 20);

/// Everything that parts are built from. Paths are absolute, sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The `.env` in force.
    pub env_file: Option<PathBuf>,
    /// Index, journal, socket, HTTP token.
    pub state_dir: PathBuf,
    /// The place where packs are kept.
    pub store: StoreConfig,
    /// Passphrases of the store.
    pub encryption: EncryptionSettings,
    /// The directory for bytes that the store does not hold yet.
    pub spool: SpoolSettings,
    /// Appearance of the mount.
    pub mount: MountSettings,
    /// Cuts and encoding.
    pub media: MediaSettings,
    /// Bytes of one pack.
    pub pack_size: u64,
    /// Time between a delete and the removal of its packs.
    pub keep_deleted: Duration,
    /// Blocks that are kept for the next reader.
    pub cache: CacheSettings,
    /// Blocks that are fetched before they are asked for.
    pub preload: PreloadSettings,
    /// Longest wait of a read for the store.
    pub read_deadline: Duration,
    /// Longest wait of a write for room in the spool.
    pub write_deadline: Duration,
    /// The gateway.
    pub http: HttpSettings,
    /// The log.
    pub log: LogSettings,
    /// The values that all of the above was read from.
    pub(super) settings: ResolvedSettings,
}

/// A configuration with all that is wrong with it.
#[derive(Debug)]
pub(super) struct Assembled {
    /// The configuration, in which defaults replace wrong values.
    pub(super) config: Config,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Config {
    /// Reads all sections; reads no file and no clock.
    pub(super) fn assemble(settings: ResolvedSettings) -> Assembled {
        let mut reader = SettingReader::new(&settings);
        let state_dir = reader
            .path("TGFS_STATE_DIR")
            .unwrap_or_else(|| settings.default_state_dir.clone());
        let config = Self {
            env_file: settings.env_file.clone(),
            store: StoreConfig::read(&mut reader, &state_dir),
            encryption: EncryptionSettings::read(&mut reader),
            spool: SpoolSettings::read(&mut reader, &state_dir),
            mount: MountSettings::read(&mut reader),
            media: MediaSettings::read(&mut reader),
            pack_size: pack_size(&mut reader),
            keep_deleted: reader.duration("TGFS_KEEP_DELETED"),
            cache: CacheSettings::read(&mut reader, &state_dir),
            preload: PreloadSettings::read(&mut reader),
            read_deadline: reader.deadline("TGFS_READ_DEADLINE"),
            write_deadline: reader.deadline("TGFS_WRITE_DEADLINE"),
            http: HttpSettings::read(&mut reader),
            log: LogSettings::read(&mut reader),
            state_dir,
            settings: settings.clone(),
        };
        Assembled {
            config,
            problems: reader.problems,
            warnings: reader.warnings,
        }
    }

    /// Returns the preferred path of a running daemon's socket. `control` knows the other places where it
    /// may be.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.state_dir.join("control.sock")
    }

    /// Returns the directories that the program itself works in. Nothing may be mounted on or above them.
    #[must_use]
    pub fn own_directories(&self) -> Vec<PathBuf> {
        let mut own = vec![self.state_dir.clone(), self.spool.dir.clone()];
        if let StoreConfig::Local { dir, .. } = &self.store {
            own.push(dir.clone());
        }
        own.extend(self.cache.disk.iter().map(|disk| disk.dir.clone()));
        own
    }
}

fn pack_size(reader: &mut SettingReader<'_>) -> u64 {
    let size = reader.size("TGFS_PACK_SIZE").unwrap_or(*PACK_SIZES.start());
    if !PACK_SIZES.contains(&size) {
        reader.problem("TGFS_PACK_SIZE", "must be between 1MiB and 2000MiB");
    }
    size
}
