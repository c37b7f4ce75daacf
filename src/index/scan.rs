//! Decoded rows of the store.

use std::ops::ControlFlow;

use super::error::IndexError;
use super::store::{KeySpace, RowStore};
use crate::codec::{CodecError, Stored, decode};

pub(super) fn row<R: Stored>(store: &RowStore, key: &[u8]) -> Result<Option<R>, IndexError> {
    let bytes = store.get(KeySpace::Records, key)?;
    bytes
        .map(|bytes| decode(&bytes))
        .transpose()
        .map_err(Into::into)
}

/// Visits rows that start with `prefix`, from `from` on, decoded.
pub(super) fn visit_rows<R: Stored>(
    store: &RowStore,
    prefix: &[u8],
    from: &[u8],
    visit: &mut dyn FnMut(&[u8], R) -> ControlFlow<()>,
) -> Result<(), IndexError> {
    let mut failed: Option<CodecError> = None;
    store.visit(
        KeySpace::Records,
        prefix,
        from,
        &mut |key, value| match decode(value) {
            Ok(record) => visit(key, record),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}
