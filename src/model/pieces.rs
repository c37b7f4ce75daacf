//! Byte strings in pieces, each in the buffer that already holds it.

use bytes::{Bytes, BytesMut};

/// A byte string in pieces. A segment of a film is dozens of ranges of cached blocks, which can be sent
/// one after the other without a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pieces(Vec<Bytes>);

impl Pieces {
    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().map(|piece| piece.len() as u64).sum()
    }

    /// Returns whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a piece.
    pub fn push(&mut self, piece: Bytes) {
        // An empty piece would be sent as an empty frame, which ends some streams early.
        if !piece.is_empty() {
            self.0.push(piece);
        }
    }

    /// Appends the pieces of `others`.
    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// Returns the bytes in one run: a copy, unless there is only one piece.
    #[must_use]
    pub fn joined(mut self) -> Bytes {
        if self.0.len() <= 1 {
            return self.0.pop().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(self.0.iter().map(Bytes::len).sum());
        self.0
            .iter()
            .for_each(|piece| whole.extend_from_slice(piece));
        whole.freeze()
    }
}

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        let mut pieces = Self::default();
        pieces.push(bytes);
        pieces
    }
}

impl IntoIterator for Pieces {
    type Item = Bytes;
    type IntoIter = std::vec::IntoIter<Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_piece_is_not_copied_and_several_keep_their_order() {
        let one = Bytes::from_static(b"one");
        let joined = Pieces::from(one.clone()).joined();
        assert_eq!(joined.as_ptr(), one.as_ptr());
        let mut pieces = Pieces::from(one);
        pieces.push(Bytes::new());
        pieces.append(Pieces::from(Bytes::from_static(b" two")));
        assert_eq!(pieces.len(), 7);
        assert_eq!(pieces.clone().into_iter().count(), 2);
        assert_eq!(pieces.joined(), "one two");
        assert_eq!(Pieces::default().joined(), Bytes::new());
    }
}
