//! Chapters as ffprobe reports them, made into a list that players can show: Matroska's editions may nest and overlap
//! chapters, and MP4 says starts alone.

use crate::model::{Chapter, MAX_CHAPTER_TITLE, MAX_CHAPTERS};

use super::probe::ProbedChapter;

/// Note of a film with more chapters than [`MAX_CHAPTERS`].
const TOO_MANY: &str = "only the first 1000 chapters are shown";

/// Chapters of a film, and what was left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FoundChapters {
    /// Sorted and without overlaps.
    pub chapters: Vec<Chapter>,
    /// Remark for viewers.
    pub note: Option<&'static str>,
}

impl FoundChapters {
    /// Returns the chapters of a film. Both arguments are seconds: the film's first moment on the clock of the file, and
    /// its duration. A chapter ends where the next one starts, or with the film; one that starts behind the film's end,
    /// or at the same time as the one before, is left out.
    #[must_use]
    pub fn of(probed: &[ProbedChapter], first_moment: f64, duration: f64) -> Self {
        let film_end = milliseconds(duration);
        let mut starts: Vec<(u64, String)> = probed
            .iter()
            .filter_map(|one| {
                let start = one.start_time.parse::<f64>().ok()? - first_moment;
                start.is_finite().then(|| (milliseconds(start), title(one)))
            })
            .filter(|(start, _)| *start < film_end)
            .collect();
        // Stable: of chapters with one start the first of the file is kept.
        starts.sort_by_key(|(start, _)| *start);
        starts.dedup_by_key(|(start, _)| *start);
        let note = (starts.len() > MAX_CHAPTERS).then_some(TOO_MANY);
        let ends: Vec<u64> = starts.iter().skip(1).map(|(start, _)| *start).collect();
        let ends = ends.into_iter().chain([film_end]);
        let chapters = starts
            .into_iter()
            .zip(ends)
            .take(MAX_CHAPTERS)
            .map(|((start_ms, title), end_ms)| Chapter {
                start_ms,
                end_ms,
                title,
            })
            .collect();
        Self { chapters, note }
    }
}

/// Returns one line of at most [`MAX_CHAPTER_TITLE`] characters.
fn title(chapter: &ProbedChapter) -> String {
    let text = chapter.tags.get("title").map_or("", String::as_str);
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ").chars().take(MAX_CHAPTER_TITLE).collect()
}

/// Returns whole milliseconds; times before zero are zero.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates"
)]
fn milliseconds(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1000.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chapter(start: &str, title: &str) -> ProbedChapter {
        ProbedChapter {
            start_time: start.to_owned(),
            tags: [("title".to_owned(), title.to_owned())].into(),
        }
    }

    fn found(probed: &[ProbedChapter]) -> Vec<(u64, u64, String)> {
        let list = FoundChapters::of(probed, 10.0, 60.0).chapters;
        list.into_iter()
            .map(|one| (one.start_ms, one.end_ms, one.title))
            .collect()
    }

    #[test]
    fn a_chapter_lasts_until_the_next_and_the_last_until_the_films_end() {
        let list = found(&[chapter("10.0", "Opening"), chapter("32.5", "Chase")]);
        let expected = [
            (0, 22_500, "Opening".to_owned()),
            (22_500, 60_000, "Chase".to_owned()),
        ];
        assert_eq!(list, expected);
    }

    #[test]
    fn nested_unsorted_and_impossible_chapters_become_a_plain_list() {
        let list = found(&[
            chapter("40", "Second"),
            chapter("9", "Before the film"),
            chapter("10", "At the same time"),
            chapter("N/A", "No time"),
            chapter("nan", "No number"),
            chapter("inf", "Never"),
            chapter("70", "At the end"),
            chapter("900", "Behind the end"),
        ]);
        let expected = [
            (0, 30_000, "Before the film".to_owned()),
            (30_000, 60_000, "Second".to_owned()),
        ];
        assert_eq!(list, expected);
    }

    #[test]
    fn a_title_is_one_short_line() {
        let list = found(&[
            chapter("10", "a\r\n\tb\u{0}  c"),
            chapter("20", &"é".repeat(999)),
        ]);
        assert_eq!(list[0].2, "a b c");
        assert_eq!(list[1].2, "é".repeat(MAX_CHAPTER_TITLE));
    }

    #[test]
    fn more_chapters_than_a_player_lists_are_left_out_with_a_note() {
        let many: Vec<_> = (0..1200)
            .map(|number| chapter(&format!("{}", 10.0 + f64::from(number) / 100.0), ""))
            .collect();
        let found = FoundChapters::of(&many, 10.0, 60.0);
        assert_eq!(found.chapters.len(), MAX_CHAPTERS);
        assert_eq!(found.chapters.last().map(|one| one.end_ms), Some(10_000));
        assert!(found.note.is_some());
    }
}
