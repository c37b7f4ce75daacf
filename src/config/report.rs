//! What `tgfs config` and `tgfs reload` tell.

use serde::{Deserialize, Serialize};

use super::layers::Values;
use super::secret::MASK;
use super::settings::{Exposure, Takes};
use super::{Config, LogConfig, MediaConfig, SpoolConfig, Store, TelegramConfig};

/// One setting, as `tgfs config` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    /// Secrets are masked; empty: not set.
    pub value: String,
    pub source: String,
    pub effect: String,
}

pub(super) fn rows(values: &Values, config: &Config) -> Vec<Row> {
    let rows = values.rows().into_iter();
    rows.map(|(setting, name)| {
        let value = match (values.explicit(&name), setting.exposure) {
            (None, _) => computed(setting.name, config)
                .unwrap_or_else(|| setting.fallback.describe().to_owned()),
            (Some(_), Exposure::Secret) => MASK.to_owned(),
            (Some(text), Exposure::Plain) => text.to_owned(),
        };
        let effect = match setting.takes {
            Takes::NotYet => format!("no effect (yet): {}", setting.effect),
            Takes::Live | Takes::AtStart => setting.effect.to_owned(),
        };
        let source = values.source(&name).to_string();
        Row {
            name,
            value,
            source,
            effect,
        }
    })
    .collect()
}

/// What a default that depends on the machine came to.
fn computed(name: &str, config: &Config) -> Option<String> {
    match name {
        "TGFS_STORE" => Some(config.store.describe()),
        "TGFS_STATE_DIR" => Some(config.state_dir.display().to_string()),
        "TGFS_SPOOL_DIR" => Some(config.spool.dir.display().to_string()),
        // With CACHE_TYPE=disk it is the size on the disk, which has a setting of its own.
        "CACHE_SIZE" => Some(format!("{}MiB", config.cache.memory >> 20)),
        _ => None,
    }
}

/// What a reload did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Settings whose new value holds now.
    pub applied: Vec<String>,
    /// Settings whose new value waits for the next start.
    pub at_next_start: Vec<String>,
}

/// `old` with the values of `new` that can change while running: those that the table of settings
/// calls [`Takes::Live`].
pub(super) fn merge_live(old: &Config, new: &Config) -> (Config, Reloaded) {
    let merged = Config {
        env_file: new.env_file.clone(),
        mount: new.mount.clone(),
        media: MediaConfig {
            threads: old.media.threads,
            ..new.media.clone()
        },
        pack_size: new.pack_size,
        keep_deleted: new.keep_deleted,
        spool: SpoolConfig {
            max_file_size: new.spool.max_file_size,
            ..old.spool.clone()
        },
        log: LogConfig {
            level: new.log.level,
            file: old.log.file.clone(),
        },
        ..old.clone()
    };
    let named = |differing: Vec<&'static str>| differing.into_iter().map(str::to_owned).collect();
    let reloaded = Reloaded {
        applied: named(differing(old, &merged)),
        at_next_start: named(differing(&merged, new)),
    };
    (merged, reloaded)
}

