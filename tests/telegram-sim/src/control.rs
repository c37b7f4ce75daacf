//! Controls for tests of a running server: change its behaviour, count calls, read posts, damage them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use grammers_tl_types::{Deserializable, Serializable, enums, types};

use crate::faults::{Faults, Injection};
use crate::options::{Bot, Channel, Pace, Shape};
use crate::server::Server;
use crate::shared::HOME_DC;
use crate::world::World;
use crate::world::channel::{Post, PostKind, Right};
use crate::world::event::{Author, Event};

/// A post, as a test looks at it. Service posts (the channel's creation, pins) are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostView {
    pub id: i32,
    pub author: Author,
    /// Text or caption.
    pub caption: String,
    pub document: Option<DocumentView>,
    /// Seconds since 1970 on the server's calendar.
    pub date: i32,
}

/// The document of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentView {
    pub id: i64,
    pub name: String,
    pub mime_type: String,
    pub size: u64,
    /// Data center where its bytes are.
    pub dc: i32,
}

/// A post by somebody else.
#[derive(Clone, Debug, Default)]
pub struct ForeignPost {
    /// Text or caption.
    pub caption: String,
    /// Name, type and bytes of a document.
    pub document: Option<ForeignDocument>,
}

/// Document that somebody else uploaded.
#[derive(Clone, Debug)]
pub struct ForeignDocument {
    pub name: String,
    pub mime_type: String,
    pub bytes: Vec<u8>,
}

fn name_of(attributes: &[u8]) -> String {
    Vec::<enums::DocumentAttribute>::from_bytes(attributes)
        .unwrap_or_default()
        .into_iter()
        .find_map(|attribute| match attribute {
            enums::DocumentAttribute::Filename(name) => Some(name.file_name),
            _ => None,
        })
        .unwrap_or_default()
}

fn view(world: &World, post: &Post) -> PostView {
    let document = post.document.and_then(|id| {
        let document = world.document(id)?;
        Some(DocumentView {
            id,
            name: name_of(&document.record.attributes),
            mime_type: document.record.mime_type.clone(),
            size: world.size_of(id),
            dc: document.record.dc,
        })
    });
    PostView {
        id: post.id,
        author: post.author,
        caption: post.text.clone(),
        document,
        date: post.date,
    }
}

impl Server {
    /// Changes latency and bandwidth from the next byte on.
    pub fn set_shape(&self, shape: Shape) {
        self.shared.controls.set_shape(shape);
    }

    /// Changes how many posts and edits a channel takes.
    pub fn set_pace(&self, pace: Pace) {
        self.shared.controls.set_pace(pace);
    }

