//! Writing of many rows while an index is filled. A batch of the database is applied in no order, so a large one meets
//! each page many times. These rows are written one by one, in the order of their keys and by several threads. Only in
//! the end the meta row gets the new sum. A crash before that leaves rows without their sum; filling starts over then,
//! from no rows at all (`open_rows`).

use super::error::IndexError;
use super::key;
use super::record::MetaV1;
use super::store::{KeySpace, RowStore, RowWrite, RowWriters, Writes};
use super::sum::row_sum;
use crate::codec::encode;

/// Rows that are handed over at once.
const CHUNK_ROWS: usize = if cfg!(test) { 5 } else { 2048 };

/// Writer of rows, which come in the order of their keys to be fast.
#[derive(Debug)]
pub(super) struct BulkWriter<'a> {
    store: &'a RowStore,
    /// The meta row as it is in the store.
    meta: &'a mut MetaV1,
    rows: Vec<RowWrite>,
    /// Sum of all rows after the last one.
    sum: u64,
    writers: Option<RowWriters>,
}

impl<'a> BulkWriter<'a> {
    /// Starts to write. The meta row must say that the index is being filled.
    pub fn new(store: &'a RowStore, meta: &'a mut MetaV1) -> Self {
        let sum = meta.sum;
        Self {
            store,
            meta,
            rows: Vec::new(),
            sum,
            writers: None,
        }
    }

    /// Writes a row. `old` is its stored value, and `new` is `None` to remove it.
    pub fn write(&mut self, key: Vec<u8>, old: Option<&[u8]>, new: Option<Vec<u8>>) {
        if let Some(old) = old {
            self.sum = self.sum.wrapping_sub(row_sum(&key, old));
        } else if new.is_none() {
            return;
        }
        if let Some(new) = &new {
            self.sum = self.sum.wrapping_add(row_sum(&key, new));
        }
        self.rows.push(RowWrite { key, value: new });
        if self.rows.len() >= CHUNK_ROWS {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        if self.rows.is_empty() {
            return;
        }
        let rows = std::mem::take(&mut self.rows);
        let writers = self
            .writers
            .get_or_insert_with(|| self.store.writers(KeySpace::Records));
        writers.write(rows);
    }

    /// Returns when all rows so far are written. Readers and a crash see those that come later only with these.
    pub fn settle(&mut self) -> Result<(), IndexError> {
        self.hand_over();
        match self.writers.take() {
            Some(writers) => Ok(writers.finish()?),
            None => Ok(()),
        }
    }

    /// Returns when all rows and their sum are written.
    pub fn finish(mut self) -> Result<(), IndexError> {
        self.settle()?;
        if self.sum == self.meta.sum {
            return Ok(());
        }
        let meta = MetaV1 {
            sum: self.sum,
            ..self.meta.clone()
        };
        let bytes = encode(&meta).map_err(IndexError::Codec)?;
        let writes = Writes::from([(key::META.to_vec(), Some(bytes))]);
        self.store.apply(KeySpace::Records, &writes)?;
        *self.meta = meta;
        Ok(())
    }
}
