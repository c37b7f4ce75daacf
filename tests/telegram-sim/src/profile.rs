//! Limits that were learned from the service: what `tgfs test-bots --measure` writes.
//!
//! A JSON object; every field may be missing, and fields that are not known here are ignored:
//!
//! | field | unit |
//! | --- | --- |
//! | `latency_ms` | round trip of a short call, milliseconds |
//! | `lane_mbytes_per_s` | one connection, each direction, 10^6 bytes a second |
//! | `bot_mbytes_per_s` | all connections of one bot, each direction, 10^6 bytes a second |
//! | `messages_per_minute` | posts and edits in one channel; 0 for no limit |
//! | `burst` | how many of them at once |
//! | `delete_after_hours` | age from which a bot no longer deletes a post |
//! | `reference_minutes` | life of a file reference |
//! | `part_minutes` | life of a saved part |
//! | `exports_per_minute` | `auth.exportAuthorization`, a bot; 0 for no limit |
//! | `duplicates` | `refuse` or `answer_first`: a random id that comes again |
//! | `old_posts` | `keep`, `refuse` or `delete`: what becomes of them |

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::options::{Duplicates, OldPosts, Options, Pace};

/// The limits, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Profile {
    pub latency_ms: Option<f64>,
    pub lane_mbytes_per_s: Option<f64>,
    pub bot_mbytes_per_s: Option<f64>,
    pub messages_per_minute: Option<f64>,
    pub burst: Option<u32>,
    pub delete_after_hours: Option<f64>,
    pub reference_minutes: Option<f64>,
    pub part_minutes: Option<f64>,
    pub exports_per_minute: Option<f64>,
    pub duplicates: Option<Duplicates>,
    pub old_posts: Option<OldPosts>,
}

fn bytes_per_s(megabytes: f64) -> Result<u64> {
    ensure!(
        megabytes.is_finite() && megabytes > 0.0,
        "{megabytes} MB/s: a bandwidth is above 0"
    );
    Ok((megabytes * 1e6) as u64)
}

fn duration(amount: f64, unit_seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(amount * unit_seconds)
        .with_context(|| format!("{amount}: not a span of time"))
}

impl Profile {
    /// # Errors
    /// A file that cannot be read, or whose fields have other types.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no profile", path.display()))
    }

    /// Puts what is known into `options`.
    ///
    /// # Errors
    /// A number that makes no sense, such as a negative one.
    pub fn apply(&self, options: &mut Options) -> Result<()> {
        const MINUTE: f64 = 60.0;
        let shape = &mut options.shape;
        if let Some(latency) = self.latency_ms {
            shape.latency = duration(latency, 0.001)?;
        }
        if let Some(limit) = self.lane_mbytes_per_s {
            shape.lane_bytes_per_s = Some(bytes_per_s(limit)?);
        }
        if let Some(limit) = self.bot_mbytes_per_s {
            shape.bot_bytes_per_s = Some(bytes_per_s(limit)?);
        }
        if let Some(limit) = self.messages_per_minute {
            ensure!(limit >= 0.0, "{limit} messages a minute");
            options.pace.messages_per_minute = limit;
        }
        if let Some(burst) = self.burst {
            options.pace.burst = burst;
        }
        if let Some(hours) = self.delete_after_hours {
            options.delete_within = duration(hours, 60.0 * MINUTE)?;
        }
        if let Some(minutes) = self.reference_minutes {
            options.reference_lifetime = duration(minutes, MINUTE)?;
        }
        if let Some(minutes) = self.part_minutes {
            options.part_lifetime = duration(minutes, MINUTE)?;
        }
        if let Some(limit) = self.exports_per_minute {
            ensure!(limit >= 0.0, "{limit} exports a minute");
            options.export_pace = Pace {
                messages_per_minute: limit,
                burst: 1,
            };
        }
        if let Some(duplicates) = self.duplicates {
            options.duplicates = duplicates;
        }
        if let Some(old_posts) = self.old_posts {
            options.old_posts = old_posts;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(text: &str) -> Result<Options> {
        let profile: Profile = serde_json::from_str(text)?;
        let mut options = Options::default();
        profile.apply(&mut options)?;
        Ok(options)
    }

    #[test]
    fn what_is_known_is_taken_and_the_rest_is_left() {
        let options = applied(
            r#"{"latency_ms": 42.5, "lane_mbytes_per_s": 8, "messages_per_minute": 15,
                "delete_after_hours": null, "duplicates": "answer_first", "measured_by": "me"}"#,
        )
        .expect("a profile");
        assert_eq!(options.shape.latency, Duration::from_micros(42_500));
        assert_eq!(options.shape.lane_bytes_per_s, Some(8_000_000));
        assert_eq!(options.shape.bot_bytes_per_s, None);
        assert_eq!(options.pace.messages_per_minute, 15.0);
        assert_eq!(options.pace.burst, 20);
        assert_eq!(options.duplicates, Duplicates::AnswerFirst);
        assert_eq!(options.delete_within, Options::default().delete_within);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            r#"{"lane_mbytes_per_s": 0}"#,
            r#"{"latency_ms": -1}"#,
            r#"{"messages_per_minute": -3}"#,
            r#"{"old_posts": "burn"}"#,
        ] {
            assert!(applied(text).is_err(), "{text}");
        }
    }
}
