//! All settings with their values, keyed by the table. They are merged and compared without knowledge of
//! any single one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::layers::{ConfigInputs, RawSettings, ValueOrigin};
use super::machine;
use super::secret::Secret;
use super::settings::{self, Fallback, Numbering, SETTINGS, Setting, Takes};
use super::value::{PathBase, SettingValue};

/// Values of settings as they were found, each with the value that it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedSettings {
    values: BTreeMap<String, ResolvedValue>,
    /// The `.env` in force.
    pub(super) env_file: Option<PathBuf>,
    /// The state directory if no setting names one.
    pub(super) default_state_dir: PathBuf,
    /// Bytes of the cache if no setting gives them.
    pub(super) default_cache_bytes: u64,
}

/// One value. A wrong one is a problem only where it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ResolvedValue {
    text: Secret<String>,
    origin: ValueOrigin,
    value: Result<SettingValue, String>,
}

impl ResolvedSettings {
    /// Parses all values that are set, and the fixed defaults of the others.
    pub(super) fn resolve(raw: &RawSettings, inputs: &ConfigInputs) -> Self {
        let home = inputs.home();
        let resolve = |setting: &Setting, text: &str, origin: ValueOrigin| {
            let base = PathBase {
                directory: raw.base_of(&origin),
                home: &home,
            };
            ResolvedValue {
                text: Secret::new(text.to_owned()),
                value: SettingValue::parse(setting.unit, text, &base),
                origin,
            }
        };
        let mut values = BTreeMap::new();
        for setting in SETTINGS {
            if let Fallback::Fixed(text) = setting.fallback {
                let value = resolve(setting, text, ValueOrigin::Default);
                values.insert(setting.name.to_owned(), value);
            }
        }
        for (name, text, origin) in raw.iter() {
            if let Some(setting) = settings::find(name) {
                values.insert(name.to_owned(), resolve(setting, text, origin.clone()));
            }
        }
        Self {
            values,
            env_file: raw.env_file.clone(),
            default_state_dir: inputs.working_dir.join(inputs.default_state_dir()),
            default_cache_bytes: machine::default_cache_bytes(),
        }
    }

    /// Returns these values, except that settings which take effect while the daemon runs have the values
    /// of `new`.
    pub(super) fn with_live_of(&self, new: &Self) -> Self {
        let of = |settings: &Self, live: bool| -> Vec<(String, ResolvedValue)> {
            let is_wanted = |name: &str| {
                settings::find(name)
                    .is_some_and(|setting| (setting.takes != Takes::AtStart) == live)
            };
            let values = settings.values.iter();
            values
                .filter(|(name, _)| is_wanted(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        let mut merged = self.clone();
        merged.values = of(self, false).into_iter().chain(of(new, true)).collect();
        merged.env_file.clone_from(&new.env_file);
        merged
    }

    /// Lists the settings of the table, with each member of a family that is set here or in
    /// `other`, in the order of the table.
    pub(super) fn names<'a>(&'a self, other: &'a Self) -> Vec<(&'static Setting, String)> {
        let mut names = Vec::new();
        for setting in SETTINGS {
            match setting.numbering {
                Numbering::Single => names.push((setting, setting.name.to_owned())),
                Numbering::Family => {
                    let set: BTreeSet<&String> =
                        self.values.keys().chain(other.values.keys()).collect();
                    let members = set.into_iter().filter(|name| setting.is_named(name));
                    names.extend(members.map(|name| (setting, name.clone())));
                }
            }
        }
        names
    }

    /// Returns the value, from a layer or from the table's fixed default.
    pub(super) fn value(&self, name: &str) -> Option<&Result<SettingValue, String>> {
        self.values.get(name).map(|value| &value.value)
    }

    /// Returns the text of the value; see [`Self::value`].
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .map(|value| value.text.expose().as_str())
    }

    /// Returns the text that a flag, the environment or the file gives.
    pub(super) fn explicit(&self, name: &str) -> Option<&str> {
        match self.origin(name) {
            ValueOrigin::Default => None,
            _ => self.text(name),
        }
    }

    /// Returns the place where the value was set.
    pub(super) fn origin(&self, name: &str) -> ValueOrigin {
        self.values
            .get(name)
            .map_or(ValueOrigin::Default, |value| value.origin.clone())
    }

    /// Returns the names that are set and begin with `stem`.
    pub(super) fn members(&self, stem: &str) -> Vec<String> {
        let keys = self.values.keys();
        keys.filter(|key| key.starts_with(stem)).cloned().collect()
    }
}
