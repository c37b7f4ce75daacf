//! Films that are transport streams: each segment is two tables and a range of the file, so nothing
//! of it is stored twice.
//!
//! `scan` reads the film once, with `packet` and `tables` for its shell, `pictures` for where video
//! can be cut and `first` for where ffmpeg counts from. `make` writes the views, with sound that
//! browsers lack beside them. `pick` serves what is no plain range. What cannot be right is refused,
//! and copied as other films are.

mod first;
mod make;
mod packet;
mod pick;
mod pictures;
mod scan;
mod sound;
mod tables;

pub use make::make;
pub use pick::Picker;
pub use scan::InPlaceRefusal;

use bytes::Bytes;

use super::hls::view::Piece;
use super::map::MapError;
use crate::model::{InPlace, SegmentInfo, Views};

/// How segment `number` of a film whose segments are ranges is put together: the pieces of a plain
/// one, else what to make of the pieces.
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
