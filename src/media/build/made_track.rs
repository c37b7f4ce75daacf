//! A track before it is cut.

use super::collect::Collected;
use crate::media::inspect::probe::ProbedStream;
use crate::media::mp4::fragments::Movie;

/// Track of a film, with its movie header and its stream in the source.
pub struct MadeTrack {
    pub movie: Movie,
    pub collected: Collected,
    pub stream: ProbedStream,
    /// Ranges of samples that are not the source's own.
    pub encoded: Vec<std::ops::Range<usize>>,
}
