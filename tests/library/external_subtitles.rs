//! Subtitle files that a user puts beside a film are in its playlist as long as they lie there.

use tgfs::model::ErrorKind;
use tgfs::remote::RemoteErrorKind;
use tgfs::remote::testing::{Fault, Operation};

use crate::test_library::{ALWAYS, TestLibrary, film};

const MASTER: &str = ".hls/Heat/heat.mkv/master.m3u8";
const FRENCH: &str = "Heat/heat.fre.srt";
/// `Déjà été`, in Latin-1.
const LATIN: &[u8] = b"1\r\n00:00:00,500 --> 00:00:01,250\r\nD\xe9j\xe0 \xe9t\xe9\r\n";

fn cue(text: &str) -> Vec<u8> {
    format!("1\n00:00:00,500 --> 00:00:01,000\n{text}\n").into_bytes()
}

fn with_film() -> TestLibrary {
    let library = TestLibrary::new();
    library.stored("Heat/heat.mkv", &film());
    library
}

fn text(library: &TestLibrary, at: &str) -> String {
    String::from_utf8(library.read(at).unwrap()).unwrap()
}

/// The lines of a film's subtitles in its multivariant playlist.
fn subtitles(library: &TestLibrary, film: &str) -> Vec<String> {
    let master = text(library, &format!(".hls/{film}/master.m3u8"));
    let lines = master
        .lines()
        .filter(|line| line.contains("TYPE=SUBTITLES"));
    lines.map(str::to_owned).collect()
}

/// A quoted or plain attribute of a line.
fn attribute<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!(",{name}=")).unwrap();
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap(),
        None => rest.split(',').next().unwrap(),
    }
}

/// The text that the line's playlist leads to.
fn leads_to(library: &TestLibrary, film: &str, line: &str) -> String {
    let below = |uri: &str| format!(".hls/{film}/{uri}");
    let playlist = text(library, &below(attribute(line, "URI")));
    hls_m3u8::MediaPlaylist::try_from(playlist.as_str()).unwrap();
    let segments: Vec<&str> = playlist.lines().filter(|l| !l.starts_with('#')).collect();
    // The film has one segment, so an empty one ends the playlist.
    assert_eq!(segments.len(), 2, "{playlist}");
    assert!(text(library, &below(segments[1])).starts_with("WEBVTT"));
    let at = below(segments[0]);
    let segment = text(library, &at);
    assert_eq!(segment.len() as u64, library.attr(&at).unwrap().size);
    segment
}

fn etag(library: &TestLibrary, at: &str) -> String {
    let resource = library
        .block_on(library.vfs().open_resource(&crate::test_library::path(at)))
        .unwrap();
    library.vfs().release(resource.handle);
    resource.etag
}

#[test]
fn a_dropped_file_joins_and_leaves_when_it_is_removed() {
    let library = with_film();
    let before = (library.read(MASTER).unwrap(), etag(&library, MASTER));
    let names = library.names(".hls/Heat/heat.mkv");
    library.stored(FRENCH, LATIN);
    let lines = subtitles(&library, "Heat/heat.mkv");
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(attribute(&lines[2], "LANGUAGE"), "fr");
    let segment = leads_to(&library, "Heat/heat.mkv", &lines[2]);
    assert_eq!(
        segment,
        "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n\n00:00:00.500 --> 00:00:01.250\nDéjà été\n\n"
    );
    assert_ne!(etag(&library, MASTER), before.1);
    let transport = text(&library, ".hls/Heat/heat.mkv/ts/master.m3u8");
    let uri = attribute(&lines[2], "URI");
    assert!(
        transport.contains(&format!("URI=\"../{uri}\"")),
        "{transport}"
    );
    // The texts are there directly, and everything that opens is listed.
    assert!(text(&library, ".hls/Heat/heat.mkv/fra.srt").contains("Déjà"));
    let now = library.names(".hls/Heat/heat.mkv");
    let added: Vec<&String> = now.iter().filter(|name| !names.contains(name)).collect();
    let stem = uri.strip_suffix(".m3u8").unwrap();
    assert_eq!(added, ["fra.srt", "fra.vtt", stem, uri]);
    assert_eq!(
        library.names(&format!(".hls/Heat/heat.mkv/{stem}")),
        ["00001.vtt", "end.vtt"]
    );
    // The file itself is what it was, and no sidecar is made of it.
    assert_eq!(library.read(FRENCH).unwrap(), LATIN);
    assert_eq!(
        library.names("Heat"),
        ["heat.eng.srt", "heat.fre.srt", "heat.mkv", "heat.spa.srt"]
    );

    let segment_at = format!(".hls/Heat/heat.mkv/{stem}/00001.vtt");
    library.remove(FRENCH).unwrap();
    assert_eq!(
        (library.read(MASTER).unwrap(), etag(&library, MASTER)),
        before
    );
    assert_eq!(library.names(".hls/Heat/heat.mkv"), names);
    assert_eq!(
        library.read(&segment_at).unwrap_err().kind,
        ErrorKind::NotFound
    );
}

