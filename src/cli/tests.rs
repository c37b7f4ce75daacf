use std::path::PathBuf;

use clap::CommandFactory;

use super::args::{Arguments, Command};
use super::output::{self, Align};
use super::*;
use crate::control::{DaemonInfo, LibraryReadiness, UrlInfo, Verified};
use crate::model::{FileInfo, PendingInfo, PublicState, UploadInfo, VerifyDepth};

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(line.split_whitespace())
}

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn every_command_of_the_contract_is_understood() {
    for line in [
        "tgfs mount --read-only --allow-other --http off /mnt",
        "tgfs serve --http 127.0.0.1:0",
        "tgfs umount --wait-uploads /mnt",
        "tgfs upload --to /Films --no-wait a.mkv b.mkv",
        "tgfs list /Films --json",
        "tgfs list",
        "tgfs status --wait /a.mkv",
        "tgfs status",
        "tgfs url /a.mkv",
        "tgfs delete /a.mkv 0123456789abcdef0123456789abcdef",
        "tgfs retry /a.mkv",
        "tgfs plan a.mkv",
        "tgfs config --check",
        "tgfs reload",
        "tgfs db-stats",
        "tgfs cleanup --hours 0",
        "tgfs cache-clear",
        "tgfs cache-clear /a.mkv",
        "tgfs verify --deep",
        "tgfs recover --take-over",
        "tgfs test-bots --measure",
        "tgfs import --channel @X",
        "tgfs strm --base-url http://x /srv",
        "tgfs list --state /s --env-file /e --store local:/p --log debug",
        "tgfs --state /s list",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn the_older_systems_forms_are_understood() {
    let Command::Upload(upload) = parse("tgfs upload --video a.mkv").unwrap().command else {
        panic!("no upload");
    };
    assert_eq!(upload.video, [PathBuf::from("a.mkv")]);
    let Command::Delete(delete) = parse("tgfs delete --video-id abc").unwrap().command else {
        panic!("no delete");
    };
    assert_eq!(delete.video_id, ["abc"]);
}

#[test]
fn wrong_usage_is_an_error() {
    for line in [
        "tgfs",
        "tgfs mount",
        "tgfs upload",
        "tgfs delete",
        "tgfs cleanup",
        "tgfs nonsense",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn flags_become_settings() {
    let flags = parse("tgfs mount --state /s --http off --store local:/p --log debug /mnt")
        .unwrap()
        .setting_flags()
        .unwrap();
    let names: Vec<_> = flags
        .iter()
        .map(|flag| (flag.setting, flag.value.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            ("TGFS_STATE_DIR", "/s"),
            ("TGFS_STORE", "local:/p"),
            ("LOG_LEVEL", "debug"),
            ("LOCAL_HOST", "off"),
        ]
    );
}

#[test]
fn sizes_ages_and_dates_are_short() {
    assert_eq!(output::size(0), "0 B");
    assert_eq!(output::size(1023), "1023 B");
    assert_eq!(output::size(1536), "1.5 KiB");
    assert_eq!(output::size(150 << 20), "150 MiB");
    assert_eq!(output::size(3 << 29), "1.5 GiB");
    assert_eq!(output::size(u64::MAX), "16383 PiB");
    assert_eq!(output::age(59), "59 s");
    assert_eq!(output::age(3600), "60 min");
    assert_eq!(output::age(90_000), "25 h");
    assert_eq!(output::play_time(10_212.4), "2:50:12");
    assert_eq!(output::play_time(f64::NAN), "0:00");
    assert_eq!(output::bit_rate(4_250_000), "4.2 Mb/s");
    assert_eq!(output::date(0), "1970-01-01 00:00");
    assert_eq!(output::date(951_782_400), "2000-02-29 00:00");
    assert_eq!(output::date(1_795_376_400), "2026-11-22 19:40");
    assert_eq!(output::date(-5), "before 1970");
}

#[test]
fn a_table_aligns_and_obeys_no_name() {
    let head = [("SIZE", Align::Right), ("NAME", Align::Left)];
    let rows = [
        vec!["1 B".to_owned(), "a\u{1b}[31m\nb".to_owned()],
        vec!["1000 B".to_owned(), "c".to_owned()],
    ];
    let text = output::table(&head, &rows);
    assert_eq!(text, "  SIZE  NAME\n   1 B  a\\x1b[31m\\nb\n1000 B  c\n");
}

fn film() -> FileInfo {
    FileInfo {
        id: "00ff".to_owned(),
        path: "/Heat (1995)/Heat (1995).mkv".to_owned(),
        path_bytes: None,
        size: 3 << 29,
        state: PublicState::Ingesting,
        progress: 40,
        upload: None,
        error: None,
        duration: Some(10_212.0),
        resolution: Some((1920, 1080)),
        bitrate: Some(1_260_000),
        codecs: vec!["avc1.640028".to_owned(), "mp4a.40.2".to_owned()],
        segments: 1702,
        derived: Some(12_288),
        subtitles: vec![],
        chapters: Vec::new(),
        created: 0,
        modified: 0,
        slug: Some("heat-1995".to_owned()),
        has_views: true,
        has_thumbnails: false,
        is_private: false,
    }
}

#[test]
fn a_file_is_described_with_its_facts() {
    let text = files::describe(&film(), None);
    assert!(text.starts_with("/Heat (1995)/Heat (1995).mkv\n    ingesting 40 %  1.5 GiB  2:50:12"));
    for part in [
        "1920x1080",
        "1.2 Mb/s",
        "avc1.640028, mp4a.40.2",
        "1702 segments  12.0 KiB beside it",
        "id 00ff",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_verification_says_what_it_read() {
    let verified = Verified {
        packs: 2,
        bytes: 3 << 30,
        bytes_read: 4096,
        ..Verified::default()
    };
    let text = upkeep::verified_text(&verified, VerifyDepth::Packs);
    assert_eq!(
        text,
        "2 packs verified (3.0 GiB): sizes and tables, 4.0 KiB read; their data was not read \
         (`tgfs verify --deep` reads it); 0 findings\n"
    );
    let text = upkeep::verified_text(&verified, VerifyDepth::Blocks);
    assert!(text.contains("4.0 KiB read and compared"), "{text}");
}

#[test]
fn an_upload_has_a_rate_and_a_time_left() {
    let mut film = film();
    film.state = PublicState::Uploading;
    film.progress = 44;
    film.upload = Some(UploadInfo {
        sent: 45 << 20,
        total: 100 << 20,
        bytes_per_second: Some(5 << 20),
        seconds_left: Some(11),
    });
    let text = files::describe(&film, None);
    assert!(
        text.contains("uploading 44 %  5.0 MiB/s  11 s left"),
        "{text}"
    );
}

#[test]
fn pending_work_is_told_in_sentences() {
    let text = |files, changes, without_views| {
        files::pending_text(&PendingInfo {
            files,
            bytes: files << 30,
            oldest_seconds: 60,
            changes,
            without_views,
        })
    };
    assert_eq!(text(0, 0, 0), "everything is stored\n");
    assert_eq!(
        text(0, 299, 245),
        "All bytes are in the store. 245 films still need playlists; 299 name changes will be saved \
         shortly.\n"
    );
    assert_eq!(
        text(0, 1, 1),
        "All bytes are in the store. 1 film still needs playlists; 1 name change will be saved \
         shortly.\n"
    );
    assert_eq!(
        text(2, 0, 1),
        "only in the spool: 2 files, 2.0 GiB, the oldest for 60 s; 1 film still needs playlists\n"
    );
}

#[test]
fn the_first_url_is_the_playlist() {
    let urls = UrlInfo {
        id: "00ff".to_owned(),
        path: "/x".to_owned(),
        path_bytes: None,
        local: Some("http://h/playlist/local/00ff.m3u8".to_owned()),
        by_name: None,
        public: None,
        file: Some("http://h/fs/x".to_owned()),
        mount: Some("/mnt/.hls/x/master.m3u8".to_owned()),
        mount_bytes: None,
        has_views: true,
    };
    let text = files::url_text(&urls);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "http://h/playlist/local/00ff.m3u8");
    // The file's own URL needs a login.
    assert_eq!(lines[1], "/mnt/.hls/x/master.m3u8");
}

#[test]
fn the_ready_line_has_its_fields() {
    let mut daemon = DaemonInfo {
        pid: 1,
        version: "0.1.0".to_owned(),
        mountpoint: Some("/mnt/films".to_owned()),
        mountpoint_bytes: None,
        http: None,
        public: None,
        store: "local:/s/store".to_owned(),
        state_dir: "/s".to_owned(),
        library: LibraryReadiness::Usable,
        login: None,
    };
    let inputs = ConfigInputs::default();
    let config = config::load(&inputs).config.unwrap();
    let line = daemon::ready_line(&daemon, &config);
    assert_eq!(
        line,
        "ready mount=/mnt/films http=off store=local:/s/store env=none\n"
    );
    daemon.login = Some("http://h/login?code=0a".to_owned());
    let line = daemon::ready_line(&daemon, &config);
    assert!(line.ends_with(" env=none login=http://h/login?code=0a\n"));
    daemon.login = None;
    daemon.library = LibraryReadiness::Loading;
    let line = daemon::ready_line(&daemon, &config);
    assert!(line.ends_with(" env=none library=loading\n"), "{line}");
}

#[test]
fn a_state_that_is_not_there_is_named_with_its_user() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("nothing");
    let error = session::check_state(&missing, session::StateNeed::MustExist).unwrap_err();
    assert!(
        error.to_string().contains(missing.to_str().unwrap()),
        "{error}"
    );
    assert!(session::check_state(&missing, session::StateNeed::MayBeMade).is_ok());
    if nix::unistd::geteuid().is_root() {
        let other = Some(nix::unistd::Uid::from_raw(1));
        nix::unistd::chown(dir.path(), other, None).unwrap();
        let error = session::check_state(dir.path(), session::StateNeed::MustExist).unwrap_err();
        assert!(error.to_string().contains("belongs to user"), "{error}");
    }
}
