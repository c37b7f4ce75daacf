//! Sound against pictures where they play: in Chromium with three players and in Firefox, at the start and behind
//! seeks.
//!
//! The pictures show their own time as 16 bars, one for each bit of the milliseconds. The sound has a burst in
//! the middle of each second, whose pitch counts the seconds. `tests/browser/synchrony.mjs` reads both.

use std::path::Path;

use serde_json::{Value, json};

use crate::client;
use crate::daemon::Daemon;
use crate::players::Browser;
use crate::sources;

/// Longest time by which sound and picture may differ, in seconds: one frame of AAC at 44.1 kHz.
const SOUND_FRAME: f64 = 1024.0 / 44_100.0;
/// Measurements of a film before a difference counts. A busy machine shows a picture late now and then; a difference of
/// the film's is there each time.
const MEASUREMENTS: usize = 3;
/// Time of the bars, and the tail of all films.
const BARS: &str = "format=gray,geq=lum='if(mod(floor(round(T*1000)/pow(2\\,floor(X/2)))\\,2)\\,235\\,16)',scale=320:180:flags=neighbor,format=yuv420p";
const BURSTS: &str = "aevalsrc=if(lt(abs(mod(t\\,1)-0.54)\\,0.04)\\,0.6*sin(2*PI*(400+100*floor(t))*t)):s=48000:d=40";
const CODED: &str =
    "-c:v libx264 -preset superfast -qp 18 -g 50 -keyint_min 50 -sc_threshold 0 -bf 2 -c:a aac";

/// Names of the films and how ffmpeg makes them. `$BARS`, `$BURSTS` and `$CODED` stand for the constants.
const FILMS: [(&str, &str); 7] = [
    (
        "reordered.mkv",
        "-f lavfi -i color=s=32x16:r=25:d=40,$BARS -f lavfi -i $BURSTS $CODED -t 14",
    ),
    (
        "late-sound.mkv",
        "-f lavfi -i color=s=32x16:r=25:d=40,$BARS -itsoffset 1.5 -f lavfi -i $BURSTS,atrim=start=1.5 $CODED -t 14",
    ),
    (
        "later-sound.mkv",
        "-f lavfi -i color=s=32x16:r=25:d=40,$BARS -itsoffset 25 -f lavfi -i $BURSTS,atrim=start=25 $CODED -t 36",
    ),
    (
        "late-picture.mkv",
        "-itsoffset 25 -f lavfi -i color=s=32x16:r=25:d=40,$BARS,trim=start=25 -f lavfi -i $BURSTS $CODED -t 36 -vsync 0",
    ),
    ("at-ten.mkv", "-itsoffset 10 -i reordered.mkv -c copy"),
    ("edited.mp4", "-ss 1.3 -i reordered.mkv -c copy"),
    (
        "variable.mp4",
        "-f lavfi -i color=s=32x16:r=60:d=14,select=not(mod(n\\,1+mod(floor(t/3)\\,4))),$BARS -f lavfi -i $BURSTS -vsync vfr $CODED -t 14",
    ),
];

fn make(place: &Path, (name, arguments): (&str, &str)) {
    let words = [("$BARS", BARS), ("$BURSTS", BURSTS), ("$CODED", CODED)];
    let line = words
        .iter()
        .fold(arguments.to_owned(), |line, (word, meaning)| {
            line.replace(word, meaning)
        });
    sources::ffmpeg(place, &line, name);
}

/// Returns what the browser measured of all films.
fn measure(browser: Browser, daemon: &Daemon, listed: &[Value]) -> Value {
    let films: Vec<Value> = listed
        .iter()
        .map(|film| {
            let (path, id) = (film["path"].as_str().unwrap(), film["id"].as_str().unwrap());
            let url = format!("http://{}/playlist/local/{id}.m3u8", daemon.address());
            json!({ "name": path.trim_start_matches('/'), "url": url })
        })
        .collect();
    let page = format!("http://{}/", daemon.address());
    browser.run("synchrony.mjs", &page, &films)
}

/// Returns the differences in `pairs` of a time on the media's line and the time that the content tells.
fn offsets(pairs: &Value) -> Vec<f64> {
    let pairs = pairs.as_array().unwrap().iter();
    pairs
        .map(|pair| pair[0].as_f64().unwrap() - pair[1].as_f64().unwrap())
        .collect()
}

