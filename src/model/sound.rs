//! Bounds of what a store says. Each number is below a bound that leaves room for all sums and for all
//! that comes later, so the rest of the program may add up. Whoever may write to a store without a
//! passphrase can write any record.

use super::{
    Blob, ByteRange, Change, Entry, EntryId, EntryKind, ExtentSource, FileContent, InPlace, Ino,
    LogRecord, PackRef, PackSlice, Seq, Subtitle, SubtitleTexts, Track, Views,
};

/// Highest stored position, length or count: 4 EiB.
pub const MAX_STORED: u64 = 1 << 62;

/// Longest stored frame of a map, which is read as a whole: as long as the longest that is unpacked.
pub const MAX_MAP_FRAME: u64 = 16 << 20;

/// Versions of a file beyond the number of its record. Each version is a change with a number of its own, so there are
/// never more; a record with a higher one would use up those of later changes.
const SPARE_VERSIONS: u64 = 1 << 20;

/// Reason why a record is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    #[error("its number is above that of the object that holds it")]
    Seq,
    #[error("its inode number is above that of the object that holds it")]
    Ino,
    #[error("it would remove, move or replace the root directory")]
    Root,
    #[error("its sizes and positions are impossible")]
    Numbers,
}

impl LogRecord {
    /// Checks a record of an object of the log whose header says that these are the highest numbers.
    ///
    /// # Errors
    /// The reason why the record cannot be one that a tgfs wrote.
    pub fn check(&self, last: Seq, next_ino: Ino) -> Result<(), Unsound> {
        if self.seq > last {
            return Err(Unsound::Seq);
        }
        match &self.change {
            Change::Put(entry) => entry.check(next_ino, self.seq),
            Change::Remove { id, .. } if *id == EntryId::ROOT => Err(Unsound::Root),
            Change::Remove { released, .. } => {
                fits(released.iter().all(PackRef::is_sound), Unsound::Numbers)
            }
        }
    }
}

impl Entry {
    fn check(&self, next_ino: Ino, seq: Seq) -> Result<(), Unsound> {
        let is_root = self.id == EntryId::ROOT;
        if is_root && (self.parent != EntryId::ROOT || self.kind != EntryKind::Directory) {
            return Err(Unsound::Root);
        }
        if self.ino >= next_ino || self.ino.0 == 0 {
            return Err(Unsound::Ino);
        }
        match &self.kind {
            EntryKind::Directory => Ok(()),
            EntryKind::File(content) => {
                let is_reached = content.version <= seq.0.saturating_add(SPARE_VERSIONS);
                fits(is_reached && content.is_sound(), Unsound::Numbers)
            }
        }
    }
}

fn fits(is_sound: bool, otherwise: Unsound) -> Result<(), Unsound> {
    if is_sound { Ok(()) } else { Err(otherwise) }
}

/// Returns whether the numbers have a sum within the bound.
fn have_sum(numbers: impl IntoIterator<Item = u64>) -> bool {
    let sum = numbers
        .into_iter()
        .try_fold(0_u64, |sum, number| sum.checked_add(number));
    sum.is_some_and(|sum| sum <= MAX_STORED)
}

impl FileContent {
    fn is_sound(&self) -> bool {
        have_sum([self.version])
            && have_sum([self.size])
            && have_sum(self.extents.iter().map(|extent| extent.len))
            && self.extents.iter().all(|extent| match extent.source {
                ExtentSource::Zeros => have_sum([extent.offset]),
                ExtentSource::Blob(_) => have_sum([extent.offset, extent.len]),
            })
            && self.blobs.iter().all(Blob::is_sound)
    }
}

impl Blob {
    fn is_sound(&self) -> bool {
        have_sum([self.len]) && self.slices.iter().all(PackSlice::is_sound)
    }

    fn has(&self, range: ByteRange) -> bool {
        range
            .offset
            .checked_add(range.len)
            .is_some_and(|end| end <= self.len)
    }
}

impl PackSlice {
    fn is_sound(&self) -> bool {
        have_sum([self.blob_offset, self.len])
            && have_sum([self.pack_offset, self.len])
            && self.pack.is_sound()
    }
}

impl PackRef {
    fn is_sound(&self) -> bool {
        self.data_len <= self.len && have_sum([self.len])
    }
}

impl Views {
    /// Returns whether all ranges lie in the derived blob, and sums fit.
    pub(in crate::model) fn is_sound(&self) -> bool {
        let in_derived = |range: &ByteRange| self.derived.has(*range);
        let in_place = self.in_place.as_ref();
        self.derived.is_sound()
            && in_derived(&self.map)
            && have_sum([self.duration_ms])
            && self.tracks.iter().all(Track::is_sound)
            && self
                .subtitles
                .iter()
                .all(|subtitle| subtitle.ranges().all(|range| in_derived(&range)))
            && self.files.iter().all(|file| in_derived(&file.range))
            && in_place.is_none_or(InPlace::is_sound)
    }
}

impl InPlace {
    fn is_sound(&self) -> bool {
        // Packets alone, behind a time stamp, or before their parity.
        matches!(self.stride, 188 | 192 | 204) && have_sum([self.offset]) && have_sum([self.zero])
    }
}

impl Subtitle {
    fn ranges(&self) -> impl Iterator<Item = ByteRange> + '_ {
        let texts = self.texts.iter().map(|(_, range)| *range);
        texts.chain(self.segments.iter().copied())
    }
}

impl SubtitleTexts {
    /// Returns whether all ranges lie in the derived blob.
    pub(in crate::model) fn is_sound(&self) -> bool {
        let mut ranges = self.texts.iter().map(|(_, range)| *range);
        self.derived.is_sound() && ranges.all(|range| self.derived.has(range))
    }
}

impl Track {
    fn is_sound(&self) -> bool {
        let sizes = self.segments.iter().map(|segment| segment.size);
        let mut frames = self.frames.iter();
        self.timescale > 0
            && have_sum([self.peak_bits])
            && have_sum([self.average_bits])
            && have_sum(sizes)
            && have_sum(self.transport_sizes.iter().copied())
            && have_sum(self.first_pictures.iter().copied())
            && frames
                .all(|(range, _)| range.len <= MAX_MAP_FRAME && have_sum([range.offset, range.len]))
    }
}
