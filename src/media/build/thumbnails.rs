//! Small pictures of the whole film for scrubbing: sheets of them, and a WebVTT track that says which
//! part of which sheet shows which time.
//!
//! ffmpeg gets a film of its own, which holds only the chosen key frames, one a second. It thus reads
//! and decodes those alone, in one run, whatever lies between them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::model::{ByteRange, DerivedFile, FilePurpose};

use super::collect::{DerivedWriter, unnamed_file};
use super::context::{BuildContext, Fetch};
use super::film::Film;
use super::made_track::MadeTrack;
use crate::media::container::Container;
use crate::media::error::{MediaError, MediaErrorKind};
use crate::media::hls::views::THUMBNAILS;
use crate::media::map::SamplePlace;
use crate::media::mp4::fragments::Sample;
use crate::media::mp4::{init, segment_header};
use crate::media::subtitles::webvtt;
use crate::media::tool::task::Task;

/// Seconds of the shortest film that gets pictures. Shorter films are scrubbed well enough without them.
const SHORTEST: f64 = 60.0;
/// Seconds between pictures. They are farther apart where key frames are, and in long films.
const INTERVAL: f64 = 10.0;
/// Most pictures of one film: a picture of 1080p costs 10 ms, see MEDIA.md.
const MAX_PICTURES: usize = 240;
/// Most bytes of the key frames that are decoded: those of 240 pictures in 4K.
const MAX_SOURCE: u64 = 256 << 20;
/// Pictures side by side in a sheet. [`ROWS`] counts those one above the other.
const COLUMNS: usize = 10;
const ROWS: usize = 8;
/// Width of a picture in pixels.
const WIDTH: usize = 160;
/// Most bytes of all sheets. One sheet has 200 KB.
const MAX_SHEETS: u64 = 16 << 20;

/// A key frame that gets a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Chosen {
    /// Number of the sample.
    sample: usize,
    /// Seconds from the film's start.
    at: f64,
}

/// Makes the sheets and their track, or none where the film is short or has no such pictures. An error
/// here costs only the sheets, except that a cancelled build stops.
pub fn make(
    context: &BuildContext,
    film: &Film,
    derived: &mut DerivedWriter,
) -> Result<Vec<DerivedFile>, MediaError> {
    let before = derived.len();
    let made = match try_make(context, film, derived) {
        Ok(made) => made,
        Err(error) if error.kind == MediaErrorKind::Cancelled => return Err(error),
        Err(error) => {
            tracing::debug!(%error, "a film has no pictures for scrubbing");
            None
        }
    };
    if made.is_none() {
        derived.cut_to(before)?;
    }
    Ok(made.unwrap_or_default())
}

fn try_make(
    context: &BuildContext,
    film: &Film,
    derived: &mut DerivedWriter,
) -> Result<Option<Vec<DerivedFile>>, MediaError> {
    let Some((video, times)) = film.video() else {
        return Ok(None);
    };
    let samples = &video.collected.samples;
    let keys: Vec<usize> = (0..samples.len())
        .filter(|&index| samples[index].is_key() && samples[index].size > 0)
        .filter(|&index| stands_alone(video, index))
        .collect();
    let origin = f64::from(film.origin_seconds());
    let shown = times.bounds(samples, &keys).into_iter();
    let keys: Vec<Chosen> = keys
        .iter()
        .zip(shown)
        .map(|(&sample, at)| Chosen {
            sample,
            at: (at - origin).max(0.0),
        })
        .collect();
    let chosen = choose(&keys, film.duration(), |one| {
        u64::from(samples[one.sample].size)
    });
    if chosen.len() < 2 {
        return Ok(None);
    }
    derived.write_out()?;
    let Some(frames) = write_frames(context, video, &chosen)? else {
        return Ok(None);
    };
    let path = PathBuf::from(format!("/proc/self/fd/{}", frames.as_raw_fd()));
    let rows = chosen.len().div_ceil(COLUMNS).min(ROWS);
    let task = Task::Sprites {
        width: WIDTH,
        columns: COLUMNS,
        rows,
    };
    let mut bytes = Vec::new();
    let fetch = Fetch {
        source: &path,
        container: Container::Mp4,
        task: &task,
        limit: MAX_SHEETS,
    };
    if !context.fetch(&fetch, &mut bytes)? {
        return Ok(None);
    }
    let needed = chosen.len().div_ceil(COLUMNS * rows);
    let sheets: Vec<&[u8]> = pictures(&bytes).into_iter().take(needed).collect();
    let heights = sheets.iter().map(|sheet| height(sheet));
    let Some(heights) = heights.collect::<Option<Vec<usize>>>() else {
        return Ok(None);
    };
    let cell = heights.first().map_or(0, |height| height / rows);
    if sheets.len() < needed || cell == 0 {
        return Ok(None);
    }
    let mut files = Vec::new();
    let mut add = |path: String, bytes: &[u8]| -> io::Result<()> {
        let range = ByteRange::new(derived.append(bytes)?, bytes.len() as u64);
        // Releases that know no sheets take it for a picture like the other.
        let purpose = FilePurpose::Picture;
        files.push(DerivedFile {
            path,
            purpose,
            range,
        });
        Ok(())
    };
    for (number, sheet) in (1..).zip(sheets) {
        add(format!("sprite-{number}.jpg"), sheet)?;
    }
    let text = track(&chosen, film.duration(), (rows, cell));
    add(THUMBNAILS.to_owned(), text.as_bytes())?;
    Ok(Some(files))
}

