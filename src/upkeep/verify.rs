//! `tgfs verify`: checks that the remote holds the packs that the index names. Reading every block of a
//! large library takes days. It therefore continues after an interruption, and readers come first.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::known_log::MissingManifests;
use crate::index::{Index, IndexError, Rows};
use crate::model::{BlockIndex, Digest, EntryId, EntryKind, Name, PackRef, VerifyDepth};
use crate::remote::retry::{Deadline, retry};
use crate::remote::{
    LogKind, Outlook, PackTable, Remote, RemoteError, RemoteErrorKind, Urgency, fetch_stored,
    fetch_table, open_block,
};

/// Entries read from the index in one go.
const ENTRIES_AT_ONCE: usize = 256;
/// Packs that are checked side by side. Each takes a few round trips.
const PACKS_AT_ONCE: usize = 8;
/// Blocks of one pack that are read side by side. In all, 16 MiB are on their way.
const BLOCKS_AT_ONCE: usize = 4;
/// Rows of an interrupted round over all blocks.
const ROWS: &str = "verify";
const ROUND_ROW: &[u8] = b"round";
/// Time between two reports of progress.
const TELL_EVERY: std::time::Duration = std::time::Duration::from_secs(1);
/// Deadline of one request to the remote.
const REQUEST_DEADLINE: std::time::Duration = std::time::Duration::from_secs(120);

/// Report of a verification, for people and as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Files that this run looked at.
    pub files: u64,
    /// Packs that were checked.
    pub packs: u64,
    /// Bytes of these packs.
    pub bytes: u64,
    /// Bytes of all packs of the library.
    #[serde(default)]
    pub total: u64,
    /// Bytes that were read: tables, and with every block also the data.
    #[serde(default)]
    pub read: u64,
    /// Blocks that were read and compared.
    pub blocks: u64,
    /// Packs that the remote will soon not show any more.
    pub fading: u64,
    /// Packs that are missing or damaged.
    pub problems: Vec<Problem>,
    /// What the store's log has lost.
    #[serde(default)]
    pub log: Vec<String>,
}

/// Pack that is missing or damaged, with the first file that needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Id of the pack: 32 hexadecimal digits.
    pub pack: String,
    /// Id of the file: 32 hexadecimal digits.
    pub file: String,
    /// Name of the file; a byte that is not UTF-8 is shown as `\xE9`.
    pub name: String,
    /// Error of the check.
    pub reason: String,
}

/// Reason why a verification ended early.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The index cannot be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The remote cannot be reached. That says nothing about the packs.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// Pack to check, and the first file that needs it.
#[derive(Debug)]
struct PackToVerify {
    pack: PackRef,
    file: EntryId,
    name: Name,
}

/// Compares index and remote, several packs side by side. `progress` gets the report so far after each
/// pack, in the order of the index, and each second. Its `read` then includes packs that are being read.
///
/// # Errors
/// When one of the two cannot be read. A pack that is missing or damaged is a finding, not an error.
pub async fn verify(
    index: &Arc<Index>,
    remote: &Arc<dyn Remote>,
    depth: VerifyDepth,
    progress: &mut (dyn FnMut(&VerifyReport) + Send),
) -> Result<VerifyReport, VerifyError> {
    let rows = index.rows(ROWS)?;
    let mut round = match depth {
        VerifyDepth::Packs => Round::default(),
        VerifyDepth::Blocks => Round::read(&rows)?,
    };
    round.report.log = verify_log(index, remote).await?;
    round.report.total = bytes_of_packs(index)?;
    let read = AtomicU64::new(round.report.read);
    let mut seen = BTreeSet::new();
    let mut after = round.after;
    let mut reading = None;
    loop {
        let entries = index.entries(after, ENTRIES_AT_ONCE)?;
        let Some(last) = entries.last() else {
            if depth == VerifyDepth::Blocks {
                rows.remove(ROUND_ROW)?;
            }
            return Ok(round.report);
        };
        after = Some(last.id);
        let mut wanted = Vec::new();
        for entry in entries {
            let EntryKind::File(content) = &entry.kind else {
                continue;
            };
            round.report.files += 1;
            let packs = content.packs().into_iter();
            wanted.extend(
                packs
                    .filter(|pack| seen.insert(pack.id))
                    .map(|pack| PackToVerify {
                        pack,
                        file: entry.id,
                        name: entry.name.clone(),
                    }),
            );
        }
        let read = &read;
        let checks = wanted.into_iter().map(|wanted| async move {
            let outcome = check_pack(remote, &wanted.pack, depth, read).await;
            (wanted, outcome)
        });
        let mut checks = stream::iter(checks).buffered(PACKS_AT_ONCE);
        loop {
            let Ok(next) = tokio::time::timeout(TELL_EVERY, checks.next()).await else {
                progress(&round.report.at(read));
                continue;
            };
            let Some((wanted, outcome)) = next else {
                break;
            };
            // Checks end in the order of the index, so the entries before this one are done.
            if depth == VerifyDepth::Blocks && reading.is_some_and(|file| file != wanted.file) {
                round.after = reading;
                round.keep(&rows)?;
            }
            reading = Some(wanted.file);
            round.report.take(&wanted, outcome)?;
            progress(&round.report.at(read));
        }
    }
}

