//! A decorator that opens the library's key at the first use. A start therefore does not wait for the
//! remote.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::cipher::{KdfCost, Wrap};
use super::retry::{Deadline, retry};
use super::unlock::open_kept;
use super::{
    Cipher, ForeignFiles, ForeignLayer, KnownKey, LibraryMark, LogLayer, LogStore, PackLayer,
    PackStore, Passphrases, Remote, RemoteError, RemoteErrorKind, Underlying, Unlocked, unlock,
};
use crate::model::{Digest, KeyStore, KeyStoreError, LibraryId};

/// A remote whose calls open the library's key first, until that has succeeded once. A call fails with
/// the error of opening.
#[derive(Debug)]
pub struct LockedRemote {
    inner: Arc<dyn Remote>,
    passphrases: Passphrases,
    cost: KdfCost,
    unlocked: OnceCell<Unlocked>,
    /// Store for the wrap of the key. It serves starts while the remote is down, and protects the key
    /// from a replaced mark.
    keys: Option<Arc<dyn KeyStore>>,
    /// Cipher that opens blocks that are cached on this machine while the remote does not answer.
    kept: OnceCell<Cipher>,
}

/// The key in the key store; its bytes are stored.
const WRAP: &[u8] = b"wrap";
/// Prefix of keys with wraps that were replaced; their digests follow. They are never read by the program.
/// A person can take a key from there that a wrong decision would have lost.
const WRAP_BEFORE: &[u8] = b"wrap-before-";
/// Key whose value is the id of the library that had no key when the state was used with it last.
const NO_KEY: &[u8] = b"no-key";
/// Time without an answer after which cached blocks are opened with the kept wrap.
const KEPT_AFTER: Duration = Duration::from_secs(1);

impl LockedRemote {
    /// Makes a locked remote that keeps no wrap. `cost` is that of new wraps.
    #[must_use]
    pub fn new(inner: Arc<dyn Remote>, passphrases: Passphrases, cost: KdfCost) -> Arc<Self> {
        Arc::new(Self {
            inner,
            passphrases,
            cost,
            unlocked: OnceCell::new(),
            keys: None,
            kept: OnceCell::new(),
        })
    }

