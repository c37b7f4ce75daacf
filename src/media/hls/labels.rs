//! Names of tracks and subtitles that have no title, and captions in the pictures, as EXT-X-MEDIA lists them.

use std::fmt::Write as _;

use crate::media::inspect::language;
use crate::model::{AudioRole, CaptionChannel, Subtitle, Track, Views};

/// Returns the name of an audio track that has no title: its language and its purpose; empty where neither
/// is known.
pub(super) fn of_audio(track: &Track) -> String {
    let purpose = match track.role {
        AudioRole::Main => "",
        AudioRole::Commentary => "Commentary",
        AudioRole::Description => "Audio description",
        AudioRole::ClearSpeech => "Clear speech",
    };
    label(&track.language, purpose)
}

/// Joins a language's name and a purpose.
fn label(tag: &str, purpose: &str) -> String {
    match (language::readable(tag), purpose) {
        (Some(name), "") => name,
        (Some(name), purpose) => format!("{name} ({})", purpose.to_lowercase()),
        (None, "") if tag != language::UNDETERMINED => tag.to_owned(),
        (None, purpose) => purpose.to_owned(),
    }
}

/// Returns the name of a subtitle that has no title.
pub(super) fn of_subtitle(subtitle: &Subtitle) -> String {
    let purpose = match (subtitle.forced, subtitle.hearing_impaired) {
        (true, _) => "Forced",
        (false, true) => "SDH",
        (false, false) => "",
    };
    match language::readable(&subtitle.language) {
        Some(name) if purpose == "SDH" => format!("{name} (SDH)"),
        _ => label(&subtitle.language, purpose),
    }
}

/// GROUP-ID of the captions in the pictures.
const CAPTIONS: &str = "captions";

/// Appends an EXT-X-MEDIA tag for each channel of captions in the pictures.
pub(super) fn caption_media(text: &mut String, track: &Track) {
    for channel in &track.captions {
        let _infallible = writeln!(
            text,
            "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"{CAPTIONS}\",NAME=\"Captions ({channel})\",DEFAULT=NO,AUTOSELECT=YES,INSTREAM-ID=\"{channel}\""
        );
    }
}

/// Returns the attribute of EXT-X-STREAM-INF that refers to captions in the pictures; empty without any, because
/// a player may know of some that were not found here.
pub(super) fn caption_group(track: &Track) -> String {
    match track.captions.is_empty() {
        true => String::new(),
        false => format!(",CLOSED-CAPTIONS=\"{CAPTIONS}\""),
    }
}

/// Returns the protocol version that the names of captions need (§7).
pub(super) fn caption_version(views: &Views) -> u32 {
    let mut all = views.tracks.iter().flat_map(|track| &track.captions);
    match all.any(|channel| matches!(channel, CaptionChannel::Service(_))) {
        true => 7,
        false => 1,
    }
}
