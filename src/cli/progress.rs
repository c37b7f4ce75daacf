//! Progress on stderr: a bar on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{Format, note_text, printable, size};
use crate::control::Response;

/// Per cent between two plain lines, so that a file has ten lines.
const PLAIN_STEP: u64 = 10;

/// Interval at which a bar without news is redrawn, so that it does not look stuck.
const TICK: Duration = Duration::from_millis(200);

/// Display of the progress of one file after another.
pub(super) struct ProgressDisplay {
    style: Style,
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
            current: None,
        }
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
            let told = u64::MAX;
            self.current = Some(Current { key, bar, told });
        }
        let Some(current) = &mut self.current else {
            return;
        };
        match &current.bar {
            Some(bar) => bar.set_position(done),
            None => {
                let per_cent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
                let step_now = per_cent / PLAIN_STEP;
                if current.told != step_now {
                    current.told = step_now;
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

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        self.end();
    }
}

fn bar(path: &str, step: &str, total: u64) -> ProgressBar {
    let is_per_cent = total == 100;
    let template = match is_per_cent {
        true => "{msg}  [{bar:30}] {percent:>3} %",
        false => "{msg}  [{bar:30}] {bytes}/{total_bytes}  {bytes_per_sec}  {eta}",
    };
    let style = ProgressStyle::with_template(template)
        .map(|style| style.progress_chars("=> "))
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_style(style);
    let shown = printable(path.rsplit('/').next().unwrap_or(path));
    let step = printable(step);
    bar.set_message(match is_per_cent {
        true => format!("{shown} {step}"),
        false => format!("{shown} {step} ({})", size(total)),
    });
    bar.enable_steady_tick(TICK);
    bar
}
