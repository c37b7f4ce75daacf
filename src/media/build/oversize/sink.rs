//! Sink of one newly encoded group.

use crate::media::build::collect::DerivedWriter;
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::mp4::fragments::{self, Movie, MovieTrack, Sample, Sink};
use crate::media::mp4::{init, nal};

/// Sink that appends the encoded samples to the derived file as they come.
pub struct GroupSink<'a> {
    derived: &'a mut DerivedWriter,
    track: Option<MovieTrack>,
    samples: Vec<Sample>,
    /// Ticks where the next fragment should begin.
    next: u64,
}

impl<'a> GroupSink<'a> {
    /// Starts with no samples. Bytes go to the end of `derived`.
    pub fn new(derived: &'a mut DerivedWriter) -> Self {
        Self {
            derived,
            track: None,
            samples: Vec::new(),
            next: 0,
        }
    }

    /// Returns the encoded track, where there is one, and its samples.
    pub fn into_parts(self) -> (Option<MovieTrack>, Vec<Sample>) {
        (self.track, self.samples)
    }
}

impl Sink for GroupSink<'_> {
    fn movie(&mut self, movie: Movie) -> Result<(), MediaError> {
        self.track = movie.tracks.into_iter().next();
        Ok(())
    }
    fn fragment(&mut self, _: usize, decode_time: u64) -> Result<(), MediaError> {
        // The previous sample lasts until here, whatever its own duration says.
        let jump = decode_time.wrapping_sub(self.next).cast_signed();
        if let Some(last) = self.samples.last_mut() {
            let duration = i64::from(last.duration).saturating_add(jump);
            last.duration = u32::try_from(duration.max(0)).unwrap_or(u32::MAX);
        }
        self.next = decode_time;
        Ok(())
    }
    fn sample(&mut self, _: usize, mut sample: Sample, data: &[u8]) -> Result<(), MediaError> {
        let Some(description) = self.track.as_ref().and_then(init::describe) else {
            return Err(MediaError::new(
                MediaErrorKind::Protocol,
                "a sample without a track",
            ));
        };
        // Only an IDR picture counts as a key frame.
        if sample.is_key() && !nal::is_independent(&description, data) {
            sample.flags |= fragments::NON_SYNC;
        }
        self.derived.append(data)?;
        self.next = self.next.saturating_add(u64::from(sample.duration));
        self.samples.push(sample);
        Ok(())
    }
}
