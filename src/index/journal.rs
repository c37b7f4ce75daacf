//! The journal: an append-only file of the changes that the flushed index or the remote may not
//! hold yet. `docs/FORMAT.md` has the bytes and the reasons.

use std::fs::{self, File};
use std::io::{BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::error::IndexError;
use super::record::{JournalHeaderV1, JournalRecord};
use crate::codec::{CodecError, decode, read_frame, write_frame};
use crate::disk;
use crate::sync::MutexExt as _;

/// Time that changes may wait for an fdatasync that no caller asked for, so that many share one.
const GROUP_COMMIT: Duration = Duration::from_millis(150);
const SUFFIX: &str = ".journal";

/// Returns the journal's directory in a state directory.
pub(super) fn journal_directory(state: &Path) -> PathBuf {
    state.join("journal")
}

/// Content of a journal file.
#[derive(Debug)]
pub(super) struct Replay {
    pub header: JournalHeaderV1,
    pub records: Vec<JournalRecord<'static>>,
    /// Bytes after the last whole record, which are cut off.
    pub cut_bytes: u64,
}

#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    number: u64,
    /// Bytes of whole records.
    len: u64,
    /// Bytes of the restated changes with which this file was begun.
    begun_len: u64,
    shared: Arc<SyncQueue>,
    flusher: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct SyncQueue {
    state: Mutex<SyncState>,
    wake: Condvar,
    /// Held while one thread syncs; the threads that wait for it find their records synced.
    turn: Mutex<()>,
}

#[derive(Debug)]
struct SyncState {
    file: Arc<File>,
    /// Number of appended records.
    written: u64,
    synced: u64,
    /// True after a failed fdatasync. The kernel then forgets the pages that it could not write, and only
    /// a new file helps.
    failed: bool,
    stopping: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.acquire()
}

fn file_name(number: u64) -> String {
    format!("{number:020}{SUFFIX}")
}

/// Returns the journal files, ascending by number.
fn numbers(directory: &Path) -> Result<Vec<u64>, IndexError> {
    let fail = |source| IndexError::io("list", directory, source);
    let mut numbers = Vec::new();
    for file in fs::read_dir(directory).map_err(fail)? {
        let name = file.map_err(fail)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads the newest file that has a header; `None` when there is none.
pub(super) fn read(directory: &Path) -> Result<Option<Replay>, IndexError> {
    for number in numbers(directory)?.into_iter().rev() {
        let path = directory.join(file_name(number));
        let file =
            disk::open_regular(&path).map_err(|error| IndexError::io("open", &path, error))?;
        let total = file
            .metadata()
            .map_err(|error| IndexError::io("stat", &path, error))?
            .len();
        if let Some(replay) = read_file(&mut BufReader::new(file), total)? {
            return Ok(Some(replay));
        }
    }
    Ok(None)
}

fn read_file(input: &mut BufReader<File>, total: u64) -> Result<Option<Replay>, IndexError> {
    let header = match read_frame(input) {
        Ok(Some(frame)) => match decode::<JournalHeaderV1>(&frame) {
            Ok(header) => header,
            Err(newer @ CodecError::NewerVersion { .. }) => return Err(newer.into()),
            Err(_) => return Ok(None),
        },
        Ok(None) | Err(_) => return Ok(None),
    };
    let mut replay = Replay {
        header,
        records: Vec::new(),
        cut_bytes: 0,
    };
    let mut whole = input
        .stream_position()
        .map_err(|error| IndexError::io("read", "journal", error))?;
    while let Ok(Some(frame)) = read_frame(input) {
        match decode(&frame) {
            Ok(record) => replay.records.push(record),
            Err(newer @ CodecError::NewerVersion { .. }) => return Err(newer.into()),
            // Records after a bad one may not follow from those before it.
            Err(_) => break,
        }
        whole = input
            .stream_position()
            .map_err(|error| IndexError::io("read", "journal", error))?;
    }
    replay.cut_bytes = total.saturating_sub(whole);
    Ok(Some(replay))
}

/// Moves the newest journal file of one directory into another, where it must be the newest too.
pub(super) fn adopt_newest(from: &Path, to: &Path) -> Result<(), IndexError> {
    if let Some(number) = numbers(from)?.pop() {
        let name = file_name(number);
        fs::rename(from.join(&name), to.join(&name))
            .and_then(|()| disk::sync_directory(to))
            .map_err(|error| IndexError::io("move", to, error))?;
    }
    Ok(())
}

impl Journal {
    /// Begins a new file with `records`, makes it durable and removes the older files.
    pub fn begin(
        directory: &Path,
        header: &JournalHeaderV1,
        records: &mut dyn Iterator<Item = Result<JournalRecord, IndexError>>,
    ) -> Result<Self, IndexError> {
        let (file, len) = write_file(directory, header, records)?;
        let shared = Arc::new(SyncQueue {
            state: Mutex::new(SyncState {
                file: Arc::new(file),
                written: 0,
                synced: 0,
                failed: false,
                stopping: false,
            }),
            wake: Condvar::new(),
            turn: Mutex::new(()),
        });
        let flusher = std::thread::Builder::new()
            .name("journal".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.run()
            })
            .map_err(|error| IndexError::io("start a thread for", directory, error))?;
        Ok(Self {
            directory: directory.to_owned(),
            number: header.number,
            len,
            begun_len: len,
            shared,
            flusher: Some(flusher),
        })
    }

    /// Returns the number of the current file.
    pub fn number(&self) -> u64 {
        self.number
    }
    /// Returns the bytes of whole records in the current file.
    pub fn len(&self) -> u64 {
        self.len
    }
    /// Returns the bytes that the current file had when it was begun.
    pub fn begun_len(&self) -> u64 {
        self.begun_len
    }

    /// Begins a new file, as [`Self::begin`], while the journal is in use.
    pub fn rotate(
        &mut self,
        header: &JournalHeaderV1,
        records: &mut dyn Iterator<Item = Result<JournalRecord, IndexError>>,
    ) -> Result<(), IndexError> {
        let (file, len) = write_file(&self.directory, header, records)?;
        let mut state = lock(&self.shared.state);
        state.file = Arc::new(file);
        state.synced = state.written;
        state.failed = false;
        self.number = header.number;
        self.len = len;
        self.begun_len = len;
        Ok(())
    }

    /// Appends one record. It survives a crash of the process at once, and a power cut after the next
    /// sync. After an error nothing of the record is left.
    pub fn append(&mut self, record: &JournalRecord) -> Result<u64, IndexError> {
        let before = self.len;
        let mut state = lock(&self.shared.state);
        let mut file: &File = &state.file;
        match write_frame(record, &mut file) {
            Ok(bytes) => {
                self.len += bytes;
                state.written += 1;
                self.shared.wake.notify_one();
                Ok(before)
            }
            Err(error) => {
                drop(state);
                self.cut(before)?;
                Err(error.into())
            }
        }
    }

    /// Removes the records appended since the journal had `len` bytes.
    pub fn cut(&mut self, len: u64) -> Result<(), IndexError> {
        let state = lock(&self.shared.state);
        state
            .file
            .set_len(len)
            .map_err(|error| IndexError::io("cut", &self.directory, error))?;
        self.len = len;
        Ok(())
    }

    /// Returns a handle that waits for the disk without holding the journal.
    pub fn syncer(&self) -> Syncer {
        Syncer(Arc::clone(&self.shared))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        lock(&self.shared.state).stopping = true;
        self.shared.wake.notify_all();
        if let Some(flusher) = self.flusher.take() {
            // Nobody waits for a flusher that panicked.
            let _ = flusher.join();
        }
    }
}

/// A handle that waits for the disk without holding the journal.
#[derive(Debug, Clone)]
pub(super) struct Syncer(Arc<SyncQueue>);

impl Syncer {
    /// Returns when every record appended so far is on the disk.
    pub fn sync(&self) -> Result<(), IndexError> {
        self.0.sync()
    }
}

impl SyncQueue {
    fn sync(&self) -> Result<(), IndexError> {
        let wanted = lock(&self.state).written;
        let _turn = lock(&self.turn);
        let (file, written) = {
            let state = lock(&self.state);
            if state.failed {
                return Err(sync_error(std::io::Error::other(
                    "an earlier write of the journal failed",
                )));
            }
            if state.synced >= wanted {
                return Ok(());
            }
            (Arc::clone(&state.file), state.written)
        };
        let outcome = file.sync_data();
        let mut state = lock(&self.state);
        // A file that was replaced meanwhile was synced by the rotation.
        if !Arc::ptr_eq(&state.file, &file) {
            return Ok(());
        }
        match outcome {
            Ok(()) => {
                state.synced = state.synced.max(written);
                Ok(())
            }
            Err(error) => {
                state.failed = true;
                Err(sync_error(error))
            }
        }
    }

    fn run(&self) {
        loop {
            {
                let mut state = lock(&self.state);
                while !state.stopping && (state.failed || state.written == state.synced) {
                    state = self
                        .wake
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                if state.stopping && (state.failed || state.written == state.synced) {
                    return;
                }
            }
            if !lock(&self.state).stopping {
                std::thread::sleep(GROUP_COMMIT);
            }
            if let Err(error) = self.sync() {
                tracing::error!(%error, "the journal cannot be written to the disk");
            }
        }
    }
}

fn sync_error(error: std::io::Error) -> IndexError {
    IndexError::io("sync", "journal", error)
}

fn write_file(
    directory: &Path,
    header: &JournalHeaderV1,
    records: &mut dyn Iterator<Item = Result<JournalRecord, IndexError>>,
) -> Result<(File, u64), IndexError> {
    let path = directory.join(file_name(header.number));
    let mut failed = None;
    let mut len = 0;
    let written = disk::write_durably(&path, |file| {
        let mut output = std::io::BufWriter::new(file);
        let mut write_all = || -> Result<(), IndexError> {
            len += write_frame(header, &mut output)?;
            for record in &mut *records {
                len += write_frame(&record?, &mut output)?;
            }
            Ok(())
        };
        if let Err(error) = write_all() {
            failed = Some(error);
            return Err(std::io::Error::other("interrupted"));
        }
        output.flush()
    });
    if let Some(error) = failed {
        return Err(error);
    }
    written.map_err(|error| IndexError::io("write", &path, error))?;
    let file = disk::open_regular_as(&path, disk::regular_only().append(true))
        .map_err(|error| IndexError::io("open", &path, error))?;
    for older in numbers(directory)? {
        if older < header.number {
            // The older file is superseded. If it stays, the next start ignores it and tries again.
            let _ = fs::remove_file(directory.join(file_name(older)));
        }
    }
    Ok((file, len))
}
