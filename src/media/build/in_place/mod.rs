//! Builds the views of a film that is a transport stream: each segment is two tables and a range of
//! the file, so nothing of the video is stored twice. A stream that does not allow this is refused,
//! and remuxed as other films are.

mod cuts;
mod sound;

use std::fs::File;

use self::cuts::{CLOCK, CLOCK_ROUND, InPlaceCuts};
use self::sound::{InsideAudio, SoundRequest};
use super::attachments::{self, AttachmentSource};
use super::context::{BuildContext, BuildFiles, InspectedSource};
use super::cuts::{TenPasses, ten_passes};
use super::film::{self, Film};
use super::start::CommonStart;
use super::{oversize, subtitle_streams};
use crate::media::attempt::Attempt;
use crate::media::container::Container;
use crate::media::error::MediaError;
use crate::media::hls::tags;
use crate::media::in_place::packet::PAT_PID;
use crate::media::in_place::scan::{self, InPlaceRefusal, TransportScan};
use crate::media::in_place::tables;
use crate::media::inspect::language;
use crate::media::inspect::probe::ProbedStream;
use crate::media::map;
use crate::model::{
    AudioRole, Blob, BlobId, ByteRange, DerivedFile, Digest, InPlace, Oversize, SegmentInfo,
    TS_PACKET, Track, TrackKind, Views,
};

/// Views of a film whose segments are ranges of it.
pub struct InPlaceViews {
    /// The views.
    pub views: Views,
    /// For comparison, how the older rule would have cut the film.
    pub ten_passes: Option<TenPasses>,
}

/// The video of a film, and where the film's time begins.
struct FilmStart<'a> {
    video: &'a ProbedStream,
    pid: u16,
    /// Time stamp of the film's zero.
    zero: i64,
}

/// Builds the views of the transport stream `input`, whose derived bytes go to `files`. Nothing is
/// written when the film is refused.
///
/// # Errors
/// When the source cannot be read, the tool was stopped, or the disk refuses.
pub fn make(
    context: &BuildContext,
    source: &InspectedSource,
    input: &File,
    files: &mut BuildFiles,
    progress: &dyn Fn(u64),
) -> Result<Attempt<InPlaceViews, InPlaceRefusal>, MediaError> {
    let start = match film_start(source) {
        Ok(start) => start,
        Err(refusal) => return Ok(Attempt::Refused(refusal)),
    };
    let found = match scan::scan(input, start.pid, &context.cancel, progress)? {
        Attempt::Made(found) => found,
        Attempt::Refused(refusal) => return Ok(Attempt::Refused(refusal)),
    };
    let audio = sound::inside(&source.probe, &found);
    let Some(shell) = shell(&found, start.pid, &audio) else {
        let refusal = InPlaceRefusal("its table of streams is too large");
        return Ok(Attempt::Refused(refusal));
    };
    let cuts = InPlaceCuts::new(&found, &context.policy);
    let line = cuts.line(start.zero);
    let mut notes = source.selection.notes.clone();
    note_oversize(context, &cuts, &mut notes);
    let request = SoundRequest {
        video_codec: &found.codec,
        audio: &audio,
        line: &line,
        zero: start.zero,
    };
    let renditions = sound::make(context, &request, files, &mut notes)?;
    let duration = line.seconds(found.shown_until);
    let added_files = added_files(context, source, files, (duration, &mut notes))?;

    let mut tracks = vec![video_track(start.video, &found, &cuts, &shell)];
    tracks.extend(audio.iter().map(|audio| sound::track(&audio.stream)));
    let in_place = InPlace {
        offset: 0,
        stride: found.stride,
        counters: cuts.counters(shell.tables.len()),
        tables: shell.tables,
        kept: shell.kept,
        inside: u32::try_from(tracks.len()).unwrap_or(u32::MAX),
        zero: u64::try_from(start.zero.rem_euclid(CLOCK_ROUND)).unwrap_or(0),
    };
    let mut map = map::MAP_MAGIC.to_vec();
    for (made, cuts) in &renditions.made {
        tracks.push(film::describe_track(made, cuts, &mut map)?);
    }
    // The digest of the map stands for all views, so the parts that the map lacks are added to it.
    map.extend(sum(&in_place, &tracks[0].segments).0);
    set_rates(&mut tracks);
    let offset = files.derived.append(&map)?;
    let views = Views {
        derived: Blob {
            id: BlobId::random(),
            len: files.derived.len(),
            digest: None,
            slices: Vec::new(),
        },
        map: ByteRange::new(offset, map.len() as u64),
        map_digest: Digest::of(&map),
        layout: film::LAYOUT,
        origin_seconds: renditions.origin_seconds,
        duration_ms: (duration.max(0.0) * 1000.0).round() as u64,
        independent_segments: cuts.is_independent(),
        tracks,
        subtitles: Vec::new(),
        note: (!notes.is_empty()).then(|| notes.join("; ")),
        files: added_files,
        chapters: Vec::new(),
        in_place: Some(in_place),
    };
    Ok(Attempt::Made(InPlaceViews {
        views,
        ten_passes: ten_passes(cuts.groups(), 0.0, &context.policy),
    }))
}

