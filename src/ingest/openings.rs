//! Ranges to pin of the blobs that are being sent. They are the ones that every reader of a film reads
//! first.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::media::hls::view::Piece;
use crate::media::hls::views::assemble;
use crate::media::inspect::opening::opening_ranges;
use crate::model::{ByteRange, Views};
use crate::remote::PackInput;
use crate::spool::SpoolFile;
use crate::sync::MutexExt as _;

/// Part of a blob that is pinned in the block cache while it is sent.
#[derive(Debug, Clone, Copy)]
pub enum OpeningOf<'a> {
    /// Ranges of the film that a player reads before it plays.
    Film,
    /// Ranges of the derived blob of these views that a player reads before it plays.
    Derived(&'a Views),
    /// The whole blob: texts, which a player reads at its start.
    Whole,
    /// Nothing.
    Nothing,
}

/// Ranges to pin, by spool file, with one entry for each blob that is being sent.
#[derive(Debug, Default)]
pub struct Openings(Mutex<HashMap<PathBuf, Vec<ByteRange>>>);

/// Ranges to pin of one blob, which are forgotten when this is dropped.
#[derive(Debug)]
pub struct HeldOpening {
    openings: Arc<Openings>,
    path: PathBuf,
}

impl Openings {
    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Vec<ByteRange>>> {
        self.0.acquire()
    }

    /// Finds the ranges of a blob to pin, and holds them until the result is dropped.
    pub async fn hold(
        self: &Arc<Self>,
        opening: OpeningOf<'_>,
        file: &Arc<SpoolFile>,
    ) -> Option<HeldOpening> {
        let ranges = match opening {
            OpeningOf::Nothing => return None,
            OpeningOf::Film => return Some(self.of_film(&file.path).await),
            OpeningOf::Whole => vec![ByteRange::new(0, u64::MAX)],
            OpeningOf::Derived(views) => {
                let (views, derived) = (views.clone(), Arc::clone(file));
                let looking = tokio::task::spawn_blocking(move || of_derived(&views, &derived));
                // Without these ranges a player only waits a little.
                looking.await.unwrap_or_default()
            }
        };
        Some(self.of_ranges(&file.path, ranges))
    }

    /// Finds the ranges of a film. Nothing is pinned of a film that cannot be read.
    async fn of_film(self: &Arc<Self>, path: &Path) -> HeldOpening {
        let film = path.to_path_buf();
        let looking = tokio::task::spawn_blocking(move || {
            let file = std::fs::File::open(film)?;
            let len = file.metadata()?.len();
            opening_ranges(&file, len)
        });
        let ranges = match looking.await {
            Ok(Ok(ranges)) => ranges,
            Ok(Err(error)) => {
                tracing::debug!(path = %path.display(), %error, "nothing of it is pinned");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        self.of_ranges(path, ranges)
    }

    fn of_ranges(self: &Arc<Self>, path: &Path, ranges: Vec<ByteRange>) -> HeldOpening {
        self.lock().insert(path.to_path_buf(), ranges);
        HeldOpening {
            openings: Arc::clone(self),
            path: path.to_path_buf(),
        }
    }

    /// Returns the ranges of a pack that are to be pinned.
    pub fn in_pack(&self, inputs: &[PackInput]) -> Vec<ByteRange> {
        let openings = self.lock();
        let mut found = Vec::new();
        let mut at = 0;
        for input in inputs {
            for range in openings.get(&input.path).into_iter().flatten() {
                let from = range.offset.max(input.offset);
                let to = range.end().min(input.offset + input.len);
                if from < to {
                    found.push(ByteRange::new(at + from - input.offset, to - from));
                }
            }
            at += input.len;
        }
        found
    }
}

impl Drop for HeldOpening {
    fn drop(&mut self) {
        self.openings.lock().remove(&self.path);
    }
}

/// Returns the ranges of a derived blob that a player reads before it plays: the map, the subtitles,
/// and the first segment of each sound track. Blocking.
fn of_derived(views: &Views, derived: &SpoolFile) -> Vec<ByteRange> {
    let texts = views.subtitles.iter().flat_map(|subtitle| {
        let whole = subtitle.texts.iter().map(|(_, range)| *range);
        whole.chain(subtitle.segments.iter().copied())
    });
    let tracks = (0..views.tracks.len()).flat_map(|track| first_segment(views, track, derived));
    std::iter::once(views.map)
        .chain(texts)
        .chain(tracks)
        .collect()
}

/// Returns the ranges of the derived blob that hold samples of a track's first segment. The samples of
/// most videos lie in the film itself.
fn first_segment(views: &Views, track: usize, derived: &SpoolFile) -> Vec<ByteRange> {
    let pieces = || {
        let (frame, _) = views.tracks.get(track)?.frames.first()?;
        let mut bytes = vec![0; usize::try_from(frame.len).ok()?];
        let at = views.map.offset.checked_add(frame.offset)?;
        derived.read_exact_at(&mut bytes, at).ok()?;
        assemble(views, track, 0, &bytes).ok()
    };
    let derived = |piece| match piece {
        Piece::Derived(range) => Some(range),
        Piece::Literal(_) | Piece::Content(_) => None,
    };
    let pieces = pieces().unwrap_or_default();
    pieces.into_iter().filter_map(derived).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_where_the_pack_has_them_and_while_they_are_held() {
        let openings = Arc::new(Openings::default());
        let (film, other) = (Path::new("film"), Path::new("other"));
        let ranges = vec![ByteRange::new(0, 10), ByteRange::new(90, 10)];
        let held = openings.of_ranges(film, ranges);
        let input = |path: &Path, offset, len| PackInput {
            path: path.to_path_buf(),
            offset,
            len,
        };
        let inputs = [input(other, 0, 7), input(film, 5, 50), input(film, 60, 35)];
        let found = openings.in_pack(&inputs);
        assert_eq!(found, [ByteRange::new(7, 5), ByteRange::new(87, 5)]);
        drop(held);
        assert_eq!(openings.in_pack(&inputs), []);
    }
}
