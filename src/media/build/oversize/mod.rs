//! Encodes groups of pictures that are larger than a segment may be once more. This is for H.264 video
//! only. The new groups have parameter sets of their own beside the film's in the same `avcC`. The
//! pictures keep their times, so nothing else of the film changes and players need no new beginning.
//!
//! ffmpeg receives the group alone, as a small file, so the frames that it decodes do not depend on
//! how a demuxer seeks. A group whose encoding does not fit stays as it is.

mod encoder;
pub mod group;
mod parameter_sets;
mod sink;
mod times;

use std::ops::Range;

use self::encoder::GroupEncoder;
use self::group::{Reencoded, bytes_of, groups};
use self::parameter_sets::FilmSets;
use super::collect::DerivedWriter;
use super::context::BuildContext;
use super::made_track::MadeTrack;
use super::timeline;
use crate::media::attempt::Attempt;
use crate::media::error::MediaError;
use crate::model::Oversize;

/// Encodes the groups of the first track that are too large, where it is video and the settings ask
/// for it.
///
/// # Errors
/// When the tool is missing, or the disk refuses.
pub fn reencode(
    context: &BuildContext,
    made: &mut [MadeTrack],
    derived: &mut DerivedWriter,
    notes: &mut Vec<String>,
) -> Result<Vec<Reencoded>, MediaError> {
    let max_chunk_bytes = context.policy.max_chunk_bytes;
    let Some(film) = made.first_mut() else {
        return Ok(Vec::new());
    };
    if context.policy.oversize == Oversize::Keep
        || max_chunk_bytes == 0
        || &film.collected.track.handler != b"vide"
    {
        return Ok(Vec::new());
    }
    timeline::normalise(&mut film.collected, film.movie.timescale);
    let samples = &film.collected.samples;
    let is_large = |range: &Range<usize>| bytes_of(&samples[range.clone()]) > max_chunk_bytes;
    let mut large = groups(samples);
    large.retain(is_large);
    if large.is_empty() {
        return Ok(Vec::new());
    }
    let (mut done, mut kept) = (Vec::new(), Vec::new());
    match FilmSets::of(&film.collected) {
        Ok(sets) => {
            let mut encoder = GroupEncoder::new(context, sets, derived)?;
            for range in large {
                match encoder.encode(film, range)? {
                    Attempt::Made(group) => done.push(group),
                    Attempt::Refused(reason) => kept.push(reason),
                }
            }
            encoder.sets().write_to(&mut film.collected)?;
        }
        Err(reason) => kept = vec![reason; large.len()],
    }
    film.encoded = done.iter().map(|group| group.samples.clone()).collect();
    if let Some(reason) = kept.first() {
        notes.push(note_of(kept.len(), reason));
    }
    Ok(done)
}

/// Returns the note about `kept` groups that stay as they are.
pub fn note_of(kept: usize, reason: &str) -> String {
    match kept {
        1 => format!("a part above MAX_CHUNK_SIZE is kept as it is: {reason}"),
        count => format!("{count} parts above MAX_CHUNK_SIZE are kept as they are: {reason}"),
    }
}
