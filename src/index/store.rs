//! The database: the one module that knows sled.
//!
//! sled 0.34 panics on bit rot, so each call is wrapped. Its `flush` does not fsync, so a barrier also
//! syncs its file. After a failed write it refuses everything until it is opened again.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::disk;
use crate::sync::MutexExt as _;

/// Name of the tree with the index's rows.
const RECORDS: &[u8] = b"records";
/// Bytes of sled's page cache; the process uses about four times as much memory.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// Milliseconds between sled's own flushes. The journal provides durability, so this only bounds the
/// number of commits to roll forward after a crash.
const FLUSH_EVERY_MS: u64 = 500;
/// Longest wait for threads of a closed instance to release the file.
const RELEASE_WAIT: Duration = Duration::from_secs(10);

/// Returns the database's directory in a state directory.
pub(super) fn database(state: &Path) -> PathBuf {
    state.join("index")
}

#[derive(Debug)]
pub(super) enum StoreError {
    Io(io::Error),
    Damaged(String),
}

/// One of the two key spaces.
#[derive(Debug, Clone, Copy)]
pub(super) enum KeySpace {
    /// Rows of the index, summed up in the meta row.
    Records,
    /// Rows of other modules.
    Rows,
}

/// New values by key; `None` removes.
pub(super) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// New value of one row; `None` removes it.
#[derive(Debug)]
pub(super) struct RowWrite {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// Threads that write rows side by side.
const WRITERS: usize = 2;
/// Chunks of rows that may wait for them.
const CHUNKS_WAITING: usize = 2;

/// Visitor of key and value of a row, which decides whether to go on.
pub(super) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

#[derive(Debug)]
pub(super) struct RowStore {
    records: sled::Tree,
    rows: sled::Tree,
    // The last field, so the trees release the database first.
    db: sled::Db,
    directory: PathBuf,
    /// Number of rows that were asked for.
    #[cfg(test)]
    pub reads: std::sync::atomic::AtomicU64,
    /// Number of writes that are made before the disk fails.
    #[cfg(test)]
    pub writes_left: Arc<std::sync::atomic::AtomicU64>,
}

impl RowStore {
    /// Opens the database in `directory`, and makes it when it is not there.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        // sled makes it as the umask says.
        disk::make_private_directory(directory).map_err(StoreError::Io)?;
        // sled opens whatever has the names of its files, and waits for a FIFO.
        disk::require_regular_files(directory).map_err(StoreError::Io)?;
        let started = Instant::now();
        let db = loop {
            let opened = guarded(|| {
                sled::Config::new()
                    .path(directory)
                    .cache_capacity(CACHE_BYTES)
                    .flush_every_ms(Some(FLUSH_EVERY_MS))
                    .mode(sled::Mode::HighThroughput)
                    .open()
            });
            match opened {
                // sled reports a held lock only by this text.
                Err(StoreError::Io(error))
                    if error.to_string().contains("could not acquire lock")
                        && started.elapsed() < RELEASE_WAIT =>
                {
                    thread::sleep(Duration::from_millis(20));
                }
                other => break other?,
            }
        };
        disk::close_to_others(directory).map_err(StoreError::Io)?;
        let records = guarded(|| db.open_tree(RECORDS))?;
        let rows = guarded(|| db.open_tree(b"rows"))?;
        Ok(Self {
            records,
            rows,
            db,
            directory: directory.to_owned(),
            #[cfg(test)]
            reads: std::sync::atomic::AtomicU64::default(),
            #[cfg(test)]
            writes_left: Arc::new(std::sync::atomic::AtomicU64::new(u64::MAX)),
        })
    }

    /// Removes all rows of the index. Those of other modules stay.
    pub fn clear_records(&mut self) -> Result<(), StoreError> {
        self.records = guarded(|| {
            self.db.drop_tree(RECORDS)?;
            self.db.open_tree(RECORDS)
        })?;
        Ok(())
    }

    fn tree(&self, space: KeySpace) -> &sled::Tree {
        match space {
            KeySpace::Records => &self.records,
            KeySpace::Rows => &self.rows,
        }
    }

    /// Returns the value at `key`.
    pub fn get(&self, space: KeySpace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        #[cfg(test)]
        self.reads
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        guarded(|| self.tree(space).get(key)).map(|found| found.map(|value| value.to_vec()))
    }

