//! Opening a state: who may, what is there, and what has to be repaired.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use super::change::{Origin, draft_changes};
use super::check;
use super::clean::{self, Left};
use super::draft::Draft;
use super::error::IndexError;
use super::journal::{self, Journal, Replay};
use super::record::{FillV1, IdentityV1, JournalHeaderV1, JournalRecord, LogHeadV1, MetaV1};
use super::store::{Space, Store, StoreError};
use super::{
    Activity, Index, Shared, Writer, database, journal_directory, outbox, replay, standing,
};
use crate::disk::{self, DirectoryLock, LockError};
use crate::model::{
    Attributes, Change, Entry, EntryId, EntryKind, Ino, LibraryId, Name, Seq, Timestamp, XattrMap,
};

/// Version of the state directory's layout, in the file `version`.
const STATE_VERSION: u32 = 1;
const VERSION_FILE: &str = "version";

/// Who owns the root directory of a new library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

impl Owner {
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            uid: nix::unistd::getuid().as_raw(),
            gid: nix::unistd::getgid().as_raw(),
        }
    }
}

/// What opening found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OpenState {
    /// A new state: an empty library, unless the store already holds one.
    Fresh,
    /// All rows were there.
    #[default]
    Intact,
    /// The rows were lost; the journal's are back, the rest is in the store's log.
    Damaged,
}

/// What opening found and did, for the log and `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    pub state: OpenState,
    /// Whether entries are missing until the remote's log was read (`upkeep::fill`).
    pub must_fill: bool,
    /// Commits that the index did not hold and that came back from the journal.
    pub rolled_forward: u64,
    /// Bytes at the journal's end that a crash or damage had left unreadable.
    pub journal_bytes_cut: u64,
    /// Where a damaged index was put aside.
    pub set_aside: Option<PathBuf>,
    /// What was done about damage, in order, for people.
    pub notes: Vec<String>,
}

impl Index {
    /// Opens a state directory, makes it when it is not there, and repairs what is damaged.
    /// Blocking: digests the files after a clean stop, else reads every row once to check it.
    ///
    /// # Errors
    /// [`IndexError::Locked`] names the process that has it, [`IndexError::NewerVersion`] leaves
    /// everything as it is, and the rest is what the disk says. Damage is no error.
    pub fn open(state: &Path, owner: Owner) -> Result<(Self, OpenReport), IndexError> {
        Self::open_as(state, owner, Known::New)
    }

    /// Opens a state directory that holds a journal only: the rows are what it says, and the
    /// remote's log has to be filled in.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_from_journal(state: &Path, owner: Owner) -> Result<(Self, OpenReport), IndexError> {
        Self::open_as(state, owner, Known::Used)
    }

    /// Puts the rows and the journal of `other` in the place of this state's, whose old rows are
    /// kept; their new place. Both must be shut down.
    ///
    /// # Errors
    /// When the disk fails. At each moment the next start finds what it needs.
    pub fn replace(state: &Path, other: &Path) -> Result<Option<PathBuf>, IndexError> {
        let fail = |error| IndexError::io("replace", state, error);
        let held = lock_state(state)?;
        let directory = database(state);
        let aside = directory.exists().then(|| bad_name(&directory));
        if let Some(aside) = &aside {
            fs::rename(&directory, aside).map_err(fail)?;
        }
        // With the journal alone, the next start would fill from the remote again.
        journal::adopt_newest(&journal_directory(other), &journal_directory(state))?;
        fs::rename(database(other), &directory).map_err(fail)?;
        disk::sync_directory(state).map_err(fail)?;
        drop(held);
        Ok(aside)
    }

    fn open_as(
        state: &Path,
        owner: Owner,
        at_least: Known,
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
        let index = start(state, held, store, meta, number)?;
        if report.state == OpenState::Fresh {
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
    store: Store,
    meta: MetaV1,
    number: u64,
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
        &mut outbox::restate(&store, &meta)?,
    )?;
    let syncer = journal.syncer();
    let shared = Shared {
        directory: database(state),
        store: RwLock::new(Some(store)),
        next_ino: AtomicU64::new(meta.next_ino.0),
        activity: tokio::sync::watch::Sender::new(Activity {
            last_seq: meta.last_seq,
            bytes: 0,
        }),
        standing: tokio::sync::watch::Sender::new(standing::at_open(&meta)),
        opened_at: meta.last_seq,
        writer: Mutex::new(Writer { journal, meta }),
        _lock: held,
    };
    Ok(Index {
        shared: Arc::new(shared),
        syncer,
    })
}

