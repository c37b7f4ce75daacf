//! Packs with their checks. A pack is acknowledged after it was read back. A block is returned after it
//! was compared with its digest or tag.

use std::sync::Arc;

use bytes::Bytes;

use super::pack::{PACK_MAGIC, PackError, PackTable, SealedPack, TRAILER_BYTES};
use super::retry::{Deadline, retry_telling};
use super::{Cipher, Remote, RemoteError, RemoteErrorKind, Urgency};
use crate::codec::MAX_PAYLOAD_BYTES;
use crate::model::{BLOCK_BYTES, BlockIndex, ByteRange, Digest, PackAddress, PackRef};

/// Stores a pack, reads back its size, its table, its first, last and one random block, and returns
/// where it is. Retries for as long as the remote is down.
///
/// # Errors
/// Errors that a retry does not cure. [`RemoteErrorKind::Corrupt`] when the pack came back different; the
/// object is deleted then.
pub async fn store_pack(
    remote: &Arc<dyn Remote>,
    pack: &SealedPack,
) -> Result<PackRef, RemoteError> {
    store_pack_telling(remote, pack, &|_| {}).await
}

/// Does the same as [`store_pack`], and calls `tell` with each error before a retry.
///
/// # Errors
/// See [`store_pack`].
pub async fn store_pack_telling(
    remote: &Arc<dyn Remote>,
    pack: &SealedPack,
    tell: &(dyn Fn(&RemoteError) + Sync),
) -> Result<PackRef, RemoteError> {
    let address = retry_telling(Deadline::None, tell, || remote.put(pack)).await?;
    let stored = reference(pack, address);
    match read_back(remote, pack, &stored, tell).await {
        Ok(()) => Ok(stored),
        Err(error) => {
            if error.kind == RemoteErrorKind::Corrupt {
                // The caller retries with a new pack. This one must not stay.
                if let Err(left) = remote.delete(&stored).await {
                    tracing::warn!(%left, "a pack that came back wrong cannot be deleted");
                }
            }
            Err(error)
        }
    }
}

fn reference(pack: &SealedPack, address: PackAddress) -> PackRef {
    PackRef {
        id: pack.id,
        address,
        data_len: pack.data_len(),
        len: pack.len(),
        table_digest: pack.table_digest(),
    }
}

async fn read_back(
    remote: &Arc<dyn Remote>,
    pack: &SealedPack,
    stored: &PackRef,
    tell: &(dyn Fn(&RemoteError) + Sync),
) -> Result<(), RemoteError> {
    // They run in parallel: each is a round trip, and a small pack takes hardly more than these.
    let (size, table) = futures_util::future::try_join(
        retry_telling(Deadline::None, tell, || remote.size(stored)),
        retry_telling(Deadline::None, tell, || fetch_table(remote, stored)),
    )
    .await?;
    if size != stored.len {
        return Err(corrupt(
            stored,
            format!("it has {size} bytes instead of {}", stored.len),
        ));
    }
    if table != *pack.table() {
        return Err(corrupt(stored, "its table differs".into()));
    }
    let count = table.block_count();
    let mut blocks = vec![0, count.saturating_sub(1), random_below(count)];
    blocks.sort_unstable();
    blocks.dedup();
    let table = &table;
    let checks = blocks.into_iter().filter(|block| *block < count);
    let checks = checks.map(|block| {
        retry_telling(Deadline::None, tell, move || {
            fetch_block(remote, stored, table, BlockIndex(block))
        })
    });
    futures_util::future::try_join_all(checks).await?;
    Ok(())
}

fn random_below(count: u32) -> u32 {
    // Without random numbers the first block is read twice, which checks less and breaks nothing.
    getrandom::u32()
        .unwrap_or(0)
        .checked_rem(count)
        .unwrap_or(0)
}

fn corrupt(pack: &PackRef, message: String) -> RemoteError {
    RemoteError::new(
        RemoteErrorKind::Corrupt,
        format!("read pack {}", pack.id),
        message,
    )
}

