//! The table of sources and players in docs/MEDIA.md. Each cell is the result of a player in this run, and each film
//! is compared with its HLS views.
//!
//! `UPDATE_DOCS=1 cargo test --test play the_table` rewrites the table.

use std::path::Path;

use crate::daemon::Daemon;
use crate::faithful;
use crate::film_on_air::Film;
use crate::kodi::Kodi;
use crate::players::{self, Browser};
use crate::reasons;
use crate::sources::{self, Says, Source};

const BEGIN: &str = "<!-- players: written by tests/play/table.rs -->\n";
const END: &str = "<!-- /players -->";
const HEAD: [&str; 16] = [
    "source",
    "ffmpeg 5.1, MP4",
    "ffmpeg 5.1, TS",
    "ffmpeg 8, MP4",
    "mpv, MP4",
    "mpv, TS",
    "VLC, MP4",
    "VLC, TS",
    "GStreamer",
    "hls.js",
    "Shaka",
    "video.js",
    "hls.js, Firefox",
    "Kodi, file",
    "Kodi, MP4",
    "Kodi, TS",
];

/// Copies all films into the daemon.
fn put_on_air(daemon: &Daemon) -> Vec<Film> {
    let directory = daemon.directory().join("films");
    std::fs::create_dir(&directory).unwrap();
    let files: Vec<_> = sources::all()
        .map(|source| sources::film(source, &directory))
        .collect();
    let mut arguments = vec!["upload", "--to", "/"];
    arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
    daemon.run(&arguments);
    let listed = daemon.run(&["list", "--json", "/"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let listed = listed.as_array().unwrap();
    let film = |(source, file): (&Source, &std::path::PathBuf)| {
        let path = format!("/{}", source.name);
        let listed = listed.iter().find(|film| film["path"] == path).unwrap();
        Film::new(daemon, listed, source, file)
    };
    sources::all().zip(&files).map(film).collect()
}

/// Returns deviations from what `source` promises.
fn check_words(source: &Source, film: &Film) -> Vec<String> {
    let error = film.error.as_deref().unwrap_or_default();
    let holds = match source.says {
        Says::Nothing => error.is_empty(),
        Says::Has(words) => error.is_empty() && words.iter().all(|word| film.master.contains(word)),
        Says::Lacks(word) => error.is_empty() && !film.master.contains(word),
        Says::Notes(note) => film.has_views && error == note,
        Says::Damaged(note) => film.has_views && note.is_none_or(|note| error.contains(note)),
        Says::NoViews(reason) => !film.has_views && error.contains(reason),
    };
    match holds {
        true => Vec::new(),
        false => vec![format!("{}: {error:?} {}", film.name, film.master)],
    }
}

/// Returns the cells of all players that need no browser, except VLC's.
fn cells(film: &Film) -> [String; 6] {
    let in_transport = |plays: fn(&Film, &str) -> String| match &film.transport {
        Some(url) => plays(film, url),
        None => players::cell(false, "not in MPEG-TS"),
    };
    [
        players::ffmpeg_5(film),
        in_transport(|film, url| players::ffmpeg_5_transport(film, url, film.middle())),
        players::ffmpeg_8(film, film.middle()),
        players::mpv_plain(film),
        in_transport(players::mpv_transport),
        players::gstreamer(film),
    ]
}

fn cells_of_vlc(film: &Film) -> [String; 2] {
    let transport = film.transport.as_ref().map(|url| players::vlc(film, url));
    let otherwise = || players::cell(false, "not in MPEG-TS");
    [
        players::vlc(film, &film.url),
        transport.unwrap_or_else(otherwise),
    ]
}

fn cells_of_kodi(films: &[Film], daemon: &Daemon) -> Vec<[String; 3]> {
    let mut kodi = Kodi::start();
    films.iter().map(|film| kodi.cells(film, daemon)).collect()
}

fn table(films: &[Film], daemon: &Daemon) -> String {
    let page = format!("http://{}/", daemon.address());
    let shown: Vec<&Film> = films.iter().filter(|film| film.has_views).collect();
    let (chromium, firefox, vlc, kodi, others) = std::thread::scope(|scope| {
        // Players in real time run beside one that uses all the CPU it gets.
        let browsers = scope.spawn(|| {
            let chromium = players::in_browser(Browser::Chromium, &page, films);
            (
                chromium,
                players::in_browser(Browser::Firefox, &page, films),
            )
        });
        let vlc = scope.spawn(|| {
            let cells = shown.iter().map(|film| cells_of_vlc(film));
            cells.collect::<Vec<_>>()
        });
        let kodi = scope.spawn(|| cells_of_kodi(films, daemon));
        let others: Vec<_> = shown.iter().map(|film| cells(film)).collect();
        let ((chromium, firefox), vlc) = (browsers.join().unwrap(), vlc.join().unwrap());
        (chromium, firefox, vlc, kodi.join().unwrap(), others)
    });
    let row = |cells: &[&str]| format!("| {} |\n", cells.join(" | "));
    let mut text = row(&HEAD) + &row(&["---"; HEAD.len()]);
    let mut rows = vlc.iter().zip(&others);
    for ((source, film), kodi) in sources::all().zip(films).zip(&kodi) {
        let kodi = kodi.each_ref().map(String::as_str);
        if !film.has_views {
            let why = format!("no: {}", film.error.as_deref().unwrap_or_default());
            let others = vec![why.as_str(); HEAD.len() - 1 - kodi.len()];
            text += &row(&[&[source.what][..], &others, &kodi].concat());
            continue;
        }
        let (vlc, [ffmpeg, ffmpeg_ts, ffmpeg_8, mpv, mpv_ts, gstreamer]) = rows.next().unwrap();
        let browsers = [&chromium, &firefox].into_iter();
        let browsers = browsers.flat_map(|browser| browser[&film.name].iter().map(String::as_str));
        let before = [
            source.what,
            ffmpeg,
            ffmpeg_ts,
            ffmpeg_8,
            mpv,
            mpv_ts,
            &vlc[0],
            &vlc[1],
            gstreamer,
        ];
        let cells: Vec<&str> = before.into_iter().chain(browsers).chain(kodi).collect();
        text += &row(&cells);
    }
    text
}

/// Compares each film with its views, two films at a time.
fn unfaithful(daemon: &Daemon, films: &[Film]) -> Vec<String> {
    let compare = |films: &[Film]| -> Vec<String> {
        let problems = films.iter().map(|film| faithful::problems(daemon, film));
        problems.flatten().collect()
    };
    let (one, other) = films.split_at(films.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| compare(other));
        let mut problems = compare(one);
        problems.extend(other.join().unwrap());
        problems
    })
}

