//! Checker of the properties that a player relies on. Numbers in brackets are sections of RFC 8216.

use std::collections::HashSet;

use tgfs::media::hls::tags;
use tgfs::model::{Track, TrackKind};

use super::support::Built;

struct Part {
    decode_time: u64,
    duration: u64,
    first_is_key: bool,
    first_shown: u64,
    bytes: u64,
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn inner<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> &'a [u8] {
    let mut at = 0;
    while at + 8 <= bytes.len() {
        let size = be32(bytes, at) as usize;
        if &bytes[at + 4..at + 8] == kind {
            return &bytes[at + 8..at + size];
        }
        at += size;
    }
    panic!("no {}", String::from_utf8_lossy(kind));
}

/// Parses a segment by the standard, independently of the writer.
fn parse(segment: &[u8]) -> Part {
    let traf = inner(inner(segment, b"moof"), b"traf");
    let (tfhd, tfdt, trun) = (
        inner(traf, b"tfhd"),
        inner(traf, b"tfdt"),
        inner(traf, b"trun"),
    );
    assert_eq!(be32(tfhd, 0) & 0xff_ffff, 0x02_0028, "tfhd flags");
    let (default_duration, default_flags) = (be32(tfhd, 8), be32(tfhd, 12));
    let flags = be32(trun, 0) & 0xff_ffff;
    let mut at = 12;
    let mut first_flags = default_flags;
    if flags & 4 != 0 {
        first_flags = be32(trun, at);
        at += 4;
    }
    let (mut duration, mut bytes, mut first_offset) = (0_u64, 0_u64, 0);
    for index in 0..be32(trun, 4) {
        let mut field = |bit: u32, default: u32| {
            if flags & bit == 0 {
                return default;
            }
            at += 4;
            be32(trun, at - 4)
        };
        duration += u64::from(field(0x100, default_duration));
        bytes += u64::from(field(0x200, 0));
        let sample_flags = field(0x400, default_flags);
        let offset = field(0x800, 0);
        assert!(i32::try_from(offset).is_ok(), "negative composition offset");
        if index == 0 {
            first_offset = offset;
            if flags & 0x400 != 0 {
                first_flags = sample_flags;
            }
        }
    }
    assert_eq!(
        be32(trun, 8) as usize,
        segment.len() - usize::try_from(bytes).unwrap() - 24,
        "data offset"
    );
    let decode_time = u64::from_be_bytes(tfdt[4..12].try_into().unwrap());
    Part {
        decode_time,
        duration,
        first_is_key: first_flags & 0x1_0000 == 0,
        first_shown: decode_time + u64::from(first_offset),
        bytes: segment.len() as u64,
    }
}

/// Checks everything that holds for the views of any film.
pub fn check(built: &Built) {
    let views = &built.views;
    let master = built.text("master.m3u8");
    hls_m3u8::MasterPlaylist::try_from(master.as_str()).unwrap();
    let mut targets = HashSet::new();
    for directory in built.directories() {
        let playlist = built.text(&format!("{directory}.m3u8"));
        let parsed = hls_m3u8::MediaPlaylist::try_from(playlist.as_str()).unwrap();
        targets.insert(parsed.target_duration);
        let target = parsed.target_duration.as_secs();
        let files: HashSet<String> = built.files(&directory).into_iter().collect();
        for (_, segment) in &parsed.segments {
            let rounded = segment.duration.duration().as_secs_f64().round();
            assert!(
                rounded <= target as f64,
                "{directory}: EXTINF above the target [4.3.3.1]"
            );
            assert!(
                files.contains(segment.uri().as_ref()),
                "{} is missing",
                segment.uri()
            );
        }
        let inits = usize::from(!directory.starts_with("sub-"));
        assert_eq!(
            files.len(),
            parsed.segments.iter().count() + inits,
            "{directory}"
        );
    }
    assert_eq!(targets.len(), 1, "one target duration for all [6.2.4]");
    for (index, track) in views.tracks.iter().enumerate() {
        let name = tags::track_name(views, index);
        check_track(built, track, &name);
    }
    check_rates(built, &master);
    check_names(&master);
    for subtitle in &views.subtitles {
        assert_eq!(subtitle.segments.len(), views.tracks[0].segments.len());
    }
}

fn has_video(built: &Built) -> bool {
    video(built).is_some()
}

/// Returns the number of the first video track.
fn video(built: &Built) -> Option<usize> {
    let mut tracks = built.views.tracks.iter();
    tracks.position(|track| matches!(track.kind, TrackKind::Video { .. }))
}

