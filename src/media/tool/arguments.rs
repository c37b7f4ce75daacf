//! Command lines of ffmpeg and ffprobe, one function per task.

use super::encode::{GroupTask, RenditionTask};
use super::task::{AAC_CHANNELS, BitmapFormat, Lead, Pick, StreamConversion, Task};
use crate::media::container::Container;
use crate::model::SubtitleFormat;
use crate::process::INPUT_PATH;

/// Writes one fragment per key frame and track, without an empty `moov`, so that edit lists and
/// delays between tracks are exact (`+cmaf` would drop them). Edits count in 1/90000 s, not in ms.
const FRAGMENTED_MP4: [&str; 9] = [
    "-strict",
    "-2",
    "-movflags",
    "+frag_keyframe+delay_moov+default_base_moof+separate_moof",
    "-movie_timescale",
    "90000",
    "-f",
    "mp4",
    "pipe:1",
];

const WITHOUT_METADATA: [&str; 4] = ["-map_metadata", "-1", "-map_chapters", "-1"];
/// Bit rate of an encoded audio track.
const AAC_RATE: &str = "160k";
/// Scales a picture down to 640 pixels of width.
const PICTURE_SIZE: &str = "scale=w='min(640,iw)':h=-2";
/// Limits a fragment to five seconds, in microseconds.
const SHORT_FRAGMENTS: [&str; 2] = ["-frag_duration", "5000000"];
/// Prints progress to stderr every few seconds. A subtitle pass writes next to nothing to its
/// output, and would otherwise look as if it hung.
const PROGRESS: [&str; 4] = ["-progress", "pipe:2", "-stats_period", "5"];
/// Prints progress less often, because only the last lines of stderr are kept and x264's summary
/// must be among them.
const SLOW_PROGRESS: [&str; 5] = ["-nostats", "-progress", "pipe:2", "-stats_period", "20"];

/// Options of one command line, in order.
#[derive(Default)]
struct ToolArguments(Vec<String>);

impl ToolArguments {
    fn add(&mut self, items: &[&str]) {
        self.0.extend(items.iter().map(|item| (*item).to_owned()));
    }
    fn add_owned(&mut self, items: Vec<String>) {
        self.0.extend(items);
    }
    fn map(&mut self, stream: u32) {
        self.add(&["-map", &format!("0:{stream}")]);
    }
    fn threads(&mut self, threads: Option<&str>) {
        if let Some(count) = threads {
            self.add(&["-threads", count]);
        }
    }
}

/// Returns the whole command line of `task`, without the program. `threads` limits each decoder and
/// encoder.
pub fn arguments(container: Container, task: &Task, threads: Option<&str>) -> Vec<String> {
    let mut list = ToolArguments::default();
    if *task != Task::Probe {
        list.add(&["-nostdin", "-hide_banner"]);
        // `-threads` applies to decoders before the input, and to encoders after it.
        list.threads(threads);
    }
    before_input(&mut list, task);
    input(&mut list, container);
    match task {
        Task::Probe => probe(&mut list),
        Task::Remux(picks, lead) => remux(&mut list, picks, *lead, threads),
        Task::EncodeAudio(stream) => encode_audio(&mut list, *stream, threads),
        Task::EncodeGroup(group) => encode_group(&mut list, group, threads),
        Task::EncodeVideo(rendition) => encode_video(&mut list, rendition, threads),
        Task::CopySubtitles(streams, texts) => {
            copy_subtitles(&mut list, container, streams, *texts)
        }
        Task::SubtitleText(stream, format) => subtitle_text(&mut list, *stream, *format),
        Task::SubtitleBitmap(stream, format) => subtitle_bitmap(&mut list, *stream, *format),
        // The attachment lies in the header, but ffmpeg insists on an output.
        Task::Raw(stream) => raw(&mut list, *stream),
        Task::Attachment(_) => list.add(&["-map", "0", "-c", "copy", "-t", "0", "-f", "null", "-"]),
        Task::Picture(stream, _) => picture(&mut list, *stream),
        Task::Sprites {
            width,
            columns,
            rows,
        } => sprites(&mut list, *width, *columns, *rows),
    }
    list.0
}

