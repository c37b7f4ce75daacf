//! Subtitles beside a film: generated until the user says otherwise.

use tgfs::model::ErrorKind;

use crate::test_library::{TestLibrary, film};

const ENG: &str = "Heat/heat.eng.srt";
const SPA: &str = "Heat/heat.spa.srt";

fn with_film() -> TestLibrary {
    let library = TestLibrary::new();
    library.stored("Heat/heat.mkv", &film());
    library
}

#[test]
fn sidecars_are_listed_and_read() {
    let library = with_film();
    assert_eq!(
        library.names("Heat"),
        ["heat.eng.srt", "heat.mkv", "heat.spa.srt"]
    );
    let text = String::from_utf8(library.read(ENG).unwrap()).unwrap();
    assert!(text.contains("Hello"), "{text}");
    assert_eq!(text.len() as u64, library.attr(ENG).unwrap().size);
}

/// Picture subtitles of a real file: HLS cannot carry them, but players read the sidecar.
#[test]
fn bitmap_subtitles_are_sidecars_like_the_others() {
    let library = TestLibrary::new();
    let bytes = std::fs::read(crate::sample::sample("subtitles_pgs.mkv")).unwrap();
    library.stored("Heat/heat.mkv", &bytes);
    let english = "Heat/heat.eng.sup";
    assert_eq!(
        library.names("Heat"),
        ["heat.eng.sup", "heat.fre.sup", "heat.mkv"]
    );
    let sup = library.read(english).unwrap();
    assert!(sup.starts_with(b"PG"), "no PGS");
    assert_eq!(sup.len() as u64, library.attr(english).unwrap().size);
    library.remove(english).unwrap();
    assert_eq!(library.names("Heat"), ["heat.fre.sup", "heat.mkv"]);
    assert_eq!(library.read(english).unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn a_deleted_sidecar_stays_away_also_after_a_recovery() {
    let mut library = with_film();
    library.remove(ENG).unwrap();
    assert_eq!(library.names("Heat"), ["heat.mkv", "heat.spa.srt"]);
    assert_eq!(library.read(ENG).unwrap_err().kind, ErrorKind::NotFound);
    library.settled();
    library.stop();
    library.remove_directory("state");
    library.start();
    assert_eq!(library.names("Heat"), ["heat.mkv", "heat.spa.srt"]);
    // It does not come back under the film's next name either.
    library
        .rename("Heat/heat.mkv", "Heat/Heat (1995).mkv")
        .unwrap();
    assert_eq!(
        library.names("Heat"),
        ["Heat (1995).mkv", "Heat (1995).spa.srt"]
    );
}

#[test]
fn a_sidecar_that_is_written_or_renamed_onto_is_the_users() {
    let mut library = with_film();
    library.write(ENG, b"mine").unwrap();
    library.write("Heat/other.srt", b"mine too").unwrap();
    library.rename("Heat/other.srt", SPA).unwrap();
    assert_eq!(
        library.names("Heat"),
        ["heat.eng.srt", "heat.mkv", "heat.spa.srt"]
    );
    library.restart();
    assert_eq!(library.read(ENG).unwrap(), b"mine");
    assert_eq!(library.read(SPA).unwrap(), b"mine too");
    library.wait_for(ENG, "stored");
    // A deleted sidecar stays away: the generated one does not come back.
    library.remove(ENG).unwrap();
    assert_eq!(library.names("Heat"), ["heat.mkv", "heat.spa.srt"]);
}

#[test]
fn a_part_of_a_sidecar_can_be_changed() {
    let library = with_film();
    let mut text = library.read(ENG).unwrap();
    library.overwrite(ENG, 0, b"9");
    text[0] = b'9';
    assert_eq!(library.read(ENG).unwrap(), text);
}

#[test]
fn sidecars_follow_their_film_and_answers_are_kind_for_a_while() {
    let library = with_film();
    library
        .vfs()
        .make_directories(&crate::test_library::path("X"), crate::test_library::USER)
        .unwrap();
    // `mv Heat/* X/` with the names that were listed before.
    library.rename("Heat/heat.mkv", "X/heat.mkv").unwrap();
    library.rename(ENG, "X/heat.eng.srt").unwrap();
    library.rename(SPA, "X/heat.spa.srt").unwrap();
    assert_eq!(
        library.names("X"),
        ["heat.eng.srt", "heat.mkv", "heat.spa.srt"]
    );
    assert!(library.names("Heat").is_empty());
    library.remove_dir("Heat").unwrap();
    // `rm -r X` likewise.
    library.remove("X/heat.mkv").unwrap();
    library.remove("X/heat.eng.srt").unwrap();
    library.remove("X/heat.spa.srt").unwrap();
    library.remove_dir("X").unwrap();
    assert!(library.attr("X").is_err());
}

#[test]
fn a_directory_whose_film_is_gone_is_empty_at_once() {
    let library = with_film();
    assert_eq!(
        library.remove_dir("Heat").unwrap_err().kind,
        ErrorKind::NotEmpty
    );
    library.remove("Heat/heat.mkv").unwrap();
    library.remove_dir("Heat").unwrap();
}

#[test]
fn a_sidecar_cannot_be_moved_away_only_copied() {
    let library = with_film();
    let refused = library.rename(ENG, "elsewhere.srt").unwrap_err();
    assert_eq!(refused.kind, ErrorKind::CannotMove);
}
