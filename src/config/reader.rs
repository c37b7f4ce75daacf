//! Reads values by name and collects everything that is wrong with them.

use std::path::PathBuf;
use std::time::Duration;

use super::resolved::ResolvedSettings;
use super::value::SettingValue;

/// Access to values for the sections of the configuration. A wrong value is reported where it is
/// read, and read as absent.
#[derive(Debug)]
pub(super) struct SettingReader<'a> {
    pub(super) settings: &'a ResolvedSettings,
    /// Everything that prevents a start.
    pub(super) problems: Vec<String>,
    /// Everything that a start only mentions.
    pub(super) warnings: Vec<String>,
}

impl<'a> SettingReader<'a> {
    pub(super) fn new(settings: &'a ResolvedSettings) -> Self {
        Self {
            settings,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Reports what is wrong with the setting `name`.
    pub(super) fn problem(&mut self, name: &str, text: &str) {
        let origin = self.settings.origin(name);
        self.problems.push(format!("{name} ({origin}): {text}"));
    }

    /// Returns the value; a wrong one is reported.
    pub(super) fn value(&mut self, name: &str) -> Option<&'a SettingValue> {
        match self.settings.value(name)? {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problem(name, problem);
                None
            }
        }
    }

    /// Returns the text as it was written.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.settings.text(name).map(str::to_owned)
    }

    /// Returns the text as `parse` understands it.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(self.settings.text(name)?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problem(name, &problem);
                None
            }
        }
    }

    /// Returns an absolute path.
    pub(super) fn path(&mut self, name: &str) -> Option<PathBuf> {
        match self.value(name)? {
            SettingValue::Path(path) => Some(path.clone()),
            _ => None,
        }
    }

    /// Returns bytes.
    pub(super) fn size(&mut self, name: &str) -> Option<u64> {
        match self.value(name)? {
            SettingValue::Size(bytes) => Some(*bytes),
            _ => None,
        }
    }

    /// Returns a duration; 0 for a wrong one.
    pub(super) fn duration(&mut self, name: &str) -> Duration {
        match self.value(name) {
            Some(SettingValue::Duration(time)) => *time,
            _ => Duration::ZERO,
        }
    }

    /// Returns a duration that must not be 0.
    pub(super) fn deadline(&mut self, name: &str) -> Duration {
        match self.value(name) {
            Some(SettingValue::Duration(time)) => {
                if time.is_zero() {
                    self.problem(name, "must be longer than 0");
                }
                *time
            }
            _ => Duration::ZERO,
        }
    }

    /// Returns a number; the default of `T` for a wrong one.
    pub(super) fn count<T: TryFrom<u64> + Default>(&mut self, name: &str) -> T {
        match self.value(name) {
            Some(SettingValue::Count(number)) => T::try_from(*number).unwrap_or_default(),
            _ => T::default(),
        }
    }

    /// Returns whether a switch is on.
    pub(super) fn is_on(&mut self, name: &str) -> bool {
        matches!(self.value(name), Some(SettingValue::Switch(true)))
    }

    /// Returns what the word means, in any case.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        self.parsed(name, |text| {
            let known = words
                .iter()
                .find(|(word, _)| word.eq_ignore_ascii_case(text));
            known.map(|(_, value)| *value).ok_or_else(|| {
                let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                format!("{text:?} must be one of {}", names.join(", "))
            })
        })
    }
}
