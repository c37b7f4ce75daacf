//! Tests of commands that need neither a daemon nor a state.

use crate::scratch::Scratch;

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    let scratch = Scratch::new();
    for arguments in [&["nonsense"][..], &[], &["mount"], &["list", "--nonsense"]] {
        let ended = scratch.run(arguments);
        assert_eq!((ended.status, ended.stdout.as_str()), (2, ""), "{ended:?}");
    }
    assert!(scratch.run(&["--help"]).ok().contains("mount"));
    assert!(scratch.run(&["--version"]).ok().starts_with("tgfs "));
}

#[test]
fn without_a_state_nothing_is_listed_as_empty() {
    let scratch = Scratch::new();
    let state = scratch.state();
    for arguments in [
        &["list"][..],
        &["status"],
        &["url", "/x"],
        &["delete", "/x"],
        &["retry", "/x"],
        &["db-stats"],
        &["cleanup", "--hours", "0"],
        &["cache-clear"],
        &["verify"],
    ] {
        let error = scratch.run(arguments).failed();
        assert!(
            error.contains(state.to_str().unwrap()),
            "{arguments:?}: {error}"
        );
        assert!(error.contains("user "), "{arguments:?}: {error}");
        assert!(!state.exists(), "{arguments:?} made a state");
    }
}

#[test]
fn another_users_state_is_refused_by_name() {
    if !nix::unistd::geteuid().is_root() {
        return; // only root can give a directory away
    }
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.state()).unwrap();
    let daemon = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(1)).unwrap();
    let owner = daemon.map_or_else(|| "1".to_owned(), |user| user.name);
    nix::unistd::chown(&scratch.state(), Some(nix::unistd::Uid::from_raw(1)), None).unwrap();
    let error = scratch.run(&["list"]).failed();
    assert!(
        error.contains(&format!("belongs to user {owner}")),
        "{error}"
    );
}

#[test]
fn config_shows_sources_and_check_tells_every_problem() {
    let scratch = Scratch::new();
    std::fs::write(
        scratch.path().join(".env"),
        "LOCAL_PORT=9\nTGFS_VIEW=hidden\n",
    )
    .unwrap();
    let shown = scratch.run(&["config", "--json", "--log", "debug"]).json();
    let setting = |name: &str| {
        let rows = shown["settings"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap().clone()
    };
    assert_eq!(setting("LOCAL_PORT")["source"], ".env line 1");
    assert_eq!(setting("LOG_LEVEL")["source"], "--log");
    assert_eq!(setting("TGFS_SETTLE")["source"], "environment");
    assert!(
        shown["warnings"][0]
            .as_str()
            .unwrap()
            .contains("did you mean TGFS_VIEWS?")
    );
    let mut wrong = scratch.command(&["config", "--check"]);
    wrong.env("CACHE_SIZE", "big").env("TGFS_STORE", "cloud");
    let ended = crate::scratch::Ended::of(wrong.output().unwrap());
    assert_eq!(ended.status, 1);
    assert!(
        ended.stderr.contains("CACHE_SIZE") && ended.stderr.contains("TGFS_STORE"),
        "{ended:?}"
    );
    scratch.run(&["config", "--check"]).ok();
}

#[test]
fn bots_never_lead_to_a_local_store_unasked() {
    let scratch = Scratch::new();
    let with_bots = |more: &[(&str, &str)]| {
        let mut command = scratch.command(&["mount", "mnt"]);
        command
            .env("BOT_TOKEN", format!("123456:{:A<35}", "AAsecret"))
            .env("CHAT_ID", "-1001000000001");
        command.envs(more.iter().copied());
        crate::scratch::Ended::of(command.output().unwrap()).failed()
    };
    let error = with_bots(&[]);
    assert!(
        error.contains("my.telegram.org") && !error.contains("AAsecret"),
        "{error}"
    );
    let error = with_bots(&[("TELEGRAM_API_ID", "one"), ("TELEGRAM_API_HASH", "hash")]);
    assert!(error.contains("TELEGRAM_API_ID"), "{error}");
    assert!(!scratch.state().exists() && !scratch.path().join("mnt").exists());
}

/// `config --check` reports all faults of bots and their server at once and without the network.
#[test]
fn check_finds_what_is_wrong_with_bots() {
    let scratch = Scratch::new();
    let check = |env: &str| {
        std::fs::write(scratch.path().join(".env"), env).unwrap();
        let ended = scratch.run(&["config", "--check"]);
        assert_eq!(ended.status, 1, "{ended:?}");
        assert!(!ended.stderr.contains("hush"), "{ended:?}");
        ended.stderr
    };
    let said = check(
        "BOT_TOKEN=hush\nBOT_TOKEN_2=2:AAhush\nBOT_TOKEN_3=2:AAhush\nBOT_TOKEN_4=4:A\n\
         CHAT_ID_2=-1001000000001\nCHAT_ID_3=x y\nTELEGRAM_API_ID=-5\nTELEGRAM_SERVER=localhost:443\n",
    );
    for part in [
        "BOT_TOKEN is not a bot token",
        "BOT_TOKEN has no channel",
        "BOT_TOKEN_2 and BOT_TOKEN_3 are the same bot",
        "the channel of BOT_TOKEN_3",
        "BOT_TOKEN_4 is not a bot token",
        "BOT_TOKEN_4 has no channel",
        "TELEGRAM_API_ID (.env line 7)",
        "without TELEGRAM_API_HASH",
        "TELEGRAM_SERVER_KEY",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    let begin = "-----BEGIN PUBLIC KEY-----\nbm9uc2Vuc2U=\n-----END PUBLIC KEY-----\n";
    std::fs::write(scratch.path().join("key.pem"), begin).unwrap();
    let said = check(
        "BOT_TOKEN=2:AAhushAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nCHAT_ID=@films\nTELEGRAM_API_ID=5\nTELEGRAM_API_HASH=hush\n\
         TELEGRAM_SERVER=localhost:443\nTELEGRAM_SERVER_KEY=key.pem\n",
    );
    assert!(said.contains("key.pem cannot be used"), "{said}");
}

#[test]
fn a_variable_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = Scratch::new();
    let broken = std::ffi::OsStr::from_bytes(b"/tmp/\xff");
    for name in ["TGFS_SPOOL_DIR", "XDG_STATE_HOME"] {
        let mut command = scratch.command(&["config", "--check"]);
        let output = command.env(name, broken).output().unwrap();
        let error = crate::scratch::Ended::of(output).failed_with_hints();
        assert!(error.contains(&format!("{name} is not UTF-8")), "{error}");
    }
    // One that is no setting is no concern of ours.
    let mut command = scratch.command(&["config", "--check"]);
    let output = command.env("OTHER", broken).output().unwrap();
    crate::scratch::Ended::of(output).ok();
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let scratch = Scratch::new();
    let mut command = scratch.command(&["config"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = crate::scratch::Ended::of(command.stdout(writer).output().unwrap());
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
}
