//! Comparison of a film with its HLS views: the same pictures and sound at the same times, and
//! the file byte for byte, all over HTTP.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::client;
use crate::daemon::Daemon;
use crate::film_on_air::Film;

/// Samples in one frame of AAC, whose encoder begins one frame early.
const SOUND_FRAME: f64 = 1024.0;
/// Tolerance for the time of a picture, in seconds: containers round to a millisecond.
const ROUNDED: f64 = 0.0015;

/// Form of a source stream in HLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// Packets are unchanged.
    Copied,
    /// Packets lose their own headers; the decoded content is the same.
    Unpacked,
    /// Encoded as AAC.
    Encoded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Source,
    Hls,
}

/// Source stream and the playlist that contains it.
struct Track {
    stream: u64,
    comes: Comes,
    playlist: String,
    /// Number of the stream in that playlist.
    place: u64,
    /// Time by which sound may move: one AAC frame and the millisecond to which containers round, in seconds.
    leeway: f64,
}

/// Returns [`Track::leeway`] for a stream as ffprobe tells of it.
fn leeway(stream: &Value) -> f64 {
    let rate = stream["sample_rate"].as_str();
    let rate = rate.and_then(|rate| rate.parse::<f64>().ok());
    SOUND_FRAME / rate.unwrap_or(48_000.0).min(48_000.0) + 0.001
}

/// Differences found, one sentence each.
pub fn problems(daemon: &Daemon, film: &Film) -> Vec<String> {
    let mut problems = Vec::new();
    let mut expect = |holds: bool, what: String| {
        if !holds {
            problems.push(format!("{}: {what}", film.name));
        }
    };
    let whole = client::get(daemon, &format!("/fs/{}", film.name)).body;
    let given = std::fs::read(&film.source).unwrap();
    expect(whole == given, "the file is not what was given".to_owned());
    if !film.has_views {
        return problems;
    }
    let tracks = tracks(film);
    let sounds = tracks.iter().filter(|track| !is_picture(track)).count();
    let offered = film.master.matches("TYPE=AUDIO").count();
    expect(
        offered == sounds || film.is_in_place,
        format!("{offered} tracks of sound are offered, not {sounds}"),
    );
    let source = times(film.source.to_str().unwrap());
    let mut lead = None;
    for track in &tracks {
        let was = of_stream(&source, track.stream);
        let served = times(&track.playlist);
        let is = of_stream(&served, track.place);
        let is = match track.comes {
            Comes::Encoded => &is[..],
            Comes::Copied | Comes::Unpacked => &is[added_before(was.len(), is.len())..],
        };
        let (Some(first_was), Some(first_is)) = (was.first(), is.first()) else {
            expect(false, format!("{} is empty", track.playlist));
            continue;
        };
        let shift = first_is - first_was;
        let moved = lead.map_or(0.0, |lead: f64| shift - lead);
        expect(
            moved.abs() <= track.leeway,
            format!(
                "stream {} moved by {moved:.4} s against the first",
                track.stream
            ),
        );
        if track.comes == Comes::Encoded {
            let ends = (was.last(), is.last());
            let late = ends.1.unwrap() - ends.0.unwrap() - shift;
            expect(
                late.abs() <= 0.1,
                format!("stream {} ends {late:.3} s late", track.stream),
            );
        } else if lead.is_none() {
            let worst = was.iter().zip(is).map(|(was, is)| (is - was - shift).abs());
            let worst = worst.fold(0.0, f64::max);
            expect(
                worst <= ROUNDED,
                format!("a picture is {worst:.4} s off its time"),
            );
        }
        lead = lead.or(Some(shift));
    }
    let kept: Vec<&Track> = tracks
        .iter()
        .filter(|track| track.comes != Comes::Encoded)
        .collect();
    let was = digests(film, From::Source, &kept);
    let is = digests(film, From::Hls, &kept);
    for (number, track) in kept.iter().enumerate() {
        let (was, is) = (&was[number], &is[number]);
        let added = added_before(was.len(), is.len());
        // Copies of a picture look like it; silence does not sound like what follows.
        let alike = added + usize::from(is_picture(track));
        expect(
            is[..alike.min(is.len())]
                .windows(2)
                .all(|pair| pair[0] == pair[1]),
            format!("stream {} begins with something else", track.stream),
        );
        let is = &is[added..];
        expect(
            !was.is_empty(),
            format!("stream {} has no frames", track.stream),
        );
        let equal = was.iter().zip(is).take_while(|(was, is)| was == is).count();
        // H.264 packets differ in MP4, and damaged ones cannot be compared after decoding.
        let is_same = match film.is_damaged && film.has_headers() {
            true => was.len() == is.len(),
            false => was == is,
        };
        expect(
            is_same,
            format!(
                "stream {}: of {} frames {} came, {equal} of them equal",
                track.stream,
                was.len(),
                is.len()
            ),
        );
    }
    problems
}

