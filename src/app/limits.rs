//! The limits of the service as `test-bots --measure` found them, in the form that telegram-sim reads.

use serde::Serialize;

use crate::remote::telegram::{BotSpeeds, Measured, OldPosts};

/// Age in hours from which a message counts as old.
const OLD_HOURS: f64 = 48.0;

/// A profile for `telegram-sim --profile`, without unknown limits and without secrets.
#[derive(Debug, Default, Serialize)]
pub struct MeasuredLimits {
    /// Round trip of a short call, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// Bytes a second over one connection in the slower direction, in units of 10^6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane_mbytes_per_s: Option<f64>,
    /// Bytes a second over all connections of one bot in the slower direction, in units of 10^6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bot_mbytes_per_s: Option<f64>,
    /// Age in hours from which a bot cannot delete a message any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_after_hours: Option<f64>,
    /// Outcome of deleting such messages: `keep`, `refuse` or `delete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_posts: Option<&'static str>,
}

/// The measurements of one bot.
#[derive(Debug, Serialize)]
pub struct MeasuredLine {
    pub bot: u32,
    pub round_trip_ms: Option<f64>,
    /// 10^6 bytes per second over one connection.
    pub lane_up: Option<f64>,
    pub lane_down: Option<f64>,
    /// 10^6 bytes per second over `connections`.
    pub bot_up: Option<f64>,
    pub bot_down: Option<f64>,
    pub connections: Option<usize>,
    pub problem: Option<String>,
}

/// Returns the profile. Each figure is the median over the bots.
pub fn limits(measured: &Measured) -> MeasuredLimits {
    let figures: Vec<BotSpeeds> = measured
        .bots
        .iter()
        .filter_map(|bot| bot.speeds.as_ref().ok().copied())
        .collect();
    let middle = |of: &dyn Fn(&BotSpeeds) -> f64| {
        let mut values: Vec<f64> = figures.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().map(rounded)
    };
    let old_posts = match measured.old_posts {
        OldPosts::NotTried => None,
        OldPosts::Kept => Some("keep"),
        OldPosts::Refused => Some("refuse"),
        OldPosts::Deleted => Some("delete"),
    };
    MeasuredLimits {
        latency_ms: middle(&|figures| figures.round_trip.as_secs_f64() * 1e3),
        lane_mbytes_per_s: middle(&|figures| {
            figures.connection_up.min(figures.connection_down) / 1e6
        }),
        bot_mbytes_per_s: middle(&|figures| figures.bot_up.min(figures.bot_down) / 1e6),
        delete_after_hours: old_posts
            .filter(|what| *what != "delete")
            .map(|_| OLD_HOURS),
        old_posts,
    }
}

/// Returns the measurements of each bot.
pub fn lines(measured: &Measured) -> Vec<MeasuredLine> {
    let line = |bot: &crate::remote::telegram::BotMeasured| {
        let figures = bot.speeds.as_ref().ok();
        let rate = |of: fn(&BotSpeeds) -> f64| figures.map(|figures| rounded(of(figures) / 1e6));
        MeasuredLine {
            bot: bot.bot,
            round_trip_ms: figures.map(|figures| rounded(figures.round_trip.as_secs_f64() * 1e3)),
            lane_up: rate(|figures| figures.connection_up),
            lane_down: rate(|figures| figures.connection_down),
            bot_up: rate(|figures| figures.bot_up),
            bot_down: rate(|figures| figures.bot_down),
            connections: figures.map(|figures| figures.connections),
            problem: bot.speeds.as_ref().err().map(ToString::to_string),
        }
    };
    measured.bots.iter().map(line).collect()
}

/// Returns a message for the user about the deletion of old messages.
pub const fn about_old_posts(found: OldPosts) -> &'static str {
    match found {
        OldPosts::NotTried => {
            "whether bots can delete posts older than 48 hours is not known yet: a probe was left in the channel; measure again in two days"
        }
        OldPosts::Kept | OldPosts::Refused => {
            "bots cannot delete posts older than 48 hours here: what is deleted later stays in the channel, or is blanked with TGFS_TOMBSTONE"
        }
        OldPosts::Deleted => "bots can delete posts older than 48 hours here",
    }
}

/// Rounds to three decimal places.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
