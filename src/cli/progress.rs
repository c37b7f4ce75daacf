//! Progress on stderr: a bar on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{Format, age, note_text, printable, size};
use crate::control::Response;

/// Per cent between two plain lines, so that a file has ten lines.
const PLAIN_STEP: u64 = 10;

/// Longest silence between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Interval at which a bar without news is redrawn, so that it does not look stuck.
const TICK: Duration = Duration::from_millis(200);

/// Time after which work counts as long.
const LOOK: Duration = Duration::from_secs(2);

/// Display of the progress of one file after another.
pub(super) struct ProgressDisplay {
    style: Style,
    /// Time for which a plain display stays silent.
    silence: Duration,
    current: Option<Current>,
}

enum Style {
    Bar,
    Plain,
    Silent,
}

struct Current {
    key: (String, String),
    bar: Option<ProgressBar>,
    /// Last step printed as a plain line.
    told: u64,
    begun: Instant,
    /// Time of the last plain line.
    told_at: Instant,
}

impl ProgressDisplay {
    pub(super) fn new(format: Format) -> Self {
        let style = match (format, std::io::stderr().is_terminal()) {
            (Format::Json, _) => Style::Silent,
            (Format::Text, true) => Style::Bar,
            (Format::Text, false) => Style::Plain,
        };
        Self {
            style,
            silence: Duration::ZERO,
            current: None,
        }
    }

    /// Returns a display that prints no plain line about work that is done within two seconds.
    pub(super) fn of_upkeep(format: Format) -> Self {
        let mut display = Self::new(format);
        display.silence = LOOK;
        display
    }

    /// Displays a [`Response::Progress`]; returns every other response.
    pub(super) fn take(&mut self, response: Response) -> Option<Response> {
        match response {
            Response::Progress {
                path,
                step,
                done,
                total,
            } => {
                self.show(&path, &step, done, total);
                None
            }
            other => Some(other),
        }
    }

    fn show(&mut self, path: &str, step: &str, done: u64, total: u64) {
        if matches!(self.style, Style::Silent) {
            return;
        }
        let key = (path.to_owned(), step.to_owned());
        if self
            .current
            .as_ref()
            .is_none_or(|current| current.key != key)
        {
            self.end();
            let bar = matches!(self.style, Style::Bar).then(|| bar(path, step, total));
            let now = Instant::now();
            self.current = Some(Current {
                key,
                bar,
                told: u64::MAX,
                begun: now,
                told_at: now,
            });
        }
        let Some(current) = &mut self.current else {
            return;
        };
        if current.bar.is_none() && current.begun.elapsed() < self.silence {
            return;
        }
        match &current.bar {
            Some(bar) => {
                // The whole can grow: other files may come meanwhile.
                bar.set_length(total);
                bar.set_position(done);
            }
            // Work without figures is worth a line only when it takes long.
            None if total == 0 => {
                if current.told_at.elapsed() >= PLAIN_EVERY {
                    current.told_at = Instant::now();
                    note_text(&format!(
                        "{path}: {step}, {}\n",
                        age(current.begun.elapsed().as_secs())
                    ));
                }
            }
            None => {
                let per_cent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
                let step_now = per_cent / PLAIN_STEP;
                if current.told != step_now || current.told_at.elapsed() >= PLAIN_EVERY {
                    current.told = step_now;
                    current.told_at = Instant::now();
                    let (path, step) = (printable(path), printable(step));
                    note_text(&format!("{path}: {step} {per_cent} %\n"));
                }
            }
        }
    }

    /// Removes the bar, so results stand alone.
    pub(super) fn end(&mut self) {
        if let Some(Current { bar: Some(bar), .. }) = self.current.take() {
            bar.finish_and_clear();
        }
    }
}

/// Does work of this process, and shows on stderr that it goes on.
pub(super) async fn during<T>(what: &str, format: Format, work: impl Future<Output = T>) -> T {
    let mut display = ProgressDisplay::new(format);
    tokio::pin!(work);
    loop {
        if let Ok(done) = tokio::time::timeout(LOOK, &mut work).await {
            return done;
        }
        display.show(what, "at work", 0, 0);
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        self.end();
    }
}

fn bar(path: &str, step: &str, total: u64) -> ProgressBar {
    let is_per_cent = total == 100;
    let template = match total {
        0 => "{spinner} {msg}  {elapsed}",
        100 => "{msg}  [{bar:30}] {percent:>3} %",
        _ => "{msg}  [{bar:30}] {bytes}/{total_bytes}  {bytes_per_sec}  {eta}",
    };
    let style = ProgressStyle::with_template(template)
        .map(|style| style.progress_chars("=> "))
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_style(style);
    let shown = printable(path.rsplit('/').next().unwrap_or(path));
    let step = printable(step);
    bar.set_message(match is_per_cent || total == 0 {
        true => format!("{shown} {step}"),
        false => format!("{shown} {step} ({})", size(total)),
    });
    bar.enable_steady_tick(TICK);
    bar
}
