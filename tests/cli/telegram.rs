//! Tests of bots: the report of `test-bots`, and the messages of a start if a bot cannot work.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use telegram_sim::{Bot, Channel, Options, Profile, Right, Server, Shape, Visibility};
use tokio::runtime::Runtime;

use crate::scratch::{Ended, Scratch};

/// Longest time of a command in these tests. A command gives up on an absent server after 15 s.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Server with its settings in `.env`, and a directory for commands.
pub struct Bench {
    /// Runtime of the server.
    _runtime: Runtime,
    pub sim: Server,
    pub scratch: Scratch,
}

impl Bench {
    pub fn start(options: Options) -> Self {
        let runtime = Runtime::new().unwrap();
        let sim = runtime.block_on(Server::start(options)).unwrap();
        let scratch = Scratch::new();
        sim.write_env(&scratch.path().join(".env")).unwrap();
        Self {
            _runtime: runtime,
            sim,
            scratch,
        }
    }

    /// Runs a command and checks that it prints no token.
    pub fn run(&self, settings: &[(&str, &str)], arguments: &[&str]) -> Ended {
        let mut command = self.scratch.command(arguments);
        command.envs(settings.iter().copied());
        let ended = ended(command);
        if std::env::var_os("SHOW_OUTPUT").is_some() {
            println!(
                "$ tgfs {arguments:?} {settings:?}\n{}{}",
                ended.stdout, ended.stderr
            );
        }
        for number in 1..=self.sim.options().bots {
            let token = self.sim.token(Bot(number));
            let secret = token.split(':').next_back().unwrap();
            let told = format!("{ended:?}");
            assert!(!told.contains(secret), "{told}");
        }
        ended
    }

    /// Writes `.env` with other values. An empty value removes a setting.
    pub fn configure(&self, settings: &[(&str, &str)]) {
        let file = self.scratch.path().join(".env");
        self.sim.write_env(&file).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let is_changed = |line: &str| {
            let mut names = settings.iter().map(|(name, _)| name);
            names.any(|name| line.split('=').next() == Some(name))
        };
        let kept = text
            .lines()
            .filter(|line| !is_changed(line))
            .map(str::to_owned);
        let given = settings.iter().filter(|(_, value)| !value.is_empty());
        let given = given.map(|(name, value)| format!("{name}={value}"));
        let lines: Vec<String> = kept.chain(given).collect();
        std::fs::write(file, lines.join("\n")).unwrap();
    }

    fn posts(&self) -> usize {
        let channels = 1..=self.sim.options().channels;
        channels
            .map(|channel| self.sim.posts(Channel(channel)).unwrap().len())
            .sum()
    }
}

