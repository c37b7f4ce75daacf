//! Slugs: short names of films, for URLs that people type.

use std::sync::Arc;

use crate::index::{IndexError, Rows};
use crate::model::folded::joined_lower_case;
use crate::model::{Entry, EntryId, ErrorKind, FsError, FsResult, Name};
use crate::tree::Tree;

/// Longest slug in bytes. It is short because people type the URLs that contain it.
const MAX_SLUG_BYTES: usize = 80;

/// Slugs that were given out. A slug stays with the first film that got it while that film exists.
#[derive(Debug)]
pub struct Slugs {
    rows: Rows,
    tree: Arc<Tree>,
}

impl Slugs {
    /// Opens the slugs stored in `rows`.
    pub fn new(rows: Rows, tree: Arc<Tree>) -> Self {
        Self { rows, tree }
    }

    /// Returns the slug of a film. It is chosen at the first request.
    ///
    /// # Errors
    /// `Io`.
    pub fn of(&self, entry: &Entry) -> FsResult<String> {
        let mut own_key = b"id/".to_vec();
        own_key.extend_from_slice(entry.id.as_bytes());
        let base = slugify(&entry.name);
        if let Some(known) = self.rows.get(&own_key).map_err(io)?
            && let Ok(slug) = String::from_utf8(known)
            && (slug == base || slug.rsplit_once('-').is_some_and(|(stem, _)| stem == base))
        {
            return Ok(slug);
        }
        for number in 1u32.. {
            let slug = if number == 1 {
                base.clone()
            } else {
                format!("{base}-{number}")
            };
            let owner = self.owner(&slug)?;
            if owner.is_none() || owner == Some(entry.id) {
                self.rows
                    .put(&slug_key(&slug), entry.id.as_bytes())
                    .map_err(io)?;
                self.rows.put(&own_key, slug.as_bytes()).map_err(io)?;
                return Ok(slug);
            }
        }
        Err(ErrorKind::Io.into())
    }

    /// Returns the film that has a slug, in any case and in either normal form of Unicode.
    ///
    /// # Errors
    /// `Io`.
    pub fn owner(&self, slug: &str) -> FsResult<Option<EntryId>> {
        let get = |slug: &str| self.rows.get(&slug_key(slug)).map_err(io);
        let row = match get(slug)? {
            None => get(&joined_lower_case(slug))?,
            found => found,
        };
        let Some(id) = row.and_then(|row| Some(EntryId::from_bytes(row.try_into().ok()?))) else {
            return Ok(None);
        };
        match self.tree.node(id) {
            Ok(_) => Ok(Some(id)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn io(error: IndexError) -> FsError {
    FsError::caused_by(ErrorKind::Io, error)
}

fn slug_key(slug: &str) -> Vec<u8> {
    let mut key = b"slug/".to_vec();
    key.extend_from_slice(slug.as_bytes());
    key
}

/// Turns a name into a slug: `Heat (1995).mkv` becomes `heat-1995`.
fn slugify(name: &Name) -> String {
    let (stem, _) = name.split_extension();
    let mut slug = String::new();
    let stem = String::from_utf8_lossy(stem).into_owned();
    for c in joined_lower_case(&stem).chars() {
        if slug.len() + c.len_utf8() > MAX_SLUG_BYTES {
            break;
        }
        if c.is_alphanumeric() {
            slug.push(c);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        "file".to_owned()
    } else {
        slug.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_read_well() {
        for (name, slug) in [
            ("Heat (1995).mkv", "heat-1995"),
            ("Amélie.mp4", "amélie"),
            ("AME\u{301}LIE.mp4", "am\u{e9}lie"),
            ("...", "file"),
            ("S01E02 - The  One.mkv", "s01e02-the-one"),
        ] {
            assert_eq!(slugify(&Name::new(name).unwrap()), slug);
        }
    }
}
