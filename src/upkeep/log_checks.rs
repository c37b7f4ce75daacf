//! Checks of objects of the log before their records are taken.

use bytes::Bytes;

use crate::index::LogHead;
use crate::model::{Ino, LibraryId, MAX_STORED, Seq};
use crate::remote::{LogDecoder, LogHeader, LogObject, PassedOver, RemoteError, RemoteErrorKind};

/// Most by which a manifest may exceed what the log said before it, in sequence numbers, inode numbers,
/// manifests and epochs. A forged manifest can then not use up the numbers.
const MAX_STEP: u64 = 1 << 40;
/// Passed over records that a note names.
const NAMED_RECORDS: usize = 3;

/// Reason why an object of the log cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it belongs to library {0}")]
    OtherLibrary(LibraryId),
    #[error("its header says that it is manifest {0}")]
    OtherNumber(u64),
    #[error("its numbers are impossible")]
    Numbers,
    #[error(transparent)]
    NoKey(RemoteError),
    #[error(transparent)]
    Damaged(#[from] RemoteError),
}

/// Checks that an object of the log is whole and belongs to this library. Returns what its records are
/// that cannot be taken.
pub(super) fn check(
    bytes: &Bytes,
    object: LogObject,
    library: LibraryId,
) -> Result<PassedOver, Unfit> {
    let mut decoder = match LogDecoder::new(bytes) {
        Err(error) if error.kind == RemoteErrorKind::Denied => return Err(Unfit::NoKey(error)),
        opened => opened?,
    };
    let header = decoder.header();
    if header.library != library {
        return Err(Unfit::OtherLibrary(header.library));
    }
    if header.number != object.number {
        return Err(Unfit::OtherNumber(header.number));
    }
    if numbers(header)
        .into_iter()
        .any(|number| number > MAX_STORED)
    {
        return Err(Unfit::Numbers);
    }
    while decoder.next_record()?.is_some() {}
    Ok(decoder.passed_over().clone())
}

/// Returns true if the manifest's numbers can follow those that are known.
pub(super) fn can_follow(header: &LogHeader, head: &LogHead, last_seq: Seq, next_ino: Ino) -> bool {
    let before = [head.number, head.epoch, last_seq.0, next_ino.0];
    let pairs = numbers(header).into_iter().zip(before);
    pairs
        .into_iter()
        .all(|(number, before)| is_near(number, before))
}

/// Returns true if a number is not far above the one that is known.
pub(super) fn is_near(number: u64, before: u64) -> bool {
    number <= before.saturating_add(MAX_STEP)
}

/// Number, epoch, and highest numbers of an object.
fn numbers(header: &LogHeader) -> [u64; 4] {
    [
        header.number,
        header.epoch,
        header.last_seq.0,
        header.next_ino.0,
    ]
}

/// Returns a note on records that were passed over; `None` when all were taken.
pub(super) fn describe(passed: &PassedOver) -> Option<String> {
    if passed.records == 0 {
        return None;
    }
    let named: Vec<&str> = passed
        .examples
        .iter()
        .take(NAMED_RECORDS)
        .map(String::as_str)
        .collect();
    Some(format!(
        "{} of its records are passed over, since no tgfs can have written them: {}",
        passed.records,
        named.join("; ")
    ))
}
