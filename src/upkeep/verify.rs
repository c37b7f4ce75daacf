//! `tgfs verify`: whether the remote holds what the index says. Reading every block of a large
//! library takes days: that goes on where it was interrupted, and leaves the lanes to readers.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use crate::index::{Index, IndexError, Rows};
use crate::model::{BlockIndex, EntryId, EntryKind, Name, PackRef, VerifyDepth};
use crate::remote::retry::{Deadline, retry};
use crate::remote::{
    Outlook, PackTable, Remote, RemoteError, RemoteErrorKind, Urgency, fetch_stored, fetch_table,
    open_block,
};

/// Entries read from the index in one go.
const STEP: usize = 256;
/// Packs that are looked at side by side: each is a few round trips.
const PACKS_AT_ONCE: usize = 8;
/// Blocks of each of them: 16 MiB on their way in all.
const BLOCKS_AT_ONCE: usize = 4;
/// Rows of a round of all blocks that was interrupted.
const ROWS: &str = "verify";
const ROUND_ROW: &[u8] = b"round";
/// For one request to the remote.
const REQUEST_DEADLINE: std::time::Duration = std::time::Duration::from_secs(120);

/// What verifying found; for people and as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Looked at by this run.
    pub files: u64,
    pub packs: u64,
    /// Bytes of all packs.
    pub bytes: u64,
    /// Blocks read and compared.
    pub blocks: u64,
    /// Packs that the remote will soon not show any more.
    pub fading: u64,
    pub problems: Vec<Problem>,
}

/// A pack that is not there as it should be, with the first file that needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// 32 hexadecimal digits each.
    pub pack: String,
    pub file: String,
    /// Name of the file; bytes that are not UTF-8 are shown as U+FFFD.
    pub name: String,
    pub reason: String,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The remote cannot be asked: that says nothing about the packs.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// A pack to look at, and the first file that needs it.
#[derive(Debug)]
struct Wanted {
    pack: PackRef,
    file: EntryId,
    name: Name,
}

/// Compares index and remote, several packs side by side. `progress` gets the report so far after
/// each pack, in the order in which the index has them.
///
/// # Errors
/// When one of the two cannot be read; a pack that is missing or wrong is a finding.
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
    let mut seen = BTreeSet::new();
    let mut after = round.after;
    let mut reading = None;
    loop {
        let entries = index.entries(after, STEP)?;
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
                    .map(|pack| Wanted {
                        pack,
                        file: entry.id,
                        name: entry.name.clone(),
                    }),
            );
        }
        let checks = wanted.into_iter().map(|wanted| async move {
            let outcome = check_pack(remote, &wanted.pack, depth).await;
            (wanted, outcome)
        });
        let mut checks = stream::iter(checks).buffered(PACKS_AT_ONCE);
        while let Some((wanted, outcome)) = checks.next().await {
            // In the order of the index: the entries before this one are through.
            if depth == VerifyDepth::Blocks && reading.is_some_and(|file| file != wanted.file) {
                round.after = reading;
                round.keep(&rows)?;
            }
            reading = Some(wanted.file);
            round.report.take(&wanted, outcome)?;
            progress(&round.report);
        }
    }
}

/// How far a round of all blocks has come.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Round {
    /// The last entry whose packs were read.
    after: Option<EntryId>,
    report: VerifyReport,
}

impl Round {
    /// A row that cannot be read begins a new round.
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
            // Then the next run begins anew.
            Err(_) => Ok(()),
        }
    }
}

impl VerifyReport {
    fn take(
        &mut self,
        wanted: &Wanted,
        outcome: Result<Checked, RemoteError>,
    ) -> Result<(), RemoteError> {
        self.packs += 1;
        self.bytes += wanted.pack.len;
        match outcome {
            Ok(checked) => {
                self.blocks += checked.blocks;
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

/// A pack that is as it should be.
#[derive(Debug)]
struct Checked {
    /// That were read.
    blocks: u64,
    outlook: Outlook,
}

async fn check_pack(
    remote: &Arc<dyn Remote>,
    pack: &PackRef,
    depth: VerifyDepth,
) -> Result<Checked, RemoteError> {
    check_size(remote, pack).await?;
    let outlook = retry(deadline(), || remote.outlook(pack)).await?;
    let table = retry(deadline(), || fetch_table(remote, pack)).await?;
    let blocks = match depth {
        VerifyDepth::Packs => 0,
        VerifyDepth::Blocks => check_blocks(remote, pack, &table).await?,
    };
    Ok(Checked { blocks, outlook })
}

/// How many were read.
async fn check_blocks(
    remote: &Arc<dyn Remote>,
    pack: &PackRef,
    table: &PackTable,
) -> Result<u64, RemoteError> {
    let reads = (0..table.block_count()).map(|block| async move {
        let block = BlockIndex(block);
        let read = || fetch_stored(remote, pack, block, Urgency::Ahead);
        let stored = retry(deadline(), read).await?;
        open_block(pack, table, block, stored, remote.cipher())
    });
    let reads = stream::iter(reads).buffered(BLOCKS_AT_ONCE);
    reads
        .try_fold(0, |read, _| async move { Ok(read + 1) })
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