/// Returns the bytes of all packs of the library, each counted once.
fn bytes_of_packs(index: &Index) -> Result<u64, IndexError> {
    let mut seen = BTreeSet::new();
    let mut after = None;
    let mut bytes = 0;
    loop {
        let entries = index.entries(after, ENTRIES_AT_ONCE)?;
        let Some(last) = entries.last() else {
            return Ok(bytes);
        };
        after = Some(last.id);
        for entry in &entries {
            if let EntryKind::File(content) = &entry.kind {
                let packs = content.packs().into_iter();
                let new = packs.filter(|pack| seen.insert(pack.id));
                bytes += new.map(|pack| pack.len).sum::<u64>();
            }
        }
    }
}

/// Compares the log that the index knows with the store's.
async fn verify_log(
    index: &Arc<Index>,
    remote: &Arc<dyn Remote>,
) -> Result<Vec<String>, VerifyError> {
    let head = index.log_head();
    let snapshots = retry(deadline(), || remote.list_log(LogKind::Snapshot, 0)).await?;
    // A snapshot with a higher number than we know is not ours.
    let numbers = snapshots.iter().map(|object| object.number);
    let covered = numbers.filter(|number| *number <= head.number).max();
    let covered = covered.unwrap_or(0);
    let manifests = retry(deadline(), || remote.list_log(LogKind::Manifest, covered)).await?;
    let missing = MissingManifests::find(&head, covered, &manifests);
    let mut found: Vec<String> = missing.describe(&remote.describe()).into_iter().collect();
    let newest = manifests
        .iter()
        .filter(|object| object.number == head.number);
    let mut is_ours = None;
    for object in newest {
        match retry(deadline(), || remote.read_log(*object)).await {
            Ok(bytes) if Digest::of(&bytes).0 == head.digest => is_ours = Some(true),
            Ok(_) => is_ours = is_ours.or(Some(false)),
            Err(error) if error.is_retryable() => return Err(error.into()),
            Err(error) => found.push(format!("manifest {}: {error}", object.number)),
        }
    }
    if is_ours == Some(false) && head.digest != [0; 32] {
        found.push(format!(
            "manifest {} is not the one that this state wrote",
            head.number
        ));
    }
    Ok(found)
}

/// Position of a round over all blocks, and the report so far. It is stored as JSON, so its names are
/// frozen.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Round {
    /// Last entry whose packs were read.
    after: Option<EntryId>,
    report: VerifyReport,
}

impl Round {
    /// Reads the stored round; a row that cannot be decoded begins a new one.
    fn read(rows: &Rows) -> Result<Self, IndexError> {
        let row = rows.get(ROUND_ROW)?.unwrap_or_default();
        let mut kept: Self = serde_json::from_slice(&row).unwrap_or_default();
        kept.report.files = 0;
        if kept.report.packs > 0 {
            let packs = kept.report.packs;
            tracing::info!(packs, "verifying goes on where it was interrupted");
        }
        Ok(kept)
    }

