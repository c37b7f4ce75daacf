//! Opening of the rows: repair of damage, and recovery of changes from the journal.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::change::{Origin, draft_changes};
use super::clean::{self, Left};
use super::draft::RowDraft;
use super::error::IndexError;
use super::journal::{self, Replay, journal_directory};
use super::record::{FillV1, IdentityV1, JournalRecord, LogHeadV1, MetaV1};
use super::store::{KeySpace, RowStore, StoreError, Writes, database};
use super::{check, kept_keys, replay};
use crate::model::{Ino, LibraryId, Seq, Timestamp};

/// Condition in which the index was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IndexCondition {
    /// The state is new. Its library is empty, unless the store already holds one.
    Fresh,
    /// All rows were there.
    #[default]
    Intact,
    /// The rows were lost. Those in the journal are back; the store's log has the others.
    Damaged,
}

/// Report of opening, for the log and `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    pub state: IndexCondition,
    /// True if entries are missing until the remote's log is read (`upkeep::fill`).
    pub must_fill: bool,
    pub left: Left,
    /// Number of commits that came back from the journal.
    pub rolled_forward: u64,
    /// Unreadable bytes at the journal's end, after a crash or damage.
    pub journal_bytes_cut: u64,
    /// Place to which a damaged index was moved.
    pub set_aside: Option<PathBuf>,
    /// Repairs, in order, for users.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StateUse {
    New,
    Used,
}