#[test]
fn the_table_of_players_is_what_they_do() {
    let daemon = Daemon::mounted();
    let films = put_on_air(&daemon);
    let pairs = sources::all().zip(&films);
    let mut problems: Vec<String> = pairs
        .flat_map(|(source, film)| check_words(source, film))
        .collect();
    problems.extend(unfaithful(&daemon, &films));
    let found = table(&films, &daemon);
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/MEDIA.md");
    let text = std::fs::read_to_string(&document).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the table begins");
    let (written, after) = rest.split_once(END).expect("the table ends");
    // What tgfs says of a film without views is a reason itself.
    let without = films.iter().filter(|film| !film.has_views);
    let own: Vec<&str> = without.filter_map(|film| film.error.as_deref()).collect();
    problems.extend(reasons::problems(&text, &found, &own));
    let updates = std::env::var_os("UPDATE_DOCS").is_some();
    if updates {
        std::fs::write(&document, [before, BEGIN, &found, END, after].concat()).unwrap();
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    if updates {
        return;
    }
    let differs: Vec<&str> = found
        .lines()
        .filter(|row| !written.lines().any(|line| line == *row))
        .collect();
    assert!(
        written == found,
        "docs/MEDIA.md says otherwise; UPDATE_DOCS=1 writes what was found:\n{}",
        differs.join("\n")
    );
}
