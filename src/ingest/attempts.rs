//! Counts of attempts at making a file's views. An attempt is written down before it begins, so that a
//! file that ends the daemon is known at the next start.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

use super::notes::io;
use crate::index::{Index, Rows};
use crate::model::{EntryId, FsResult};
use crate::sync::MutexExt as _;

/// Number of the attempt that is not made any more: two before it ended the daemon, stalled or lost
/// their tool.
pub const LAST_ATTEMPT: u32 = 3;

/// Counts of attempts, one row for each file that has had one.
#[derive(Debug)]
pub struct Attempts {
    rows: Rows,
    /// Files with an attempt under way.
    running: Mutex<HashSet<EntryId>>,
}

/// Count of one file's attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AttemptCount {
    /// Version of the file. A newer one begins at zero.
    version: u64,
    count: u32,
}

impl Attempts {
    /// Opens the counts.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn open(index: &Index) -> FsResult<Self> {
        Ok(Self {
            rows: index.rows("attempts").map_err(io)?,
            running: Mutex::default(),
        })
    }

    fn running(&self) -> MutexGuard<'_, HashSet<EntryId>> {
        self.running.acquire()
    }

    /// Counts one more attempt before it begins, and returns its number. The count outlives a daemon that
    /// dies the moment after.
    ///
    /// # Errors
    /// `Io` when the index cannot be read or written.
    pub fn begin(&self, id: EntryId, version: u64) -> FsResult<u32> {
        let before = self.count(id)?.filter(|count| count.version == version);
        let count = before.map_or(0, |before| before.count).saturating_add(1);
        self.put(id, AttemptCount { version, count })?;
        self.running().insert(id);
        Ok(count)
    }

    /// Notes that an attempt ended without a result. It stays counted.
    pub fn failed(&self, id: EntryId) {
        self.running().remove(&id);
    }

    /// Takes the attempt under way out of the count, because its end says nothing about the file.
    pub fn take_back(&self, id: EntryId) {
        if !self.running().remove(&id) {
            return;
        }
        let counted = match self.count(id) {
            Ok(Some(counted)) if counted.count > 1 => self.put(
                id,
                AttemptCount {
                    count: counted.count - 1,
                    ..counted
                },
            ),
            Ok(_) => self.rows.remove(id.as_bytes()).map_err(io),
            Err(error) => Err(error),
        };
        if let Err(error) = counted {
            tracing::debug!(%id, %error, "an attempt that was no failure stays counted");
        }
    }

    /// Takes all attempts under way out of the counts, because a stop is no failure.
    pub fn take_back_running(&self) {
        let running: Vec<EntryId> = self.running().iter().copied().collect();
        running.into_iter().for_each(|id| self.take_back(id));
    }

    /// Forgets the attempts of a file.
    pub fn forget(&self, id: EntryId) {
        self.running().remove(&id);
        if let Err(error) = self.rows.remove(id.as_bytes()) {
            tracing::debug!(%id, %error, "a count of attempts stays behind");
        }
    }

    fn count(&self, id: EntryId) -> FsResult<Option<AttemptCount>> {
        let row = self.rows.get(id.as_bytes()).map_err(io)?;
        Ok(row.and_then(|row| AttemptCount::decode(&row)))
    }

    fn put(&self, id: EntryId, count: AttemptCount) -> FsResult<()> {
        let row = count.encode();
        self.rows.put_lastingly(id.as_bytes(), &row).map_err(io)
    }
}

impl AttemptCount {
    fn encode(self) -> Vec<u8> {
        let mut row = self.version.to_le_bytes().to_vec();
        row.extend_from_slice(&self.count.to_le_bytes());
        row
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let (version, count) = row.split_first_chunk::<8>()?;
        Some(Self {
            version: u64::from_le_bytes(*version),
            count: u32::from_le_bytes(count.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Owner;

    #[test]
    fn deaths_and_failures_count_and_a_stop_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let (index, _) = Index::open(directory.path(), Owner::of_process()).unwrap();
        let id = EntryId::random();
        let dies = Attempts::open(&index).unwrap();
        assert_eq!(dies.begin(id, 1).unwrap(), 1);
        // The next daemon is stopped in the middle, and that costs nothing.
        let stopped = Attempts::open(&index).unwrap();
        assert_eq!(stopped.begin(id, 1).unwrap(), 2);
        stopped.take_back_running();
        let later = Attempts::open(&index).unwrap();
        assert_eq!(later.begin(id, 1).unwrap(), 2, "the death stays counted");
        later.failed(id);
        later.take_back_running();
        assert_eq!(later.begin(id, 1).unwrap(), 3, "and so does a failure");
        later.take_back(id);
        assert_eq!(later.begin(id, 2).unwrap(), 1, "other bytes begin anew");
        later.take_back(id);
        assert_eq!(later.begin(id, 2).unwrap(), 1);
    }
}
