//! The passes of the muxer over a source: one for all tracks, and more where that one fails.

use super::collect::SampleBytes;
use super::context::{BuildContext, BuildFiles, Feedback, InspectedSource, Pass, outlived};
use super::made_track::MadeTrack;
use crate::media::attempt::Attempt;
use crate::media::container::Container;
use crate::media::error::MediaError;
use crate::media::inspect::probe::ProbedStream;
use crate::media::inspect::select::StreamSelection;
use crate::media::mp4::aac::AacConfig;
use crate::media::mp4::fragments::MovieTrack;
use crate::media::reason::UnreadableReason;
use crate::media::tool::task::{AAC_CHANNELS, Lead, StreamConversion, Task};

/// Tracks of a film, or why there are none.
type Tracks = Attempt<Vec<MadeTrack>, UnreadableReason>;

/// Collects all selected tracks in one pass. Where that fails and something had to be encoded, makes
/// one pass for the copied tracks, and one for each other track. The film plays without a track
/// that cannot be encoded.
pub fn collect(
    context: &BuildContext,
    source: &InspectedSource,
    files: &mut BuildFiles,
    feedback: Feedback<'_>,
) -> Result<Tracks, MediaError> {
    let Feedback { notes, progress } = feedback;
    let before = files.derived.len();
    let (container, selection) = (source.container, &source.selection);
    let all = collect_all(context, (container, selection), files, progress);
    let encodes = selection.has_encoded();
    let all = if encodes { outlived(all)? } else { all? };
    let mut made = match all {
        Attempt::Made(made) => made,
        Attempt::Refused(reason) if !encodes => return Ok(Attempt::Refused(reason)),
        Attempt::Refused(reason) => {
            files.search.restart();
            files.derived.cut_to(before)?;
            let feedback = Feedback {
                notes: &mut *notes,
                progress,
            };
            match collect_singly(context, source, files, feedback)? {
                Attempt::Made(made) if made.is_empty() => return Ok(Attempt::Refused(reason)),
                Attempt::Made(made) => made,
                refused @ Attempt::Refused(_) => return Ok(refused),
            }
        }
    };
    made.retain(|track| !track.collected.samples.is_empty());
    if made.is_empty() {
        return Ok(Attempt::Refused(UnreadableReason::NoFrames));
    }
    replace_own_layouts(context, container, files, (&mut made, notes))?;
    Ok(Attempt::Made(made))
}

/// Replaces AAC that describes its channels itself by AAC in stereo. Browsers do not play it, and its codec
/// has the name of AAC that they do play. It stays where it cannot be decoded.
fn replace_own_layouts(
    context: &BuildContext,
    container: Container,
    files: &mut BuildFiles,
    (made, notes): (&mut [MadeTrack], &mut Vec<String>),
) -> Result<(), MediaError> {
    for track in made {
        let config = AacConfig::of_trak(&track.collected.track.trak);
        if config.is_none_or(|config| config.channels != 0) {
            continue;
        }
        let stream = ProbedStream {
            channels: AAC_CHANNELS,
            profile: String::new(),
            ..track.stream.clone()
        };
        if let Some(encoded) = encode_audio(context, container, stream, files)? {
            notes.push(format!(
                "audio stream {} is in stereo, because browsers do not play its layout of {} channels; the file has them all",
                track.stream.index, track.stream.channels
            ));
            *track = encoded;
        }
    }
    Ok(())
}

/// Makes one track of AAC from a stream; `None` where that cannot be decoded.
fn encode_audio(
    context: &BuildContext,
    container: Container,
    stream: ProbedStream,
    files: &mut BuildFiles,
) -> Result<Option<MadeTrack>, MediaError> {
    let pass = Pass {
        container,
        task: &Task::EncodeAudio(stream.index),
        bytes: &|_, _| SampleBytes::Made,
        progress: &|_| {},
    };
    let Attempt::Made(movie) = outlived(context.pass(&pass, files))? else {
        return Ok(None);
    };
    let track = movie.tracks.into_iter().next();
    let track = track.filter(|track| !track.samples.is_empty());
    Ok(track.map(|collected| MadeTrack {
        movie: movie.movie,
        collected,
        stream,
        encoded: Vec::new(),
    }))
}

fn collect_all(
    context: &BuildContext,
    (container, selection): (Container, &StreamSelection),
    files: &mut BuildFiles,
    progress: &dyn Fn(u64),
) -> Result<Tracks, MediaError> {
    let picks = selection.picks(container);
    let conversions: Vec<StreamConversion> = picks.iter().map(|pick| pick.conversion).collect();
    let bytes = |index: usize, track: &MovieTrack| {
        if conversions.get(index) == Some(&StreamConversion::Encoded) {
            SampleBytes::Made
        } else if &track.handler == b"soun" {
            SampleBytes::Packed
        } else if container.splits_frames() {
            SampleBytes::Made
        } else {
            SampleBytes::Mapped
        }
    };
    let lead = match selection.video {
        Some(_) => Lead::Video,
        None => Lead::Audio,
    };
    let pass = Pass {
        container,
        task: &Task::Remux(picks, lead),
        bytes: &bytes,
        progress,
    };
    let done = context.pass(&pass, files)?;
    Ok(done.map(|collected| {
        let movie = collected.movie;
        let tracks = collected.tracks.into_iter().zip(selection.streams());
        tracks
            .map(|(collected, stream)| MadeTrack {
                movie: movie.clone(),
                collected,
                stream: stream.clone(),
                encoded: Vec::new(),
            })
            .collect()
    }))
}

fn collect_singly(
    context: &BuildContext,
    source: &InspectedSource,
    files: &mut BuildFiles,
    feedback: Feedback<'_>,
) -> Result<Tracks, MediaError> {
    let Feedback { notes, progress } = feedback;
    let (container, selection) = (source.container, &source.selection);
    let copied = selection.only_copied();
    let mut copied_tracks = Vec::new();
    if copied.streams().next().is_some() {
        match collect_all(context, (container, &copied), files, progress)? {
            Attempt::Made(made) => copied_tracks = made,
            refused @ Attempt::Refused(_) => return Ok(refused),
        }
    }
    let mut copied_tracks = copied_tracks.into_iter();
    let mut made: Vec<MadeTrack> = Vec::new();
    if selection.video.is_some() {
        made.extend(copied_tracks.next());
    }
    for audio in &selection.audio {
        if !audio.is_encoded() {
            made.extend(copied_tracks.next());
            continue;
        }
        match encode_audio(context, container, audio.stream.clone(), files)? {
            Some(track) => made.push(track),
            None => notes.push(format!(
                "audio stream {} cannot be decoded, so browsers have no sound of it",
                audio.stream.index
            )),
        }
    }
    Ok(Attempt::Made(made))
}
