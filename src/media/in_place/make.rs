//! From a scanned transport stream to its views.

use std::fs::File;

use super::pictures::Start;
use super::scan::{self, InPlaceRefusal, KeyFrame, TransportScan};
use super::{sound, tables};
use crate::media::build::Job;
use crate::media::build::collect::DerivedWriter;
use crate::media::build::cuts::{self, PictureGroup, TenPasses};
use crate::media::build::film::{self, Film};
use crate::media::build::oversize;
use crate::media::build::search::Search;
use crate::media::build::{attachments, subtitle_streams};
use crate::media::error::MediaError;
use crate::media::hls::tags;
use crate::media::inspect::language;
use crate::media::inspect::probe::{MediaProbe, ProbedStream};
use crate::media::inspect::select::StreamSelection;
use crate::media::inspect::sniff::Container;
use crate::media::map;
use crate::model::{
    Blob, BlobId, ByteRange, Digest, InPlace, Oversize, SegmentInfo, TS_PACKET, Track, TrackKind,
    Views,
};

/// Ticks of time stamps in a second.
const CLOCK: u32 = 90_000;
/// Time stamps have so many values.
const CLOCK_ROUND: i64 = 1 << 33;

/// A film on the common time line, which starts `origin` seconds before its zero.
pub struct Line {
    /// The film's zero on the video's own line, in ticks.
    zero: i64,
    /// Where each segment starts, in seconds from the film's zero; the first where ffmpeg counts
    /// from.
    pub starts: Vec<f64>,
}