#[test]
fn it_follows_renames_and_replacements_of_either_file() {
    let library = with_film();
    library.stored(FRENCH, LATIN);
    let last = |film: &str| subtitles(&library, film).pop().unwrap();
    let first = last("Heat/heat.mkv");
    // Another language is another name of the same text.
    library.rename(FRENCH, "Heat/heat.pol.forced.srt").unwrap();
    let line = last("Heat/heat.mkv");
    assert_eq!(attribute(&line, "LANGUAGE"), "pl");
    assert_eq!(attribute(&line, "FORCED"), "YES");
    assert_eq!(attribute(&line, "URI"), attribute(&first, "URI"));
    // The film goes and comes.
    library.rename("Heat/heat.mkv", "Heat/h.mkv").unwrap();
    assert_eq!(subtitles(&library, "Heat/h.mkv").len(), 2);
    library
        .rename("Heat/heat.pol.forced.srt", "Heat/h.pol.srt")
        .unwrap();
    assert_eq!(attribute(&last("Heat/h.mkv"), "FORCED"), "NO");
    library.rename("Heat", "Films").unwrap();
    assert!(leads_to(&library, "Films/h.mkv", &last("Films/h.mkv")).contains("Déjà"));
    // Other bytes have another address.
    library.stored("Films/h.pol.srt", &cue("Zażółć"));
    let line = last("Films/h.mkv");
    assert_ne!(attribute(&line, "URI"), attribute(&first, "URI"));
    assert!(leads_to(&library, "Films/h.mkv", &line).contains("Zażółć"));
    // Under a name that is no subtitle's, and back.
    library
        .rename("Films/h.pol.srt", "Films/h.pol.txt")
        .unwrap();
    assert_eq!(subtitles(&library, "Films/h.mkv").len(), 2);
    library
        .rename("Films/h.pol.txt", "Films/h.pol.srt")
        .unwrap();
    library.until("it is back", || {
        subtitles(&library, "Films/h.mkv").len() == 3
    });
}

#[test]
fn flags_come_from_the_name_and_two_of_one_language_stay_apart() {
    let library = with_film();
    for name in ["eng.sdh", "de.default", "Director.de", "ger"] {
        library.stored(&format!("Heat/heat.{name}.srt"), &cue(name));
    }
    library.stored("Heat/heat.srt", &cue("nothing said"));
    let lines = subtitles(&library, "Heat/heat.mkv");
    let of = |text: &str| {
        lines
            .iter()
            .find(|line| {
                line.contains("URI=\"sub-")
                    && !is_own(line)
                    && leads_to(&library, "Heat/heat.mkv", line).contains(text)
            })
            .unwrap_or_else(|| panic!("{text} is not in {lines:?}"))
    };
    let said = |text: &str| {
        let line = of(text);
        let default = attribute(line, "DEFAULT");
        let language = line
            .contains("LANGUAGE=")
            .then(|| attribute(line, "LANGUAGE"));
        (
            language.unwrap_or("und"),
            default == "YES",
            line.contains("CHARACTERISTICS"),
        )
    };
    assert_eq!(said("eng.sdh"), ("en", false, true));
    assert_eq!(said("de.default"), ("de", true, false));
    assert_eq!(said("Director.de"), ("de", false, false));
    assert_eq!(said("\nger\n"), ("de", false, false));
    assert_eq!(said("nothing said"), ("und", false, false));
    let mut names: Vec<&str> = lines.iter().map(|line| attribute(line, "NAME")).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), count), (7, 7), "{lines:?}");
    hls_m3u8::MasterPlaylist::try_from(text(&library, MASTER).as_str()).unwrap();
    // As JSON and commands have it.
    let info = library.info("Heat/heat.mkv");
    let of_user = info.subtitles.iter().filter(|one| one.file.is_some());
    let keys: Vec<&str> = of_user.map(|one| one.key.as_str()).collect();
    assert_eq!(keys, ["deu", "deu.2", "eng.sdh", "deu.3", "und"]);
}

fn is_own(line: &str) -> bool {
    let name = attribute(line, "URI").strip_prefix("sub-").unwrap();
    name.strip_suffix(".m3u8").unwrap().len() < 16
}

#[test]
fn what_is_not_clearly_of_the_film_does_not_join() {
    let library = with_film();
    library.stored("heat.fre.srt", LATIN);
    library.stored("Heat/Subs/heat.fre.srt", LATIN);
    library.stored("Heat/heat2.fre.srt", LATIN);
    library.stored("Heat/notes.srt", LATIN);
    assert_eq!(subtitles(&library, "Heat/heat.mkv").len(), 2);
    // The longer name has the better claim.
    library.stored("Heat/heat.cut.mkv", &film());
    library.stored("Heat/heat.cut.fre.srt", LATIN);
    assert_eq!(subtitles(&library, "Heat/heat.mkv").len(), 2);
    assert_eq!(subtitles(&library, "Heat/heat.cut.mkv").len(), 3);
    // Two films of one name: whose it is cannot be told.
    library.stored(FRENCH, LATIN);
    assert_eq!(subtitles(&library, "Heat/heat.mkv").len(), 3);
    library.copy("Heat/heat.mkv", "Heat/heat.mp4").unwrap();
    assert_eq!(subtitles(&library, "Heat/heat.mkv").len(), 2);
    library.remove("Heat/heat.mp4").unwrap();
    assert_eq!(subtitles(&library, "Heat/heat.mkv").len(), 3);
}

