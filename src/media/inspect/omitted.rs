//! Names what of a file no view shows, in sentences for viewers: nothing is left out silently.

use super::probe::ProbedStream;

/// Streams that a note names one by one. The rest are counted.
const MAX_NAMED: usize = 8;
/// Longest name of an attachment in a note, in characters.
const MAX_NAME: usize = 60;

/// Streams that are in the file only.
#[derive(Debug, Default)]
pub struct OmittedStreams(Vec<String>);

impl OmittedStreams {
    /// Adds a stream.
    pub fn add(&mut self, stream: &ProbedStream) {
        self.0.push(described(stream));
    }

    /// Returns the note about all of them.
    #[must_use]
    pub fn note(self) -> Option<String> {
        let more = self.0.len().saturating_sub(MAX_NAMED);
        let mut named: Vec<String> = self.0.into_iter().take(MAX_NAMED).collect();
        if more > 0 {
            named.push(format!("{more} more streams"));
        }
        (!named.is_empty()).then(|| format!("in the file only: {}", named.join(", ")))
    }
}

/// Returns what a stream is, for a sentence: `data stream 3 (klv)`.
fn described(stream: &ProbedStream) -> String {
    let kind = match stream.codec_type.as_str() {
        "video" if stream.is_picture() => "still picture",
        "video" => "video",
        "audio" => "audio",
        "subtitle" => "subtitles",
        "attachment" => {
            let name = stream.tag("filename").chars();
            let name: String = name.filter(|c| !c.is_control()).take(MAX_NAME).collect();
            return format!("attachment \"{name}\"");
        }
        _ => "data",
    };
    format!("{kind} in stream {} ({})", stream.index, stream.codec())
}
