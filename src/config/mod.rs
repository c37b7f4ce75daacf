//! Settings: read in layers (flag, environment, `.env`, default), checked all at once, and held
//! behind one handle that `tgfs reload` swaps.

mod bots;
mod dotenv;
mod layers;
mod media;
mod quantity;
mod report;
mod resolve;
mod secret;
mod settings;
mod telegram;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::model::{HlsListing, PublicScheme, SidecarSubtitles, TlsFiles};

pub use bots::Bot;
pub use layers::{FlagValue, Inputs, Source};
pub use media::MediaConfig;
pub use quantity::{parse_duration, parse_size};
pub use report::{Reloaded, Row};
pub use resolve::{Loaded, load, reload};
pub use secret::Secret;
pub use settings::{Exposure, Fallback, Numbering, SETTINGS, Setting, Takes, Unit};
pub use telegram::{ServerAddress, ServerConfig, TelegramConfig};

/// Everything that parts are built from. Paths are absolute, sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The `.env` in force.
    pub env_file: Option<PathBuf>,
    pub state_dir: PathBuf,
    pub store: Store,
    pub encryption: EncryptionConfig,
    pub spool: SpoolConfig,
    pub mount: MountConfig,
    pub media: MediaConfig,
    /// Bytes of one pack.
    pub pack_size: u64,
    /// From a delete to the removal of its packs.
    pub keep_deleted: Duration,
    pub cache: CacheConfig,
    pub preload: PreloadConfig,
    /// Longest wait of a read for the store.
    pub read_deadline: Duration,
    /// Longest wait of a write for room in the spool.
    pub write_deadline: Duration,
    pub http: HttpConfig,
    pub log: LogConfig,
}

/// Where blocks of the store are kept for the next reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// Bytes in memory.
    pub memory: u64,
    /// `None`: nothing lies on the disk but what is pinned.
    pub disk: Option<DiskCacheConfig>,
    /// Bytes of blocks that a scan of the library reads, in the state directory; 0: none.
    pub pinned: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskCacheConfig {
    pub dir: PathBuf,
    /// Most bytes.
    pub size: u64,
}

/// What is fetched before it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreloadConfig {
    /// Ahead of one reader.
    pub segments: u64,
    /// Readers at the same time.
    pub readers: usize,
}

/// Where packs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    Local { dir: PathBuf, origin: StoreOrigin },
    Telegram(Box<TelegramConfig>),
}

/// Whether the store was chosen, or is the one without any setting (`mount` then says so).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOrigin {
    Chosen,
    Default,
}

impl Store {
    /// As `--store` takes it.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Local { dir, .. } => format!("local:{}", dir.display()),
            Self::Telegram(_) => "telegram".to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionConfig {
    pub passphrase: Option<Secret<String>>,
    /// The one before, while it is being changed.
    pub old_passphrase: Option<Secret<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    pub dir: PathBuf,
    /// Most bytes; `None`: free space less 5 GiB.
    pub size: Option<u64>,
    /// Free bytes left to index and journal.
    pub reserve: u64,
    /// Largest file in bytes.
    pub max_file_size: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountConfig {
    pub hls_listing: HlsListing,
    pub sidecars: SidecarSubtitles,
    /// Quiet time between a file's last close and its ingest.
    pub settle: Duration,
}

/// Where the gateway listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpBind {
    Off,
    At { host: String, port: u16 },
}

/// Whether callers from beyond loopback need the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpTrust {
    Token,
    Open,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    pub bind: HttpBind,
    /// LOCAL_HOST as written: a Host header that is ours.
    pub local_host: String,
    pub public_domain: Option<String>,
    pub public_scheme: PublicScheme,
    pub tls: Option<TlsFiles>,
    pub trust: HttpTrust,
}

impl HttpBind {
    /// `ADDR` of `--http`: `off`, `PORT`, `HOST`, `HOST:PORT`, `[V6]:PORT`.
    ///
    /// # Errors
    /// How an address looks.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self::Off);
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            let (host, port) = (address.ip().to_string(), address.port());
            return Ok(Self::At { host, port });
        }
        if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
            let host = "127.0.0.1".to_owned();
            return Ok(Self::At { host, port });
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<std::net::IpAddr>().is_ok() {
            let (host, port) = (bare.to_owned(), default_port);
            return Ok(Self::At { host, port });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (text, Some(default_port)),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        match port {
            Some(port) if !host.is_empty() && host.chars().all(is_host) => Ok(Self::At {
                host: host.to_owned(),
                port,
            }),
            _ => Err(format!(
                "{text:?} is no address: write HOST:PORT, e.g. 0.0.0.0:8080, or off"
            )),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    pub level: LogLevel,
    pub file: Option<PathBuf>,
}

/// The configuration in force; a clone is another reference to the same one.
#[derive(Debug, Clone)]
pub struct ConfigHandle(Arc<ArcSwap<Config>>);

impl ConfigHandle {
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(config)))
    }
    /// The values at this moment: take it again for each use, do not keep it.
    #[must_use]
    pub fn get(&self) -> Arc<Config> {
        self.0.load_full()
    }
    /// Takes over from `new` what can change while running, and says what changed and what has to
    /// wait for the next start.
    pub fn apply(&self, new: &Config) -> Reloaded {
        let old = self.get();
        let (merged, reloaded) = report::merge_live(&old, new);
        self.0.store(Arc::new(merged));
        reloaded
    }
}

impl Config {
    /// The socket of a running daemon, by preference; see `control` for where else it may lie.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.state_dir.join("control.sock")
    }
    /// Directories that the program itself works in: nothing may be mounted on or above them.
    #[must_use]
    pub fn own_directories(&self) -> Vec<PathBuf> {
        let mut own = vec![self.state_dir.clone(), self.spool.dir.clone()];
        if let Store::Local { dir, .. } = &self.store {
            own.push(dir.clone());
        }
        own.extend(self.cache.disk.iter().map(|disk| disk.dir.clone()));
        own
    }
}
