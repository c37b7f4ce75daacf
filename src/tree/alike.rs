//! Search for names that read the same in a directory of any size.

use super::Tree;
use crate::index::Child;
use crate::model::folded::{FoldedText, behind};
use crate::model::{EntryId, FsResult};

/// Number of names that are read and compared at once. Below a beginning that more names share, the
/// search goes on with longer beginnings.
const FEW: usize = 32;

/// A beginning of names, as they are stored.
struct Beginning {
    bytes: Vec<u8>,
    /// Number of characters of the folded text that it stands for.
    folded: usize,
}

impl Tree {
    /// Returns the children whose names begin with a text that reads as `stem`, and a dot, up to a
    /// limit. The work does not grow with the directory: rows are sorted by their bytes, and only the
    /// ways in which the next letter can be written are followed.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn children_alike(
        &self,
        parent: EntryId,
        stem: &[u8],
        limit: usize,
    ) -> FsResult<Vec<Child>> {
        let prefix = [stem, b"."].concat();
        let Some(wanted) = FoldedText::of(&prefix) else {
            return self.children_named(parent, &prefix, limit);
        };
        let mut found = Vec::new();
        let mut open = vec![Beginning {
            bytes: Vec::new(),
            folded: 0,
        }];
        while let Some(beginning) = open.pop()
            && found.len() < limit
        {
            let is_whole = beginning.folded >= wanted.chars().len();
            let room = if is_whole {
                limit - found.len()
            } else {
                FEW + 1
            };
            let named = self.children_named(parent, &beginning.bytes, room)?;
            if is_whole || named.len() <= FEW {
                let begins = |child: &Child| {
                    behind(stem, child.name.as_bytes()).is_some_and(|rest| !rest.is_empty())
                };
                found.extend(named.into_iter().filter(begins));
                continue;
            }
            for next in wanted.written(beginning.folded) {
                let mut bytes = beginning.bytes.clone();
                bytes.extend_from_slice(next.written.encode_utf8(&mut [0; 4]).as_bytes());
                open.push(Beginning {
                    bytes,
                    folded: beginning.folded + next.folds_to,
                });
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::index::{Index, Owner};
    use crate::model::{EntryKind, Name};
    use crate::tree::NewEntry;

    #[test]
    fn names_that_read_the_same_are_found_among_many() {
        let state = tempfile::tempdir().unwrap();
        let (index, _) = Index::open(state.path(), Owner { uid: 1, gid: 2 }).unwrap();
        let tree = Tree::new(Arc::new(index));
        let add = |name: &str| {
            let new = NewEntry {
                mode: 0o755,
                uid: 1,
                gid: 2,
            };
            tree.add(
                EntryId::ROOT,
                Name::new(name).unwrap(),
                new,
                EntryKind::Directory,
            )
            .unwrap();
        };
        // Every beginning of the wanted names has many more names than are read at once.
        for number in 0..=FEW {
            for beginning in [
                "",
                "F",
                "f",
                "F\u{fc}",
                "FU\u{308}r",
                "fu\u{308}r",
                "f\u{dc}R",
            ] {
                add(&format!("{beginning}{number}"));
            }
        }
        let wanted = [
            "F\u{fc}r.srt",
            "FU\u{308}R.de.srt",
            "fu\u{308}r.mkv",
            "f\u{dc}R.x",
        ];
        wanted.iter().for_each(|name| add(name));
        add("fur.srt");
        add("f\u{fc}rs.srt");
        let found = |stem: &str, limit: usize| {
            let children = tree.children_alike(EntryId::ROOT, stem.as_bytes(), limit);
            let names = children.unwrap().into_iter();
            let mut names: Vec<String> = names.map(|child| child.name.display()).collect();
            names.sort();
            names
        };
        for stem in ["f\u{fc}r", "FU\u{308}R"] {
            let mut expected = wanted.map(|name| Name::new(name).unwrap().display());
            expected.sort();
            assert_eq!(found(stem, 100), expected);
            assert_eq!(found(stem, 3).len(), 3);
        }
        assert_eq!(found("fur", 100), ["fur.srt"]);
        assert!(found("nothing", 100).is_empty());
    }
}
