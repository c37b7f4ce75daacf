//! Parts that wait for their message: rules of core.telegram.org/api/files, "Uploading files".

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::content::Part;
use crate::options::Bot;
use crate::refusal::Refusal;

/// Bytes of the largest part; smaller ones must divide it.
pub(crate) const MAX_PART_BYTES: usize = 512 * 1024;
/// Parts of one file, for accounts without Premium: bots never have it.
pub(crate) const MAX_PARTS: i32 = 4000;
/// Bytes from which a file must be saved with `saveBigFilePart`.
const BIG_FILE_BYTES: u64 = 10 * 1024 * 1024;

/// With which of the two methods a file is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UploadKind {
    Small,
    /// With the number of parts, where the client knows it already.
    Big {
        total: Option<i32>,
    },
}

/// Which upload: file ids are the client's, so they count per bot.
pub(crate) type UploadId = (Bot, i64);

#[derive(Default)]
struct Upload {
    is_big: bool,
    parts: BTreeMap<i32, Part>,
    touched: Option<Instant>,
}

/// All uploads that no message has used yet.
#[derive(Default)]
pub(crate) struct Uploads(HashMap<UploadId, Upload>);

/// Returns whether a part of this size may stand before others.
fn fits_between(bytes: usize) -> bool {
    bytes > 0 && bytes.is_multiple_of(1024) && MAX_PART_BYTES.is_multiple_of(bytes)
}

impl Uploads {
    /// Checks one part against what can be known about the file already.
    pub(crate) fn admit(
        &self,
        id: UploadId,
        number: i32,
        bytes: usize,
        kind: UploadKind,
    ) -> Result<(), Refusal> {
        if number < 0 {
            return Err(Refusal::bad("FILE_PART_INVALID"));
        }
        if number >= MAX_PARTS {
            return Err(Refusal::bad("FILE_PARTS_INVALID"));
        }
        if bytes == 0 {
            return Err(Refusal::bad("FILE_PART_EMPTY"));
        }
        if bytes > MAX_PART_BYTES {
            return Err(Refusal::bad("FILE_PART_TOO_BIG"));
        }
        if let UploadKind::Big { total: Some(total) } = kind {
            if !(1..=MAX_PARTS).contains(&total) {
                return Err(Refusal::bad("FILE_PARTS_INVALID"));
            }
            if number >= total {
                return Err(Refusal::bad("FILE_PART_INVALID"));
            }
            let is_last = number == total - 1;
            if !is_last && !fits_between(bytes) {
                return Err(Refusal::bad("FILE_PART_SIZE_INVALID"));
            }
            let other = self.0.get(&id).and_then(|upload| {
                let (_, part) = upload.parts.iter().find(|(n, _)| **n != total - 1)?;
                Some(part.len())
            });
            if let Some(other) = other
                && (bytes > other || (!is_last && bytes != other))
            {
                return Err(Refusal::bad("FILE_PART_SIZE_CHANGED"));
            }
        }
        Ok(())
    }

    /// Keeps a part; one that was there is replaced.
    pub(crate) fn keep(&mut self, id: UploadId, number: i32, part: Part, kind: UploadKind) {
        let upload = self.0.entry(id).or_default();
        upload.is_big = matches!(kind, UploadKind::Big { .. });
        upload.parts.insert(number, part);
        upload.touched = Some(Instant::now());
    }

