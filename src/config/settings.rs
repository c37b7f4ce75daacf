//! The table of settings. Values are parsed by it, `tgfs config` and `tgfs reload` report by it, and
//! `tests/docs.rs` compares docs/CONFIGURATION.md and `.env.example` with it.

/// Form of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Any text.
    Text,
    /// `~/…`, absolute, or relative to the file or directory that it comes from.
    Path,
    /// Bytes, or a size such as `16MiB`.
    Size,
    /// Seconds, or a duration such as `5 min`.
    Duration,
    /// A number.
    Count {
        /// Smallest one.
        min: u64,
        /// Largest one.
        max: u64,
    },
    /// `on`/`off`, `true`/`false`, `yes`/`no`, `1`/`0`
    Switch,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// JSON.
    Json,
    /// `local:DIR` or `telegram`
    Store,
    /// Path of a file with a public key, PEM.
    KeyFile,
}

impl Unit {
    /// Returns the form in words, for the document.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Text | Self::Store => "text".to_owned(),
            Self::Path | Self::KeyFile => "path".to_owned(),
            Self::Size => "size".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::Count { .. } => "number".to_owned(),
            Self::Switch => "on, off".to_owned(),
            Self::Choice(words) => words.join(", "),
            Self::Json => "JSON".to_owned(),
        }
    }
}

/// The value of a setting that nothing sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// None.
    Unset,
    /// A text, which is parsed like one that a user wrote.
    Fixed(&'static str),
    /// A value that depends on the machine; the text describes it.
    Computed(&'static str),
}

impl Fallback {
    /// Returns the text for the document.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Unset => "",
            Self::Fixed(text) | Self::Computed(text) => text,
        }
    }
}

/// Permission to print a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// The value may be printed.
    Plain,
    /// The value is masked.
    Secret,
}

/// Time at which a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// At `tgfs reload`.
    Live,
    /// At the next start of the daemon.
    AtStart,
    /// Never. It is accepted so that a file of the older system is no error.
    NotYet,
}

/// `NAME`, or a family `NAME_1`, `NAME_2`, …
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// One setting.
    Single,
    /// One setting for each number; its name in the table ends in `_n`.
    Family,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    pub name: &'static str,
    pub unit: Unit,
    pub fallback: Fallback,
    pub takes: Takes,
    pub exposure: Exposure,
    pub numbering: Numbering,
    pub effect: &'static str,
}

impl Setting {
    const fn new(
        name: &'static str,
        unit: Unit,
        fallback: Fallback,
        takes: Takes,
        effect: &'static str,
    ) -> Self {
        Self {
            name,
            unit,
            fallback,
            takes,
            exposure: Exposure::Plain,
            numbering: Numbering::Single,
            effect,
        }
    }

    const fn secret(self) -> Self {
        Self {
            exposure: Exposure::Secret,
            ..self
        }
    }

    const fn family(self) -> Self {
        Self {
            numbering: Numbering::Family,
            ..self
        }
    }

    /// Returns whether `key` is this setting's name, or a member of its family.
    #[must_use]
    pub fn is_named(&self, key: &str) -> bool {
        match self.numbering {
            Numbering::Single => self.name == key,
            Numbering::Family => self
                .name
                .strip_suffix('n')
                .and_then(|stem| key.strip_prefix(stem))
                .is_some_and(|number| {
                    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
                }),
        }
    }
}

/// Returns the setting that `key` names.
#[must_use]
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.is_named(key))
}

