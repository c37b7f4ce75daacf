//! Bots and channels, in the three forms that users of the older system have.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::resolved::ResolvedSettings;
use super::secret::Secret;

/// Placeholders of the older system's example file.
const PLACEHOLDERS: [&str; 2] = ["your_bot_token_here", "your_chat_id_here"];

/// Least length of the secret behind the colon of a token. Telegram's have 35 characters.
const MIN_SECRET_CHARS: usize = 30;

/// Ids of channels as bots use them: -100 before the channel's own number, which has ten digits or
/// more.
const CHANNEL_IDS: std::ops::RangeInclusive<i64> = -1_999_999_999_999..=-1_000_000_000_001;

/// One bot and the channel that it posts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotConfig {
    /// The n of BOT_TOKEN_n; bots of MULTI_BOT_CONFIG are numbered after the highest.
    pub number: u32,
    /// Token from @BotFather.
    pub token: Secret<String>,
    /// `-100…` or `@name`
    pub chat_id: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum BotList {
    List(Vec<RawBot>),
    ByName(BTreeMap<String, RawBot>),
}

#[derive(Deserialize)]
struct RawBot {
    #[serde(alias = "bot_token")]
    token: String,
    #[serde(default, alias = "chat", alias = "channel_id")]
    chat_id: Option<RawChat>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawChat {
    Number(i64),
    Text(String),
}

/// All bots that are configured, and everything that is wrong with them.
#[derive(Debug, Default)]
pub(super) struct ConfiguredBots {
    /// In the order of their numbers.
    pub bots: Vec<BotConfig>,
    /// Problems, which name the key and never a value.
    pub problems: Vec<String>,
    /// Channels that no bot posts to.
    pub warnings: Vec<String>,
}

impl ConfiguredBots {
    /// Returns whether anything says that bots are meant to be used.
    pub(super) fn is_any_set(&self) -> bool {
        !self.bots.is_empty() || !self.problems.is_empty()
    }
}

/// One token, before it is checked.
struct TokenEntry {
    token: String,
    chat: Option<String>,
    /// The key that holds it.
    key: String,
}

/// Collects all bots.
pub(super) fn collect(settings: &ResolvedSettings) -> ConfiguredBots {
    let usual = |name: &str| {
        let value = settings.explicit(name)?;
        (!PLACEHOLDERS.contains(&value)).then(|| value.to_owned())
    };
    let mut collected = ConfiguredBots::default();
    let problems = &mut collected.problems;
    let mut found: BTreeMap<u32, TokenEntry> = BTreeMap::new();
    let mut keys = settings.members("BOT_TOKEN_");
    keys.insert(0, "BOT_TOKEN".to_owned());
    for key in keys {
        let number = match key.strip_prefix("BOT_TOKEN_") {
            None => Some(1),
            Some(digits) => digits.parse::<u32>().ok(),
        };
        let Some(number) = number else {
            problems.push(format!("{key}: the number is too large"));
            continue;
        };
        if let Some(token) = usual(&key) {
            let chat = usual(&format!("CHAT_ID_{number}"));
            found.insert(number, TokenEntry { token, chat, key });
        }
    }
    let named: Vec<String> = found.values().map(|one| one.token.clone()).collect();
    let mut next = found.keys().last().map_or(1, |last| last.saturating_add(1));
    for (place, raw) in multi_bots(settings, problems).into_iter().enumerate() {
        // A bot that is written in both forms is one bot.
        if named.contains(&raw.token) {
            continue;
        }
        let chat = raw.chat_id.map(|chat| match chat {
            RawChat::Number(id) => id.to_string(),
            RawChat::Text(text) => text,
        });
        let key = format!("MULTI_BOT_CONFIG entry {}", place + 1);
        let token = raw.token;
        found.insert(next, TokenEntry { token, chat, key });
        next = next.saturating_add(1);
    }
    find_twins(&found, problems);
    let shared_chat = usual("CHAT_ID");
    for key in settings.members("CHAT_ID_") {
        let number = key["CHAT_ID_".len()..].parse::<u32>().ok();
        if number.is_none_or(|number| !found.contains_key(&number)) {
            let token = key.replace("CHAT_ID_", "BOT_TOKEN_");
            collected
                .warnings
                .push(format!("{key} is set without {token}, and is ignored"));
        }
    }
    if found.is_empty() && shared_chat.is_some() {
        collected
            .warnings
            .push("CHAT_ID is set without BOT_TOKEN, and is ignored".to_owned());
    }
    for (number, TokenEntry { token, chat, key }) in found {
        if !is_token(&token) {
            problems.push(format!(
                "{key} is not a bot token: one from @BotFather is a number, a colon and 35 letters, digits, \
                 - or _ (123456789:AA…); copy it whole"
            ));
        }
        match chat.or_else(|| shared_chat.clone()) {
            None => problems.push(format!(
                "{key} has no channel: set CHAT_ID, or CHAT_ID_{number}"
            )),
            Some(chat) if !is_chat(&chat) => problems.push(format!(
                "the channel of {key} must be a number such as -1001234567890, or @name"
            )),
            Some(chat_id) => collected.bots.push(BotConfig {
                number,
                token: Secret::new(token),
                chat_id,
            }),
        }
    }
    collected
}

/// Reports tokens that begin with the same number. They belong to one bot, and only one of them is valid.
fn find_twins(found: &BTreeMap<u32, TokenEntry>, problems: &mut Vec<String>) {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for TokenEntry { token, key, .. } in found.values() {
        let bot = token.split(':').next().unwrap_or_default();
        match seen.get(bot) {
            Some(first) => problems.push(format!(
                "{first} and {key} are the same bot: remove one, or make another bot with \
                 @BotFather"
            )),
            None => {
                seen.insert(bot, key);
            }
        }
    }
}

fn multi_bots(settings: &ResolvedSettings, problems: &mut Vec<String>) -> Vec<RawBot> {
    let Some(text) = settings.explicit("MULTI_BOT_CONFIG") else {
        return Vec::new();
    };
    match serde_json::from_str(text) {
        Ok(BotList::List(list)) => list,
        Ok(BotList::ByName(by_name)) => by_name.into_values().collect(),
        Err(error) => {
            // serde's own text could quote a part of a token.
            problems.push(format!(
                "MULTI_BOT_CONFIG is not valid (line {}, column {}): write \
                 [{{\"token\": \"…\", \"chat_id\": \"…\"}}, …]",
                error.line(),
                error.column()
            ));
            Vec::new()
        }
    }
}

fn is_token(text: &str) -> bool {
    text.split_once(':').is_some_and(|(id, secret)| {
        !id.is_empty()
            && id.bytes().all(|byte| byte.is_ascii_digit())
            && secret.len() >= MIN_SECRET_CHARS
            && secret
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    })
}

fn is_chat(text: &str) -> bool {
    match text.strip_prefix('@') {
        Some(name) => !name.is_empty(),
        None => text.parse().is_ok_and(|id: i64| CHANNEL_IDS.contains(&id)),
    }
}
