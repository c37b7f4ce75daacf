//! Filling an index from the remote's log.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use super::core::{Index, IndexCore, IndexWriter, closed};
use super::draft::RowDraft;
use super::error::IndexError;
use super::key;
use super::lost_and_found::FillReport;
use super::rebuild::{Orphans, rebuild};
use super::record::{FillV1, LogHeadV1, NodeV1};
use super::replay::{RecordSource, replay_one};
use super::scan::visit_rows;
use crate::model::{Ino, LibraryId, LogRecord, Seq};

/// Records whose rows are drafted at once.
const RECORDS_A_STEP: usize = 32 * 1024;

impl IndexCore {
    fn fill_step(&self, writer: &mut IndexWriter, records: &[LogRecord]) -> Result<(), IndexError> {
        self.headroom.keep()?;
        self.reopen(writer)?;
        let outcome = {
            let guard = self.store();
            let store = guard.as_ref().ok_or_else(closed)?;
            let mut draft = RowDraft::of_many(store)?;
            for record in records {
                replay_one(&mut draft, record, RecordSource::Log)?;
            }
            draft.write_all(&mut writer.meta)
        };
        if outcome.is_err() {
            // The next use opens the store again.
            *self.store_mut() = None;
        }
        outcome
    }
}

/// Steps of filling, in this order: `begin_fill`, `fill` for each manifest, `finish_fill`.
impl Index {
    /// Returns whether the log must be read into this index before it may change.
    #[must_use]
    pub fn must_fill(&self) -> bool {
        self.core.writer().meta.fill == FillV1::Needed
    }

    /// Refuses commits until [`Self::finish_fill`].
    ///
    /// # Errors
    /// When the database fails.
    pub fn begin_fill(&self) -> Result<(), IndexError> {
        self.core.housekeep(|_, meta| {
            meta.fill = FillV1::Needed;
            Ok(())
        })
    }

    /// Applies the records of the log that are newer than the rows. A crash may leave some of them undone, for which
    /// filling starts over. It is fastest for many records in the order of their entries.
    ///
    /// # Errors
    /// When the database fails.
    pub fn fill(&self, records: &[LogRecord]) -> Result<(), IndexError> {
        let mut writer = self.core.writer();
        for records in records.chunks(RECORDS_A_STEP) {
            self.core.fill_step(&mut writer, records)?;
        }
        Ok(())
    }

    /// Derives names and references from the filled rows, and allows commits.
    ///
    /// # Errors
    /// When the database fails. Filling starts over then.
    pub fn finish_fill(
        &self,
        head: LogHeadV1,
        last_seq: Seq,
        next_ino: Ino,
    ) -> Result<FillReport, IndexError> {
        let mut writer = self.core.writer();
        let report = {
            let guard = self.core.store();
            let store = guard.as_ref().ok_or_else(closed)?;
            let mut meta = writer.meta.clone();
            meta.last_seq = meta.last_seq.max(last_seq);
            meta.next_ino = meta.next_ino.max(next_ino);
            let outcome = rebuild(store, &mut meta, Orphans::Adopt);
            writer.meta = meta;
            outcome?
        };
        let next_ino = writer.meta.next_ino.0;
        self.core.next_ino.fetch_max(next_ino, Ordering::Relaxed);
        self.core.housekeep_with(&mut writer, |_, meta| {
            meta.fill = FillV1::Complete;
            meta.log = head;
            Ok(())
        })?;
        self.core.compact(&mut writer)?;
        Ok(report)
    }

    /// Returns the description of the store that this state was first used with; empty before.
    #[must_use]
    pub fn store_description(&self) -> String {
        self.core.writer().meta.identity.store.clone()
    }

    /// Ties this state to a library and a store, in rows and journal.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn bind(&self, library: LibraryId, store: &str) -> Result<(), IndexError> {
        let mut writer = self.core.writer();
        self.core.housekeep_with(&mut writer, |_, meta| {
            meta.identity.library = library;
            store.clone_into(&mut meta.identity.store);
            Ok(())
        })?;
        self.core.compact(&mut writer)
    }

    /// Returns whether the index holds nothing but the root directory.
    ///
    /// # Errors
    /// When the database fails.
    pub fn is_empty(&self) -> Result<bool, IndexError> {
        self.core.read(|store| {
            let mut count = 0;
            let prefix = [key::NODES];
            visit_rows::<NodeV1>(store, &prefix, &prefix, &mut |_, _| {
                count += 1;
                if count > 1 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            Ok::<_, IndexError>(count <= 1)
        })
    }
}
