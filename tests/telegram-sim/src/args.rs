//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use telegram_sim::{Bot, Faults, Options, Profile, StatusForm, Visibility};

/// A Telegram server on loopback, to test against.
#[derive(Debug, Parser)]
#[command(name = "telegram-sim", version)]
pub(crate) struct Args {
    /// Where data center 2 listens; port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT", value_parser = resolve)]
    listen: SocketAddr,
    /// How many bots there are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    bots: u32,
    /// How many channels; all bots are members of all, bot n posts to channel ((n-1) mod C)+1
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    channels: u32,
    /// Gets all settings that tgfs needs; the server's key goes beside it as FILE.pem
    #[arg(long, value_name = "FILE")]
    pub(crate) write_env: PathBuf,
    /// Round trip of each call, in milliseconds
    #[arg(long, value_name = "L")]
    latency_ms: Option<f64>,
    /// Megabytes a second of one connection, each direction
    #[arg(long, value_name = "X")]
    lane_mbytes_per_s: Option<f64>,
    /// Megabytes a second of all connections of a bot together, each direction
    #[arg(long, value_name = "Y")]
    bot_mbytes_per_s: Option<f64>,
    /// Posts and edits a minute in each channel [default: 20]; 0 for no limit
    #[arg(long, value_name = "M")]
    messages_per_minute: Option<f64>,
    /// How many of them may come at once [default: 20]
    #[arg(long, value_name = "B")]
    burst: Option<u32>,
    /// How far the server's calendar is ahead, in hours
    #[arg(long, value_name = "HOURS", default_value_t = 0.0)]
    clock_offset: f64,
    /// Keeps the state there over restarts
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Limits that `tgfs test-bots --measure` learned; flags win over it
    #[arg(long, value_name = "JSON")]
    profile: Option<PathBuf>,
    /// What goes wrong by chance: flood=5%:2,drop=3%,expire=5%,stall=1%, premium, slowmode, lostreply,
    /// missing, toomany, internal, timeout, forget (the auth key), signout; the word handshake lets it hit
    /// starts of connections too
    #[arg(long, value_name = "FAULTS", default_value = "")]
    faults: Faults,
    /// Transport errors come as payloads of packets, as other servers send them
    #[arg(long)]
    framed_status: bool,
    /// Of the dice behind the faults
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Where data center 4 listens, if there is to be one
    #[arg(long, value_name = "HOST:PORT", value_parser = resolve)]
    second_dc: Option<SocketAddr>,
    /// How many of the bots, the last ones, are at home there
    #[arg(long, value_name = "N", default_value_t = 0, requires = "second_dc")]
    second_dc_bots: u32,
    /// auth.exportAuthorization a minute of each bot; 0 for no limit
    #[arg(long, value_name = "M")]
    exports_per_minute: Option<f64>,
    /// Gives the channels names: simchannel1, simchannel2, ...
    #[arg(long)]
    public: bool,
}

/// The first address of a name.
fn resolve(text: &str) -> Result<SocketAddr> {
    text.to_socket_addrs()
        .with_context(|| format!("{text}: no HOST:PORT"))?
        .next()
        .with_context(|| format!("{text}: no such host"))
}

impl Args {
    /// # Errors
    /// A value that makes no sense.
    pub(crate) fn options(&self) -> Result<Options> {
        ensure!(
            self.second_dc_bots <= self.bots,
            "there are only {} bots",
            self.bots
        );
        let first_there = self.bots - self.second_dc_bots + 1;
        let mut options = Options {
            listen: self.listen,
            second_dc: self.second_dc,
            second_dc_bots: (first_there..=self.bots).map(Bot).collect(),
            bots: self.bots,
            channels: self.channels,
            visibility: if self.public {
                Visibility::Public
            } else {
                Visibility::Private
            },
            faults: self.faults,
            status_form: if self.framed_status {
                StatusForm::Framed
            } else {
                StatusForm::Bare
            },
            seed: self.seed,
            clock_offset: Duration::try_from_secs_f64(self.clock_offset * 3600.0)?,
            data: self.data.clone(),
            ..Options::default()
        };
        if let Some(path) = &self.profile {
            Profile::read(path)?.apply(&mut options)?;
        }
        self.limits().apply(&mut options)?;
        Ok(options)
    }

    /// The flags that a profile has fields for.
    fn limits(&self) -> Profile {
        Profile {
            latency_ms: self.latency_ms,
            lane_mbytes_per_s: self.lane_mbytes_per_s,
            bot_mbytes_per_s: self.bot_mbytes_per_s,
            messages_per_minute: self.messages_per_minute,
            burst: self.burst,
            exports_per_minute: self.exports_per_minute,
            ..Profile::default()
        }
    }
}