/// Runs a command to its end. A start that should have failed but did not is terminated, so that it does not
/// run for ever.
fn ended(mut command: Command) -> Ended {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > PATIENCE {
            terminate(&child);
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ended::of(child.wait_with_output().unwrap())
}

fn terminate(child: &Child) {
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
}

pub fn options(bots: u32, channels: u32) -> Options {
    Options {
        bots,
        channels,
        ..Options::default()
    }
}

#[test]
fn bots_that_work_are_shown_with_their_rights() {
    let bench = Bench::start(options(3, 2));
    let shown = bench.run(&[], &["test-bots"]).ok();
    assert!(shown.contains("3 bots in 2 channels: all work"), "{shown}");
    assert!(
        shown.contains("ok: posted, read by 3 and 1, deleted"),
        "{shown}"
    );
    assert_eq!(bench.posts(), 0, "probes stay");
    assert!(!bench.scratch.state().exists(), "a state was made");

    let report = bench.run(&[], &["test-bots", "--json"]).json();
    assert_eq!(report["ok"], true);
    assert_eq!(report["bots"].as_array().unwrap().len(), 3);
    assert_eq!(report["access"].as_array().unwrap().len(), 6);
    assert_eq!(report["warnings"].as_array().unwrap().len(), 0, "{report}");
}

#[test]
fn what_a_bot_lacks_is_told_with_what_to_do() {
    let bench = Bench::start(options(3, 3));
    let sim = &bench.sim;
    sim.remove_bot(Channel(1), Bot(1)).unwrap();
    sim.take_right(Channel(2), Bot(2), Right::Post).unwrap();
    sim.take_right(Channel(3), Bot(3), Right::Delete).unwrap();
    sim.remove_bot(Channel(3), Bot(1)).unwrap();
    sim.remove_bot(Channel(3), Bot(2)).unwrap();
    let ended = bench.run(&[], &["test-bots"]);
    assert_eq!(ended.status, 1, "{ended:?}");
    let line = |bot: &str| {
        let mut lines = ended.stdout.lines();
        lines
            .find(|line| line.trim_start().starts_with(bot) && line.contains("failed: "))
            .unwrap_or_else(|| panic!("{ended:?}"))
    };
    assert!(
        line("1").contains("not in the channel: add it"),
        "{ended:?}"
    );
    assert!(
        line("2").contains("the right to post messages"),
        "{ended:?}"
    );
    assert!(
        line("3").contains("the right to delete messages"),
        "{ended:?}"
    );
    let warning = "only bot 3 can read channel";
    assert!(ended.stdout.contains(warning), "{ended:?}");
    assert!(
        ended.stdout.contains("3 of 3 bots cannot work"),
        "{ended:?}"
    );
}

#[test]
fn channels_that_are_public_or_new_are_pointed_out() {
    let bench = Bench::start(Options {
        visibility: Visibility::Public,
        ..options(1, 2)
    });
    bench.sim.remove_bot(Channel(2), Bot(1)).unwrap();
    bench.sim.add_bot(Channel(2), Bot(1)).unwrap();
    let name = format!("@{}", bench.sim.username(Channel(1)));
    let by_name = [("CHAT_ID_1", name.as_str())];
    let shown = bench.run(&by_name, &["test-bots"]).ok();
    assert!(shown.contains("is public"), "{shown}");
    let new = format!("set CHAT_ID_1={}", bench.sim.chat_id(Channel(2)));
    assert!(shown.contains(&new), "{shown}");
    let encrypted = [by_name[0], ("TGFS_PASSPHRASE", "correct horse")];
    let shown = bench.run(&encrypted, &["test-bots"]).ok();
    assert!(!shown.contains("is public"), "{shown}");
}

#[test]
fn channels_of_two_libraries_are_pointed_out() {
    let bench = Bench::start(options(2, 2));
    std::fs::write(bench.scratch.path().join("a.txt"), "one").unwrap();
    for other in ["BOT_TOKEN_1", "BOT_TOKEN_2"] {
        bench.configure(&[(other, "")]);
        bench.run(&[], &["upload", "a.txt"]).ok();
        std::fs::remove_dir_all(bench.scratch.state()).unwrap();
    }
    bench.configure(&[]);
    let shown = bench.run(&[], &["test-bots"]).ok();
    assert!(shown.contains("use the channels of one of them"), "{shown}");
}

#[test]
fn what_keeps_bots_from_signing_in_is_told() {
    let bench = Bench::start(options(2, 1));
    let good = bench.sim.token(Bot(2));
    let void = format!("{}x", &good[..good.len() - 1]);
    let other_key = bench.scratch.path().join("other.pem");
    std::fs::write(&other_key, OTHER_KEY).unwrap();
    let other_key = other_key.to_str().unwrap();
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("BOT_TOKEN_2", &void)], "copy it again from @BotFather"),
        (&[("TELEGRAM_API_ID", "99")], "my.telegram.org"),
        (&[("TELEGRAM_SERVER_KEY", other_key)], "TELEGRAM_SERVER_KEY"),
        (
            &[("TELEGRAM_SERVER", "127.0.0.1:1")],
            "cannot connect to 127.0.0.1:1",
        ),
        (&[("CHAT_ID_2", "@nobody")], "check CHAT_ID"),
    ];
    for (settings, told) in cases {
        let ended = bench.run(settings, &["test-bots"]);
        assert_eq!(ended.status, 1, "{ended:?}");
        let mut lines = ended.stdout.lines();
        let line = lines.find(|line| line.trim_start().starts_with("2 "));
        assert!(
            line.is_some_and(|line| line.contains(told)),
            "{told}: {ended:?}"
        );
    }
}