    /// Visits rows from `from` on (inclusive), as long as they start with `prefix` and `visit` goes on.
    pub fn visit(
        &self,
        space: KeySpace,
        prefix: &[u8],
        from: &[u8],
        visit: Visit<'_>,
    ) -> Result<(), StoreError> {
        guarded(|| {
            for row in self.tree(space).range(from.to_vec()..) {
                let (key, value) = row?;
                if !key.starts_with(prefix) || visit(&key, &value).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Applies all writes or none, also in a crash.
    pub fn apply(&self, space: KeySpace, writes: &Writes) -> Result<(), StoreError> {
        #[cfg(test)]
        take_a_write(&self.writes_left)?;
        let mut batch = sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        guarded(|| self.tree(space).apply_batch(batch))
    }

    /// Starts threads that write rows side by side, each at a time of its own.
    pub fn writers(&self, space: KeySpace) -> RowWriters {
        let (queue, rows) = mpsc::sync_channel(CHUNKS_WAITING);
        let rows: Arc<Mutex<mpsc::Receiver<Vec<RowWrite>>>> = Arc::new(Mutex::new(rows));
        let threads = (0..WRITERS).map(|_| {
            let (tree, rows) = (self.tree(space).clone(), Arc::clone(&rows));
            #[cfg(test)]
            let left = Arc::clone(&self.writes_left);
            thread::spawn(move || {
                loop {
                    let received = rows.acquire().recv();
                    let Ok(chunk) = received else { return Ok(()) };
                    #[cfg(test)]
                    take_a_write(&left)?;
                    guarded(|| write_rows(&tree, chunk))?;
                }
            })
        });
        RowWriters {
            threads: threads.collect(),
            queue,
        }
    }

    /// Hands every write applied so far to the kernel. They survive this process, but not a power cut.
    pub fn write_out(&self) -> Result<(), StoreError> {
        guarded(|| self.db.flush())?;
        Ok(())
    }

    /// Returns when every write applied so far would survive a power cut.
    pub fn flush(&self) -> Result<(), StoreError> {
        guarded(|| self.db.flush())?;
        // sled's own flush stops at sync_file_range.
        let synced = File::open(self.directory.join("db")).and_then(|file| file.sync_all());
        synced.map_err(StoreError::Io)
    }

    /// Closes the database, and returns when its files no longer change. sled's threads hold its lock
    /// until they end.
    pub fn close(self) -> Result<(), StoreError> {
        let file = self.directory.join("db");
        guarded(move || {
            drop(self);
            Ok(())
        })?;
        let file = File::open(file).map_err(StoreError::Io)?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if started.elapsed() < RELEASE_WAIT => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(StoreError::Io(error.into())),
            }
        }
    }

    /// Returns the bytes on disk.
    pub fn size(&self) -> Result<u64, StoreError> {
        guarded(|| self.db.size_on_disk())
    }
}

#[cfg(test)]
fn take_a_write(left: &std::sync::atomic::AtomicU64) -> Result<(), StoreError> {
    use std::sync::atomic::Ordering::Relaxed;
    let less = |left: u64| left.checked_sub(1);
    let taken = left.fetch_update(Relaxed, Relaxed, less);
    taken
        .map(|_| ())
        .map_err(|_| StoreError::Io(io::Error::other("the test ends here")))
}

fn write_rows(tree: &sled::Tree, rows: Vec<RowWrite>) -> sled::Result<()> {
    for row in rows {
        match row.value {
            Some(value) => tree.insert(row.key, value)?,
            None => tree.remove(row.key)?,
        };
    }
    Ok(())
}

/// Threads that write rows.
#[derive(Debug)]
pub(super) struct RowWriters {
    queue: mpsc::SyncSender<Vec<RowWrite>>,
    threads: Vec<JoinHandle<Result<(), StoreError>>>,
}

impl RowWriters {
    /// Hands over rows. Those that lie side by side are written fastest.
    pub fn write(&self, rows: Vec<RowWrite>) {
        // When all threads have ended, `finish` says why.
        let _all_ended = self.queue.send(rows);
    }

    /// Returns when all rows are written.
    pub fn finish(self) -> Result<(), StoreError> {
        drop(self.queue);
        let mut outcome = Ok(());
        for thread in self.threads {
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(StoreError::Damaged("a writer panicked".into())));
            outcome = outcome.and(ended);
        }
        outcome
    }
}

/// Turns sled's panics into errors.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(StoreError::Io(error)),
        Ok(Err(error)) => Err(StoreError::Damaged(error.to_string())),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(StoreError::Damaged(
                text.unwrap_or("the database panicked").to_owned(),
            ))
        }
    }
}
