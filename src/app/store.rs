//! Opens the store that settings and state name together. A library that began in a local store moves to
//! Telegram when bots are configured.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;

use super::telegram;
use crate::config::{Config, Secret, StoreConfig, TelegramSettings};
use crate::disk;
use crate::model::KeyStore;
use crate::remote::telegram::{Publicity, TelegramRemote};
use crate::remote::{
    KdfCost, LocalRemote, LockedRemote, LogPlace, MovingRemote, Passphrases, Remote,
};

/// File in the state directory with the path of the local store from which packs still move.
const NOTE: &str = "moving-from";
/// Directory in the state directory for the pack that is being moved.
const WORKSHOP: &str = "moving";
/// Prefix of a local store's description.
const LOCAL: &str = "local:";

/// An open store, and the move that is under way.
#[derive(Debug, Clone)]
pub struct OpenStore {
    pub remote: Arc<LockedRemote>,
    pub moving: Option<Arc<Moving>>,
}

/// A library on its way from a local store to Telegram.
#[derive(Debug)]
pub struct Moving {
    pub remote: Arc<MovingRemote>,
    /// Path of the local store.
    from: PathBuf,
    state: PathBuf,
}

impl Moving {
    /// Stores the path of the local store durably.
    ///
    /// # Errors
    /// The error that the file system reports.
    pub fn note(&self) -> io::Result<()> {
        let from = self.from.as_os_str().as_bytes();
        disk::write_durably(&self.state.join(NOTE), |file| file.write_all(from))
    }

    /// Makes an empty directory for packs on their way.
    ///
    /// # Errors
    /// The error that the file system reports.
    pub fn workshop(&self) -> io::Result<PathBuf> {
        let workshop = self.state.join(WORKSHOP);
        remove_directory(&workshop)?;
        disk::make_private_directory(&workshop)?;
        Ok(workshop)
    }

    /// Forgets the local store, from which nothing is needed any more.
    ///
    /// # Errors
    /// The error that the file system reports.
    pub fn finish(&self) -> io::Result<()> {
        std::fs::remove_file(self.state.join(NOTE))?;
        remove_directory(&self.state.join(WORKSHOP))?;
        disk::sync_directory(&self.state)
    }

    /// Returns the path of the local store.
    pub fn from(&self) -> &Path {
        &self.from
    }
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens the store of a state, which describes its store as `own`. The passphrase is used at the first
/// call. Sign-ins and the wrapped key are kept in `keys`. [`LockedRemote::settle`] stores a new passphrase
/// once the store is known to belong to the state.
///
/// # Errors
/// When a local store cannot be opened, or the bots' settings are wrong.
pub fn open(config: &Config, own: &str, keys: Arc<dyn KeyStore>) -> anyhow::Result<OpenStore> {
    let telegram = match &config.store {
        // The error names the directory itself.
        StoreConfig::Local { dir, .. } => {
            return Ok(alone(config, Arc::new(LocalRemote::open(dir)?), keys));
        }
        StoreConfig::Telegram(telegram) => telegram,
    };
    let telegram = open_telegram(config, telegram, Arc::clone(&keys))?;
    let (from, log) = match own.strip_prefix(LOCAL) {
        Some(from) => (Some(PathBuf::from(from)), LogPlace::Old),
        None => (noted(&config.state_dir)?, LogPlace::New),
    };
    let Some(from) = from else {
        return Ok(alone(config, telegram, keys));
    };
    let moving = MovingRemote::new(open_old(&from)?, telegram, log);
    let remote: Arc<dyn Remote> = Arc::<MovingRemote>::clone(&moving);
    let moving = Moving {
        remote: moving,
        from,
        state: config.state_dir.clone(),
    };
    Ok(OpenStore {
        remote: locked(config, remote, keys),
        moving: Some(Arc::new(moving)),
    })
}

/// Does the same as [`open`], but does not begin to move a library.
///
/// # Errors
/// See [`open`].
pub fn open_unmoved(
    config: &Config,
    own: &str,
    keys: Arc<dyn KeyStore>,
) -> anyhow::Result<Arc<LockedRemote>> {
    match (&config.store, own.strip_prefix(LOCAL)) {
        (StoreConfig::Telegram(_), Some(from)) => {
            Ok(locked(config, open_old(Path::new(from))?, keys))
        }
        _ => Ok(open(config, own, keys)?.remote),
    }
}

fn alone(config: &Config, remote: Arc<dyn Remote>, keys: Arc<dyn KeyStore>) -> OpenStore {
    OpenStore {
        remote: locked(config, remote, keys),
        moving: None,
    }
}

fn open_telegram(
    config: &Config,
    telegram: &TelegramSettings,
    keys: Arc<dyn KeyStore>,
) -> anyhow::Result<Arc<dyn Remote>> {
    let mut settings = telegram::settings(telegram).map_err(anyhow::Error::msg)?;
    if config.encryption.passphrase.is_some() {
        settings.publicity = Publicity::Harmless;
    }
    Ok(Arc::new(TelegramRemote::new(&settings, &keys)))
}

/// Opens the local store of a library that moves. The store must be there.
fn open_old(from: &Path) -> anyhow::Result<Arc<dyn Remote>> {
    if !from.join("library").exists() {
        bail!(
            "this state's library is in the local store {}, which is not there, or is empty: is its \
             disk mounted? Its files move to Telegram from there",
            from.display()
        );
    }
    Ok(Arc::new(LocalRemote::open(from)?))
}

fn noted(state: &Path) -> anyhow::Result<Option<PathBuf>> {
    match disk::read_regular(&state.join(NOTE)) {
        Ok(path) => Ok(Some(PathBuf::from(OsString::from_vec(path)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn locked(config: &Config, remote: Arc<dyn Remote>, keys: Arc<dyn KeyStore>) -> Arc<LockedRemote> {
    let encryption = &config.encryption;
    fn text(secret: Option<&Secret<String>>) -> Option<&str> {
        secret.map(|text| text.expose().as_str())
    }
    let passphrases = Passphrases::new(
        text(encryption.passphrase.as_ref()),
        text(encryption.old_passphrase.as_ref()),
    );
    LockedRemote::keeping(remote, passphrases, KdfCost::STANDARD, keys)
}
