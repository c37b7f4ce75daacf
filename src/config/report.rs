//! Reports on a configuration: the rows of `tgfs config`, and the changes that a reload makes.

use serde::{Deserialize, Serialize};

use super::configuration::Config;
use super::secret::MASK;
use super::settings::{Exposure, Takes};
use super::value::SettingValue;

/// One setting, as `tgfs config` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigRow {
    /// Name of the setting.
    pub name: String,
    /// Its value; secrets are masked, and an unset value is empty.
    pub value: String,
    /// The place where the value was set.
    pub source: String,
    /// The effect of the setting.
    pub effect: String,
}

/// Lists all settings of `config`, in the order of the table.
pub(super) fn rows(config: &Config) -> Vec<ConfigRow> {
    let settings = &config.settings;
    let rows = settings.names(settings).into_iter();
    rows.map(|(setting, name)| {
        let value = match (settings.explicit(&name), setting.exposure) {
            (None, _) => match computed(setting.name, config) {
                Some(value) => value.to_string(),
                None => setting.fallback.describe().to_owned(),
            },
            (Some(_), Exposure::Secret) => MASK.to_owned(),
            (Some(text), Exposure::Plain) => text.to_owned(),
        };
        let effect = match setting.takes {
            Takes::NotYet => format!("no effect (yet): {}", setting.effect),
            Takes::Live | Takes::AtStart => setting.effect.to_owned(),
        };
        let source = settings.origin(&name).to_string();
        ConfigRow {
            name,
            value,
            source,
            effect,
        }
    })
    .collect()
}

/// Names the settings of `config` that are set and have no effect, each with the place where it is set.
pub(super) fn without_effect(config: &Config) -> Vec<String> {
    let settings = &config.settings;
    let rows = settings.names(settings).into_iter();
    rows.filter(|(setting, name)| {
        setting.takes == Takes::NotYet && settings.explicit(name).is_some()
    })
    .map(|(setting, name)| {
        let origin = settings.origin(&name);
        format!("{name} ({origin}) has no effect (yet): {}", setting.effect)
    })
    .collect()
}

/// Returns the value of a default that depends on the machine.
fn computed(name: &str, config: &Config) -> Option<SettingValue> {
    match name {
        "TGFS_STORE" => Some(config.store.value()),
        "TGFS_STATE_DIR" => Some(SettingValue::Path(config.state_dir.clone())),
        "TGFS_SPOOL_DIR" => Some(SettingValue::Path(config.spool.dir.clone())),
        // With CACHE_TYPE=disk it is the size on the disk, which has a setting of its own.
        "CACHE_SIZE" => Some(SettingValue::Size(config.cache.memory)),
        _ => None,
    }
}

/// Changes that a reload made, and changes that it could not make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Settings whose new value is in force now.
    pub applied: Vec<String>,
    /// Settings whose new value waits for the next start.
    pub at_next_start: Vec<String>,
    /// Settings that changed and have no effect.
    #[serde(default)]
    pub without_effect: Vec<String>,
}

impl Reloaded {
    /// Compares two configurations by the table of settings.
    pub(super) fn between(old: &Config, new: &Config) -> Self {
        let value = |config: &Config, name: &str| match config.settings.value(name) {
            Some(value) => Some(value.clone()),
            None => computed(name, config).map(Ok),
        };
        let mut reloaded = Self::default();
        for (setting, name) in old.settings.names(&new.settings) {
            if value(old, &name) == value(new, &name) {
                continue;
            }
            match setting.takes {
                Takes::Live => reloaded.applied.push(name),
                Takes::AtStart => reloaded.at_next_start.push(name),
                Takes::NotYet => reloaded.without_effect.push(name),
            }
        }
        reloaded
    }
}
