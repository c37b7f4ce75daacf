//! A decorator that keeps a second copy of each pack. It is the model of a decorator that changes packs
//! only.

use std::sync::Arc;

use bytes::Bytes;

use super::super::{
    ForeignFiles, ForeignLayer, IsKnown, LogLayer, LogStore, PackLayer, PackStore, Remote,
    RemoteError, Removal, SealedPack, Urgency,
};
use crate::model::{ByteRange, PackAddress, PackRef};

/// A remote whose packs are also in a second store, which finds them by their ids.
#[derive(Debug)]
pub struct MirrorRemote {
    first: Arc<dyn Remote>,
    second: Arc<dyn PackStore>,
}

impl MirrorRemote {
    /// Adds `second` to `first`, which keeps the log and gives the packs their addresses.
    #[must_use]
    pub const fn new(first: Arc<dyn Remote>, second: Arc<dyn PackStore>) -> Self {
        Self { first, second }
    }
}

#[async_trait::async_trait]
impl PackLayer for MirrorRemote {
    fn inner_packs(&self) -> &dyn PackStore {
        &*self.first
    }
    /// Copies a pack that the first store has acknowledged. The pack counts as stored when both have it.
    async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError> {
        let address = self.first.put(pack).await?;
        self.second.put(pack).await?;
        Ok(address)
    }
    /// Reads from the second store when the first one fails. When both fail, the first error counts.
    async fn get(
        &self,
        pack: &PackRef,
        range: ByteRange,
        urgency: Urgency,
    ) -> Result<Bytes, RemoteError> {
        match self.first.get(pack, range, urgency).await {
            Ok(bytes) => Ok(bytes),
            Err(error) => {
                let copy = self.second.get(pack, range, urgency).await;
                copy.map_err(|_| error)
            }
        }
    }
    async fn delete(&self, pack: &PackRef) -> Result<Removal, RemoteError> {
        self.second.delete(pack).await?;
        self.first.delete(pack).await
    }
    async fn delete_unnamed(&self, is_known: &IsKnown) -> Result<u64, RemoteError> {
        let copies = self.second.delete_unnamed(is_known).await?;
        Ok(copies + self.first.delete_unnamed(is_known).await?)
    }
}

impl LogLayer for MirrorRemote {
    fn inner_log(&self) -> &dyn LogStore {
        &*self.first
    }
}

impl ForeignLayer for MirrorRemote {
    fn inner_foreign(&self) -> &dyn ForeignFiles {
        &*self.first
    }
}
