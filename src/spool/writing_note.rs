//! Note of a file that is being written: a small file in the spool that is there from before the first
//! change until the last close. It holds what the spool files do not show. A start that finds a note
//! restores the file as it was last acknowledged, and knows that its writer was interrupted.
//!
//! Plain writes survive the end of this process, so a note costs no fsync. Only [`WritingNote::secure`]
//! and [`WritingNote::hold_until_closed`] carry it over a power cut.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::disk;
use crate::model::{BlobId, ByteRange};

const MAGIC: [u8; 8] = *b"tgfsnote";
const HEADER_BYTES: u64 = 24;
const STEP_BYTES: usize = 17;
/// Number of steps at which a note is begun again, if a commit holds their effect.
const MANY_STEPS: u64 = 4096;

/// Change of a file, as its note holds it. Repeating all steps over their own result changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotedStep {
    /// The following steps write into this blob, at the offsets that the bytes have in the file.
    Blob(BlobId),
    /// The file is empty now. From here on the blob has its bytes, holes and length, so that writes are
    /// not noted.
    Mirror,
    /// The blob has the bytes of this range.
    Write(ByteRange),
    /// The file was cut or extended to this size.
    Resize(u64),
    /// The range became a hole.
    Punch(ByteRange),
}

/// Content of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotedWriting {
    /// First version that the note holds for.
    pub first: u64,
    /// Last version that the note holds for. A file with a newer version was closed after it.
    pub last: u64,
    pub steps: Vec<NotedStep>,
}

/// The note of one file, open for further steps.
#[derive(Debug)]
pub struct WritingNote {
    path: PathBuf,
    /// Open only while each write adds a step, because every file that is being written has a note.
    file: Option<File>,
    first: u64,
    last: u64,
    steps: u64,
    is_secure: bool,
}

impl WritingNote {
    /// Begins the note of a file that has this version now, in place of an older note.
    pub(super) fn begin(path: PathBuf, version: u64, steps: &[NotedStep]) -> io::Result<Self> {
        let file = disk::create_regular(&path)?;
        let mut bytes = header(version, version).to_vec();
        steps
            .iter()
            .for_each(|step| bytes.extend_from_slice(&encode(*step)));
        file.write_all_at(&bytes, 0)?;
        Ok(Self {
            path,
            file: None,
            first: version,
            last: version,
            steps: steps.len() as u64,
            is_secure: false,
        })
    }

    fn opened(&self) -> io::Result<File> {
        let file = disk::regular_only().write(true).open(&self.path)?;
        disk::require_regular(file, &self.path)
    }

    /// Adds a step.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn add(&mut self, step: NotedStep) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.opened()?,
        };
        let at = HEADER_BYTES + self.steps * STEP_BYTES as u64;
        file.write_all_at(&encode(step), at)?;
        self.steps += 1;
        if matches!(step, NotedStep::Write(_)) {
            self.file = Some(file);
        }
        Ok(())
    }

    /// Lets the note hold for the next version too, before a commit that is not the last one.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn allow(&mut self, next: u64) -> io::Result<()> {
        if self.last < next {
            self.last = next;
            self.opened()?
                .write_all_at(&header(self.first, self.last), 0)?;
        }
        Ok(())
    }

    /// Forgets the steps if they are many, because a committed version has their effect. `steps` describe
    /// that version.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn shorten(&mut self, steps: &[NotedStep]) -> io::Result<()> {
        if self.steps < MANY_STEPS {
            return Ok(());
        }
        self.restate(steps)
    }

    /// Replaces all steps by those of a committed version.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn restate(&mut self, steps: &[NotedStep]) -> io::Result<()> {
        let bytes: Vec<u8> = steps.iter().flat_map(|step| encode(*step)).collect();
        let file = self.opened()?;
        file.write_all_at(&bytes, HEADER_BYTES)?;
        file.set_len(HEADER_BYTES + bytes.len() as u64)?;
        self.steps = steps.len() as u64;
        Ok(())
    }

    /// Makes the note survive a power cut as it is now.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn secure(&mut self) -> io::Result<()> {
        if !self.is_secure {
            self.opened()?.sync_all()?;
            self.sync_name()?;
            self.is_secure = true;
        }
        Ok(())
    }

    /// Lets the note hold for all later versions, over a power cut too. Its removal then waits for the
    /// disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn hold_until_closed(&mut self) -> io::Result<()> {
        if self.last < u64::MAX {
            self.allow(u64::MAX)?;
            self.is_secure = false;
        }
        self.secure()
    }

    /// Removes the note.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(self) -> io::Result<()> {
        super::remove_if_there(&self.path)?;
        match self.last {
            u64::MAX => self.sync_name(),
            _ => Ok(()),
        }
    }

    fn sync_name(&self) -> io::Result<()> {
        self.path.parent().map_or(Ok(()), disk::sync_directory)
    }
}

