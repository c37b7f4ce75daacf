//! Tests of media libraries on a mount: they see one item per film, shows in seasons, versions together,
//! subtitles with their language and flags, and none of the views.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::media_library::{self, Item, Subtitle, films, is_left_alone, shows};
use crate::mount::Mount;
use crate::scratch::Scratch;

/// Makes a film of two seconds with subtitles: English, Spanish forced, English for the hard of hearing.
fn film(directory: &Path) -> PathBuf {
    let cues = directory.join("cues.srt");
    fs::write(&cues, "1\n00:00:00,200 --> 00:00:01,500\nHello\n").unwrap();
    let film = directory.join("film.mkv");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=160x90:d=2"]);
    for _ in 0..3 {
        command.arg("-i").arg(&cues);
    }
    #[rustfmt::skip]
    command.args([
        "-map", "0", "-map", "1", "-map", "2", "-map", "3", "-c:s", "srt",
        "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
        "-metadata:s:s:0", "language=eng", "-metadata:s:s:1", "language=spa",
        "-metadata:s:s:2", "language=eng", "-disposition:s:1", "forced",
        "-disposition:s:2", "hearing_impaired",
    ]);
    let status = command.arg(&film).stdin(Stdio::null()).status();
    let status = status.expect("ffmpeg is missing: `apt-get install ffmpeg`");
    assert!(status.success());
    film
}

const FILMS: [&str; 10] = [
    "Films/Heat (1995)/Heat (1995) - 1080p.mkv",
    "Films/Heat (1995)/Heat (1995) - 2160p.mkv",
    "Films/Alien (1979)/Alien (1979).mkv",
    "Films/Brazil (1985).mkv",
    "Films/Double Bill/First (2001).mkv",
    "Films/Double Bill/Second (2002).mkv",
    "Shows/Fargo (2014)/Season 01/Fargo S01E01.mkv",
    "Shows/Fargo (2014)/Season 01/Fargo S01E02 - The Rooster.mkv",
    "Shows/Fargo (2014)/Specials/Fargo S00E01.mkv",
    "Shows/Lost/Lost.S02E03.720p.mkv",
];

/// Subtitle files, each with the language, flags and title that a viewer must see.
const DROPPED: [(&str, (&str, &str, &str)); 8] = [
    (
        "Films/Alien (1979)/Alien (1979).ger.forced.srt",
        ("deu", "forced", ""),
    ),
    ("Films/Alien (1979)/Alien (1979).fre.srt", ("fra", "", "")),
    (
        "Films/Alien (1979)/Alien (1979).Ripley's.fre.default.srt",
        ("fra", "default", "Ripley's"),
    ),
    (
        "Films/Alien (1979)/Alien (1979).en.hi.ass",
        ("eng", "sdh", ""),
    ),
    ("Films/Alien (1979)/Alien (1979).hi.vtt", ("hin", "", "")),
    ("Films/Alien (1979)/Alien (1979).srt", ("und", "", "")),
    ("Films/Brazil (1985).pt-BR.srt", ("por", "", "")),
    ("Shows/Lost/Lost.S02E03.720p.ger.srt", ("deu", "", "")),
];

fn seen((language, flags, title): (&str, &str, &str)) -> Subtitle {
    Subtitle {
        language: language.to_owned(),
        title: title.to_owned(),
        flags: flags.to_owned(),
    }
}

/// Returns the subtitles of the film itself, in the order of their names.
fn own() -> Vec<Subtitle> {
    [("eng", "sdh", ""), ("eng", "", ""), ("spa", "forced", "")]
        .map(seen)
        .into()
}

fn sorted(mut list: Vec<Subtitle>) -> Vec<Subtitle> {
    list.sort_by_key(|one| format!("{one:?}"));
    list
}

fn expected(film: &str) -> Vec<Subtitle> {
    let stem = film.strip_suffix(".mkv").unwrap();
    let dropped = DROPPED
        .iter()
        .filter(|(path, _)| path.starts_with(&format!("{stem}.")));
    let mut all = own();
    all.extend(dropped.map(|(_, is)| seen(*is)));
    sorted(all)
}

fn check_versions(root: &Path, item: &Item, versions: &[&str]) {
    let found: Vec<&Path> = item
        .versions
        .iter()
        .map(|(path, _)| path.strip_prefix(root).unwrap())
        .collect();
    assert_eq!(found, versions.iter().map(Path::new).collect::<Vec<_>>());
    for ((_, subtitles), version) in item.versions.iter().zip(versions) {
        assert_eq!(sorted(subtitles.clone()), expected(version), "{version}");
    }
}

fn check_films(root: &Path) {
    let found: BTreeMap<String, Item> = films(&root.join("Films"))
        .into_iter()
        .map(|item| (item.name.clone(), item))
        .collect();
    let names: Vec<&String> = found.keys().collect();
    assert_eq!(
        names,
        [
            "Alien (1979)",
            "Brazil (1985)",
            "First (2001)",
            "Heat (1995)",
            "Second (2002)"
        ]
    );
    check_versions(root, &found["Heat (1995)"], &FILMS[..2]);
    check_versions(root, &found["Alien (1979)"], &FILMS[2..3]);
    check_versions(root, &found["Brazil (1985)"], &FILMS[3..4]);
    check_versions(root, &found["First (2001)"], &FILMS[4..5]);
    check_versions(root, &found["Second (2002)"], &FILMS[5..6]);
}