    fn keep(&self, rows: &Rows) -> Result<(), IndexError> {
        match serde_json::to_vec(self) {
            Ok(row) => rows.put(ROUND_ROW, &row),
            // Without a row the next run begins a new round.
            Err(_) => Ok(()),
        }
    }
}

impl VerifyReport {
    /// Returns the report with the bytes that were read up to this moment.
    fn at(&self, read: &AtomicU64) -> Self {
        Self {
            read: read.load(Ordering::Relaxed),
            ..self.clone()
        }
    }

    fn take(
        &mut self,
        wanted: &PackToVerify,
        outcome: Result<Checked, RemoteError>,
    ) -> Result<(), RemoteError> {
        self.packs += 1;
        self.bytes += wanted.pack.len;
        match outcome {
            Ok(checked) => {
                self.blocks += checked.blocks;
                self.read += checked.read;
                self.fading += u64::from(checked.outlook == Outlook::Fading);
            }
            Err(error)
                if matches!(
                    error.kind,
                    RemoteErrorKind::NotFound | RemoteErrorKind::Corrupt
                ) =>
            {
                self.problems.push(Problem {
                    pack: wanted.pack.id.to_string(),
                    file: wanted.file.to_string(),
                    name: wanted.name.display(),
                    reason: error.to_string(),
                });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Result of checking a pack that is whole.
#[derive(Debug)]
struct Checked {
    /// Number of blocks that were read.
    blocks: u64,
    /// Number of bytes that were read.
    read: u64,
    outlook: Outlook,
}

async fn check_pack(
    remote: &Arc<dyn Remote>,
    pack: &PackRef,
    depth: VerifyDepth,
    read: &AtomicU64,
) -> Result<Checked, RemoteError> {
    check_size(remote, pack).await?;
    let outlook = retry(deadline(), || remote.outlook(pack)).await?;
    let table = retry(deadline(), || fetch_table(remote, pack)).await?;
    let of_table = pack.len.saturating_sub(pack.data_len);
    read.fetch_add(of_table, Ordering::Relaxed);
    let (blocks, of_blocks) = match depth {
        VerifyDepth::Packs => (0, 0),
        VerifyDepth::Blocks => {
            let blocks = check_blocks(remote, pack, &table, read).await?;
            (blocks, pack.data_len)
        }
    };
    Ok(Checked {
        blocks,
        read: of_table + of_blocks,
        outlook,
    })
}

/// Reads and checks all blocks of a pack. Returns their number.
async fn check_blocks(
    remote: &Arc<dyn Remote>,
    pack: &PackRef,
    table: &PackTable,
    read: &AtomicU64,
) -> Result<u64, RemoteError> {
    let reads = (0..table.block_count()).map(|block| async move {
        let block = BlockIndex(block);
        let fetch = || fetch_stored(remote, pack, block, Urgency::Ahead);
        let stored = retry(deadline(), fetch).await?;
        read.fetch_add(stored.len() as u64, Ordering::Relaxed);
        open_block(pack, table, block, stored, remote.cipher())
    });
    let reads = stream::iter(reads).buffered(BLOCKS_AT_ONCE);
    reads
        .try_fold(0, |blocks, _| async move { Ok(blocks + 1) })
        .await
}

fn deadline() -> Deadline {
    Deadline::after(REQUEST_DEADLINE)
}

async fn check_size(remote: &Arc<dyn Remote>, pack: &PackRef) -> Result<(), RemoteError> {
    let size = retry(deadline(), || remote.size(pack)).await?;
    if size == pack.len {
        Ok(())
    } else {
        Err(RemoteError::new(
            RemoteErrorKind::Corrupt,
            format!("look at pack {}", pack.id),
            format!("it has {size} bytes instead of {}", pack.len),
        ))
    }
}
