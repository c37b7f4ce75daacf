//! Opens a library's key with the passphrases of the settings, and returns a remote that encrypts or does
//! not encrypt. Nothing is written before [`Unlocked::settle`]. Whoever may write to the store can replace
//! the library's mark, so what the state knows of the key counts more than what the mark says.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use zeroize::Zeroizing;

use super::cipher::{KdfCost, LogForm, MasterKey, Wrap, WrapError, log_form};
use super::encrypted::{EncryptedRemote, WrapIs};
use super::retry::{Deadline, retry};
use super::{LibraryMark, LogKind, LogObject, Remote, RemoteError, RemoteErrorKind};
use crate::codec::CodecError;
use crate::model::LibraryId;

/// Most different wraps of the log that are tried. Each try takes the time that its wrap asks for.
const MAX_TRIED_WRAPS: usize = 16;
/// Objects of the log that are read side by side.
const READ_AHEAD: usize = 8;

const MISSING: &str = "this library is encrypted: set TGFS_PASSPHRASE";
const WRONG: &str = "TGFS_PASSPHRASE is not the passphrase of this library; nothing was changed. \
    If it is to be a new one, set the one before as TGFS_PASSPHRASE_OLD";
const KEYLESS: &str = "its library has no key, and TGFS_PASSPHRASE is set: either somebody who may write \
    there replaced the library's mark, or the library was never encrypted. If it never was, and its files \
    are those that you expect, start once without TGFS_PASSPHRASE and then set it; nothing was changed";
const OTHER_KEY: &str = "its library has another key than the one that this state knows, so somebody \
    replaced the library's mark; nothing was changed";
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

