//! How results look: tables, sizes, ages, dates; or JSON.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

/// One JSON document on stdout.
pub(super) fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write(&text)?;
    Ok(())
}

/// Text on stdout. A closed pipe is an error here, and a quiet end of the program later.
pub(super) fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Which side of a column is ragged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows under a head, two blanks between columns, no blanks at line ends. The last column may be
/// of any width.
pub(super) fn table(head: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width_of = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(head[column].0.chars().count())
    };
    let widths: Vec<_> = (0..head.len()).map(width_of).collect();
    let mut text = String::new();
    let titles: Vec<_> = head.iter().map(|(title, _)| (*title).to_owned()).collect();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for ((cell, width), (_, align)) in row.iter().zip(&widths).zip(head) {
            let cell = printable(cell);
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

/// Names may hold anything; a terminal must not obey them.
pub(super) fn printable(text: &str) -> String {
    let safe = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(safe).collect()
}

/// `1.4 GiB`, `512 B`
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

/// `1:02:03`, `4:05`
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

/// `3 s`, `12 min`, `5 h`, `9 d`
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `4.2 Mb/s`
pub(super) fn bit_rate(bits: u64) -> String {
    match bits {
        ..1_000_000 => format!("{} kb/s", bits / 1000),
        _ => format!("{}.{} Mb/s", bits / 1_000_000, bits / 100_000 % 10),
    }
}

/// `2026-11-22 19:40` in UTC; the machine's zone would need a crate for a column.
pub(super) fn date(seconds: i64) -> String {
    let Ok(positive) = u64::try_from(seconds) else {
        return "before 1970".to_owned();
    };
    if UNIX_EPOCH
        .checked_add(Duration::from_secs(positive))
        .is_none()
    {
        return "far away".to_owned();
    }
    let days = positive / 86_400;
    // Howard Hinnant's civil_from_days: years begin in March, so that leap days come last.
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (positive / 3600 % 24, positive / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

/// `1 file`, `3 files`
pub(super) fn count(number: u64, word: &str) -> String {
    match number {
        1 => format!("1 {word}"),
        _ => format!("{number} {word}s"),
    }
}
