//! The simulated service, on a runtime of its own beside the thread of the test.

use std::ops::Deref;

use telegram_sim::{Channel, Options, Pace, PostView, Server};
use tokio::runtime::Runtime;

pub const HOME: Channel = Channel(1);

pub struct Service {
    server: Server,
    runtime: Runtime,
}

impl Service {
    pub fn start(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let server = runtime.block_on(Server::start(options)).unwrap();
        Self { server, runtime }
    }

    /// Starts a service with bots in one channel, without a limit on posts.
    pub fn with_bots(bots: u32) -> Self {
        Self::start(Options {
            bots,
            pace: Pace::unlimited(),
            ..Options::default()
        })
    }

    /// Begins an outage: all connections end, and nobody listens.
    pub fn goes_away(&self) {
        self.runtime.block_on(self.server.stop());
    }

    pub fn comes_back(&self) {
        self.runtime.block_on(self.server.restart()).unwrap();
    }

    /// Returns the posts whose text begins with `tgfs1 KIND`.
    pub fn posts_of(&self, channel: Channel, kind: &str) -> Vec<PostView> {
        let head = format!("tgfs1 {kind} ");
        let posts = self.posts(channel).unwrap().into_iter();
        posts
            .filter(|post| post.caption.starts_with(&head))
            .collect()
    }

    /// Returns the ids of the packs in a channel, as their captions give them.
    pub fn packs(&self, channel: Channel) -> Vec<String> {
        let posts = self.posts_of(channel, "pack").into_iter();
        posts.map(|post| pack_of(&post)).collect()
    }
}

impl Deref for Service {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

pub fn pack_of(post: &PostView) -> String {
    let mut words = post.caption.split_ascii_whitespace();
    words
        .find_map(|word| word.strip_prefix("id="))
        .unwrap()
        .to_owned()
}
