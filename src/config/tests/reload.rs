use super::*;

#[test]
fn a_reload_takes_what_it_can_and_names_the_rest() {
    let mut place = place();
    let handle = ConfigHandle::new(place.config());
    place.set("LOG_LEVEL", "debug");
    place.set("TGFS_SETTLE", "7s");
    place.set("CACHE_SIZE", "64MiB");
    let told = handle.apply(&place.config()).unwrap();
    assert_eq!(told.applied, ["TGFS_SETTLE", "LOG_LEVEL"]);
    assert_eq!(told.at_next_start, ["CACHE_SIZE"]);
    assert_eq!(handle.get().log.level, LogLevel::Debug);
    assert_eq!(handle.get().mount.settle, Duration::from_secs(7));
    assert_ne!(handle.get().cache.memory, 64 << 20);
    // A second reload still names what waits, and no longer names what is in force already.
    let told = handle.apply(&place.config()).unwrap();
    assert_eq!(told.applied, Vec::<String>::new());
    assert_eq!(told.at_next_start, ["CACHE_SIZE"]);
}

/// A value in another spelling, or a default that is written out, is no change.
#[test]
fn the_same_value_in_other_words_is_no_change() {
    let mut place = place();
    let handle = ConfigHandle::new(place.config());
    for (name, same) in [
        ("TGFS_SETTLE", "1000ms"),
        ("TGFS_PACK_SIZE", "67108864"),
        ("TGFS_SIDECAR_SUBTITLES", "yes"),
        ("LOG_LEVEL", "info"),
    ] {
        place.set(name, same);
    }
    let store = handle.get().store.describe();
    place.set("TGFS_STORE", &store);
    let told = handle.apply(&place.config()).unwrap();
    assert_eq!(told, Reloaded::default());
}

/// A value that waits for the next start must not take effect together with one that does not wait.
#[test]
fn what_waits_for_the_next_start_stays_as_it_was() {
    let mut place = place().with_bots();
    let handle = ConfigHandle::new(place.config());
    let before = handle.get();
    place.set("BOT_TOKEN_3", &token("3:AAthird"));
    place.set("FFMPEG_THREADS", "3");
    place.set("LOG_FILE", "/tmp/log");
    place.set("TGFS_SPOOL_RESERVE", "2GiB");
    place.set("TGFS_KEEP_DELETED", "1h");
    handle.apply(&place.config()).unwrap();
    let after = handle.get();
    assert_eq!(after.keep_deleted, Duration::from_secs(3600));
    assert_eq!(after.store, before.store);
    assert_eq!(after.media, before.media);
    assert_eq!(after.log, before.log);
    assert_eq!(after.spool, before.spool);
}

/// No code reads the settings `TGFS_TEST_…`. The table alone brings them into `config` and `reload`.
#[test]
fn a_row_of_the_table_is_enough_for_config_and_reload() {
    let mut place = place();
    let handle = ConfigHandle::new(place.config());
    assert_eq!(place.row("TGFS_TEST_LIVE").value, "1s");
    place.set("TGFS_TEST_LIVE", "5s");
    place.set("TGFS_TEST_AT_START", "5MiB");
    assert_eq!(place.row("TGFS_TEST_LIVE").value, "5s");
    assert_eq!(place.row("TGFS_TEST_AT_START").source, "environment");
    let told = handle.apply(&place.config()).unwrap();
    assert_eq!(told.applied, ["TGFS_TEST_LIVE"]);
    assert_eq!(told.at_next_start, ["TGFS_TEST_AT_START"]);
}

/// Every setting of the table is changed, one at a time. A reload reports each as the table says.
#[test]
fn every_row_of_the_table_is_noticed_by_a_reload() {
    for setting in SETTINGS {
        let name = match setting.numbering {
            Numbering::Single => setting.name.to_owned(),
            Numbering::Family => setting.name.replace("_n", "_2"),
        };
        let mut place = place().with_bots();
        if ["CACHE_DIR", "TGFS_CACHE_DISK_SIZE"].contains(&setting.name) {
            place.set("CACHE_TYPE", "tiered");
        }
        // Settings that go only together are set before, so that one of them can change alone.
        place.set("SSL_CERT_PATH", "/before.pem");
        place.set("SSL_KEY_PATH", "/before.pem");
        place.set("TGFS_PASSPHRASE", "before");
        let key = place.inputs.working_dir.join("key.pem");
        fs::write(&key, "-----BEGIN PUBLIC KEY-----").unwrap();
        place.set("TELEGRAM_SERVER", "127.0.0.1:4430");
        place.set("TELEGRAM_SERVER_KEY", "key.pem");
        fs::copy(&key, place.inputs.working_dir.join("other.pem")).unwrap();
        let handle = ConfigHandle::new(place.config());
        place.set(&name, another_value(setting));
        let told = handle.apply(&place.config()).unwrap();
        let is_in = |list: &[String]| list.contains(&name);
        let noticed = (is_in(&told.applied), is_in(&told.at_next_start));
        let expected = match setting.takes {
            Takes::Live => (true, false),
            Takes::AtStart => (false, true),
            Takes::NotYet => (false, false),
        };
        assert_eq!(noticed, expected, "{name}: {told:?}");
        let others: Vec<_> = told
            .applied
            .iter()
            .chain(&told.at_next_start)
            .filter(|other| **other != name)
            .collect();
        // The older name of another setting.
        match setting.name {
            "TEMP_UPLOADS_DIR" => assert_eq!(others, ["TGFS_SPOOL_DIR"]),
            "TGFS_STATE_DIR" => assert_eq!(others, ["TGFS_SPOOL_DIR"]),
            _ => assert!(others.is_empty(), "{name}: {told:?}"),
        }
    }
}

/// Returns a value that the setting takes, and that is not its default.
fn another_value(setting: &Setting) -> &'static str {
    match (setting.name, setting.unit) {
        ("MAX_SEGMENT_DURATION", _) => "40s",
        ("LOG_LEVEL", _) => "error",
        ("MULTI_BOT_CONFIG", _) => "[{\"token\": \"9:zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\"}]",
        ("BOT_TOKEN" | "BOT_TOKEN_n", _) => "9:zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        ("CHAT_ID" | "CHAT_ID_n", _) => "@elsewhere",
        ("TGFS_TRUSTED_PROXIES", _) => "10.0.0.0/8",
        ("TELEGRAM_SERVER", _) => "127.0.0.1:1",
        (_, Unit::Store) => "local:/elsewhere",
        (_, Unit::KeyFile) => "other.pem",
        (_, Unit::Duration) => "3s",
        (_, Unit::Size) => "77MiB",
        (_, Unit::Choice(words)) => words[words.len() - 1],
        (_, Unit::Switch) if setting.fallback == Fallback::Fixed("on") => "off",
        (_, Unit::Switch) => "on",
        (_, Unit::Count { .. }) => "9",
        (_, Unit::Path) => "/elsewhere",
        (_, Unit::Text | Unit::Json) => "other.example.org",
    }
}