    /// Changes the faults by chance from the next call on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.controls.plan(|plan| plan.set_chances(faults));
    }

    /// Orders a fault for calls to come.
    pub fn inject(&self, injection: Injection) {
        self.shared.controls.plan(|plan| plan.order(injection));
    }

    /// Forgets the orders that did not happen yet.
    pub fn clear_injections(&self) {
        self.shared.controls.plan(|plan| plan.clear_orders());
    }

    /// Moves the server's calendar ahead of the machine's.
    pub fn set_clock_offset(&self, offset: Duration) {
        self.shared.controls.set_clock_offset(offset);
    }

    /// Moves the clock of message ids behind the machine's, as a client with a clock ahead meets it.
    pub fn set_message_clock_lag(&self, lag: Duration) {
        self.shared.controls.set_message_clock_lag(lag);
    }

    /// Returns how often a method was called, such as `upload.getFile`, failed calls included. `handshake`
    /// counts the auth keys made.
    #[must_use]
    pub fn calls(&self, method: &str) -> u64 {
        self.shared
            .controls
            .calls()
            .get(method)
            .copied()
            .unwrap_or_default()
    }

    /// All methods that were called, with how often.
    #[must_use]
    pub fn all_calls(&self) -> BTreeMap<&'static str, u64> {
        self.shared.controls.calls()
    }

    /// The posts of a channel in the order of their ids, without service posts.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn posts(&self, channel: Channel) -> Result<Vec<PostView>> {
        let world = self.shared.world();
        let state = world.channel(channel)?;
        Ok(state
            .posts
            .values()
            .filter(|post| post.kind == PostKind::Message)
            .map(|post| view(&world, post))
            .collect())
    }

    /// The newest pinned post.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn pinned(&self, channel: Channel) -> Result<Option<i32>> {
        Ok(self.shared.world().channel(channel)?.pinned())
    }

    /// The highest id that was ever given to a post of the channel.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn last_id(&self, channel: Channel) -> Result<i32> {
        Ok(self.shared.world().channel(channel)?.last_id)
    }

    /// Bytes in the documents of a channel's posts.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn live_bytes(&self, channel: Channel) -> Result<u64> {
        let sizes = self.posts(channel)?.into_iter();
        Ok(sizes
            .filter_map(|post| post.document)
            .map(|document| document.size)
            .sum())
    }

    /// The bytes of a post's document.
    ///
    /// # Errors
    /// When there is no such post, or it has no document.
    pub fn document_bytes(&self, channel: Channel, id: i32) -> Result<Vec<u8>> {
        let world = self.shared.world();
        let document = document_of(&world, channel, id)?;
        let content = world
            .document(document)
            .context("a post without its document")?
            .content
            .clone();
        drop(world);
        let mut bytes = Vec::new();
        let length = usize::try_from(content.size())?;
        crate::world::content::Slice::new(content, 0, length).copy_to(&mut bytes)?;
        Ok(bytes)
    }

    /// Removes a post, as an administrator would.
    ///
    /// # Errors
    /// When there is no such post.
    pub fn delete_post(&self, channel: Channel, id: i32) -> Result<()> {
        let mut world = self.shared.world();
        ensure!(
            world.channel(channel)?.posts.contains_key(&id),
            "{channel} has no post {id}"
        );
        world.record(Event::Deleted {
            channel,
            ids: vec![id],
        })
    }

    /// Lets somebody else post. Returns the id.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn add_foreign_post(&self, channel: Channel, post: ForeignPost) -> Result<i32> {
        let mut world = self.shared.world();
        let id = world.channel(channel)?.last_id + 1;
        let document = match post.document {
            None => None,
            Some(document) => {
                let name = types::DocumentAttributeFilename {
                    file_name: document.name,
                };
                let attributes = vec![enums::DocumentAttribute::from(name)].to_bytes();
                Some(world.add_document(
                    HOME_DC,
                    &document.mime_type,
                    attributes,
                    &document.bytes,
                )?)
            }
        };
        world.record(Event::Posted {
            channel,
            id,
            date: self.shared.now(),
            author: Author::Stranger,
            random_id: 0,
            text: post.caption,
            document,
        })?;
        Ok(id)
    }

    /// Lets somebody else pin a post.
    ///
    /// # Errors
    /// When there is no such post.
    pub fn pin_post(&self, channel: Channel, id: i32) -> Result<()> {
        let mut world = self.shared.world();
        let state = world.channel(channel)?;
        ensure!(state.posts.contains_key(&id), "{channel} has no post {id}");
        let notice = state.last_id + 1;
        world.record(Event::Pinned {
            channel,
            id,
            date: self.shared.now(),
            author: Author::Stranger,
            notice,
        })
    }

    /// Turns one byte of a post's document over.
    ///
    /// # Errors
    /// When there is no such post, or its document is shorter.
    pub fn flip_byte(&self, channel: Channel, id: i32, offset: u64) -> Result<()> {
        let mut world = self.shared.world();
        let document = document_of(&world, channel, id)?;
        world.flip_byte(document, offset)
    }

    /// Uses up so many ids, as posts do that were deleted since.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn skip_ids(&self, channel: Channel, ids: i32) -> Result<()> {
        let mut world = self.shared.world();
        world.channel(channel)?;
        world.record(Event::Skipped { channel, ids })
    }

    /// Takes a bot out of a channel.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn remove_bot(&self, channel: Channel, bot: Bot) -> Result<()> {
        let mut world = self.shared.world();
        world.channel(channel)?;
        world.record(Event::Left {
            channel,
            bot,
            date: self.shared.now(),
        })
    }

    /// Makes a bot an administrator of a channel, with all rights.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn add_bot(&self, channel: Channel, bot: Bot) -> Result<()> {
        let mut world = self.shared.world();
        world.channel(channel)?;
        world.record(Event::Joined {
            channel,
            bot,
            date: self.shared.now(),
        })
    }

    /// Takes one right from a bot.
    ///
    /// # Errors
    /// When the bot is not in that channel.
    pub fn take_right(&self, channel: Channel, bot: Bot, right: Right) -> Result<()> {
        let mut world = self.shared.world();
        ensure!(
            world.channel(channel)?.members.contains_key(&bot),
            "{bot} is not in {channel}"
        );
        world.record(Event::Revoked {
            channel,
            bot,
            right,
        })
    }

    /// Gives a right back.
    ///
    /// # Errors
    /// When the bot is not in that channel.
    pub fn give_right(&self, channel: Channel, bot: Bot, right: Right) -> Result<()> {
        let mut world = self.shared.world();
        ensure!(
            world.channel(channel)?.members.contains_key(&bot),
            "{bot} is not in {channel}"
        );
        world.record(Event::Granted {
            channel,
            bot,
            right,
        })
    }

    /// Makes all file references that were ever handed out useless.
    pub fn expire_references(&self) {
        let bots = self.shared.options.bots;
        self.shared.world().expire_all_references(bots);
    }

    /// Signs a bot out everywhere: its keys stay, and are `AUTH_KEY_UNREGISTERED`.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn sign_out(&self, bot: Bot) -> Result<()> {
        let mut world = self.shared.world();
        for (dc, id) in world.keys_of(bot) {
            world.record(Event::SignedOut { dc, id })?;
        }
        Ok(())
    }

    /// Forgets the auth keys of a bot: transport error -404 on its next packet.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn forget_keys(&self, bot: Bot) -> Result<()> {
        let mut world = self.shared.world();
        for (dc, id) in world.keys_of(bot) {
            world.record(Event::KeyForgotten { dc, id })?;
        }
        Ok(())
    }
}

fn document_of(world: &World, channel: Channel, id: i32) -> Result<i64> {
    world
        .channel(channel)?
        .posts
        .get(&id)
        .with_context(|| format!("{channel} has no post {id}"))?
        .document
        .with_context(|| format!("post {id} of {channel} has no document"))
}
