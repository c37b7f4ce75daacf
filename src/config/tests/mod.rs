//! Tests of all steps from texts to a configuration.

mod layers;
mod reload;
mod sections;
mod telegram;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use std::time::Duration;

use crate::config::*;
use crate::model::{RateLimit, TombstonePolicy};

/// Lengthens a token to what Telegram's have at least.
fn token(begin: &str) -> String {
    format!("{begin:A<40}")
}

struct Place {
    dir: tempfile::TempDir,
    inputs: ConfigInputs,
}

/// Returns a place with a home of its own, so no setting of the developer's machine gets in.
fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let mut inputs = ConfigInputs {
        working_dir: dir.path().join("work"),
        ..ConfigInputs::default()
    };
    fs::create_dir(&inputs.working_dir).unwrap();
    let home = dir.path().to_str().unwrap().to_owned();
    inputs.environment.insert("HOME".to_owned(), home);
    Place { dir, inputs }
}

impl Place {
    fn env_file(&self, text: &str) -> std::path::PathBuf {
        let path = self.inputs.working_dir.join(".env");
        write_private(&path, text);
        path
    }
    fn set(&mut self, key: &str, value: &str) {
        self.inputs
            .environment
            .insert(key.to_owned(), value.to_owned());
    }
    fn flag(&mut self, setting: &'static str, flag: &'static str, value: &str) {
        let value = value.to_owned();
        self.inputs.flags.push(FlagValue {
            setting,
            flag,
            value,
        });
    }
    fn config(&self) -> Config {
        load(&self.inputs).config.unwrap()
    }
    fn store_dir(&self) -> std::path::PathBuf {
        match self.config().store {
            StoreConfig::Local { dir, .. } => dir,
            StoreConfig::Telegram(_) => panic!("the store is Telegram"),
        }
    }
    fn telegram(&self) -> TelegramSettings {
        match self.config().store {
            StoreConfig::Telegram(telegram) => *telegram,
            StoreConfig::Local { dir, .. } => panic!("the store is {}", dir.display()),
        }
    }
    fn warnings(&self) -> String {
        load(&self.inputs).warnings.join("\n")
    }
    /// Adds two bots and everything that they need.
    fn with_bots(mut self) -> Self {
        self.set("BOT_TOKEN", &token("1:AAsecret"));
        self.set("BOT_TOKEN_2", &token("2:AAother"));
        self.set("CHAT_ID", "-1001000000001");
        self.set("TELEGRAM_API_ID", "17");
        self.set("TELEGRAM_API_HASH", "0123456789abcdef");
        self
    }
    fn unset(&mut self, key: &str) {
        self.inputs.environment.remove(key);
    }
    fn problems(&self) -> String {
        load(&self.inputs).config.unwrap_err().join("\n")
    }
    fn row(&self, name: &str) -> ConfigRow {
        let rows = load(&self.inputs).rows;
        rows.into_iter().find(|row| row.name == name).unwrap()
    }
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
