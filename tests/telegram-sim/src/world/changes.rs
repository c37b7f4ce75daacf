//! Application of events: the one place that changes the world.

use std::sync::Arc;

use anyhow::{Context, Result};
use grammers_crypto::hex;

use super::channel::{Membership, Post, PostKind, Right};
use super::event::{Author, Date, Event};
use super::{Change, KeyRecord, MembershipChange, World, key_id};
use crate::options::{Bot, Channel};

impl World {
    /// Applies a change that is in the journal.
    pub(super) fn apply(&mut self, event: Event) -> Result<()> {
        match event {
            Event::KeyMade { dc, key } => self.add_made_key(dc, &key),
            Event::KeyForgotten { dc, id } => {
                self.keys.remove(&(dc, id));
                Ok(())
            }
            Event::SignedIn { dc, id, bot } => {
                self.set_signed_in(dc, id, Some(bot));
                Ok(())
            }
            Event::SignedOut { dc, id } => {
                self.set_signed_in(dc, id, None);
                Ok(())
            }
            Event::Posted { .. } | Event::Edited { .. } | Event::Deleted { .. } => {
                self.apply_to_posts(event)
            }
            Event::Pinned { .. } | Event::Unpinned { .. } | Event::Skipped { .. } => {
                self.apply_to_channel(event)
            }
            Event::Joined { .. }
            | Event::Left { .. }
            | Event::Granted { .. }
            | Event::Revoked { .. } => self.apply_to_members(event),
        }
    }

    fn add_made_key(&mut self, dc: i32, key: &str) -> Result<()> {
        let bytes = hex::opt_from_hex(key).context("a key that is no hexadecimal")?;
        let key: [u8; 256] = bytes.try_into().ok().context("a key of a wrong size")?;
        let record = KeyRecord {
            key: Arc::new(key),
            bot: None,
        };
        self.keys.insert((dc, key_id(&record.key)), record);
        Ok(())
    }

    /// Applies a change of posts and the documents that they show.
    fn apply_to_posts(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Posted {
                channel,
                id,
                date,
                author,
                random_id,
                text,
                document,
            } => {
                let document = document.map(|record| self.use_document(record));
                let state = self.channel_mut(channel)?;
                state.last_id = state.last_id.max(id);
                state.pts += 1;
                if let Author::Bot(bot) = author {
                    state.sent.insert((bot, random_id), id);
                }
                let post = Post {
                    id,
                    date,
                    edited: None,
                    author,
                    kind: PostKind::Message,
                    text,
                    document,
                };
                state.posts.insert(id, post);
            }
            Event::Edited {
                channel,
                id,
                date,
                text,
                document,
            } => {
                let document = document.map(|record| self.use_document(record));
                let state = self.channel_mut(channel)?;
                state.pts += 1;
                let post = state.posts.get_mut(&id).context("no such post")?;
                post.edited = Some(date);
                if let Some(text) = text {
                    post.text = text;
                }
                if document.is_some() {
                    let old = std::mem::replace(&mut post.document, document);
                    self.unuse_document(old)?;
                }
            }
            Event::Deleted { channel, ids } => {
                for id in ids {
                    let state = self.channel_mut(channel)?;
                    state.pts += 1;
                    state.pins.retain(|pinned| *pinned != id);
                    let document = state.posts.remove(&id).and_then(|post| post.document);
                    self.unuse_document(document)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Applies a change of pins or of the numbers of a channel.
    fn apply_to_channel(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Pinned {
                channel,
                id,
                date,
                author,
                notice,
            } => {
                let state = self.channel_mut(channel)?;
                state.pins.retain(|pinned| *pinned != id);
                state.pins.push(id);
                state.pts += 2;
                state.last_id = state.last_id.max(notice);
                let post = Post {
                    id: notice,
                    date,
                    edited: None,
                    author,
                    kind: PostKind::PinNotice { pinned: id },
                    text: String::new(),
                    document: None,
                };
                state.posts.insert(notice, post);
            }
            Event::Unpinned { channel, id } => {
                let state = self.channel_mut(channel)?;
                state.pins.retain(|pinned| *pinned != id);
                state.pts += 1;
            }
            Event::Skipped { channel, ids } => {
                let state = self.channel_mut(channel)?;
                state.last_id = state.last_id.checked_add(ids).context("ids are used up")?;
                state.pts += 1;
            }
            _ => {}
        }
        Ok(())
    }

    /// Applies a change of memberships or rights.
    fn apply_to_members(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Joined { channel, bot, date } => {
                let member = Membership {
                    since: date,
                    rights: Right::ALL.into(),
                };
                self.channel_mut(channel)?.members.insert(bot, member);
                self.note_membership(bot, channel, date, Change::Joined);
            }
            Event::Left { channel, bot, date } => {
                self.channel_mut(channel)?.members.remove(&bot);
                self.note_membership(bot, channel, date, Change::Left);
            }
            Event::Granted {
                channel,
                bot,
                right,
            } => {
                self.member_mut(channel, bot)?.rights.insert(right);
            }
            Event::Revoked {
                channel,
                bot,
                right,
            } => {
                self.member_mut(channel, bot)?.rights.remove(&right);
            }
            _ => {}
        }
        Ok(())
    }

    fn set_signed_in(&mut self, dc: i32, id: i64, bot: Option<Bot>) {
        if let Some(record) = self.keys.get_mut(&(dc, id)) {
            record.bot = bot;
        }
    }

    fn note_membership(&mut self, bot: Bot, channel: Channel, date: Date, change: Change) {
        self.membership_changes
            .entry(bot)
            .or_default()
            .push(MembershipChange {
                channel,
                date,
                change,
            });
    }

    fn member_mut(&mut self, channel: Channel, bot: Bot) -> Result<&mut Membership> {
        self.channel_mut(channel)?
            .members
            .get_mut(&bot)
            .with_context(|| format!("{bot} is not in {channel}"))
    }
}
