//! Small model of the way in which media libraries read directories: Jellyfin's rules for films, shows,
//! versions and subtitles, and the differences of Plex and Kodi. The rules are in our own words and cover our
//! own names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const VIDEOS: [&str; 9] = [
    "mkv", "mp4", "m4v", "avi", "ts", "m2ts", "webm", "mov", "strm",
];
const SUBTITLES: [&str; 10] = [
    "ass", "mks", "sami", "smi", "srt", "ssa", "sub", "sup", "vtt", "idx",
];
/// Directories and stems that no scan enters or takes.
const IGNORED: [&str; 7] = [
    "subs",
    "metadata",
    "sample",
    "extrafanart",
    ".snapshots",
    "lost+found",
    "@eadir",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subtitle {
    pub language: String,
    pub title: String,
    /// Flags `default`, `forced` and `sdh`, separated by spaces.
    pub flags: String,
}

/// Film or episode that a viewer sees as one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub name: String,
    /// Files of the same film, each with the subtitles beside it.
    pub versions: Vec<(PathBuf, Vec<Subtitle>)>,
}

/// Episodes by season and number.
pub type Show = BTreeMap<(u32, u32), Item>;

struct Listing {
    directories: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn has_extension(path: &Path, known: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| known.iter().any(|one| one.eq_ignore_ascii_case(extension)))
}

fn is_ignored(path: &Path) -> bool {
    let (name, stem) = (name(path).to_lowercase(), stem(path).to_lowercase());
    name.starts_with('.')
        || IGNORED.contains(&name.as_str())
        || stem == "sample"
        || name.ends_with(".trickplay")
}

/// Returns all names in a directory in order, including ignored ones.
fn unfiltered(directory: &Path) -> Listing {
    let mut found = Listing {
        directories: Vec::new(),
        files: Vec::new(),
    };
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.directories.push(path),
            false => found.files.push(path),
        }
    }
    found.directories.sort();
    found.files.sort();
    found
}

/// Returns the entries that a scan sees. There are none if an empty `.ignore` (Jellyfin), a `.plexignore` of
/// `*` (Plex) or a `.nomedia` (Kodi) excludes the directory.
fn listing(directory: &Path) -> Listing {
    let mut found = unfiltered(directory);
    let says = |marker: &str, content: &str| {
        fs::read_to_string(directory.join(marker)).is_ok_and(|text| text.trim() == content)
    };
    if says(".ignore", "") || says(".plexignore", "*") || says(".nomedia", "") {
        (found.directories, found.files) = (Vec::new(), Vec::new());
    }
    found.directories.retain(|path| !is_ignored(path));
    found.files.retain(|path| !is_ignored(path));
    found
}

/// Returns whether all three libraries skip the directory in a scan.
pub fn is_left_alone(directory: &Path) -> bool {
    let has = |marker: &str| directory.join(marker).is_file();
    let ignores_all =
        fs::read_to_string(directory.join(".plexignore")).is_ok_and(|text| text.trim() == "*");
    has(".ignore") && has(".nomedia") && ignores_all && is_ignored(directory)
}

fn with_subtitles(video: &Path, files: &[PathBuf]) -> (PathBuf, Vec<Subtitle>) {
    let beside = files.iter().filter(|path| has_extension(path, &SUBTITLES));
    let found = beside.filter_map(|path| subtitle(&stem(video), &stem(path)));
    (video.to_path_buf(), found.collect())
}

/// Reads the name of a subtitle file by Jellyfin's rule: words between dots follow the film's stem and are
/// read from the right.
pub fn subtitle(video: &str, file: &str) -> Option<Subtitle> {
    let words = file.strip_prefix(video)?;
    let words = match words {
        "" => words,
        _ => words.strip_prefix('.')?,
    };
    let mut language: Option<&str> = None;
    let (mut default, mut forced, mut impaired) = (false, false, false);
    let mut title: Vec<&str> = Vec::new();
    for word in words.rsplit('.').filter(|word| !word.is_empty()) {
        let small = word.to_lowercase();
        let known = known_language(&small);
        if small.contains("default") {
            default = true;
        } else if small.contains("forced") || small.contains("foreign") {
            forced = true;
        } else if known.is_some() && language.is_none() {
            language = known;
        } else if known.is_some() && language == Some("hin") {
            (impaired, language) = (true, known);
        } else if ["cc", "hi", "sdh"].contains(&small.as_str()) {
            impaired = true;
        } else {
            title.insert(0, word);
        }
    }
    let flags = [(default, "default"), (forced, "forced"), (impaired, "sdh")];
    let flags: Vec<&str> = flags
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, flag)| *flag)
        .collect();
    Some(Subtitle {
        language: language.unwrap_or("und").to_owned(),
        title: title.join("."),
        flags: flags.join(" "),
    })
}