#[test]
fn bots_are_tested_beside_a_state_and_keep_their_sign_in() {
    let bench = Bench::start(options(2, 1));
    std::fs::create_dir(bench.scratch.state()).unwrap();
    bench.run(&[], &["test-bots"]).ok();
    let keys = bench.sim.calls("handshake");
    bench.run(&[], &["test-bots"]).ok();
    assert_eq!(bench.sim.calls("handshake"), keys);
}

/// A fault of the only bot stops the library from starting, with an error of one line.
#[test]
fn a_start_with_bad_settings_ends_with_what_to_do() {
    let bench = Bench::start(options(2, 1));
    let sim = &bench.sim;
    let dir = bench.scratch.path().join("films");
    std::fs::create_dir(&dir).unwrap();
    let mount = ["mount", "--http", "off", dir.to_str().unwrap()];
    let (first, second) = (sim.token(Bot(1)), sim.token(Bot(2)));
    let void = format!("{}x", &first[..first.len() - 1]);
    let other_key = bench.scratch.path().join("other.pem");
    std::fs::write(&other_key, OTHER_KEY).unwrap();
    let other_key = other_key.to_str().unwrap();
    let alone = ("BOT_TOKEN_2", "");
    let fails = |settings: &[(&str, &str)], told: [&str; 2]| {
        bench.configure(settings);
        // A state would keep the negotiated keys.
        let _ = std::fs::remove_dir_all(bench.scratch.state());
        let error = bench.run(&[], &mount).failed_with_hints();
        let last = error.lines().last().unwrap();
        for told in told {
            assert!(last.contains(told), "{told}: {error}");
        }
    };
    fails(
        &[alone, ("BOT_TOKEN_1", &void)],
        ["bot 1", "copy it again from @BotFather"],
    );
    fails(
        &[alone, ("TELEGRAM_API_ID", "99")],
        ["bot 1", "my.telegram.org"],
    );
    fails(
        &[("TELEGRAM_API_ID", "")],
        ["TELEGRAM_API_ID", "my.telegram.org"],
    );
    fails(&[alone, ("CHAT_ID", "@nobody")], ["bot 1", "check CHAT_ID"]);
    fails(
        &[alone, ("CHAT_ID", "-1009999999999")],
        ["bot 1", "not in the channel: add it"],
    );
    fails(
        &[("BOT_TOKEN_2", &first)],
        ["BOT_TOKEN_1 and BOT_TOKEN_2", "same bot"],
    );
    fails(
        &[("BOT_TOKEN_1", &second)],
        ["BOT_TOKEN_1 and BOT_TOKEN_2", "same bot"],
    );
    fails(
        &[alone, ("TELEGRAM_SERVER_KEY", other_key)],
        ["bot 1", "TELEGRAM_SERVER_KEY"],
    );
    sim.remove_bot(Channel(1), Bot(1)).unwrap();
    fails(&[alone], ["bot 1", "not in the channel: add it"]);
    sim.add_bot(Channel(1), Bot(1)).unwrap();
    sim.take_right(Channel(1), Bot(1), Right::Post).unwrap();
    fails(&[alone], ["bot 1", "may post"]);
}

