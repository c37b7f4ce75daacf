//! Which streams of a source become tracks, decided before the pass: one stream that MP4 cannot
//! carry would make all of it fail.

use super::probe::{MediaProbe, ProbedStream};
use super::sniff::Container;
use crate::media::tool::{Pick, StreamConversion};
use crate::model::Compat;

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
pub struct StreamSelection {
    pub video: Option<ProbedStream>,
    /// Video that MP4 does not carry, of a film that gets it encoded.
    pub foreign: Option<ProbedStream>,
    /// In the source's order.
    pub audio: Vec<Audio>,
    pub subtitles: Vec<ProbedStream>,
    /// Subtitles that are pictures.
    pub bitmaps: Vec<ProbedStream>,
    pub fonts: Vec<ProbedStream>,
    /// What a viewer will miss.
    pub notes: Vec<String>,
}

/// An audio track. What browsers cannot play, or MP4 cannot carry, gives one as AAC stereo too.
#[derive(Debug, Clone)]
pub struct Audio {
    /// With the channels that the track has.
    pub stream: ProbedStream,
    pub way: StreamConversion,
}

impl StreamSelection {
    /// The tracks of one pass, in order.
    #[must_use]
    pub fn picks(&self, container: Container) -> Vec<Pick> {
        let video = self
            .video
            .iter()
            .map(|video| (video.index, StreamConversion::Copied));
        let audio = self.audio.iter().map(|audio| {
            let is_adts = audio.stream.codec_name == "aac" && container.has_adts();
            let way = match audio.way {
                StreamConversion::Copied if is_adts => StreamConversion::CopiedFromAdts,
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
        copied
            .audio
            .retain(|audio| audio.way != StreamConversion::Encoded);
        copied
    }

    /// The stream of each track of a pass.
    pub fn streams(&self) -> impl Iterator<Item = &ProbedStream> {
        self.video
            .iter()
            .chain(self.audio.iter().map(|audio| &audio.stream))
    }
}

/// # Errors
/// In words, when HLS cannot carry the film.
pub fn select(probe: &MediaProbe, compat: Compat) -> Result<StreamSelection, String> {
    let mut selection = StreamSelection::default();
    let is_video = |stream: &&ProbedStream| stream.is_video();
    let mut videos = probe.streams.iter().filter(is_video);
    let first = videos.clone().next();
    let video = videos.find(|stream| stream.has("default")).or(first);
    // Sound of another channel is none of this film's languages.
    let streams = match video {
        Some(video) => probe.beside(video.index),
        None => probe.streams.iter().collect(),
    };
    let others = probe.streams.len() - streams.len();
    if others > 0 {
        selection.notes.push(format!(
            "{others} streams of other programmes are in the file only"
        ));
    }
    let of = |wanted: fn(&ProbedStream) -> bool| {
        streams
            .iter()
            .copied()
            .filter(move |&stream| wanted(stream))
    };
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
    let videos = of(ProbedStream::is_video).count();
    if videos > 1 {
        selection.notes.push(format!(
            "{} more video tracks are in the file only",
            videos - 1
        ));
    }
    for stream in of(ProbedStream::is_audio) {
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
                way: StreamConversion::Copied,
            });
        }
        if !stream.is_for_browsers() {
            selection.audio.push(Audio {
                stream: ProbedStream {
                    channels: AAC_CHANNELS,
                    ..stream.clone()
                },
                way: StreamConversion::Encoded,
            });
        }
    }
    selection.audio.truncate(MAX_AUDIO);
    let most = |wanted, count| of(wanted).take(count).cloned().collect();
    selection.subtitles = most(ProbedStream::is_text_subtitle, MAX_SUBTITLES);
    selection.bitmaps = most(ProbedStream::is_bitmap_subtitle, MAX_SUBTITLES);
    selection.fonts = most(ProbedStream::is_font, MAX_FONTS);
    let has_video = selection.video.is_some() || selection.foreign.is_some();
    if !has_video && selection.audio.is_empty() {
        return Err("no HLS: it has neither video nor audio".to_owned());
    }
    Ok(selection)
}

fn codec_name(stream: &ProbedStream) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two programmes, and a stream of sound that belongs to none.
    const MULTIPLEX: &str = r#"{
        "streams": [
            {"index": 0, "codec_type": "video", "codec_name": "h264"},
            {"index": 1, "codec_type": "video", "codec_name": "vp8"},
            {"index": 2, "codec_type": "audio", "codec_name": "aac", "channels": 2},
            {"index": 3, "codec_type": "audio", "codec_name": "aac", "channels": 2},
            {"index": 4, "codec_type": "audio", "codec_name": "aac", "channels": 2}
        ],
        "programs": [
            {"streams": [{"index": 1}, {"index": 2}]},
            {"streams": [{"index": 0}, {"index": 3}]}
        ]
    }"#;

    #[test]
    fn one_programme_of_a_multiplex_is_chosen() {
        let mut probe: MediaProbe = serde_json::from_str(MULTIPLEX).unwrap();
        let chosen = |probe: &MediaProbe| {
            let selection = select(probe, Compat::Off).unwrap();
            let streams: Vec<u32> = selection.streams().map(|stream| stream.index).collect();
            (streams, selection.notes)
        };
        let (streams, notes) = chosen(&probe);
        assert_eq!(streams, [0, 3, 4]);
        assert_eq!(
            notes,
            ["2 streams of other programmes are in the file only"]
        );
        probe.programs.clear();
        let (streams, notes) = chosen(&probe);
        assert_eq!(streams, [0, 2, 3, 4]);
        assert_eq!(notes, ["1 more video tracks are in the file only"]);
    }
}
