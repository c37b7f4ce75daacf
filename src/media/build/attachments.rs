//! Makes whole files beside the tracks: bitmap subtitles, fonts, a picture of the film. The film plays
//! without a file that cannot be made.

use std::path::Path;

use super::collect::DerivedWriter;
use super::context::{BuildContext, Fetch, outlived};
use crate::media::attempt::Attempt;
use crate::media::container::Container;
use crate::media::error::MediaError;
use crate::media::inspect::language;
use crate::media::inspect::probe::ProbedStream;
use crate::media::tool::task::{BitmapFormat, Task};
use crate::model::{ByteRange, DerivedFile, FilePurpose};

/// Size limit of the bitmap subtitles of one stream, in bytes. A track of a Blu-ray has 60 MB.
pub const MAX_BITMAPS: u64 = 512 << 20;
/// Size limit of one font in bytes. CJK fonts have 20 MB.
const MAX_FONT: u64 = 32 << 20;
/// Size limit of the picture in bytes.
const MAX_PICTURE: u64 = 4 << 20;
/// Size limit of a cover in bytes.
const MAX_COVER: u64 = 16 << 20;
/// Place in the film where the picture is taken, in per cent: after the titles.
const PICTURE_AT: u64 = 10;
/// Longest name of a font, in characters.
const MAX_FONT_NAME: usize = 100;

/// The streams of the source that give files.
pub struct AttachmentSource<'a> {
    /// Container of the source.
    pub container: Container,
    /// Video that the picture is taken from.
    pub video: Option<&'a ProbedStream>,
    /// Attached fonts.
    pub fonts: &'a [ProbedStream],
    /// Cover of the film, a picture.
    pub cover: Option<&'a ProbedStream>,
    /// Seconds that the film lasts.
    pub duration: f64,
}

/// Makes the files that come from the source itself: a picture of the film, and its fonts.
///
/// # Errors
/// When the tool is missing, or the disk refuses.
pub fn make(
    context: &BuildContext,
    source: &AttachmentSource<'_>,
    derived: &mut DerivedWriter,
) -> Result<Vec<DerivedFile>, MediaError> {
    let mut files: Vec<DerivedFile> = Vec::new();
    let mut add = |task: Task, limit, purpose, path: String| -> Result<(), MediaError> {
        let fetch = Fetch {
            source: &context.source,
            container: source.container,
            task: &task,
            limit,
        };
        if let Some(range) = append(context, &fetch, derived)? {
            files.push(DerivedFile {
                path,
                purpose,
                range,
            });
        }
        Ok(())
    };
    let at = (source.duration.max(0.0) * 1000.0) as u64 * PICTURE_AT / 100;
    let frame = source.video.map(|video| Task::Picture(video.index, at));
    // Of music, the cover is all there is to see.
    let picture = frame.or_else(|| Some(Task::Picture(source.cover?.index, 0)));
    if let Some(task) = picture {
        let path = "thumbnail.jpg".into();
        add(task, MAX_PICTURE, FilePurpose::Picture, path)?;
    }
    if let Some(cover) = source.cover {
        let path = cover_name(cover).to_owned();
        let task = Task::Raw(cover.index);
        add(task, MAX_COVER, FilePurpose::Picture, path)?;
    }
    let mut names: Vec<String> = Vec::new();
    for font in source.fonts {
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

/// Bitmap subtitles in the small Matroska file that holds all subtitles of a film.
pub struct CopiedBitmap<'a> {
    /// The small file.
    pub file: &'a Path,
    /// Number of the stream in it.
    pub number: u32,
    /// The stream of the source.
    pub stream: &'a ProbedStream,
}

/// Makes a file of bitmap subtitles, with a name that `others` do not have.
///
/// # Errors
/// When the tool is missing, or the disk refuses.
pub fn bitmap(
    context: &BuildContext,
    bitmap: &CopiedBitmap<'_>,
    others: &[DerivedFile],
    derived: &mut DerivedWriter,
) -> Result<Option<DerivedFile>, MediaError> {
    let stream = bitmap.stream;
    let (format, extension) = match stream.codec_name.as_str() {
        "hdmv_pgs_subtitle" => (BitmapFormat::Sup, "sup"),
        // No muxer writes the other formats alone. Players accept Matroska.
        _ => (BitmapFormat::Matroska, "mks"),
    };
    let fetch = Fetch {
        source: bitmap.file,
        container: Container::Matroska,
        task: &Task::SubtitleBitmap(bitmap.number, format),
        limit: MAX_BITMAPS,
    };
    let Some(range) = append(context, &fetch, derived)? else {
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

/// Appends the output of a task. Returns `None`, and appends nothing, when there is no output.
fn append(
    context: &BuildContext,
    fetch: &Fetch<'_>,
    derived: &mut DerivedWriter,
) -> Result<Option<ByteRange>, MediaError> {
    let before = derived.len();
    let fetched = context.fetch(fetch, derived).map(Attempt::Made);
    let is_complete = outlived(fetched)? == Attempt::Made(true);
    let len = derived.len() - before;
    if is_complete && len > 0 {
        return Ok(Some(ByteRange::new(before, len)));
    }
    derived.cut_to(before)?;
    Ok(None)
}

/// Returns the name of the file that holds a cover.
fn cover_name(cover: &ProbedStream) -> &'static str {
    match cover.codec_name.as_str() {
        "mjpeg" => "cover.jpg",
        "png" | "apng" => "cover.png",
        "gif" => "cover.gif",
        "webp" => "cover.webp",
        "bmp" => "cover.bmp",
        _ => "cover.tiff",
    }
}

/// Returns the name that the film gives a font, made safe for a path.
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
