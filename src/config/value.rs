//! A setting's value, parsed as the unit in the table says.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::quantity::{parse_duration, parse_size};
use super::secret::Secret;
use super::settings::Unit;

/// Largest file that is read as a key, in bytes: a public key of 16384 bits takes 3 KiB.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// A parsed value. Two spellings of one value, such as `1s` and `1000ms`, are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingValue {
    /// Text as it was written; it may be a secret.
    Text(Secret<String>),
    /// An absolute path.
    Path(PathBuf),
    /// Bytes.
    Size(u64),
    /// A length of time.
    Duration(Duration),
    /// A number within the range of the unit.
    Count(u64),
    /// `on` or `off`.
    Switch(bool),
    /// A word in lower case.
    Word(String),
    /// `local:DIR`, with an absolute directory.
    LocalStore(PathBuf),
    /// `telegram`
    TelegramStore,
    /// A file with a public key, and its text.
    KeyFile {
        /// An absolute path.
        path: PathBuf,
        /// PEM.
        pem: String,
    },
}

/// The directories that paths in values are relative to.
#[derive(Debug)]
pub(super) struct PathBase<'a> {
    /// Base of relative paths.
    pub(super) directory: &'a Path,
    /// Stands for `~`.
    pub(super) home: &'a Path,
}

impl PathBase<'_> {
    fn absolute(&self, text: &str) -> PathBuf {
        match text.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => self.directory.join(text),
        }
    }
}

impl SettingValue {
    /// Parses `text` as a value of `unit`. Reads the file that a [`Unit::KeyFile`] names.
    ///
    /// # Errors
    /// The expected form of the value, or the reason why the key file cannot be used.
    pub(super) fn parse(unit: Unit, text: &str, base: &PathBase<'_>) -> Result<Self, String> {
        match unit {
            Unit::Text | Unit::Json => Ok(Self::Text(Secret::new(text.to_owned()))),
            Unit::Path => Ok(Self::Path(base.absolute(text))),
            Unit::Size => parse_size(text).map(Self::Size),
            Unit::Duration => parse_duration(text).map(Self::Duration),
            Unit::Count { min, max } => match text.parse() {
                Ok(number) if (min..=max).contains(&number) => Ok(Self::Count(number)),
                _ => Err(format!("{text:?} must be a number between {min} and {max}")),
            },
            Unit::Switch => parse_switch(text).map(Self::Switch),
            Unit::Choice(_) => Ok(Self::Word(text.to_ascii_lowercase())),
            Unit::Store => match text.strip_prefix("local:") {
                Some(dir) if !dir.is_empty() => Ok(Self::LocalStore(base.absolute(dir))),
                None if text.eq_ignore_ascii_case("telegram") => Ok(Self::TelegramStore),
                _ => Err(format!("{text:?} must be local:DIR or telegram")),
            },
            Unit::KeyFile => {
                let path = base.absolute(text);
                let pem = read_key(&path)?;
                Ok(Self::KeyFile { path, pem })
            }
        }
    }
}

/// Shows a value that the program chose itself in the form of `tgfs config`.
impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text}"),
            Self::Path(path) | Self::KeyFile { path, .. } => write!(f, "{}", path.display()),
            Self::Size(bytes) => write!(f, "{}MiB", bytes >> 20),
            Self::Duration(time) => write!(f, "{}ms", time.as_millis()),
            Self::Count(number) => write!(f, "{number}"),
            Self::Switch(true) => f.write_str("on"),
            Self::Switch(false) => f.write_str("off"),
            Self::Word(word) => f.write_str(word),
            Self::LocalStore(dir) => write!(f, "local:{}", dir.display()),
            Self::TelegramStore => f.write_str("telegram"),
        }
    }
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err(format!("{text:?} must be on or off")),
    }
}

/// Reads the text of a key file. The module that speaks the protocol judges the key itself.
fn read_key(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let read = |error: std::io::Error| format!("{shown} cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(read)?;
    if !metadata.is_file() || metadata.len() > MAX_KEY_BYTES {
        return Err(format!("{shown} is not a key file"));
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    if text.contains("PRIVATE KEY-----") {
        return Err(format!(
            "{shown} holds a private key; tgfs needs the server's public key"
        ));
    }
    match text.contains("PUBLIC KEY-----") {
        true => Ok(text),
        false => Err(format!(
            "{shown} is not a public key: it must hold a text that begins with -----BEGIN PUBLIC \
             KEY----- or -----BEGIN RSA PUBLIC KEY-----"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(unit: Unit, text: &str) -> Result<SettingValue, String> {
        let base = PathBase {
            directory: Path::new("/etc/tgfs"),
            home: Path::new("/home/ann"),
        };
        SettingValue::parse(unit, text, &base)
    }

    #[test]
    fn two_spellings_of_one_value_are_equal() {
        for (unit, one, other) in [
            (Unit::Duration, "1s", "1000 ms"),
            (Unit::Size, "1MiB", "1048576"),
            (Unit::Switch, "yes", "on"),
            (Unit::Choice(&["fast"]), "FAST", "fast"),
            (Unit::Path, "~/x", "/home/ann/x"),
            (Unit::Store, "local:packs", "local:/etc/tgfs/packs"),
        ] {
            assert_eq!(parse(unit, one).unwrap(), parse(unit, other).unwrap());
        }
    }

    #[test]
    fn a_number_outside_of_its_range_is_refused() {
        let unit = Unit::Count { min: 1, max: 9 };
        assert_eq!(parse(unit, "9"), Ok(SettingValue::Count(9)));
        for text in ["0", "10", "-1", "1.5", "x"] {
            assert!(parse(unit, text).unwrap_err().contains("between 1 and 9"));
        }
    }
}
