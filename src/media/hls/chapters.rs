//! Chapters of a film as files: JSON, which EXT-X-SESSION-DATA of a multivariant playlist names, and a WebVTT track.

use std::fmt::Write as _;

use serde::Serialize;

use super::tags::{MasterUris, SegmentFormat};
use crate::model::{Chapter, Views};

/// File of the chapters that Apple's players read ("HLS Authoring Specification", JSON chapters).
pub const JSON: &str = "chapters.json";
/// File of the chapters as a WebVTT track of kind `chapters`.
pub const WEBVTT: &str = "chapters.vtt";

/// A chapter as Apple's players read it. Times are seconds.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct JsonChapter {
    /// Number, from 1.
    chapter: usize,
    start_time: f64,
    duration: f64,
    titles: [JsonTitle; 1],
}

/// Title of a chapter in one language.
#[derive(Serialize)]
struct JsonTitle {
    language: &'static str,
    title: String,
}

/// Writes the chapters as JSON, if the film has any.
#[must_use]
pub fn json(views: &Views) -> Option<String> {
    let list: Vec<JsonChapter> = numbered(views)?
        .map(|(index, chapter)| JsonChapter {
            chapter: index + 1,
            start_time: seconds(chapter.start_ms),
            duration: seconds(chapter.end_ms.saturating_sub(chapter.start_ms)),
            titles: [JsonTitle {
                language: "und",
                title: chapter.shown_title(index),
            }],
        })
        .collect();
    serde_json::to_string_pretty(&list).ok()
}

/// Writes the chapters as a WebVTT track, if the film has any.
#[must_use]
pub fn webvtt(views: &Views) -> Option<String> {
    let mut text = "WEBVTT\n".to_owned();
    for (index, chapter) in numbered(views)? {
        let _infallible = write!(
            text,
            "\n{}\n{} --> {}\n{}\n",
            index + 1,
            time(chapter.start_ms),
            time(chapter.end_ms),
            escaped(&chapter.shown_title(index))
        );
    }
    Some(text)
}

/// Appends the tag of a multivariant playlist that names the JSON file (§4.3.4.4), if the film has chapters.
pub(super) fn session_data(
    text: &mut String,
    views: &Views,
    format: SegmentFormat,
    uris: &MasterUris,
) {
    if !views.chapters.is_empty() {
        let _infallible = writeln!(
            text,
            "#EXT-X-SESSION-DATA:DATA-ID=\"com.apple.hls.chapters\",URI=\"{}{}{JSON}{}\"",
            uris.prefix,
            format.to_film(),
            uris.suffix
        );
    }
}

/// Returns the chapters with their indexes, or `None` if there are none.
fn numbered(views: &Views) -> Option<impl Iterator<Item = (usize, &Chapter)>> {
    (!views.chapters.is_empty()).then(|| views.chapters.iter().enumerate())
}

#[allow(
    clippy::cast_precision_loss,
    reason = "milliseconds of a film are far below 2^52"
)]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

/// Returns a time as WebVTT has it.
fn time(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        milliseconds % 1000
    )
}

/// Returns text without characters that WebVTT reads as markup or as the arrow of a time line.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