/// Views of the transport stream `file`, whose derived bytes go to `derived`; or why there are none
/// of this kind, and nothing was written.
///
/// # Errors
/// When it could not be found out.
pub fn make(
    job: &Job,
    (file, search): (&File, &mut Search),
    probe: &MediaProbe,
    selection: &StreamSelection,
    derived: &mut DerivedWriter,
    progress: &dyn Fn(u64),
) -> Result<Result<(Views, Option<TenPasses>), InPlaceRefusal>, MediaError> {
    let Some(video) = &selection.video else {
        return Ok(Err(InPlaceRefusal("it has no video")));
    };
    let (Some(pid), Some(zero)) = (video.pid(), probe.format.start_ticks()) else {
        return Ok(Err(InPlaceRefusal("its start is not known")));
    };
    if !selection.subtitles.is_empty() {
        return Ok(Err(InPlaceRefusal("it has subtitles of text")));
    }
    let found = match scan::scan(file, pid, &job.cancel, progress)? {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let audio = sound::inside(probe, &found.program);
    let Some((tables, kept)) = shell(&found, pid, &audio) else {
        return Ok(Err(InPlaceRefusal("its table of streams is too large")));
    };
    let groups = groups(&found);
    let cuts: Vec<usize> = cuts::choose(&groups, &job.policy);
    let line = line(&found, &cuts, zero);
    let mut notes = selection.notes.clone();
    let cap = job.policy.max_chunk_bytes;
    let large = groups.iter().filter(|group| group.bytes > cap).count();
    if job.policy.oversize == Oversize::Reencode && cap > 0 && large > 0 {
        notes.push(oversize::note_of(large, "it is a range of the file"));
    }
    let renditions = sound::make(
        job,
        search,
        &found,
        &audio,
        (&line, zero),
        derived,
        &mut notes,
    )?;
    let film = Film::new(Vec::new(), &job.policy);
    let bitmaps = (selection.subtitles.as_slice(), selection.bitmaps.as_slice());
    let container = Container::MpegTs;
    let (_, mut files) =
        subtitle_streams::extract(job, container, bitmaps, &film, derived, &mut notes)?;
    let duration = line.seconds(found.shown_until);
    let of = (Some(video), selection.fonts.as_slice());
    files.extend(attachments::make(job, container, of, duration, derived)?);

    let mut tracks = vec![video_track(video, &found, &cuts, tables.len() as u64)];
    tracks.extend(audio.iter().map(|(stream, _)| sound::track(stream)));
    let in_place = InPlace {
        offset: 0,
        stride: found.stride,
        counters: counters(&found, &cuts, tables.len()),
        tables,
        kept,
        inside: u32::try_from(tracks.len()).unwrap_or(u32::MAX),
        zero: u64::try_from(zero.rem_euclid(CLOCK_ROUND)).unwrap_or(0),
    };
    let mut map = map::MAP_MAGIC.to_vec();
    for (made, cuts) in &renditions.made {
        tracks.push(film::describe_track(made, cuts, &mut map)?);
    }
    // The digest of the map is that of all views: what is not in the map goes into it.
    map.extend(sum(&in_place, &tracks[0].segments).0);
    let target = film::playlist_target(&tracks);
    for track in &mut tracks {
        (track.peak_bits, track.average_bits) =
            tags::rates(&track.segments, track.timescale, target);
    }
    let offset = derived.append(&map)?;
    let views = Views {
        derived: Blob {
            id: BlobId::random(),
            len: derived.len(),
            digest: None,
            slices: Vec::new(),
        },
        map: ByteRange::new(offset, map.len() as u64),
        map_digest: Digest::of(&map),
        layout: film::LAYOUT,
        origin_seconds: renditions.origin_seconds,
        duration_ms: (duration.max(0.0) * 1000.0).round() as u64,
        independent_segments: is_independent(&found, &cuts),
        tracks,
        subtitles: Vec::new(),
        note: (!notes.is_empty()).then(|| notes.join("; ")),
        files,
        in_place: Some(in_place),
    };
    Ok(Ok((views, cuts::ten_passes(&groups, 0.0, &job.policy))))
}

impl Line {
    fn seconds(&self, ticks: i64) -> f64 {
        // 2^53 ticks are exact.
        (ticks - self.zero) as f64 / f64::from(CLOCK)
    }
}

/// The tables of the segments, and the PIDs that are kept.
fn shell(
    found: &TransportScan,
    video: u16,
    audio: &[(ProbedStream, u8)],
) -> Option<(Vec<u8>, Vec<u16>)> {
    if let Some((all, of_program)) = &found.sections {
        let mut packets = tables::packets(super::packet::PAT_PID, all);
        packets.extend(tables::packets(found.table_pid, of_program));
        return Some((packets, Vec::new()));
    }
    let mut program = found.program.clone();
    let mut packets = tables::write(&program, found.table_pid);
    // hls.js reads the first packet of a table only, and discs have dozens of subtitles, which lie
    // beside the film anyway.
    if packets
        .as_ref()
        .is_none_or(|packets| packets.len() as u64 > 2 * TS_PACKET)
    {
        let plays = |pid| pid == video || audio.iter().any(|(stream, _)| stream.pid() == Some(pid));
        program.streams.retain(|stream| plays(stream.pid));
        packets = tables::write(&program, found.table_pid);
    }
    let streams = program.streams.iter().map(|stream| stream.pid);
    let mut kept: Vec<u16> = streams.chain([program.clock_pid]).collect();
    kept.sort_unstable();
    kept.dedup();
    Some((packets?, kept))
}

/// What lies between key frames; the first begins where the film does.
fn groups(found: &TransportScan) -> Vec<PictureGroup> {
    let keys = &found.keys;
    let stride = u64::from(found.stride);
    (0..keys.len())
        .map(|number| {
            let from = if number == 0 { 0 } else { keys[number].offset };
            let (until, end) = keys
                .get(number + 1)
                .map_or((found.end, found.shown_until), |next| {
                    (next.offset, next.show)
                });
            PictureGroup {
                seconds: (end - keys[number].show).max(0) as f64 / f64::from(CLOCK),
                bytes: until.saturating_sub(from) / stride * TS_PACKET,
            }
        })
        .collect()
}

fn key(found: &TransportScan, cuts: &[usize], number: usize) -> Option<KeyFrame> {
    found.keys.get(*cuts.get(number)?).copied()
}

fn line(found: &TransportScan, cuts: &[usize], zero: i64) -> Line {
    let base = i64::try_from(found.base).unwrap_or(0);
    // The shorter way round, as the zero lies near the first picture.
    let behind = (zero - base).rem_euclid(CLOCK_ROUND);
    let zero = if behind > CLOCK_ROUND / 2 {
        behind - CLOCK_ROUND
    } else {
        behind
    };
    let mut line = Line {
        zero,
        starts: Vec::new(),
    };
    for number in 0..cuts.len() {
        let start = match key(found, cuts, number) {
            Some(key) if number > 0 => key.show,
            _ => found.first,
        };
        line.starts.push(line.seconds(start));
    }
    line
}

/// ffmpeg before 8 adds EXTINF up to find a segment, from the first packet's decoding time, and
/// drops a key frame that is decoded before the sum: so segments last from one decoding time to the
/// next.
fn segments(found: &TransportScan, cuts: &[usize], tables: u64) -> Vec<SegmentInfo> {
    let stride = u64::from(found.stride);
    let mut from = (0, found.first);
    (1..=cuts.len())
        .map(|next| {
            let until = key(found, cuts, next).map_or((found.end, found.shown_until), |key| {
                (key.offset, key.decode)
            });
            let packets = until.0.saturating_sub(from.0) / stride;
            let duration = u32::try_from((until.1 - from.1).max(1)).unwrap_or(u32::MAX);
            from = (until.0, until.1.max(from.1));
            SegmentInfo {
                duration,
                size: tables + packets * TS_PACKET,
            }
        })
        .collect()
}

/// A plain film's own tables go on counting in its segments: a segment's copies repeat the last ones
/// before it, which is what a packet sent twice may do (§2.4.3.3). Elsewhere ours are the only ones.
fn counters(found: &TransportScan, cuts: &[usize], tables: usize) -> Vec<u8> {
    let of_program = tables / TS_PACKET as usize - 1;
    (0..cuts.len())
        .map(|number| match (&found.sections, key(found, cuts, number)) {
            (Some(_), Some(key)) => key.counters.0 & 15 | key.counters.1 << 4,
            _ => ((number & 15) | ((number * of_program) & 15) << 4) as u8,
        })
        .collect()
}

fn is_independent(found: &TransportScan, cuts: &[usize]) -> bool {
    let mut keys = cuts.iter().filter_map(|cut| found.keys.get(*cut));
    let starts_with_one = found.keys.first().is_some_and(|first| first.decode == 0);
    starts_with_one && keys.all(|key| key.start == Start::Independent)
}

fn video_track(video: &ProbedStream, found: &TransportScan, cuts: &[usize], tables: u64) -> Track {
    Track {
        kind: TrackKind::Video {
            width: video.width,
            height: video.height,
            millihertz: video.millihertz(),
            range: film::range(video).to_owned(),
        },
        codec: found.codec.clone(),
        timescale: CLOCK,
        init: Vec::new(),
        language: language::bcp47(video.tag("language")),
        title: language::clean_title(video.tag("title")),
        default: video.has("default"),
        peak_bits: 0,
        average_bits: 0,
        segments: segments(found, cuts, tables),
        frames: Vec::new(),
        transport_sizes: Vec::new(),
        first_pictures: Vec::new(),
    }
}

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
