//! Tests of the remote against the simulated service, with real MTProto over TCP on loopback.

mod centers;
mod faults;
mod hostile;

use std::sync::Arc;

use telegram_sim::{Options, Server as Sim};

use super::*;
use crate::model::{BlockIndex, LibraryId, RateLimit, TombstonePolicy};
use crate::remote::contract::{BLOCK, contract, sealed};
use crate::remote::testing::MemoryKeys;
use crate::remote::{Remote, fetch_block, fetch_table, store_pack};

struct Bench {
    sim: Sim,
    keys: Arc<MemoryKeys>,
}

fn unlimited(bots: u32) -> Options {
    Options {
        bots,
        pace: telegram_sim::Pace::unlimited(),
        ..Options::default()
    }
}

impl Bench {
    async fn start(options: Options) -> Self {
        Self {
            sim: Sim::start(options).await.unwrap(),
            keys: Arc::default(),
        }
    }

    fn settings(&self) -> TelegramRemoteSettings {
        let options = self.sim.options();
        let bots = (1..=options.bots).map(|number| BotSettings {
            number,
            token: BotToken::new(&self.sim.token(telegram_sim::Bot(number))),
            chat: {
                let channel = (number - 1) % options.channels + 1;
                self.sim.chat_id(telegram_sim::Channel(channel)).to_string()
            },
        });
        TelegramRemoteSettings {
            api: ApiId {
                id: options.api_id,
                hash: HiddenText::new(&options.api_hash),
            },
            server: TelegramServer::Own {
                dc: 2,
                address: self.sim.address(),
                key: ServerKey::from_pem(&self.sim.key_pem().unwrap()).unwrap(),
            },
            bots: bots.collect(),
            rate_limit: RateLimit::Fast,
            tombstones: TombstonePolicy::Leave,
            rollover: 500_000,
            publicity: Publicity::Matters,
        }
    }

    fn remote(&self) -> TelegramRemote {
        TelegramRemote::new(
            &self.settings(),
            &(Arc::clone(&self.keys) as Arc<dyn KeyStore>),
        )
    }

    /// Returns a remote with a library.
    async fn ready(&self) -> Arc<dyn Remote> {
        let remote: Arc<dyn Remote> = Arc::new(self.remote());
        let mark = LibraryMark {
            id: LibraryId::random(),
            wrap: None,
        };
        remote.create_library(&mark).await.unwrap();
        remote
    }
}

#[tokio::test]
async fn telegram_keeps_the_contract() {
    let bench = Bench::start(unlimited(3)).await;
    contract(Arc::new(bench.remote())).await;
}

#[tokio::test]
async fn encrypted_telegram_keeps_the_contract() {
    let bench = Bench::start(unlimited(3)).await;
    contract(crate::remote::contract::encrypted(Arc::new(bench.remote())).await).await;
}

/// A film that is opened after a restart has its connections from the first second.
#[tokio::test]
async fn a_pool_begins_with_the_number_of_connections_of_the_last_run() {
    let bench = Bench::start(unlimited(1)).await;
    let remote = bench.ready().await;
    let spool = tempfile::tempdir().unwrap();
    let (pack, _) = sealed(&remote, spool.path(), &[BLOCK * 12]);
    let stored = store_pack(&remote, &pack).await.unwrap();
    drop(remote);
    let connections_for_a_read = async || {
        let remote: Arc<dyn Remote> = Arc::new(bench.remote());
        let table = fetch_table(&remote, &stored).await.unwrap();
        let before = bench.sim.calls("help.getConfig");
        let blocks = (0..12).map(|at| fetch_block(&remote, &stored, &table, BlockIndex(at)));
        futures_util::future::try_join_all(blocks).await.unwrap();
        bench.sim.calls("help.getConfig") - before
    };
    assert_eq!(
        connections_for_a_read().await,
        0,
        "the one that read the table"
    );
    let token = bench.sim.token(telegram_sim::Bot(1));
    let row = format!("bot/{}/dc/2/lanes/read", token.split(':').next().unwrap());
    bench.keys.put(row.as_bytes(), &[4]).unwrap();
    assert_eq!(connections_for_a_read().await, 3);
}

#[tokio::test]
async fn a_pack_that_newer_posts_will_hide_is_told() {
    let bench = Bench::start(unlimited(2)).await;
    let remote = bench.ready().await;
    let spool = tempfile::tempdir().unwrap();
    let (pack, _) = sealed(&remote, spool.path(), &[5]);
    let old = store_pack(&remote, &pack).await.unwrap();
    bench
        .sim
        .skip_ids(telegram_sim::Channel(1), 950_000)
        .unwrap();
    let (pack, _) = sealed(&remote, spool.path(), &[5]);
    let new = store_pack(&remote, &pack).await.unwrap();
    assert_eq!(remote.outlook(&old).await.unwrap(), Outlook::Fading);
    assert_eq!(remote.outlook(&new).await.unwrap(), Outlook::Lasting);
}

#[tokio::test]
async fn a_restart_signs_nothing_in_again() {
    let bench = Bench::start(unlimited(2)).await;
    let remote = bench.ready().await;
    let spool = tempfile::tempdir().unwrap();
    let (pack, _) = sealed(&remote, spool.path(), &[BLOCK + 5]);
    let stored = store_pack(&remote, &pack).await.unwrap();
    let signed_in = bench.sim.calls("auth.importBotAuthorization");
    let keys = bench.sim.calls("handshake");
    assert_eq!((signed_in, keys), (2, 2));
    drop(remote);

    let again: Arc<dyn Remote> = Arc::new(bench.remote());
    let library = again.library().await.unwrap();
    assert!(library.is_some());
    let table = fetch_table(&again, &stored).await.unwrap();
    fetch_block(&again, &stored, &table, BlockIndex(0))
        .await
        .unwrap();
    assert_eq!(bench.sim.calls("auth.importBotAuthorization"), signed_in);
    assert_eq!(bench.sim.calls("handshake"), keys);
}