/// Returns the tracks that docs/MEDIA.md promises for this source, in order.
fn tracks(film: &Film) -> Vec<Track> {
    let source = film.source.to_str().unwrap();
    let said = ffprobe(&["-show_streams", "-show_programs", "-of", "json", source]);
    let said: Value = serde_json::from_str(&said).unwrap();
    // A multiplex contributes only the program that is served.
    let program = &said["programs"][0]["streams"];
    let streams = match program.as_array().filter(|streams| !streams.is_empty()) {
        Some(streams) => streams,
        None => said["streams"].as_array().unwrap(),
    };
    if film.is_in_place {
        return inside(film, streams);
    }
    let mut tracks = Vec::new();
    let mut sounds = 0;
    let mut add = |stream: &Value, comes, name: &str| {
        tracks.push(Track {
            stream: stream["index"].as_u64().unwrap(),
            comes,
            playlist: format!("{}/{name}.m3u8", film.base),
            place: 0,
            leeway: leeway(stream),
        });
    };
    let of = |kind: &'static str| {
        streams
            .iter()
            .filter(move |stream| stream["codec_type"] == kind)
    };
    let picture = of("video").find(|stream| stream["disposition"]["attached_pic"] == 0);
    picture
        .into_iter()
        .for_each(|stream| add(stream, Comes::Copied, "video"));
    for stream in of("audio") {
        let codec = stream["codec_name"].as_str().unwrap();
        let is_kept = !codec.starts_with("pcm") && !["truehd", "vorbis"].contains(&codec);
        if is_kept {
            sounds += 1;
            let unpacked = film.has_headers() && codec == "aac";
            let comes = if unpacked {
                Comes::Unpacked
            } else {
                Comes::Copied
            };
            add(stream, comes, &format!("audio-{sounds}"));
        }
        if !["aac", "opus", "flac"].contains(&codec) {
            sounds += 1;
            add(stream, Comes::Encoded, &format!("audio-{sounds}"));
        }
    }
    tracks
}

/// Compares pictures and sound in the segments of a transport stream. Its renditions are covered by
/// `tests/media/in_place.rs`.
fn inside(film: &Film, streams: &[Value]) -> Vec<Track> {
    let is_track =
        |stream: &&Value| stream["codec_type"] == "video" || stream["codec_type"] == "audio";
    let tracks = streams.iter().filter(is_track).enumerate();
    let mut tracks: Vec<Track> = tracks
        .map(|(place, stream)| Track {
            stream: stream["index"].as_u64().unwrap(),
            comes: Comes::Copied,
            playlist: format!("{}/video.m3u8", film.base),
            place: place as u64,
            leeway: leeway(stream),
        })
        .collect();
    let is_video = |track: &Track| {
        streams
            .iter()
            .any(|stream| stream["index"] == track.stream && stream["codec_type"] == "video")
    };
    tracks.sort_by_key(|track| !is_video(track));
    tracks
}

/// Returns the number of packets in front of the track's own: silence before late sound, or copies of the first
/// picture before a late one.
fn added_before(was: usize, is: usize) -> usize {
    is.saturating_sub(was)
}

fn is_picture(track: &Track) -> bool {
    track.playlist.ends_with("/video.m3u8") && track.place == 0
}

/// Returns stream and time of each packet.
fn times(input: &str) -> Vec<(u64, f64)> {
    let text = ffprobe(&[
        "-show_entries",
        "packet=stream_index,pts_time",
        "-of",
        "csv=p=0",
        input,
    ]);
    let lines = text.lines().filter_map(|line| {
        let mut parts = line.split(',');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    });
    lines.collect()
}

fn of_stream(times: &[(u64, f64)], stream: u64) -> Vec<f64> {
    let of = times.iter().filter(|(of, _)| *of == stream);
    let mut of: Vec<f64> = of.map(|(_, time)| *time).collect();
    of.sort_by(f64::total_cmp);
    of
}

fn ffprobe(arguments: &[&str]) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns digests of each track, of decoded pictures and of packets, from the source or the playlists.
fn digests(film: &Film, from: From, tracks: &[&Track]) -> Vec<Vec<String>> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin"]);
    for track in tracks {
        // The encoder's priming silence is counted too.
        command.args(["-flags2", "+skip_manual"]);
        // Pictures hidden by an edit list are served as well.
        let is_mp4 = [".mp4", ".mov"].iter().any(|end| film.name.ends_with(end));
        if from == From::Source && is_mp4 && is_picture(track) {
            command.args(["-ignore_editlist", "1"]);
        }
        match from {
            From::Source => command.arg("-i").arg(&film.source),
            From::Hls => command.args(["-i", &track.playlist]),
        };
    }
    for (number, track) in tracks.iter().enumerate() {
        let stream = match from {
            From::Source => track.stream,
            From::Hls => track.place,
        };
        command.args(["-map", &format!("{number}:{stream}")]);
        // Decoders conceal damage differently each time.
        let is_decoded = is_picture(track) && !film.is_damaged;
        if track.comes == Comes::Copied && !is_decoded {
            command.args([&format!("-c:{number}"), "copy"]);
        }
    }
    let output = command
        .args(["-vsync", "0", "-f", "framemd5", "-"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let mut digests = vec![Vec::new(); tracks.len()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let parts: Vec<&str> = line.split(',').map(str::trim).collect();
        digests[parts[0].parse::<usize>().unwrap()].push(parts[5].to_owned());
    }
    digests
}
