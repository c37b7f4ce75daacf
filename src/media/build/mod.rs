//! Builds the views of a sealed source file: sniff, protection, probe, passes, cuts, subtitles, map.

pub mod cuts;
pub mod oversize;
pub mod rendition;
pub mod report;

mod attachments;
mod collect;
mod context;
mod film;
mod identify;
mod in_place;
mod made_track;
mod passes;
mod search;
mod start;
mod subtitle_streams;
mod thumbnails;
mod timeline;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::attachments::AttachmentSource;
use self::context::{BuildContext, BuildFiles, Feedback, InspectedSource};
use self::cuts::{CutPolicy, TenPasses};
use self::film::Film;
use self::identify::Unidentified;
use self::in_place::InPlaceViews;
use self::made_track::MadeTrack;
use self::oversize::group::Reencoded;
use self::rendition::RenditionOutcome;
use self::start::Fill;
use super::attempt::Attempt;
use super::container::Container;
use super::error::{MediaError, MediaErrorKind};
use super::inspect::chapters::FoundChapters;
use super::inspect::ending;
use super::inspect::extended_language;
use super::inspect::parameter_changes::{self, ParameterChange};
use super::inspect::probe::ProbedStream;
use super::inspect::select;
use super::reason::{UnreadableReason, UnsupportedReason};
use super::tool::MediaTool;
use crate::model::{Compat, Views};
use crate::process::CancelOnDrop;

/// Time between two reports of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Result of a build.
#[derive(Debug, Clone, PartialEq)]
pub enum BuildOutcome {
    /// The derived file is complete and on the disk.
    Ready(Box<Views>, Box<BuildReport>),
    /// HLS cannot carry this film.
    Unsupported(UnsupportedReason),
    /// The tools cannot read this media container.
    Unreadable(UnreadableReason),
    /// The file is no known media container.
    NotMedia,
}

impl From<Unidentified> for BuildOutcome {
    fn from(reason: Unidentified) -> Self {
        match reason {
            Unidentified::NotMedia => Self::NotMedia,
            Unidentified::Unreadable(reason) => Self::Unreadable(reason),
            Unidentified::Unsupported(reason) => Self::Unsupported(reason),
        }
    }
}

/// Work that a build did beside copying.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BuildReport {
    /// For comparison, how the older rule would have cut the film.
    pub ten_passes: Option<TenPasses>,
    /// Groups of pictures that were encoded again.
    pub reencoded: Vec<Reencoded>,
    /// Numbers, from 0, of the leading track's segments with such groups.
    pub reencoded_segments: Vec<usize>,
    /// Result of the rendition step.
    pub rendition: RenditionOutcome,
}

/// Request for a build.
#[derive(Debug, Clone, Copy)]
pub struct BuildRequest<'a> {
    /// ffmpeg, or a stand-in.
    pub tool: &'a Arc<dyn MediaTool>,
    /// The source, which must not change meanwhile.
    pub source: &'a Path,
    /// The derived file. It is replaced, and removed again unless the outcome is `Ready`.
    pub derived: &'a Path,
    /// Settings of the cuts.
    pub policy: &'a CutPolicy,
    /// Setting of the rendition for browsers.
    pub compat: Compat,
}

/// Builds the views of a file and writes their bytes into the derived file. `progress` receives the
/// bytes of the source that are done. With a rendition it follows the encoding, which takes by far
/// the longest. Dropping the future stops the tool.
///
/// # Errors
/// When the outcome could not be determined. [`MediaError::is_retryable`] says whether another attempt
/// can help.
pub async fn build_views(
    request: BuildRequest<'_>,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<BuildOutcome, MediaError> {
    let (sender, mut receiver) = watch::channel(0);
    let cancel = CancelOnDrop::default();
    let context = BuildContext {
        tool: Arc::clone(request.tool),
        source: request.source.to_path_buf(),
        derived: request.derived.to_path_buf(),
        policy: *request.policy,
        compat: request.compat,
        cancel: cancel.0.clone(),
    };
    let work = tokio::task::spawn_blocking(move || {
        run(&context, &|done| {
            sender.send_replace(done);
        })
    });
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return result.unwrap_or_else(|_| {
                Err(MediaError::new(MediaErrorKind::Protocol, "building the views failed unexpectedly"))
            }),
            () = tokio::time::sleep(PROGRESS_INTERVAL) => progress(*receiver.borrow_and_update()),
        }
    }
}