/// One working bot is enough for the library to start; the others are named. `test-bots` works beside the
/// daemon.
#[test]
fn a_bot_that_cannot_work_is_named_and_the_others_go_on() {
    let bench = Bench::start(options(3, 1));
    let third = bench.sim.token(Bot(3));
    bench.configure(&[("BOT_TOKEN_3", &format!("{}x", &third[..third.len() - 1]))]);
    let take = |right| bench.sim.take_right(Channel(1), Bot(2), right).unwrap();
    take(Right::Post);
    let mut serve = bench.scratch.command(&["serve", "--http", "127.0.0.1:0"]);
    let log = bench.scratch.path().join("log");
    serve
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap());
    let mut daemon = serve.spawn().unwrap();
    let hears = |told: &str| {
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(&log).unwrap();
            if text.lines().any(|line| line.contains(told)) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{told}: {text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let channel = bench.sim.chat_id(Channel(1));
    hears(&format!(
        "bot 2 ready for channel {channel}: the bot lacks a right"
    ));
    hears(&format!(
        "bot 3 ready for channel {channel}: Telegram does not know this token"
    ));
    let ended = bench.run(&[], &["test-bots"]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended.stdout.contains("2 of 3 bots cannot work"),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("the state is in use"), "{ended:?}");
    std::fs::write(bench.scratch.path().join("a.txt"), "one").unwrap();
    bench.run(&[], &["upload", "a.txt"]).ok();
    terminate(&daemon);
    assert!(daemon.wait().unwrap().success());
}

/// The simulator takes measured limits as a profile and then behaves accordingly.
#[test]
fn measured_limits_are_a_profile_for_the_simulator() {
    let bench = Bench::start(Options {
        shape: Shape {
            latency: Duration::from_millis(20),
            lane_bytes_per_s: Some(8_000_000),
            bot_bytes_per_s: Some(16_000_000),
        },
        ..options(1, 1)
    });
    let shown = bench.run(&[], &["test-bots", "--measure=limits.json"]).ok();
    assert!(shown.contains("measure again in two days"), "{shown}");
    assert_eq!(bench.posts(), 1, "the probe for later");
    bench
        .sim
        .set_clock_offset(Duration::from_secs(49 * 60 * 60));
    let file = bench.scratch.path().join("limits.json");
    let ended = bench.run(&[], &["test-bots", "--measure"]);
    assert!(ended.stderr.contains("all work"), "{ended:?}");
    let printed = ended.json();
    assert_eq!(printed["old_posts"], "keep");

    for text in [std::fs::read_to_string(&file).unwrap(), printed.to_string()] {
        std::fs::write(&file, &text).unwrap();
        let profile = Profile::read(&file).unwrap();
        let fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&text).unwrap();
        let known = format!("{profile:?}").matches("Some(").count();
        assert_eq!(
            known,
            fields.len(),
            "the simulator knows other fields: {text}"
        );
        let mut options = Options::default();
        profile.apply(&mut options).unwrap();
        assert!(options.shape.latency >= Duration::from_millis(20));
        assert!(options.shape.lane_bytes_per_s.unwrap() < 10_000_000);
        assert!(options.shape.bot_bytes_per_s.unwrap() < 20_000_000);
    }
}

/// Public key that belongs to no server.
const OTHER_KEY: &str = "\
-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAjbnViLFmIGSfUejoeWA/x1M7PKcs6CaSGIXZ8yd+fiO45GZhlOBt
O/w03NauPz3tjGI6MDbr84fXmIQR0slR68H2Hy2JAOIioA7SYFSzNzekXWI+W/L9
RyZgOOt00dhbZY5UfwCIKBHHxCh1yVlvDPFLQT2zx4XHMPI+9o0vAi/0boj68Z5Z
EiH3Ok+WhYGFT0wKtby6pCIp7tDkXt8FBpP7dIXC5XbyPKWgDap6gC0RXwazhlRH
l1D/ZRVsEF41LfHZPS3iAcX/yxGLLU/Ez4nS2/nwgyQXsp8ZBXZPiLvUNyQ1udrg
RJ6lWmZiQcoO+JVZHFjHnqkx4WS6D8xAyQIDAQAB
-----END RSA PUBLIC KEY-----
";
