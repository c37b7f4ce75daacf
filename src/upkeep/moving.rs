//! From a local store to Telegram: first the log goes there, as one snapshot, then pack after pack.
//!
//! Each step may be the last one of a run. Before the state is bound to the new store, the old one
//! is the library's; after that, the new one. A pack is sealed anew, under a new id, and named by its
//! files before the old one is let go of, which then goes the way of every pack that nothing needs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::asking::{Asking, Patience};
use super::fill::{AttachError, AttachReport, bring_in_step};
use crate::index::{Index, IndexError};
use crate::ingest::publish::PublishError;
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
const STEP: usize = 256;
/// Between two looks whether user's files have all been sent: those go first.
const YIELD: Duration = Duration::from_secs(1);
/// For one request to the old store.
const READ_DEADLINE: Duration = Duration::from_secs(60);
/// Packs looked at among those that nothing needs any more.
const DYING_PACKS: usize = 1000;

/// Moves the log. `shared` is what the library is used through, with `moving` below it. Nothing may
/// go out before this is through; then the state is bound to the new store, and `note` has noted,
/// durably, where the old one is.
///
/// # Errors
/// See [`AttachError`]; the library is then in its old store, as before.
pub async fn move_log(
    index: &Arc<Index>,
    shared: &Arc<dyn Remote>,
    moving: &MovingRemote,
    note: impl FnOnce() -> io::Result<()>,
    patience: Patience,
) -> Result<AttachReport, AttachError> {
    let report = bring_in_step(index, shared, LibraryClaim::Continue, patience.clone()).await?;
    let asking = Asking { index, patience };
    let old = shared.describe();
    let mark = asking.ask(|| shared.library()).await?;
    let mark = mark.ok_or_else(|| AttachError::LibraryGone(old.clone()))?;
    take_place(&asking, moving.new_place(), &mark, &old).await?;
    moving.take_log_along();
    write_snapshot(&asking, shared).await?;
    note().map_err(|error| AttachError::Interrupted(format!("the state: {error}")))?;
    index.bind(mark.id, &shared.describe())?;
    Ok(report)
}

/// Makes the new store the library's, with the key that it has. One that an interrupted move made
/// holds no manifest yet.
async fn take_place(
    asking: &Asking<'_>,
    new: &Arc<dyn Remote>,
    mark: &LibraryMark,
    old: &str,
) -> Result<(), AttachError> {
    let Some(found) = asking.ask(|| new.library()).await? else {
        return match asking.ask(|| new.create_library(mark)).await {
            // The first answer was lost.
            Err(AttachError::Remote(error)) if error.kind == RemoteErrorKind::Foreign => {
                match asking.ask(|| new.library()).await? {
                    Some(found) if found.id == mark.id => Ok(()),
                    _ => Err(error.into()),
                }
            }
            other => other,
        };
    };
    if found.id != mark.id {
        return Err(AttachError::OtherLibrary {
            store: new.describe(),
            found: found.id,
            own: mark.id,
        });
    }
    let manifests = asking.ask(|| new.list_log(LogKind::Manifest, 0)).await?;
    match manifests.is_empty() {
        true => Ok(()),
        false => Err(AttachError::Moved {
            old: old.to_owned(),
            new: new.describe(),
        }),
    }
}

/// Everything that the old log says, read back and decoded before it is what recovery finds.
async fn write_snapshot(asking: &Asking<'_>, shared: &Arc<dyn Remote>) -> Result<(), AttachError> {
    if asking.index.log_head().number == 0 {
        return Ok(());
    }
    let writer = WriterId::random();
    asking.index.note_writer(writer)?;
    let index = Arc::clone(asking.index);
    let encoded = tokio::task::spawn_blocking(move || encode_snapshot(&index, writer)).await;
    let (object, bytes) = match encoded {
        Ok(Ok(encoded)) => encoded,
        Ok(Err(PublishError::Index(error))) => return Err(error.into()),
        Ok(Err(PublishError::Remote(error))) => return Err(error.into()),
        Ok(Err(error)) => return Err(AttachError::Interrupted(error.to_string())),
        Err(error) => return Err(AttachError::Interrupted(error.to_string())),
    };
    asking
        .ask(|| shared.append_log(object, bytes.clone()))
        .await?;
    let back = asking.ask(|| shared.read_log(object)).await?;
    if back != bytes {
        return Err(AttachError::Remote(RemoteError::new(
            RemoteErrorKind::Corrupt,
            "read the library's snapshot back",
            "it is not what was written",
        )));
    }
    decode_all(&back)?;
    asking.ask(|| shared.endorse_snapshot(object)).await
}

