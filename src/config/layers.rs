//! The layers that values come from (flags, environment, `.env`), and the choice of the `.env` that is
//! read.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::dotenv;
use super::settings::{self, Exposure};

/// Largest `.env` that is read, in bytes; a larger file was given by mistake.
const MAX_ENV_FILE_BYTES: u64 = 1 << 20;

/// Variables of tests (see `failpoint`), which are not settings.
const TEST_VARIABLES: [&str; 1] = ["TGFS_CRASH_AT"];

/// Variables that say where files are, and are not settings.
const PLACES: [&str; 4] = [
    "HOME",
    "XDG_STATE_HOME",
    "XDG_CONFIG_HOME",
    "STATE_DIRECTORY",
];

/// The place where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueOrigin {
    /// A flag such as `--state`.
    Flag(&'static str),
    /// A variable of the environment.
    Environment,
    /// A line of the `.env` file.
    EnvFile(usize),
    /// Nothing sets it.
    Default,
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment => f.write_str("environment"),
            Self::EnvFile(line) => write!(f, ".env line {line}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value that a flag of the command line gives to a setting.
#[derive(Debug, Clone)]
pub struct FlagValue {
    pub setting: &'static str,
    pub flag: &'static str,
    pub value: String,
}

/// All layers; tests build them by hand.
#[derive(Debug, Clone, Default)]
pub struct ConfigInputs {
    pub flags: Vec<FlagValue>,
    /// `--env-file`
    pub env_file: Option<PathBuf>,
    pub environment: BTreeMap<String, String>,
    /// Names of variables whose values are not UTF-8.
    pub unreadable: Vec<String>,
    pub working_dir: PathBuf,
}

impl ConfigInputs {
    /// Takes environment and working directory of this process.
    ///
    /// # Errors
    /// If the working directory does not exist any more.
    pub fn from_process(flags: Vec<FlagValue>, env_file: Option<PathBuf>) -> io::Result<Self> {
        let mut environment = BTreeMap::new();
        let mut unreadable = Vec::new();
        for (key, value) in std::env::vars_os() {
            // All names that mean something here are ASCII.
            let Ok(key) = key.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(environment.insert(key, value)),
                Err(_) => unreadable.push(key),
            }
        }
        Ok(Self {
            flags,
            env_file,
            environment,
            unreadable,
            working_dir: std::env::current_dir()?,
        })
    }

    /// Returns a variable that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let value = self.environment.get(name)?;
        (!value.is_empty()).then_some(value.as_str())
    }

    pub(super) fn home(&self) -> PathBuf {
        self.variable("HOME")
            .map_or_else(|| PathBuf::from("/"), PathBuf::from)
    }

    fn xdg(&self, variable: &str, in_home: &str) -> PathBuf {
        match self.variable(variable).map(PathBuf::from) {
            // The XDG rules: a relative path is invalid and ignored.
            Some(path) if path.is_absolute() => path,
            _ => self.home().join(in_home),
        }
    }

    /// Returns the state directory if no setting names one.
    pub(super) fn default_state_dir(&self) -> PathBuf {
        // systemd may give several, with colons between.
        match self
            .variable("STATE_DIRECTORY")
            .and_then(|dirs| dirs.split(':').next())
        {
            Some(dir) => PathBuf::from(dir),
            None => self.xdg("XDG_STATE_HOME", ".local/state").join("tgfs"),
        }
    }

    /// Finds the `.env` to read. The file of `--env-file` must exist; the others need not.
    fn find_env_file(&self) -> Option<PathBuf> {
        if let Some(file) = &self.env_file {
            return Some(self.working_dir.join(file));
        }
        let state = self
            .flags
            .iter()
            .find(|flag| flag.setting == "TGFS_STATE_DIR")
            .map(|flag| self.working_dir.join(&flag.value))
            .or_else(|| {
                self.variable("TGFS_STATE_DIR")
                    .map(|dir| self.working_dir.join(dir))
            })
            .unwrap_or_else(|| self.default_state_dir());
        let candidates = [
            self.working_dir.join(".env"),
            self.xdg("XDG_CONFIG_HOME", ".config").join("tgfs/.env"),
            state.join(".env"),
        ];
        candidates.into_iter().find(|path| path.exists())
    }
}

/// The texts that are set, before they are parsed.
#[derive(Default)]
pub(super) struct RawSettings {
    set: BTreeMap<String, (String, ValueOrigin)>,
    pub(super) env_file: Option<PathBuf>,
    working_dir: PathBuf,
}

