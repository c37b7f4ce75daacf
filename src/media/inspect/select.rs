//! Selects the streams of a source that become tracks. It decides before the pass, because a single
//! stream that MP4 cannot carry makes the whole pass fail.

use super::omitted::OmittedStreams;
use super::probe::{MediaProbe, ProbedStream};
use crate::media::container::Container;
use crate::media::reason::UnsupportedReason;
use crate::media::tool::task::{AAC_CHANNELS, Pick, StreamConversion};
use crate::model::Compat;

/// Limit of audio tracks of one film.
const MAX_AUDIO: usize = 32;
/// Limit of fonts that are extracted from one film.
const MAX_FONTS: usize = 64;
/// Limit of text subtitles of one film, and of bitmap subtitles.
const MAX_SUBTITLES: usize = 64;

/// The streams to work on.
#[derive(Debug, Clone, Default)]
pub struct StreamSelection {
    /// Video that is copied.
    pub video: Option<ProbedStream>,
    /// Video that MP4 cannot carry, in a film whose video is encoded.
    pub foreign: Option<ProbedStream>,
    /// Audio tracks, in the order of the source.
    pub audio: Vec<SelectedAudio>,
    /// Text subtitles.
    pub subtitles: Vec<ProbedStream>,
    /// Bitmap subtitles.
    pub bitmaps: Vec<ProbedStream>,
    /// Attached fonts.
    pub fonts: Vec<ProbedStream>,
    /// The picture that stands for the film: its cover.
    pub cover: Option<ProbedStream>,
    /// Sentences about what viewers will miss.
    pub notes: Vec<String>,
}

/// An audio track. A stream that browsers cannot play, or MP4 cannot carry, gives one more track as
/// AAC stereo.
#[derive(Debug, Clone)]
pub struct SelectedAudio {
    /// The stream, with the channels that the track will have.
    pub stream: ProbedStream,
    /// Conversion that makes a track of it.
    pub conversion: StreamConversion,
}

impl StreamSelection {
    /// Returns the tracks of one pass, in order.
    #[must_use]
    pub fn picks(&self, container: Container) -> Vec<Pick> {
        let video = self.video.iter().map(|video| Pick {
            stream: video.index,
            conversion: StreamConversion::Copied,
        });
        let audio = self.audio.iter().map(|audio| {
            let is_adts = audio.stream.codec_name == "aac" && container.has_adts();
            Pick {
                stream: audio.stream.index,
                conversion: match audio.conversion {
                    StreamConversion::Copied if is_adts => StreamConversion::CopiedFromAdts,
                    conversion => conversion,
                },
            }
        });
        video.chain(audio).collect()
    }

    /// Returns the selection without the tracks that must be encoded, for another pass after one
    /// that failed.
    #[must_use]
    pub fn only_copied(&self) -> Self {
        let mut copied = self.clone();
        copied.audio.retain(|audio| !audio.is_encoded());
        copied
    }

    /// Returns whether a track must be encoded.
    #[must_use]
    pub fn has_encoded(&self) -> bool {
        self.audio.iter().any(SelectedAudio::is_encoded)
    }

    /// Returns whether all of it is FLAC of 32 bits a sample, which ffmpeg reads since release 7.
    #[must_use]
    pub fn has_wide_flac(&self) -> bool {
        let is_wide = |stream: &ProbedStream| {
            stream.codec_name == "flac" && stream.bits_per_raw_sample == "32"
        };
        self.video.is_none() && self.streams().any(is_wide)
    }

    /// Iterates over the streams of the tracks of a pass.
    pub fn streams(&self) -> impl Iterator<Item = &ProbedStream> {
        self.video
            .iter()
            .chain(self.audio.iter().map(|audio| &audio.stream))
    }
}

impl SelectedAudio {
    /// Returns whether the track must be encoded.
    #[must_use]
    pub fn is_encoded(&self) -> bool {
        self.conversion == StreamConversion::Encoded
    }
}

