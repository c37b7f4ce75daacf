//! A decorator that opens the library's key at the first use. A start therefore does not wait for the
//! remote.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::cipher::KdfCost;
use super::retry::Deadline;
use super::unlock::open_kept;
use super::{
    Cipher, ForeignFiles, ForeignLayer, LogLayer, LogStore, PackLayer, PackStore, Passphrases,
    Remote, RemoteError, Underlying, Unlocked, unlock,
};
use crate::model::KeyStore;

/// A remote whose calls open the library's key first, until that has succeeded once. A call fails with
/// the error of opening.
#[derive(Debug)]
pub struct LockedRemote {
    inner: Arc<dyn Remote>,
    passphrases: Passphrases,
    cost: KdfCost,
    unlocked: OnceCell<Unlocked>,
    /// Store for the wrap of the key, which serves starts while the remote is down.
    keys: Option<Arc<dyn KeyStore>>,
    /// Cipher that opens blocks that are cached on this machine while the remote does not answer.
    kept: OnceCell<Cipher>,
}

/// The key in the key store; its bytes are stored.
const WRAP: &[u8] = b"wrap";
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
        let mut opening =
            std::pin::pin!(unlock(inner, &self.passphrases, self.cost, Deadline::Once));
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
                self.keep(unlocked.wrap());
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

    fn keep(&self, wrap: Option<&Bytes>) {
        let Some(keys) = &self.keys else { return };
        // The values are compared first, because a write is durable and slow, and the wrap is nearly
        // always the same.
        let kept = keys.get(WRAP).and_then(|kept| match (kept, wrap) {
            (Some(kept), Some(wrap)) if kept == *wrap => Ok(()),
            (_, Some(wrap)) => keys.put(WRAP, wrap),
            (Some(_), None) => keys.remove(WRAP),
            (None, None) => Ok(()),
        });
        if let Err(error) = kept {
            tracing::warn!(%error, "the library's wrapped key cannot be kept: while the store is down, cached blocks cannot be opened");
        }
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
        self.unlocked().await?.settle(deadline).await
    }
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

impl LogLayer for LockedRemote {
    fn inner_log(&self) -> &dyn LogStore {
        &*self.inner
    }
    fn open_log(&self) -> Underlying<'_, dyn LogStore> {
        self.opened(|remote| remote)
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
