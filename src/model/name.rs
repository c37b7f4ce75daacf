//! Names and paths. A name is bytes, as on any Linux file system; it need not be UTF-8.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::shown::{self, readable};

/// Longest name in bytes (`NAME_MAX` of Linux).
pub const MAX_NAME_BYTES: usize = 255;

/// Reason why bytes are not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name must not be empty, `.` or `..`, nor hold `/` or NUL")]
    Invalid,
    #[error("a name has at most {MAX_NAME_BYTES} bytes")]
    TooLong,
}

/// A checked component of a path. Strings from media files and from the remote pass the same check.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Name(Vec<u8>);

impl Name {
    /// Checks that `bytes` can be a file name.
    ///
    /// # Errors
    /// When the bytes are no file name; see [`NameError`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, NameError> {
        let bytes = bytes.into();
        match bytes.as_slice() {
            b"" | b"." | b".." => Err(NameError::Invalid),
            name if name.iter().any(|byte| matches!(byte, b'/' | 0)) => Err(NameError::Invalid),
            name if name.len() > MAX_NAME_BYTES => Err(NameError::TooLong),
            _ => Ok(Self(bytes)),
        }
    }
    /// Returns the bytes of the name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// Returns the text for people; a byte that is not UTF-8 becomes `\xE9`.
    #[must_use]
    pub fn display(&self) -> String {
        readable(&self.0)
    }
    /// Splits the name at its last dot into stem and extension, which is empty when there is no dot. A
    /// leading dot starts a hidden name, not an extension.
    #[must_use]
    pub fn split_extension(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|&byte| byte == b'.') {
            Some(dot) if dot > 0 => (&self.0[..dot], &self.0[dot + 1..]),
            _ => (&self.0, b""),
        }
    }
}

impl TryFrom<Vec<u8>> for Name {
    type Error = NameError;
    fn try_from(bytes: Vec<u8>) -> Result<Self, NameError> {
        Self::new(bytes)
    }
}

impl From<Name> for Vec<u8> {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.display())
    }
}

/// An absolute path in the tree as checked components, of which the root has none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreePath(Vec<Name>);

impl TreePath {
    /// Returns the path of the root.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }
    /// Parses `/a/b` or `a/b`; empty components are skipped.
    ///
    /// # Errors
    /// When a component is no name (`..` among them: a path never leaves the tree).
    pub fn parse(bytes: &[u8]) -> Result<Self, NameError> {
        bytes
            .split(|&byte| byte == b'/')
            .filter(|part| !part.is_empty() && *part != b".")
            .map(|part| Name::new(part.to_vec()))
            .collect::<Result<_, _>>()
            .map(Self)
    }
    /// Joins checked names to a path.
    #[must_use]
    pub fn from_names(names: Vec<Name>) -> Self {
        Self(names)
    }
    /// Returns the names from the root on.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        &self.0
    }
    /// Returns the path of `name` in this directory.
    #[must_use]
    pub fn join(&self, name: Name) -> Self {
        let mut names = self.0.clone();
        names.push(name);
        Self(names)
    }
    /// Returns the containing directory and the last component; `None` for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(Self, &Name)> {
        let (last, parents) = self.0.split_last()?;
        Some((Self(parents.to_vec()), last))
    }
    /// Returns the path with a leading `/`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.0.is_empty() {
            return b"/".to_vec();
        }
        let mut bytes = Vec::new();
        for name in &self.0 {
            bytes.push(b'/');
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes
    }
    /// Returns the text for people; a byte that is not UTF-8 becomes `\xE9`.
    #[must_use]
    pub fn display(&self) -> String {
        readable(&self.to_bytes())
    }
    /// Returns the percent-encoded bytes if [`Self::display`] is not exact.
    #[must_use]
    pub fn inexact_bytes(&self) -> Option<String> {
        shown::inexact_bytes(&self.to_bytes())
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(Name::new("film\n #%\"'.mkv").is_ok());
        assert!(Name::new(vec![0xff, 0xfe]).is_ok());
        assert!(Name::new(vec![b'x'; 255]).is_ok());
        assert_eq!(Name::new(vec![b'x'; 256]), Err(NameError::TooLong));
        for bad in ["", ".", "..", "a/b", "a\0b"] {
            assert_eq!(Name::new(bad), Err(NameError::Invalid), "{bad:?}");
        }
    }

    #[test]
    fn a_path_never_leaves_the_tree() {
        assert_eq!(TreePath::parse(b"/a/../b"), Err(NameError::Invalid));
        assert_eq!(TreePath::parse(b"a//b/").unwrap().display(), "/a/b");
        assert_eq!(TreePath::parse(b"/").unwrap(), TreePath::root());
    }

    #[test]
    fn extensions_split_at_the_last_dot() {
        let split = |text: &str| {
            let name = Name::new(text).unwrap();
            let (stem, extension) = name.split_extension();
            (stem.to_vec(), extension.to_vec())
        };
        assert_eq!(split("a.b.mkv"), (b"a.b".to_vec(), b"mkv".to_vec()));
        assert_eq!(split(".hidden"), (b".hidden".to_vec(), b"".to_vec()));
    }
}
