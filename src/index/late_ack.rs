//! Late acknowledgements. A start may find manifests in the log that this index does not know: its own, if
//! their acknowledgements were lost, or those of others.

use super::core::Index;
use super::draft::RowDraft;
use super::error::IndexError;
use super::key;
use super::outbox::Acknowledged;
use super::record::{DirtyV1, FillV1, LogHeadV1, NodeV1};
use crate::model::{Change, LogRecord};

/// Outcome of a late acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LateAck {
    /// The rows hold every change of the manifest, which is acknowledged now.
    Noted(Vec<Acknowledged>),
    /// The rows miss a change, and nothing was done. The manifest has to be filled in.
    Unknown,
}

/// Outcome of beginning to fill rows that were in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    Yes,
    /// Something was changed since the index was opened. Local changes may reuse sequence numbers of the
    /// log; neither may win silently.
    Changed,
}

impl Index {
    /// Acknowledges a manifest from before this start, if the rows hold each of its changes, or a newer
    /// one of the same entry.
    ///
    /// # Errors
    /// When the database fails.
    pub fn acknowledge_late(
        &self,
        head: LogHeadV1,
        records: &[LogRecord],
    ) -> Result<LateAck, IndexError> {
        let is_known = self.core.read(|store| {
            let draft = RowDraft::new(store);
            for record in records {
                if !is_known(&draft, record)? {
                    return Ok(false);
                }
            }
            Ok::<_, IndexError>(true)
        })?;
        // Rows only become newer, so the answer still holds.
        match is_known {
            true => Ok(LateAck::Noted(self.acknowledge(head, records)?)),
            false => Ok(LateAck::Unknown),
        }
    }

    /// Begins to fill, unless something was changed since the index was opened.
    ///
    /// # Errors
    /// When the database fails.
    pub fn begin_fill_unchanged(&self) -> Result<Begun, IndexError> {
        let mut writer = self.core.writer();
        if writer.meta.fill == FillV1::Complete && writer.meta.last_seq > self.core.opened_at {
            return Ok(Begun::Changed);
        }
        self.core.housekeep_with(&mut writer, |_, meta| {
            meta.fill = FillV1::Needed;
            Ok(())
        })?;
        Ok(Begun::Yes)
    }
}

fn is_known(draft: &RowDraft<'_>, record: &LogRecord) -> Result<bool, IndexError> {
    let id = record.change.entry_id();
    let node = draft.get::<NodeV1>(&key::node(id))?;
    let dirty = draft.get::<DirtyV1>(&key::dirty(id))?;
    let newest = node
        .as_ref()
        .map(|node| node.seq)
        .max(dirty.map(|dirty| dirty.seq));
    Ok(match (&record.change, newest) {
        (_, Some(newest)) => newest >= record.seq,
        // The removal is published. A manifest cannot hold anything newer.
        (Change::Remove { .. }, None) => true,
        (Change::Put(_), None) => false,
    })
}