/// Returns the language of a word: ISO 639-1, 639-2/T or /B, or the English name, as far as the tests use
/// them.
fn known_language(word: &str) -> Option<&'static str> {
    const KNOWN: [(&str, &[&str]); 6] = [
        ("eng", &["en", "eng", "english"]),
        ("spa", &["es", "spa", "spanish"]),
        ("fra", &["fr", "fra", "fre", "french"]),
        ("deu", &["de", "deu", "ger", "german"]),
        ("por", &["pt", "por", "pt-br", "portuguese"]),
        ("hin", &["hi", "hin", "hindi"]),
    ];
    let mut known = KNOWN.into_iter();
    known
        .find(|(_, words)| words.contains(&word))
        .map(|(code, _)| code)
}

/// Reads a directory as a library of films.
pub fn films(root: &Path) -> Vec<Item> {
    let here = listing(root);
    let mut items: Vec<Item> = videos(&here.files)
        .map(|video| Item {
            name: stem(video),
            versions: vec![with_subtitles(video, &here.files)],
        })
        .collect();
    for directory in &here.directories {
        items.extend(film_folder(directory));
    }
    items
}

/// Reads a folder as one film if it has no other folder, not even a hidden one, and every video begins with
/// its name. Otherwise each video in it is a film.
fn film_folder(directory: &Path) -> Vec<Item> {
    let here = listing(directory);
    let folder = name(directory);
    let continues = |video: &&PathBuf| {
        stem(video).strip_prefix(&folder).is_some_and(|rest| {
            let rest = rest.trim_start();
            rest.is_empty() || rest.starts_with(['-', '_', '.', '['])
        })
    };
    let all: Vec<&PathBuf> = videos(&here.files).collect();
    let versions: Vec<_> = all
        .iter()
        .map(|video| with_subtitles(video, &here.files))
        .collect();
    let is_one = unfiltered(directory).directories.is_empty() && all.iter().all(continues);
    let mut items: Vec<Item> = match is_one && !all.is_empty() {
        true => vec![Item {
            name: folder,
            versions,
        }],
        false => versions
            .into_iter()
            .map(|version| Item {
                name: stem(&version.0),
                versions: vec![version],
            })
            .collect(),
    };
    for below in &here.directories {
        items.extend(film_folder(below));
    }
    items
}

fn videos(files: &[PathBuf]) -> impl Iterator<Item = &PathBuf> {
    files.iter().filter(|path| has_extension(path, &VIDEOS))
}

/// Reads a directory as a library of shows: one folder per show, with seasons in folders or in the names of
/// episodes.
pub fn shows(root: &Path) -> BTreeMap<String, Show> {
    let folders = listing(root).directories.into_iter();
    folders
        .map(|folder| {
            let mut show = Show::new();
            episodes(&folder, None, &mut show);
            (name(&folder), show)
        })
        .collect()
}

fn episodes(directory: &Path, season: Option<u32>, show: &mut Show) {
    let here = listing(directory);
    for video in videos(&here.files) {
        let (in_name, number) = episode_number(&stem(video))
            .unwrap_or_else(|| panic!("{} is no episode", video.display()));
        let version = with_subtitles(video, &here.files);
        let episode = show.entry((season.unwrap_or(in_name), number));
        let item = episode.or_insert_with(|| Item {
            name: stem(video),
            versions: Vec::new(),
        });
        item.versions.push(version);
    }
    for below in &here.directories {
        let season = match name(below).to_lowercase().as_str() {
            "specials" => 0,
            other => other.strip_prefix("season ").unwrap().parse().unwrap(),
        };
        episodes(below, Some(season), show);
    }
}

/// Finds `S01E02` anywhere in a name.
fn episode_number(stem: &str) -> Option<(u32, u32)> {
    let small = stem.to_lowercase();
    small.match_indices('s').find_map(|(at, _)| {
        let (season, rest) = small[at + 1..].split_once('e')?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some((season.parse().ok()?, digits.parse().ok()?))
    })
}
