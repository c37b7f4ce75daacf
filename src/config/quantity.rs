//! Parses sizes and durations as people write them: `16MiB`, `64 k`, `1048576`; `30s`, `5 min`, `1h30m`.

use std::time::Duration;

/// Units of a size, in bytes. One letter means the binary unit, as in `dd` and `rclone`.
const SIZE_UNITS: [(&str, u64); 17] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
    ("byte", 1),
    ("bytes", 1),
    ("ki", 1 << 10),
];

/// Units of a duration, in milliseconds. A bare number is seconds, as in the older system.
const DURATION_UNITS: [(&str, u64); 17] = [
    ("", 1000),
    ("ms", 1),
    ("s", 1000),
    ("sec", 1000),
    ("second", 1000),
    ("seconds", 1000),
    ("m", 60_000),
    ("min", 60_000),
    ("mins", 60_000),
    ("minute", 60_000),
    ("minutes", 60_000),
    ("h", 3_600_000),
    ("hour", 3_600_000),
    ("hours", 3_600_000),
    ("d", 86_400_000),
    ("day", 86_400_000),
    ("days", 86_400_000),
];

/// Parses a size; returns bytes.
///
/// # Errors
/// The expected form.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text.trim());
    let bytes = scaled(number, unit.trim(), &SIZE_UNITS);
    bytes.ok_or_else(|| format!("{text:?} is not a size: write bytes, or e.g. 16MiB, 1.5 GiB, 2GB"))
}

/// Parses a duration.
///
/// # Errors
/// The expected form.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("{text:?} is not a duration: write seconds, or e.g. 30s, 5 min, 24h, 1h30m");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let (number, behind) = split_unit(rest);
        let behind = behind.trim_start();
        let unit_len = behind
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(behind.len());
        let (unit, next) = behind.split_at(unit_len);
        let part = scaled(number, unit, &DURATION_UNITS).ok_or_else(wrong)?;
        millis = millis.checked_add(part).ok_or_else(wrong)?;
        rest = next.trim_start();
    }
    Ok(Duration::from_millis(millis))
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Multiplies `number` by its unit; decimals behind the third are cut.
fn scaled(number: &str, unit: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    let digits = number.replace('_', "");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    if whole.is_empty() {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let fraction = fraction.get(..fraction.len().min(3))?;
    let thousandths: u64 = match fraction {
        "" => 0,
        text => format!("{text:0<3}").parse().ok()?,
    };
    let part = u128::from(*factor) * u128::from(thousandths) / 1000;
    let total = u128::from(whole) * u128::from(*factor) + part;
    u64::try_from(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("20971520", 20_971_520),
            ("16MiB", 16 << 20),
            ("16 mib", 16 << 20),
            ("64k", 64 << 10),
            ("1.5GiB", 3 << 29),
            ("2GB", 2_000_000_000),
            ("1_000", 1000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MiB", "-1", "16 MiX", "99999999999TiB", "1 2"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("30", 30_000),
            ("30s", 30_000),
            ("5 min", 300_000),
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
            ("200ms", 200),
            ("0.5", 500),
            ("0", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for bad in ["", "soon", "5 parsecs", "-3s", "s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
