//! From texts to a [`Config`], with all problems at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::layers::{Inputs, Values};
use super::settings::{self, Fallback};
use super::{
    CacheConfig, Config, ConfigHandle, DiskCacheConfig, EncryptionConfig, HttpBind, HttpConfig,
    HttpTrust, LogConfig, LogLevel, MediaConfig, MountConfig, PreloadConfig, Secret, ServerAddress,
    ServerConfig, SpoolConfig, Store, StoreOrigin, TelegramConfig, bots, parse_duration,
    parse_size, report, telegram,
};
use crate::model::{
    HlsListing, PublicScheme, RateLimit, SidecarSubtitles, TlsFiles, TombstonePolicy,
};

/// Smallest and largest pack: below, the table outweighs the data; above, Telegram's 2000 MiB.
const PACK_SIZES: std::ops::RangeInclusive<u64> = (1 << 20)..=(2000 << 20);
/// Of TGFS_ROLLOVER: a channel shows about its last million posts.
const ROLLOVERS: std::ops::RangeInclusive<u32> = 1..=1_000_000;
/// Smallest cache: a few blocks for each of a handful of readers.
const MIN_CACHE_BYTES: u64 = 16 << 20;
/// Largest of PRELOAD_SEGMENTS and MAX_CONCURRENT_PRELOADS; the cache bounds both further.
const PRELOADS: std::ops::RangeInclusive<u64> = 0..=1024;
/// What a cache on the disk needs of memory: blocks on their way to readers, and what is read ahead.
const MEMORY_BESIDE_DISK_BYTES: u64 = 128 << 20;
/// Largest cache that is taken without being asked for.
const MAX_DEFAULT_CACHE_BYTES: u64 = 1 << 30;

/// What loading found: values and warnings even where the configuration is unusable.
#[derive(Debug)]
pub struct Loaded {
    pub rows: Vec<report::Row>,
    pub env_file: Option<PathBuf>,
    /// Unknown keys, a readable `.env`.
    pub warnings: Vec<String>,
    /// The configuration, or all that stands against it.
    pub config: Result<Config, Vec<String>>,
}

/// Reads all layers and checks every value. Never fails halfway: see [`Loaded`].
#[must_use]
pub fn load(inputs: &Inputs) -> Loaded {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    let values = Values::gather(inputs, &mut problems, &mut warnings);
    let mut reader = Reader {
        values: &values,
        inputs,
        problems,
        warnings,
    };
    let config = reader.config();
    Loaded {
        rows: report::rows(&values, &config),
        env_file: values.env_file.clone(),
        warnings: reader.warnings,
        config: match reader.problems {
            problems if problems.is_empty() => Ok(config),
            problems => Err(problems),
        },
    }
}

/// Reads all layers again and applies what can change while running.
///
/// # Errors
/// All problems; then nothing was applied.
pub fn reload(handle: &ConfigHandle, inputs: &Inputs) -> Result<report::Reloaded, Vec<String>> {
    let new = load(inputs).config?;
    Ok(handle.apply(&new))
}