/// Returns at most one key frame for each interval. The key frames are few and small enough.
fn choose(keys: &[Chosen], duration: f64, bytes: impl Fn(&Chosen) -> u64) -> Vec<Chosen> {
    if duration < SHORTEST {
        return Vec::new();
    }
    let mut interval = INTERVAL.max(duration / MAX_PICTURES as f64);
    loop {
        let mut next = 0.0;
        let mut chosen: Vec<Chosen> = Vec::new();
        for key in keys {
            if key.at >= next {
                // The next picture is due on the grid, so that delays of late key frames do not add up.
                next = (key.at / interval).floor() * interval + interval;
                chosen.push(*key);
            }
        }
        let total: u64 = chosen.iter().map(&bytes).sum();
        if chosen.len() <= MAX_PICTURES + 1 && total <= MAX_SOURCE {
            chosen.truncate(MAX_PICTURES);
            return chosen;
        }
        interval *= 1.5;
        if interval > duration {
            return Vec::new();
        }
    }
}

/// Writes a film of these key frames, one a second, into a file without a name.
fn write_frames(
    context: &BuildContext,
    video: &MadeTrack,
    chosen: &[Chosen],
) -> Result<Option<File>, MediaError> {
    let collected = &video.collected;
    let Some(head) = init::write(&video.movie, &collected.track, 0) else {
        return Ok(None);
    };
    let frames = Frames {
        content: File::open(&context.source)?,
        derived: File::open(&context.derived)?,
        video,
    };
    let second = u64::from(collected.track.timescale);
    let mut file = BufWriter::new(unnamed_file(&context.derived, ".frames")?);
    file.write_all(&head)?;
    for (number, one) in (0_u32..).zip(chosen) {
        let mut data = frames.read(one.sample)?;
        if is_hevc(video) {
            start_afresh(&mut data, collected.description.nal_length);
        }
        let alone = Sample {
            size: u32::try_from(data.len()).unwrap_or(u32::MAX),
            duration: collected.track.timescale,
            composition: 0,
            ..collected.samples[one.sample]
        };
        let at = u64::from(number) * second;
        file.write_all(&segment_header::write(&[alone], at, number + 1))?;
        file.write_all(&data)?;
    }
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(Some(file))
}

fn is_hevc(video: &MadeTrack) -> bool {
    let codec = &video.collected.description.codec;
    ["hvc1", "hev1", "dvh1"]
        .iter()
        .any(|name| codec.starts_with(name))
}

/// Returns true if a key frame can be decoded behind any other. H.264's recovery points cannot: because
/// of their picture numbers a decoder outputs them in another order, or not at all. MPEG-2, MPEG-4 and
/// VC-1 do not say which of their key frames can.
fn stands_alone(video: &MadeTrack, sample: usize) -> bool {
    let collected = &video.collected;
    is_hevc(video) || collected.dependent_keys.binary_search(&sample).is_err()
}

/// Turns HEVC's CRA pictures into BLA pictures (table 7-1: 21 and 16), which have the same head and begin
/// a sequence. The numbers of CRA pictures in a row say nothing about their order.
fn start_afresh(sample: &mut [u8], length_bytes: usize) {
    const CRA: u8 = 21;
    const BLA: u8 = 16;
    let mut at = 0_usize;
    while let Some(length) = sample
        .get(at..at.saturating_add(length_bytes))
        .filter(|length| !length.is_empty())
    {
        let length = length
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let Some(first) = sample.get_mut(at + length_bytes) else {
            return;
        };
        if *first >> 1 & 0x3f == CRA {
            *first = *first & 0x81 | BLA << 1;
        }
        at = at.saturating_add(length_bytes).saturating_add(length);
    }
}

