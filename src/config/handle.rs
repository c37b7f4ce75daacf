//! Loads the configuration, and holds the one in force behind a handle that `tgfs reload` swaps.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::configuration::Config;
use super::layers::{ConfigInputs, RawSettings};
use super::report::{self, ConfigRow, Reloaded};
use super::resolved::ResolvedSettings;

/// The result of loading: values and warnings even if the configuration is unusable.
#[derive(Debug)]
pub struct Loaded {
    /// All settings, as `tgfs config` prints them.
    pub rows: Vec<ConfigRow>,
    /// The `.env` in force.
    pub env_file: Option<PathBuf>,
    /// Warnings, such as about unknown keys or about a `.env` with secrets that others can read.
    pub warnings: Vec<String>,
    /// Settings that are set and have no effect, for `tgfs config`; at each command they would be noise.
    pub without_effect: Vec<String>,
    /// The configuration, or everything that is wrong with it.
    pub config: Result<Config, Vec<String>>,
}

/// Reads all layers and checks every value that is used. Never stops halfway: see [`Loaded`].
#[must_use]
pub fn load(inputs: &ConfigInputs) -> Loaded {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    let raw = RawSettings::gather(inputs, &mut problems, &mut warnings);
    let assembled = Config::assemble(ResolvedSettings::resolve(&raw, inputs));
    problems.extend(assembled.problems);
    warnings.extend(assembled.warnings);
    let config = assembled.config;
    Loaded {
        rows: report::rows(&config),
        env_file: config.env_file.clone(),
        warnings,
        without_effect: report::without_effect(&config),
        config: match problems.is_empty() {
            true => Ok(config),
            false => Err(problems),
        },
    }
}

/// Reads all layers again and applies what can change while the daemon runs.
///
/// # Errors
/// Everything that is wrong with the new configuration; nothing is applied then.
pub fn reload(handle: &ConfigHandle, inputs: &ConfigInputs) -> Result<Reloaded, Vec<String>> {
    let new = load(inputs).config?;
    handle.apply(&new)
}

/// The configuration in force; a clone refers to the same one.
#[derive(Debug, Clone)]
pub struct ConfigHandle(Arc<ArcSwap<Config>>);

impl ConfigHandle {
    /// Puts `config` in force.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(config)))
    }

    /// Returns the values of this moment. Callers ask again for each use, and do not keep them.
    #[must_use]
    pub fn get(&self) -> Arc<Config> {
        self.0.load_full()
    }

    /// Takes over from `new` the settings that can change while the daemon runs. Returns the settings that
    /// changed and those that wait for the next start.
    ///
    /// # Errors
    /// If the new values do not fit the old ones that stay; nothing is applied then.
    pub fn apply(&self, new: &Config) -> Result<Reloaded, Vec<String>> {
        let old = self.get();
        let reloaded = Reloaded::between(&old, new);
        let merged = Config::assemble(old.settings.with_live_of(&new.settings));
        if !merged.problems.is_empty() {
            return Err(merged.problems);
        }
        self.0.store(Arc::new(merged.config));
        Ok(reloaded)
    }
}