pub(super) fn open_rows(
    state: &Path,
    known: StateUse,
    replayed: Option<&Replay>,
    report: &mut OpenReport,
) -> Result<(RowStore, MetaV1), IndexError> {
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
    report.left = left;
    let mut kept = Writes::new();
    if let Some((store, meta)) = open_existing(&directory, left, replayed, report, &mut kept)? {
        let meta = roll_forward(&store, meta, replayed, report)?;
        report.must_fill = meta.fill == FillV1::Needed;
        return Ok((store, meta));
    }
    set_aside(&directory, report)?;
    let store = RowStore::open(&directory)?;
    store.apply(KeySpace::Rows, &kept)?;
    if known == StateUse::New && replayed.is_none() {
        report.state = IndexCondition::Fresh;
        let meta = empty_meta(None, FillV1::Complete);
        return Ok((store, meta));
    }
    report.state = IndexCondition::Damaged;
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

/// Opens existing rows, first as they are, then without sled's snapshot. Returns `None` when neither
/// works; `kept` has the rows of the key store then, as far as they can be read.
fn open_existing(
    directory: &Path,
    left: Left,
    replayed: Option<&Replay>,
    report: &mut OpenReport,
    kept: &mut Writes,
) -> Result<Option<(RowStore, MetaV1)>, IndexError> {
    if !directory.exists() {
        return Ok(None);
    }
    match try_open(directory, left, replayed, kept) {
        Ok(found) => return Ok(found),
        Err(OpenFailure::Fatal(error)) => return Err(error),
        Err(OpenFailure::Damage(reason)) => report
            .notes
            .push(format!("the index does not open ({reason})")),
    }
    if set_snapshots_aside(directory)? == 0 {
        return Ok(None);
    }
    match try_open(directory, Left::Somehow, replayed, kept) {
        Ok(found) => {
            report.notes.push("it opened without its snapshot".into());
            Ok(found)
        }
        Err(OpenFailure::Fatal(error)) => Err(error),
        Err(OpenFailure::Damage(reason)) => {
            report
                .notes
                .push(format!("nor without its snapshot ({reason})"));
            Ok(None)
        }
    }
}

enum OpenFailure {
    /// The files must not be touched.
    Fatal(IndexError),
    Damage(String),
}

fn try_open(
    directory: &Path,
    left: Left,
    replayed: Option<&Replay>,
    kept: &mut Writes,
) -> Result<Option<(RowStore, MetaV1)>, OpenFailure> {
    let mut store = match RowStore::open(directory) {
        Ok(store) => store,
        Err(StoreError::Damaged(reason)) => return Err(OpenFailure::Damage(reason)),
        Err(StoreError::Io(error)) => match error.kind() {
            // sled reports cut files with these kinds.
            std::io::ErrorKind::UnexpectedEof
            | std::io::ErrorKind::InvalidData
            | std::io::ErrorKind::InvalidInput
            | std::io::ErrorKind::Other => return Err(OpenFailure::Damage(error.to_string())),
            _ => return Err(OpenFailure::Fatal(IndexError::io("open", directory, error))),
        },
    };
    match trusted(&mut store, left, replayed) {
        Ok(meta) => Ok(meta.map(|meta| (store, meta))),
        Err(failure) => {
            if let OpenFailure::Damage(_) = failure {
                kept.extend(kept_keys::readable(&store));
            }
            Err(failure)
        }
    }
}

/// Returns the meta row of rows that can be trusted; `None` when nothing was ever committed.
fn trusted(
    store: &mut RowStore,
    left: Left,
    replayed: Option<&Replay>,
) -> Result<Option<MetaV1>, OpenFailure> {
    let head = match left {
        Left::Clean => check::head(store),
        Left::Somehow => check::checked_head(store),
    };
    let meta = match head {
        Ok(meta) => meta,
        Err(newer @ IndexError::NewerVersion { .. }) => return Err(OpenFailure::Fatal(newer)),
        Err(_) if is_unfinished(store) => start_over(store, replayed)
            .map(Some)
            .map_err(|error| OpenFailure::Damage(error.to_string()))?,
        Err(error) => return Err(OpenFailure::Damage(error.to_string())),
    };
    let Some(meta) = meta else {
        return match replayed {
            None => Ok(None),
            Some(_) => Err(OpenFailure::Damage("all rows are gone".into())),
        };
    };
    if let Some(replay) = replayed
        && replay.header.base > meta.last_seq
    {
        return Err(OpenFailure::Damage(format!(
            "it ends at change {}, the journal goes on from {}",
            meta.last_seq.0, replay.header.base.0
        )));
    }
    Ok(Some(meta))
}

/// Returns whether the rows were being filled when the program ended. Their sum is written last then.
fn is_unfinished(store: &RowStore) -> bool {
    matches!(check::head(store), Ok(Some(meta)) if meta.fill == FillV1::Needed)
}

/// Begins the filling of rows anew, with what the journal has. The rows of other modules stay, the keys among them.
fn start_over(store: &mut RowStore, replayed: Option<&Replay>) -> Result<MetaV1, IndexError> {
    let known = check::head(store)?;
    store.clear_records()?;
    let meta = MetaV1 {
        sum: 0,
        fill: FillV1::Needed,
        ..known.unwrap_or_else(|| empty_meta(replayed, FillV1::Needed))
    };
    tracing::info!("the index was being filled when tgfs ended; it is filled from the start");
    replay::from_journal(store, meta, replayed.map_or(&[], |replay| &replay.records))
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

/// Returns an unused name beside `directory`: `index.bad-<seconds since 1970>`.
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

/// Applies the changes of the journal that are newer than the rows.
fn roll_forward(
    store: &RowStore,
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

fn apply_record(
    store: &RowStore,
    meta: MetaV1,
    record: &JournalRecord,
) -> Result<MetaV1, IndexError> {
    let mut draft = RowDraft::new(store);
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
    store.apply(KeySpace::Records, &writes)?;
    Ok(meta)
}

/// Opens rows again that failed in a running daemon, and rolls them forward.
pub(super) fn reopen(directory: &Path) -> Result<(RowStore, MetaV1), IndexError> {
    let journals = match directory.parent() {
        Some(state) => journal_directory(state),
        None => return Err(IndexError::Damaged("it has no directory".into())),
    };
    let replayed = journal::read(&journals)?;
    match try_open(
        directory,
        Left::Somehow,
        replayed.as_ref(),
        &mut Writes::new(),
    ) {
        Ok(Some((store, meta))) => {
            let mut report = OpenReport::default();
            let meta = roll_forward(&store, meta, replayed.as_ref(), &mut report)?;
            Ok((store, meta))
        }
        Ok(None) => Err(IndexError::Damaged("all rows are gone".into())),
        Err(OpenFailure::Fatal(error)) => Err(error),
        Err(OpenFailure::Damage(reason)) => Err(IndexError::Damaged(reason)),
    }
}
