//! Purposes of audio streams, from the flags of their containers.

use super::probe::ProbedStream;
use crate::model::AudioRole;

/// Returns the purpose of an audio stream by its flags, as ffprobe names them. Titles are not read: they are
/// shown as they are.
#[must_use]
pub fn of(stream: &ProbedStream) -> AudioRole {
    if !stream.is_audio() {
        AudioRole::Main
    } else if stream.has("visual_impaired") {
        AudioRole::Description
    } else if stream.has("comment") {
        AudioRole::Commentary
    } else if stream.has("hearing_impaired") || stream.has("clean_effects") {
        AudioRole::ClearSpeech
    } else {
        AudioRole::Main
    }
}
