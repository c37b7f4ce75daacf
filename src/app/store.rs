//! Which store settings and state mean together. A state that began on a local one, and to which
//! bots were added, moves.

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

/// In the state directory: where the local store is from which packs are still being moved.
const NOTE: &str = "moving-from";
/// In the state directory: room for the pack that is being moved.
const WORKSHOP: &str = "moving";
/// How a local store describes itself.
const LOCAL: &str = "local:";

/// A store that is ready to be used, and the move that is under way.
#[derive(Debug, Clone)]
pub struct OpenStore {
    pub remote: Arc<LockedRemote>,
    pub moving: Option<Arc<Moving>>,
}

/// A library on its way from a local store to Telegram.
#[derive(Debug)]
pub struct Moving {
    pub remote: Arc<MovingRemote>,
    /// The local store.
    from: PathBuf,
    state: PathBuf,
}

impl Moving {
    /// Remembers, durably, where the local store is.
    ///
    /// # Errors
    /// What the disk says.
    pub fn note(&self) -> io::Result<()> {
        let from = self.from.as_os_str().as_bytes();
        disk::write_durably(&self.state.join(NOTE), |file| file.write_all(from))
    }

    /// An empty directory.
    ///
    /// # Errors
    /// What the disk says.
    pub fn workshop(&self) -> io::Result<PathBuf> {
        let workshop = self.state.join(WORKSHOP);
        remove_directory(&workshop)?;
        disk::make_private_directory(&workshop)?;
        Ok(workshop)
    }

    /// Nothing is needed from the local store any more: the next start does not look for it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn finish(&self) -> io::Result<()> {
        std::fs::remove_file(self.state.join(NOTE))?;
        remove_directory(&self.state.join(WORKSHOP))?;
        disk::sync_directory(&self.state)
    }

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

/// The store of a state whose own description of it is `own`, to be opened with the passphrase that
/// is set at its first use; it keeps in `keys` what it needs again at the next start. Once it is
/// known to be the state's, [`LockedRemote::settle`] makes a new passphrase hold.
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

/// As [`open`], with the log where it is: a library that has not begun to move does not.
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

/// The local store of a library that has one: it must be there.
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
    match std::fs::read(state.join(NOTE)) {
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