/// Returns what is wrong with the measurements of one film in one player.
fn problems(of: &str, found: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(error) = found["error"].as_str() {
        return vec![format!("{of}: {error}")];
    }
    let sounds = offsets(&found["bursts"]);
    if sounds.len() < 3 {
        problems.push(format!("{of}: {} bursts", sounds.len()));
    }
    for (number, place) in found["places"].as_array().unwrap().iter().enumerate() {
        // The first picture of this film waits for its time.
        let is_held =
            |pair: &&Value| of.starts_with("late-picture") && pair[0].as_f64().unwrap() < 24.9;
        let shown = place.as_array().unwrap().iter();
        let shown: Vec<Value> = shown.filter(|pair| !is_held(pair)).cloned().collect();
        // On a busy machine the next frame may be on the screen already when one is read.
        let mut shown = offsets(&Value::Array(shown));
        shown.sort_by(f64::total_cmp);
        let Some(picture) = shown.get(shown.len() / 2) else {
            continue;
        };
        let far = |sound: &&f64| (**sound - picture).abs() > SOUND_FRAME;
        if let Some(sound) = sounds.iter().find(far) {
            problems.push(format!(
                "{of}: at place {number} the picture is {picture:.3} s off, the sound {sound:.3} s"
            ));
        }
    }
    let first = found["places"][0][0][0].as_f64().unwrap_or(f64::MAX);
    if first > 0.2 {
        problems.push(format!("{of}: the first picture is at {first} s"));
    }
    problems
}

/// Returns what is wrong in all players of a browser, also when it is measured again.
fn problems_in(browser: Browser, daemon: &Daemon, listed: &[Value]) -> Vec<String> {
    let mut films = listed.to_vec();
    let mut all = Vec::new();
    for _ in 0..MEASUREMENTS {
        let found = measure(browser, daemon, &films);
        all.clear();
        films.retain(|film| {
            let name = film["path"].as_str().unwrap().trim_start_matches('/');
            let mut wrong = Vec::new();
            for (player, _) in browser.players() {
                let of = format!("{name}, {player} in {browser:?}");
                wrong.extend(problems(&of, &found[name][player]));
            }
            if !wrong.is_empty() {
                eprintln!("{}: {}", wrong.join("; "), found[name]);
            }
            let is_wrong = !wrong.is_empty();
            all.extend(wrong);
            is_wrong
        });
        if films.is_empty() {
            break;
        }
    }
    all
}

#[test]
fn sound_and_pictures_agree_in_browsers() {
    let daemon = Daemon::start();
    let place = daemon.directory().to_owned();
    let mut arguments = vec!["upload".to_owned(), "--to".to_owned(), "/".to_owned()];
    for film in FILMS {
        make(&place, film);
        arguments.push(place.join(film.0).display().to_string());
    }
    daemon.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let listed: Value = serde_json::from_str(&daemon.run(&["list", "--json", "/"])).unwrap();
    let listed = listed.as_array().unwrap();
    let mut all = problems_in(Browser::Chromium, &daemon, listed);
    all.extend(problems_in(Browser::Firefox, &daemon, listed));
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// The playlists say how long the film is, also before its picture begins.
#[test]
fn a_film_whose_picture_comes_late_is_as_long_as_its_sound() {
    let daemon = Daemon::start();
    let place = daemon.directory();
    make(place, FILMS[3]);
    let file = place.join(FILMS[3].0);
    daemon.run(&["upload", "--to", "/", file.to_str().unwrap()]);
    let listed: Value = serde_json::from_str(&daemon.run(&["list", "--json", "/"])).unwrap();
    let id = listed[0]["id"].as_str().unwrap();
    for track in ["video", "audio-1"] {
        let text = client::get(&daemon, &format!("/playlist/local/{id}/{track}.m3u8")).text();
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("#EXTINF:"));
        let durations: Vec<f64> = lines
            .map(|line| line.trim_end_matches(',').parse().unwrap())
            .collect();
        let sum: f64 = durations.iter().sum();
        assert!((sum - 36.0).abs() < 0.2, "{track} lasts {sum} s: {text}");
        assert!(durations.iter().all(|one| *one < 8.0), "{track}: {text}");
    }
}
