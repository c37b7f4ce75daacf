//! `test-bots`: judges the findings on each bot and explains them.

use std::sync::Arc;

use serde::Serialize;

use super::limits::{self, MeasuredLimits, MeasuredLine};
use super::telegram;
use crate::config::{Config, StoreConfig};
use crate::index::{Index, Owner};
use crate::model::{ChannelId, KeyStore};
use crate::remote::telegram::{
    BotCheck, BotFinding, BotFindings, ChannelAccess, ChannelFinding, ChannelInfo, ChannelKind,
    RequestedWait, Right, RoundTrip, SlowMode,
};
use crate::remote::{MemoryKeys, RemoteError, RemoteErrorKind};

/// Report of `test-bots`. The names of its fields are the keys of the JSON output and must not change.
#[derive(Debug, Serialize)]
pub struct BotReport {
    /// True if every bot works.
    pub ok: bool,
    /// One for each bot.
    pub bots: Vec<BotLine>,
    /// One for each channel that a bot posts to.
    pub channels: Vec<ChannelLine>,
    /// One for each bot and channel.
    pub access: Vec<AccessLine>,
    /// Dangers that keep no bot from working.
    pub warnings: Vec<String>,
    /// Remarks on the test itself.
    pub notes: Vec<String>,
    /// Waits that Telegram asked for meanwhile.
    pub waits: Vec<WaitLine>,
    /// Speeds, if they were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Vec<MeasuredLine>>,
    /// The same as a profile for `telegram-sim --profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<MeasuredLimits>,
}

/// Extent of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// Checks that everything works.
    Function,
    /// Measures the speed as well, with up to 64 MiB a bot within a minute.
    Speed,
}

/// Findings on one bot.
#[derive(Debug, Serialize)]
pub struct BotLine {
    /// The n of `BOT_TOKEN_n`.
    pub number: u32,
    /// `@name`, with the sign.
    pub name: Option<String>,
    /// Data centre that it is at home in.
    pub data_centre: Option<i32>,
    /// Its channel as `-100…`, or as written in the settings when it was not found.
    pub channel: String,
    /// Reason why it does not work, and what to do.
    pub problem: Option<String>,
    /// Channels that it was added to and that no setting names.
    pub new_channels: Vec<NewChannel>,
}

/// Channel that a bot was added to and that no setting names.
#[derive(Debug, Serialize)]
pub struct NewChannel {
    /// `-100…`
    pub channel: String,
    /// Its title.
    pub title: String,
    /// True if the bot may post there.
    pub may_post: bool,
}

/// Findings on one channel.
#[derive(Debug, Serialize)]
pub struct ChannelLine {
    /// `-100…`
    pub channel: String,
    /// Its title, if a bot is in it.
    pub title: Option<String>,
    /// `@name` of a public channel, without the sign.
    pub username: Option<String>,
    /// Id of the library that its pinned message names.
    pub library: Option<String>,
    /// Numbers of the bots in it.
    pub bots: Vec<u32>,
}

/// Findings on one bot in one channel.
#[derive(Debug, Serialize)]
pub struct AccessLine {
    /// Number of the bot.
    pub bot: u32,
    /// `-100…`
    pub channel: String,
    /// Title of the channel.
    pub title: Option<String>,
    /// True if it is the channel that the bot posts to.
    pub own: bool,
    /// True if the bot is in it.
    pub member: bool,
    /// True if it may post messages.
    pub post: bool,
    /// True if it may edit messages.
    pub edit: bool,
    /// True if it may delete messages.
    pub delete: bool,
    /// True if it may pin messages.
    pub pin: bool,
    /// Numbers of the bots that read the test document of this one.
    pub read_by: Vec<u32>,
    /// Reason why the bot does not work, and what to do; only in its own channel.
    pub problem: Option<String>,
}

/// Wait that Telegram asked for.
#[derive(Debug, Serialize)]
pub struct WaitLine {
    /// Number of the bot.
    pub bot: u32,
    /// Step that the bot was at.
    pub step: String,
    /// Length of the wait.
    pub seconds: u64,
}