pub(super) struct Reader<'a> {
    values: &'a Values,
    inputs: &'a Inputs,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn config(&mut self) -> Config {
        let state_dir = self.path("TGFS_STATE_DIR").unwrap_or_else(|| {
            self.values
                .working_dir
                .join(self.inputs.default_state_dir())
        });
        let store = self.store(&state_dir);
        Config {
            env_file: self.values.env_file.clone(),
            store,
            encryption: self.encryption(),
            spool: self.spool(&state_dir),
            mount: self.mount(),
            media: MediaConfig::read(self),
            pack_size: self.pack_size(),
            keep_deleted: self.duration("TGFS_KEEP_DELETED"),
            cache: self.cache(&state_dir),
            preload: self.preload(),
            read_deadline: self.deadline("TGFS_READ_DEADLINE"),
            write_deadline: self.deadline("TGFS_WRITE_DEADLINE"),
            http: self.http(),
            log: self.log(),
            state_dir,
        }
    }

    pub(super) fn problem(&mut self, name: &str, text: &str) {
        let source = self.values.source(name);
        self.problems.push(format!("{name} ({source}): {text}"));
    }

    /// The explicit value, else the table's fixed one.
    fn text(&self, name: &str) -> Option<String> {
        if let Some(text) = self.values.explicit(name) {
            return Some(text.to_owned());
        }
        match settings::find(name)?.fallback {
            Fallback::Fixed(text) => Some(text.to_owned()),
            Fallback::Unset | Fallback::Computed(_) => None,
        }
    }

    fn parsed<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        match parse(&self.text(name)?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problem(name, &problem);
                None
            }
        }
    }

    pub(super) fn size(&mut self, name: &str) -> Option<u64> {
        self.parsed(name, parse_size)
    }

    fn duration(&mut self, name: &str) -> Duration {
        self.parsed(name, parse_duration).unwrap_or_default()
    }

    pub(super) fn deadline(&mut self, name: &str) -> Duration {
        let deadline = self.duration(name);
        if deadline.is_zero() && self.problems.is_empty() {
            self.problem(name, "must be longer than 0");
        }
        deadline
    }

    pub(super) fn count<T: std::str::FromStr>(&mut self, name: &str, range: &str) -> Option<T> {
        let wrong = |text: &str| format!("{text:?} must be a number ({range})");
        self.parsed(name, |text| text.parse().map_err(|_| wrong(text)))
    }

    pub(super) fn is_on(&mut self, name: &str) -> bool {
        let parse = |text: &str| match text.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" => Ok(true),
            "off" | "false" | "no" | "0" => Ok(false),
            _ => Err(format!("{text:?} must be on or off")),
        };
        self.parsed(name, parse).unwrap_or(false)
    }

    /// The place of the value among `words`, in any case.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        self.parsed(name, |text| {
            let found = words
                .iter()
                .find(|(word, _)| word.eq_ignore_ascii_case(text));
            found.map(|(_, value)| *value).ok_or_else(|| {
                let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                format!("{text:?} must be one of {}", names.join(", "))
            })
        })
    }

    /// An absolute path: `~/` is the home directory, relative ones start at the `.env`'s directory.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let text = self.text(name)?;
        Some(self.absolute(&text, &self.values.base_of(name)))
    }

    fn absolute(&self, text: &str, base: &Path) -> PathBuf {
        match text.strip_prefix("~/") {
            Some(rest) => self.inputs.home().join(rest),
            None => base.join(text),
        }
    }

    /// Bots mean Telegram, unless a local store was asked for: never a silent fall back.
    fn store(&mut self, state_dir: &Path) -> Store {
        let found = bots::collect(self.values);
        let local = |dir, origin| Store::Local { dir, origin };
        let default = || local(state_dir.join("store"), StoreOrigin::Default);
        // Judged also where no bot is configured: half a server is a mistake in any case.
        let server = self.server();
        let Some(text) = self.text("TGFS_STORE") else {
            return match found.is_any_set() {
                true => self.telegram(found, server),
                false => {
                    self.warnings.extend(found.warnings);
                    default()
                }
            };
        };
        match text.strip_prefix("local:") {
            Some(dir) if !dir.is_empty() => {
                if found.is_any_set() {
                    let source = self.values.source("TGFS_STORE");
                    self.warnings.push(format!(
                        "TGFS_STORE={text} ({source}) wins: the bots that are configured are not \
                         used"
                    ));
                }
                let dir = self.absolute(dir, &self.values.base_of("TGFS_STORE"));
                local(dir, StoreOrigin::Chosen)
            }
            None if text.eq_ignore_ascii_case("telegram") => {
                if !found.is_any_set() {
                    self.problem(
                        "TGFS_STORE",
                        "no bot is configured: make one with @BotFather and set BOT_TOKEN and \
                         CHAT_ID",
                    );
                }
                self.telegram(found, server)
            }
            _ => {
                self.problem(
                    "TGFS_STORE",
                    &format!("{text:?} must be local:DIR or telegram"),
                );
                default()
            }
        }
    }

    /// Where something is missing the values are not used: the problems say so.
    fn telegram(&mut self, found: bots::Bots, server: Option<ServerConfig>) -> Store {
        self.problems.extend(found.problems);
        self.warnings.extend(found.warnings);
        let api_id = self.parsed("TELEGRAM_API_ID", |text| {
            let id = text.parse().ok().filter(|id: &i32| *id > 0);
            id.ok_or_else(|| "must be the number that https://my.telegram.org shows".to_owned())
        });
        let api_hash = self.text("TELEGRAM_API_HASH");
        let missing: Vec<_> = ["TELEGRAM_API_ID", "TELEGRAM_API_HASH"]
            .into_iter()
            .filter(|name| self.values.explicit(name).is_none())
            .collect();
        if !missing.is_empty() {
            self.problems.push(format!(
                "bots are configured without {}: get both at https://my.telegram.org (API \
                 development tools)",
                missing.join(" and ")
            ));
        }
        let paces = [
            ("gentle", RateLimit::Gentle),
            ("normal", RateLimit::Normal),
            ("fast", RateLimit::Fast),
        ];
        let rollover = self.parsed("TGFS_ROLLOVER", |text| {
            let posts = text.parse().ok().filter(|posts| ROLLOVERS.contains(posts));
            posts.ok_or_else(|| format!("{text:?} must be a number between 1 and 1000000"))
        });
        Store::Telegram(Box::new(TelegramConfig {
            api_id: api_id.unwrap_or_default(),
            api_hash: Secret::new(api_hash.unwrap_or_default()),
            server,
            bots: found.bots,
            pace: self
                .choice("TGFS_PACE", &paces)
                .unwrap_or(RateLimit::Normal),
            tombstones: match self.is_on("TGFS_TOMBSTONE") {
                true => TombstonePolicy::Write,
                false => TombstonePolicy::Leave,
            },
            rollover: rollover.unwrap_or_default(),
        }))
    }

    /// A server of one's own proves itself by its key.
    fn server(&mut self) -> Option<ServerConfig> {
        let address = self.parsed("TELEGRAM_SERVER", ServerAddress::parse);
        let key_file = self.path("TELEGRAM_SERVER_KEY");
        let set = |name: &str| self.values.explicit(name).is_some();
        match (set("TELEGRAM_SERVER"), set("TELEGRAM_SERVER_KEY")) {
            (true, false) => self.problem(
                "TELEGRAM_SERVER",
                "goes only together with TELEGRAM_SERVER_KEY, the file with that server's public \
                 key",
            ),
            (false, true) => self.problem(
                "TELEGRAM_SERVER_KEY",
                "goes only together with TELEGRAM_SERVER; Telegram's own key needs no setting",
            ),
            (true, true) | (false, false) => {}
        }
        let key_file = key_file?;
        match telegram::read_key(&key_file) {
            Ok(key) => Some(ServerConfig {
                address: address?,
                key_file,
                key,
            }),
            Err(problem) => {
                self.problem("TELEGRAM_SERVER_KEY", &problem);
                None
            }
        }
    }

    fn encryption(&mut self) -> EncryptionConfig {
        let passphrase = self.text("TGFS_PASSPHRASE").map(Secret::new);
        let old_passphrase = self.text("TGFS_PASSPHRASE_OLD").map(Secret::new);
        if old_passphrase.is_some() && passphrase.is_none() {
            self.problem(
                "TGFS_PASSPHRASE_OLD",
                "goes only together with TGFS_PASSPHRASE, the new one; set both",
            );
        }
        EncryptionConfig {
            passphrase,
            old_passphrase,
        }
    }

    fn spool(&mut self, state_dir: &Path) -> SpoolConfig {
        let dir = self
            .path("TGFS_SPOOL_DIR")
            .or_else(|| self.path("TEMP_UPLOADS_DIR"))
            .unwrap_or_else(|| state_dir.join("spool"));
        SpoolConfig {
            dir,
            size: self.size("TGFS_SPOOL_SIZE"),
            reserve: self.size("TGFS_SPOOL_RESERVE").unwrap_or_default(),
            max_file_size: self.size("MAX_UPLOAD_SIZE").filter(|size| *size > 0),
        }
    }

    fn mount(&mut self) -> MountConfig {
        let views = [
            ("visible", HlsListing::Visible),
            ("hidden", HlsListing::Hidden),
        ];
        MountConfig {
            hls_listing: self
                .choice("TGFS_VIEWS", &views)
                .unwrap_or(HlsListing::Visible),
            sidecars: match self.is_on("TGFS_SIDECAR_SUBTITLES") {
                true => SidecarSubtitles::Shown,
                false => SidecarSubtitles::Absent,
            },
            settle: self.duration("TGFS_SETTLE"),
        }
    }

    fn pack_size(&mut self) -> u64 {
        let size = self.size("TGFS_PACK_SIZE").unwrap_or(*PACK_SIZES.start());
        if !PACK_SIZES.contains(&size) {
            self.problem("TGFS_PACK_SIZE", "must lie between 1MiB and 2000MiB");
        }
        size
    }

    fn preload(&mut self) -> PreloadConfig {
        let segments = self.preload_count("PRELOAD_SEGMENTS");
        let readers = self.preload_count("MAX_CONCURRENT_PRELOADS");
        PreloadConfig {
            segments,
            readers: usize::try_from(readers).unwrap_or(usize::MAX),
        }
    }

    fn preload_count(&mut self, name: &str) -> u64 {
        let count: u64 = self.count(name, "0 to 1024").unwrap_or(0);
        if !PRELOADS.contains(&count) {
            self.problem(name, "must lie between 0 and 1024");
        }
        count
    }

    fn cache(&mut self, state_dir: &Path) -> CacheConfig {
        let kinds = [
            ("memory", CacheKind::Memory),
            ("disk", CacheKind::Disk),
            ("tiered", CacheKind::Tiered),
        ];
        let kind = self
            .choice("CACHE_TYPE", &kinds)
            .unwrap_or(CacheKind::Memory);
        let asked = self.size("CACHE_SIZE");
        let on_disk = self.size("TGFS_CACHE_DISK_SIZE").unwrap_or_default();
        let dir = self
            .path("CACHE_DIR")
            .unwrap_or_else(|| state_dir.join("cache"));
        let memory = asked.unwrap_or_else(default_cache_size);
        let (memory, on_disk) = match kind {
            CacheKind::Memory => (memory, None),
            CacheKind::Tiered => (memory, Some(on_disk)),
            CacheKind::Disk => {
                let memory = MEMORY_BESIDE_DISK_BYTES.min(default_cache_size());
                (memory, Some(asked.unwrap_or(on_disk)))
            }
        };
        CacheConfig {
            memory: memory.max(MIN_CACHE_BYTES),
            disk: on_disk.map(|size| DiskCacheConfig { dir, size }),
            pinned: self.size("TGFS_PIN_SIZE").unwrap_or_default(),
        }
    }

    fn http(&mut self) -> HttpConfig {
        let local_host = self.text("LOCAL_HOST").unwrap_or_default();
        let port: u16 = self.count("LOCAL_PORT", "0 to 65535").unwrap_or(0);
        let bind = match self.inputs.flags.iter().find(|flag| flag.flag == "--http") {
            Some(flag) => HttpBind::parse(&flag.value, port),
            None => HttpBind::parse(&local_host, port).map(|bind| match bind {
                // The host setting names no port: a number in it would be read as one.
                HttpBind::At { host, .. } => HttpBind::At { host, port },
                HttpBind::Off => HttpBind::Off,
            }),
        };
        let bind = bind.unwrap_or_else(|problem| {
            self.problem("LOCAL_HOST", &problem);
            HttpBind::Off
        });
        // The flag may hold a port, or be `off`: a name is only what remains.
        let local_host = match (
            &bind,
            self.inputs.flags.iter().any(|flag| flag.flag == "--http"),
        ) {
            (HttpBind::At { host, .. }, true) => host.clone(),
            (HttpBind::Off, true) => "127.0.0.1".to_owned(),
            (_, false) => local_host,
        };
        let tls = match (self.path("SSL_CERT_PATH"), self.path("SSL_KEY_PATH")) {
            (Some(certificates), Some(key)) => Some(TlsFiles { certificates, key }),
            (None, None) => None,
            _ => {
                self.problem(
                    "SSL_CERT_PATH",
                    "goes only together with SSL_KEY_PATH; set both",
                );
                None
            }
        };
        HttpConfig {
            bind,
            local_host,
            public_domain: self.public_domain(),
            public_scheme: match self.is_on("FORCE_HTTPS") {
                true => PublicScheme::Https,
                false => PublicScheme::AsServed,
            },
            tls,
            trust: match self.is_on("TGFS_HTTP_OPEN") {
                true => HttpTrust::Open,
                false => HttpTrust::Token,
            },
        }
    }

    /// A host, perhaps with a port; users of the older system also wrote a scheme before it.
    fn public_domain(&mut self) -> Option<String> {
        self.parsed("PUBLIC_DOMAIN", |text| {
            let host = text
                .trim_start_matches("https://")
                .trim_start_matches("http://");
            let host = host.trim_end_matches('/');
            let is_host =
                |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
            match !host.is_empty() && host.chars().all(is_host) {
                true => Ok(host.to_owned()),
                false => Err(format!(
                    "{text:?} must be a host name, e.g. films.example.org"
                )),
            }
        })
    }

    fn log(&mut self) -> LogConfig {
        let levels = [
            ("DEBUG", LogLevel::Debug),
            ("INFO", LogLevel::Info),
            ("WARNING", LogLevel::Warning),
            ("WARN", LogLevel::Warning),
            ("ERROR", LogLevel::Error),
        ];
        LogConfig {
            level: self.choice("LOG_LEVEL", &levels).unwrap_or(LogLevel::Info),
            file: self.path("LOG_FILE"),
        }
    }
}

/// As CACHE_TYPE has it.
#[derive(Debug, Clone, Copy)]
enum CacheKind {
    Memory,
    Disk,
    Tiered,
}

/// 1 GiB, or a quarter of the machine's memory where that is less.
fn default_cache_size() -> u64 {
    let memory = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("MemTotal:"))?;
            let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
            Some(kib * 1024)
        });
    let quarter = memory.map_or(MAX_DEFAULT_CACHE_BYTES, |bytes| bytes / 4);
    quarter.clamp(MIN_CACHE_BYTES, MAX_DEFAULT_CACHE_BYTES)
}
