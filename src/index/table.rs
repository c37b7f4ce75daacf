//! A table of the index, compared with the rows that it should hold.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::ControlFlow;

use super::bulk::BulkWriter;
use super::error::IndexError;
use super::record::MetaV1;
use super::store::{KeySpace, RowStore};
use crate::codec::{Stored, encode};

/// Differences that are found before they are written.
const DIFFERENCES: usize = 4096;

/// A row as it should be.
#[derive(Debug)]
pub(super) struct Row {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Row {
    /// Returns the row with this record at `key`.
    pub fn of<R: Stored>(key: Vec<u8>, record: &R) -> Result<Self, IndexError> {
        let value = encode(record).map_err(IndexError::Codec)?;
        Ok(Self { key, value })
    }
}

/// A row whose stored value is not as it should be. Either is `None` when there is none.
#[derive(Debug)]
struct Difference {
    key: Vec<u8>,
    stored: Option<Vec<u8>>,
    wanted: Option<Vec<u8>>,
}

/// Makes a table hold these rows, which come in the order of their keys, and no others.
pub(super) fn bring_in_line(
    store: &RowStore,
    meta: &mut MetaV1,
    table: u8,
    wanted: impl Iterator<Item = Result<Row, IndexError>>,
) -> Result<(), IndexError> {
    let mut wanted = wanted.peekable();
    let mut bulk = BulkWriter::new(store, meta);
    let mut from = vec![table];
    loop {
        let mut found = Vec::new();
        let mut outcome = Ok(());
        let mut is_whole = true;
        store.visit(
            KeySpace::Records,
            &[table],
            &from.clone(),
            &mut |key, value| {
                outcome = compare(&mut wanted, key, value, &mut found);
                from = [key, &[0]].concat();
                is_whole = outcome.is_ok() && found.len() < DIFFERENCES;
                match is_whole {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            },
        )?;
        outcome?;
        for row in found {
            bulk.write(row.key, row.stored.as_deref(), row.wanted);
        }
        if is_whole {
            break;
        }
        bulk.settle()?;
    }
    for row in wanted {
        let row = row?;
        bulk.write(row.key, None, Some(row.value));
    }
    bulk.finish()
}

/// Adds the differences up to a stored row, and takes the wanted rows up to it.
fn compare(
    wanted: &mut Peekable<impl Iterator<Item = Result<Row, IndexError>>>,
    key: &[u8],
    value: &[u8],
    found: &mut Vec<Difference>,
) -> Result<(), IndexError> {
    while let Some(row) = wanted.next_if(|row| match row {
        Ok(row) => row.key.as_slice() <= key,
        Err(_) => true,
    }) {
        let row = row?;
        let is_last = row.key.as_slice().cmp(key) == Ordering::Equal;
        if is_last && row.value == value {
            return Ok(());
        }
        found.push(Difference {
            key: row.key,
            stored: is_last.then(|| value.to_vec()),
            wanted: Some(row.value),
        });
        if is_last {
            return Ok(());
        }
    }
    found.push(Difference {
        key: key.to_vec(),
        stored: Some(value.to_vec()),
        wanted: None,
    });
    Ok(())
}
