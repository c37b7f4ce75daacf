//! What `tgfs config` and `tgfs reload` tell.

use serde::{Deserialize, Serialize};

use super::layers::Values;
use super::secret::MASK;
use super::settings::{Exposure, Takes};
use super::{Config, LogConfig};

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
        "CACHE_SIZE" => Some(format!("{}MiB", config.cache_size >> 20)),
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

/// `old` with the values of `new` that can change while running.
pub(super) fn merge_live(old: &Config, new: &Config) -> (Config, Reloaded) {
    let merged = Config {
        log: LogConfig {
            level: new.log.level,
            file: old.log.file.clone(),
        },
        ..old.clone()
    };
    let mut reloaded = Reloaded::default();
    if old.log.level != new.log.level {
        reloaded.applied.push("LOG_LEVEL".to_owned());
    }
    let differing = [
        (
            "TGFS_STORE",
            merged.store.describe() != new.store.describe(),
        ),
        ("TGFS_STATE_DIR", merged.state_dir != new.state_dir),
        ("TGFS_SPOOL_DIR", merged.spool.dir != new.spool.dir),
        ("TGFS_SPOOL_SIZE", merged.spool.size != new.spool.size),
        (
            "TGFS_SPOOL_RESERVE",
            merged.spool.reserve != new.spool.reserve,
        ),
        (
            "MAX_UPLOAD_SIZE",
            merged.spool.max_file_size != new.spool.max_file_size,
        ),
        ("TGFS_VIEWS", merged.mount.views != new.mount.views),
        (
            "TGFS_SIDECAR_SUBTITLES",
            merged.mount.sidecars != new.mount.sidecars,
        ),
        ("TGFS_SETTLE", merged.mount.settle != new.mount.settle),
        (
            "MIN_SEGMENT_DURATION",
            merged.media.min_segment != new.media.min_segment,
        ),
        (
            "MAX_SEGMENT_DURATION",
            merged.media.max_segment != new.media.max_segment,
        ),
        (
            "MAX_CHUNK_SIZE",
            merged.media.max_segment_size != new.media.max_segment_size,
        ),
        ("FFMPEG_THREADS", merged.media.threads != new.media.threads),
        ("TGFS_PACK_SIZE", merged.pack_size != new.pack_size),
        ("TGFS_KEEP_DELETED", merged.keep_deleted != new.keep_deleted),
        ("CACHE_SIZE", merged.cache_size != new.cache_size),
        (
            "TGFS_READ_DEADLINE",
            merged.read_deadline != new.read_deadline,
        ),
        (
            "TGFS_WRITE_DEADLINE",
            merged.write_deadline != new.write_deadline,
        ),
        (
            "LOCAL_HOST or LOCAL_PORT",
            merged.http.bind != new.http.bind,
        ),
        (
            "PUBLIC_DOMAIN",
            merged.http.public_domain != new.http.public_domain,
        ),
        (
            "FORCE_HTTPS",
            merged.http.public_scheme != new.http.public_scheme,
        ),
        (
            "SSL_CERT_PATH or SSL_KEY_PATH",
            merged.http.tls != new.http.tls,
        ),
        ("TGFS_HTTP_OPEN", merged.http.trust != new.http.trust),
        ("LOG_FILE", merged.log.file != new.log.file),
    ];
    let waiting = differing.into_iter().filter(|(_, differs)| *differs);
    reloaded.at_next_start = waiting.map(|(name, _)| name.to_owned()).collect();
    (merged, reloaded)
}
