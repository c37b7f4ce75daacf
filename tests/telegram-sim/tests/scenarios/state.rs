//! Outages and restarts, in memory and on disk.

use telegram_sim::{Bot, Channel, Options, Right, Server};
use tempfile::tempdir;

use crate::bot::{Target, TestBot, name_of, noise};
use crate::client::{DC, client, make_key};

async fn with_key(server: &Server, key: [u8; 256]) -> TestBot {
    let options = server.options();
    let client = client(&[(DC, server.address(), key)], options.api_id);
    if !client.is_authorized().await.unwrap() {
        let token = server.token(Bot(1));
        client.bot_sign_in(&token, &options.api_hash).await.unwrap();
    }
    Target::of(server).settle(client).await
}

#[tokio::test]
async fn a_stopped_server_is_gone_and_a_restarted_one_knows_all() {
    let server = Server::start(Options::default()).await.unwrap();
    let address = server.address();
    let key = make_key(address, &server.key_pem().unwrap()).await;
    let bot = with_key(&server, key).await;
    let data = noise(5000);
    let id = bot.put(&data, "stays").await;
    server.stop().await;
    assert!(bot.delete(&[9]).await.is_err());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    server.restart().await.unwrap();
    assert_eq!(server.address(), address);
    let bot = with_key(&server, key).await;
    let document = bot.document(id).await;
    assert_eq!(bot.read(&document).await, data);
    assert_eq!(server.calls("auth.importBotAuthorization"), 1);
}

#[tokio::test]
async fn a_state_directory_survives_the_process() {
    let directory = tempdir().unwrap();
    let options = Options {
        bots: 2,
        data: Some(directory.path().to_owned()),
        ..Options::default()
    };
    let home = Channel(1);
    let data = noise(1_500_000);
    let (key, kept, last, pinned);
    {
        let server = Server::start(options.clone()).await.unwrap();
        let second = Server::start(options.clone()).await;
        assert!(second.is_err(), "one directory, two servers");
        key = make_key(server.address(), &server.key_pem().unwrap()).await;
        let bot = with_key(&server, key).await;
        kept = bot.put(&data, "kept").await;
        let gone = bot.put(&data, "gone").await;
        bot.delete(&[gone]).await.unwrap();
        pinned = bot.text("first words", 1).await.unwrap();
        bot.edit(pinned, Some("last words"), None).await.unwrap();
        bot.pin(pinned).await.unwrap();
        // Parts without a message are not kept.
        bot.save(&data, 512 * 1024, 7).await.unwrap();
        server.skip_ids(home, 10).unwrap();
        server.take_right(home, Bot(1), Right::Delete).unwrap();
        server.remove_bot(home, Bot(2)).unwrap();
        server.flip_byte(home, kept, 1_000_000).unwrap();
        last = server.last_id(home).unwrap();
        server.stop().await;
    }
    // What a process leaves that is killed while it writes.
    let journal = directory.path().join("journal");
    let mut text = std::fs::read(&journal).unwrap();
    text.extend(b"{\"event\":\"deleted\",\"chan");
    std::fs::write(&journal, text).unwrap();
    std::fs::create_dir(directory.path().join("documents/77")).unwrap();

    let server = Server::start(options.clone()).await.unwrap();
    let bot = with_key(&server, key).await;
    assert_eq!(server.calls("auth.importBotAuthorization"), 0);
    let document = bot.document(kept).await;
    let mut damaged = data.clone();
    damaged[1_000_000] ^= 0xff;
    assert!(bot.read(&document).await == damaged);
    let posts = server.posts(home).unwrap();
    let captions: Vec<&str> = posts.iter().map(|post| post.caption.as_str()).collect();
    assert_eq!(captions, ["kept", "last words"]);
    assert_eq!(server.pinned(home).unwrap(), Some(pinned));
    assert_eq!(server.last_id(home).unwrap(), last);
    assert_eq!(name_of(bot.text("again", 1).await), "RANDOM_ID_DUPLICATE");
    let next = bot.text("new", 2).await.unwrap();
    assert_eq!(next, last + 1);
    let documents = std::fs::read_dir(directory.path().join("documents")).unwrap();
    assert_eq!(documents.count(), 1, "only what a post names");
    server.stop().await;
    drop((server, bot));
    let server = Server::start(options).await.unwrap();
    assert_eq!(
        server.last_id(home).unwrap(),
        next,
        "nothing is lost behind a torn line"
    );
}
