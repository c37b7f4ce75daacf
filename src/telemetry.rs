//! Logging to stderr and to LOG_FILE, with secrets masked.

use std::borrow::Cow;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::{FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::{LogLevel, LogSettings};
use crate::model::shown::printable;

/// Number of log files that are kept. This is a week, because a new file begins each day.
const KEPT_LOG_FILES: usize = 7;

/// Number of lines that may wait for the disk. Further lines are dropped, so that a full disk stops
/// no request.
const WAITING_LINES: usize = 8192;

/// Reason why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log file cannot be written.
    #[error("LOG_FILE {}: {reason}", .path.display())]
    LogFile { path: PathBuf, reason: String },
    /// A mistake in the program.
    #[error("logging was started twice in one process")]
    Twice,
}

/// Guard that keeps the log file's writer alive, and flushes it when dropped.
#[derive(Debug)]
pub struct Telemetry {
    level: reload::Handle<Targets, Registry>,
    _file: Option<WorkerGuard>,
}

/// Starts logging for the process.
///
/// # Errors
/// When LOG_FILE cannot be written.
pub fn start(config: &LogSettings) -> Result<Telemetry, TelemetryError> {
    let (filter, level) = reload::Layer::new(targets(config.level));
    let stderr = log_layer(io::stderr)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal());
    let (file, guard) = match &config.file {
        None => (None, None),
        Some(path) => {
            let (writer, guard) = open_log_file(path)?;
            (Some(log_layer(writer).with_ansi(false)), Some(guard))
        }
    };
    let registry = tracing_subscriber::registry()
        .with(filter)
        .with(stderr)
        .with(file);
    registry.try_init().map_err(|_| TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(Telemetry {
        level,
        _file: guard,
    })
}

impl Telemetry {
    /// Returns a handle that changes the level, for `tgfs reload`.
    #[must_use]
    pub fn level_switch(&self) -> LevelSwitch {
        LevelSwitch(self.level.clone())
    }
}

/// Logs a panic as one line like all others. Its text may hold names of files, and the usual report goes to
/// stderr as it is.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    tracing::error!(
        thread = thread.name().unwrap_or("without a name"),
        place = panic.location().map(ToString::to_string),
        "a mistake in the program ended a piece of work: {}",
        panic.payload_as_str().unwrap_or("no text")
    );
}

/// Handle that changes the level while the daemon runs.
#[derive(Debug, Clone)]
pub struct LevelSwitch(reload::Handle<Targets, Registry>);

impl LevelSwitch {
    /// Logs messages of `level` and above from now on.
    pub fn set(&self, level: LogLevel) {
        // This fails only when the subscriber is gone, and all logging with it.
        let _ = self.0.reload(targets(level));
    }
}

/// Returns the filter for `level`. Other crates log from warnings upward: lower messages of hyper and
/// sled would drown ours.
fn targets(level: LogLevel) -> Targets {
    let ours = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let others = ours.min(LevelFilter::WARN);
    Targets::new()
        .with_target("tgfs", ours)
        .with_default(others)
}

fn open_log_file(path: &Path) -> Result<(NonBlocking, WorkerGuard), TelemetryError> {
    let wrong = |reason: String| TelemetryError::LogFile {
        path: path.to_owned(),
        reason,
    };
    let (Some(dir), Some(name)) = (
        path.parent(),
        path.file_name().and_then(|name| name.to_str()),
    ) else {
        return Err(wrong("must name a file".to_owned()));
    };
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(name)
        .max_log_files(KEPT_LOG_FILES)
        .build(dir)
        .map_err(|error| wrong(error.to_string()))?;
    close_to_others(dir, name).map_err(|error| wrong(error.to_string()))?;
    let builder = NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES);
    Ok(builder.finish(appender))
}

