//! Subtitles beside a film: generated until the user says otherwise.

use tgfs::model::ErrorKind;

use crate::house::{House, film};

const ENG: &str = "Heat/heat.eng.srt";
const SPA: &str = "Heat/heat.spa.srt";

fn with_film() -> House {
    let house = House::new();
    house.stored("Heat/heat.mkv", &film());
    house
}

#[test]
fn sidecars_are_listed_and_read() {
    let house = with_film();
    assert_eq!(
        house.names("Heat"),
        ["heat.eng.srt", "heat.mkv", "heat.spa.srt"]
    );
    let text = String::from_utf8(house.read(ENG).unwrap()).unwrap();
    assert!(text.contains("Hello"), "{text}");
    assert_eq!(text.len() as u64, house.attr(ENG).unwrap().size);
}

/// Picture subtitles of a real file: HLS cannot carry them, but players read the sidecar.
#[test]
fn bitmap_subtitles_are_sidecars_like_the_others() {
    let house = House::new();
    let bytes = std::fs::read(crate::sample::sample("subtitles_pgs.mkv")).unwrap();
    house.stored("Heat/heat.mkv", &bytes);
    let english = "Heat/heat.eng.sup";
    assert_eq!(
        house.names("Heat"),
        ["heat.eng.sup", "heat.fre.sup", "heat.mkv"]
    );
    let sup = house.read(english).unwrap();
    assert!(sup.starts_with(b"PG"), "no PGS");
    assert_eq!(sup.len() as u64, house.attr(english).unwrap().size);
    house.remove(english).unwrap();
    assert_eq!(house.names("Heat"), ["heat.fre.sup", "heat.mkv"]);
    assert_eq!(house.read(english).unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn a_deleted_sidecar_stays_away_also_after_a_recovery() {
    let mut house = with_film();
    house.remove(ENG).unwrap();
    assert_eq!(house.names("Heat"), ["heat.mkv", "heat.spa.srt"]);
    assert_eq!(house.read(ENG).unwrap_err().kind, ErrorKind::NotFound);
    house.settled();
    house.stop();
    house.remove_directory("state");
    house.start();
    assert_eq!(house.names("Heat"), ["heat.mkv", "heat.spa.srt"]);
    // It does not come back under the film's next name either.
    house
        .rename("Heat/heat.mkv", "Heat/Heat (1995).mkv")
        .unwrap();
    assert_eq!(
        house.names("Heat"),
        ["Heat (1995).mkv", "Heat (1995).spa.srt"]
    );
}

#[test]
fn a_sidecar_that_is_written_or_renamed_onto_is_the_users() {
    let mut house = with_film();
    house.write(ENG, b"mine").unwrap();
    house.write("Heat/other.srt", b"mine too").unwrap();
    house.rename("Heat/other.srt", SPA).unwrap();
    assert_eq!(
        house.names("Heat"),
        ["heat.eng.srt", "heat.mkv", "heat.spa.srt"]
    );
    house.restart();
    assert_eq!(house.read(ENG).unwrap(), b"mine");
    assert_eq!(house.read(SPA).unwrap(), b"mine too");
    house.wait_for(ENG, "stored");
    // A deleted sidecar stays away: the generated one does not come back.
    house.remove(ENG).unwrap();
    assert_eq!(house.names("Heat"), ["heat.mkv", "heat.spa.srt"]);
}

#[test]
fn a_part_of_a_sidecar_can_be_changed() {
    let house = with_film();
    let mut text = house.read(ENG).unwrap();
    house.overwrite(ENG, 0, b"9");
    text[0] = b'9';
    assert_eq!(house.read(ENG).unwrap(), text);
}

#[test]
fn sidecars_follow_their_film_and_answers_are_kind_for_a_while() {
    let house = with_film();
    house
        .vfs()
        .make_directories(&crate::house::path("X"), crate::house::USER)
        .unwrap();
    // `mv Heat/* X/` with the names that were listed before.
    house.rename("Heat/heat.mkv", "X/heat.mkv").unwrap();
    house.rename(ENG, "X/heat.eng.srt").unwrap();
    house.rename(SPA, "X/heat.spa.srt").unwrap();
    assert_eq!(
        house.names("X"),
        ["heat.eng.srt", "heat.mkv", "heat.spa.srt"]
    );
    assert!(house.names("Heat").is_empty());
    house.remove_dir("Heat").unwrap();
    // `rm -r X` likewise.
    house.remove("X/heat.mkv").unwrap();
    house.remove("X/heat.eng.srt").unwrap();
    house.remove("X/heat.spa.srt").unwrap();
    house.remove_dir("X").unwrap();
    assert!(house.attr("X").is_err());
}

#[test]
fn a_directory_whose_film_is_gone_is_empty_at_once() {
    let house = with_film();
    assert_eq!(
        house.remove_dir("Heat").unwrap_err().kind,
        ErrorKind::NotEmpty
    );
    house.remove("Heat/heat.mkv").unwrap();
    house.remove_dir("Heat").unwrap();
}

#[test]
fn a_sidecar_cannot_be_moved_away_only_copied() {
    let house = with_film();
    let refused = house.rename(ENG, "elsewhere.srt").unwrap_err();
    assert_eq!(refused.kind, ErrorKind::CannotMove);
}
