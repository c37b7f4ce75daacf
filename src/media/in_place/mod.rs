//! Reads films that are transport streams, and serves their segments. Each segment is two tables and a
//! range of the file.
//!
//! `scan` reads the film once. `packet` and `tables` parse the stream, `pictures` finds the places where
//! video can be cut, `first` the time that ffmpeg counts from. `pick` serves segments that are no plain
//! range.

pub mod packet;
pub mod pictures;
pub mod scan;
pub mod tables;

mod first;
mod pick;

pub use pick::Picker;

use bytes::Bytes;

use super::hls::view::Piece;
use super::map::MapError;
use crate::model::{InPlace, SegmentInfo, Views};

/// Returns the pieces of segment `number` of a film whose segments are ranges. A segment that is no plain
/// range also has a picker, which makes it from the pieces.
///
/// # Errors
/// When there is no such segment.
pub fn segment(views: &Views, number: usize) -> Result<(Option<Picker>, Vec<Piece>), MapError> {
    let found = || {
        let film = views.in_place.as_ref()?;
        let segments = &views.tracks.first()?.segments;
        parts(film, segments, number)
    };
    found().ok_or(MapError("no such segment"))
}

fn parts(
    film: &InPlace,
    segments: &[SegmentInfo],
    number: usize,
) -> Option<(Option<Picker>, Vec<Piece>)> {
    let range = film.range(segments, number)?;
    let tables = Bytes::from(film.tables_of(number)?);
    if film.is_plain() {
        return Some((None, vec![Piece::Literal(tables), Piece::Content(range)]));
    }
    let picker = Picker {
        tables,
        stride: film.stride,
        kept: film.kept.clone(),
    };
    Some((Some(picker), vec![Piece::Content(range)]))
}
