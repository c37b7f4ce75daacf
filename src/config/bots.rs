//! Bots and channels, in the three forms that the older system's users have.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Secret;
use super::layers::Values;

/// Values that the older system's example file holds in place of a token.
const PLACEHOLDERS: [&str; 2] = ["your_bot_token_here", "your_chat_id_here"];

/// One bot and the channel that it posts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bot {
    /// The n of BOT_TOKEN_n; bots of MULTI_BOT_CONFIG come behind the highest.
    pub number: u32,
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

/// All bots by number. Problems name the key, never a value.
pub(super) fn collect(values: &Values, problems: &mut Vec<String>) -> Vec<Bot> {
    let usual = |name: &str| {
        let value = values.explicit(name)?;
        (!PLACEHOLDERS.contains(&value)).then(|| value.to_owned())
    };
    let shared_chat = usual("CHAT_ID");
    let mut found: BTreeMap<u32, (String, Option<String>, String)> = BTreeMap::new();
    if let Some(token) = usual("BOT_TOKEN") {
        let chat = usual("CHAT_ID_1");
        found.insert(1, (token, chat, "BOT_TOKEN".to_owned()));
    }
    for key in values.members("BOT_TOKEN_") {
        let Ok(number) = key["BOT_TOKEN_".len()..].parse::<u32>() else {
            problems.push(format!("{key}: the number is too large"));
            continue;
        };
        if let Some(token) = usual(&key) {
            let chat = usual(&format!("CHAT_ID_{number}"));
            found.insert(number, (token, chat, key));
        }
    }
    let mut next = found.keys().last().map_or(1, |last| last.saturating_add(1));
    for (place, raw) in multi_bots(values, problems).into_iter().enumerate() {
        let chat = raw.chat_id.map(|chat| match chat {
            RawChat::Number(id) => id.to_string(),
            RawChat::Text(text) => text,
        });
        let key = format!("MULTI_BOT_CONFIG entry {}", place + 1);
        // The same bot may stand in both forms: a token is one bot.
        if found.values().all(|(token, ..)| *token != raw.token) {
            found.insert(next, (raw.token, chat, key));
            next = next.saturating_add(1);
        }
    }
    let mut bots = Vec::new();
    for (number, (token, chat, key)) in found {
        if !is_token(&token) {
            problems.push(format!(
                "{key} is no bot token: @BotFather gives one as 123456789:AA…"
            ));
        }
        match chat.or_else(|| shared_chat.clone()) {
            None => problems.push(format!(
                "{key} has no channel: set CHAT_ID, or CHAT_ID_{number}"
            )),
            Some(chat) if !is_chat(&chat) => problems.push(format!(
                "the channel of {key} must be a number such as -1001234567890, or @name"
            )),
            Some(chat_id) => bots.push(Bot {
                number,
                token: Secret::new(token),
                chat_id,
            }),
        }
    }
    bots
}

fn multi_bots(values: &Values, problems: &mut Vec<String>) -> Vec<RawBot> {
    let Some(text) = values.explicit("MULTI_BOT_CONFIG") else {
        return Vec::new();
    };
    match serde_json::from_str(text) {
        Ok(BotList::List(list)) => list,
        Ok(BotList::ByName(by_name)) => by_name.into_values().collect(),
        Err(error) => {
            // serde's own text could quote a part of a token.
            problems.push(format!(
                "MULTI_BOT_CONFIG is not what it must be (line {}, column {}): write \
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
            && !secret.is_empty()
            && secret
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    })
}

fn is_chat(text: &str) -> bool {
    text.parse::<i64>().is_ok() || text.strip_prefix('@').is_some_and(|name| !name.is_empty())
}
