//! Text subtitles.

use crate::model::Subtitle;

use super::build::{Film, Job};
use super::collect::DerivedWriter;
use super::error::MediaError;
use super::probe::Stream;
use super::sniff::Container;

pub(super) fn extract(
    _job: &Job,
    _container: Container,
    _streams: &[Stream],
    _film: &Film,
    _derived: &mut DerivedWriter,
) -> Result<Vec<Subtitle>, MediaError> {
    Ok(Vec::new())
}