/// Builds on a thread that may block, and removes the derived file unless it is complete.
fn run(context: &BuildContext, progress: &dyn Fn(u64)) -> Result<BuildOutcome, MediaError> {
    let result = build(context, progress);
    if !matches!(result, Ok(BuildOutcome::Ready(..))) {
        let _nothing_to_keep = std::fs::remove_file(&context.derived);
    }
    result
}

fn build(context: &BuildContext, progress: &dyn Fn(u64)) -> Result<BuildOutcome, MediaError> {
    let input = File::open(&context.source)?;
    let mut source = match inspect(context, &input)? {
        Ok(source) => source,
        Err(outcome) => return Ok(outcome),
    };
    let mut files = BuildFiles::open(input.try_clone()?, &context.derived)?;
    let mut notes = source.selection.notes.clone();
    let change = parameter_changes::find(&input, source.container)?;
    notes.extend(change.map(ParameterChange::note));
    if source.container == Container::MpegTs && source.selection.video.is_some() {
        let before = files.derived.len();
        match in_place::make(context, &source, &input, &mut files, progress)? {
            Attempt::Made(made)
                if context.compat != Compat::Off && rendition::is_wanted(&made.views) =>
            {
                // The rendition becomes the only video. The original beside it would be a copy of
                // the film.
                source.selection.foreign = source.selection.video.take();
                files.derived.cut_to(before)?;
                files.search.restart();
            }
            Attempt::Made(made) => return finish_in_place(made, files, progress),
            Attempt::Refused(refusal) => {
                notes.push(format!("its segments are copies of it: {refusal}"));
            }
        }
    }
    let feedback = Feedback {
        notes: &mut notes,
        progress,
    };
    remux(context, &source, files, feedback)
}

/// Finds out what the file is and which streams to use, or why there is nothing to do.
fn inspect(
    context: &BuildContext,
    input: &File,
) -> Result<Result<InspectedSource, BuildOutcome>, MediaError> {
    let (container, mut probe) = match identify::identify(context, input)? {
        Ok(found) => (found.container, found.probe),
        Err(reason) => return Ok(Err(reason.into())),
    };
    if container.is_bare_video() {
        let codec = probe.streams.first().map(ProbedStream::codec);
        let reason = UnsupportedReason::BareVideo(codec.unwrap_or_default());
        return Ok(Err(BuildOutcome::Unsupported(reason)));
    }
    if probe.streams.iter().any(ProbedStream::is_encrypted) {
        return Ok(Err(BuildOutcome::Unreadable(UnreadableReason::Encrypted)));
    }
    extended_language::amend(&mut probe, input, container)?;
    Ok(match select::select(&probe, context.compat) {
        Ok(selection) => Ok(InspectedSource {
            container,
            probe,
            selection,
        }),
        Err(reason) => Err(BuildOutcome::Unsupported(reason)),
    })
}

fn finish_in_place(
    made: InPlaceViews,
    files: BuildFiles,
    progress: &dyn Fn(u64),
) -> Result<BuildOutcome, MediaError> {
    files.derived.finish()?;
    progress(files.search.source_len());
    let report = BuildReport {
        ten_passes: made.ten_passes,
        ..BuildReport::default()
    };
    Ok(BuildOutcome::Ready(Box::new(made.views), Box::new(report)))
}