fn check_track(built: &Built, track: &Track, name: &str) {
    let parts: Vec<Part> = built.files(name)[1..]
        .iter()
        .map(|path| parse(&built.read(path)))
        .collect();
    let frame = u64::from(track.timescale) / 10;
    for (number, pair) in parts.windows(2).enumerate() {
        assert_eq!(
            pair[0].decode_time + pair[0].duration,
            pair[1].decode_time,
            "{name}: segment {} does not follow on",
            number + 2
        );
        if number > 0 {
            // Players add up EXTINF, and hold the sum against decoding times.
            assert_eq!(
                u64::from(track.segments[number].duration),
                pair[0].duration,
                "{name}: EXTINF of {}",
                number + 1
            );
        }
    }
    let total: u64 = track
        .segments
        .iter()
        .map(|segment| u64::from(segment.duration))
        .sum();
    let samples: u64 = parts.iter().map(|part| part.duration).sum();
    // A track that starts late has its delay in its first EXTINF.
    let delay = parts[0].first_shown.saturating_sub(begin(built, track));
    assert!(
        total.abs_diff(samples + delay) <= 3 * frame,
        "{name}: EXTINF sum {total}, samples {samples}"
    );
    if built.views.independent_segments {
        assert!(
            parts.iter().all(|part| part.first_is_key),
            "{name}: a segment without key frame"
        );
    }
    for (part, segment) in parts.iter().zip(&track.segments) {
        assert_eq!(part.bytes, segment.size);
        let seconds = f64::from(segment.duration) / f64::from(track.timescale);
        // Single segments of at least half the target count [4.3.4.2].
        if seconds > 4.0 {
            let bits = segment.size as f64 * 8.0 / seconds;
            assert!(
                bits <= track.peak_bits as f64 * 1.001,
                "{name}: {bits} above {}",
                track.peak_bits
            );
        }
    }
}

/// Returns the time when the leading track is first shown, in ticks of `track`.
fn begin(built: &Built, track: &Track) -> u64 {
    let lead = video(built).unwrap_or(0);
    let name = tags::track_name(&built.views, lead);
    let first = parse(&built.read(&format!("{name}/00001.m4s"))).first_shown;
    let ticks = u128::from(first) * u128::from(track.timescale)
        / u128::from(built.views.tracks[lead].timescale);
    u64::try_from(ticks).unwrap()
}

fn check_rates(built: &Built, master: &str) {
    let lines: Vec<&str> = master.lines().collect();
    let variants = lines.windows(2).map(|pair| (pair[0], pair[1]));
    for (line, uri) in variants.filter(|(line, _)| line.starts_with("#EXT-X-STREAM-INF")) {
        let value = |key: &str| -> u64 {
            let rest = &line[line.find(key).unwrap() + key.len()..];
            rest.split(',').next().unwrap().parse().unwrap()
        };
        let (peak, average) = (value("BANDWIDTH="), value("AVERAGE-BANDWIDTH="));
        assert!(peak >= average && average > 0, "{line}");
        let tracks = (0..built.views.tracks.len())
            .map(|index| (tags::track_name(&built.views, index), index));
        let lead = tracks
            .into_iter()
            .find(|(name, _)| uri == format!("{name}.m3u8"));
        let (_, lead) = lead.unwrap_or_else(|| panic!("no track for {uri}"));
        assert!(peak >= built.views.tracks[lead].peak_bits, "{line}");
        assert_eq!(has_video(built), line.contains("RESOLUTION="), "{line}");
    }
}

/// Checks that NAME is unique in its group [4.3.4.1.1], that a group has at most one default, and that each
/// group that is named exists.
fn check_names(master: &str) {
    let attribute = |line: &str, key: &str| -> Option<String> {
        let rest = &line[line.find(&format!("{key}=\""))? + key.len() + 2..];
        Some(rest[..rest.find('"')?].to_owned())
    };
    let (mut names, mut defaults, mut groups) = (HashSet::new(), HashSet::new(), HashSet::new());
    for line in master
        .lines()
        .filter(|line| line.starts_with("#EXT-X-MEDIA"))
    {
        let group = attribute(line, "GROUP-ID").unwrap();
        assert!(
            names.insert((group.clone(), attribute(line, "NAME"))),
            "{line}"
        );
        if line.contains("DEFAULT=YES") {
            assert!(defaults.insert(group.clone()), "{line}");
        }
        groups.insert(group);
    }
    for line in master
        .lines()
        .filter(|line| line.starts_with("#EXT-X-STREAM-INF"))
    {
        for key in ["AUDIO", "SUBTITLES"] {
            if let Some(group) = attribute(line, key) {
                assert!(groups.contains(&group), "{line}");
            }
        }
    }
}
