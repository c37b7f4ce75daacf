//! Which streams of a source become tracks, decided before the pass: one stream that MP4 cannot
//! carry would make all of it fail.

use super::probe::{Probe, Stream};
use super::sniff::Container;
use super::tool::{Filter, Pick};

/// Audio tracks that are taken of one film.
const MAX_AUDIO: usize = 32;
/// Text subtitles that are taken of one film.
const MAX_SUBTITLES: usize = 64;

/// The streams to work on.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    pub video: Option<Stream>,
    /// In the source's order.
    pub audio: Vec<Audio>,
    pub subtitles: Vec<Stream>,
    /// What a viewer will miss.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Audio {
    pub stream: Stream,
    pub way: Way,
}

/// How an audio stream becomes a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As it is.
    Copied,
    /// As AAC stereo, because MP4 cannot carry it.
    Encoded,
}

impl Selection {
    /// The streams of the copying pass, in the order of its tracks.
    #[must_use]
    pub fn picks(&self, container: Container) -> Vec<Pick> {
        let copied = self.audio.iter().filter(|audio| audio.way == Way::Copied);
        self.video
            .iter()
            .chain(copied.map(|audio| &audio.stream))
            .map(|stream| Pick {
                stream: stream.index,
                filter: if stream.codec_name == "aac" && container.has_adts() {
                    Filter::AacFromAdts
                } else {
                    Filter::None
                },
            })
            .collect()
    }
}

/// # Errors
/// In words, when HLS cannot carry the film.
pub fn select(probe: &Probe) -> Result<Selection, String> {
    let mut selection = Selection::default();
    let videos: Vec<&Stream> = probe
        .streams
        .iter()
        .filter(|stream| stream.is_video())
        .collect();
    let video = videos
        .iter()
        .find(|stream| stream.has("default"))
        .or(videos.first());
    if let Some(video) = video {
        if !video.fits_mp4() {
            return Err(format!("no HLS: codec {}", codec_name(video)));
        }
        selection.video = Some((*video).clone());
    }
    if videos.len() > 1 {
        selection.notes.push(format!(
            "{} more video tracks are in the file only",
            videos.len() - 1
        ));
    }
    for stream in probe.streams.iter().filter(|stream| stream.is_audio()) {
        if stream.codec_name.is_empty() || stream.channels == 0 {
            selection.notes.push(format!(
                "audio stream {} has an unknown codec",
                stream.index
            ));
            continue;
        }
        let way = if stream.fits_mp4() {
            Way::Copied
        } else {
            Way::Encoded
        };
        selection.audio.push(Audio {
            stream: stream.clone(),
            way,
        });
    }
    selection.audio.truncate(MAX_AUDIO);
    selection.subtitles = probe
        .streams
        .iter()
        .filter(|stream| stream.is_text_subtitle())
        .cloned()
        .collect();
    selection.subtitles.truncate(MAX_SUBTITLES);
    if selection.video.is_none() && selection.audio.is_empty() {
        return Err("no HLS: it has neither video nor audio".to_owned());
    }
    Ok(selection)
}

fn codec_name(stream: &Stream) -> String {
    let name: String = stream
        .codec_name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    if name.is_empty() {
        "unknown".to_owned()
    } else {
        name
    }
}
