//! Which streams of a source become tracks, decided before the pass: one stream that MP4 cannot
//! carry would make all of it fail.

use super::compat::Compat;
use super::probe::{Probe, Stream};
use super::sniff::Container;
use super::tool::{Pick, Way};

/// Channels of what is encoded.
pub const AAC_CHANNELS: u16 = 2;
/// Audio tracks that a film gets.
const MAX_AUDIO: usize = 32;
/// Fonts that are taken of one film.
const MAX_FONTS: usize = 64;
/// Subtitles of text, and of pictures, that are taken of one film.
const MAX_SUBTITLES: usize = 64;

/// What is said of a film whose video MP4 does not carry.
pub const NO_PLACE: &str = "no HLS: codec";

/// The streams to work on.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    pub video: Option<Stream>,
    /// Video that MP4 does not carry, of a film that gets it encoded.
    pub foreign: Option<Stream>,
    /// In the source's order.
    pub audio: Vec<Audio>,
    pub subtitles: Vec<Stream>,
    /// Subtitles that are pictures.
    pub bitmaps: Vec<Stream>,
    pub fonts: Vec<Stream>,
    /// What a viewer will miss.
    pub notes: Vec<String>,
}

/// An audio track. What browsers cannot play, or MP4 cannot carry, gives one as AAC stereo too.
#[derive(Debug, Clone)]
pub struct Audio {
    /// With the channels that the track has.
    pub stream: Stream,
    pub way: Way,
}

impl Selection {
    /// The tracks of one pass, in order.
    #[must_use]
    pub fn picks(&self, container: Container) -> Vec<Pick> {
        let video = self.video.iter().map(|video| (video.index, Way::Copied));
        let audio = self.audio.iter().map(|audio| {
            let is_adts = audio.stream.codec_name == "aac" && container.has_adts();
            let way = match audio.way {
                Way::Copied if is_adts => Way::CopiedFromAdts,
                way => way,
            };
            (audio.stream.index, way)
        });
        video
            .chain(audio)
            .map(|(stream, way)| Pick { stream, way })
            .collect()
    }

    /// The same without what has to be encoded, for a pass after one that failed.
    #[must_use]
    pub fn only_copied(&self) -> Self {
        let mut copied = self.clone();
        copied.audio.retain(|audio| audio.way != Way::Encoded);
        copied
    }

    /// The stream of each track of a pass.
    pub fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.video
            .iter()
            .chain(self.audio.iter().map(|audio| &audio.stream))
    }
}

/// # Errors
/// In words, when HLS cannot carry the film.
pub fn select(probe: &Probe, compat: Compat) -> Result<Selection, String> {
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
        let video = (*video).clone();
        match compat {
            _ if video.fits_mp4() => selection.video = Some(video),
            Compat::With(_) if !video.codec_name.is_empty() => selection.foreign = Some(video),
            Compat::With(_) | Compat::Off => {
                return Err(format!("{NO_PLACE} {}", codec_name(&video)));
            }
        }
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
        if stream.fits_mp4() {
            selection.audio.push(Audio {
                stream: stream.clone(),
                way: Way::Copied,
            });
        }
        if !stream.is_for_browsers() {
            selection.audio.push(Audio {
                stream: Stream {
                    channels: AAC_CHANNELS,
                    ..stream.clone()
                },
                way: Way::Encoded,
            });
        }
    }
    selection.audio.truncate(MAX_AUDIO);
    selection.subtitles = probe
        .streams
        .iter()
        .filter(|stream| stream.is_text_subtitle())
        .cloned()
        .collect();
    selection.subtitles.truncate(MAX_SUBTITLES);
    let streams = |wanted: fn(&Stream) -> bool, most| {
        let found = probe.streams.iter().filter(move |stream| wanted(stream));
        found.take(most).cloned().collect()
    };
    selection.bitmaps = streams(Stream::is_bitmap_subtitle, MAX_SUBTITLES);
    selection.fonts = streams(Stream::is_font, MAX_FONTS);
    let has_video = selection.video.is_some() || selection.foreign.is_some();
    if !has_video && selection.audio.is_empty() {
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
