use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::model::{RateLimit, TombstonePolicy};

struct Place {
    dir: tempfile::TempDir,
    inputs: Inputs,
}

/// A home of its own, so that no setting of the developer's machine gets in.
fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let mut inputs = Inputs {
        working_dir: dir.path().join("work"),
        ..Inputs::default()
    };
    fs::create_dir(&inputs.working_dir).unwrap();
    let home = dir.path().to_str().unwrap().to_owned();
    inputs.environment.insert("HOME".to_owned(), home);
    Place { dir, inputs }
}

impl Place {
    fn env_file(&self, text: &str) -> std::path::PathBuf {
        let path = self.inputs.working_dir.join(".env");
        write_private(&path, text);
        path
    }
    fn set(&mut self, key: &str, value: &str) {
        self.inputs
            .environment
            .insert(key.to_owned(), value.to_owned());
    }
    fn flag(&mut self, setting: &'static str, flag: &'static str, value: &str) {
        let value = value.to_owned();
        self.inputs.flags.push(FlagValue {
            setting,
            flag,
            value,
        });
    }
    fn config(&self) -> Config {
        load(&self.inputs).config.unwrap()
    }
    fn store_dir(&self) -> std::path::PathBuf {
        match self.config().store {
            Store::Local { dir, .. } => dir,
            Store::Telegram(_) => panic!("the store is Telegram"),
        }
    }
    fn telegram(&self) -> TelegramConfig {
        match self.config().store {
            Store::Telegram(telegram) => *telegram,
            Store::Local { dir, .. } => panic!("the store is {}", dir.display()),
        }
    }
    fn warnings(&self) -> String {
        load(&self.inputs).warnings.join("\n")
    }
    /// Two bots and everything that they need.
    fn with_bots(mut self) -> Self {
        self.set("BOT_TOKEN", "1:AAsecret");
        self.set("BOT_TOKEN_2", "2:AAother");
        self.set("CHAT_ID", "-1001000000001");
        self.set("TELEGRAM_API_ID", "17");
        self.set("TELEGRAM_API_HASH", "0123456789abcdef");
        self
    }
    fn unset(&mut self, key: &str) {
        self.inputs.environment.remove(key);
    }
    fn problems(&self) -> String {
        load(&self.inputs).config.unwrap_err().join("\n")
    }
    fn row(&self, name: &str) -> Row {
        let rows = load(&self.inputs).rows;
        rows.into_iter().find(|row| row.name == name).unwrap()
    }
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

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
fn bots_without_api_keys_never_fall_back_to_local() {
    let mut place = place().with_bots();
    place.unset("TELEGRAM_API_ID");
    place.unset("TELEGRAM_API_HASH");
    let problems = place.problems();
    assert!(problems.contains("https://my.telegram.org"), "{problems}");
    assert!(
        problems.contains("TELEGRAM_API_ID and TELEGRAM_API_HASH"),
        "{problems}"
    );
    assert!(!problems.contains("AAsecret"));
    place.set("TELEGRAM_API_HASH", "0123456789abcdef");
    place.set("TELEGRAM_API_ID", "seventeen");
    let problems = place.problems();
    assert!(problems.contains("TELEGRAM_API_ID (environment)"));
    assert!(problems.contains("my.telegram.org"), "{problems}");
}

#[test]
fn bots_make_telegram_the_store() {
    let mut place = place().with_bots();
    let telegram = place.telegram();
    assert_eq!((telegram.api_id, telegram.bots.len()), (17, 2));
    assert_eq!(telegram.server, None);
    assert_eq!(
        (telegram.pace, telegram.rollover),
        (RateLimit::Normal, 500_000)
    );
    assert_eq!(telegram.tombstones, TombstonePolicy::Leave);
    assert_eq!(place.row("TGFS_STORE").value, "telegram");
    place.set("TGFS_STORE", "Telegram");
    assert_eq!(place.telegram(), telegram);
    place.set("TGFS_PACE", "gentle");
    place.set("TGFS_TOMBSTONE", "on");
    place.set("TGFS_ROLLOVER", "1000");
    let telegram = place.telegram();
    assert_eq!(
        (telegram.pace, telegram.rollover),
        (RateLimit::Gentle, 1000)
    );
    assert_eq!(telegram.tombstones, TombstonePolicy::Write);
    place.set("TGFS_ROLLOVER", "2000000");
    place.set("TGFS_PACE", "ludicrous");
    let problems = place.problems();
    for name in ["TGFS_ROLLOVER", "TGFS_PACE"] {
        assert!(problems.contains(name), "{problems}");
    }
}

#[test]
fn a_local_store_that_was_asked_for_wins_over_bots_and_says_so() {
    let mut place = place().with_bots();
    place.set("TGFS_STORE", "local:/srv/packs");
    assert_eq!(place.store_dir(), Path::new("/srv/packs"));
    let warnings = place.warnings();
    assert!(
        warnings.contains("TGFS_STORE=local:/srv/packs"),
        "{warnings}"
    );
    assert!(warnings.contains("not used"), "{warnings}");
    // Not even half a bot stands in its way.
    place.unset("TELEGRAM_API_ID");
    place.set("BOT_TOKEN", "nonsense");
    assert_eq!(place.store_dir(), Path::new("/srv/packs"));
}

#[test]
fn telegram_without_bots_says_how_to_make_one() {
    let mut place = place();
    place.set("TGFS_STORE", "telegram");
    let problems = place.problems();
    for word in ["@BotFather", "BOT_TOKEN", "CHAT_ID"] {
        assert!(problems.contains(word), "{problems}");
    }
    place.unset("TGFS_STORE");
    place.set("CHAT_ID", "-1001000000001");
    assert!(
        place
            .warnings()
            .contains("CHAT_ID is set without BOT_TOKEN")
    );
}

#[test]
fn one_bot_under_two_names_is_a_mistake() {
    let mut place = place().with_bots();
    place.set("BOT_TOKEN_7", "2:AAother");
    let problems = place.problems();
    assert!(
        problems.contains("BOT_TOKEN_2 and BOT_TOKEN_7 are the same bot"),
        "{problems}"
    );
    place.unset("BOT_TOKEN_7");
    place.set(
        "MULTI_BOT_CONFIG",
        "[{\"token\": \"9:x\"}, {\"token\": \"9:y\"}]",
    );
    let problems = place.problems();
    assert!(
        problems.contains("MULTI_BOT_CONFIG entry 1 and MULTI_BOT_CONFIG entry 2"),
        "{problems}"
    );
    place.unset("MULTI_BOT_CONFIG");
    place.set("CHAT_ID_5", "-1001000000005");
    assert!(
        place
            .warnings()
            .contains("CHAT_ID_5 is set without BOT_TOKEN_5")
    );
}

#[test]
fn a_channels_number_has_its_prefix() {
    let mut place = place().with_bots();
    for wrong in ["1234567890", "-1001", "films", "@"] {
        place.set("CHAT_ID_2", wrong);
        let problems = place.problems();
        assert!(problems.contains("-1001234567890"), "{wrong}: {problems}");
    }
    place.set("CHAT_ID_2", "-1001234567890");
    place.telegram();
}

#[test]
fn a_server_of_ones_own_needs_its_key() {
    let mut place = place().with_bots();
    place.set("TELEGRAM_SERVER", "3@127.0.0.1:4430");
    assert!(place.problems().contains("TELEGRAM_SERVER_KEY"));
    let key = place.inputs.working_dir.join("key.pem");
    place.set("TELEGRAM_SERVER_KEY", "key.pem");
    assert!(place.problems().contains("cannot be read"));
    fs::write(&key, "-----BEGIN CERTIFICATE-----\n").unwrap();
    assert!(place.problems().contains("is no public key"));
    fs::write(&key, "-----BEGIN RSA PRIVATE KEY-----\n").unwrap();
    assert!(place.problems().contains("private key"));
    let text = "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n";
    fs::write(&key, text).unwrap();
    let server = place.telegram().server.unwrap();
    assert_eq!((server.address.dc, server.address.port), (3, 4430));
    assert_eq!((server.key_file, server.key.as_str()), (key, text));
    place.set("TELEGRAM_SERVER", "127.0.0.1");
    assert!(place.problems().contains("HOST:PORT"));
    place.unset("TELEGRAM_SERVER");
    assert!(
        place
            .problems()
            .contains("goes only together with TELEGRAM_SERVER;")
    );
}

#[test]
fn bots_come_in_three_forms() {
    let place = place();
    place.env_file(
        "BOT_TOKEN=1:a # the first\nCHAT_ID=-1001000000001\nBOT_TOKEN_4='4:d'\nCHAT_ID_4=@films\n\
         MULTI_BOT_CONFIG=[\n  {\"token\": \"5:e\", \"chat_id\": -1001000000005},\n  {\"bot_token\": \"1:a\"}\n]\n",
    );
    let (mut problems, mut warnings) = (vec![], vec![]);
    let values = layers::Values::gather(&place.inputs, &mut problems, &mut warnings);
    let found = bots::collect(&values);
    assert_eq!((problems, found.problems), (vec![], vec![]));
    let bots = found.bots;
    let short: Vec<_> = bots
        .iter()
        .map(|bot| {
            (
                bot.number,
                bot.token.expose().as_str(),
                bot.chat_id.as_str(),
            )
        })
        .collect();
    assert_eq!(
        short,
        [
            (1, "1:a", "-1001000000001"),
            (4, "4:d", "@films"),
            (5, "5:e", "-1001000000005")
        ]
    );
}

#[test]
fn bad_bots_are_named_without_their_tokens() {
    let mut place = place();
    place.set("BOT_TOKEN_2", "sec ret");
    place.set(
        "MULTI_BOT_CONFIG",
        "[{\"token\": \"7:hidden\" \"chat_id\": 1}]",
    );
    let problems = place.problems();
    assert!(
        problems.contains("BOT_TOKEN_2 is no bot token"),
        "{problems}"
    );
    assert!(
        problems.contains("BOT_TOKEN_2 has no channel"),
        "{problems}"
    );
    assert!(problems.contains("MULTI_BOT_CONFIG is not"), "{problems}");
    assert!(problems.contains("my.telegram.org"), "{problems}");
    assert!(
        !problems.contains("sec ret") && !problems.contains("hidden"),
        "{problems}"
    );
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
fn a_reload_takes_what_it_can_and_names_the_rest() {
    let mut place = place();
    let handle = ConfigHandle::new(place.config());
    place.set("LOG_LEVEL", "debug");
    place.set("TGFS_SETTLE", "7s");
    place.set("CACHE_SIZE", "64MiB");
    let told = handle.apply(&place.config());
    assert_eq!(told.applied, ["TGFS_SETTLE", "LOG_LEVEL"]);
    assert_eq!(told.at_next_start, ["CACHE_SIZE"]);
    assert_eq!(handle.get().log.level, LogLevel::Debug);
    assert_eq!(handle.get().mount.settle, Duration::from_secs(7));
    assert_ne!(handle.get().cache.memory, 64 << 20);
}

/// What the table says of a setting is what a reload does with it.
#[test]
fn the_table_knows_what_a_reload_applies() {
    for setting in SETTINGS {
        let other = match (setting.name, setting.unit) {
            ("TGFS_STORE", _) => "local:/elsewhere",
            // Neither can stand alone.
            ("SSL_CERT_PATH" | "SSL_KEY_PATH", _) => "/a.pem",
            ("MAX_SEGMENT_DURATION", _) => "40s",
            ("LOG_LEVEL", _) => "error",
            ("MULTI_BOT_CONFIG", _) => "[{\"token\": \"9:z\"}]",
            ("BOT_TOKEN" | "BOT_TOKEN_n", _) => "9:z",
            ("CHAT_ID" | "CHAT_ID_n", _) => "@elsewhere",
            ("TELEGRAM_SERVER", _) => "127.0.0.1:1",
            (_, Unit::Duration) => "3s",
            (_, Unit::Size) => "77MiB",
            (_, Unit::Choice(words)) => words[words.len() - 1],
            (_, Unit::Switch) if setting.fallback == Fallback::Fixed("on") => "off",
            (_, Unit::Switch) => "on",
            (_, Unit::Count) => "9",
            (_, Unit::Path) => "/elsewhere",
            (_, Unit::Text | Unit::Json) => "other.example.org",
        };
        let is_of_telegram = [
            "TELEGRAM_",
            "BOT_",
            "CHAT_",
            "MULTI_",
            "TGFS_PACE",
            "TGFS_TOMB",
            "TGFS_ROLL",
        ]
        .iter()
        .any(|stem| setting.name.starts_with(stem));
        let mut place = match is_of_telegram {
            true => place().with_bots(),
            false => place(),
        };
        let key = place.inputs.working_dir.join("key.pem");
        fs::write(&key, "-----BEGIN PUBLIC KEY-----").unwrap();
        if ["CACHE_DIR", "TGFS_CACHE_DISK_SIZE"].contains(&setting.name) {
            place.set("CACHE_TYPE", "tiered");
        }
        let before = place.config();
        match (setting.name, setting.takes) {
            ("TELEGRAM_SERVER" | "TELEGRAM_SERVER_KEY", _) => {
                place.set("TELEGRAM_SERVER", "127.0.0.1:1");
                place.set("TELEGRAM_SERVER_KEY", "key.pem");
            }
            (_, _) if setting.numbering == Numbering::Family => {
                place.set(&setting.name.replace("_n", "_2"), other);
            }
            ("SSL_CERT_PATH" | "SSL_KEY_PATH", _) => {
                place.set("SSL_CERT_PATH", other);
                place.set("SSL_KEY_PATH", other);
            }
            ("TGFS_PASSPHRASE_OLD", _) => {
                place.set("TGFS_PASSPHRASE", other);
                place.set("TGFS_PASSPHRASE_OLD", other);
            }
            (_, Takes::NotYet) => continue,
            (name, _) => place.set(name, other),
        }
        let told = ConfigHandle::new(before).apply(&place.config());
        let is_in = |list: &[String]| list.iter().any(|name| name.contains(setting.name));
        let (applied, waits) = (is_in(&told.applied), is_in(&told.at_next_start));
        let name = setting.name;
        match (setting.takes, name) {
            (Takes::Live, _) => assert!(applied && !waits, "{name}: {told:?}"),
            // The older name of another setting.
            (_, "TEMP_UPLOADS_DIR") => {
                assert_eq!(told.at_next_start, ["TGFS_SPOOL_DIR"]);
            }
            (Takes::AtStart, _) => assert!(waits && !applied, "{name}: {told:?}"),
            (Takes::NotYet, _) => assert_eq!(told, Reloaded::default(), "{name}"),
        }
    }
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
