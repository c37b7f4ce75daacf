use super::*;

#[test]
fn all_problems_are_told_at_once() {
    let mut place = place();
    place.env_file(
        "LOCAL_PORT=http\nCACHE_SIZE=big\nTGFS_SETTLE=soon\nTGFS_VIEWS=maybe\n\
         FORCE_HTTPS=perhaps\nSSL_CERT_PATH=c.pem\nLOG_LEVEL=loud\nTGFS_PACK_SIZE=1k\nno value",
    );
    place.set("TGFS_STORE", "cloud");
    let problems = place.problems();
    for name in [
        "LOCAL_PORT (.env line 1)",
        "CACHE_SIZE",
        "TGFS_SETTLE",
        "TGFS_VIEWS",
        "FORCE_HTTPS",
        "SSL_CERT_PATH",
        "LOG_LEVEL",
        "TGFS_PACK_SIZE",
        "line 9: no `=`",
        "TGFS_STORE (environment)",
    ] {
        assert!(problems.contains(name), "{name} is not in:\n{problems}");
    }
}

#[test]
fn unknown_keys_are_named_with_the_nearest_known_one() {
    let mut place = place();
    place.env_file("LOCAL_PROT=1\nXYZZY_PLUGH=2\n");
    place.set("TGFS_SPOOL_SZE", "1GiB");
    place.set("SOME_OTHER_PROGRAM", "x");
    let warnings = load(&place.inputs).warnings.join("\n");
    assert!(
        warnings.contains("LOCAL_PROT; did you mean LOCAL_PORT?"),
        "{warnings}"
    );
    assert!(
        warnings.contains("unknown setting XYZZY_PLUGH; `tgfs config`"),
        "{warnings}"
    );
    assert!(
        warnings.contains("TGFS_SPOOL_SZE; did you mean TGFS_SPOOL_SIZE?"),
        "{warnings}"
    );
    assert!(!warnings.contains("SOME_OTHER_PROGRAM"));
}

#[test]
fn an_env_file_that_others_can_write_is_refused() {
    let place = place();
    let path = place.env_file("LOCAL_PORT=1");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(place.problems().contains("others can write to it"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(load(&place.inputs).warnings.is_empty());
    write_private(&path, "BOT_TOKEN=1:a");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(load(&place.inputs).warnings.join("").contains("chmod 600"));
}

#[test]
fn an_env_file_of_another_user_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        return; // only root can give files away
    }
    let place = place();
    let path = place.env_file("LOCAL_PORT=1");
    nix::unistd::chown(&path, Some(nix::unistd::Uid::from_raw(12345)), None).unwrap();
    assert!(place.problems().contains("belongs to user 12345"));
}

#[test]
fn secrets_are_masked_in_the_listing() {
    let mut place = place();
    place.set("BOT_TOKEN_3", "3:topsecret");
    place.set("TELEGRAM_API_HASH", "topsecret");
    let shown = format!("{:?}", load(&place.inputs).rows);
    assert!(!shown.contains("topsecret"), "{shown}");
    assert_eq!(place.row("BOT_TOKEN_3").value, "********");
}

#[test]
fn a_passphrase_is_taken_and_never_printed() {
    let mut place = place();
    place.set("TGFS_PASSPHRASE_OLD", "correct donkey");
    assert!(place.problems().contains("together with TGFS_PASSPHRASE,"));
    place.set("TGFS_PASSPHRASE", "correct horse");
    let config = place.config();
    let passphrase = config.encryption.passphrase.clone().unwrap();
    assert_eq!(passphrase.expose(), "correct horse");
    let shown = format!("{config:?} {:?}", load(&place.inputs).rows);
    assert!(!shown.contains("correct"), "{shown}");
    assert_eq!(place.row("TGFS_PASSPHRASE").value, "********");
}

#[test]
fn the_http_flag_takes_the_forms_people_write() {
    let parse = |text| HttpBind::parse(text, 8080);
    let at = |host: &str, port| {
        Ok(HttpBind::At {
            host: host.to_owned(),
            port,
        })
    };
    assert_eq!(parse("off"), Ok(HttpBind::Off));
    assert_eq!(parse("0.0.0.0:80"), at("0.0.0.0", 80));
    assert_eq!(parse("9000"), at("127.0.0.1", 9000));
    assert_eq!(parse(":9000"), at("127.0.0.1", 9000));
    assert_eq!(parse("[::1]:90"), at("::1", 90));
    assert_eq!(parse("::1"), at("::1", 8080));
    assert_eq!(parse("nas.local"), at("nas.local", 8080));
    assert!(parse("nas local:1").is_err());
    assert!(parse("host:port").is_err());
    let mut place = place();
    place.set("LOCAL_HOST", "0.0.0.0");
    place.flag("LOCAL_HOST", "--http", "127.0.0.1:0");
    assert_eq!(place.config().http.bind, at("127.0.0.1", 0).unwrap());
}

#[test]
fn systemd_names_the_state_directory() {
    let mut place = place();
    place.set("STATE_DIRECTORY", "/var/lib/tgfs:/var/lib/other");
    assert_eq!(place.config().state_dir, Path::new("/var/lib/tgfs"));
    place.set("TGFS_STATE_DIR", "/srv/state");
    assert_eq!(place.config().state_dir, Path::new("/srv/state"));
    place.flag("TGFS_STATE_DIR", "--state", "/flag");
    assert_eq!(place.config().state_dir, Path::new("/flag"));
}

#[test]
fn the_cache_lies_where_its_type_says() {
    let mut place = place();
    let cache = place.config().cache;
    assert_eq!((cache.disk, cache.pinned), (None, 4 << 30));
    place.set("CACHE_SIZE", "200MiB");
    place.set("TGFS_CACHE_DISK_SIZE", "3GiB");
    place.set("CACHE_TYPE", "tiered");
    let config = place.config();
    let disk = config.cache.disk.clone().unwrap();
    assert_eq!((config.cache.memory, disk.size), (200 << 20, 3 << 30));
    assert_eq!(disk.dir, config.state_dir.join("cache"));
    // The older system's size of a cache on the disk.
    place.set("CACHE_TYPE", "disk");
    place.set("CACHE_DIR", "blocks");
    let config = place.config();
    let disk = config.cache.disk.clone().unwrap();
    assert_eq!(disk.size, 200 << 20);
    assert!(config.cache.memory <= 128 << 20);
    assert!(disk.dir.ends_with("blocks"));
    assert!(config.own_directories().contains(&disk.dir));
    place.set("CACHE_SIZE", "");
    assert_eq!(place.config().cache.disk.unwrap().size, 3 << 30);
}
