//! Whole files that are made beside the tracks: bitmap subtitles, fonts, a picture of the film. Each
//! is missed when it cannot be made; the film plays without it.

use std::io;

use crate::model::{ByteRange, DerivedFile, FilePurpose};

use super::collect::DerivedWriter;
use super::subtitle_streams::fetch;
use super::{Job, outlived};
use crate::media::error::MediaError;
use crate::media::inspect::language;
use crate::media::inspect::probe::ProbedStream;
use crate::media::inspect::sniff::Container;
use crate::media::tool::{BitmapFormat, Task};

/// Most bytes of the bitmap subtitles of one stream; a film's Blu-ray track takes 60 MB.
pub const MAX_BITMAPS: u64 = 512 << 20;
/// Most bytes of one font: CJK ones have 20 MB.
const MAX_FONT: u64 = 32 << 20;
/// Most bytes of the picture.
const MAX_PICTURE: u64 = 4 << 20;
/// Where in the film the picture is taken, in per cent: behind the titles.
const PICTURE_AT: u64 = 10;
/// Longest name of a font, in characters.
const MAX_FONT_NAME: usize = 100;

/// Files made from the source itself.
pub fn make(
    job: &Job,
    container: Container,
    (video, fonts): (Option<&ProbedStream>, &[ProbedStream]),
    duration: f64,
    derived: &mut DerivedWriter,
) -> Result<Vec<DerivedFile>, MediaError> {
    let mut files: Vec<DerivedFile> = Vec::new();
    let mut add = |task: Task, limit, purpose, path: String| -> Result<(), MediaError> {
        let source = (job.source.as_path(), container);
        if let Some(range) = run(job, source, &task, limit, derived)? {
            files.push(DerivedFile {
                path,
                purpose,
                range,
            });
        }
        Ok(())
    };
    if let Some(video) = video {
        let at = (duration.max(0.0) * 1000.0) as u64 * PICTURE_AT / 100;
        let task = Task::Picture(video.index, at);
        add(
            task,
            MAX_PICTURE,
            FilePurpose::Picture,
            "thumbnail.jpg".into(),
        )?;
    }
    let mut names: Vec<String> = Vec::new();
    for font in fonts {
        let name = font_name(font);
        if !names.contains(&name) {
            let path = format!("fonts/{name}");
            names.push(name);
            add(
                Task::Attachment(font.index),
                MAX_FONT,
                FilePurpose::Font,
                path,
            )?;
        }
    }
    Ok(files)
}

/// The n-th stream of the small Matroska file that holds the subtitles, as a file of its own.
pub fn bitmap(
    job: &Job,
    small: &std::path::Path,
    number: u32,
    stream: &ProbedStream,
    others: &[DerivedFile],
    derived: &mut DerivedWriter,
) -> Result<Option<DerivedFile>, MediaError> {
    let (format, extension) = match stream.codec_name.as_str() {
        "hdmv_pgs_subtitle" => (BitmapFormat::Sup, "sup"),
        // No muxer writes their own form; players take this one.
        _ => (BitmapFormat::Matroska, "mks"),
    };
    let task = Task::SubtitleBitmap(number, format);
    let source = (small, Container::Matroska);
    let Some(range) = run(job, source, &task, MAX_BITMAPS, derived)? else {
        return Ok(None);
    };
    let mut stem = language::three_letters(stream.tag("language"));
    if stream.has("forced") {
        stem.push_str(".forced");
    }
    if stream.has("hearing_impaired") {
        stem.push_str(".sdh");
    }
    let taken = |path: &str| others.iter().any(|file| file.path == path);
    let mut path = format!("{stem}.{extension}");
    let mut number = 2;
    while taken(&path) {
        path = format!("{stem}.{number}.{extension}");
        number += 1;
    }
    Ok(Some(DerivedFile {
        path,
        purpose: FilePurpose::Subtitle,
        range,
    }))
}

/// The output of `task`, appended; `None`, and nothing appended, when there is none.
fn run(
    job: &Job,
    (source, container): (&std::path::Path, Container),
    task: &Task,
    limit: u64,
    derived: &mut DerivedWriter,
) -> Result<Option<ByteRange>, MediaError> {
    let before = derived.len();
    let fetched = fetch(job, source, container, task, limit, derived).map(Ok);
    let is_complete = outlived(fetched)? == Ok(true);
    let len = derived.len() - before;
    if is_complete && len > 0 {
        return Ok(Some(ByteRange::new(before, len)));
    }
    derived.cut_to(before)?;
    Ok(None)
}

impl io::Write for DerivedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map(|_| bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The name that the film gives a font, as one that is harmless in a path.
fn font_name(font: &ProbedStream) -> String {
    let given = font.tag("filename");
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = last
        .chars()
        .map(|c| match c {
            c if c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | '(' | ')') => c,
            _ => '_',
        })
        .take(MAX_FONT_NAME)
        .collect();
    match name.trim_matches([' ', '.']) {
        "" => format!("font-{}", font.index),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fonts_leave_no_directory() {
        let name = |given: &str| {
            let mut font = ProbedStream {
                index: 7,
                ..ProbedStream::default()
            };
            font.tags.insert("filename".into(), given.into());
            font_name(&font)
        };
        assert_eq!(name("Fancy Bold.ttf"), "Fancy Bold.ttf");
        assert_eq!(name("../../etc/passwd"), "passwd");
        assert_eq!(name("C:\\fonts\\a\"b\n.otf"), "a_b_.otf");
        assert_eq!(name(".."), "font-7");
        assert_eq!(name(""), "font-7");
        assert_eq!(name(&"x".repeat(500)).len(), MAX_FONT_NAME);
    }
}
