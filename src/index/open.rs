//! Opening of a state directory: its lock, its version and its parts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};

use super::clean::Left;
use super::core::{Activity, Index, IndexCore, IndexWriter};
use super::error::IndexError;
use super::headroom::Headroom;
use super::journal::{self, Journal, journal_directory};
use super::open_rows::{IndexCondition, OpenReport, StateUse, bad_name, open_rows};
use super::record::{JournalHeaderV1, MetaV1};
use super::root::{Owner, root_entry};
use super::store::{RowStore, database};
use super::{attach_state, dirty};
use crate::disk::{self, DirectoryLock, LockError};
use crate::model::Change;

/// Version of the state directory's layout, in the file `version`.
const STATE_VERSION: u32 = 1;
const VERSION_FILE: &str = "version";

impl Index {
    /// Opens a state directory. Creates it when it does not exist, and repairs it when it is damaged.
    /// Blocking: digests the files after a clean stop, and reads every row otherwise.
    ///
    /// # Errors
    /// [`IndexError::Locked`] when another process has it. [`IndexError::NewerVersion`] when a newer tgfs
    /// wrote it; it is left unchanged then. A disk error. Damage is no error.
    pub fn open(state: &Path, owner: Owner) -> Result<(Self, OpenReport), IndexError> {
        Self::open_as(state, owner, StateUse::New)
    }

    /// Opens a state directory that holds only a journal. The rows come from it, and the remote's log must
    /// be filled in.
    ///
    /// # Errors
    /// See [`Self::open`].
    pub fn open_from_journal(state: &Path, owner: Owner) -> Result<(Self, OpenReport), IndexError> {
        Self::open_as(state, owner, StateUse::Used)
    }

    /// Replaces rows and journal of this state by those of `other`. Both must be shut down. Returns where
    /// the old rows are kept.
    ///
    /// # Errors
    /// When the disk fails. The next start finds a usable state in any case.
    pub fn replace(state: &Path, other: &Path) -> Result<Option<PathBuf>, IndexError> {
        let fail = |error| IndexError::io("replace", state, error);
        let held = lock_state(state)?;
        let directory = database(state);
        let aside = directory.exists().then(|| bad_name(&directory));
        if let Some(aside) = &aside {
            fs::rename(&directory, aside).map_err(fail)?;
        }
        // The journal is moved first. With it alone, the next start would fill from the remote again.
        journal::adopt_newest(&journal_directory(other), &journal_directory(state))?;
        fs::rename(database(other), &directory).map_err(fail)?;
        disk::sync_directory(state).map_err(fail)?;
        drop(held);
        Ok(aside)
    }

    /// Opens the state. On a full disk it gives up the space that was kept for this: files can then
    /// be read, and changes are refused.
    fn open_as(
        state: &Path,
        owner: Owner,
        at_least: StateUse,
    ) -> Result<(Self, OpenReport), IndexError> {
        let opened = match Self::try_open_as(state, owner, at_least) {
            Err(IndexError::NoSpace { .. }) if Headroom::beside(&database(state)).give() => {
                Self::try_open_as(state, owner, at_least)?
            }
            opened => opened?,
        };
        if let Err(error) = opened.0.core.headroom.keep() {
            tracing::warn!(%error, "files can be read, but nothing can be changed until there is space");
        }
        Ok(opened)
    }

    fn try_open_as(
        state: &Path,
        owner: Owner,
        at_least: StateUse,
    ) -> Result<(Self, OpenReport), IndexError> {
        disk::make_private_directory(state)
            .map_err(|error| IndexError::io("make", state, error))?;
        let held = lock_state(state)?;
        let known = check_version(state)?.max(at_least);
        let journals = journal_directory(state);
        disk::make_private_directory(&journals)
            .map_err(|error| IndexError::io("make", &journals, error))?;
        let replayed = journal::read(&journals)?;
        let mut report = OpenReport::default();
        let (store, meta) = open_rows(state, known, replayed.as_ref(), &mut report)?;
        let number = replayed.as_ref().map_or(0, |replay| replay.header.number) + 1;
        drop(replayed);
        let index = start(state, held, (store, meta), number, report.left)?;
        if report.state == IndexCondition::Fresh {
            index.commit(&[Change::Put(Box::new(root_entry(owner)))])?;
        }
        index.sync()?;
        write_version(state)?;
        Ok((index, report))
    }
}

fn lock_state(state: &Path) -> Result<DirectoryLock, IndexError> {
    DirectoryLock::take(state).map_err(|error| match error {
        LockError::Held(pid) => IndexError::Locked {
            path: state.to_owned(),
            holder: pid,
        },
        LockError::Io(source) => IndexError::io("lock", state, source),
    })
}

fn start(
    state: &Path,
    held: DirectoryLock,
    (store, meta): (RowStore, MetaV1),
    number: u64,
    left: Left,
) -> Result<Index, IndexError> {
    store.flush()?;
    let header = JournalHeaderV1 {
        number,
        base: meta.last_seq,
        identity: meta.identity.clone(),
    };
    let journal = Journal::begin(
        &journal_directory(state),
        &header,
        &mut dirty::restate(&store, &meta)?,
    )?;
    let syncer = journal.syncer();
    let core = IndexCore {
        directory: database(state),
        store: RwLock::new(Some(store)),
        next_ino: AtomicU64::new(meta.next_ino.0),
        activity: tokio::sync::watch::Sender::new(Activity {
            last_seq: meta.last_seq,
            bytes: 0,
        }),
        store_status: tokio::sync::watch::Sender::new(attach_state::at_open(&meta)),
        opened_at: meta.last_seq,
        left,
        writer: Mutex::new(IndexWriter { journal, meta }),
        headroom: Headroom::beside(&database(state)),
        _lock: held,
    };
    Ok(Index {
        core: Arc::new(core),
        syncer,
    })
}

/// Returns whether the state was used before, and refuses one of a newer version.
fn check_version(state: &Path) -> Result<StateUse, IndexError> {
    let path = state.join(VERSION_FILE);
    match disk::read_regular_text(&path) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found > STATE_VERSION => Err(IndexError::NewerVersion {
                path: state.to_owned(),
                reason: format!("layout {found}, this program knows {STATE_VERSION}"),
            }),
            // The rest of the state is checked by itself, whatever a damaged number says.
            _ => Ok(StateUse::Used),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(StateUse::New),
        Err(error) => Err(IndexError::io("read", path, error)),
    }
}

fn write_version(state: &Path) -> Result<(), IndexError> {
    use std::io::Write;
    let path = state.join(VERSION_FILE);
    disk::write_durably(&path, |file| writeln!(file, "{STATE_VERSION}"))
        .map_err(|error| IndexError::io("write", &path, error))
}
