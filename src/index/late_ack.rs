//! What a start finds in the log that this index has not noted: manifests of its own whose
//! acknowledgement was lost, or changes that it does not know.

use super::core::Index;
use super::draft::RowDraft;
use super::error::IndexError;
use super::key;
use super::outbox::Acknowledged;
use super::record::{DirtyV1, FillV1, LogHeadV1, NodeV1};
use crate::model::{Change, LogRecord};

/// Whether every change of a manifest stands here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LateAck {
    /// It is acknowledged now.
    Noted(Vec<Acknowledged>),
    /// Nothing was changed; it has to be filled in.
    Unknown,
}

/// Whether the log may be filled into rows that were in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    Yes,
    /// Something was changed since the index was opened. Such a change may bear the number of one
    /// in the log, and then neither may win silently.
    Changed,
}

impl Index {
    /// As [`Self::acknowledge`], for a manifest from before this start, and only if each of its
    /// changes, or a newer one of the same entry, stands in the rows.
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
        // Rows only get newer: what was known a moment ago still is.
        match is_known {
            true => Ok(LateAck::Noted(self.acknowledge(head, records)?)),
            false => Ok(LateAck::Unknown),
        }
    }

    /// As [`Self::begin_fill`], unless something was changed since the index was opened.
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
        // Removed, and that is published: a manifest cannot say more.
        (Change::Remove { .. }, None) => true,
        (Change::Put(_), None) => false,
    })
}
