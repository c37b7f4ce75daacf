//! Writing of many rows in small steps. A batch of the database is applied in no order, so a large one meets each page
//! of it many times, and most of them no longer in memory. Steps hold rows that lie side by side. Each is atomic and
//! brings the sum in the meta row along, so a crash between two steps leaves rows that are whole, though not all new:
//! only filling, which starts over, may write this way.

use super::draft::row_sum;
use super::error::IndexError;
use super::key;
use super::record::MetaV1;
use super::store::{KeySpace, RowStore, Writes};
use crate::codec::encode;

/// Rows of one step.
const STEP_ROWS: usize = if cfg!(test) { 5 } else { 512 };

/// Writer of rows, which come in the order of their keys to be fast.
#[derive(Debug)]
pub(super) struct StepWriter<'a> {
    store: &'a RowStore,
    /// The meta row as it is in the store.
    meta: &'a mut MetaV1,
    writes: Writes,
    /// Sum of all rows after the step.
    sum: u64,
}

impl<'a> StepWriter<'a> {
    pub fn new(store: &'a RowStore, meta: &'a mut MetaV1) -> Self {
        let sum = meta.sum;
        Self {
            store,
            meta,
            writes: Writes::new(),
            sum,
        }
    }

    /// Adds the change of a row. `old` is its stored value, and `new` is `None` to remove it.
    pub fn write(
        &mut self,
        key: Vec<u8>,
        old: Option<&[u8]>,
        new: Option<Vec<u8>>,
    ) -> Result<(), IndexError> {
        if let Some(old) = old {
            self.sum = self.sum.wrapping_sub(row_sum(&key, old));
        } else if new.is_none() {
            return Ok(());
        }
        if let Some(new) = &new {
            self.sum = self.sum.wrapping_add(row_sum(&key, new));
        }
        self.writes.insert(key, new);
        match self.writes.len() >= STEP_ROWS {
            true => self.step(),
            false => Ok(()),
        }
    }

    /// Applies the rows that are left.
    pub fn finish(mut self) -> Result<(), IndexError> {
        self.step()
    }

    fn step(&mut self) -> Result<(), IndexError> {
        if self.writes.is_empty() {
            return Ok(());
        }
        let meta = MetaV1 {
            sum: self.sum,
            ..self.meta.clone()
        };
        let bytes = encode(&meta).map_err(IndexError::Codec)?;
        self.writes.insert(key::META.to_vec(), Some(bytes));
        self.store.apply(KeySpace::Records, &self.writes)?;
        self.writes.clear();
        *self.meta = meta;
        Ok(())
    }
}
