//! What goes wrong: by chance, so many calls in a hundred, or on order, the next call of a method.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::options::Bot;

/// How likely something is, in percent of the calls it can happen to.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

/// A wait that the server asks for. Until it is over, calls of the same method by the same bot are
/// told to wait for what is left of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wait {
    pub chance: Percent,
    pub seconds: u32,
}

/// Which messages faults can hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Calls, but not the start of a connection: handshake, `initConnection`, sign-in.
    #[default]
    Calls,
    /// Those too.
    Everything,
}

/// Faults by chance. Each call rolls once for each of them; the first that comes up happens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// `FLOOD_WAIT_X`
    pub flood: Wait,
    /// `FLOOD_PREMIUM_WAIT_X`, where files go up or down.
    pub premium: Wait,
    /// `SLOWMODE_WAIT_X`, where messages are posted.
    pub slow_mode: Wait,
    /// The connection is closed: half of the time before the call took effect, half after.
    pub drop: Percent,
    /// A post or an edit takes effect, and the connection is closed instead of an answer.
    pub lost_reply: Percent,
    /// The reference that `upload.getFile` uses expires for good.
    pub expire: Percent,
    /// The call is acknowledged and never answered.
    pub stall: Percent,
    /// `FILE_PART_X_MISSING`: one of the parts that a message needs is gone.
    pub missing: Percent,
    /// Transport error -429, and the connection is closed.
    pub too_many: Percent,
    /// Error 500.
    pub internal: Percent,
    /// Error -503, `Timeout`.
    pub timeout: Percent,
    /// The server forgets the auth key of the call.
    pub forget: Percent,
    /// The key of the call is signed out.
    pub sign_out: Percent,
    pub reach: Reach,
}

/// One fault that happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `FLOOD_WAIT_X`, seconds
    Flood(u32),
    /// `FLOOD_PREMIUM_WAIT_X`, seconds
    PremiumFlood(u32),
    /// `SLOWMODE_WAIT_X`, seconds
    SlowMode(u32),
    /// The connection is closed before the call takes effect.
    DropBefore,
    /// The call takes effect, and the connection is closed instead of an answer.
    DropAfter,
    /// The file reference in the call expires for good.
    Expire,
    /// Acknowledged, without effect, never answered.
    Stall,
    /// One of the parts that the message needs is gone.
    MissingPart,
    /// Transport error -429, and the connection is closed.
    TooMany,
    /// Error 500
    Internal,
    /// Error -503
    Timeout,
    /// `FILE_MIGRATE_X` or `USER_MIGRATE_X`, which name another data center. With a second one the two name
    /// each other.
    Elsewhere,
    /// The server forgets the auth key: transport error -404.
    ForgetKey,
    /// The key is signed out: `AUTH_KEY_UNREGISTERED`.
    SignOut,
}

/// A fault on order.
#[derive(Clone, Debug)]
pub struct Injection {
    method: String,
    bot: Option<Bot>,
    fault: Fault,
    skip: u32,
    times: u32,
}

impl Injection {
    /// Happens to the next call of `method` (such as `upload.getFile`) by any bot, once; one that asks
    /// to wait lasts as [`Wait`] says. The method of a handshake's messages is `handshake`.
    #[must_use]
    pub fn on(method: &str, fault: Fault) -> Self {
        Self {
            method: method.to_owned(),
            bot: None,
            fault,
            skip: 0,
            times: 1,
        }
    }

    /// Only to calls of this bot.
    #[must_use]
    pub fn of_bot(mut self, bot: Bot) -> Self {
        self.bot = Some(bot);
        self
    }

    /// Lets so many calls pass first.
    #[must_use]
    pub fn after(mut self, calls: u32) -> Self {
        self.skip = calls;
        self
    }

    /// To so many calls, one after the other.
    #[must_use]
    pub fn times(mut self, calls: u32) -> Self {
        self.times = calls;
        self
    }
}

/// The faults of a running server: those on order, then those by chance.
pub(crate) struct FaultPlan {
    chances: Faults,
    orders: Vec<Injection>,
    /// Until when a bot was told to wait with a method, and in which words.
    waits: HashMap<(Bot, String), (Instant, Fault)>,
    dice: Dice,
}

impl Fault {
    /// Seconds to wait, for the faults that ask for it.
    fn wait(self) -> Option<u32> {
        match self {
            Self::Flood(seconds) | Self::PremiumFlood(seconds) | Self::SlowMode(seconds) => {
                Some(seconds)
            }
            _ => None,
        }
    }

    /// The same words with other seconds.
    fn with_wait(self, seconds: u32) -> Self {
        match self {
            Self::PremiumFlood(_) => Self::PremiumFlood(seconds),
            Self::SlowMode(_) => Self::SlowMode(seconds),
            _ => Self::Flood(seconds),
        }
    }
}

