//! Finds the muxer's samples in the source file by an ordered byte search, which needs no position
//! from any demuxer. Every hit is compared byte for byte, so the map cannot be wrong. A false hit
//! (equal bytes elsewhere) is harmless for the same reason.
//!
//! The steps for one sample are: the distances that were right lately; a walk over ranges that no other
//! sample has claimed; the whole file; the sample's tail alone (Matroska header stripping leaves out
//! the first bytes of each frame). A sample that no step finds is stored. Walking has a budget.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use memchr::memmem::Finder;

/// Longest distance of a walk from the track's last sample. 6.9 MB were seen (an audio delay).
const WINDOW: u64 = 64 << 20;
/// Longest walk that is not charged to the budget.
const NEAR: u64 = 1 << 20;
/// Size of the first chunk that is read. Chunks double from it, because most samples are a few bytes
/// away.
const FIRST_CHUNK: usize = 2 << 10;
const LAST_CHUNK: usize = 256 << 10;
/// Bytes of a sample that are searched for before the whole of it is compared.
const NEEDLE: usize = 48;
/// Number of distances that are remembered and tried first.
const REMEMBERED_GAPS: usize = 8;
/// Longest part of a sample's head that may be missing in the file.
const MAX_STRIPPED: usize = 64;
/// Samples of a track that may fail before the first hit. After these, the track counts as not in the
/// file.
const FAILS_BEFORE_DEAD: u32 = 8;
/// Budget of far walks: this many times the file, plus [`BUDGET_BASE`] bytes.
const BUDGET_FACTOR: u64 = 4;
const BUDGET_BASE: u64 = 256 << 20;

/// Place of a sample's bytes in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleLocation {
    /// The whole sample, at this offset.
    Whole(u64),
    /// All but the first `missing` bytes, at this offset.
    Tail {
        missing: usize,
        at: u64,
    },
    Nowhere,
}

/// Reads ranges of the source into one buffer.
struct SourceReader {
    file: File,
    len: u64,
    buffer: Vec<u8>,
    read_bytes: u64,
}

impl SourceReader {
    /// Returns at most `len` bytes, and fewer only at the end of the file.
    fn at(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = len.min(left);
        if self.buffer.len() < count {
            self.buffer.resize(count, 0);
        }
        self.file.read_exact_at(&mut self.buffer[..count], offset)?;
        self.read_bytes += count as u64;
        Ok(&self.buffer[..count])
    }
    fn holds(&mut self, data: &[u8], at: u64) -> io::Result<bool> {
        if at.saturating_add(data.len() as u64) > self.len {
            return Ok(false);
        }
        // The first bytes rule out most wrong guesses.
        if data.len() > 64 && self.at(at, 16)? != &data[..16] {
            return Ok(false);
        }
        Ok(self.at(at, data.len())? == data)
    }
}

/// Ranges in which samples were found. Walks step over them.
#[derive(Debug, Default)]
struct Claims(BTreeMap<u64, u64>);

impl Claims {
    fn add(&mut self, mut start: u64, mut end: u64) {
        if let Some((&before, &before_end)) = self.0.range(..=start).next_back()
            && before_end >= start
        {
            start = before;
            end = end.max(before_end);
        }
        while let Some((&next, &next_end)) = self.0.range(start..=end).next() {
            end = end.max(next_end);
            self.0.remove(&next);
        }
        self.0.insert(start, end);
    }
    /// Returns the start and end of the first free range at or behind `from`.
    fn free_from(&self, from: u64) -> (u64, u64) {
        let start = match self.0.range(..=from).next_back() {
            Some((_, &end)) if end > from => end,
            _ => from,
        };
        let end = self
            .0
            .range(start + 1..)
            .next()
            .map_or(u64::MAX, |(&next, _)| next);
        (start, end)
    }
    fn touches(&self, start: u64, end: u64) -> bool {
        self.0
            .range(..end)
            .next_back()
            .is_some_and(|(_, &before)| before > start)
    }
    fn prune(&mut self, below: u64) {
        while let Some(entry) = self.0.first_entry() {
            if *entry.get() >= below {
                break;
            }
            entry.remove();
        }
    }
}

