//! Answers a film's views from its map: playlists, segments, external subtitles.

pub mod external_subtitles;
pub mod iframes;
pub mod playlist;
pub mod ts_multivariant;
pub mod views;