/// Closes the log files to other users. A start writes a link that signs in once.
fn close_to_others(dir: &Path, name: &str) -> io::Result<()> {
    let is_date = |rest: &str| {
        let is_part = |byte: u8| byte.is_ascii_digit() || byte == b'-';
        rest.len() == "2000-01-01".len() && rest.bytes().all(is_part)
    };
    for file in fs::read_dir(dir)? {
        let file = file?;
        let found = file.file_name();
        let rest = found.to_str().and_then(|found| found.strip_prefix(name));
        let is_ours = rest
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(is_date);
        if is_ours && file.file_type()?.is_file() {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

/// Makes a log to `writer`, in which texts are escaped and secrets masked.
fn log_layer<S, W>(writer: W) -> fmt::Layer<S, Escaped, fmt::format::Format, Redacting<W>>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fmt::layer()
        .fmt_fields(Escaped(DefaultFields::new()))
        .with_writer(Redacting(writer))
}

/// Formatter of messages and fields that escapes control characters. Names of files, titles, headers and
/// texts of other programs reach the log, and must neither forge a line of it nor control a terminal.
struct Escaped(DefaultFields);

impl<'writer> FormatFields<'writer> for Escaped {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> std::fmt::Result {
        let mut text = String::new();
        self.0.format_fields(Writer::new(&mut text), fields)?;
        writer.write_str(&printable(&text))
    }
}

/// Writer that masks what looks like a secret in each line, whatever wrote it. It is a safety net,
/// not the rule.
struct Redacting<W>(W);

struct RedactingWriter<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Redacting<W> {
    type Writer = RedactingWriter<W::Writer>;
    fn make_writer(&'a self) -> Self::Writer {
        RedactingWriter(self.0.make_writer())
    }
}

impl<W: Write> Write for RedactingWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // The subscriber writes one whole line per call.
        let text = String::from_utf8_lossy(line);
        self.0.write_all(redact(&text).as_bytes())?;
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Text that is printed in place of a secret.
const MASK: &str = "********";

/// Words that a secret follows, up to the next byte that cannot be part of one.
const MARKERS: [&str; 3] = ["Bearer ", "/t/", "token="];

/// Shortest second half of a bot token, in characters (today 35).
const MIN_BOT_SECRET: usize = 30;

/// Masks bot tokens (`123456:AA…`) and HTTP tokens.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut result = Cow::Borrowed(text);
    for marker in MARKERS {
        let mut from = 0;
        while let Some(at) = result[from..]
            .find(marker)
            .map(|at| at + from + marker.len())
        {
            let end = at + secret_len(&result[at..]);
            if end > at {
                result.to_mut().replace_range(at..end, MASK);
            }
            from = at;
        }
    }
    let mut from = 0;
    while let Some(colon) = result[from..].find(':').map(|at| at + from) {
        let id = result[..colon]
            .bytes()
            .rev()
            .take_while(u8::is_ascii_digit)
            .count();
        let secret = secret_len(&result[colon + 1..]);
        if id >= 5 && secret >= MIN_BOT_SECRET {
            let range = colon - id..colon + 1 + secret;
            from = range.start;
            result.to_mut().replace_range(range, MASK);
        } else {
            from = colon + 1;
        }
    }
    result
}

fn secret_len(text: &str) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.bytes().take_while(is_part).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_masked_wherever_they_stand() {
        let token = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
        assert_eq!(
            redact(&format!("bot {token} is out")),
            "bot ******** is out"
        );
        assert!(!redact(&format!("{token} ({token})")).contains("AAH"));
        assert_eq!(redact("GET /t/abcDEF-1/fs/x"), "GET /t/********/fs/x");
        assert_eq!(
            redact("Authorization: Bearer abc"),
            "Authorization: Bearer ********"
        );
        let harmless = "12:30:45 http://127.0.0.1:8080/fs/Heat (1995).mkv ü";
        assert_eq!(redact(harmless), harmless);
    }

    #[test]
    fn the_writer_masks_and_claims_the_whole_line() {
        let mut written = Vec::new();
        let line = "1234567:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw\n".as_bytes();
        let count = RedactingWriter(&mut written).write(line).unwrap();
        assert_eq!(count, line.len());
        assert_eq!(written, b"********\n");
    }

    /// A writer whose bytes a test can see.
    #[derive(Clone, Default)]
    struct Seen(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Seen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_name_forges_a_line_or_controls_a_terminal() {
        let seen = Seen::default();
        let writer = seen.clone();
        let layer = log_layer(move || writer.clone()).with_ansi(false);
        let evil = "x\n2026-01-01T00:00:00Z ERROR forged \u{1b}]0;owned\u{7}\r\u{9b}31m.mkv";
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("job", name = %evil);
            let _in = span.enter();
            tracing::info!(file = %evil, debug = ?evil, text = evil, "a message about {evil}");
        });
        let bytes = seen.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        let (line, rest) = text.split_once('\n').unwrap();
        assert_eq!(rest, "", "one event is one line: {text:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.contains("forged \\x1b]0;owned"), "{line:?}");
    }

    #[test]
    fn a_panic_is_one_line_with_its_thread() {
        let seen = Seen::default();
        let writer = seen.clone();
        let layer = log_layer(move || writer.clone()).with_ansi(false);
        let panics = move || {
            let subscriber = tracing_subscriber::registry().with(layer);
            tracing::subscriber::with_default(subscriber, || {
                std::panic::catch_unwind(|| panic!("x\n2026 ERROR forged \u{1b}[31m")).unwrap_err();
            });
        };
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(log_panic));
        let thread = std::thread::Builder::new().name("worker-7".to_owned());
        let ended = thread.spawn(panics).unwrap().join();
        std::panic::set_hook(usual);
        ended.unwrap();
        let text = String::from_utf8(seen.0.lock().unwrap().clone()).unwrap();
        let (line, rest) = text.split_once('\n').unwrap();
        assert_eq!(rest, "", "{text:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
        for part in ["worker-7", "forged \\x1b[31m", "telemetry.rs"] {
            assert!(line.contains(part), "{part} is not in {line:?}");
        }
    }

    #[test]
    fn a_log_file_is_dated_and_gets_lines() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, guard) = open_log_file(&dir.path().join("tgfs.log")).unwrap();
        writer.write_all(b"a line\n").unwrap();
        drop(guard);
        let file = std::fs::read_dir(dir.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert!(file.file_name().to_str().unwrap().starts_with("tgfs.log."));
        assert_eq!(std::fs::read(file.path()).unwrap(), b"a line\n");
        // It names a link that signs in.
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