/// Whether the state was complete once; refuses a newer one.
fn check_version(state: &Path) -> Result<Known, IndexError> {
    let path = state.join(VERSION_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found > STATE_VERSION => Err(IndexError::NewerVersion {
                path: state.to_owned(),
                reason: format!("layout {found}, this program knows {STATE_VERSION}"),
            }),
            // A damaged number says nothing about the rest, which is checked by itself.
            _ => Ok(Known::Used),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Known::New),
        Err(error) => Err(IndexError::io("read", path, error)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    New,
    Used,
}

fn write_version(state: &Path) -> Result<(), IndexError> {
    use std::io::Write;
    let path = state.join(VERSION_FILE);
    disk::write_durably(&path, |file| writeln!(file, "{STATE_VERSION}"))
        .map_err(|error| IndexError::io("write", &path, error))
}

fn open_rows(
    state: &Path,
    known: Known,
    replayed: Option<&Replay>,
    report: &mut OpenReport,
) -> Result<(Store, MetaV1), IndexError> {
    let directory = database(state);
    if let Some(replay) = replayed
        && replay.cut_bytes > 0
    {
        report.journal_bytes_cut = replay.cut_bytes;
        report.notes.push(format!(
            "the last {} bytes of the journal were unreadable and were cut off",
            replay.cut_bytes
        ));
    }
    let left = clean::take(state, &directory);
    if let Some((store, meta)) = open_existing(&directory, left, replayed, report)? {
        let meta = roll_forward(&store, meta, replayed, report)?;
        report.must_fill = meta.fill == FillV1::Needed;
        return Ok((store, meta));
    }
    set_aside(&directory, report)?;
    let store = Store::open(&directory)?;
    if known == Known::New && replayed.is_none() {
        report.state = OpenState::Fresh;
        let meta = empty_meta(None, FillV1::Complete);
        return Ok((store, meta));
    }
    report.state = OpenState::Damaged;
    let meta = empty_meta(replayed, FillV1::Needed);
    let meta = replay::from_journal(&store, meta, replayed.map_or(&[], |replay| &replay.records))?;
    report.rolled_forward = replayed.map_or(0, |replay| replay.records.len() as u64);
    report.must_fill = true;
    report.notes.push(format!(
        "the index was damaged; {} changes came back from the journal, the store's log has the rest",
        report.rolled_forward
    ));
    Ok((store, meta))
}

fn empty_meta(replayed: Option<&Replay>, fill: FillV1) -> MetaV1 {
    let fresh = || IdentityV1 {
        library: LibraryId::random(),
        store: String::new(),
    };
    MetaV1 {
        identity: replayed.map_or_else(fresh, |replay| replay.header.identity.clone()),
        last_seq: replayed.map_or(Seq(0), |replay| replay.header.base),
        next_ino: Ino(Ino::ROOT.0 + 1),
        sum: 0,
        fill,
        log: LogHeadV1::default(),
    }
}

/// The ladder: as it is, without sled's snapshot, not at all.
fn open_existing(
    directory: &Path,
    left: Left,
    replayed: Option<&Replay>,
    report: &mut OpenReport,
) -> Result<Option<(Store, MetaV1)>, IndexError> {
    if !directory.exists() {
        return Ok(None);
    }
    match try_open(directory, left, replayed) {
        Ok(found) => return Ok(found),
        Err(Failure::Fatal(error)) => return Err(error),
        Err(Failure::Damage(reason)) => report
            .notes
            .push(format!("the index does not open ({reason})")),
    }
    if set_snapshots_aside(directory)? == 0 {
        return Ok(None);
    }
    match try_open(directory, Left::Somehow, replayed) {
        Ok(found) => {
            report.notes.push("it opened without its snapshot".into());
            Ok(found)
        }
        Err(Failure::Fatal(error)) => Err(error),
        Err(Failure::Damage(reason)) => {
            report
                .notes
                .push(format!("nor without its snapshot ({reason})"));
            Ok(None)
        }
    }
}

enum Failure {
    /// Nothing may be touched.
    Fatal(IndexError),
    Damage(String),
}

fn try_open(
    directory: &Path,
    left: Left,
    replayed: Option<&Replay>,
) -> Result<Option<(Store, MetaV1)>, Failure> {
    let store = match Store::open(directory) {
        Ok(store) => store,
        Err(StoreError::Damaged(reason)) => return Err(Failure::Damage(reason)),
        Err(StoreError::Io(error)) => match error.kind() {
            // sled tells cut files by these.
            std::io::ErrorKind::UnexpectedEof
            | std::io::ErrorKind::InvalidData
            | std::io::ErrorKind::InvalidInput
            | std::io::ErrorKind::Other => return Err(Failure::Damage(error.to_string())),
            _ => return Err(Failure::Fatal(IndexError::io("open", directory, error))),
        },
    };
    let head = match left {
        Left::Clean => check::head(&store),
        Left::Somehow => check::checked_head(&store),
    };
    let meta = match head {
        Ok(meta) => meta,
        Err(newer @ IndexError::NewerVersion { .. }) => return Err(Failure::Fatal(newer)),
        Err(error) => return Err(Failure::Damage(error.to_string())),
    };
    let Some(meta) = meta else {
        return match replayed {
            // Nothing was ever committed.
            None => Ok(None),
            Some(_) => Err(Failure::Damage("all rows are gone".into())),
        };
    };
    if let Some(replay) = replayed
        && replay.header.base > meta.last_seq
    {
        return Err(Failure::Damage(format!(
            "it ends at change {}, the journal goes on from {}",
            meta.last_seq.0, replay.header.base.0
        )));
    }
    Ok(Some((store, meta)))
}

fn set_snapshots_aside(directory: &Path) -> Result<usize, IndexError> {
    let fail = |error| IndexError::io("set aside", directory, error);
    let mut moved = 0;
    for file in fs::read_dir(directory).map_err(fail)? {
        let name = file.map_err(fail)?.file_name();
        let Some(text) = name.to_str().filter(|name| name.starts_with("snap.")) else {
            continue;
        };
        fs::rename(directory.join(text), directory.join(format!("bad-{text}"))).map_err(fail)?;
        moved += 1;
    }
    Ok(moved)
}

/// A name beside `directory` that is not taken: `index.bad-<seconds since 1970>`.
pub(super) fn bad_name(directory: &Path) -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut seconds = now.map_or(0, |since| since.as_secs());
    loop {
        let candidate = directory.with_extension(format!("bad-{seconds}"));
        if !candidate.exists() {
            return candidate;
        }
        seconds += 1;
    }
}

