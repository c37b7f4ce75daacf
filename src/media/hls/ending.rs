//! An empty segment behind the only one of a subtitle playlist.
//!
//! VLC 3 waits for a clock that never comes where each playlist of a film has one segment and one of them is WebVTT: a
//! stream of subtitles that ends at once waits for the picture, and the picture for it.

use std::fmt::Write as _;

use super::view::{ViewEntry, ViewNode};
use crate::media::subtitles::webvtt;
use crate::model::Views;

const NAME: &str = "end.vtt";
/// Seconds that the segment lasts behind the film.
const SECONDS: f64 = 0.001;

fn is_needed(views: &Views) -> bool {
    let lead = views.tracks.first();
    lead.is_some_and(|lead| lead.segments.len() == 1)
}

/// Returns the segment, if the film's subtitles need it.
fn text(views: &Views) -> Option<String> {
    is_needed(views).then(|| webvtt::segment_head(views.clock_at_zero()))
}

/// Appends the segment to the media playlist of the subtitles in `directory`.
pub fn append(playlist: &mut String, views: &Views, directory: &str) {
    if is_needed(views) {
        let _infallible = writeln!(playlist, "#EXTINF:{SECONDS:.6},\n{directory}/{NAME}");
    }
}

/// Returns the entry of the segment in a directory of subtitles.
pub fn entry(views: &Views) -> Option<ViewEntry> {
    let size = text(views)?.len() as u64;
    Some(ViewEntry::file(NAME.to_owned(), size))
}

/// Returns the segment, if it is called `name`.
pub fn find(views: &Views, name: &str) -> Option<ViewNode> {
    let found = text(views).filter(|_| name == NAME);
    found.map(ViewNode::inline)
}
