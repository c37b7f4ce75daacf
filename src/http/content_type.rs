//! Content types by file name: those that players insist on, and those that browsers may show.

/// Name of the view that is JSON.
const CHAPTERS: &str = "chapters.json";

/// Returns the type of a film's view. `path` is below the film's directory of views: segments of an audio
/// track are in `audio-N/`. Fonts have the names that the film gives them, and a film may come from a
/// stranger, so no view is a document that a browser would run.
pub(super) fn of_view(path: &str) -> &'static str {
    match of_path(path.as_bytes()) {
        // The film's maker does not write this one.
        by_name if path == CHAPTERS => by_name,
        "video/mp4" if path.starts_with("audio-") => "audio/mp4",
        by_name if is_passive(by_name) => by_name,
        _ => "application/octet-stream",
    }
}

/// Returns whether browsers only show or play a type.
fn is_passive(content_type: &str) -> bool {
    const TEXTS: [&str; 5] = [
        "application/vnd.apple.mpegurl",
        "application/x-subrip; charset=utf-8",
        "text/plain; charset=utf-8",
        "text/vtt; charset=utf-8",
        "text/x-ssa; charset=utf-8",
    ];
    let is_picture = content_type.starts_with("image/") && content_type != "image/svg+xml";
    let is_played = content_type.starts_with("video/") || content_type.starts_with("audio/");
    is_picture || is_played || TEXTS.contains(&content_type)
}

/// Returns the type of a file by its name. `path` may have any directories.
pub(super) fn of_path(path: &[u8]) -> &'static str {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    let extension = match name.iter().rposition(|&byte| byte == b'.') {
        Some(dot) => name[dot + 1..].to_ascii_lowercase(),
        None => Vec::new(),
    };
    match extension.as_slice() {
        b"m4s" | b"mp4" | b"m4v" => "video/mp4",
        b"m3u8" => "application/vnd.apple.mpegurl",
        b"ts" | b"m2ts" | b"mts" => "video/mp2t",
        b"mkv" | b"mk3d" => "video/x-matroska",
        b"webm" => "video/webm",
        b"mov" | b"qt" => "video/quicktime",
        b"avi" => "video/x-msvideo",
        b"mpg" | b"mpeg" | b"vob" => "video/mpeg",
        b"wmv" => "video/x-ms-wmv",
        b"flv" => "video/x-flv",
        b"ogv" => "video/ogg",
        b"3gp" => "video/3gpp",
        b"m4a" => "audio/mp4",
        b"mka" => "audio/x-matroska",
        b"mp3" => "audio/mpeg",
        b"ogg" | b"oga" | b"opus" => "audio/ogg",
        b"flac" => "audio/flac",
        b"wav" => "audio/wav",
        b"aac" => "audio/aac",
        b"vtt" => "text/vtt; charset=utf-8",
        b"srt" => "application/x-subrip; charset=utf-8",
        b"ass" | b"ssa" => "text/x-ssa; charset=utf-8",
        b"txt" | b"nfo" | b"log" | b"md" => "text/plain; charset=utf-8",
        b"html" | b"htm" => "text/html; charset=utf-8",
        b"json" => "application/json",
        b"xml" => "application/xml",
        b"jpg" | b"jpeg" => "image/jpeg",
        b"png" => "image/png",
        b"webp" => "image/webp",
        b"gif" => "image/gif",
        b"svg" => "image/svg+xml",
        b"pdf" => "application/pdf",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn players_get_the_types_that_they_insist_on() {
        for (path, expected) in [
            ("master.m3u8", "application/vnd.apple.mpegurl"),
            ("video/init.mp4", "video/mp4"),
            ("video/00001.m4s", "video/mp4"),
            ("video-2/00001.m4s", "video/mp4"),
            ("audio-1/00001.m4s", "audio/mp4"),
            ("audio-1/init.mp4", "audio/mp4"),
            ("thumbnail.jpg", "image/jpeg"),
            ("chapters.json", "application/json"),
        ] {
            assert_eq!(of_view(path), expected, "{path}");
        }
        for (path, expected) in [
            ("/a.TS", "video/mp2t"),
            ("/a.vtt", "text/vtt; charset=utf-8"),
            ("/README", "application/octet-stream"),
            ("/.mkv", "video/x-matroska"),
        ] {
            assert_eq!(of_path(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn no_view_is_a_document_that_runs() {
        for name in ["x.html", "x.HTM", "x.svg", "x.xml", "x.pdf", "x.json", "x"] {
            let path = format!("fonts/{name}");
            assert_eq!(of_view(&path), "application/octet-stream", "{path}");
        }
        assert_eq!(of_view("eng.srt"), "application/x-subrip; charset=utf-8");
        assert_eq!(of_view("eng.ass"), "text/x-ssa; charset=utf-8");
    }

    #[test]
    fn a_users_folder_does_not_change_the_type_of_a_film() {
        for path in ["/audio/a.mp4", "/audio-1/a.mp4", "/.hls/audio-1/a.mp4"] {
            assert_eq!(of_path(path.as_bytes()), "video/mp4", "{path}");
        }
    }
}