impl FaultPlan {
    pub(crate) fn new(chances: Faults, seed: u64) -> Self {
        Self {
            chances,
            orders: Vec::new(),
            waits: HashMap::new(),
            dice: Dice(seed),
        }
    }

    pub(crate) fn set_chances(&mut self, chances: Faults) {
        self.chances = chances;
    }

    pub(crate) fn order(&mut self, injection: Injection) {
        self.orders.push(injection);
    }

    /// Forgets orders, and waits that are not over.
    pub(crate) fn clear_orders(&mut self) {
        self.orders.clear();
        self.waits.clear();
    }

    /// What happens to this call of a signed-in bot.
    pub(crate) fn of_call(&mut self, method: &str, bot: Option<Bot>) -> Option<Fault> {
        if let Some(fault) = self.waiting(method, bot) {
            return Some(fault);
        }
        let fault = self
            .ordered(method, bot)
            .or_else(|| self.by_chance(method))?;
        if let (Some(bot), Some(seconds)) = (bot, fault.wait()) {
            let until = Instant::now() + Duration::from_secs(u64::from(seconds));
            self.waits.insert((bot, method.to_owned()), (until, fault));
        }
        Some(fault)
    }

    /// The rest of a wait that the bot was told before.
    fn waiting(&mut self, method: &str, bot: Option<Bot>) -> Option<Fault> {
        if self.waits.is_empty() {
            return None;
        }
        let now = Instant::now();
        self.waits.retain(|_, (until, _)| *until > now);
        let (until, fault) = self.waits.get(&(bot?, method.to_owned()))?;
        let left = until.duration_since(now).as_secs_f64().ceil();
        Some(fault.with_wait(left as u32))
    }

    /// What happens to a message that starts a connection.
    pub(crate) fn of_start(&mut self, method: &str, bot: Option<Bot>) -> Option<Fault> {
        self.ordered(method, bot)
            .or_else(|| match self.chances.reach {
                Reach::Calls => None,
                Reach::Everything => self.by_chance(method),
            })
    }

    fn ordered(&mut self, method: &str, bot: Option<Bot>) -> Option<Fault> {
        let order = self.orders.iter_mut().find(|order| {
            order.method == method
                && order.times > 0
                && order.bot.is_none_or(|one| bot == Some(one))
        })?;
        if order.skip > 0 {
            order.skip -= 1;
            return None;
        }
        order.times -= 1;
        let fault = order.fault;
        self.orders.retain(|order| order.times > 0);
        Some(fault)
    }

    fn by_chance(&mut self, method: &str) -> Option<Fault> {
        let posts = matches!(method, "messages.sendMedia" | "messages.sendMessage");
        let moves_files = method.starts_with("upload.");
        let Faults {
            flood,
            premium,
            slow_mode,
            drop,
            lost_reply,
            expire,
            stall,
            missing,
            too_many,
            internal,
            timeout,
            forget,
            sign_out,
            reach: _,
        } = self.chances;
        let dice = &mut self.dice;
        if dice.hits(flood.chance) {
            return Some(Fault::Flood(flood.seconds));
        }
        if moves_files && dice.hits(premium.chance) {
            return Some(Fault::PremiumFlood(premium.seconds));
        }
        if posts && dice.hits(slow_mode.chance) {
            return Some(Fault::SlowMode(slow_mode.seconds));
        }
        if (posts || method == "messages.editMessage") && dice.hits(lost_reply) {
            return Some(Fault::DropAfter);
        }
        if method == "upload.getFile" && dice.hits(expire) {
            return Some(Fault::Expire);
        }
        if method == "messages.sendMedia" && dice.hits(missing) {
            return Some(Fault::MissingPart);
        }
        if dice.hits(drop) {
            return Some(if dice.below(2) == 0 {
                Fault::DropBefore
            } else {
                Fault::DropAfter
            });
        }
        [
            (stall, Fault::Stall),
            (too_many, Fault::TooMany),
            (internal, Fault::Internal),
            (timeout, Fault::Timeout),
            (forget, Fault::ForgetKey),
            (sign_out, Fault::SignOut),
        ]
        .into_iter()
        .find_map(|(chance, fault)| dice.hits(chance).then_some(fault))
    }

    /// A number below `bound`.
    pub(crate) fn pick(&mut self, bound: usize) -> usize {
        usize::try_from(self.dice.below(bound.max(1) as u64)).unwrap_or_default()
    }
}

/// SplitMix64: the same seed gives the same faults.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn hits(&mut self, chance: Percent) -> bool {
        // In millionths, so that 0.01 % can be asked for.
        chance.0 > 0.0 && (self.below(1_000_000) as f64) < chance.0 * 10_000.0
    }
}

