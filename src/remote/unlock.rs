//! Opens a library's key with the passphrases of the settings, and returns a remote that encrypts or does
//! not encrypt. Nothing is written before [`Unlocked::settle`].

use std::sync::Arc;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::cipher::{KdfCost, LogForm, MasterKey, Wrap, WrapError, log_form};
use super::encrypted::{EncryptedRemote, WrapIs};
use super::retry::{Deadline, retry};
use super::{LibraryMark, LogKind, LogObject, Remote, RemoteError, RemoteErrorKind};
use crate::codec::CodecError;

/// Number of the newest objects of the log that are searched for a wrap.
const SEARCHED_OBJECTS: usize = 16;

const MISSING: &str = "this library is encrypted: set TGFS_PASSPHRASE";
const WRONG: &str = "TGFS_PASSPHRASE is not the passphrase of this library; nothing was changed. \
    If it is to be a new one, set the one before as TGFS_PASSPHRASE_OLD";
const BOTH_WRONG: &str = "neither TGFS_PASSPHRASE nor TGFS_PASSPHRASE_OLD is the passphrase of \
    this library; nothing was changed";

/// The passphrases of the settings; never printed.
#[derive(Clone, Default)]
pub struct Passphrases {
    current: Option<Zeroizing<Vec<u8>>>,
    old: Option<Zeroizing<Vec<u8>>>,
}

impl Passphrases {
    /// Copies the passphrases. `old` is the previous one, while the passphrase is being changed.
    #[must_use]
    pub fn new(current: Option<&str>, old: Option<&str>) -> Self {
        let owned = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        Self {
            current: current.map(owned),
            old: old.map(owned),
        }
    }
}

impl std::fmt::Debug for Passphrases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrases(********)")
    }
}

/// A remote that is ready for use.
#[derive(Debug)]
pub struct Unlocked {
    pub remote: Arc<dyn Remote>,
    /// Messages for the user.
    pub notes: Vec<String>,
    encrypted: Option<Arc<EncryptedRemote>>,
}

impl Unlocked {
    /// Returns the wrap of the library's key; `None` for a library that is not encrypted.
    pub(super) fn wrap(&self) -> Option<&Bytes> {
        self.encrypted.as_ref().map(|encrypted| encrypted.wrap())
    }

    /// Stores the wrap of a new passphrase, or of the first one. Must be called when state and library are
    /// known to belong together. The first write does the same.
    ///
    /// # Errors
    /// The error of updating the mark.
    pub async fn settle(&self, deadline: Deadline) -> Result<(), RemoteError> {
        match &self.encrypted {
            Some(encrypted) => retry(deadline, || encrypted.keep_wrap()).await,
            None => Ok(()),
        }
    }
}

/// Opens the library's key, or makes one when there is none yet and a passphrase is set. `cost` is that
/// of new wraps.
///
/// # Errors
/// Errors of reading the mark and the log; [`RemoteErrorKind::Denied`] when the library is encrypted and the
/// passphrase is missing or wrong.
pub async fn unlock(
    remote: Arc<dyn Remote>,
    passphrases: &Passphrases,
    cost: KdfCost,
    deadline: Deadline,
) -> Result<Unlocked, RemoteError> {
    let mark = retry(deadline, || remote.library()).await?;
    let opening = LibraryOpening {
        remote,
        passphrases,
        cost,
        deadline,
    };
    let Some(mark) = mark else {
        return opening.begin_library().await;
    };
    match opening.find_wrap(&mark).await? {
        Some(found) => opening.open(&mark, found).await,
        None => opening.begin_encryption(&mark).await,
    }
}

/// Returns the key of a kept wrap, if the passphrase opens it.
pub(super) async fn open_kept(wrap: &[u8], passphrases: &Passphrases) -> Option<MasterKey> {
    let wrap = Wrap::decode(wrap).ok()?;
    let passphrase = passphrases.current.clone()?;
    let opening = tokio::task::spawn_blocking(move || wrap.open(&passphrase).ok());
    opening.await.ok()?
}

