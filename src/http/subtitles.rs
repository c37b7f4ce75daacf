//! Subtitles of a film, by key or language.

use serde::Serialize;

use crate::model::{EntryId, ErrorKind, FsResult, SubtitleInfo};

use super::gateway::Gateway;

/// Extensions of subtitle formats; the one that browsers play comes first.
const FORMATS: [&str; 3] = ["vtt", "srt", "ass"];

/// One subtitle in `/subtitles/<id>`.
#[derive(Debug, Serialize)]
pub(super) struct ListedSubtitle {
    #[serde(flatten)]
    info: SubtitleInfo,
    /// Paths on this server, one for each format.
    urls: Vec<String>,
}

/// Returns the subtitles of a film.
///
/// # Errors
/// When there is no such file, or the index cannot be read.
pub(super) fn list(gateway: &Gateway, id: EntryId) -> FsResult<Vec<ListedSubtitle>> {
    let info = gateway.library.info(id)?;
    Ok(info
        .subtitles
        .into_iter()
        .map(|info| ListedSubtitle {
            urls: info
                .formats
                .iter()
                .map(|format| format!("/subtitle/{id}/{}.{format}", info.key))
                .collect(),
            info,
        })
        .collect())
}

/// Returns the view that `<lang>[.srt|.vtt|.ass]` refers to: the subtitle with that key, else the first of
/// that language. Without an extension it is the first available format, WebVTT before the others.
///
/// # Errors
/// Not found, or when the index cannot be read.
pub(super) fn find(gateway: &Gateway, id: EntryId, asked: &str) -> FsResult<String> {
    let tracks = gateway.library.info(id)?.subtitles;
    choose(&tracks, asked).ok_or_else(|| ErrorKind::NotFound.into())
}

fn choose(tracks: &[SubtitleInfo], asked: &str) -> Option<String> {
    let (language, format) = match asked.rsplit_once('.') {
        Some((stem, extension)) if FORMATS.contains(&extension) => (stem, Some(extension)),
        _ => (asked, None),
    };
    let track = tracks
        .iter()
        .find(|track| track.key == language)
        .or_else(|| {
            tracks
                .iter()
                .find(|track| track.language.eq_ignore_ascii_case(language))
        })?;
    let has = |format: &&str| track.formats.iter().any(|held| held == format);
    let format = match format {
        Some(format) => Some(format).filter(has),
        None => FORMATS.into_iter().find(has),
    }?;
    Some(format!("{}.{format}", track.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(key: &str, language: &str, formats: &[&str]) -> SubtitleInfo {
        SubtitleInfo {
            key: key.to_owned(),
            language: language.to_owned(),
            title: String::new(),
            forced: false,
            default: false,
            hearing_impaired: false,
            file: None,
            formats: formats.iter().map(|&format| format.to_owned()).collect(),
        }
    }

    #[test]
    fn keys_come_before_languages_and_vtt_before_the_rest() {
        let tracks = [
            track("eng.sdh", "en", &["srt", "vtt", "ass"]),
            track("eng", "en", &["srt", "vtt"]),
            track("spa.forced", "es", &["srt"]),
        ];
        for (asked, expected) in [
            ("eng", Some("eng.vtt")),
            ("eng.srt", Some("eng.srt")),
            ("eng.ass", None),
            ("eng.sdh.ass", Some("eng.sdh.ass")),
            ("EN", Some("eng.sdh.vtt")),
            ("spa.forced", Some("spa.forced.srt")),
            ("es.srt", Some("spa.forced.srt")),
            ("fra", None),
        ] {
            assert_eq!(choose(&tracks, asked).as_deref(), expected, "{asked}");
        }
    }
}