/// Tests all bots. A running daemon is not disturbed.
///
/// # Errors
/// When there are no bots to test, or the index cannot be closed.
pub async fn test_bots(config: &Config, test: Test) -> anyhow::Result<BotReport> {
    let StoreConfig::Telegram(telegram) = &config.store else {
        anyhow::bail!(
            "there are no bots to test: the store is a directory; set BOT_TOKEN, CHAT_ID, \
             TELEGRAM_API_ID and TELEGRAM_API_HASH, and no TGFS_STORE"
        );
    };
    let settings = telegram::settings(telegram).map_err(anyhow::Error::msg)?;
    let (keys, index, mut notes) = keys(config).await;
    let probe = BotCheck::new(&settings, &keys);
    let probed = probe.run().await;
    let mut report = judge(&probed);
    if test == Test::Speed {
        let measured = probe.measure(&probed).await;
        report.limits = Some(limits::limits(&measured));
        report.measured = Some(limits::lines(&measured));
        report
            .notes
            .push(limits::about_old_posts(measured.old_posts).to_owned());
        report.waits = waits(probe.waits());
    }
    if config.encryption.passphrase.is_none() {
        report
            .warnings
            .extend(probed.channels.iter().filter_map(in_the_open));
    }
    report.notes.append(&mut notes);
    drop(probe);
    if let Some(index) = index {
        tokio::task::spawn_blocking(move || index.shutdown()).await??;
    }
    Ok(report)
}

