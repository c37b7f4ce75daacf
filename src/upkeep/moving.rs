//! Move of a library from a local store to Telegram. The log is moved first, as one snapshot, then pack
//! after pack.
//!
//! A run may end after any step. The library is in the old store until the state is bound to the new one.
//! A pack is sealed again under a new id, and its files name it before they release the old one. The old
//! pack is then deleted like every pack that nothing needs.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::attach_error::{AttachError, AttachReport};
use super::fill::{bring_in_step, create_library};
use super::patient_request::{Patience, PatientRequests};
use crate::disk;
use crate::index::{Index, IndexError};
use crate::ingest::publish::log_objects::{decode_all, encode_snapshot};
use crate::ingest::slices_digest;
use crate::model::{
    Blob, BlockIndex, EntryId, EntryKind, ErrorKind, FsError, LibraryClaim, PackId, PackRef,
    WriterId,
};
use crate::remote::retry::{Deadline, retry};
use crate::remote::{
    LibraryMark, LogKind, MovingRemote, PackInput, Remote, RemoteError, RemoteErrorKind,
    SealedPack, fetch_block, fetch_table, is_in_old_store, store_pack,
};
use crate::tree::Tree;

/// Entries read from the index in one go.
const ENTRIES_AT_ONCE: usize = 256;
/// Pause between two checks that all files of users are sent. Those go first.
const YIELD: Duration = Duration::from_secs(1);
/// Deadline of one request to the old store.
const READ_DEADLINE: Duration = Duration::from_secs(60);
/// Most packs looked at among those that nothing needs any more.
const DYING_PACKS: usize = 1000;

/// Moves the log. The library is used through `shared`, with `moving` below it. Nothing may be published
/// before this returns. The state is then bound to the new store, and `note` has durably noted the place
/// of the old one.
///
/// # Errors
/// See [`AttachError`]. The library is then in its old store, as before.
pub async fn move_log(
    index: &Arc<Index>,
    shared: &Arc<dyn Remote>,
    moving: &MovingRemote,
    note: impl FnOnce() -> io::Result<()>,
    patience: Patience,
) -> Result<AttachReport, AttachError> {
    let report = bring_in_step(index, shared, LibraryClaim::Continue, patience.clone()).await?;
    let requests = PatientRequests { index, patience };
    let old = shared.describe();
    let mark = requests.send(|| shared.library()).await?;
    let mark = mark.ok_or_else(|| AttachError::LibraryGone(old.clone()))?;
    take_place(&requests, moving.new_place(), &mark, &old).await?;
    moving.take_log_along();
    write_snapshot(&requests, shared).await?;
    note().map_err(AttachError::Note)?;
    index.bind(mark.id, &shared.describe())?;
    Ok(report)
}

/// Makes the library in the new store, with the key that it has. A store that an interrupted move
/// made holds no manifest yet.
async fn take_place(
    requests: &PatientRequests<'_>,
    new: &Arc<dyn Remote>,
    mark: &LibraryMark,
    old: &str,
) -> Result<(), AttachError> {
    let Some(found) = requests.send(|| new.library()).await? else {
        return create_library(requests, new, mark).await;
    };
    if found.id != mark.id {
        return Err(AttachError::OtherLibrary {
            store: new.describe(),
            found: found.id,
            own: mark.id,
        });
    }
    let manifests = requests.send(|| new.list_log(LogKind::Manifest, 0)).await?;
    match manifests.is_empty() {
        true => Ok(()),
        false => Err(AttachError::Moved {
            old: old.to_owned(),
            new: new.describe(),
        }),
    }
}

/// Writes a snapshot of the whole old log. It is read back and decoded before recovery may find it.
async fn write_snapshot(
    requests: &PatientRequests<'_>,
    shared: &Arc<dyn Remote>,
) -> Result<(), AttachError> {
    if requests.index.log_head().number == 0 {
        return Ok(());
    }
    let writer = WriterId::random();
    requests.index.note_writer(writer)?;
    let index = Arc::clone(requests.index);
    let encoded = tokio::task::spawn_blocking(move || encode_snapshot(&index, writer)).await;
    let (object, bytes) = encoded.map_err(AttachError::Interrupted)??;
    requests
        .send(|| shared.append_log(object, bytes.clone()))
        .await?;
    let back = requests.send(|| shared.read_log(object)).await?;
    if back != bytes {
        return Err(AttachError::Remote(RemoteError::new(
            RemoteErrorKind::Corrupt,
            "read the library's snapshot back",
            "it is not what was written",
        )));
    }
    decode_all(&back)?;
    requests.send(|| shared.endorse_snapshot(object)).await
}

impl Moved {
    /// Returns whether nothing of the library is in the old store any more.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.packs == 0 && self.in_use == 0 && self.dying == 0
    }
}

/// Reason why a round of moving ended early.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The index cannot be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// One of the stores refuses or cannot be reached.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A file cannot name its new pack.
    #[error("{0}")]
    Files(#[source] FsError),
    /// The directory for the pack that is moved fails.
    #[error("the directory for moving: {0}")]
    Workshop(#[from] io::Error),
}

/// Report of one round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Packs that were moved.
    pub packs: u64,
    /// Bytes of these packs.
    pub bytes: u64,
    /// Packs that stayed because somebody reads them.
    pub in_use: u64,
    /// Packs in the old store that nothing needs any more, and that wait to be deleted.
    pub dying: u64,
}