struct Frames<'a> {
    content: File,
    derived: File,
    video: &'a MadeTrack,
}

impl Frames<'_> {
    fn read(&self, sample: usize) -> io::Result<Vec<u8>> {
        let collected = &self.video.collected;
        let mut data = vec![0; collected.samples[sample].size as usize];
        match collected.places[sample] {
            SamplePlace::Content(at) => self.content.read_exact_at(&mut data, at)?,
            SamplePlace::Derived(at) => self.derived.read_exact_at(&mut data, at)?,
            SamplePlace::Split {
                derived,
                missing,
                content,
            } => {
                let (front, back) = data
                    .split_at_mut_checked(missing as usize)
                    .ok_or(io::ErrorKind::InvalidData)?;
                self.derived.read_exact_at(front, derived)?;
                self.content.read_exact_at(back, content)?;
            }
        }
        Ok(data)
    }
}

/// Splits JPEG pictures that lie one behind the other. `FF D9` occurs only at the end of a picture.
fn pictures(bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some(end) = memchr::memmem::find(rest, &[0xff, 0xd9]) {
        let (picture, behind) = rest.split_at(end + 2);
        found.push(picture);
        rest = behind;
    }
    found
}

/// Returns the height in pixels from the frame header (SOF0).
fn height(jpeg: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        let segment = jpeg.get(at..at + 9)?;
        if segment[0] != 0xff {
            return None;
        }
        if segment[1] == 0xc0 {
            return Some(usize::from(u16::from_be_bytes([segment[5], segment[6]])));
        }
        at += 2 + usize::from(u16::from_be_bytes([segment[2], segment[3]]));
    }
}

/// Writes the WebVTT track. Each picture is shown from its own time until the time of the next one.
fn track(chosen: &[Chosen], duration: f64, (rows, cell): (usize, usize)) -> String {
    let millis = |seconds: f64| webvtt::time((seconds.max(0.0) * 1000.0).round() as u64);
    let mut text = webvtt::HEAD.to_owned();
    for (number, one) in chosen.iter().enumerate() {
        let from = if number == 0 { 0.0 } else { one.at };
        let next = chosen.get(number + 1).map(|next| next.at);
        let until = next.unwrap_or_else(|| duration.max(from + 0.001));
        let (sheet, place) = (number / (COLUMNS * rows), number % (COLUMNS * rows));
        let (x, y) = (place % COLUMNS * WIDTH, place / COLUMNS * cell);
        let _infallible = write!(
            text,
            "{} --> {}\nsprite-{}.jpg#xywh={x},{y},{WIDTH},{cell}\n\n",
            millis(from),
            millis(until),
            sheet + 1,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(every: f64, duration: f64) -> Vec<Chosen> {
        let count = (duration / every) as usize;
        (0..count)
            .map(|sample| Chosen {
                sample,
                at: sample as f64 * every,
            })
            .collect()
    }

    #[test]
    fn pictures_are_ten_seconds_apart_and_few_however_long_the_film_is() {
        let count = |every, duration| choose(&keys(every, duration), duration, |_| 1000).len();
        assert_eq!(count(2.0, 59.0), 0);
        assert_eq!(count(2.0, 60.0), 6);
        assert_eq!(count(2.0, 600.0), 60);
        // These key frames do not fall on the grid. Their delays must not add up.
        assert_eq!(count(3.7, 600.0), 60);
        assert_eq!(count(25.0, 600.0), 24);
        for hours in [1.0, 3.0, 10.0, 100.0] {
            let count = count(2.0, hours * 3600.0);
            assert!((200..=MAX_PICTURES).contains(&count), "{count}");
        }
    }

    #[test]
    fn large_key_frames_are_fewer() {
        let all = choose(&keys(2.0, 7200.0), 7200.0, |_| 4 << 20);
        assert!((40..=64).contains(&all.len()), "{}", all.len());
        assert!(choose(&keys(2.0, 600.0), 600.0, |_| 1 << 40).is_empty());
    }

    #[test]
    fn the_track_covers_the_film_and_every_place_once() {
        let chosen: Vec<Chosen> = keys(10.0, 1000.0);
        let text = track(&chosen, 1000.5, (8, 90));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "00:00:00.000 --> 00:00:10.000");
        assert_eq!(lines[3], "sprite-1.jpg#xywh=0,0,160,90");
        assert!(text.contains("sprite-1.jpg#xywh=1440,630,160,90\n"));
        assert!(text.contains("00:13:20.000 --> 00:13:30.000\nsprite-2.jpg#xywh=0,0,160,90"));
        assert!(text.contains("00:16:30.000 --> 00:16:40.500"));
    }
}
