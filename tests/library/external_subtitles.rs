//! Subtitle files that a user puts beside a film are in its playlist as long as they lie there.

use tgfs::model::ErrorKind;
use tgfs::remote::RemoteErrorKind;
use tgfs::remote::testing::{Fault, Operation};

use crate::house::{ALWAYS, House, film};

const MASTER: &str = ".hls/Heat/heat.mkv/master.m3u8";
const FRENCH: &str = "Heat/heat.fre.srt";
/// `Déjà été`, in Latin-1.
const LATIN: &[u8] = b"1\r\n00:00:00,500 --> 00:00:01,250\r\nD\xe9j\xe0 \xe9t\xe9\r\n";

fn cue(text: &str) -> Vec<u8> {
    format!("1\n00:00:00,500 --> 00:00:01,000\n{text}\n").into_bytes()
}

fn with_film() -> House {
    let house = House::new();
    house.stored("Heat/heat.mkv", &film());
    house
}

fn text(house: &House, at: &str) -> String {
    String::from_utf8(house.read(at).unwrap()).unwrap()
}

/// The lines of a film's subtitles in its multivariant playlist.
fn subtitles(house: &House, film: &str) -> Vec<String> {
    let master = text(house, &format!(".hls/{film}/master.m3u8"));
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
fn leads_to(house: &House, film: &str, line: &str) -> String {
    let below = |uri: &str| format!(".hls/{film}/{uri}");
    let playlist = text(house, &below(attribute(line, "URI")));
    hls_m3u8::MediaPlaylist::try_from(playlist.as_str()).unwrap();
    let segments: Vec<&str> = playlist.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(segments.len(), 1, "{playlist}");
    let at = below(segments[0]);
    let segment = text(house, &at);
    assert_eq!(segment.len() as u64, house.attr(&at).unwrap().size);
    segment
}

fn etag(house: &House, at: &str) -> String {
    let resource = house
        .block_on(house.vfs().open_resource(&crate::house::path(at)))
        .unwrap();
    house.vfs().release(resource.handle);
    resource.etag
}

#[test]
fn a_dropped_file_joins_and_leaves_when_it_is_removed() {
    let house = with_film();
    let before = (house.read(MASTER).unwrap(), etag(&house, MASTER));
    let names = house.names(".hls/Heat/heat.mkv");
    house.stored(FRENCH, LATIN);
    let lines = subtitles(&house, "Heat/heat.mkv");
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(attribute(&lines[2], "LANGUAGE"), "fr");
    let segment = leads_to(&house, "Heat/heat.mkv", &lines[2]);
    assert_eq!(
        segment,
        "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n\n00:00:00.500 --> 00:00:01.250\nDéjà été\n\n"
    );
    assert_ne!(etag(&house, MASTER), before.1);
    let transport = text(&house, ".hls/Heat/heat.mkv/ts/master.m3u8");
    let uri = attribute(&lines[2], "URI");
    assert!(
        transport.contains(&format!("URI=\"../{uri}\"")),
        "{transport}"
    );
    // The texts are there directly, and everything that opens is listed.
    assert!(text(&house, ".hls/Heat/heat.mkv/fra.srt").contains("Déjà"));
    let now = house.names(".hls/Heat/heat.mkv");
    let added: Vec<&String> = now.iter().filter(|name| !names.contains(name)).collect();
    let stem = uri.strip_suffix(".m3u8").unwrap();
    assert_eq!(added, ["fra.srt", "fra.vtt", stem, uri]);
    assert_eq!(
        house.names(&format!(".hls/Heat/heat.mkv/{stem}")),
        ["00001.vtt"]
    );
    // The file itself is what it was, and no sidecar is made of it.
    assert_eq!(house.read(FRENCH).unwrap(), LATIN);
    assert_eq!(
        house.names("Heat"),
        ["heat.eng.srt", "heat.fre.srt", "heat.mkv", "heat.spa.srt"]
    );

    let segment_at = format!(".hls/Heat/heat.mkv/{stem}/00001.vtt");
    house.remove(FRENCH).unwrap();
    assert_eq!((house.read(MASTER).unwrap(), etag(&house, MASTER)), before);
    assert_eq!(house.names(".hls/Heat/heat.mkv"), names);
    assert_eq!(
        house.read(&segment_at).unwrap_err().kind,
        ErrorKind::NotFound
    );
}

#[test]
fn it_follows_renames_and_replacements_of_either_file() {
    let house = with_film();
    house.stored(FRENCH, LATIN);
    let last = |film: &str| subtitles(&house, film).pop().unwrap();
    let first = last("Heat/heat.mkv");
    // Another language is another name of the same text.
    house.rename(FRENCH, "Heat/heat.pol.forced.srt").unwrap();
    let line = last("Heat/heat.mkv");
    assert_eq!(attribute(&line, "LANGUAGE"), "pl");
    assert_eq!(attribute(&line, "FORCED"), "YES");
    assert_eq!(attribute(&line, "URI"), attribute(&first, "URI"));
    // The film goes and comes.
    house.rename("Heat/heat.mkv", "Heat/h.mkv").unwrap();
    assert_eq!(subtitles(&house, "Heat/h.mkv").len(), 2);
    house
        .rename("Heat/heat.pol.forced.srt", "Heat/h.pol.srt")
        .unwrap();
    assert_eq!(attribute(&last("Heat/h.mkv"), "FORCED"), "NO");
    house.rename("Heat", "Films").unwrap();
    assert!(leads_to(&house, "Films/h.mkv", &last("Films/h.mkv")).contains("Déjà"));
    // Other bytes have another address.
    house.stored("Films/h.pol.srt", &cue("Zażółć"));
    let line = last("Films/h.mkv");
    assert_ne!(attribute(&line, "URI"), attribute(&first, "URI"));
    assert!(leads_to(&house, "Films/h.mkv", &line).contains("Zażółć"));
    // Under a name that is no subtitle's, and back.
    house.rename("Films/h.pol.srt", "Films/h.pol.txt").unwrap();
    assert_eq!(subtitles(&house, "Films/h.mkv").len(), 2);
    house.rename("Films/h.pol.txt", "Films/h.pol.srt").unwrap();
    house.until("it is back", || subtitles(&house, "Films/h.mkv").len() == 3);
}

#[test]
fn flags_come_from_the_name_and_two_of_one_language_stay_apart() {
    let house = with_film();
    for name in ["eng.sdh", "de.default", "Director.de", "ger"] {
        house.stored(&format!("Heat/heat.{name}.srt"), &cue(name));
    }
    house.stored("Heat/heat.srt", &cue("nothing said"));
    let lines = subtitles(&house, "Heat/heat.mkv");
    let of = |text: &str| {
        lines
            .iter()
            .find(|line| {
                line.contains("URI=\"sub-")
                    && !is_own(line)
                    && leads_to(&house, "Heat/heat.mkv", line).contains(text)
            })
            .unwrap_or_else(|| panic!("{text} is not in {lines:?}"))
    };
    let said = |text: &str| {
        let line = of(text);
        let default = attribute(line, "DEFAULT");
        (
            attribute(line, "LANGUAGE"),
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
    hls_m3u8::MasterPlaylist::try_from(text(&house, MASTER).as_str()).unwrap();
    // As JSON and commands have it.
    let info = house.info("Heat/heat.mkv");
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
    let house = with_film();
    house.stored("heat.fre.srt", LATIN);
    house.stored("Heat/Subs/heat.fre.srt", LATIN);
    house.stored("Heat/heat2.fre.srt", LATIN);
    house.stored("Heat/notes.srt", LATIN);
    assert_eq!(subtitles(&house, "Heat/heat.mkv").len(), 2);
    // The longer name has the better claim.
    house.stored("Heat/heat.cut.mkv", &film());
    house.stored("Heat/heat.cut.fre.srt", LATIN);
    assert_eq!(subtitles(&house, "Heat/heat.mkv").len(), 2);
    assert_eq!(subtitles(&house, "Heat/heat.cut.mkv").len(), 3);
    // Two films of one name: whose it is cannot be told.
    house.stored(FRENCH, LATIN);
    assert_eq!(subtitles(&house, "Heat/heat.mkv").len(), 3);
    house.copy("Heat/heat.mkv", "Heat/heat.mp4").unwrap();
    assert_eq!(subtitles(&house, "Heat/heat.mkv").len(), 2);
    house.remove("Heat/heat.mp4").unwrap();
    assert_eq!(subtitles(&house, "Heat/heat.mkv").len(), 3);
}

#[test]
fn a_sidecar_joins_once_it_is_the_users_and_not_before() {
    let house = with_film();
    assert_eq!(subtitles(&house, "Heat/heat.mkv").len(), 2);
    house.stored("Heat/heat.eng.srt", &cue("my words"));
    let lines = subtitles(&house, "Heat/heat.mkv");
    assert_eq!(lines.len(), 3);
    assert!(leads_to(&house, "Heat/heat.mkv", &lines[2]).contains("my words"));
}

#[test]
fn what_cannot_be_read_is_stored_and_says_why() {
    let house = with_film();
    for (name, bytes, reason) in [
        ("Heat/heat.fre.srt", &b"Dear reader"[..], "not one cue"),
        ("Heat/heat.ger.srt", &[7; 4000], "no text"),
        ("Heat/heat.ita.ass", b"", "empty"),
    ] {
        house.stored(name, bytes);
        let error = house.info(name).error.unwrap();
        assert!(error.contains(reason), "{name}: {error}");
        assert_eq!(house.read(name).unwrap(), bytes);
    }
    assert_eq!(subtitles(&house, "Heat/heat.mkv").len(), 2);
    // Repaired, it joins.
    house.stored("Heat/heat.fre.srt", LATIN);
    assert_eq!(house.info("Heat/heat.fre.srt").error, None);
    assert_eq!(subtitles(&house, "Heat/heat.mkv").len(), 3);
}

#[test]
fn the_store_alone_brings_external_subtitles_back_and_a_look_reads_nothing_of_it() {
    let mut house = with_film();
    house.stored(FRENCH, LATIN);
    house.stored(
        "Heat/heat.ger.default.ass",
        b"[Events]\nFormat: Start, End, Text\nDialogue: 0:00:00.50,0:00:01.00,Stra\xdfe\n",
    );
    house.settled();
    let seen = |house: &House| {
        let lines = subtitles(house, "Heat/heat.mkv");
        let texts: Vec<String> = lines[2..]
            .iter()
            .map(|line| leads_to(house, "Heat/heat.mkv", line))
            .collect();
        (lines, texts)
    };
    let before = seen(&house);
    assert!(before.1[1].contains("Straße"), "{before:?}");
    house.stop();
    for directory in ["state", "spool"] {
        house.remove_directory(directory);
    }
    house.start();
    // A look that reads would fail.
    let away = Fault::Fail(RemoteErrorKind::Unavailable);
    house.remote().inject(Operation::Get, &away, ALWAYS);
    let names = house.names(".hls/Heat/heat.mkv");
    for name in &names {
        house.attr(&format!(".hls/Heat/heat.mkv/{name}")).unwrap();
    }
    assert_eq!(subtitles(&house, "Heat/heat.mkv"), before.0);
    assert_eq!(house.info("Heat/heat.mkv").subtitles.len(), 4);
    house.remote().heal();
    assert!(seen(&house) == before);
    // Nothing of them stays when they are removed.
    house.remove(FRENCH).unwrap();
    house.remove("Heat/heat.ger.default.ass").unwrap();
    house.remove("Heat/heat.mkv").unwrap();
    house.settled();
    house.cleanup_until(0);
}