/// Mover of packs.
#[derive(Debug)]
pub struct Mover {
    pub index: Arc<Index>,
    pub tree: Arc<Tree>,
    pub remote: Arc<dyn Remote>,
    /// A directory of its own, for one pack at a time.
    pub workshop: PathBuf,
}

/// Pack in the old store, and the files that need it.
#[derive(Debug)]
struct OldPack {
    pack: PackRef,
    owners: Vec<EntryId>,
}

impl Mover {
    /// Moves every pack in the old store that nobody reads at the moment, one by one. Waits while
    /// `is_busy` says that files of users are still to be sent.
    ///
    /// # Errors
    /// The first error. Packs that were moved stay moved.
    pub async fn round(
        &self,
        in_use: &(dyn Fn(PackId) -> bool + Send + Sync),
        is_busy: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Moved, MoveError> {
        let mut moved = Moved::default();
        let old_packs = self.old_packs()?;
        for old in &old_packs {
            while is_busy() {
                tokio::time::sleep(YIELD).await;
            }
            if !in_use(old.pack.id) && self.move_one(old, in_use).await? {
                moved.packs += 1;
                moved.bytes += old.pack.len;
            } else {
                moved.in_use += 1;
            }
        }
        let dying = self.index.dying_packs(DYING_PACKS)?;
        moved.dying = dying
            .iter()
            .filter(|dying| is_in_old_store(&dying.pack))
            .count() as u64;
        Ok(moved)
    }

    fn old_packs(&self) -> Result<Vec<OldPack>, IndexError> {
        let mut found: BTreeMap<PackId, OldPack> = BTreeMap::new();
        let mut after = None;
        loop {
            let entries = self.index.entries(after, ENTRIES_AT_ONCE)?;
            let Some(last) = entries.last() else {
                return Ok(found.into_values().collect());
            };
            after = Some(last.id);
            for entry in &entries {
                let EntryKind::File(content) = &entry.kind else {
                    continue;
                };
                for pack in content.packs().into_iter().filter(is_in_old_store) {
                    let old = found.entry(pack.id).or_insert_with(|| OldPack {
                        pack,
                        owners: Vec::new(),
                    });
                    old.owners.push(entry.id);
                }
            }
        }
    }

    /// Moves one pack. Returns whether any file needs the new one. Files may have changed meanwhile.
    async fn move_one(
        &self,
        old: &OldPack,
        in_use: &(dyn Fn(PackId) -> bool + Send + Sync),
    ) -> Result<bool, MoveError> {
        let path = self.fetch(&old.pack).await?;
        let input = PackInput {
            path: path.clone(),
            offset: 0,
            len: old.pack.data_len,
        };
        let cipher = self.remote.cipher().clone();
        let sealed =
            tokio::task::spawn_blocking(move || SealedPack::seal(vec![input], &cipher)).await;
        let sealed = sealed.map_err(io::Error::other)??;
        let stored = store_pack(&self.remote, &sealed).await?;
        std::fs::remove_file(path)?;
        let mut is_needed = false;
        // A reader that opened it meanwhile may be about to name the old pack in another file.
        if !in_use(old.pack.id) {
            for owner in &old.owners {
                is_needed |= self.rename_pack(*owner, &old.pack, &stored)?;
            }
        }
        if !is_needed {
            retry(Deadline::Once, || self.remote.delete(&stored)).await?;
        }
        Ok(is_needed)
    }

    /// Writes the pack's data into a file, each block checked, and returns its path.
    async fn fetch(&self, pack: &PackRef) -> Result<PathBuf, MoveError> {
        let deadline = || Deadline::after(READ_DEADLINE);
        let path = self.workshop.join("pack");
        let mut file = disk::create_regular(&path)?;
        let table = retry(deadline(), || fetch_table(&self.remote, pack)).await?;
        for block in (0..table.block_count()).map(BlockIndex) {
            let read = || fetch_block(&self.remote, pack, &table, block);
            let bytes = retry(deadline(), read).await?;
            let written = tokio::task::spawn_blocking(move || {
                file.write_all(&bytes)?;
                Ok::<_, io::Error>(file)
            });
            file = written.await.map_err(io::Error::other)??;
        }
        Ok(path)
    }

    /// Lets a file name the new pack. Returns whether it named the old one.
    fn rename_pack(&self, owner: EntryId, old: &PackRef, new: &PackRef) -> Result<bool, MoveError> {
        let renamed = self.tree.update(owner, |entry| {
            let EntryKind::File(content) = &mut entry.kind else {
                return Ok(false);
            };
            let mut is_named = false;
            for blob in &mut content.blobs {
                is_named |= rename_in(blob, old, new);
            }
            if let Some(derived) = content.views.derived_mut() {
                is_named |= rename_in(derived, old, new);
            }
            Ok(is_named)
        });
        match renamed {
            Ok((_, is_named)) => Ok(is_named),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(MoveError::Files(error)),
        }
    }
}

/// Lets a blob name the new pack. Returns whether it named the old one. The data of both packs is the same
/// byte for byte, so offsets stay.
fn rename_in(blob: &mut Blob, old: &PackRef, new: &PackRef) -> bool {
    let mut is_named = false;
    for slice in blob
        .slices
        .iter_mut()
        .filter(|slice| slice.pack.id == old.id)
    {
        slice.pack = new.clone();
        is_named = true;
    }
    if is_named && blob.digest.is_some() {
        blob.digest = Some(slices_digest(&blob.slices));
    }
    is_named
}