impl FromStr for Percent {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = text.strip_suffix('%').unwrap_or(text);
        let percent: f64 = number
            .parse()
            .with_context(|| format!("{text}: not a percentage"))?;
        ensure!(
            (0.0..=100.0).contains(&percent),
            "{text}: a percentage is between 0 and 100"
        );
        Ok(Self(percent))
    }
}

impl FromStr for Wait {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (chance, seconds) = text.split_once(':').unwrap_or((text, "1"));
        Ok(Self {
            chance: chance.parse()?,
            seconds: seconds
                .parse()
                .with_context(|| format!("{text}: no whole seconds behind the colon"))?,
        })
    }
}

impl FromStr for Faults {
    type Err = anyhow::Error;

    /// `flood=5%:2,drop=3%,expire=5%,stall=1%`, and the word `handshake` to hit the start of
    /// connections too.
    fn from_str(text: &str) -> Result<Self> {
        let mut faults = Self::default();
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            if item == "handshake" {
                faults.reach = Reach::Everything;
                continue;
            }
            let (name, value) = item
                .split_once('=')
                .with_context(|| format!("{item}: a fault is name=percent"))?;
            match name {
                "flood" => faults.flood = value.parse()?,
                "premium" => faults.premium = value.parse()?,
                "slowmode" => faults.slow_mode = value.parse()?,
                "drop" => faults.drop = value.parse()?,
                "lostreply" => faults.lost_reply = value.parse()?,
                "expire" => faults.expire = value.parse()?,
                "stall" => faults.stall = value.parse()?,
                "missing" => faults.missing = value.parse()?,
                "toomany" => faults.too_many = value.parse()?,
                "internal" => faults.internal = value.parse()?,
                "timeout" => faults.timeout = value.parse()?,
                "forget" => faults.forget = value.parse()?,
                "signout" => faults.sign_out = value.parse()?,
                _ => bail!(
                    "{name}: no such fault; there are flood, premium, slowmode, drop, lostreply, \
                     expire, stall, missing, toomany, internal, timeout, forget, signout and the word \
                     handshake"
                ),
            }
        }
        Ok(faults)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}%", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_the_flag_is_read() {
        let faults: Faults = "flood=5%:2,drop=3%,expire=5%,stall=1%,handshake"
            .parse()
            .expect("faults");
        assert_eq!(
            faults.flood,
            Wait {
                chance: Percent(5.0),
                seconds: 2
            }
        );
        assert_eq!(faults.drop, Percent(3.0));
        assert_eq!(faults.reach, Reach::Everything);
        for wrong in ["flood", "floods=1%", "drop=101%", "flood=1%:x"] {
            assert!(wrong.parse::<Faults>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_seed_gives_one_run_of_faults() {
        let faults: Faults = "drop=30%,stall=10%".parse().expect("faults");
        let run = |seed| {
            let mut plan = FaultPlan::new(faults, seed);
            (0..1000)
                .map(|_| plan.of_call("upload.getFile", None))
                .collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let hit = run(7).iter().filter(|fault| fault.is_some()).count();
        assert!((300..450).contains(&hit), "{hit} of 1000");
    }

    #[test]
    fn a_wait_lasts_for_one_bot_and_method() {
        let mut plan = FaultPlan::new(Faults::default(), 1);
        plan.order(Injection::on("upload.getFile", Fault::PremiumFlood(60)));
        for _ in 0..2 {
            assert_eq!(
                plan.of_call("upload.getFile", Some(Bot(1))),
                Some(Fault::PremiumFlood(60))
            );
        }
        assert_eq!(plan.of_call("upload.getFile", Some(Bot(2))), None);
        assert_eq!(plan.of_call("messages.sendMedia", Some(Bot(1))), None);
        plan.clear_orders();
        assert_eq!(plan.of_call("upload.getFile", Some(Bot(1))), None);
    }

    #[test]
    fn an_order_counts_only_calls_of_its_method_and_bot() {
        let mut plan = FaultPlan::new(Faults::default(), 1);
        plan.order(
            Injection::on("upload.getFile", Fault::Stall)
                .of_bot(Bot(2))
                .after(1),
        );
        assert_eq!(plan.of_call("upload.getFile", Some(Bot(1))), None);
        assert_eq!(plan.of_call("messages.sendMedia", Some(Bot(2))), None);
        assert_eq!(plan.of_call("upload.getFile", Some(Bot(2))), None);
        assert_eq!(
            plan.of_call("upload.getFile", Some(Bot(2))),
            Some(Fault::Stall)
        );
        assert_eq!(plan.of_call("upload.getFile", Some(Bot(2))), None);
    }
}