struct LibraryOpening<'a> {
    remote: Arc<dyn Remote>,
    passphrases: &'a Passphrases,
    cost: KdfCost,
    deadline: Deadline,
}

/// A library's wrap, and its place.
struct LocatedWrap {
    wrap: Wrap,
    wrap_is: WrapIs,
}

impl LibraryOpening<'_> {
    fn plain(self) -> Unlocked {
        Unlocked {
            remote: self.remote,
            notes: Vec::new(),
            encrypted: None,
        }
    }

    fn encrypted(
        self,
        mark: Option<&LibraryMark>,
        key: MasterKey,
        found: &LocatedWrap,
        notes: Vec<String>,
    ) -> Result<Unlocked, RemoteError> {
        let library = mark.map(|mark| mark.id);
        let inner = Arc::clone(&self.remote);
        let encrypted = EncryptedRemote::new(inner, library, key, &found.wrap, found.wrap_is)
            .map_err(|error| self.error(RemoteErrorKind::Invalid, &error.to_string()))?;
        let encrypted = Arc::new(encrypted);
        Ok(Unlocked {
            remote: Arc::<EncryptedRemote>::clone(&encrypted),
            notes,
            encrypted: Some(encrypted),
        })
    }

    fn error(&self, kind: RemoteErrorKind, message: &str) -> RemoteError {
        let op = format!("open the library in {}", self.remote.describe());
        RemoteError::new(kind, op, message)
    }

    fn wrap_error(&self, error: WrapError) -> RemoteError {
        let kind = match &error {
            WrapError::WrongPassphrase => RemoteErrorKind::Denied,
            WrapError::TooCostly { .. } | WrapError::Codec(_) => RemoteErrorKind::Corrupt,
            WrapError::Derivation(_) | WrapError::Random(_) => RemoteErrorKind::Invalid,
        };
        self.error(kind, &error.to_string())
    }

    async fn begin_library(self) -> Result<Unlocked, RemoteError> {
        let Some(passphrase) = &self.passphrases.current else {
            return Ok(self.plain());
        };
        let (key, wrap) = self.new_key(passphrase, 0).await?;
        let found = LocatedWrap {
            wrap,
            wrap_is: WrapIs::New,
        };
        self.encrypted(None, key, &found, Vec::new())
    }

    async fn begin_encryption(self, mark: &LibraryMark) -> Result<Unlocked, RemoteError> {
        let Some(passphrase) = &self.passphrases.current else {
            return Ok(self.plain());
        };
        let newest = self.log().await?.first().map_or(0, |object| object.number);
        let (key, wrap) = self.new_key(passphrase, newest).await?;
        let found = LocatedWrap {
            wrap,
            wrap_is: WrapIs::New,
        };
        let note = format!(
            "{} was not encrypted until now: what is stored from now on is, what was stored before \
             stays readable for whoever can read the store",
            self.remote.describe()
        );
        self.encrypted(Some(mark), key, &found, vec![note])
    }

    async fn new_key(
        &self,
        passphrase: &Zeroizing<Vec<u8>>,
        plain_until: u64,
    ) -> Result<(MasterKey, Wrap), RemoteError> {
        let key = MasterKey::random().map_err(|error| self.wrap_error(WrapError::Random(error)))?;
        let wrap = self.wrap(&key, passphrase, plain_until).await?;
        Ok((key, wrap))
    }

    async fn wrap(
        &self,
        key: &MasterKey,
        passphrase: &Zeroizing<Vec<u8>>,
        plain_until: u64,
    ) -> Result<Wrap, RemoteError> {
        let (key, passphrase, cost) = (key.clone(), passphrase.clone(), self.cost);
        self.blocking(move || Wrap::seal(&key, &passphrase, cost, plain_until))
            .await?
            .map_err(|error| self.wrap_error(error))
    }

    async fn unwrap(
        &self,
        wrap: &Wrap,
        passphrase: &Zeroizing<Vec<u8>>,
    ) -> Result<Option<MasterKey>, RemoteError> {
        let (wrap, passphrase) = (wrap.clone(), passphrase.clone());
        match self.blocking(move || wrap.open(&passphrase)).await? {
            Ok(key) => Ok(Some(key)),
            Err(WrapError::WrongPassphrase) => Ok(None),
            Err(error) => Err(self.wrap_error(error)),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RemoteError> {
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| self.error(RemoteErrorKind::Unavailable, &error.to_string()))
    }

    /// Returns the wrap in the mark. When it is damaged, or absent although a passphrase is set, returns
    /// the wrap of the newest object of the log that has one.
    async fn find_wrap(&self, mark: &LibraryMark) -> Result<Option<LocatedWrap>, RemoteError> {
        let damage = match mark.wrap.as_deref().map(Wrap::decode) {
            Some(Ok(wrap)) => {
                return Ok(Some(LocatedWrap {
                    wrap,
                    wrap_is: WrapIs::InTheMark,
                }));
            }
            Some(Err(error @ CodecError::NewerVersion { .. })) => {
                return Err(self.error(RemoteErrorKind::Foreign, &error.to_string()));
            }
            Some(Err(error)) => Some(error),
            None if self.passphrases.current.is_none() => return Ok(None),
            None => None,
        };
        match (self.wrap_in_log().await?, damage) {
            (Some(wrap), _) => Ok(Some(LocatedWrap {
                wrap,
                wrap_is: WrapIs::New,
            })),
            (None, None) => Ok(None),
            (None, Some(error)) => Err(self.error(
                RemoteErrorKind::Corrupt,
                &format!("its key is damaged ({error}), and no manifest holds it either"),
            )),
        }
    }

    /// Lists the objects of the log, newest first.
    async fn log(&self) -> Result<Vec<LogObject>, RemoteError> {
        let list = |kind| retry(self.deadline, move || self.remote.list_log(kind, 0));
        let mut objects = list(LogKind::Manifest).await?;
        objects.extend(list(LogKind::Snapshot).await?);
        objects.sort_unstable_by_key(|object| std::cmp::Reverse(object.number));
        Ok(objects)
    }

    async fn wrap_in_log(&self) -> Result<Option<Wrap>, RemoteError> {
        for object in self.log().await?.into_iter().take(SEARCHED_OBJECTS) {
            let bytes: Bytes = match retry(self.deadline, || self.remote.read_log(object)).await {
                Ok(bytes) => bytes,
                Err(error) if error.is_retryable() => return Err(error),
                Err(_) => continue,
            };
            if let LogForm::Sealed { wrap, .. } = log_form(&bytes)
                && let Ok(wrap) = Wrap::decode(wrap)
            {
                return Ok(Some(wrap));
            }
        }
        Ok(None)
    }

    async fn open(self, mark: &LibraryMark, found: LocatedWrap) -> Result<Unlocked, RemoteError> {
        let Some(current) = &self.passphrases.current else {
            return Err(self.error(RemoteErrorKind::Denied, MISSING));
        };
        let mut notes = Vec::new();
        if found.wrap_is == WrapIs::New {
            notes.push(format!(
                "the mark of the library in {} had lost its key; it is put back from the log",
                self.remote.describe()
            ));
        }
        if let Some(key) = self.unwrap(&found.wrap, current).await? {
            if self.passphrases.old.is_some() {
                notes.push("TGFS_PASSPHRASE_OLD is no longer needed; unset it".to_owned());
            }
            return self.encrypted(Some(mark), key, &found, notes);
        }
        let Some(old) = &self.passphrases.old else {
            return Err(self.error(RemoteErrorKind::Denied, WRONG));
        };
        let Some(key) = self.unwrap(&found.wrap, old).await? else {
            return Err(self.error(RemoteErrorKind::Denied, BOTH_WRONG));
        };
        let changed = LocatedWrap {
            wrap: self.wrap(&key, current, found.wrap.plain_until()).await?,
            wrap_is: WrapIs::New,
        };
        notes.push(
            "the passphrase was changed: from the next start on TGFS_PASSPHRASE alone is needed"
                .to_owned(),
        );
        self.encrypted(Some(mark), key, &changed, notes)
    }
}

#[cfg(test)]
mod tests;