fn film_start(source: &InspectedSource) -> Result<FilmStart<'_>, InPlaceRefusal> {
    let Some(video) = &source.selection.video else {
        return Err(InPlaceRefusal("it has no video"));
    };
    let (Some(pid), Some(zero)) = (video.pid(), source.probe.format.start_ticks()) else {
        return Err(InPlaceRefusal("its start is not known"));
    };
    if !source.selection.subtitles.is_empty() {
        return Err(InPlaceRefusal("it has subtitles of text"));
    }
    Ok(FilmStart { video, pid, zero })
}

/// Notes the groups that are too large, which a range of the file cannot make smaller.
fn note_oversize(context: &BuildContext, cuts: &InPlaceCuts<'_>, notes: &mut Vec<String>) {
    let most = context.policy.max_chunk_bytes;
    let large = cuts.groups().iter().filter(|group| group.bytes > most);
    let large = large.count();
    if context.policy.oversize == Oversize::Reencode && most > 0 && large > 0 {
        notes.push(oversize::note_of(large, "it is a range of the file"));
    }
}

/// Extracts bitmap subtitles, fonts and a picture.
fn added_files(
    context: &BuildContext,
    source: &InspectedSource,
    files: &mut BuildFiles,
    (duration, notes): (f64, &mut Vec<String>),
) -> Result<Vec<DerivedFile>, MediaError> {
    let selection = &source.selection;
    let film = Film::new(Vec::new(), CommonStart::default(), &context.policy);
    let container = Container::MpegTs;
    let subtitles = (selection.subtitles.as_slice(), selection.bitmaps.as_slice());
    let derived = &mut files.derived;
    let (_, mut added) =
        subtitle_streams::extract(context, container, subtitles, &film, derived, notes)?;
    let attachments = AttachmentSource {
        container,
        video: selection.video.as_ref(),
        fonts: &selection.fonts,
        cover: selection.cover.as_ref(),
        duration,
    };
    added.extend(attachments::make(context, &attachments, derived)?);
    Ok(added)
}

/// The parts of all segments that do not come from the file.
struct SegmentShell {
    /// The packets of both tables.
    tables: Vec<u8>,
    /// PIDs of the packets that are kept, ascending; empty when all are.
    kept: Vec<u16>,
}

/// Makes the tables of the segments; `None` when they are too large.
fn shell(found: &TransportScan, video: u16, audio: &[InsideAudio]) -> Option<SegmentShell> {
    if let Some((all, of_program)) = &found.sections {
        let mut packets = tables::packets(PAT_PID, all);
        packets.extend(tables::packets(found.table_pid, of_program));
        return Some(SegmentShell {
            tables: packets,
            kept: Vec::new(),
        });
    }
    let mut program = found.program.clone();
    let mut packets = tables::write(&program, found.table_pid);
    // hls.js reads only the first packet of a table. Discs have dozens of subtitles, which are
    // extracted as files anyway.
    if packets
        .as_ref()
        .is_none_or(|packets| packets.len() as u64 > 2 * TS_PACKET)
    {
        let plays = |pid| pid == video || audio.iter().any(|one| one.stream.pid() == Some(pid));
        program.streams.retain(|stream| plays(stream.pid));
        packets = tables::write(&program, found.table_pid);
    }
    let streams = program.streams.iter().map(|stream| stream.pid);
    let mut kept: Vec<u16> = streams.chain([program.clock_pid]).collect();
    kept.sort_unstable();
    kept.dedup();
    Some(SegmentShell {
        tables: packets?,
        kept,
    })
}

fn video_track(
    video: &ProbedStream,
    found: &TransportScan,
    cuts: &InPlaceCuts<'_>,
    shell: &SegmentShell,
) -> Track {
    let (width, height) = video.shown_size();
    Track {
        kind: TrackKind::Video {
            width,
            height,
            millihertz: video.millihertz(),
            range: film::range(video).to_owned(),
        },
        codec: found.codec.clone(),
        timescale: CLOCK,
        init: Vec::new(),
        language: language::bcp47(video.language_tag()),
        title: language::clean_title(video.tag("title")),
        default: video.has("default"),
        peak_bits: 0,
        average_bits: 0,
        segments: cuts.segments(shell.tables.len() as u64),
        frames: Vec::new(),
        transport_sizes: Vec::new(),
        first_pictures: Vec::new(),
        role: AudioRole::Main,
        captions: found.captions.clone(),
    }
}

fn set_rates(tracks: &mut [Track]) {
    let target = film::playlist_target(tracks);
    for track in tracks {
        (track.peak_bits, track.average_bits) =
            tags::rates(&track.segments, track.timescale, target);
    }
}

/// Returns a digest of everything that decides which bytes the segments have.
fn sum(film: &InPlace, segments: &[SegmentInfo]) -> Digest {
    let mut bytes = film.tables.clone();
    bytes.extend_from_slice(&film.counters);
    film.kept
        .iter()
        .for_each(|pid| bytes.extend(pid.to_le_bytes()));
    bytes.extend(film.stride.to_le_bytes());
    bytes.extend(film.offset.to_le_bytes());
    bytes.extend(film.zero.to_le_bytes());
    for segment in segments {
        bytes.extend(segment.size.to_le_bytes());
        bytes.extend(segment.duration.to_le_bytes());
    }
    Digest::of(&bytes)
}