fn before_input(list: &mut ToolArguments, task: &Task) {
    match task {
        // The small file starts with its first cue, not where the film starts.
        Task::SubtitleText(..) | Task::SubtitleBitmap(..) => list.add(&["-copyts"]),
        Task::Attachment(stream) => {
            list.add(&[&format!("-dump_attachment:{stream}"), "pipe:1"]);
        }
        // Rotation stays in the track header.
        Task::EncodeGroup(_) => list.add(&["-noautorotate"]),
        Task::EncodeVideo(rendition) => list.add_owned(rendition.before_input()),
        // A cover is before all times, and a seek leaves it out.
        Task::Picture(_, 0) => list.add(&["-skip_frame", "nokey"]),
        Task::Picture(_, millis) => {
            let at = format!("{}.{:03}", millis / 1000, millis % 1000);
            list.add(&["-skip_frame", "nokey", "-ss", &at]);
        }
        // The loop filter smooths less than a pixel at this size and takes a third of the time.
        Task::Sprites { .. } => list.add(&["-skip_loop_filter", "all"]),
        _ => {}
    }
}

/// Adds the input: only files and pipes, and only the demuxer that the bytes ask for, or one of those
/// that follow no names. With the protocol list alone ffmpeg was seen to follow a concat script.
fn input(list: &mut ToolArguments, container: Container) {
    list.add(&["-v", "error", "-protocol_whitelist", "file,pipe"]);
    list.add(&["-format_whitelist", &container.whitelist()]);
    if let Some(demuxer) = container.demuxer() {
        list.add(&["-f", demuxer]);
    }
    list.add(&["-i", &format!("file:{INPUT_PATH}")]);
}

fn probe(list: &mut ToolArguments) {
    list.add(&["-show_streams", "-show_programs", "-show_format"]);
    list.add(&["-show_chapters"]);
    list.add(&["-of", "json"]);
}

fn remux(list: &mut ToolArguments, picks: &[Pick], lead: Lead, threads: Option<&str>) {
    for pick in picks {
        list.map(pick.stream);
    }
    list.add(&["-dn", "-sn", "-c", "copy"]);
    list.add(&WITHOUT_METADATA);
    for (index, pick) in picks.iter().enumerate() {
        match pick.conversion {
            StreamConversion::Copied => {}
            StreamConversion::CopiedFromAdts => {
                list.add(&[&format!("-bsf:{index}"), "aac_adtstoasc"]);
            }
            StreamConversion::Encoded => {
                list.add(&[&format!("-c:{index}"), "aac"]);
                list.add(&[&format!("-ac:{index}"), &AAC_CHANNELS.to_string()]);
                list.add(&[&format!("-b:{index}"), AAC_RATE]);
            }
        }
    }
    list.threads(threads);
    match lead {
        Lead::Video => {}
        Lead::Audio => list.add(&SHORT_FRAGMENTS),
    }
    list.add(&FRAGMENTED_MP4);
}

fn encode_audio(list: &mut ToolArguments, stream: u32, threads: Option<&str>) {
    list.map(stream);
    list.add(&["-vn", "-dn", "-sn"]);
    list.add(&WITHOUT_METADATA);
    list.add(&["-c:a", "aac", "-ac", &AAC_CHANNELS.to_string()]);
    list.add(&["-b:a", AAC_RATE]);
    list.threads(threads);
    list.add(&SHORT_FRAGMENTS);
    list.add(&FRAGMENTED_MP4);
}

fn encode_group(list: &mut ToolArguments, group: &GroupTask, threads: Option<&str>) {
    list.add_owned(group.arguments());
    encoded_output(list, threads);
}

fn encode_video(list: &mut ToolArguments, rendition: &RenditionTask, threads: Option<&str>) {
    list.add_owned(rendition.arguments());
    encoded_output(list, threads);
    list.add_owned(rendition.behind());
}

