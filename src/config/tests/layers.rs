use super::*;

#[test]
fn nothing_set_means_a_local_store_on_loopback() {
    let place = place();
    let config = place.config();
    let state = place.dir.path().join(".local/state/tgfs");
    assert_eq!(config.state_dir, state);
    assert_eq!(
        config.store.describe(),
        format!("local:{}/store", state.display())
    );
    assert_eq!(config.spool.dir, state.join("spool"));
    assert_eq!(config.spool.reserve, 1 << 30);
    assert_eq!(config.pack_size, 64 << 20);
    assert_eq!(config.spool.max_file_size, None);
    let host = "127.0.0.1".to_owned();
    assert_eq!(config.http.bind, HttpBind::At { host, port: 8080 });
    assert!(config.cache.memory <= 1 << 30);
    assert_eq!(config.env_file, None);
}

#[test]
fn every_fixed_default_is_a_value_that_loads() {
    let mut place = place();
    for setting in SETTINGS {
        if let Fallback::Fixed(text) = setting.fallback {
            place.set(setting.name, text);
        }
    }
    place.config();
}

#[test]
fn a_flag_beats_the_environment_beats_the_file() {
    let mut place = place();
    place.env_file("LOG_LEVEL=debug\nLOCAL_PORT=1\nTGFS_SETTLE=7s\nCACHE_SIZE=\n");
    place.set("LOG_LEVEL", "error");
    place.set("LOCAL_PORT", "2");
    place.flag("LOCAL_PORT", "--port", "3");
    let config = place.config();
    assert_eq!(config.log.level, LogLevel::Error);
    assert!(matches!(config.http.bind, HttpBind::At { port: 3, .. }));
    assert_eq!(config.mount.settle, Duration::from_secs(7));
    assert_eq!(place.row("LOG_LEVEL").source, "environment");
    assert_eq!(place.row("LOCAL_PORT").source, "--port");
    assert_eq!(place.row("TGFS_SETTLE").source, ".env line 3");
    assert_eq!(place.row("CACHE_SIZE").source, "default");
}

#[test]
fn an_empty_variable_does_not_hide_the_file() {
    let mut place = place();
    place.env_file("LOCAL_PORT=9000");
    place.set("LOCAL_PORT", "");
    assert!(matches!(
        place.config().http.bind,
        HttpBind::At { port: 9000, .. }
    ));
}

#[test]
fn the_env_file_is_searched_in_order() {
    let mut place = place();
    let home = place.dir.path().to_owned();
    let in_state = home.join(".local/state/tgfs");
    let in_config = home.join(".config/tgfs");
    fs::create_dir_all(&in_state).unwrap();
    fs::create_dir_all(&in_config).unwrap();
    write_private(&in_state.join(".env"), "LOCAL_PORT=1");
    assert_eq!(place.config().env_file, Some(in_state.join(".env")));
    write_private(&in_config.join(".env"), "LOCAL_PORT=2");
    assert_eq!(place.config().env_file, Some(in_config.join(".env")));
    let in_work = place.env_file("LOCAL_PORT=3");
    assert_eq!(place.config().env_file, Some(in_work));
    write_private(&home.join("other.env"), "LOCAL_PORT=4");
    place.inputs.env_file = Some("../other.env".into());
    assert!(matches!(
        place.config().http.bind,
        HttpBind::At { port: 4, .. }
    ));
    place.inputs.env_file = Some("missing.env".into());
    assert!(place.problems().contains("missing.env: cannot be read"));
}

#[test]
fn relative_paths_start_where_they_are_written() {
    let mut place = place();
    let other = place.dir.path().join("etc");
    fs::create_dir(&other).unwrap();
    write_private(
        &other.join("x.env"),
        "TEMP_UPLOADS_DIR=spool\nTGFS_STORE=local:packs\nLOG_FILE=~/l",
    );
    place.inputs.env_file = Some(other.join("x.env"));
    place.set("TGFS_STATE_DIR", "state");
    let config = place.config();
    assert_eq!(config.spool.dir, other.join("spool"));
    assert_eq!(place.store_dir(), other.join("packs"));
    assert_eq!(config.log.file, Some(place.dir.path().join("l")));
    assert_eq!(config.state_dir, place.inputs.working_dir.join("state"));
}
