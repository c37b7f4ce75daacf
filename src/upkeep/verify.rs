//! `tgfs verify`: whether the remote holds what the index says.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::index::{Index, IndexError};
use crate::model::{BlockIndex, Entry, EntryId, EntryKind, PackRef};
use crate::remote::retry::{Deadline, retry};
use crate::remote::{Remote, RemoteError, RemoteErrorKind, fetch_block, fetch_table};

/// Entries read from the index in one go.
const STEP: usize = 256;
/// For one request to the remote.
const REQUEST_DEADLINE: std::time::Duration = std::time::Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Size and table of each pack.
    Packs,
    /// Every block as well.
    Blocks,
}

/// What verifying found; for people and as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    pub files: u64,
    pub packs: u64,
    /// Bytes of all packs.
    pub bytes: u64,
    /// Blocks read and compared.
    pub blocks: u64,
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

/// Compares index and remote. `progress` gets the report so far after each file.
///
/// # Errors
/// When one of the two cannot be read; a pack that is missing or wrong is a finding.
pub async fn verify(
    index: &Arc<Index>,
    remote: &Arc<dyn Remote>,
    depth: Depth,
    progress: &mut (dyn FnMut(&VerifyReport) + Send),
) -> Result<VerifyReport, VerifyError> {
    let mut report = VerifyReport::default();
    let mut seen = BTreeSet::new();
    let mut after: Option<EntryId> = None;
    loop {
        let entries = index.entries(after, STEP)?;
        let Some(last) = entries.last() else {
            return Ok(report);
        };
        after = Some(last.id);
        for entry in &entries {
            let EntryKind::File(content) = &entry.kind else {
                continue;
            };
            report.files += 1;
            for pack in content.packs() {
                if seen.insert(pack.id) {
                    check_pack(remote, &pack, entry, depth, &mut report).await?;
                }
            }
            progress(&report);
        }
    }
}

async fn check_pack(
    remote: &Arc<dyn Remote>,
    pack: &PackRef,
    entry: &Entry,
    depth: Depth,
    report: &mut VerifyReport,
) -> Result<(), VerifyError> {
    report.packs += 1;
    report.bytes += pack.len;
    let outcome = match check_size(remote, pack).await {
        Ok(()) => check_blocks(remote, pack, depth, &mut report.blocks).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => Ok(()),
        Err(error)
            if matches!(
                error.kind,
                RemoteErrorKind::NotFound | RemoteErrorKind::Corrupt
            ) =>
        {
            report.problems.push(Problem {
                pack: pack.id.to_string(),
                file: entry.id.to_string(),
                name: entry.name.display(),
                reason: error.to_string(),
            });
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

async fn check_size(remote: &Arc<dyn Remote>, pack: &PackRef) -> Result<(), RemoteError> {
    let size = retry(Deadline::after(REQUEST_DEADLINE), || remote.size(pack)).await?;
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

async fn check_blocks(
    remote: &Arc<dyn Remote>,
    pack: &PackRef,
    depth: Depth,
    read: &mut u64,
) -> Result<(), RemoteError> {
    let deadline = || Deadline::after(REQUEST_DEADLINE);
    let table = retry(deadline(), || fetch_table(remote, pack)).await?;
    if depth == Depth::Packs {
        return Ok(());
    }
    for block in 0..table.block_count() {
        let block = BlockIndex(block);
        retry(deadline(), || fetch_block(remote, pack, &table, block)).await?;
        *read += 1;
    }
    Ok(())
}
