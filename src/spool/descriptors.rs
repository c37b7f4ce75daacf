//! Descriptors of the spool's files. A spool can hold more files than a process may have open. Those that
//! were used last stay open; the others are opened again when they are used.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, Weak};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

use crate::disk;
use crate::sync::{MutexExt as _, RwLockExt as _};

/// Share of the descriptors of this process that the spool takes.
const SHARE: u64 = 4;
/// Most of them. Opening a file again costs a few microseconds, so more gain nothing.
const MOST: usize = 1024;
const LEAST: usize = 4;

/// Pool of open descriptors.
#[derive(Debug)]
pub(super) struct DescriptorPool {
    most: usize,
    open: Mutex<Vec<Weak<LazyFile>>>,
    uses: AtomicU64,
}

/// File that is opened when it is used, and that the pool may close between two uses.
#[derive(Debug)]
pub(super) struct LazyFile {
    path: PathBuf,
    /// Held for reading by whoever uses the descriptor, so that it is not closed meanwhile.
    slot: RwLock<Option<File>>,
    last_use: AtomicU64,
    /// Set when bytes may not be on the disk. Only a descriptor that was open at the time is sure to hear that
    /// the disk could not take them.
    is_unsynced: AtomicBool,
    /// Kind of the first failure of the disk to take the file's bytes. The kernel reports that once and then
    /// forgets it.
    damage: OnceLock<io::ErrorKind>,
    /// Set when the name is gone, so that the file cannot be opened again.
    is_kept_open: AtomicBool,
    pool: Arc<DescriptorPool>,
}

impl DescriptorPool {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            open: Mutex::default(),
            uses: AtomicU64::new(0),
        })
    }

    /// Makes a pool with a share of what this process may open.
    pub(super) fn of_process() -> Arc<Self> {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        let share = usize::try_from(limit / SHARE).unwrap_or(MOST);
        Self::new(share.clamp(LEAST, MOST))
    }

    /// Opens a file, and closes others when too many are open or the process may not open another one.
    fn open(&self, path: &Path, options: &OpenOptions) -> io::Result<File> {
        while self.count() >= self.most && self.close_one() {}
        loop {
            match options.open(path) {
                Err(error) if lacks_descriptor(&error) && self.close_one() => {}
                outcome => return outcome,
            }
        }
    }

    /// Returns a number for a use, larger than that of each use before it.
    fn next_use(&self) -> u64 {
        self.uses.fetch_add(1, Ordering::Relaxed)
    }

    fn count(&self) -> usize {
        let mut open = self.open.acquire();
        open.retain(|file| file.strong_count() > 0);
        open.len()
    }

    fn add(&self, file: &Arc<LazyFile>) {
        self.open.acquire().push(Arc::downgrade(file));
    }

    /// Closes the file that was used longest ago, rather one whose bytes are on the disk. Returns `false`
    /// when all are in use.
    fn close_one(&self) -> bool {
        let mut open = self.open.acquire();
        let mut files: Vec<Arc<LazyFile>> = open.iter().filter_map(Weak::upgrade).collect();
        // Others use files meanwhile, so each key is read once.
        files.sort_by_cached_key(|file| {
            let unsynced = file.is_unsynced.load(Ordering::Relaxed);
            (unsynced, file.last_use.load(Ordering::Relaxed))
        });
        let Some(closed) = files.iter().find(|file| file.close()) else {
            return false;
        };
        open.retain(|file| !std::ptr::eq(file.as_ptr(), Arc::as_ptr(closed)));
        true
    }
}

impl LazyFile {
    /// Names a file that exists.
    pub(super) fn closed(path: PathBuf, pool: &Arc<DescriptorPool>) -> Arc<Self> {
        Arc::new(Self {
            path,
            slot: RwLock::new(None),
            last_use: AtomicU64::new(0),
            is_unsynced: AtomicBool::new(false),
            damage: OnceLock::new(),
            is_kept_open: AtomicBool::new(false),
            pool: Arc::clone(pool),
        })
    }

    /// Creates a file of this mode.
    pub(super) fn create(
        path: PathBuf,
        mode: u32,
        pool: &Arc<DescriptorPool>,
    ) -> io::Result<Arc<Self>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(mode);
        let created = pool.open(&path, &options)?;
        let file = Self::closed(path, pool);
        file.last_use.store(pool.next_use(), Ordering::Relaxed);
        *file.slot.acquire_write() = Some(created);
        pool.add(&file);
        Ok(file)
    }

    /// Calls `work` with the open file.
    pub(super) fn read<T>(
        self: &Arc<Self>,
        work: impl FnOnce(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        self.last_use.store(self.pool.next_use(), Ordering::Relaxed);
        loop {
            if let Some(file) = &*self.slot.acquire_read() {
                return work(file);
            }
            self.open()?;
        }
    }

    /// Does the same, for work that changes the file.
    pub(super) fn change<T>(
        self: &Arc<Self>,
        work: impl FnOnce(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        self.read(|file| {
            let outcome = work(file);
            // Behind the work: a sync that runs beside it may have missed it.
            self.is_unsynced.store(true, Ordering::Relaxed);
            outcome
        })
    }

    fn open(self: &Arc<Self>) -> io::Result<()> {
        let mut slot = self.slot.acquire_write();
        if slot.is_none() {
            let mut options = disk::regular_only();
            options.read(true).write(true);
            let file = self.pool.open(&self.path, &options)?;
            *slot = Some(disk::require_regular(file, &self.path)?);
            self.pool.add(self);
        }
        Ok(())
    }

    /// Closes the descriptor, unless somebody uses it or needs it to stay.
    fn close(&self) -> bool {
        let Ok(mut slot) = self.slot.try_write() else {
            return false;
        };
        let Some(file) = &*slot else {
            return false;
        };
        if self.is_kept_open.load(Ordering::Relaxed) {
            return false;
        }
        if self.is_unsynced.load(Ordering::Relaxed) {
            // Its failure is kept, and told by the next sync.
            let _ = self.sync_open(file);
        }
        *slot = None;
        true
    }

    /// Opens the file for as long as this lives, because its name is about to go.
    pub(super) fn keep_open(self: &Arc<Self>) -> io::Result<()> {
        self.is_kept_open.store(true, Ordering::Relaxed);
        self.read(|_| Ok(()))
    }

    /// Makes the written bytes durable. Fails when the disk ever failed to take bytes of this file.
    pub(super) fn sync(self: &Arc<Self>) -> io::Result<()> {
        let synced = self.read(|file| self.sync_open(file));
        match self.damage.get() {
            Some(kind) if synced.is_ok() => Err(io::Error::new(
                *kind,
                "the disk of the spool could not take all bytes of this file",
            )),
            _ => synced,
        }
    }

    fn sync_open(&self, file: &File) -> io::Result<()> {
        self.is_unsynced.store(false, Ordering::Relaxed);
        let synced = file.sync_data();
        if let Err(error) = &synced {
            self.set_damaged(error.kind());
        }
        synced
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damage.get().is_some()
    }

    pub(super) fn set_damaged(&self, kind: io::ErrorKind) {
        // The first failure is the one to tell.
        let _ = self.damage.set(kind);
    }
}

/// Returns whether this process, or the machine, may not open another file now.
fn lacks_descriptor(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE))
}
