use super::*;
use crate::config::resolved::ResolvedSettings;

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
    // Half a bot does not prevent it either.
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
    place.set("BOT_TOKEN_7", &token("2:AAother"));
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
    assert!(place.problems().contains("is not a public key"));
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
    let [first, fourth, fifth] = ["1:a", "4:d", "5:e"].map(token);
    place.env_file(&format!(
        "BOT_TOKEN={first} # the first\nCHAT_ID=-1001000000001\nBOT_TOKEN_4='{fourth}'\nCHAT_ID_4=@films\n\
         MULTI_BOT_CONFIG=[\n  {{\"token\": \"{fifth}\", \"chat_id\": -1001000000005}},\n  {{\"bot_token\": \"{first}\"}}\n]\n",
    ));
    let (mut problems, mut warnings) = (vec![], vec![]);
    let raw =
        crate::config::layers::RawSettings::gather(&place.inputs, &mut problems, &mut warnings);
    let found = bots::collect(&ResolvedSettings::resolve(&raw, &place.inputs));
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
            (1, first.as_str(), "-1001000000001"),
            (4, fourth.as_str(), "@films"),
            (5, fifth.as_str(), "-1001000000005")
        ]
    );
}

#[test]
fn bad_bots_are_named_without_their_tokens() {
    let mut place = place();
    for cut_off in [
        "123:abc",
        "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5P",
        ":abc",
        "sec ret",
    ] {
        place.set("BOT_TOKEN_2", cut_off);
        let problems = place.problems();
        assert!(
            problems.contains("BOT_TOKEN_2 is not a bot token") && !problems.contains(cut_off),
            "{problems}"
        );
    }
    place.set(
        "MULTI_BOT_CONFIG",
        "[{\"token\": \"7:hidden\" \"chat_id\": 1}]",
    );
    let problems = place.problems();
    assert!(
        problems.contains("BOT_TOKEN_2 is not a bot token"),
        "{problems}"
    );
    assert!(
        problems.contains("BOT_TOKEN_2 has no channel"),
        "{problems}"
    );
    assert!(
        problems.contains("MULTI_BOT_CONFIG is not valid"),
        "{problems}"
    );
    assert!(problems.contains("my.telegram.org"), "{problems}");
    assert!(
        !problems.contains("sec ret") && !problems.contains("hidden"),
        "{problems}"
    );
}
