//! What any server that tgfs can use must do. Runs against the simulator, and against another server
//! when `TGFS_MTPROTO_PEER=HOST:PORT` is set, with `TGFS_MTPROTO_PEER_KEY` (the server's public key as
//! PKCS#1 PEM), `_TOKENS` (two or more bots, with commas between), `_CHAT_ID` (`-100…` or `@name`) and,
//! where they differ from the simulator's, `_API_ID`, `_API_HASH` and `_DC`.

use std::env;
use std::fs;
use std::net::ToSocketAddrs;

use telegram_sim::{MessagesShape, Options, Server, Visibility};

use crate::bot::{Target, TestBot, name_of, noise};

const MIB: usize = 1024 * 1024;

async fn sign_in(target: &Target) -> (TestBot, TestBot) {
    let client = target.connect().await;
    assert!(!client.is_authorized().await.unwrap());
    let me = client
        .bot_sign_in(&target.tokens[0], &target.api_hash)
        .await
        .unwrap();
    assert!(me.is_bot());
    assert!(client.is_authorized().await.unwrap());
    (target.settle(client).await, target.bot(2).await)
}

async fn comes_back(bot: &TestBot, id: i32, data: &[u8]) {
    let message = bot.message(id).await.unwrap();
    assert_eq!(message.message, format!("{} bytes", data.len()));
    let document = bot.document(id).await;
    assert_eq!(document.size, data.len() as i64);
    assert!(bot.read(&document).await == data, "the bytes changed");
}

async fn ranges(bot: &TestBot, id: i32, data: &[u8]) {
    let document = bot.document(id).await;
    let size = data.len();
    for (offset, limit) in [(0, 4096), (512 * 1024, 512 * 1024), (3 * MIB, 256 * 1024)] {
        let read = bot.range(&document, offset as i64, limit as i32).await;
        let expected = &data[offset.min(size)..(offset + limit).min(size)];
        assert!(read.unwrap() == expected, "{limit} bytes at {offset}");
    }
    let behind = (size + 4096) / 4096 * 4096;
    let read = bot.range(&document, behind as i64, 4096).await.unwrap();
    assert!(read.is_empty(), "bytes behind the end");
    for (offset, limit) in [(1, 4096), (0, 4097), (768 * 1024, 512 * 1024)] {
        let refused = name_of(bot.range(&document, offset, limit).await);
        assert!(
            refused.ends_with("_INVALID"),
            "{limit} at {offset}: {refused}"
        );
    }
}

async fn two_bots_on_one_document(one: &TestBot, two: &TestBot, id: i32, data: &[u8]) {
    let (first, second) = (one.document(id).await, two.document(id).await);
    assert_eq!(first.id, second.id);
    let limit = 512 * 1024;
    let mut read = Vec::new();
    for (turn, offset) in (0..data.len()).step_by(limit).enumerate() {
        let (bot, document) = if turn % 2 == 0 {
            (one, &first)
        } else {
            (two, &second)
        };
        let range = bot.range(document, offset as i64, limit as i32).await;
        read.extend(range.unwrap());
    }
    assert!(read == data, "the bytes changed");
    let strange = name_of(two.range(&first, 0, 4096).await);
    assert!(
        strange.starts_with("FILE_REFERENCE") || strange.starts_with("FILE_ID"),
        "another bot's location: {strange}"
    );
}

async fn run(target: &Target) {
    let (one, two) = sign_in(target).await;
    let small = noise(3 * MIB + 777);
    let large = noise(12 * MIB);
    let first = one
        .put_stock(&small, &format!("{} bytes", small.len()))
        .await;
    let second = one
        .put_stock(&large, &format!("{} bytes", large.len()))
        .await;
    assert!(second > first);
    for bot in [&one, &two] {
        comes_back(bot, first, &small).await;
    }
    comes_back(&one, second, &large).await;
    ranges(&one, first, &small).await;
    two_bots_on_one_document(&one, &two, first, &small).await;
    assert!(one.message(second + 1000).await.is_none());
    assert_eq!(one.delete(&[first, second]).await.unwrap(), 2);
    assert!(two.message(first).await.is_none());
}

async fn against_the_simulator(options: Options) {
    let is_public = options.visibility == Visibility::Public;
    let server = Server::start(Options { bots: 2, ..options }).await.unwrap();
    let mut target = Target::of(&server);
    if is_public {
        target.chat = format!("@{}", server.username(telegram_sim::Channel(1)));
    }
    run(&target).await;
}

#[tokio::test]
async fn the_simulator_does() {
    against_the_simulator(Options::default()).await;
}

#[tokio::test]
async fn the_simulator_does_with_the_other_shape_of_messages_and_a_name() {
    against_the_simulator(Options {
        messages_shape: MessagesShape::Messages,
        visibility: Visibility::Public,
        ..Options::default()
    })
    .await;
}

#[tokio::test]
async fn the_peer_does() {
    let Ok(peer) = env::var("TGFS_MTPROTO_PEER") else {
        println!("skipped: TGFS_MTPROTO_PEER is not set, so there is no other server to ask");
        return;
    };
    let setting = |name: &str| env::var(format!("TGFS_MTPROTO_PEER_{name}")).ok();
    let needed = |name: &str| setting(name).unwrap_or_else(|| panic!("_{name} is not set"));
    let defaults = Options::default();
    let target = Target {
        address: peer.to_socket_addrs().unwrap().next().unwrap(),
        dc: setting("DC").map_or(crate::client::DC, |dc| dc.parse().unwrap()),
        pem: fs::read_to_string(needed("KEY")).unwrap(),
        api_id: setting("API_ID").map_or(defaults.api_id, |id| id.parse().unwrap()),
        api_hash: setting("API_HASH").unwrap_or(defaults.api_hash),
        tokens: needed("TOKENS").split(',').map(str::to_owned).collect(),
        chat: needed("CHAT_ID"),
    };
    run(&target).await;
}
