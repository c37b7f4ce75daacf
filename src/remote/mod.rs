//! Packs out and in. SKELETON: signatures only.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{BlockIndex, ByteRange, PackAddress, PackId, PackRef};

#[derive(Debug, thiserror::Error)]
#[error("remote")]
pub struct RemoteError {}

#[async_trait::async_trait]
#[allow(clippy::missing_errors_doc)]
pub trait Remote: std::fmt::Debug + Send + Sync + 'static {
    /// For people: `local:DIR`.
    fn describe(&self) -> String;
    async fn put(&self, pack: &SealedPack) -> Result<PackAddress, RemoteError>;
    /// Exactly `range.len` bytes, or an error.
    async fn get(&self, pack: &PackRef, range: ByteRange) -> Result<Bytes, RemoteError>;
    /// Deleting what is not there is success.
    async fn delete(&self, pack: &PackRef) -> Result<(), RemoteError>;
    // + the log of manifests and snapshots
}

/// One run of bytes that goes into a pack.
#[derive(Debug, Clone)]
pub struct PackInput {
    pub path: PathBuf,
    pub offset: u64,
    pub len: u64,
}

/// A pack whose id, table and digests are fixed; its bytes are still read from the spool.
#[derive(Debug)]
pub struct SealedPack {
    pub id: PackId,
}
#[allow(unused_variables, clippy::missing_errors_doc)]
impl SealedPack {
    /// Reads all inputs once (blocking) and computes the table.
    pub fn seal(inputs: Vec<PackInput>) -> std::io::Result<Self> {
        unimplemented!()
    }
}

/// The digests of a pack's blocks.
#[derive(Debug, Clone)]
pub struct PackTable {}

/// Puts a pack with retries, reads back its first, last and one random block, and only then says
/// where it is.
#[allow(unused_variables, clippy::missing_errors_doc)]
pub async fn store_pack(
    remote: &Arc<dyn Remote>,
    pack: &SealedPack,
) -> Result<PackRef, RemoteError> {
    unimplemented!()
}
#[allow(unused_variables, clippy::missing_errors_doc)]
pub async fn fetch_table(
    remote: &Arc<dyn Remote>,
    pack: &PackRef,
) -> Result<PackTable, RemoteError> {
    unimplemented!()
}
/// One verified block (512 KiB, the last one of the data shorter).
#[allow(unused_variables, clippy::missing_errors_doc)]
pub async fn fetch_block(
    remote: &Arc<dyn Remote>,
    pack: &PackRef,
    table: &PackTable,
    block: BlockIndex,
) -> Result<Bytes, RemoteError> {
    unimplemented!()
}
