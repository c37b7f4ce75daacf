//! Starting, stopping and describing a server.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::connection;
use crate::key::server_key;
use crate::lock::locked;
use crate::options::{Bot, Channel, Options};
use crate::shared::{HOME_DC, SECOND_DC, Shared};
use crate::world::channel::ChannelState;
use crate::world::journal;

/// A running server. Dropping it stops it.
pub struct Server {
    pub(crate) shared: Arc<Shared>,
    home: SocketAddr,
    running: Mutex<Option<Running>>,
    /// Of the state directory. Held here, since connections that end may outlive the server for a moment.
    _lock: Option<File>,
}

struct Running {
    stop: watch::Sender<()>,
    listeners: Vec<JoinHandle<()>>,
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen at {address}"))
}

/// Takes clients until told to stop, then drops them all.
async fn accept(
    listener: TcpListener,
    dc: i32,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        // Cancel-safe: a client that comes while another branch wins stays in the kernel's queue.
        tokio::select! {
            _ = stop.changed() => break,
            Some(_) = connections.join_next() => {}
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(connection::serve(shared.clone(), dc, stream));
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

impl Server {
    /// Listens, with the state of an earlier run if there is one. Needs a Tokio runtime.
    ///
    /// # Errors
    /// An address that is taken, or a state directory that cannot be read or written.
    pub async fn start(options: Options) -> Result<Self> {
        let home = options.listen;
        let second = options.second_dc;
        let lock = options.data.as_deref().map(journal::lock).transpose()?;
        let mut server = Self {
            shared: Arc::new(Shared::new(options)?),
            home,
            running: Mutex::new(None),
            _lock: lock,
        };
        server.listen_at(home, second).await?;
        server.home = server.address();
        Ok(server)
    }

    async fn listen_at(&self, home: SocketAddr, second: Option<SocketAddr>) -> Result<()> {
        let mut listeners = vec![(HOME_DC, listen(home).await?)];
        if let Some(second) = second {
            listeners.push((SECOND_DC, listen(second).await?));
        }
        let addresses = listeners
            .iter()
            .map(|(dc, listener)| Ok((*dc, listener.local_addr()?)))
            .collect::<Result<Vec<_>>>()?;
        self.shared.set_addresses(addresses);
        let (stop, stopped) = watch::channel(());
        let listeners = listeners
            .into_iter()
            .map(|(dc, listener)| {
                tokio::spawn(accept(listener, dc, self.shared.clone(), stopped.clone()))
            })
            .collect();
        *locked(&self.running) = Some(Running { stop, listeners });
        Ok(())
    }

    /// Drops all connections and stops listening. What the server knows stays.
    pub async fn stop(&self) {
        let running = locked(&self.running).take();
        if let Some(running) = running {
            drop(running.stop);
            for listener in running.listeners {
                // It ends by itself; a panic in it was reported where it happened.
                let _ = listener.await;
            }
        }
    }

    /// Listens again where it did, after [`Server::stop`], or drops all connections.
    ///
    /// # Errors
    /// When another process took the port meanwhile.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await;
        let second = self.second_address();
        self.listen_at(self.home, second).await
    }

    /// Returns the address of data center 2.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address_of(HOME_DC).unwrap_or(self.home)
    }

    /// Returns the address of data center 4, if there is one.
    #[must_use]
    pub fn second_address(&self) -> Option<SocketAddr> {
        self.address_of(SECOND_DC)
    }

    fn address_of(&self, dc: i32) -> Option<SocketAddr> {
        self.shared
            .addresses()
            .into_iter()
            .find(|(id, _)| *id == dc)
            .map(|(_, address)| address)
    }

    /// Returns the options that the server was started with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// The token of a bot, as @BotFather would give it.
    #[must_use]
    pub fn token(&self, bot: Bot) -> String {
        self.shared.token(bot)
    }

    /// The id of a channel as bots write it: -100 and the bare id.
    #[must_use]
    pub fn chat_id(&self, channel: Channel) -> i64 {
        ChannelState::chat_id_of(channel)
    }

    /// The name of a channel, which resolves if the channels are public.
    #[must_use]
    pub fn username(&self, channel: Channel) -> String {
        ChannelState::username_of(channel)
    }

    /// The public half of the server's key, as PKCS#1 PEM.
    ///
    /// # Errors
    /// None that a compiled-in key can cause.
    pub fn key_pem(&self) -> Result<String> {
        server_key().public_pem()
    }

    /// The channel that bot n posts to: n-1 modulo their number.
    fn channel_of(&self, bot: Bot) -> Channel {
        let channels = self.shared.options.channels.max(1);
        Channel((bot.0.saturating_sub(1)) % channels + 1)
    }

    /// The settings that tgfs needs, with the key in the file `key`.
    #[must_use]
    pub fn env_text(&self, key: &Path) -> String {
        let options = &self.shared.options;
        let mut lines = vec![
            "TGFS_STORE=telegram".to_owned(),
            format!("TELEGRAM_API_ID={}", options.api_id),
            format!("TELEGRAM_API_HASH={}", options.api_hash),
            format!("TELEGRAM_SERVER={HOME_DC}@{}", self.address()),
            format!("TELEGRAM_SERVER_KEY={}", key.display()),
        ];
        let bots = (1..=options.bots).map(Bot);
        lines.extend(
            bots.clone()
                .map(|bot| format!("BOT_TOKEN_{}={}", bot.0, self.token(bot))),
        );
        if options.channels <= 1 {
            lines.push(format!("CHAT_ID={}", self.chat_id(Channel(1))));
        } else {
            lines.extend(bots.map(|bot| {
                let chat_id = self.chat_id(self.channel_of(bot));
                format!("CHAT_ID_{}={chat_id}", bot.0)
            }));
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// Writes the settings to `file`, for its owner alone, and the key beside it as `<file>.pem`, whose
    /// path is returned.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write_env(&self, file: &Path) -> Result<PathBuf> {
        let file = std::path::absolute(file)?;
        let mut key = file.clone().into_os_string();
        key.push(".pem");
        let key = PathBuf::from(key);
        write_private(&key, &self.key_pem()?)?;
        write_private(&file, &self.env_text(&key))?;
        Ok(key)
    }
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(cannot)?;
    file.write_all(text.as_bytes()).with_context(cannot)
}
