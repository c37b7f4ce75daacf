//! What each bot can do, tried out: signing in, its rights in each channel, one small document posted,
//! read back and deleted. Needs no library, and changes none.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use grammers_tl_types::{enums, functions};

use super::round_trip::RoundTrip;
use crate::model::{KeyStore, LibraryId};
use crate::remote::retry::{Deadline, retry_telling};
use crate::remote::telegram::Settings;
use crate::remote::telegram::bots::messages;
use crate::remote::telegram::bots::rate_limit::RateLimiter;
use crate::remote::telegram::bots::{Bots, ChannelInfo, Member};
use crate::remote::telegram::channel::caption::Caption;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::{RemoteError, RemoteErrorKind};
use crate::sync::MutexExt as _;

/// How long a sign-in is tried; a server that cannot be reached is reported after this.
const SIGN_IN_PATIENCE: Duration = Duration::from_secs(15);
/// How long each later step is tried; longer waits that the service asks for are reported.
const STEP_PATIENCE: Duration = Duration::from_secs(30);
/// Most slices of missed updates that are read for news about channels.
const SLICES: usize = 10;
/// Most channels that a bot was put into and that are looked at.
const MOST_NEWS: usize = 20;

/// All bots, apart from any library.
#[derive(Debug)]
pub struct BotCheck {
    pub bots: Bots,
    pub rate_limiter: RateLimiter,
    waits: Mutex<Vec<RequestedWait>>,
}

/// The service asked a bot to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedWait {
    pub bot: u32,
    /// What the bot was doing.
    pub step: String,
    pub wait: Duration,
}

/// What was found; channels by their bare ids, in the order of the bots that post to them.
#[derive(Debug)]
pub struct BotFindings {
    pub bots: Vec<BotFinding>,
    pub channels: Vec<ChannelFinding>,
    pub waits: Vec<RequestedWait>,
}

#[derive(Debug)]
pub struct BotFinding {
    pub number: u32,
    /// `@name`, without the sign.
    pub username: Option<String>,
    /// The data centre where it is at home.
    pub home: Result<i32, RemoteError>,
    /// CHAT_ID as written.
    pub chat: String,
    /// The channel that it posts to.
    pub own: Result<i64, RemoteError>,
    /// One for each of [`BotFindings::channels`]; none where it could not sign in.
    pub access: Vec<ChannelAccess>,
    /// Other channels that it was put into, as far as the service still tells.
    pub news: Vec<(i64, ChannelInfo)>,
}

/// One bot in one channel.
#[derive(Debug)]
pub struct ChannelAccess {
    pub channel: i64,
    pub info: Result<ChannelInfo, RemoteError>,
    /// Only in its own channel.
    pub round_trip: Option<RoundTrip>,
}

#[derive(Debug)]
pub struct ChannelFinding {
    pub channel: i64,
    /// As the first bot sees it that is in there.
    pub info: Option<ChannelInfo>,
    /// Which library the pinned post names.
    pub library: Option<LibraryId>,
    /// Numbers of the bots that are in there.
    pub members: Vec<u32>,
}

impl BotCheck {
    #[must_use]
    pub fn new(settings: &Settings, keys: &Arc<dyn KeyStore>) -> Self {
        Self {
            bots: Bots::new(settings, keys),
            rate_limiter: RateLimiter::new(settings.rate_limit),
            waits: Mutex::default(),
        }
    }

    /// Tries everything, all bots side by side. What a bot cannot do stands in the result.
    pub async fn run(&self) -> BotFindings {
        let members = self.bots.members();
        let mut bots = join_all(members.iter().map(|member| self.sign_in(member))).await;
        let mut channels: Vec<i64> = Vec::new();
        for channel in bots.iter().filter_map(|bot| bot.own.as_ref().ok()) {
            if !channels.contains(channel) {
                channels.push(*channel);
            }
        }
        let channels = &channels;
        let looks = members.iter().zip(&mut bots).map(|(member, bot)| async {
            if bot.home.is_ok() {
                bot.access =
                    join_all(channels.iter().map(|channel| self.look(member, *channel))).await;
                bot.news = self.news(member, channels).await;
            }
        });
        join_all(looks).await;
        let round_trip = members
            .iter()
            .zip(&bots)
            .map(|(member, bot)| self.own_round_trip(member, bot, &bots));
        let round_trip = join_all(round_trip).await;
        for (bot, round_trip) in bots.iter_mut().zip(round_trip) {
            let own = bot.own.as_ref().ok().copied();
            let access = bot
                .access
                .iter_mut()
                .find(|access| Some(access.channel) == own);
            if let Some(access) = access {
                access.round_trip = round_trip;
            }
        }
        let channels = join_all(
            channels
                .iter()
                .map(|channel| self.describe(*channel, &bots)),
        )
        .await;
        BotFindings {
            bots,
            channels,
            waits: self.waits(),
        }
    }

    /// All waits that were met so far.
    pub fn waits(&self) -> Vec<RequestedWait> {
        self.waits.acquire().clone()
    }

    async fn sign_in(&self, member: &Arc<Member>) -> BotFinding {
        let bot = &member.bot;
        let step = "sign in";
        let home = self
            .patiently(member, step, SIGN_IN_PATIENCE, || async {
                // With a key from before, only a call shows whether it still counts.
                bot.call(&functions::updates::GetState {}).await?;
                bot.home().await
            })
            .await;
        let own = match &home {
            Err(_) => Err(RemoteError::new(
                RemoteErrorKind::Unavailable,
                "look for the channel",
                "the bot could not sign in",
            )),
            Ok(_) => {
                let step = format!("look for the channel {}", member.chat);
                self.patiently(member, &step, STEP_PATIENCE, || {
                    self.bots.channel_of(member)
                })
                .await
            }
        };
        BotFinding {
            number: bot.number,
            username: bot.username(),
            home,
            chat: member.chat.clone(),
            own,
            access: Vec::new(),
            news: Vec::new(),
        }
    }

