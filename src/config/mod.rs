//! Settings: one table (`settings`), read in layers (`layers`: flag, environment, `.env`, default),
//! parsed by unit (`value`, `resolved`), checked all at once into sections (`configuration`), and
//! held behind one handle that `tgfs reload` swaps (`handle`).

mod bots;
mod cache;
mod configuration;
pub mod dotenv;
mod handle;
mod http;
mod layers;
mod log;
mod machine;
mod media;
mod quantity;
mod reader;
mod report;
mod resolved;
mod secret;
mod settings;
mod spool;
mod store;
mod telegram;
#[cfg(test)]
mod tests;
mod value;

pub use bots::BotConfig;
pub use cache::{CacheSettings, DiskCacheSettings, PreloadSettings};
pub use configuration::Config;
pub use handle::{ConfigHandle, Loaded, load, reload};
pub use http::{HttpBind, HttpSettings, HttpTrust};
pub use layers::{ConfigInputs, FlagValue, ValueOrigin};
pub use log::{LogLevel, LogSettings};
pub use media::MediaSettings;
pub use quantity::{parse_duration, parse_size};
pub use report::{ConfigRow, Reloaded};
pub use secret::Secret;
pub use settings::{Exposure, Fallback, Numbering, SETTINGS, Setting, Takes, Unit};
pub use spool::{MountSettings, SpoolSettings};
pub use store::{EncryptionSettings, StoreConfig, StoreOrigin};
pub use telegram::{ServerAddress, ServerSettings, TelegramSettings};