/// What a state knows of the key of its library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownKey {
    /// Nothing: the state is new, or lost its rows.
    Nothing,
    /// This library had no key when the state was used with it last.
    NoKey(LibraryId),
    /// The library has this key, wrapped by the last passphrase that the state was opened with.
    Wrapped(Wrap),
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
    /// Returns the wrap of the library's key if the mark holds it; `None` before that, and for a library
    /// that is not encrypted.
    pub(super) fn durable_wrap(&self) -> Option<&Bytes> {
        let encrypted = self.encrypted.as_ref()?;
        encrypted.is_wrap_kept().then(|| encrypted.wrap())
    }

    /// Returns true if the library has a key.
    pub(super) const fn is_encrypted(&self) -> bool {
        self.encrypted.is_some()
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
/// A key that the state knows is never replaced: it is put back when the mark has lost it, and another key
/// is refused. A library without a key gets one only from a state that knows it without one, since its
/// mark may be forged.
///
/// # Errors
/// Errors of reading the mark and the log; [`RemoteErrorKind::Denied`] when the library is encrypted and the
/// passphrase is missing or wrong, or when store and state disagree about its key.
pub async fn unlock(
    remote: Arc<dyn Remote>,
    passphrases: &Passphrases,
    cost: KdfCost,
    deadline: Deadline,
    known: &KnownKey,
) -> Result<Unlocked, RemoteError> {
    let mark = retry(deadline, || remote.library()).await?;
    let opening = LibraryOpening {
        remote,
        passphrases,
        cost,
        deadline,
        known,
    };
    let Some(mark) = mark else {
        return opening.begin_library().await;
    };
    opening.check_form(&mark)?;
    if passphrases.current.is_none() {
        return match (&mark.wrap, known) {
            (None, KnownKey::Nothing | KnownKey::NoKey(_)) => Ok(opening.plain()),
            _ => Err(opening.error(RemoteErrorKind::Denied, MISSING)),
        };
    }
    let found = opening.find_wraps(&mark).await?;
    if !found.is_empty() {
        return opening.open(Some(&mark), found).await;
    }
    match known {
        KnownKey::NoKey(library) if *library == mark.id => opening.begin_encryption(&mark).await,
        _ => Err(opening.error(RemoteErrorKind::Denied, KEYLESS)),
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
    known: &'a KnownKey,
}

/// A library's wrap, and its place.
#[derive(Debug, Clone)]
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
        if let KnownKey::Wrapped(wrap) = self.known {
            // The library is gone from the store, which is judged elsewhere. Its key stays the same.
            let known = LocatedWrap {
                wrap: wrap.clone(),
                wrap_is: WrapIs::New,
            };
            return self.open(None, vec![known]).await;
        }
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

    /// Refuses a mark whose wrap a newer program wrote.
    fn check_form(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        match mark.wrap.as_deref().map(Wrap::decode) {
            Some(Err(error @ CodecError::NewerVersion { .. })) => {
                Err(self.error(RemoteErrorKind::Foreign, &error.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Returns the wrap in the mark. When it is damaged or absent, returns the one that the state knows, and
    /// then those of the log, newest first.
    async fn find_wraps(&self, mark: &LibraryMark) -> Result<Vec<LocatedWrap>, RemoteError> {
        let damage = match mark.wrap.as_deref().map(Wrap::decode) {
            Some(Ok(wrap)) => {
                return Ok(vec![LocatedWrap {
                    wrap,
                    wrap_is: WrapIs::InTheMark,
                }]);
            }
            Some(Err(error)) => Some(error),
            None => None,
        };
        let mut wraps = Vec::new();
        if let KnownKey::Wrapped(wrap) = self.known {
            wraps.push(wrap.clone());
            if self.opens(wrap).await {
                return Ok(lost(wraps));
            }
        }
        wraps.extend(self.wraps_in_log().await?);
        match damage {
            Some(error) if wraps.is_empty() => Err(self.error(
                RemoteErrorKind::Corrupt,
                &format!("its key is damaged ({error}), and no manifest holds it either"),
            )),
            _ => Ok(lost(wraps)),
        }
    }

    /// Tells whether one of the passphrases opens a wrap.
    async fn opens(&self, wrap: &Wrap) -> bool {
        self.key_in(wrap).await.is_some()
    }

    /// Returns the key of a wrap, if one of the passphrases opens it.
    async fn key_in(&self, wrap: &Wrap) -> Option<MasterKey> {
        let passphrases = [&self.passphrases.current, &self.passphrases.old];
        for passphrase in passphrases.into_iter().flatten() {
            if let Ok(Some(key)) = self.unwrap(wrap, passphrase).await {
                return Some(key);
            }
        }
        None
    }

    /// Lists the objects of the log, newest first.
    async fn log(&self) -> Result<Vec<LogObject>, RemoteError> {
        let list = |kind| retry(self.deadline, move || self.remote.list_log(kind, 0));
        let mut objects = list(LogKind::Manifest).await?;
        objects.extend(list(LogKind::Snapshot).await?);
        objects.sort_unstable_by_key(|object| std::cmp::Reverse(object.number));
        Ok(objects)
    }

    /// Returns the different wraps in all of the log, newest first. Objects that anybody put behind ours
    /// must not hide our wrap, so the search does not end at the first one.
    async fn wraps_in_log(&self) -> Result<Vec<Wrap>, RemoteError> {
        let reads = self.log().await?.into_iter().map(|object| async move {
            retry(self.deadline, || self.remote.read_log(object)).await
        });
        let mut reads = stream::iter(reads).buffered(READ_AHEAD);
        let mut wraps: Vec<Wrap> = Vec::new();
        while let Some(read) = reads.next().await {
            let bytes: Bytes = match read {
                Ok(bytes) => bytes,
                Err(error) if error.is_retryable() => return Err(error),
                Err(_) => continue,
            };
            if let LogForm::Sealed { wrap, .. } = log_form(&bytes)
                && let Ok(wrap) = Wrap::decode(wrap)
                && !wraps.contains(&wrap)
            {
                if self.opens(&wrap).await {
                    return Ok(vec![wrap]);
                }
                wraps.push(wrap);
                if wraps.len() == MAX_TRIED_WRAPS {
                    break;
                }
            }
        }
        Ok(wraps)
    }

    /// Opens the first of these wraps that a passphrase opens.
    async fn open(
        self,
        mark: Option<&LibraryMark>,
        found: Vec<LocatedWrap>,
    ) -> Result<Unlocked, RemoteError> {
        let Some(current) = &self.passphrases.current else {
            return Err(self.error(RemoteErrorKind::Denied, MISSING));
        };
        for found in &found {
            if let Some(key) = self.unwrap(&found.wrap, current).await? {
                self.refuse_other_key(&key, found).await?;
                let mut notes = self.restored(mark, found);
                if self.passphrases.old.is_some() {
                    notes.push("TGFS_PASSPHRASE_OLD is no longer needed; unset it".to_owned());
                }
                return self.encrypted(mark, key, found, notes);
            }
        }
        let Some(old) = &self.passphrases.old else {
            return Err(self.error(RemoteErrorKind::Denied, WRONG));
        };
        for found in &found {
            if let Some(key) = self.unwrap(&found.wrap, old).await? {
                self.refuse_other_key(&key, found).await?;
                let mut notes = self.restored(mark, found);
                let changed = LocatedWrap {
                    wrap: self.wrap(&key, current, found.wrap.plain_until()).await?,
                    wrap_is: WrapIs::New,
                };
                notes.push(
                    "the passphrase was changed: from the next start on TGFS_PASSPHRASE alone is needed"
                        .to_owned(),
                );
                return self.encrypted(mark, key, &changed, notes);
            }
        }
        Err(self.error(RemoteErrorKind::Denied, BOTH_WRONG))
    }

    fn restored(&self, mark: Option<&LibraryMark>, found: &LocatedWrap) -> Vec<String> {
        if mark.is_none() || found.wrap_is == WrapIs::InTheMark {
            return Vec::new();
        }
        vec![format!(
            "the mark of the library in {} had lost its key, as when somebody replaces it who may write \
             there; the key is put back",
            self.remote.describe()
        )]
    }

    /// Refuses a key that is not the known one. A known key that the passphrases do not open says nothing:
    /// the passphrase was changed by another state.
    async fn refuse_other_key(
        &self,
        key: &MasterKey,
        found: &LocatedWrap,
    ) -> Result<(), RemoteError> {
        let KnownKey::Wrapped(known) = self.known else {
            return Ok(());
        };
        if *known == found.wrap {
            return Ok(());
        }
        match self.key_in(known).await {
            Some(known) if !known.is(key) => Err(self.error(RemoteErrorKind::Denied, OTHER_KEY)),
            _ => Ok(()),
        }
    }
}

/// Returns wraps that the mark does not hold.
fn lost(wraps: Vec<Wrap>) -> Vec<LocatedWrap> {
    let lost = |wrap| LocatedWrap {
        wrap,
        wrap_is: WrapIs::New,
    };
    wraps.into_iter().map(lost).collect()
}

#[cfg(test)]
mod tests;