    async fn look(&self, member: &Arc<Member>, channel: i64) -> ChannelAccess {
        let info = self
            .patiently(member, "look at the channel", STEP_PATIENCE, || {
                self.bots.look(&member.bot, channel)
            })
            .await;
        ChannelAccess {
            channel,
            info,
            round_trip: None,
        }
    }

    /// Channels behind `updateChannelParticipant` in what the bot missed (`updates.getDifference`).
    /// The service keeps that for a while and promises nothing: no answer is no error.
    async fn news(&self, member: &Member, known: &[i64]) -> Vec<(i64, ChannelInfo)> {
        let mut found = Vec::new();
        let (mut pts, mut qts, mut date) = (1, 0, 1);
        for _ in 0..SLICES {
            let request = functions::updates::GetDifference {
                pts,
                pts_limit: None,
                pts_total_limit: None,
                date,
                qts,
                qts_limit: None,
            };
            let (updates, next) = match member.bot.call(&request).await {
                Ok(enums::updates::Difference::Difference(all)) => (all.other_updates, None),
                Ok(enums::updates::Difference::Slice(slice)) => {
                    (slice.other_updates, Some(slice.intermediate_state))
                }
                Ok(enums::updates::Difference::TooLong(long)) => {
                    pts = long.pts;
                    continue;
                }
                Ok(enums::updates::Difference::Empty(_)) | Err(_) => break,
            };
            for update in updates {
                if let enums::Update::ChannelParticipant(update) = update
                    && update.user_id == member.bot.id
                    && !known.contains(&update.channel_id)
                    && !found.contains(&update.channel_id)
                    && found.len() < MOST_NEWS
                {
                    found.push(update.channel_id);
                }
            }
            let Some(enums::updates::State::State(state)) = next else {
                break;
            };
            (pts, qts, date) = (state.pts, state.qts, state.date);
        }
        let mut news = Vec::new();
        for channel in found {
            // It may have been put out again.
            if let Ok(info) = self.bots.look(&member.bot, channel).await {
                news.push((channel, info));
            }
        }
        news
    }

    /// Only where the bot is in its own channel.
    async fn own_round_trip(
        &self,
        member: &Arc<Member>,
        bot: &BotFinding,
        all: &[BotFinding],
    ) -> Option<RoundTrip> {
        let own = *bot.own.as_ref().ok()?;
        let info_of = |bot: &BotFinding| {
            let access = bot.access.iter().find(|access| access.channel == own)?;
            access.info.as_ref().ok().cloned()
        };
        let info = info_of(bot)?;
        // The next bot behind it that is in there too.
        let behind = all.iter().filter(|other| other.number > bot.number);
        let before = all.iter().filter(|other| other.number < bot.number);
        let other = behind.chain(before).find_map(|other| {
            let member = self.bots.members().iter();
            let mut member = member.filter(|member| member.bot.number == other.number);
            Some((Arc::clone(member.next()?), info_of(other)?.peer))
        });
        Some(self.round_trip(member, info.peer, other).await)
    }

    async fn describe(&self, channel: i64, bots: &[BotFinding]) -> ChannelFinding {
        let inside: Vec<(u32, &ChannelInfo)> = bots
            .iter()
            .filter_map(|bot| {
                let access = bot.access.iter().find(|access| access.channel == channel)?;
                Some((bot.number, access.info.as_ref().ok()?))
            })
            .collect();
        let mut library = None;
        if let Some((number, info)) = inside.first()
            && let Some(member) = self
                .bots
                .members()
                .iter()
                .find(|member| member.bot.number == *number)
        {
            let pinned = self
                .patiently(member, "read the pinned post", STEP_PATIENCE, || {
                    messages::pinned(&member.bot, info.peer)
                })
                .await;
            let caption = pinned
                .ok()
                .flatten()
                .and_then(|post| Caption::read(&post.text));
            library = caption.map(|caption| caption.library);
        }
        ChannelFinding {
            channel,
            info: inside.first().map(|(_, info)| (*info).clone()),
            library,
            members: inside.into_iter().map(|(number, _)| number).collect(),
        }
    }

    /// Repeats what may pass, and notes each wait that the service asks for.
    pub async fn patiently<T, F>(
        &self,
        member: &Member,
        step: &str,
        patience: Duration,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, RemoteError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        // Later errors may only say that the next try waits.
        let first = Mutex::new(None);
        let tell = |error: &RemoteError| {
            self.note(member, step, error);
            let mut first = first.acquire();
            first.get_or_insert_with(|| error.message.clone());
        };
        let attempt = || {
            let trying = attempt();
            async { trying.await.map_err(|error| error.into_remote(step)) }
        };
        let outcome = retry_telling(Deadline::after(patience), &tell, attempt).await;
        outcome.map_err(|mut error| {
            self.note(member, step, &error);
            let first = first.acquire().take();
            if let Some(first) = first.filter(|_| error.kind == RemoteErrorKind::Unavailable) {
                error.message = first;
            }
            error
        })
    }

    pub fn note(&self, member: &Member, step: &str, error: &RemoteError) {
        if let Some(wait) = error.retry_after {
            let met = RequestedWait {
                bot: member.bot.number,
                step: step.to_owned(),
                wait,
            };
            self.waits.acquire().push(met);
        }
    }
}
