//! Check of all bots: sign-in, rights in each channel, and the round trip of a small document. It needs
//! no library and changes none.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use grammers_tl_types::{enums, functions};

use super::findings::{BotFinding, BotFindings, ChannelAccess, ChannelFinding};
use super::measure::{Measured, measure};
use super::patience::{PatientBots, RequestedWait};
use super::round_trip::{MemberInChannel, RoundTrip, round_trip};
use crate::model::{ChannelId, KeyStore};
use crate::remote::telegram::bots::channel_info::ChannelInfo;
use crate::remote::telegram::bots::{Bots, Member, messages};
use crate::remote::telegram::channel::caption::Caption;
use crate::remote::telegram::settings::TelegramRemoteSettings;
use crate::remote::{RemoteError, RemoteErrorKind};

/// Time limit of retries of a sign-in. After this a server that cannot be reached is reported.
const SIGN_IN_PATIENCE: Duration = Duration::from_secs(15);
/// Time limit of retries of each later step. Longer waits that the service asks for are reported.
const STEP_PATIENCE: Duration = Duration::from_secs(30);
/// Most slices of missed updates that are read for new channels.
const SLICES: usize = 10;
/// Most new channels of a bot that are examined.
const MOST_NEW_CHANNELS: usize = 20;

/// Check of all bots, apart from any library.
#[derive(Debug)]
pub struct BotCheck {
    bots: PatientBots,
}

impl BotCheck {
    /// Makes a check of the bots of `settings`. `keys` keeps their sign-ins.
    #[must_use]
    pub fn new(settings: &TelegramRemoteSettings, keys: &Arc<dyn KeyStore>) -> Self {
        Self {
            bots: PatientBots::new(Arc::new(Bots::new(settings, keys))),
        }
    }

    /// Tries everything, all bots side by side. Failures are part of the findings.
    pub async fn run(&self) -> BotFindings {
        let members = self.bots.bots().members();
        let mut bots = join_all(members.iter().map(|member| self.sign_in(member))).await;
        let mut channels: Vec<ChannelId> = Vec::new();
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
                bot.new_channels = self.new_channels(member, channels).await;
            }
        });
        join_all(looks).await;
        let round_trips = members
            .iter()
            .zip(&bots)
            .map(|(member, bot)| self.own_round_trip(member, bot, &bots));
        let round_trips = join_all(round_trips).await;
        for (bot, round_trip) in bots.iter_mut().zip(round_trips) {
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

    /// Measures the bots whose round trip passed, one after the other.
    pub async fn measure(&self, findings: &BotFindings) -> Measured {
        measure(&self.bots, findings).await
    }

    /// Returns all waits so far.
    pub fn waits(&self) -> Vec<RequestedWait> {
        self.bots.waits()
    }

    async fn sign_in(&self, member: &Arc<Member>) -> BotFinding {
        let bot = &member.bot;
        let step = "sign in";
        let home = self
            .bots
            .patiently(member, step, SIGN_IN_PATIENCE, || async {
                // A call shows whether an earlier key is still valid.
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
                self.bots
                    .patiently(member, &step, STEP_PATIENCE, || {
                        self.bots.bots().channel_of(member)
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
            new_channels: Vec::new(),
        }
    }

    async fn look(&self, member: &Arc<Member>, channel: ChannelId) -> ChannelAccess {
        let info = self
            .bots
            .patiently(member, "look at the channel", STEP_PATIENCE, || {
                self.bots.bots().peers().look(&member.bot, channel)
            })
            .await;
        ChannelAccess {
            channel,
            info,
            round_trip: None,
        }
    }

    /// Returns channels that the bot was added to. They are found by the `updateChannelParticipant`s among
    /// the updates that it missed (`updates.getDifference`). The service keeps these for a while and
    /// promises nothing, so a missing answer is no error.
    async fn new_channels(&self, member: &Member, known: &[ChannelId]) -> Vec<ChannelInfo> {
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
                    && update.user_id == member.bot.id.get()
                    && found.len() < MOST_NEW_CHANNELS
                {
                    let channel = ChannelId::new(update.channel_id);
                    if !known.contains(&channel) && !found.contains(&channel) {
                        found.push(channel);
                    }
                }
            }
            let Some(enums::updates::State::State(state)) = next else {
                break;
            };
            (pts, qts, date) = (state.pts, state.qts, state.date);
        }
        let mut inside = Vec::new();
        for channel in found {
            // The bot may have been removed again.
            if let Ok(info) = self.bots.bots().peers().look(&member.bot, channel).await {
                inside.push(info);
            }
        }
        inside
    }

    /// Sends a document on its round trip, if the bot is in its own channel.
    async fn own_round_trip(
        &self,
        member: &Arc<Member>,
        bot: &BotFinding,
        all: &[BotFinding],
    ) -> Option<RoundTrip> {
        let own = *bot.own.as_ref().ok()?;
        let reader = |member: &Arc<Member>, bot: &BotFinding| {
            Some(MemberInChannel {
                member: Arc::clone(member),
                peer: bot.info_of(own)?.peer,
            })
        };
        let this = reader(member, bot)?;
        // The other reader is the next bot in the channel, or the first one after the last.
        let after = all.iter().filter(|other| other.number > bot.number);
        let before = all.iter().filter(|other| other.number < bot.number);
        let mut others = after.chain(before);
        let other = others.find_map(|other| reader(self.member(other.number)?, other));
        Some(round_trip(&self.bots, this, other).await)
    }

    fn member(&self, number: u32) -> Option<&Arc<Member>> {
        let mut members = self.bots.bots().members().iter();
        members.find(|member| member.bot.number == number)
    }

    async fn describe(&self, channel: ChannelId, bots: &[BotFinding]) -> ChannelFinding {
        let inside: Vec<(u32, &ChannelInfo)> = bots
            .iter()
            .filter_map(|bot| Some((bot.number, bot.info_of(channel)?)))
            .collect();
        let mut library = None;
        if let Some((number, info)) = inside.first()
            && let Some(member) = self.member(*number)
        {
            let step = "read the pinned message";
            let pinned = self
                .bots
                .patiently(member, step, STEP_PATIENCE, || {
                    messages::pinned(&member.bot, info.peer)
                })
                .await;
            let pinned = pinned.ok().flatten();
            let caption = pinned.and_then(|message| Caption::read(&message.text));
            library = caption.map(|caption| caption.library);
        }
        ChannelFinding {
            channel,
            info: inside.first().map(|(_, info)| (*info).clone()),
            library,
            members: inside.into_iter().map(|(number, _)| number).collect(),
        }
    }
}
