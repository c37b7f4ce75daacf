//! Parameter sets of a film that gets a second encoding beside its own, in the same `avcC`.

use crate::media::build::collect::Collected;
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::mp4::avc::{self, Sequence, Sets};
use crate::media::mp4::fragments::MovieTrack;
use crate::media::mp4::init::{self, Description};

/// Parameter sets of the film, and those of the groups that are encoded again.
pub struct FilmSets {
    sets: Sets,
    sequence: Sequence,
    /// Number of the second parameter sets.
    id: u32,
    /// The second sets, once a group is encoded. They are the same for each group.
    second: Option<Sets>,
}

impl FilmSets {
    /// Reads the sets of a film. The reason for a failure applies to all groups of the film.
    pub fn of(film: &Collected) -> Result<Self, String> {
        if !film.description.codec.starts_with("avc1") {
            return Err(format!(
                "only H.264 has a place for a second encoding, and this is {}",
                film.description.codec
            ));
        }
        let unreadable = || "its parameter sets cannot be read".to_owned();
        let sets = avc::of_trak(&film.track.trak).ok_or_else(unreadable)?;
        let ([sequence], false) = (sets.sequence.as_slice(), film.brings_sets) else {
            return Err("it has several parameter sets, or some among its frames".to_owned());
        };
        let sequence = Sequence::parse(sequence).ok_or_else(unreadable)?;
        if !sequence.is_plain || !matches!(sequence.profile, 66 | 77 | 100) {
            return Err("it has more than 8 bits a colour, or a rare profile".to_owned());
        }
        if !sequence.is_progressive || film.description.nal_length != 4 {
            return Err("it is interlaced, or packed in a rare way".to_owned());
        }
        let id = sets.free_id().ok_or_else(unreadable)?;
        Ok(Self {
            sets,
            sequence,
            id,
            second: None,
        })
    }

    /// Returns the film's own sequence.
    pub const fn sequence(&self) -> &Sequence {
        &self.sequence
    }
    /// Returns the number that the second sets must have.
    pub const fn second_id(&self) -> u32 {
        self.id
    }

    /// Accepts the sets of an encoded group. Returns false when the encoding does not fit into the
    /// film's track.
    pub fn accept(&mut self, film: &Collected, track: &MovieTrack) -> bool {
        let (Some(found), Some(sets)) = (init::describe(track), avc::of_trak(&track.trak)) else {
            return false;
        };
        let Description { width, height, .. } = film.description;
        let sequence = sets.sequence.first().and_then(|set| Sequence::parse(set));
        let is_alike = (found.width, found.height, found.nal_length) == (width, height, 4)
            && track.timescale == film.track.timescale
            && sets.sequence.len() == 1
            && sequence.is_some_and(|set| set.id == self.id && set.is_plain);
        let is_known = self.second.as_ref().is_none_or(|known| {
            (&known.sequence, &known.picture) == (&sets.sequence, &sets.picture)
        });
        if is_alike && is_known {
            self.second.get_or_insert(sets);
        }
        is_alike && is_known
    }

    /// Writes both sets into the film's sample description, if a group was encoded.
    pub fn write_to(&self, film: &mut Collected) -> Result<(), MediaError> {
        let Some(second) = &self.second else {
            return Ok(());
        };
        let sets = self.sets.joined(second);
        let trak = avc::with_sets(&film.track.trak, &sets).ok_or_else(|| {
            MediaError::new(
                MediaErrorKind::Protocol,
                "ffmpeg wrote a sample description that cannot be read",
            )
        })?;
        film.track.trak = trak;
        film.description.codec = sets.codec();
        Ok(())
    }
}