/// Settings whose values are not the same in both.
fn differing(one: &Config, other: &Config) -> Vec<&'static str> {
    let (http, others_http) = (&one.http, &other.http);
    let (media, others_media) = (&one.media, &other.media);
    let (spool, others_spool) = (&one.spool, &other.spool);
    let judged = [
        ("TGFS_STORE", one.store.describe() != other.store.describe()),
        (
            "TGFS_PASSPHRASE",
            one.encryption.passphrase != other.encryption.passphrase,
        ),
        (
            "TGFS_PASSPHRASE_OLD",
            one.encryption.old_passphrase != other.encryption.old_passphrase,
        ),
        ("TGFS_STATE_DIR", one.state_dir != other.state_dir),
        ("TGFS_SPOOL_DIR", spool.dir != others_spool.dir),
        ("TGFS_SPOOL_SIZE", spool.size != others_spool.size),
        ("TGFS_SPOOL_RESERVE", spool.reserve != others_spool.reserve),
        (
            "MAX_UPLOAD_SIZE",
            spool.max_file_size != others_spool.max_file_size,
        ),
        (
            "TGFS_VIEWS",
            one.mount.hls_listing != other.mount.hls_listing,
        ),
        (
            "TGFS_SIDECAR_SUBTITLES",
            one.mount.sidecars != other.mount.sidecars,
        ),
        ("TGFS_SETTLE", one.mount.settle != other.mount.settle),
        (
            "MIN_SEGMENT_DURATION",
            media.min_segment != others_media.min_segment,
        ),
        (
            "MAX_SEGMENT_DURATION",
            media.max_segment != others_media.max_segment,
        ),
        (
            "MAX_CHUNK_SIZE",
            media.max_chunk_bytes != others_media.max_chunk_bytes,
        ),
        ("TGFS_OVERSIZE", media.oversize != others_media.oversize),
        ("TGFS_COMPAT_VIDEO", media.compat != others_media.compat),
        (
            "FFMPEG_HARDWARE_ACCEL",
            media.hardware != others_media.hardware,
        ),
        ("FFMPEG_THREADS", media.threads != others_media.threads),
        ("TGFS_PACK_SIZE", one.pack_size != other.pack_size),
        ("TGFS_KEEP_DELETED", one.keep_deleted != other.keep_deleted),
        ("CACHE_SIZE", one.cache.memory != other.cache.memory),
        (
            "CACHE_TYPE, CACHE_DIR or TGFS_CACHE_DISK_SIZE",
            one.cache.disk != other.cache.disk,
        ),
        ("TGFS_PIN_SIZE", one.cache.pinned != other.cache.pinned),
        (
            "PRELOAD_SEGMENTS or MAX_CONCURRENT_PRELOADS",
            one.preload != other.preload,
        ),
        (
            "TGFS_READ_DEADLINE",
            one.read_deadline != other.read_deadline,
        ),
        (
            "TGFS_WRITE_DEADLINE",
            one.write_deadline != other.write_deadline,
        ),
        ("LOCAL_HOST or LOCAL_PORT", http.bind != others_http.bind),
        (
            "PUBLIC_DOMAIN",
            http.public_domain != others_http.public_domain,
        ),
        (
            "FORCE_HTTPS",
            http.public_scheme != others_http.public_scheme,
        ),
        ("SSL_CERT_PATH or SSL_KEY_PATH", http.tls != others_http.tls),
        ("TGFS_HTTP_OPEN", http.trust != others_http.trust),
        ("LOG_LEVEL", one.log.level != other.log.level),
        ("LOG_FILE", one.log.file != other.log.file),
    ];
    let of_telegram = match (&one.store, &other.store) {
        (Store::Telegram(one), Store::Telegram(other)) => in_telegram(one, other).to_vec(),
        // Another store altogether: its name says it.
        _ => Vec::new(),
    };
    let differs = judged.into_iter().chain(of_telegram);
    differs
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| name)
        .collect()
}

fn in_telegram(one: &TelegramConfig, other: &TelegramConfig) -> [(&'static str, bool); 6] {
    let api = |config: &TelegramConfig| (config.api_id, config.api_hash.clone());
    [
        (
            "TELEGRAM_API_ID or TELEGRAM_API_HASH",
            api(one) != api(other),
        ),
        (
            "TELEGRAM_SERVER or TELEGRAM_SERVER_KEY",
            one.server != other.server,
        ),
        (
            "BOT_TOKEN, BOT_TOKEN_n, CHAT_ID, CHAT_ID_n or MULTI_BOT_CONFIG",
            one.bots != other.bots,
        ),
        ("TGFS_PACE", one.pace != other.pace),
        ("TGFS_TOMBSTONE", one.tombstones != other.tombstones),
        ("TGFS_ROLLOVER", one.rollover != other.rollover),
    ]
}
