//! Prints results: tables, sizes, ages, dates; or JSON.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::shown;

/// Columns of a terminal that does not say how many it has.
const USUAL_COLUMNS: usize = 80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

/// Prints one JSON document to stdout.
pub(super) fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write(&text)?;
    Ok(())
}

/// Prints text to stdout. A closed pipe is an error here, because of which the program ends quietly later.
pub(super) fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints bytes to stdout, for programs that read paths.
pub(super) fn write_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Prints one line for people to stderr, with the name of the program.
pub(super) fn note(line: &str) {
    // Nobody reads if it fails.
    let _ = writeln!(io::stderr().lock(), "tgfs: {}", printable(line));
}

/// Prints text of several lines to stderr, whose names are escaped already.
pub(super) fn note_text(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Returns the number of columns of the terminal that stdout is; `None` if it is none.
pub(super) fn columns() -> Option<usize> {
    io::stdout().is_terminal().then(|| {
        terminal_size::terminal_size().map_or(USUAL_COLUMNS, |(width, _)| usize::from(width.0))
    })
}

/// Breaks text at blanks into lines of at most `width` columns. A longer word keeps a line of its own.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Formats rows under a head, with two blanks between columns and none at line ends.
pub(super) fn table(head: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let escaped = |row: &Vec<String>| -> Vec<String> {
        row.iter()
            .map(|cell| printable(cell).into_owned())
            .collect()
    };
    let rows: Vec<Vec<String>> = rows.iter().map(escaped).collect();
    let width_of = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(head[column].0.chars().count())
    };
    let widths: Vec<_> = (0..head.len()).map(width_of).collect();
    let mut text = String::new();
    let titles: Vec<_> = head.iter().map(|(title, _)| (*title).to_owned()).collect();
    for row in std::iter::once(&titles).chain(&rows) {
        let mut line = String::new();
        for ((cell, width), (_, align)) in row.iter().zip(&widths).zip(head) {
            match align {
                Align::Left => line.push_str(&format!("{cell:<width$}  ")),
                Align::Right => line.push_str(&format!("{cell:>width$}  ")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Escapes control characters: a name must not control the terminal, nor look like two lines.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    shown::printable(text)
}

/// Formats bytes as `1.4 GiB` or `512 B`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    match tenths {
        ..1000 => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
        _ => format!("{} {}", tenths / 10, UNITS[unit]),
    }
}

/// Formats seconds as `1:02:03` or `4:05`.
pub(super) fn play_time(seconds: f64) -> String {
    let total = Duration::try_from_secs_f64(seconds)
        .unwrap_or_default()
        .as_secs();
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Formats seconds as `3 s`, `12 min`, `5 h` or `9 d`.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Formats bits a second as `4.2 Mb/s`.
pub(super) fn bit_rate(bits: u64) -> String {
    match bits {
        ..1_000_000 => format!("{} kb/s", bits / 1000),
        _ => format!("{}.{} Mb/s", bits / 1_000_000, bits / 100_000 % 10),
    }
}

/// Formats seconds since 1970 as `2026-11-22 19:40`, in UTC.
pub(super) fn date(seconds: i64) -> String {
    if seconds < 0 {
        return "before 1970".to_owned();
    }
    match Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => "far away".to_owned(),
    }
}

/// Formats a number of things as `1 file` or `3 files`.
pub(super) fn count(number: u64, word: &str) -> String {
    match number {
        1 => format!("1 {word}"),
        _ => format!("{number} {word}s"),
    }
}