fn check_shows(root: &Path) {
    let found = shows(&root.join("Shows"));
    let names: Vec<&String> = found.keys().collect();
    assert_eq!(names, ["Fargo (2014)", "Lost"]);
    let fargo = &found["Fargo (2014)"];
    let numbers: Vec<(u32, u32)> = fargo.keys().copied().collect();
    assert_eq!(numbers, [(0, 1), (1, 1), (1, 2)]);
    check_versions(root, &fargo[&(1, 1)], &FILMS[6..7]);
    check_versions(root, &fargo[&(1, 2)], &FILMS[7..8]);
    check_versions(root, &fargo[&(0, 1)], &FILMS[8..9]);
    check_versions(root, &found["Lost"][&(2, 3)], &FILMS[9..]);
}

#[test]
fn media_libraries_see_films_shows_versions_and_subtitles() {
    let scratch = Scratch::new();
    let mut mount = Mount::start(&scratch, &[]);
    let root = mount.mountpoint.clone();
    let source = film(scratch.path());
    for path in FILMS {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::copy(&source, root.join(path)).unwrap();
    }
    let cue = "1\n00:00:00,200 --> 00:00:01,000\nMine\n";
    for (path, _) in DROPPED {
        let text = match path.rsplit_once('.').unwrap().1 {
            "vtt" => format!("WEBVTT\n\n{}", cue.replace(',', ".")),
            "ass" => "[Events]\nFormat: Start, End, Text\nDialogue: 0:00:00.20,0:00:01.00,Mine\n"
                .to_owned(),
            _ => cue.to_owned(),
        };
        fs::write(root.join(path), text).unwrap();
    }
    for path in FILMS.into_iter().chain(DROPPED.map(|(path, _)| path)) {
        let at = format!("/{path}");
        scratch.run(&["status", "--wait", &at]).ok();
    }
    check_films(&root);
    check_shows(&root);

    // With the root as one library, no item has the views. The marker of each kind of library is there.
    assert!(is_left_alone(&root.join(".hls")));
    assert!(
        root.join(".hls/Films/Brazil (1985).mkv/master.m3u8")
            .is_file()
    );
    let all = films(&root);
    assert_eq!(
        all.iter().map(|item| item.versions.len()).sum::<usize>(),
        FILMS.len()
    );

    // A library and a player get the same subtitles.
    for (film, count) in [(FILMS[2], 6), (FILMS[3], 1), (FILMS[9], 1), (FILMS[0], 0)] {
        let master = fs::read_to_string(root.join(".hls").join(film).join("master.m3u8")).unwrap();
        let offered = master
            .lines()
            .filter(|line| line.contains("TYPE=SUBTITLES"))
            .count();
        assert_eq!(offered, 3 + count, "{film}: {master}");
    }

    // A user's file replaces one of ours: there is still one subtitle with that name.
    fs::write(root.join("Films/Brazil (1985).eng.srt"), cue).unwrap();
    check_films(&root);
    // A removed subtitle does not come back.
    fs::remove_file(root.join("Films/Brazil (1985).eng.srt")).unwrap();
    let brazil = films(&root.join("Films"))
        .into_iter()
        .find(|item| item.name == "Brazil (1985)");
    assert_eq!(brazil.unwrap().versions[0].1.len(), 3);

    // The tree of URL files has the same items.
    scratch
        .run(&["strm", "--base-url", "http://tgfs.example:8080", "urls"])
        .ok();
    let urls = scratch.path().join("urls");
    let names = |root: &Path| {
        let mut names: Vec<(String, usize)> = films(root)
            .into_iter()
            .map(|item| (item.name, item.versions.len()))
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&urls.join("Films")), names(&root.join("Films")));
    let numbers = |root: &Path| -> Vec<(String, Vec<(u32, u32)>)> {
        let shows = shows(&root.join("Shows")).into_iter();
        shows
            .map(|(name, show)| (name, show.keys().copied().collect()))
            .collect()
    };
    assert_eq!(numbers(&urls), numbers(&root));

    let told = scratch.run(&["umount", "my films"]).ok();
    assert!(told.contains("unmounted") || !told.is_empty());
    let _ = &mut mount;
}

/// The model gives the known result for each of these names.
#[test]
fn the_model_reads_names_as_the_libraries_do() {
    for (file, expected) in [
        ("Film", ("und", "", "")),
        ("Film.en", ("eng", "", "")),
        ("Film.eng.default", ("eng", "default", "")),
        ("Film.default.eng", ("eng", "default", "")),
        ("Film.foreign.es", ("spa", "forced", "")),
        ("Film.en.cc", ("eng", "sdh", "")),
        ("Film.hi.en", ("eng", "sdh", "")),
        ("Film.en.hi", ("eng", "sdh", "")),
        ("Film.hi", ("hin", "", "")),
        ("Film.Title.en", ("eng", "", "Title")),
    ] {
        assert_eq!(
            media_library::subtitle("Film", file),
            Some(seen(expected)),
            "{file}"
        );
    }
    assert_eq!(media_library::subtitle("Film", "Film 2.en"), None);
}