    /// Does the same as [`Self::new`], and keeps the wrap of the key in `keys`. Blocks that are cached on
    /// this machine can then be opened while the remote is down.
    #[must_use]
    pub fn keeping(
        inner: Arc<dyn Remote>,
        passphrases: Passphrases,
        cost: KdfCost,
        keys: Arc<dyn KeyStore>,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner,
            passphrases,
            cost,
            unlocked: OnceCell::new(),
            keys: Some(keys),
            kept: OnceCell::new(),
        })
    }

    async fn unlocked(&self) -> Result<&Unlocked, RemoteError> {
        self.unlocked
            .get_or_try_init(async || self.open().await)
            .await
    }

    async fn open(&self) -> Result<Unlocked, RemoteError> {
        let inner = Arc::clone(&self.inner);
        let known = self.known()?;
        let mut opening = std::pin::pin!(unlock(
            inner,
            &self.passphrases,
            self.cost,
            Deadline::Once,
            &known
        ));
        let opened = match tokio::time::timeout(KEPT_AFTER, &mut opening).await {
            Ok(opened) => opened,
            Err(_) => {
                self.open_kept().await;
                opening.await
            }
        };
        match opened {
            Ok(unlocked) => {
                for note in &unlocked.notes {
                    tracing::warn!("{note}");
                }
                self.keep_durable(&unlocked);
                Ok(unlocked)
            }
            Err(error) => {
                if error.is_retryable() {
                    self.open_kept().await;
                }
                Err(error)
            }
        }
    }

    async fn open_kept(&self) {
        let open = async || {
            let wrap = self.keys.as_ref()?.get(WRAP).ok()??;
            let key = open_kept(&wrap, &self.passphrases).await?;
            Some(Cipher::Keyed(key))
        };
        // After a failure the next call tries again.
        let _ = self
            .kept
            .get_or_try_init(async || open().await.ok_or(()))
            .await;
    }

    /// Returns what the state knows of the library's key.
    fn known(&self) -> Result<KnownKey, RemoteError> {
        let Some(keys) = &self.keys else {
            return Ok(KnownKey::Nothing);
        };
        let unknown = |error: KeyStoreError| {
            let op = "look up the library's key";
            RemoteError::new(RemoteErrorKind::Unavailable, op, error.to_string())
        };
        if let Some(wrap) = keys.get(WRAP).map_err(unknown)? {
            // A key that only a newer release can read is known all the same.
            let read = Wrap::decode(&wrap).map(KnownKey::Wrapped);
            return read.map_err(|error| {
                let op = "read the library's key in the state directory";
                RemoteError::new(RemoteErrorKind::Denied, op, error.to_string())
            });
        }
        let library = keys.get(NO_KEY).map_err(unknown)?;
        let library = library.and_then(|id| <[u8; 16]>::try_from(id).ok());
        Ok(library.map_or(KnownKey::Nothing, |id| {
            KnownKey::NoKey(LibraryId::from_bytes(id))
        }))
    }

    /// Keeps the wrap once the mark has it.
    fn keep_durable(&self, unlocked: &Unlocked) {
        let (Some(keys), Some(wrap)) = (&self.keys, unlocked.durable_wrap()) else {
            return;
        };
        if let Err(error) = keep(keys.as_ref(), wrap) {
            tracing::warn!(%error, "the library's wrapped key cannot be kept: while the store is down, cached blocks cannot be opened");
        }
    }

    /// Notes that the library has no key. Without the note a later passphrase is refused, because the mark
    /// could be forged.
    async fn note_no_key(&self, deadline: Deadline) -> Result<(), RemoteError> {
        let Some(keys) = &self.keys else {
            return Ok(());
        };
        if self.known()? != KnownKey::Nothing {
            return Ok(());
        }
        if let Some(mark) = retry(deadline, || self.inner.library()).await?
            && let Err(error) = keys.put(NO_KEY, mark.id.as_bytes())
        {
            tracing::warn!(%error, "it cannot be noted that the library is not encrypted");
        }
        Ok(())
    }

    /// Returns one trait of the opened remote; opens it first if necessary.
    fn opened<S: ?Sized + Sync>(&self, side: fn(&dyn Remote) -> &S) -> Underlying<'_, S> {
        match self.unlocked.get() {
            Some(unlocked) => Underlying::Ready(side(&*unlocked.remote)),
            None => Underlying::Opening(Box::pin(async move {
                Ok(side(&*self.unlocked().await?.remote))
            })),
        }
    }

    /// See [`Unlocked::settle`].
    ///
    /// # Errors
    /// The errors of [`Unlocked::settle`], and errors of opening the key.
    pub async fn settle(&self, deadline: Deadline) -> Result<(), RemoteError> {
        let unlocked = self.unlocked().await?;
        unlocked.settle(deadline).await?;
        self.keep_durable(unlocked);
        if !unlocked.is_encrypted() {
            self.note_no_key(deadline).await?;
        }
        Ok(())
    }
}

/// Keeps a wrap. The one before stays under another key.
fn keep(keys: &dyn KeyStore, wrap: &Bytes) -> Result<(), KeyStoreError> {
    // The values are compared first, because a write is durable and slow, and the wrap is nearly always
    // the same.
    match keys.get(WRAP)? {
        Some(kept) if kept == *wrap => return Ok(()),
        Some(kept) => {
            let digest = Digest::of(&kept);
            keys.put(&[WRAP_BEFORE, &digest.0[..8]].concat(), &kept)?;
        }
        None => {}
    }
    keys.put(WRAP, wrap)
}

impl PackLayer for LockedRemote {
    fn inner_packs(&self) -> &dyn PackStore {
        &*self.inner
    }
    fn open_packs(&self) -> Underlying<'_, dyn PackStore> {
        self.opened(|remote| remote)
    }
    /// Returns the cipher of the kept key before the remote has answered. It opens cached blocks. A pack
    /// that is sealed with it and turns out to need another cipher is not acknowledged.
    fn cipher(&self) -> &Cipher {
        match self.unlocked.get() {
            Some(unlocked) => unlocked.remote.cipher(),
            None => self.kept.get().unwrap_or(&Cipher::Plain),
        }
    }
}

#[async_trait::async_trait]
impl LogLayer for LockedRemote {
    fn inner_log(&self) -> &dyn LogStore {
        &*self.inner
    }
    fn open_log(&self) -> Underlying<'_, dyn LogStore> {
        self.opened(|remote| remote)
    }
    async fn create_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        let unlocked = self.unlocked().await?;
        unlocked.remote.create_library(mark).await?;
        self.keep_durable(unlocked);
        Ok(())
    }
}

impl ForeignLayer for LockedRemote {
    fn inner_foreign(&self) -> &dyn ForeignFiles {
        &*self.inner
    }
    fn open_foreign(&self) -> Underlying<'_, dyn ForeignFiles> {
        self.opened(|remote| remote)
    }
}

#[cfg(test)]
mod tests;
