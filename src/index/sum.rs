//! The sum over all rows, which reveals a missing row.

/// Returns the contribution of a row to the sum in the meta row. Addition does not depend on order, so a
/// scan of all rows notices one that is missing, doubled or outdated.
pub(super) fn row_sum(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}