fn bad(pack: &PackRef, error: PackError) -> RemoteError {
    let mut bad = corrupt(pack, error.to_string());
    if matches!(error, PackError::NeedsKey(_)) {
        bad.kind = RemoteErrorKind::Denied;
    }
    bad.with_source(error)
}

/// Reads the pack's table and checks it against the digest in the pack's reference.
///
/// # Errors
/// The error of the read, or [`RemoteErrorKind::Corrupt`].
pub async fn fetch_table(
    remote: &Arc<dyn Remote>,
    pack: &PackRef,
) -> Result<PackTable, RemoteError> {
    let tail_len = pack.len.saturating_sub(pack.data_len);
    if tail_len <= TRAILER_BYTES || tail_len > MAX_PAYLOAD_BYTES as u64 {
        return Err(corrupt(pack, "its reference names no table".into()));
    }
    let range = ByteRange::new(pack.data_len, tail_len);
    let tail = remote.get(pack, range, Urgency::Waited).await?;
    let split = tail.len().saturating_sub(TRAILER_BYTES as usize);
    let (table, trailer) = tail.split_at(split);
    if !trailer.ends_with(&PACK_MAGIC) {
        return Err(bad(pack, PackError::WrongTable(pack.id)));
    }
    open_table(pack, table)
}

/// Decodes the pack's table and checks it against the digest in the pack's reference.
///
/// # Errors
/// [`RemoteErrorKind::Corrupt`].
pub fn open_table(pack: &PackRef, bytes: &[u8]) -> Result<PackTable, RemoteError> {
    if Digest::of(bytes) != pack.table_digest {
        return Err(bad(pack, PackError::WrongTable(pack.id)));
    }
    let table = PackTable::decode(bytes).map_err(|error| bad(pack, error))?;
    if table.pack() != pack.id || table.data_len() != pack.data_len {
        return Err(bad(pack, PackError::Inconsistent));
    }
    Ok(table)
}

/// Returns the plain bytes of a block from its stored bytes, checked against the table.
///
/// # Errors
/// [`RemoteErrorKind::Corrupt`]; [`RemoteErrorKind::Denied`] when the pack is encrypted and there is
/// no key.
pub fn open_block(
    pack: &PackRef,
    table: &PackTable,
    block: BlockIndex,
    stored: Bytes,
    cipher: &Cipher,
) -> Result<Bytes, RemoteError> {
    table
        .open_block(block, stored, cipher)
        .map_err(|error| bad(pack, error))
}

/// Reads, checks and decrypts a block (512 KiB; the last one of the data may be shorter).
///
/// # Errors
/// The error of the read, or [`RemoteErrorKind::Corrupt`]; [`RemoteErrorKind::Denied`] when the pack
/// is encrypted and the remote has no key.
pub async fn fetch_block(
    remote: &Arc<dyn Remote>,
    pack: &PackRef,
    table: &PackTable,
    block: BlockIndex,
) -> Result<Bytes, RemoteError> {
    let stored = fetch_stored(remote, pack, block, Urgency::Waited).await?;
    open_block(pack, table, block, stored, remote.cipher())
}

/// Reads the stored bytes of a block, unchecked.
///
/// # Errors
/// The error of the read.
pub async fn fetch_stored(
    remote: &Arc<dyn Remote>,
    pack: &PackRef,
    block: BlockIndex,
    urgency: Urgency,
) -> Result<Bytes, RemoteError> {
    let offset = u64::from(block.0) * BLOCK_BYTES;
    if offset >= pack.data_len {
        let pack_id = pack.id;
        let error = PackError::NoSuchBlock {
            pack: pack_id,
            block,
        };
        return Err(bad(pack, error));
    }
    let range = ByteRange::new(offset, BLOCK_BYTES.min(pack.data_len - offset));
    remote.get(pack, range, urgency).await
}