    /// Drops uploads that nobody touched for `lifetime`; tells which.
    pub(crate) fn expire(&mut self, lifetime: Duration) -> Vec<UploadId> {
        let expired: Vec<UploadId> = self
            .0
            .iter()
            .filter(|(_, upload)| {
                upload
                    .touched
                    .is_some_and(|touched| touched.elapsed() >= lifetime)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in &expired {
            self.0.remove(id);
        }
        expired
    }

    /// Loses one part of an upload, the `choose`th modulo their number.
    pub(crate) fn lose_part(&mut self, id: UploadId, choose: usize) {
        if let Some(upload) = self.0.get_mut(&id) {
            let count = upload.parts.len().max(1);
            let number = upload.parts.keys().nth(choose % count).copied();
            number.and_then(|number| upload.parts.remove(&number));
        }
    }

    /// Checks that a message can be made of the file as the client describes it.
    pub(crate) fn check(&self, id: UploadId, parts: i32, is_big: bool) -> Result<(), Refusal> {
        if !(1..=MAX_PARTS).contains(&parts) {
            return Err(Refusal::bad("FILE_PARTS_INVALID"));
        }
        let Some(upload) = self.0.get(&id) else {
            return Err(Refusal::part_missing(0));
        };
        if let Some(missing) = (0..parts).find(|number| !upload.parts.contains_key(number)) {
            return Err(Refusal::part_missing(missing));
        }
        if upload.is_big != is_big || upload.parts.len() != usize::try_from(parts).unwrap_or(0) {
            return Err(Refusal::bad("FILE_PARTS_INVALID"));
        }
        let mut sizes = upload.parts.values().map(Part::len);
        let last = sizes.next_back().unwrap_or(0);
        let first = sizes.clone().next();
        let ragged = sizes.any(|bytes| Some(bytes) != first || !fits_between(bytes));
        if ragged || first.is_some_and(|first| last > first) {
            return Err(Refusal::bad("FILE_PART_SIZE_INVALID"));
        }
        let size: u64 = upload.parts.values().map(|part| part.len() as u64).sum();
        if !is_big && size > BIG_FILE_BYTES {
            return Err(Refusal::bad("FILE_PARTS_INVALID"));
        }
        Ok(())
    }

    /// The parts in order; the upload is used up.
    pub(crate) fn take(&mut self, id: UploadId) -> Vec<Part> {
        self.0
            .remove(&id)
            .map(|upload| upload.parts.into_values().collect())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const FILE: UploadId = (Bot(1), 5);
    const HALF_MIB: usize = 512 * 1024;

    fn part(bytes: usize) -> Part {
        Part::Memory(Bytes::from(vec![0; bytes]))
    }

    fn refused(outcome: Result<(), Refusal>) -> String {
        outcome.expect_err("a refusal").message().to_owned()
    }

    #[test]
    fn parts_are_checked_as_they_come() {
        let uploads = Uploads::default();
        let big = UploadKind::Big { total: Some(3) };
        let admit = |number, bytes| uploads.admit(FILE, number, bytes, big);
        assert!(admit(0, HALF_MIB).is_ok());
        assert!(admit(0, 128 * 1024).is_ok());
        assert!(admit(2, 77).is_ok(), "the last may have any size");
        assert_eq!(refused(admit(0, 77)), "FILE_PART_SIZE_INVALID");
        assert_eq!(refused(admit(0, 96 * 1024)), "FILE_PART_SIZE_INVALID");
        assert_eq!(refused(admit(0, HALF_MIB + 1024)), "FILE_PART_TOO_BIG");
        assert_eq!(refused(admit(0, 0)), "FILE_PART_EMPTY");
        assert_eq!(refused(admit(3, 77)), "FILE_PART_INVALID");
        let many = UploadKind::Big { total: Some(4001) };
        assert_eq!(
            refused(uploads.admit(FILE, 0, 1024, many)),
            "FILE_PARTS_INVALID"
        );
    }

    #[test]
    fn parts_of_two_sizes_are_refused() {
        let mut uploads = Uploads::default();
        let big = UploadKind::Big { total: Some(3) };
        uploads.keep(FILE, 0, part(HALF_MIB), big);
        assert_eq!(
            refused(uploads.admit(FILE, 1, 1024, big)),
            "FILE_PART_SIZE_CHANGED"
        );
        uploads.keep(FILE, 1, part(1024), UploadKind::Big { total: None });
        uploads.keep(FILE, 2, part(1024), big);
        assert_eq!(
            refused(uploads.check(FILE, 3, true)),
            "FILE_PART_SIZE_INVALID"
        );
    }

    #[test]
    fn a_missing_part_is_named() {
        let mut uploads = Uploads::default();
        for number in [0, 2] {
            uploads.keep(FILE, number, part(1024), UploadKind::Small);
        }
        assert_eq!(
            refused(uploads.check(FILE, 3, false)),
            "FILE_PART_1_MISSING"
        );
        uploads.keep(FILE, 1, part(1024), UploadKind::Small);
        assert_eq!(refused(uploads.check(FILE, 3, true)), "FILE_PARTS_INVALID");
        assert!(uploads.check(FILE, 3, false).is_ok());
        let other = (Bot(2), FILE.1);
        assert_eq!(
            refused(uploads.check(other, 3, false)),
            "FILE_PART_0_MISSING",
            "parts belong to the bot that saved them"
        );
        assert_eq!(uploads.expire(Duration::ZERO), [FILE]);
        assert!(uploads.take(FILE).is_empty());
    }
}
