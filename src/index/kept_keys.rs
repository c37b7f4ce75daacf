//! Rows of the key store that outlive a damaged index.

use std::ops::ControlFlow;

use super::error::IndexError;
use super::record::RowV1;
use super::store::{KeySpace, RowStore, Writes};
use crate::codec::decode;

/// Table of the remote's rows. Its values are secret (keys of connections); only we can read the state
/// directory.
pub(super) const TABLE: &str = "remote";

/// Returns the rows of the key store that can be read, of a database whose other rows cannot be trusted. A state that
/// forgot the key of its library would believe a store that shows it another one.
pub(super) fn readable(store: &RowStore) -> Writes {
    let mut rows = Writes::new();
    let prefix = [TABLE.as_bytes(), &[0]].concat();
    let visited = store.visit(KeySpace::Rows, &prefix, &prefix, &mut |key, value| {
        if decode::<RowV1>(value).is_ok() {
            rows.insert(key.to_vec(), Some(value.to_vec()));
        }
        ControlFlow::Continue(())
    });
    if let Err(error) = visited {
        tracing::warn!(error = %IndexError::from(error), "some keys of the damaged index cannot be read");
    }
    rows
}
