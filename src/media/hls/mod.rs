//! HLS views of a film, answered from its [`crate::model::Views`]: playlists, segments, subtitles.
//!
//! `view` describes one virtual file. `tags` writes the lines that playlists share; `playlist`,
//! `ts_multivariant` and `iframes` write whole playlists with them, `labels` names tracks, and `date` aligns
//! playlists, and `ending` ends those of subtitles. `chapters` writes the chapters. `views` lists and finds the virtual
//! files of a film, and `external_subtitles` adds the user's subtitle files to them.

pub mod chapters;
pub mod external_subtitles;
pub mod playlist;
pub mod tags;
pub mod view;
pub mod views;

mod date;
mod ending;
mod iframes;
mod labels;
mod ts_multivariant;