fn set_aside(directory: &Path, report: &mut OpenReport) -> Result<(), IndexError> {
    let occupied = fs::read_dir(directory).is_ok_and(|mut files| files.next().is_some());
    if !occupied {
        return Ok(());
    }
    let aside = bad_name(directory);
    fs::rename(directory, &aside).map_err(|error| IndexError::io("set aside", directory, error))?;
    report
        .notes
        .push(format!("the damaged index is kept as {}", aside.display()));
    report.set_aside = Some(aside);
    Ok(())
}

/// Applies what the journal holds behind the rows' own last change.
fn roll_forward(
    store: &Store,
    mut meta: MetaV1,
    replayed: Option<&Replay>,
    report: &mut OpenReport,
) -> Result<MetaV1, IndexError> {
    let Some(replay) = replayed else {
        return Ok(meta);
    };
    for record in &replay.records {
        if record.seq <= meta.last_seq {
            continue;
        }
        meta = apply_record(store, meta, record)?;
        report.rolled_forward += 1;
    }
    Ok(meta)
}

fn apply_record(store: &Store, meta: MetaV1, record: &JournalRecord) -> Result<MetaV1, IndexError> {
    let mut draft = Draft::new(store);
    let now = Timestamp::now();
    draft_changes(
        &mut draft,
        &record.changes,
        record.seq,
        now,
        Origin::Journal,
    )?;
    let meta = MetaV1 {
        last_seq: record.seq,
        next_ino: meta.next_ino.max(record.next_ino),
        ..meta
    };
    let (writes, meta) = draft.finish(meta)?;
    store.apply(Space::Records, &writes)?;
    Ok(meta)
}

/// Opens a store that failed in a running daemon, and rolls it forward.
pub(super) fn reopen(directory: &Path) -> Result<(Store, MetaV1), IndexError> {
    let journals = match directory.parent() {
        Some(state) => journal_directory(state),
        None => return Err(IndexError::Damaged("it has no directory".into())),
    };
    let replayed = journal::read(&journals)?;
    match try_open(directory, Left::Somehow, replayed.as_ref()) {
        Ok(Some((store, meta))) => {
            let mut report = OpenReport::default();
            let meta = roll_forward(&store, meta, replayed.as_ref(), &mut report)?;
            Ok((store, meta))
        }
        Ok(None) => Err(IndexError::Damaged("all rows are gone".into())),
        Err(Failure::Fatal(error)) => Err(error),
        Err(Failure::Damage(reason)) => Err(IndexError::Damaged(reason)),
    }
}

/// The root directory of a new library.
fn root_entry(owner: Owner) -> Entry {
    let now = Timestamp::now();
    Entry {
        id: EntryId::ROOT,
        parent: EntryId::ROOT,
        name: root_name(),
        ino: Ino::ROOT,
        attributes: Attributes {
            mode: 0o755,
            uid: owner.uid,
            gid: owner.gid,
            atime: now,
            mtime: now,
            ctime: now,
            created: now,
            xattrs: XattrMap::new(),
        },
        kind: EntryKind::Directory,
    }
}

/// The root has no name; its record needs one.
fn root_name() -> Name {
    match Name::new("root") {
        Ok(name) => name,
        Err(error) => unreachable!("{error}"),
    }
}

pub(super) fn interim_root() -> Entry {
    root_entry(Owner::of_process())
}
