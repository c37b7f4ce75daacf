//! `test-bots`: what the bots were found to be able to do, judged, and told in words.

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

/// What `test-bots` found.
#[derive(Debug, Serialize)]
pub struct BotReport {
    /// Whether every bot can do what it must.
    pub ok: bool,
    pub bots: Vec<BotLine>,
    pub channels: Vec<ChannelLine>,
    /// One for each bot and channel.
    pub access: Vec<AccessLine>,
    pub warnings: Vec<String>,
    pub notes: Vec<String>,
    /// Waits that the service asked for meanwhile.
    pub waits: Vec<WaitLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Vec<MeasuredLine>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<MeasuredLimits>,
}

/// How far a test goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// Whether everything works.
    Function,
    /// How fast it goes, too: up to 64 MiB a bot, and a minute.
    Speed,
}

#[derive(Debug, Serialize)]
pub struct BotLine {
    pub number: u32,
    /// `@name`
    pub name: Option<String>,
    pub data_centre: Option<i32>,
    /// Its own: `-100…`; as written in the settings where it could not be found.
    pub channel: String,
    /// What keeps it from working, and what to do.
    pub problem: Option<String>,
    pub new_channels: Vec<NewChannel>,
}

/// A channel that a bot was put into and that no setting names.
#[derive(Debug, Serialize)]
pub struct NewChannel {
    pub channel: String,
    pub title: String,
    pub may_post: bool,
}

#[derive(Debug, Serialize)]
pub struct ChannelLine {
    pub channel: String,
    pub title: Option<String>,
    pub username: Option<String>,
    pub library: Option<String>,
    /// Numbers of the bots that are in there.
    pub bots: Vec<u32>,
}

#[derive(Debug, Serialize)]
pub struct AccessLine {
    pub bot: u32,
    pub channel: String,
    pub title: Option<String>,
    /// Whether it is the channel that the bot posts to.
    pub own: bool,
    pub member: bool,
    pub post: bool,
    pub edit: bool,
    pub delete: bool,
    pub pin: bool,
    /// Bots that read what this one posted.
    pub read_by: Vec<u32>,
    /// What keeps the bot from working, and what to do; only in its own channel.
    pub problem: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct WaitLine {
    pub bot: u32,
    pub step: String,
    pub seconds: u64,
}

/// Tries all bots, beside a running daemon too.
///
/// # Errors
/// When there are no bots to test.
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

/// Sign-ins are taken from the state and kept there, where there is one that nobody uses: the service
/// limits how often a bot signs in.
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
        format!("the bots signed in anew for this test, since the state is not free: {refused}");
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

/// In one line: what was done, what happened, what to do.
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

/// What is missing in a bot's own channel.
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

/// A channel that everybody can read, of a library that is not encrypted.
fn in_the_open(channel: &ChannelFinding) -> Option<String> {
    let info = channel.info.as_ref()?;
    let username = info.username.as_ref()?;
    Some(format!(
        "{} is public (@{username}): everybody can read what is stored there; make it private, or set TGFS_PASSPHRASE before the first upload",
        named(channel.channel, Some(info))
    ))
}