/// Selects the streams of a film. With a rendition, video that MP4 cannot carry is encoded; without
/// one, the film has no views.
///
/// # Errors
/// When HLS cannot carry the film.
pub fn select(probe: &MediaProbe, compat: Compat) -> Result<StreamSelection, UnsupportedReason> {
    let mut selection = StreamSelection::default();
    let video = leading_video(probe);
    // Audio of another programme is not a language of this film.
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
        take_video(&mut selection, video.clone(), compat)?;
    }
    let videos = of(ProbedStream::is_video).count();
    if videos > 1 {
        selection.notes.push(format!(
            "{} more video tracks are in the file only",
            videos - 1
        ));
    }
    let mut omitted = OmittedStreams::default();
    for stream in of(ProbedStream::is_audio) {
        if selection.audio.len() < MAX_AUDIO {
            take_audio(&mut selection, stream);
        } else {
            omitted.add(stream);
        }
    }
    let mut most = |wanted, count| {
        of(wanted)
            .skip(count)
            .for_each(|stream| omitted.add(stream));
        of(wanted).take(count).cloned().collect()
    };
    selection.subtitles = most(ProbedStream::is_text_subtitle, MAX_SUBTITLES);
    selection.bitmaps = most(ProbedStream::is_bitmap_subtitle, MAX_SUBTITLES);
    selection.fonts = most(ProbedStream::is_font, MAX_FONTS);
    selection.cover = of(ProbedStream::is_picture)
        .find(|stream| stream.is_picture_codec())
        .cloned();
    let cover = selection.cover.as_ref().map(|cover| cover.index);
    let has_chapters = !probe.chapters.is_empty();
    of(|stream| !stream.has_views())
        .filter(|stream| Some(stream.index) != cover)
        // The text track of an MP4's chapters.
        .filter(|stream| !(has_chapters && stream.codec_tag_string == "text"))
        .for_each(|stream| omitted.add(stream));
    selection.notes.extend(omitted.note());
    let has_video = selection.video.is_some() || selection.foreign.is_some();
    if !has_video && selection.audio.is_empty() {
        return Err(nothing_to_play(&streams));
    }
    Ok(selection)
}

/// Returns why streams without a track have no views.
fn nothing_to_play(streams: &[&ProbedStream]) -> UnsupportedReason {
    let mut sounds = streams.iter().filter(|stream| stream.is_audio());
    match sounds.next() {
        Some(sound) => UnsupportedReason::AudioCodec(sound.codec()),
        None if streams.iter().any(|stream| stream.is_picture()) => UnsupportedReason::StillPicture,
        None => UnsupportedReason::NoTracks,
    }
}

/// Returns the video stream that can be shown: moving pictures before a codec that is most often a
/// picture, a codec that MP4 carries before others; then the default one, then the first.
fn leading_video(probe: &MediaProbe) -> Option<&ProbedStream> {
    let videos = probe.streams.iter().filter(|stream| stream.is_video());
    videos.min_by_key(|stream| {
        (
            stream.is_picture_codec(),
            !stream.fits_mp4(),
            !stream.has("default"),
        )
    })
}

fn take_video(
    selection: &mut StreamSelection,
    video: ProbedStream,
    compat: Compat,
) -> Result<(), UnsupportedReason> {
    match compat {
        _ if video.fits_mp4() => selection.video = Some(video),
        Compat::With(_) if !video.codec_name.is_empty() => selection.foreign = Some(video),
        Compat::With(_) | Compat::Off => {
            return Err(UnsupportedReason::VideoCodec(video.codec()));
        }
    }
    Ok(())
}

fn take_audio(selection: &mut StreamSelection, stream: &ProbedStream) {
    if stream.has_no_decoder() {
        let codec = stream.codec();
        selection.notes.push(format!(
            "audio stream {} ({codec}) is in the file only: ffmpeg does not know its codec",
            stream.index
        ));
        return;
    }
    if stream.fits_mp4() {
        selection.audio.push(SelectedAudio {
            stream: stream.clone(),
            conversion: StreamConversion::Copied,
        });
    }
    if !stream.plays_in_browsers() {
        selection.audio.push(SelectedAudio {
            stream: ProbedStream {
                channels: AAC_CHANNELS,
                profile: String::new(),
                ..stream.clone()
            },
            conversion: StreamConversion::Encoded,
        });
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

    #[test]
    fn what_can_be_shown_leads() {
        let probe: MediaProbe = serde_json::from_str(
            r#"{"streams": [
                {"index": 0, "codec_type": "video", "codec_name": "mjpeg", "disposition": {"default": 1}},
                {"index": 1, "codec_type": "video", "codec_name": "vp8", "disposition": {"default": 1}},
                {"index": 2, "codec_type": "video", "codec_name": "h264", "nb_frames": "1"},
                {"index": 3, "codec_type": "video", "codec_name": "h264", "nb_frames": "300"},
                {"index": 4, "codec_type": "subtitle", "codec_name": "dvb_teletext"},
                {"index": 5, "codec_type": "data", "codec_tag_string": "tmcd"},
                {"index": 6, "codec_type": "attachment", "tags": {"filename": "read me.txt"}}
            ]}"#,
        )
        .unwrap();
        let selection = select(&probe, Compat::Off).unwrap();
        assert_eq!(selection.video.unwrap().index, 3);
        assert_eq!(
            selection.notes,
            [
                "2 more video tracks are in the file only",
                "in the file only: still picture in stream 2 (h264), subtitles in stream 4 \
                 (dvb_teletext), data in stream 5 (tmcd), attachment \"read me.txt\"",
            ]
        );
    }
}