impl RawSettings {
    /// Reads all layers. Problems stop a start; warnings do not.
    pub(super) fn gather(
        inputs: &ConfigInputs,
        problems: &mut Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Self {
        let mut values = Self {
            working_dir: inputs.working_dir.clone(),
            ..Self::default()
        };
        if let Some(path) = inputs.find_env_file() {
            values.add_env_file(&path, problems, warnings);
            values.env_file = Some(path);
        }
        for (key, text) in &inputs.environment {
            if settings::find(key).is_some() {
                values.put(key, text, ValueOrigin::Environment);
            } else if key.starts_with("TGFS_") && !TEST_VARIABLES.contains(&key.as_str()) {
                warnings.push(format!("environment: {}", unknown(key)));
            }
        }
        let is_used =
            |key: &&String| settings::find(key).is_some() || PLACES.contains(&key.as_str());
        for key in inputs.unreadable.iter().filter(is_used) {
            problems.push(format!(
                "environment: {key} is not UTF-8 text; set it to another value"
            ));
        }
        for flag in &inputs.flags {
            values.put(flag.setting, &flag.value, ValueOrigin::Flag(flag.flag));
        }
        values
    }

    fn add_env_file(
        &mut self,
        path: &Path,
        problems: &mut Vec<String>,
        warnings: &mut Vec<String>,
    ) {
        let shown = path.display();
        let text = match read_env_file(path) {
            Ok(text) => text,
            Err(problem) => return problems.push(format!("{shown}: {problem}")),
        };
        let parsed = dotenv::parse(&text.content);
        problems.extend(
            parsed
                .problems
                .iter()
                .map(|problem| format!("{shown}: {problem}")),
        );
        let mut holds_secret = false;
        for one in parsed.assignments {
            let Some(setting) = settings::find(&one.key) else {
                warnings.push(format!("{shown} line {}: {}", one.line, unknown(&one.key)));
                continue;
            };
            holds_secret |= setting.exposure == Exposure::Secret && !one.value.is_empty();
            self.put(&one.key, &one.value, ValueOrigin::EnvFile(one.line));
        }
        if holds_secret && text.readable_by_others {
            warnings.push(format!(
                "{shown} holds secrets and others can read it; run: chmod 600 {shown}"
            ));
        }
    }

    /// Sets a value, unless it is empty. An empty value does not hide a lower layer.
    fn put(&mut self, key: &str, text: &str, origin: ValueOrigin) {
        if !text.trim().is_empty() {
            let text = text.trim().to_owned();
            self.set.insert(key.to_owned(), (text, origin));
        }
    }

    /// Iterates over the values that are set: name, text, origin.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str, &ValueOrigin)> {
        let values = self.set.iter();
        values.map(|(name, (text, origin))| (name.as_str(), text.as_str(), origin))
    }

    /// Returns the directory that relative paths of this origin start from.
    pub(super) fn base_of(&self, origin: &ValueOrigin) -> &Path {
        match (origin, &self.env_file) {
            (ValueOrigin::EnvFile(_), Some(file)) => file.parent().unwrap_or(&self.working_dir),
            _ => &self.working_dir,
        }
    }
}

fn unknown(key: &str) -> String {
    match settings::nearest(key) {
        Some(name) => format!("unknown setting {key}; did you mean {name}?"),
        None => format!("unknown setting {key}; `tgfs config` lists all of them"),
    }
}

struct EnvText {
    content: String,
    readable_by_others: bool,
}

/// Reads the file, unless somebody other than the user and root could have written it.
fn read_env_file(path: &Path) -> Result<EnvText, String> {
    let read = |error: io::Error| format!("cannot be read: {error}");
    let file = fs::File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    let us = nix::unistd::geteuid().as_raw();
    if metadata.uid() != us {
        return Err(format!(
            "belongs to user {}, not to you ({us}); its owner could read your files through it",
            metadata.uid()
        ));
    }
    // On systems where every user has a group of their own (umask 002), nobody else is in that group.
    let own_group = metadata.gid() == nix::unistd::getegid().as_raw();
    if metadata.mode() & 0o002 != 0 || (metadata.mode() & 0o020 != 0 && !own_group) {
        return Err(format!(
            "others can write to it; run: chmod 600 {}",
            path.display()
        ));
    }
    if metadata.len() > MAX_ENV_FILE_BYTES {
        return Err("is larger than 1 MiB, so it is not a configuration".to_owned());
    }
    let content = io::read_to_string(file).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => "is not UTF-8 text".to_owned(),
        _ => read(error),
    })?;
    Ok(EnvText {
        content,
        readable_by_others: metadata.mode() & 0o044 != 0,
    })
}
