//! The store, and its encryption.

use std::path::{Path, PathBuf};

use super::bots;
use super::reader::SettingReader;
use super::secret::Secret;
use super::telegram::TelegramSettings;
use super::value::SettingValue;

/// The place where packs are kept (`TGFS_STORE`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreConfig {
    /// A directory.
    Local {
        /// An absolute path.
        dir: PathBuf,
        /// Origin of the choice.
        origin: StoreOrigin,
    },
    /// Channels in Telegram.
    Telegram(Box<TelegramSettings>),
}

/// Origin of the choice of a local store; `mount` mentions a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOrigin {
    /// `TGFS_STORE` or `--store` names it.
    Chosen,
    /// Nothing names a store.
    Default,
}

impl StoreConfig {
    /// Returns the store in the form that `--store` takes.
    #[must_use]
    pub fn describe(&self) -> String {
        self.value().to_string()
    }

    pub(super) fn value(&self) -> SettingValue {
        match self {
            Self::Local { dir, .. } => SettingValue::LocalStore(dir.clone()),
            Self::Telegram(_) => SettingValue::TelegramStore,
        }
    }

    /// Reads the store. Configured bots mean Telegram, unless a local store was asked for. There is no
    /// silent fallback.
    pub(super) fn read(reader: &mut SettingReader<'_>, state_dir: &Path) -> Self {
        let configured = bots::collect(reader.settings);
        let default = || Self::Local {
            dir: state_dir.join("store"),
            origin: StoreOrigin::Default,
        };
        // The server is judged even if no bot is configured, since half a server is a mistake in any case.
        let server = TelegramSettings::read_server(reader);
        if reader.settings.value("TGFS_STORE").is_none() {
            return match configured.is_any_set() {
                true => TelegramSettings::read(reader, configured, server).into(),
                false => {
                    reader.warnings.extend(configured.warnings);
                    default()
                }
            };
        }
        match reader.value("TGFS_STORE") {
            Some(SettingValue::LocalStore(dir)) => {
                if configured.is_any_set() {
                    let text = reader.text("TGFS_STORE").unwrap_or_default();
                    let origin = reader.settings.origin("TGFS_STORE");
                    reader.warnings.push(format!(
                        "TGFS_STORE={text} ({origin}) wins: the configured bots are not used"
                    ));
                }
                Self::Local {
                    dir: dir.clone(),
                    origin: StoreOrigin::Chosen,
                }
            }
            Some(SettingValue::TelegramStore) => {
                if !configured.is_any_set() {
                    reader.problem(
                        "TGFS_STORE",
                        "no bot is configured: make one with @BotFather and set BOT_TOKEN and \
                         CHAT_ID",
                    );
                }
                TelegramSettings::read(reader, configured, server).into()
            }
            _ => default(),
        }
    }
}

impl From<TelegramSettings> for StoreConfig {
    fn from(telegram: TelegramSettings) -> Self {
        Self::Telegram(Box::new(telegram))
    }
}

/// Passphrases of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionSettings {
    /// The passphrase in force; `None`: the store is not encrypted.
    pub passphrase: Option<Secret<String>>,
    /// The previous one, for the start that changes it.
    pub old_passphrase: Option<Secret<String>>,
}

impl EncryptionSettings {
    pub(super) fn read(reader: &mut SettingReader<'_>) -> Self {
        let passphrase = reader.text("TGFS_PASSPHRASE").map(Secret::new);
        let old_passphrase = reader.text("TGFS_PASSPHRASE_OLD").map(Secret::new);
        if old_passphrase.is_some() && passphrase.is_none() {
            reader.problem(
                "TGFS_PASSPHRASE_OLD",
                "goes only together with TGFS_PASSPHRASE, the new one; set both",
            );
        }
        Self {
            passphrase,
            old_passphrase,
        }
    }
}