#[test]
fn case_and_normal_form_of_names_do_not_keep_a_file_from_its_film() {
    let library = TestLibrary::new();
    let (joined, apart) = ("\u{dc}n\u{ef}", "u\u{308}NI\u{308}");
    let film_at = format!("{joined}.mkv");
    library.stored(&film_at, &film());
    library.stored(&format!("{apart}.FR.SRT"), LATIN);
    let lines = subtitles(&library, &film_at);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(attribute(&lines[2], "LANGUAGE"), "fr");
    assert!(leads_to(&library, &film_at, &lines[2]).contains("Déjà"));
    // One with the very name goes first.
    library.stored(&format!("{joined}.fr.srt"), &cue("same name"));
    let lines = subtitles(&library, &film_at);
    assert!(leads_to(&library, &film_at, &lines[2]).contains("same name"));
    let info = library.info(&film_at).subtitles.into_iter();
    let keys: Vec<String> = info
        .filter(|one| one.file.is_some())
        .map(|one| one.key)
        .collect();
    assert_eq!(keys, ["fra", "fra.2"]);
    // Between two films whose names read the same, only the very name decides.
    library.copy(&film_at, &format!("{apart}.mp4")).unwrap();
    let lines = subtitles(&library, &film_at);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(leads_to(&library, &film_at, &lines[2]).contains("same name"));
}

#[test]
fn a_sidecar_joins_once_it_is_the_users_and_not_before() {
    let library = with_film();
    assert_eq!(subtitles(&library, "Heat/heat.mkv").len(), 2);
    library.stored("Heat/heat.eng.srt", &cue("my words"));
    let lines = subtitles(&library, "Heat/heat.mkv");
    assert_eq!(lines.len(), 3);
    assert!(leads_to(&library, "Heat/heat.mkv", &lines[2]).contains("my words"));
}

#[test]
fn what_cannot_be_read_is_stored_and_says_why() {
    let library = with_film();
    for (name, bytes, reason) in [
        ("Heat/heat.fre.srt", &b"Dear reader"[..], "not one cue"),
        ("Heat/heat.ger.srt", &[7; 4000], "no text"),
        ("Heat/heat.ita.ass", b"", "empty"),
    ] {
        library.stored(name, bytes);
        let error = library.info(name).error.unwrap();
        assert!(error.contains(reason), "{name}: {error}");
        assert_eq!(library.read(name).unwrap(), bytes);
    }
    assert_eq!(subtitles(&library, "Heat/heat.mkv").len(), 2);
    // Repaired, it joins.
    library.stored("Heat/heat.fre.srt", LATIN);
    assert_eq!(library.info("Heat/heat.fre.srt").error, None);
    assert_eq!(subtitles(&library, "Heat/heat.mkv").len(), 3);
}

#[test]
fn the_store_alone_brings_external_subtitles_back_and_a_look_reads_nothing_of_it() {
    let mut library = with_film();
    library.stored(FRENCH, LATIN);
    library.stored(
        "Heat/heat.ger.default.ass",
        b"[Events]\nFormat: Start, End, Text\nDialogue: 0:00:00.50,0:00:01.00,Stra\xdfe\n",
    );
    library.settled();
    let seen = |library: &TestLibrary| {
        let lines = subtitles(library, "Heat/heat.mkv");
        let texts: Vec<String> = lines[2..]
            .iter()
            .map(|line| leads_to(library, "Heat/heat.mkv", line))
            .collect();
        (lines, texts)
    };
    let before = seen(&library);
    assert!(before.1[1].contains("Straße"), "{before:?}");
    library.stop();
    for directory in ["state", "spool"] {
        library.remove_directory(directory);
    }
    library.start();
    // A look that reads would fail.
    let away = Fault::Fail(RemoteErrorKind::Unavailable);
    library.remote().inject(Operation::Get, &away, ALWAYS);
    let names = library.names(".hls/Heat/heat.mkv");
    for name in &names {
        library.attr(&format!(".hls/Heat/heat.mkv/{name}")).unwrap();
    }
    assert_eq!(subtitles(&library, "Heat/heat.mkv"), before.0);
    assert_eq!(library.info("Heat/heat.mkv").subtitles.len(), 4);
    library.remote().heal();
    assert!(seen(&library) == before);
    // Nothing of them stays when they are removed.
    library.remove(FRENCH).unwrap();
    library.remove("Heat/heat.ger.default.ass").unwrap();
    library.remove("Heat/heat.mkv").unwrap();
    library.settled();
    library.cleanup_until(0);
}