/// State of the search for the samples of one track.
#[derive(Debug, Default)]
pub struct Cursor {
    /// Offset behind the last sample that was found.
    position: u64,
    /// Distances between samples, the latest first.
    gaps: Vec<u64>,
    hits: u64,
    fails: u32,
    /// Bytes that header stripping removed from the start of each frame.
    stripped: Vec<u8>,
    dead: bool,
}

impl Cursor {
    fn moved(&mut self, at: u64, len: usize) {
        if let Some(gap) = at.checked_sub(self.position) {
            self.gaps.retain(|known| *known != gap);
            self.gaps.insert(0, gap);
            self.gaps.truncate(REMEMBERED_GAPS);
        }
        self.position = at.saturating_add(len as u64);
        self.hits += 1;
        self.fails = 0;
    }
}

/// The search over one source file.
pub struct Search {
    source: SourceReader,
    claims: Claims,
    budget: u64,
}

impl Search {
    /// Starts a search in `file`.
    ///
    /// # Errors
    /// When the file's length cannot be read.
    pub fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self {
            source: SourceReader {
                file,
                len,
                buffer: Vec::new(),
                read_bytes: 0,
            },
            claims: Claims::default(),
            budget: len
                .saturating_mul(BUDGET_FACTOR)
                .saturating_add(BUDGET_BASE),
        })
    }
    /// Forgets all hits, because the same samples will come again. The budget is not renewed.
    pub fn restart(&mut self) {
        self.claims = Claims::default();
    }
    /// Returns the bytes of the source.
    #[must_use]
    pub const fn source_len(&self) -> u64 {
        self.source.len
    }
    /// Returns the bytes read so far.
    #[must_use]
    pub const fn read_bytes(&self) -> u64 {
        self.source.read_bytes
    }

    /// Finds `data`, the next sample of the cursor's track.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn locate(&mut self, cursor: &mut Cursor, data: &[u8]) -> io::Result<SampleLocation> {
        if cursor.dead || data.is_empty() {
            return Ok(SampleLocation::Nowhere);
        }
        let stripped = cursor.stripped.len();
        if stripped > 0 && data.len() > stripped && data.starts_with(&cursor.stripped) {
            let tail = &data[stripped..];
            let mut at = self.predicted(cursor, tail)?;
            if at.is_none() {
                at = self.walk(cursor, tail, WINDOW)?;
            }
            if let Some(at) = at {
                self.claim(cursor, at, tail.len());
                return Ok(SampleLocation::Tail {
                    missing: stripped,
                    at,
                });
            }
        }
        if let Some(at) = self.whole(cursor, data)? {
            self.claim(cursor, at, data.len());
            return Ok(SampleLocation::Whole(at));
        }
        if let Some((missing, at)) = self.tail(cursor, data)? {
            cursor.stripped = data[..missing].to_vec();
            self.claim(cursor, at, data.len() - missing);
            return Ok(SampleLocation::Tail { missing, at });
        }
        cursor.fails += 1;
        cursor.dead = cursor.hits == 0 && cursor.fails >= FAILS_BEFORE_DEAD;
        Ok(SampleLocation::Nowhere)
    }

    /// Forgets claims below every cursor, which no walk reaches again.
    pub fn prune<'a>(&mut self, cursors: impl Iterator<Item = &'a Cursor>) {
        let lowest = cursors
            .filter(|cursor| !cursor.dead)
            .map(|cursor| cursor.position)
            .min();
        self.claims.prune(lowest.unwrap_or(0));
    }

    fn claim(&mut self, cursor: &mut Cursor, at: u64, len: usize) {
        cursor.moved(at, len);
        self.claims.add(at, at.saturating_add(len as u64));
    }

    fn whole(&mut self, cursor: &Cursor, data: &[u8]) -> io::Result<Option<u64>> {
        if let Some(at) = self.predicted(cursor, data)? {
            return Ok(Some(at));
        }
        if let Some(at) = self.walk(cursor, data, WINDOW)? {
            return Ok(Some(at));
        }
        // This includes claimed ranges: two tracks may share bytes, and chunks may be in any order.
        let len = self.source.len;
        match self.charged_scan(data, cursor.position, len)? {
            Some(at) => Ok(Some(at)),
            None => self.charged_scan(data, 0, len),
        }
    }

    fn predicted(&mut self, cursor: &Cursor, data: &[u8]) -> io::Result<Option<u64>> {
        for gap in std::iter::once(&0).chain(&cursor.gaps) {
            let at = cursor.position.saturating_add(*gap);
            let end = at.saturating_add(data.len() as u64);
            if !self.claims.touches(at, end) && self.source.holds(data, at)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn walk(&mut self, cursor: &Cursor, data: &[u8], window: u64) -> io::Result<Option<u64>> {
        let len = data.len() as u64;
        let limit = cursor.position.saturating_add(window).min(self.source.len);
        let mut from = cursor.position;
        let mut walked = 0;
        while from < limit && walked < window {
            let (start, end) = self.claims.free_from(from);
            if start >= limit {
                break;
            }
            let end = end.min(self.source.len);
            if end.saturating_sub(start) >= len {
                let near = NEAR.saturating_sub(walked);
                let far = near.saturating_add(self.budget);
                let reach = end.min(
                    start
                        .saturating_add(far.min(window - walked))
                        .saturating_add(len),
                );
                let (found, scanned) = scan(&mut self.source, data, start, reach)?;
                walked += scanned;
                self.budget = self.budget.saturating_sub(scanned.saturating_sub(near));
                if found.is_some() {
                    return Ok(found);
                }
                if self.budget == 0 && walked >= NEAR {
                    break;
                }
            }
            from = end;
        }
        Ok(None)
    }

    fn charged_scan(&mut self, data: &[u8], from: u64, to: u64) -> io::Result<Option<u64>> {
        if self.budget == 0 {
            return Ok(None);
        }
        let reach = to.min(from.saturating_add(self.budget));
        let (found, scanned) = scan(&mut self.source, data, from, reach)?;
        self.budget = self.budget.saturating_sub(scanned);
        Ok(found)
    }

    /// Searches for the sample's second half and compares backwards from its end.
    fn tail(&mut self, cursor: &Cursor, data: &[u8]) -> io::Result<Option<(usize, u64)>> {
        const SHORTEST: usize = 24;
        if data.len() < SHORTEST {
            return Ok(None);
        }
        let needle = &data[data.len() - (data.len() / 2).min(64)..];
        let limit = cursor.position.saturating_add(WINDOW).min(self.source.len);
        let Some(at) = self.charged_scan(needle, cursor.position, limit)? else {
            return Ok(None);
        };
        let end = at + needle.len() as u64;
        let start = end.saturating_sub(data.len() as u64);
        let width = usize::try_from(end - start).unwrap_or(0);
        let before = self.source.at(start, width)?;
        let equal = before
            .iter()
            .rev()
            .zip(data.iter().rev())
            .take_while(|(left, right)| left == right)
            .count();
        let missing = data.len() - equal;
        Ok((missing <= MAX_STRIPPED).then(|| (missing, end - equal as u64)))
    }
}

/// Returns the first place of `data` that lies wholly within `from..to`, and the number of bytes that
/// were examined.
fn scan(
    source: &mut SourceReader,
    data: &[u8],
    from: u64,
    to: u64,
) -> io::Result<(Option<u64>, u64)> {
    let needle = data.len().min(NEEDLE);
    let finder = Finder::new(&data[..needle]);
    let to = to.min(source.len);
    let mut position = from;
    let mut chunk = FIRST_CHUNK;
    while position.saturating_add(data.len() as u64) <= to {
        let left = usize::try_from(to - position).unwrap_or(usize::MAX);
        let want = left.min(chunk + needle - 1);
        let mut skip = 0;
        loop {
            let window = source.at(position, want)?;
            let Some(hit) = finder.find(&window[skip.min(window.len())..]) else {
                break;
            };
            let at = position + (skip + hit) as u64;
            if at.saturating_add(data.len() as u64) > to {
                return Ok((None, to - from));
            }
            if data.len() == needle || source.at(at, data.len())? == data {
                return Ok((Some(at), at - from));
            }
            skip += hit + 1;
        }
        if want < chunk + needle - 1 {
            break;
        }
        position += chunk as u64;
        chunk = (chunk * 2).min(LAST_CHUNK);
    }
    Ok((None, to.saturating_sub(from)))
}

#[cfg(test)]
mod tests;
