//! A decorator that encrypts. Packs are sealed with its cipher before they reach it, and it seals objects
//! of the log itself. The wrap of the key is durable in the remote before the first encrypted byte.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::cipher::{LogForm, MasterKey, Wrap, log_form, open_log, seal_log};
use super::{
    Cipher, ForeignFiles, ForeignLayer, LibraryMark, LogLayer, LogObject, LogStore, PackLayer,
    PackStore, Remote, RemoteError, RemoteErrorKind, SealedPack,
};
use crate::codec::CodecError;
use crate::model::{LibraryId, PackAddress};

/// Place of the current wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrapIs {
    InTheMark,
    /// It must be stored there before anything else is written.
    New,
}

/// A remote of an encrypted library.
#[derive(Debug)]
pub struct EncryptedRemote {
    inner: Arc<dyn Remote>,
    key: MasterKey,
    cipher: Cipher,
    wrap: Bytes,
    plain_until: u64,
    /// Unset while there is no library yet.
    library: OnceLock<LibraryId>,
    /// Set once the mark has the wrap.
    kept: OnceCell<()>,
}

impl EncryptedRemote {
    /// # Errors
    /// None: a wrap can always be encoded.
    pub(super) fn new(
        inner: Arc<dyn Remote>,
        library: Option<LibraryId>,
        key: MasterKey,
        wrap: &Wrap,
        wrap_is: WrapIs,
    ) -> Result<Self, CodecError> {
        Ok(Self {
            inner,
            cipher: Cipher::Keyed(key.clone()),
            key,
            wrap: wrap.encode()?.into(),
            plain_until: wrap.plain_until(),
            library: library.map(OnceLock::from).unwrap_or_default(),
            kept: OnceCell::new_with((wrap_is == WrapIs::InTheMark).then_some(())),
        })
    }

    /// Returns the wrap of its key, as it is or will be in the mark.
    pub(super) const fn wrap(&self) -> &Bytes {
        &self.wrap
    }

    /// Returns true if the mark has the wrap.
    pub(super) fn is_wrap_kept(&self) -> bool {
        self.kept.initialized()
    }

    fn mark(&self, id: LibraryId) -> LibraryMark {
        LibraryMark {
            id,
            wrap: Some(self.wrap.clone()),
        }
    }

    /// Stores the wrap in the library's mark if it is not there. Bytes must not be written with a key that
    /// could not be unwrapped again. May be repeated after an error.
    ///
    /// # Errors
    /// The error of updating the mark.
    pub(super) async fn keep_wrap(&self) -> Result<(), RemoteError> {
        let keep = async || {
            let library = self.library.get().ok_or_else(|| {
                RemoteError::new(
                    RemoteErrorKind::Invalid,
                    format!("encrypt for {}", self.inner.describe()),
                    "it holds no library yet",
                )
            })?;
            self.inner.update_library(&self.mark(*library)).await
        };
        self.kept.get_or_try_init(keep).await?;
        Ok(())
    }
}

fn corrupt(object: LogObject, message: &str) -> RemoteError {
    log_error(RemoteErrorKind::Corrupt, object, message)
}

fn log_error(kind: RemoteErrorKind, object: LogObject, message: &str) -> RemoteError {
    let op = format!(
        "read the library's log ({:?} {})",
        object.kind, object.number
    );
    RemoteError::new(kind, op, message)
}

#[async_trait::async_trait]
impl PackLayer for EncryptedRemote {
    fn inner_packs(&self) -> &dyn PackStore {
        &*self.inner
    }
    fn cipher(&self) -> &Cipher {
        &self.cipher
    }
    async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError> {
        if !pack.table().is_encrypted() {
            return Err(RemoteError::new(
                RemoteErrorKind::Invalid,
                format!("put pack {}", pack.id),
                "it is not encrypted, and this library is",
            ));
        }
        self.keep_wrap().await?;
        self.inner.put(pack).await
    }
}

#[async_trait::async_trait]
impl LogLayer for EncryptedRemote {
    fn inner_log(&self) -> &dyn LogStore {
        &*self.inner
    }
    async fn create_library(&self, mark: &LibraryMark) -> Result<(), RemoteError> {
        self.inner.create_library(&self.mark(mark.id)).await?;
        // It is set to the same value already when the answer to a first attempt was lost.
        let _ = self.library.set(mark.id);
        let _ = self.kept.set(());
        Ok(())
    }
    async fn append_log(&self, object: LogObject, bytes: Bytes) -> Result<(), RemoteError> {
        self.keep_wrap().await?;
        let sealed = seal_log(&self.key, &self.wrap, object, &bytes).map_err(|_| {
            log_error(
                RemoteErrorKind::Invalid,
                object,
                "it is too long to be encrypted",
            )
        })?;
        self.inner.append_log(object, sealed).await
    }
    async fn read_log(&self, object: LogObject) -> Result<Bytes, RemoteError> {
        let bytes = self.inner.read_log(object).await?;
        match log_form(&bytes) {
            LogForm::Sealed { .. } => open_log(&self.key, object, bytes)
                .map_err(|_| corrupt(object, "it is not what was written, or not by this library")),
            LogForm::Torn => Err(corrupt(object, "it is cut off")),
            LogForm::Newer => Err(log_error(
                RemoteErrorKind::Foreign,
                object,
                "it was encrypted by a newer program; use a newer tgfs",
            )),
            // Anybody who can write to the remote could forge an unencrypted object.
            LogForm::Plain if object.number > self.plain_until => Err(corrupt(
                object,
                "it is not encrypted, and this library has been since before it",
            )),
            LogForm::Plain => Ok(bytes),
        }
    }
}

impl ForeignLayer for EncryptedRemote {
    fn inner_foreign(&self) -> &dyn ForeignFiles {
        &*self.inner
    }
}

#[cfg(test)]
mod tests;