impl NotedWriting {
    /// Decodes a note. Returns `None` when a power cut took its beginning.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, steps) = bytes.split_at_checked(usize::try_from(HEADER_BYTES).ok()?)?;
        if !header.starts_with(&MAGIC) {
            return None;
        }
        let number = |at: usize| {
            let bytes = header.get(at..at + 8)?.try_into().ok()?;
            Some(u64::from_le_bytes(bytes))
        };
        Some(Self {
            first: number(8)?,
            last: number(16)?,
            steps: steps
                .chunks_exact(STEP_BYTES)
                .map_while(decode_step)
                .collect(),
        })
    }

    /// Returns whether the note holds for this version of its file.
    #[must_use]
    pub fn holds_for(&self, version: u64) -> bool {
        (self.first..=self.last).contains(&version)
    }
}

fn header(first: u64, last: u64) -> [u8; 24] {
    let mut header = [0; 24];
    header[..8].copy_from_slice(&MAGIC);
    header[8..16].copy_from_slice(&first.to_le_bytes());
    header[16..].copy_from_slice(&last.to_le_bytes());
    header
}

fn encode(step: NotedStep) -> [u8; STEP_BYTES] {
    let mut bytes = [0; STEP_BYTES];
    let (tag, offset, len) = match step {
        NotedStep::Blob(id) => {
            bytes[0] = 1;
            bytes[1..].copy_from_slice(id.as_bytes());
            return bytes;
        }
        NotedStep::Mirror => (2, 0, 0),
        NotedStep::Write(range) => (3, range.offset, range.len),
        NotedStep::Resize(size) => (4, size, 0),
        NotedStep::Punch(range) => (5, range.offset, range.len),
    };
    bytes[0] = tag;
    bytes[1..9].copy_from_slice(&offset.to_le_bytes());
    bytes[9..].copy_from_slice(&len.to_le_bytes());
    bytes
}

fn decode_step(bytes: &[u8]) -> Option<NotedStep> {
    let (tag, value) = bytes.split_first()?;
    let number = |range: std::ops::Range<usize>| {
        Some(u64::from_le_bytes(value.get(range)?.try_into().ok()?))
    };
    let range = || Some(ByteRange::new(number(0..8)?, number(8..16)?));
    Some(match tag {
        1 => NotedStep::Blob(BlobId::from_bytes(value.try_into().ok()?)),
        2 => NotedStep::Mirror,
        3 => NotedStep::Write(range()?),
        4 => NotedStep::Resize(number(0..8)?),
        5 => NotedStep::Punch(range()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note_in(directory: &tempfile::TempDir) -> PathBuf {
        directory.path().join("note")
    }

    fn read(path: &PathBuf) -> NotedWriting {
        NotedWriting::decode(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn a_note_holds_each_step_and_the_versions_it_is_about() {
        let directory = tempfile::tempdir().unwrap();
        let path = note_in(&directory);
        let blob = NotedStep::Blob(BlobId::random());
        let mut note = WritingNote::begin(path.clone(), 7, &[blob]).unwrap();
        let steps = [
            NotedStep::Mirror,
            NotedStep::Write(ByteRange::new(3, 9)),
            NotedStep::Resize(1 << 40),
            NotedStep::Punch(ByteRange::new(1, 2)),
        ];
        steps.iter().for_each(|step| note.add(*step).unwrap());
        let noted = read(&path);
        assert_eq!(noted.steps, [&[blob], &steps[..]].concat());
        assert!(noted.holds_for(7) && !noted.holds_for(6) && !noted.holds_for(8));
        note.allow(8).unwrap();
        assert!(read(&path).holds_for(8) && !read(&path).holds_for(9));
        note.hold_until_closed().unwrap();
        assert!(read(&path).holds_for(1 << 60));
        note.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_a_power_cut_leaves_of_a_note_is_read_up_to_the_damage() {
        let directory = tempfile::tempdir().unwrap();
        let path = note_in(&directory);
        let mut note = WritingNote::begin(path.clone(), 0, &[NotedStep::Mirror]).unwrap();
        note.add(NotedStep::Resize(5)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(
            NotedWriting::decode(&whole[..whole.len() - 1])
                .unwrap()
                .steps
                .len(),
            1
        );
        let mut zeroed = whole.clone();
        zeroed[24..].fill(0);
        assert!(NotedWriting::decode(&zeroed).unwrap().steps.is_empty());
        assert!(NotedWriting::decode(&[]).is_none());
        assert!(NotedWriting::decode(&[0; 64]).is_none());
    }

    #[test]
    fn a_long_note_is_begun_again_after_a_commit() {
        let directory = tempfile::tempdir().unwrap();
        let path = note_in(&directory);
        let mut note = WritingNote::begin(path.clone(), 0, &[]).unwrap();
        let step = NotedStep::Write(ByteRange::new(0, 1));
        (0..MANY_STEPS).for_each(|_| note.add(step).unwrap());
        note.shorten(&[NotedStep::Mirror]).unwrap();
        note.add(step).unwrap();
        assert_eq!(read(&path).steps, [NotedStep::Mirror, step]);
    }
}