fn encoded_output(list: &mut ToolArguments, threads: Option<&str>) {
    list.add(&WITHOUT_METADATA);
    list.threads(threads);
    list.add(&SLOW_PROGRESS);
    list.add(&FRAGMENTED_MP4);
}

fn copy_subtitles(list: &mut ToolArguments, container: Container, streams: &[u32], texts: usize) {
    for stream in streams {
        list.map(*stream);
    }
    list.add(&PROGRESS);
    list.add(&["-c", "copy"]);
    // Matroska cannot hold MP4's own text. In ASS its signs stay text. In SubRip some would become
    // tags.
    if container == Container::Mp4 {
        for index in 0..texts {
            list.add(&[&format!("-c:{index}"), "ass"]);
        }
    }
    list.add(&WITHOUT_METADATA);
    list.add(&["-f", "matroska", "pipe:1"]);
}

fn subtitle_text(list: &mut ToolArguments, stream: u32, format: SubtitleFormat) {
    let muxer = match format {
        SubtitleFormat::Srt => "srt",
        SubtitleFormat::Vtt => "webvtt",
        SubtitleFormat::Ass => "ass",
    };
    list.map(stream);
    list.add(&["-c", "copy", "-f", muxer, "pipe:1"]);
}

fn subtitle_bitmap(list: &mut ToolArguments, stream: u32, format: BitmapFormat) {
    let muxer = match format {
        BitmapFormat::Sup => "sup",
        BitmapFormat::Matroska => "matroska",
    };
    list.map(stream);
    list.add(&["-c", "copy", "-f", muxer, "pipe:1"]);
}

fn raw(list: &mut ToolArguments, stream: u32) {
    list.map(stream);
    list.add(&["-c", "copy", "-f", "data", "pipe:1"]);
}

fn picture(list: &mut ToolArguments, stream: u32) {
    list.map(stream);
    list.add(&["-frames:v", "1", "-vf", PICTURE_SIZE]);
    list.add(&["-pix_fmt", "yuvj420p"]);
    list.add(&["-c:v", "mjpeg", "-q:v", "4", "-f", "mjpeg", "pipe:1"]);
}

fn sprites(list: &mut ToolArguments, width: usize, columns: usize, rows: usize) {
    // A frame that cannot be decoded repeats the previous one, so the others keep their places.
    let filter = format!(
        "fps=1:start_time=0:eof_action=pass,scale=w={width}:h=trunc({width}/dar/2)*2,setsar=1,tile={columns}x{rows}"
    );
    list.add(&["-map", "0:v", "-an", "-vf", &filter]);
    list.add(&["-pix_fmt", "yuvj420p"]);
    list.add(&["-c:v", "mjpeg", "-q:v", "5", "-f", "mjpeg", "pipe:1"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probing_takes_no_options_of_ffmpeg() {
        let list = arguments(Container::Avi, &Task::Probe, Some("3"));
        let line = list.join(" ");
        assert!(line.starts_with("-v error -protocol_whitelist file,pipe"));
        assert!(!line.contains("-nostdin") && !line.contains("-threads"));
    }

    #[test]
    fn threads_limit_decoders_and_encoders() {
        let list = arguments(Container::Matroska, &Task::EncodeAudio(2), Some("3"));
        let line = list.join(" ");
        assert!(line.starts_with("-nostdin -hide_banner -threads 3 -v error"));
        assert!(line.contains("-map 0:2 -vn") && line.contains("-b:a 160k -threads 3"));
        assert!(line.ends_with("-f mp4 pipe:1"));
    }

    #[test]
    fn only_the_demuxer_of_the_container_is_allowed() {
        for (container, list) in [
            (Container::Mp4, "mov,mp4,m4a,3gp,3g2,mj2 -f mov"),
            (Container::MpegTs, "mpegts -f mpegts"),
        ] {
            let line = arguments(container, &Task::Probe, None).join(" ");
            assert!(
                line.contains(&format!("-format_whitelist {list} -i file:")),
                "{line}"
            );
        }
    }
}