/// Returns the store of sign-ins. When there is a state that no process uses, it is the state's own, since
/// Telegram limits how often a bot signs in. Otherwise the sign-ins are forgotten after the test.
async fn keys(config: &Config) -> (Arc<dyn KeyStore>, Option<Arc<Index>>, Vec<String>) {
    let memory = || Arc::new(MemoryKeys::default()) as Arc<dyn KeyStore>;
    let state = config.state_dir.clone();
    if !state.exists() {
        return (memory(), None, Vec::new());
    }
    let opened = tokio::task::spawn_blocking(move || Index::open(&state, Owner::of_process()));
    let refused = match opened.await {
        Ok(Ok((index, _))) => {
            let index = Arc::new(index);
            return (index.key_store(), Some(index), Vec::new());
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    let note =
        format!("the bots signed in anew for this test, because the state is in use: {refused}");
    (memory(), None, vec![note])
}

fn named(channel: ChannelId, info: Option<&ChannelInfo>) -> String {
    match info {
        Some(info) => format!("channel \"{}\" ({})", info.title, channel),
        None => format!("channel {}", channel),
    }
}

fn numbers(bots: &[u32]) -> String {
    let words: Vec<String> = bots.iter().map(u32::to_string).collect();
    match &words[..] {
        [one] => format!("bot {one}"),
        [some @ .., last] => format!("bots {} and {last}", some.join(", ")),
        [] => "no bot".to_owned(),
    }
}

fn is_granted(right: Right) -> bool {
    right == Right::Granted
}

/// Returns one line with the step, the event, and the remedy.
fn line(error: &RemoteError) -> String {
    match error.kind {
        RemoteErrorKind::Unavailable => {
            format!("{error}; check the network, and TELEGRAM_SERVER where it is set")
        }
        _ => error.to_string(),
    }
}

fn judge(probed: &BotFindings) -> BotReport {
    let mut access = Vec::new();
    let mut bots = Vec::new();
    for bot in &probed.bots {
        let lines: Vec<AccessLine> = bot
            .access
            .iter()
            .map(|one| access_line(bot, one, probed))
            .collect();
        let problem = match (&bot.home, &bot.own) {
            (Err(error), _) | (Ok(_), Err(error)) => Some(line(error)),
            (Ok(_), Ok(_)) => lines.iter().find_map(|line| line.problem.clone()),
        };
        bots.push(BotLine {
            number: bot.number,
            name: bot.username.as_ref().map(|name| format!("@{name}")),
            data_centre: bot.home.as_ref().ok().copied(),
            channel: bot
                .own
                .as_ref()
                .map_or_else(|_| bot.chat.clone(), |own| own.to_string()),
            problem,
            new_channels: bot.new_channels.iter().map(new_channel).collect(),
        });
        access.extend(lines);
    }
    BotReport {
        ok: bots.iter().all(|bot| bot.problem.is_none()),
        bots,
        channels: probed.channels.iter().map(channel_line).collect(),
        access,
        warnings: warnings(probed),
        notes: Vec::new(),
        waits: waits(probed.waits.clone()),
        measured: None,
        limits: None,
    }
}

fn waits(met: Vec<RequestedWait>) -> Vec<WaitLine> {
    let line = |met: RequestedWait| WaitLine {
        bot: met.bot,
        step: met.step,
        seconds: met.wait.as_secs(),
    };
    met.into_iter().map(line).collect()
}

fn new_channel(info: &ChannelInfo) -> NewChannel {
    NewChannel {
        channel: info.peer.channel.to_string(),
        title: info.title.clone(),
        may_post: is_granted(info.rights.post),
    }
}

fn channel_line(channel: &ChannelFinding) -> ChannelLine {
    let info = channel.info.as_ref();
    ChannelLine {
        channel: channel.channel.to_string(),
        title: info.map(|info| info.title.clone()),
        username: info.and_then(|info| info.username.clone()),
        library: channel.library.map(|library| library.to_string()),
        bots: channel.members.clone(),
    }
}

fn access_line(bot: &BotFinding, access: &ChannelAccess, probed: &BotFindings) -> AccessLine {
    let own = bot.own.as_ref().is_ok_and(|own| *own == access.channel);
    let info = access.info.as_ref().ok();
    let has = |right: fn(&ChannelInfo) -> Right| info.is_some_and(|info| is_granted(right(info)));
    let described = probed
        .channels
        .iter()
        .find(|channel| channel.channel == access.channel);
    let title = info.or(described.and_then(|channel| channel.info.as_ref()));
    AccessLine {
        bot: bot.number,
        channel: access.channel.to_string(),
        title: title.map(|info| info.title.clone()),
        own,
        member: info.is_some(),
        post: has(|info| info.rights.post),
        edit: has(|info| info.rights.edit),
        delete: has(|info| info.rights.delete),
        pin: has(|info| info.rights.pin),
        read_by: match &access.round_trip {
            Some(RoundTrip::Passed { read_by }) => read_by.clone(),
            _ => Vec::new(),
        },
        problem: own.then(|| problem(access)).flatten(),
    }
}

/// Returns why a bot does not work in its own channel.
fn problem(access: &ChannelAccess) -> Option<String> {
    let info = match &access.info {
        Ok(info) => info,
        Err(error) => return Some(error.message.clone()),
    };
    let missing: Vec<&str> = [
        (info.rights.post, "post messages"),
        (info.rights.edit, "edit messages"),
        (info.rights.delete, "delete messages"),
    ]
    .into_iter()
    .filter(|(right, _)| !is_granted(*right))
    .map(|(_, name)| name)
    .collect();
    if !missing.is_empty() {
        return Some(format!(
            "it lacks the right to {}: grant it in the channel's list of administrators",
            missing.join(" and to ")
        ));
    }
    match &access.round_trip {
        Some(RoundTrip::Failed(error)) => Some(line(error)),
        _ => None,
    }
}

fn warnings(probed: &BotFindings) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut libraries = probed
        .channels
        .iter()
        .filter_map(|channel| Some((channel, channel.library?)));
    if let Some((first, library)) = libraries.next()
        && let Some((second, other)) = libraries.find(|(_, other)| *other != library)
    {
        warnings.push(format!(
            "{} belongs to library {library}, and {} to library {other}: tgfs refuses to start with both; use the channels of one of them",
            named(first.channel, first.info.as_ref()),
            named(second.channel, second.info.as_ref()),
        ));
    }
    let able: Vec<u32> = probed
        .bots
        .iter()
        .filter(|bot| bot.home.is_ok())
        .map(|bot| bot.number)
        .collect();
    for channel in &probed.channels {
        let name = named(channel.channel, channel.info.as_ref());
        let outside: Vec<u32> = able
            .iter()
            .filter(|bot| !channel.members.contains(bot))
            .copied()
            .collect();
        match &channel.members[..] {
            [only] if probed.bots.len() > 1 => warnings.push(format!(
                "only bot {only} can read {name}: when it is blocked or deleted, nothing there can be read until another bot is added as an administrator"
            )),
            [_, ..] if !outside.is_empty() => warnings.push(format!(
                "{} cannot read {name}: make every bot an administrator of every channel, and all of them read at once",
                numbers(&outside)
            )),
            _ => {}
        }
        let Some(info) = &channel.info else {
            continue;
        };
        if info.kind == ChannelKind::Group {
            warnings.push(format!(
                "{name} is a group: its members see and can delete what is stored there; make a private channel instead"
            ));
        }
        if info.slow_mode == SlowMode::On {
            warnings.push(format!(
                "{name} has slow mode, which delays uploads: turn it off in the group's permissions"
            ));
        }
        let pins = |bot: &BotFinding| {
            let mut access = bot.access.iter();
            access.any(|access| {
                let info = access.info.as_ref();
                access.channel == channel.channel
                    && info.is_ok_and(|info| is_granted(info.rights.pin))
            })
        };
        if !channel.members.is_empty() && !probed.bots.iter().any(pins) {
            warnings.push(format!(
                "no bot may pin messages in {name}: recovery has to search the whole channel instead of reading the pinned message"
            ));
        }
    }
    warnings
}

/// Returns a warning about a public channel, for a library that is not encrypted.
fn in_the_open(channel: &ChannelFinding) -> Option<String> {
    let info = channel.info.as_ref()?;
    let username = info.username.as_ref()?;
    Some(format!(
        "{} is public (@{username}): everybody can read what is stored there; make it private, or set TGFS_PASSPHRASE before the first upload",
        named(channel.channel, Some(info))
    ))
}
