//! The name of a block.

use crate::model::{BlockIndex, PackId, PackRef};

/// A block of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockKey {
    pub pack: PackId,
    pub block: BlockIndex,
}

impl BlockKey {
    /// Names a block of `pack`.
    #[must_use]
    pub const fn of(pack: &PackRef, block: BlockIndex) -> Self {
        Self {
            pack: pack.id,
            block,
        }
    }
}
