//! The date of each MP4 playlist (RFC 8216 §4.3.2.6), by which players align the playlists of a film.

use std::fmt::Write as _;

use crate::media::mp4::init;
use crate::model::Track;

/// Appends EXT-X-PROGRAM-DATE-TIME (§4.3.2.6) with the time at which the first segment of `track` is decoded.
/// Shaka Player counts each playlist from there. Without the tag it takes that time for the film's zero, which
/// is another time in each track: pictures are decoded before they are shown. The date means nothing.
pub fn first_decoded(text: &mut String, track: &Track) {
    const DAY: u128 = 86_400_000;
    let Some(ticks) = init::first_decode(&track.init) else {
        return;
    };
    let timescale = u128::from(track.timescale.max(1));
    let milliseconds = (u128::from(ticks) * 1000 + timescale / 2) / timescale;
    let time = milliseconds % DAY;
    let _infallible = writeln!(
        text,
        "#EXT-X-PROGRAM-DATE-TIME:2000-01-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        1 + (milliseconds / DAY).min(30),
        time / 3_600_000,
        time / 60_000 % 60,
        time / 1000 % 60,
        time % 1000
    );
}
