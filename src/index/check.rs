//! Check that all rows are there: each row is whole, and their sum is the one in the meta row.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::error::IndexError;
use super::key;
use super::record::MetaV1;
use super::store::{KeySpace, RowStore};
use super::sum::row_sum;
use crate::codec::{self, decode};

/// Most threads that read rows at once. Walking the database's pages is most of the work.
const MAX_READERS: usize = 4;

/// First keys of the ranges that are read separately: tables with many rows.
const BORDERS: [u8; 8] = [
    key::CONTENTS,
    key::NAMES,
    key::CHILDREN,
    key::NODES,
    key::INODES,
    key::PUBLISHED,
    key::REFERENCES,
    key::DYING,
];

/// Checks all rows, and returns the meta row; `None` when nothing was ever committed.
///
/// # Errors
/// When a row is damaged, too new, or missing.
pub(super) fn checked_head(store: &RowStore) -> Result<Option<MetaV1>, IndexError> {
    let sum = sum_of_rows(store)?;
    let Some(meta) = head(store)? else {
        return match sum {
            0 => Ok(None),
            _ => Err(IndexError::Damaged("its head row is gone".into())),
        };
    };
    if meta.sum != sum {
        return Err(IndexError::Damaged("rows are missing".into()));
    }
    Ok(Some(meta))
}

/// Returns the meta row, without a check of the others.
///
/// # Errors
/// When it is damaged or too new.
pub(super) fn head(store: &RowStore) -> Result<Option<MetaV1>, IndexError> {
    let row = store.get(KeySpace::Records, key::META)?;
    Ok(row.map(|row| decode(&row)).transpose()?)
}

fn sum_of_rows(store: &RowStore) -> Result<u64, IndexError> {
    let ranges = ranges();
    let next = AtomicUsize::new(0);
    let read = || {
        let mut sum = 0_u64;
        while let Some((from, until)) = ranges.get(next.fetch_add(1, Ordering::Relaxed)) {
            sum = sum.wrapping_add(sum_of_range(store, from, until.as_deref())?);
        }
        Ok(sum)
    };
    let readers = thread::available_parallelism().map_or(1, |cores| cores.get().min(MAX_READERS));
    thread::scope(|scope| {
        let others: Vec<_> = (1..readers).map(|_| scope.spawn(read)).collect();
        let mut sum = read();
        for other in others {
            let added = other
                .join()
                .unwrap_or_else(|_| Err(IndexError::Damaged("the database panicked".into())));
            sum = match (sum, added) {
                (Ok(sum), Ok(added)) => Ok(sum.wrapping_add(added)),
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
        }
        sum
    })
}

/// Returns ranges that cover all keys.
fn ranges() -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let borders = BORDERS.map(|first| vec![first]);
    let from = std::iter::once(Vec::new()).chain(borders.clone());
    let until = borders.into_iter().map(Some).chain([None]);
    from.zip(until).collect()
}

fn sum_of_range(store: &RowStore, from: &[u8], until: Option<&[u8]>) -> Result<u64, IndexError> {
    let mut sum = 0_u64;
    let mut failed = None;
    store.visit(KeySpace::Records, b"", from, &mut |row, value| {
        if until.is_some_and(|until| row >= until) {
            return ControlFlow::Break(());
        }
        if row == key::META {
            return ControlFlow::Continue(());
        }
        sum = sum.wrapping_add(row_sum(row, value));
        match codec::check(value) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(sum),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_leave_no_gap() {
        let ranges = ranges();
        assert!(ranges[0].0.is_empty());
        assert!(ranges.last().unwrap().1.is_none());
        for pair in ranges.windows(2) {
            assert_eq!(pair[0].1.as_ref(), Some(&pair[1].0));
            assert!(pair[0].0 < pair[1].0, "{pair:?}");
        }
    }
}
