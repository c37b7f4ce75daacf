//! A film and the files beside it belong together however their names are written.

use std::fs;

use crate::client::get;
use crate::daemon::Daemon;
use crate::film;

#[test]
fn a_subtitle_from_a_mac_joins_a_film_from_linux() {
    let daemon = Daemon::mounted();
    let source = daemon.directory().join("film.mkv");
    film::make(&source);
    let inside = |name: &str| daemon.mountpoint().join(name);
    let (joined, apart) = ("\u{dc}n\u{ef}", "U\u{308}ni\u{308}");
    for (film, subtitles) in [("film", "Film.de"), (joined, apart)] {
        fs::copy(&source, inside(&format!("{film}.MKV"))).unwrap();
        let text = "1\n00:00:01,000 --> 00:00:02,000\nGuten Tag\n";
        fs::write(inside(&format!("{subtitles}.srt")), text).unwrap();
        daemon.run(&["status", "--wait", &format!("/{film}.MKV")]);
        daemon.run(&["status", "--wait", &format!("/{subtitles}.srt")]);
        let listed = daemon.run(&["list", "--json", &format!("/{film}.MKV")]);
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let id = listed[0]["id"].as_str().unwrap();
        let all = get(&daemon, &format!("/subtitles/{id}")).text();
        let all: Vec<serde_json::Value> = serde_json::from_str(&all).unwrap();
        let file = format!("{subtitles}.srt");
        let ours = all.iter().find(|one| one["file"] == file.as_str());
        let key = ours.unwrap_or_else(|| panic!("{file} is not in {all:?}"))["key"].as_str();
        let text = get(&daemon, &format!("/subtitle/{id}/{}.srt", key.unwrap())).text();
        assert!(text.contains("Guten Tag"), "{text}");
        let playlist = get(&daemon, &format!("/playlist/local/{id}.m3u8")).text();
        assert_eq!(playlist.matches("TYPE=SUBTITLES").count(), 3, "{playlist}");
    }
    // The slug is one, however it is typed.
    for slug in ["%C3%BCn%C3%AF", "u%CC%88ni%CC%88", "U%CC%88NI%CC%88"] {
        let reply = get(&daemon, &format!("/playlist/local/{slug}.m3u8"));
        assert_eq!(reply.status, 200, "{slug}");
    }
}