/// Builds the views of a film whose tracks are remuxed.
fn remux(
    context: &BuildContext,
    source: &InspectedSource,
    mut files: BuildFiles,
    feedback: Feedback<'_>,
) -> Result<BuildOutcome, MediaError> {
    let Feedback { notes, progress } = feedback;
    let feedback = Feedback {
        notes: &mut *notes,
        progress,
    };
    let mut tracks = match copied_tracks(context, source, &mut files, feedback)? {
        Attempt::Made(tracks) => tracks,
        Attempt::Refused(_) if source.selection.has_wide_flac() => {
            return Ok(BuildOutcome::Unreadable(UnreadableReason::WideFlac));
        }
        Attempt::Refused(reason) => return Ok(BuildOutcome::Unreadable(reason)),
    };
    let ten_passes = film::ten_passes_of(&tracks, &context.policy);
    let reencoded = oversize::reencode(context, &mut tracks, &mut files.derived, notes)?;
    let mut fill = Fill {
        derived: &mut files.derived,
        policy: &context.policy,
    };
    let start = start::align(&mut tracks, &mut fill)?;
    let mut film = Film::new(tracks, start, &context.policy);
    let feedback = Feedback {
        notes: &mut *notes,
        progress,
    };
    let rendition = rendition::add(context, source, &mut film, &mut files, feedback)?;
    match (&rendition, &source.selection.foreign) {
        (RenditionOutcome::Failed(reason), Some(_)) => {
            let reason = UnsupportedReason::Other(reason.clone());
            return Ok(BuildOutcome::Unsupported(reason));
        }
        (RenditionOutcome::Made, Some(foreign)) => notes.push(format!(
            "the video is a rendition in H.264, the file has it in {}",
            foreign.codec_name
        )),
        _ => {}
    }
    if ending::is_cut_off(&File::open(&context.source)?, source.container)? {
        film.note_missing_end(source.announced(), notes);
    }
    let report = BuildReport {
        ten_passes,
        reencoded,
        reencoded_segments: film.encoded_segments(),
        rendition,
    };
    let len = files.search.source_len();
    let views = write(context, source, &film, files, notes)?;
    progress(len);
    Ok(BuildOutcome::Ready(Box::new(views), Box::new(report)))
}

/// Copies the tracks that MP4 can carry. There are none when all of the film must be encoded.
fn copied_tracks(
    context: &BuildContext,
    source: &InspectedSource,
    files: &mut BuildFiles,
    feedback: Feedback<'_>,
) -> Result<Attempt<Vec<MadeTrack>, UnreadableReason>, MediaError> {
    if source.selection.streams().next().is_none() {
        return Ok(Attempt::Made(Vec::new()));
    }
    // Progress follows the encoding alone if there is a rendition.
    let copying: &dyn Fn(u64) = match context.compat {
        Compat::Off => feedback.progress,
        Compat::With(_) => &|_| {},
    };
    let feedback = Feedback {
        notes: feedback.notes,
        progress: copying,
    };
    passes::collect(context, source, files, feedback)
}

/// Adds subtitles, fonts and pictures, and writes the map.
fn write(
    context: &BuildContext,
    source: &InspectedSource,
    film: &Film,
    files: BuildFiles,
    notes: &mut Vec<String>,
) -> Result<Views, MediaError> {
    let InspectedSource {
        container,
        selection,
        ..
    } = source;
    let mut derived = files.derived;
    let (subtitles, mut added) = subtitle_streams::extract(
        context,
        *container,
        (&selection.subtitles, &selection.bitmaps),
        film,
        &mut derived,
        notes,
    )?;
    let attachments = AttachmentSource {
        container: *container,
        video: selection.video.as_ref().or(selection.foreign.as_ref()),
        fonts: &selection.fonts,
        cover: selection.cover.as_ref(),
        duration: film.duration(),
    };
    added.extend(attachments::make(context, &attachments, &mut derived)?);
    added.extend(thumbnails::make(context, film, &mut derived)?);
    let first = film.first_moment();
    // ffmpeg counts the tracks' times from the least one of the file.
    let least = source.probe.format.start_seconds();
    let length = film.duration() - first;
    let found = FoundChapters::of(&source.probe.chapters, least + first, length);
    notes.extend(found.note.map(str::to_owned));
    let mut views = film.write(derived, std::mem::take(notes))?;
    views.subtitles = subtitles;
    views.files = added;
    views.chapters = found.chapters;
    Ok(views)
}

#[cfg(test)]
mod tests;
