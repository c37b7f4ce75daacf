//! State that all connections of a server share.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::api::bot_user_id;
use crate::controls::Controls;
use crate::digest::sha256;
use crate::lock::locked;
use crate::options::{Bot, Options};
use crate::world::World;

/// The data center at the address that clients are given.
pub(crate) const HOME_DC: i32 = 2;
/// The second data center.
pub(crate) const SECOND_DC: i32 = 4;

/// Characters behind the colon of a token.
const TOKEN_SECRET_LENGTH: usize = 35;

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) controls: Controls,
    world: Mutex<World>,
    /// Addresses of the data centers, as they were bound.
    addresses: Mutex<Vec<(i32, SocketAddr)>>,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Result<Self> {
        Ok(Self {
            controls: Controls::new(&options),
            world: Mutex::new(World::open(&options)?),
            addresses: Mutex::new(Vec::new()),
            options,
        })
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        locked(&self.world)
    }

    pub(crate) fn addresses(&self) -> Vec<(i32, SocketAddr)> {
        locked(&self.addresses).clone()
    }

    pub(crate) fn set_addresses(&self, addresses: Vec<(i32, SocketAddr)>) {
        *locked(&self.addresses) = addresses;
    }

    /// Returns the seconds since 1970 on the server's calendar.
    pub(crate) fn now(&self) -> i32 {
        let real = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i32::try_from((real + self.controls.clock_offset()).as_secs()).unwrap_or(i32::MAX)
    }

    /// Returns the home of a bot.
    pub(crate) fn home_of(&self, bot: Bot) -> i32 {
        if self.options.second_dc_bots.contains(&bot) {
            SECOND_DC
        } else {
            HOME_DC
        }
    }

    /// Returns the token of a bot, which is the same in every run.
    pub(crate) fn token(&self, bot: Bot) -> String {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let digest = sha256(&[b"token of simulated bot", &bot.0.to_le_bytes()]);
        let secret: String = digest
            .iter()
            .cycle()
            .take(TOKEN_SECRET_LENGTH - 2)
            .map(|byte| char::from(LETTERS[usize::from(byte % 64)]))
            .collect();
        format!("{}:AA{secret}", bot_user_id(bot))
    }

    pub(crate) fn bot_of_token(&self, token: &str) -> Option<Bot> {
        (1..=self.options.bots)
            .map(Bot)
            .find(|bot| self.token(*bot) == token)
    }
}