/// Returns the known name that `key` is probably meant to be.
#[must_use]
pub fn nearest(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_uppercase();
    // Up to a third of wrong letters is a misspelling. A name with more is another name.
    let limit = key.len().div_ceil(3).max(1);
    SETTINGS
        .iter()
        .map(|setting| (strsim::levenshtein(&key, setting.name), setting.name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

use Fallback::{Computed, Fixed, Unset};
use Takes::{AtStart, Live, NotYet};
use Unit::{Choice, Json, KeyFile, Path, Size, Store, Switch, Text};

const fn count(min: u64, max: u64) -> Unit {
    Unit::Count { min, max }
}

/// All settings, in the order of the document.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    // Directories and the store
    Setting::new("TGFS_STORE", Store, Computed("telegram with bots, else local:<state>/store"), AtStart, "where packs are kept: `local:DIR` or `telegram`; with bots configured, `telegram`"),
    Setting::new("TGFS_STATE_DIR", Path, Computed("$STATE_DIRECTORY, else $XDG_STATE_HOME/tgfs"), AtStart, "index, journal, socket, HTTP token; not read from an `.env` that lies in it"),
    Setting::new("TGFS_SPOOL_DIR", Path, Computed("<state>/spool"), AtStart, "bytes that the store does not hold yet"),
    Setting::new("TEMP_UPLOADS_DIR", Path, Unset, AtStart, "the older name of TGFS_SPOOL_DIR"),
    Setting::new("TGFS_SPOOL_SIZE", Size, Computed("free space less 5 GiB"), AtStart, "most bytes the spool takes; writes slow down before it is full"),
    Setting::new("TGFS_SPOOL_RESERVE", Size, Fixed("1GiB"), AtStart, "free space that the spool leaves to index and journal"),
    // The mount
    Setting::new("TGFS_VIEWS", Choice(&["visible", "hidden"]), Fixed("visible"), Live, "`hidden` leaves `.hls` out of the root's listing; it is still reachable by name"),
    Setting::new("TGFS_SIDECAR_SUBTITLES", Switch, Fixed("on"), Live, "text subtitles appear as files beside the film"),
    Setting::new("TGFS_SETTLE", Unit::Duration, Fixed("1s"), Live, "quiet time between a file's last close and its ingest"),
    Setting::new("TGFS_WRITE_DEADLINE", Unit::Duration, Fixed("5 min"), AtStart, "longest wait of a write for room in the spool"),
    Setting::new("TGFS_READ_DEADLINE", Unit::Duration, Fixed("30s"), AtStart, "longest wait of a read for the store"),
    Setting::new("MAX_UPLOAD_SIZE", Size, Fixed("0"), Live, "largest file; the write that passes it fails with EFBIG; 0 = no limit"),
    // Segments
    Setting::new("MIN_SEGMENT_DURATION", Unit::Duration, Fixed("2s"), Live, "shortest segment aimed for"),
    Setting::new("MAX_SEGMENT_DURATION", Unit::Duration, Fixed("30s"), Live, "longest segment, unless key frames lie further apart"),
    Setting::new("MAX_CHUNK_SIZE", Size, Fixed("15MiB"), Live, "segment size that cuts try to stay below"),
    Setting::new("TGFS_OVERSIZE", Choice(&["keep", "reencode"]), Fixed("keep"), Live, "what becomes of a segment above MAX_CHUNK_SIZE: `keep` copies it all the same, `reencode` encodes its video anew (H.264 only)"),
    Setting::new("TGFS_COMPAT_VIDEO", Switch, Fixed("off"), Live, "video that browsers do not play (HEVC, MPEG-2, MPEG-4, VC-1) gets a rendition in H.264, once the film is stored; `tgfs retry` for films from before"),
    Setting::new("FFMPEG_THREADS", count(0, 64), Computed("ffmpeg's own choice"), AtStart, "threads of each decoder and encoder of ffmpeg; copying needs none; 0 = ffmpeg's own choice"),
    Setting::new("FFMPEG_HARDWARE_ACCEL", Choice(&["nvidia", "intel", "vaapi", "none", "auto"]), Unset, Live, "what encodes that rendition; where a trial of one second fails, software does; `auto` tries all; unset: software"),
    // Store
    Setting::new("TGFS_PACK_SIZE", Size, Fixed("64MiB"), Live, "bytes of one object in the store"),
    Setting::new("TGFS_KEEP_DELETED", Unit::Duration, Fixed("24h"), Live, "time between a delete and the removal of its packs"),
    Setting::new("TGFS_PASSPHRASE", Text, Unset, AtStart, "encrypts packs, names and all else in the store; without it nothing comes back: keep a copy elsewhere").secret(),
    Setting::new("TGFS_PASSPHRASE_OLD", Text, Unset, AtStart, "the passphrase before, for the one start that changes it").secret(),
    // Cache
    Setting::new("CACHE_TYPE", Choice(&["memory", "disk", "tiered"]), Fixed("memory"), AtStart, "where blocks of a Telegram store are kept: `disk` and `tiered` survive a restart"),
    Setting::new("CACHE_SIZE", Size, Computed("1 GiB, at most a quarter of the memory"), AtStart, "bytes of the cache in memory; with `CACHE_TYPE=disk`, on the disk"),
    Setting::new("CACHE_DIR", Path, Computed("<state>/cache"), AtStart, "where the disk cache lies"),
    Setting::new("TGFS_CACHE_DISK_SIZE", Size, Fixed("10GiB"), AtStart, "most bytes of the disk cache; it also leaves twice TGFS_SPOOL_RESERVE free"),
    Setting::new("TGFS_PIN_SIZE", Size, Fixed("4GiB"), AtStart, "most bytes, in the state directory, of what a scan of the library reads of its files; 0 = none"),
    Setting::new("PRELOAD_SEGMENTS", count(0, 1_024), Fixed("8"), AtStart, "how far to fetch ahead of who reads in sequence, in segments of 8 MiB; 0 = not at all"),
    Setting::new("MAX_CONCURRENT_PRELOADS", count(0, 1_024), Fixed("5"), AtStart, "readers that are fetched ahead for at the same time; they share a quarter of CACHE_SIZE"),
    // HTTP
    Setting::new("LOCAL_HOST", Text, Fixed("127.0.0.1"), AtStart, "address or name that HTTP listens on; `--http` wins"),
    Setting::new("LOCAL_PORT", count(0, 65_535), Fixed("8080"), AtStart, "port that HTTP listens on; 0 = any free one; `--http` wins"),
    Setting::new("PUBLIC_DOMAIN", Text, Unset, AtStart, "address under which others reach HTTP, with scheme, port and path where it has them: `https://example.org:8443/films`"),
    Setting::new("TGFS_TRUSTED_PROXIES", Text, Unset, AtStart, "addresses and ranges (`127.0.0.1, 172.16.0.0/12`) from which X-Forwarded-For, -Proto, -Host and -Prefix are believed"),
    Setting::new("FORCE_HTTPS", Switch, Fixed("off"), AtStart, "public URLs start with https, also without a certificate here; the same as `https://` in PUBLIC_DOMAIN"),
    Setting::new("SSL_CERT_PATH", Path, Unset, AtStart, "certificate chain, PEM; with SSL_KEY_PATH the gateway speaks TLS; read again when it changes"),
    Setting::new("SSL_KEY_PATH", Path, Unset, AtStart, "private key, PEM"),
    Setting::new("TGFS_HTTP_OPEN", Switch, Fixed("off"), AtStart, "nobody is asked for a login or the token: whoever reaches the port, other users of this machine included, may do everything"),
    Setting::new("TGFS_HTTP_PAUSE", Unit::Duration, Fixed("30min"), AtStart, "how long a player may pause in the middle of a file before its connection is closed"),
    // Log
    Setting::new("LOG_LEVEL", Choice(&["DEBUG", "INFO", "WARNING", "ERROR"]), Fixed("INFO"), Live, "least important message that is logged; any case"),
    Setting::new("LOG_FILE", Path, Unset, AtStart, "log here too; a new file each day, the last 7 are kept"),
    // Telegram
    Setting::new("TELEGRAM_API_ID", count(1, 2_147_483_647), Unset, AtStart, "from https://my.telegram.org; needed with bots"),
    Setting::new("TELEGRAM_API_HASH", Text, Unset, AtStart, "from https://my.telegram.org; needed with bots").secret(),
    Setting::new("TELEGRAM_SERVER", Text, Unset, AtStart, "`[DC@]HOST:PORT` of a test or self-hosted server; DC is 2 where it is left out"),
    Setting::new("TELEGRAM_SERVER_KEY", KeyFile, Unset, AtStart, "file with that server's public key, PEM"),
    Setting::new("BOT_TOKEN", Text, Unset, AtStart, "token of the first bot (= BOT_TOKEN_1), from @BotFather").secret(),
    Setting::new("CHAT_ID", Text, Unset, AtStart, "channel of every bot without one of its own: `-100…` or `@name`"),
    Setting::new("BOT_TOKEN_n", Text, Unset, AtStart, "token of bot n; gaps are allowed").secret().family(),
    Setting::new("CHAT_ID_n", Text, Unset, AtStart, "channel of bot n").family(),
    Setting::new("MULTI_BOT_CONFIG", Json, Unset, AtStart, "more bots: `[{\"token\": \"…\", \"chat_id\": \"…\"}, …]`").secret(),
    Setting::new("TGFS_PACE", Choice(&["gentle", "normal", "fast"]), Fixed("normal"), AtStart, "posts to one channel: `gentle` half of `normal`, `normal` 20 a minute, `fast` until the service says stop"),
    Setting::new("TGFS_TOMBSTONE", Switch, Fixed("off"), AtStart, "the bytes of posts that are too old to be deleted are replaced by a few, one post a minute"),
    Setting::new("TGFS_ROLLOVER", count(1, 1_000_000), Fixed("500000"), AtStart, "posts in a channel from which on packs go to one that holds none yet"),
    // Names of the older system
    Setting::new("ENABLE_CACHE_WARMING", Text, Unset, NotYet, "accepted for the older system's files"),
    Setting::new("CACHE_WARMING_SEGMENTS", Text, Unset, NotYet, "accepted for the older system's files"),
    Setting::new("SESSION_CLEANUP_INTERVAL", Text, Unset, NotYet, "accepted for the older system's files"),
    Setting::new("SESSION_IDLE_TIMEOUT", Text, Unset, NotYet, "accepted for the older system's files"),
    Setting::new("STREAMING_THRESHOLD_GB", Text, Unset, NotYet, "accepted for the older system's files"),
    Setting::new("SEGMENTS_DIR", Text, Unset, NotYet, "accepted for the older system's files"),
    Setting::new("PLAYLISTS_DIR", Text, Unset, NotYet, "accepted for the older system's files"),
    Setting::new("DATABASE_PATH", Text, Unset, NotYet, "accepted for the older system's files"),
    // No code knows these: they show that a row of the table is all that `config` and `reload` need.
    #[cfg(test)]
    Setting::new("TGFS_TEST_LIVE", Unit::Duration, Fixed("1s"), Live, "a test of the table"),
    #[cfg(test)]
    Setting::new("TGFS_TEST_AT_START", Size, Unset, AtStart, "a test of the table"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_name() {
        assert_eq!(nearest("TGFS_SPOOL_SZIE"), Some("TGFS_SPOOL_SIZE"));
        assert_eq!(nearest("local_port"), Some("LOCAL_PORT"));
        assert_eq!(nearest("LOGLEVEL"), Some("LOG_LEVEL"));
        assert_eq!(nearest("DJANGO_SECRET_THING_XYZ"), None);
    }

    #[test]
    fn families_take_any_number() {
        assert_eq!(find("BOT_TOKEN_17").map(|s| s.name), Some("BOT_TOKEN_n"));
        assert_eq!(find("BOT_TOKEN").map(|s| s.name), Some("BOT_TOKEN"));
        assert!(find("BOT_TOKEN_x").is_none());
        assert!(find("BOT_TOKEN_").is_none());
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SETTINGS.len());
    }
}