impl Moved {
    /// Nothing of the library is in the old store any more.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.packs == 0 && self.in_use == 0 && self.dying == 0
    }
}

#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("{0}")]
    Files(FsError),
    #[error("the directory for moving: {0}")]
    Workshop(#[from] io::Error),
}

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    pub packs: u64,
    pub bytes: u64,
    /// Packs that stayed because somebody reads them.
    pub in_use: u64,
    /// Packs in the old store that nothing needs any more, and that wait for their deletion.
    pub dying: u64,
}

/// Moves packs.
#[derive(Debug)]
pub struct Mover {
    pub index: Arc<Index>,
    pub tree: Arc<Tree>,
    pub remote: Arc<dyn Remote>,
    /// A directory of its own, for one pack at a time.
    pub workshop: PathBuf,
}

/// A pack in the old store, and the files that need it.
#[derive(Debug)]
struct Stay {
    pack: PackRef,
    owners: Vec<EntryId>,
}

impl Mover {
    /// Takes every pack in the old store that nobody reads at the moment to the new one, one by one,
    /// whenever `is_busy` says that no user's file waits.
    ///
    /// # Errors
    /// The first that occurs; what was moved stays moved.
    pub async fn round(
        &self,
        in_use: &(dyn Fn(PackId) -> bool + Send + Sync),
        is_busy: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Moved, MoveError> {
        let mut moved = Moved::default();
        let stays = self.stays()?;
        for stay in &stays {
            while is_busy() {
                tokio::time::sleep(YIELD).await;
            }
            if !in_use(stay.pack.id) && self.move_one(stay, in_use).await? {
                moved.packs += 1;
                moved.bytes += stay.pack.len;
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

    fn stays(&self) -> Result<Vec<Stay>, IndexError> {
        let mut found: BTreeMap<PackId, Stay> = BTreeMap::new();
        let mut after = None;
        loop {
            let entries = self.index.entries(after, STEP)?;
            let Some(last) = entries.last() else {
                return Ok(found.into_values().collect());
            };
            after = Some(last.id);
            for entry in &entries {
                let EntryKind::File(content) = &entry.kind else {
                    continue;
                };
                for pack in content.packs().into_iter().filter(is_in_old_store) {
                    let stay = found.entry(pack.id).or_insert_with(|| Stay {
                        pack,
                        owners: Vec::new(),
                    });
                    stay.owners.push(entry.id);
                }
            }
        }
    }

    /// Whether anything needs the new pack: files may have changed meanwhile.
    async fn move_one(
        &self,
        stay: &Stay,
        in_use: &(dyn Fn(PackId) -> bool + Send + Sync),
    ) -> Result<bool, MoveError> {
        let path = self.fetch(&stay.pack).await?;
        let input = PackInput {
            path: path.clone(),
            offset: 0,
            len: stay.pack.data_len,
        };
        let cipher = self.remote.cipher().clone();
        let sealed =
            tokio::task::spawn_blocking(move || SealedPack::seal(vec![input], &cipher)).await;
        let sealed = sealed.map_err(io::Error::other)??;
        let stored = store_pack(&self.remote, &sealed).await?;
        std::fs::remove_file(path)?;
        let mut is_needed = false;
        // Somebody who opened it meanwhile may be about to name the old pack in another file.
        if !in_use(stay.pack.id) {
            for owner in &stay.owners {
                is_needed |= self.rename_pack(*owner, &stay.pack, &stored)?;
            }
        }
        if !is_needed {
            retry(Deadline::Once, || self.remote.delete(&stored)).await?;
        }
        Ok(is_needed)
    }

    /// The pack's data as it was stored, each block checked, in a file.
    async fn fetch(&self, pack: &PackRef) -> Result<PathBuf, MoveError> {
        let deadline = || Deadline::after(READ_DEADLINE);
        let path = self.workshop.join("pack");
        let mut file = File::create(&path)?;
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

    /// Whether the file named the old pack.
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

/// The data of both packs is the same, byte for byte: what lay where in the old one does in the new.
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
