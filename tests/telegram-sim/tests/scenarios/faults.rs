//! What goes wrong on order and by chance.

use std::time::Duration;

use grammers_client::InvocationError;
use telegram_sim::{Bot, Channel, Fault, Injection, Options, Pace, Server};
use tokio::time::timeout;

use crate::bot::{Target, TestBot, get_file, name_of, noise, value_of};

async fn one_bot() -> (Server, TestBot) {
    let server = Server::start(Options {
        pace: Pace::unlimited(),
        ..Options::default()
    })
    .await
    .unwrap();
    let bot = Target::of(&server).bot(1).await;
    (server, bot)
}

/// Calls until the client noticed that its connection is gone and made another.
async fn until_it_works(bot: &TestBot) {
    for _ in 0..100 {
        if bot.delete(&[9999]).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the client does not come back");
}

#[tokio::test]
async fn a_flood_lasts_for_its_method() {
    let (server, bot) = one_bot().await;
    let id = bot.put(&noise(5000), "").await;
    let document = bot.document(id).await;
    server.inject(Injection::on("upload.getFile", Fault::Flood(30)));
    assert_eq!(value_of(bot.range(&document, 0, 4096).await), 30);
    assert_eq!(name_of(bot.range(&document, 0, 4096).await), "FLOOD_WAIT");
    bot.text("others go on", 1).await.unwrap();
    server.clear_injections();
    bot.range(&document, 0, 4096).await.unwrap();
    server.inject(Injection::on("upload.getFile", Fault::PremiumFlood(7)));
    let premium = bot.range(&document, 0, 4096).await;
    assert_eq!(name_of(premium), "FLOOD_PREMIUM_WAIT");
}

#[tokio::test]
async fn a_reference_expires_until_it_is_fetched_again() {
    let (server, bot) = one_bot().await;
    let id = bot.put(&noise(5000), "").await;
    let old = bot.document(id).await;
    server.inject(Injection::on("upload.getFile", Fault::Expire));
    for _ in 0..2 {
        let refused = name_of(bot.range(&old, 0, 4096).await);
        assert_eq!(refused, "FILE_REFERENCE_EXPIRED");
    }
    let new = bot.document(id).await;
    bot.range(&new, 0, 4096).await.unwrap();
    server.expire_references();
    let refused = name_of(bot.range(&new, 0, 4096).await);
    assert_eq!(refused, "FILE_REFERENCE_EXPIRED");
    let mut broken = bot.document(id).await;
    broken.file_reference = b"nonsense".to_vec();
    let refused = name_of(bot.range(&broken, 0, 4096).await);
    assert_eq!(refused, "FILE_REFERENCE_INVALID");
}

#[tokio::test]
async fn a_location_is_one_bots() {
    let server = Server::start(Options {
        bots: 2,
        ..Options::default()
    })
    .await
    .unwrap();
    let target = Target::of(&server);
    let (one, two) = (target.bot(1).await, target.bot(2).await);
    let id = one.put(&noise(5000), "").await;
    let mut location = one.document(id).await;
    let refused = name_of(two.range(&location, 0, 4096).await);
    assert_eq!(refused, "FILE_REFERENCE_EXPIRED");
    let own = two.document(id).await;
    location.file_reference = own.file_reference.clone();
    let refused = name_of(two.range(&location, 0, 4096).await);
    assert_eq!(refused, "FILE_ID_INVALID", "the hash is another bot's");
    two.range(&own, 0, 4096).await.unwrap();
}

#[tokio::test]
async fn references_have_a_life() {
    let server = Server::start(Options {
        reference_lifetime: Duration::ZERO,
        ..Options::default()
    })
    .await
    .unwrap();
    let bot = Target::of(&server).bot(1).await;
    let id = bot.put(&noise(5000), "").await;
    let document = bot.document(id).await;
    let refused = name_of(bot.range(&document, 0, 4096).await);
    assert_eq!(refused, "FILE_REFERENCE_EXPIRED");
}

#[tokio::test]
async fn a_reply_can_be_lost_after_the_post() {
    let (server, bot) = one_bot().await;
    let file = bot.save(&noise(5000), 512 * 1024, 1).await.unwrap();
    server.inject(Injection::on("messages.sendMedia", Fault::DropAfter));
    assert!(bot.post(file.clone(), "once", 77).await.is_err());
    assert_eq!(server.posts(Channel(1)).unwrap().len(), 1);
    until_it_works(&bot).await;
    let again = name_of(bot.post(file, "once", 77).await);
    assert_eq!(again, "RANDOM_ID_DUPLICATE");
}

#[tokio::test]
async fn a_connection_can_drop_before_the_post() {
    let (server, bot) = one_bot().await;
    server.inject(Injection::on("messages.sendMessage", Fault::DropBefore));
    assert!(bot.text("lost", 1).await.is_err());
    assert!(server.posts(Channel(1)).unwrap().is_empty());
    until_it_works(&bot).await;
    bot.text("arrives", 1).await.unwrap();
}

#[tokio::test]
async fn a_part_can_go_missing() {
    let (server, bot) = one_bot().await;
    let data = noise(3 * 4096);
    let file = bot.save(&data, 4096, 1).await.unwrap();
    server.inject(Injection::on("messages.sendMedia", Fault::MissingPart));
    let missing = bot.post(file.clone(), "", 1).await;
    let Err(InvocationError::Rpc(error)) = missing else {
        panic!("no part went missing");
    };
    assert_eq!(error.name, "FILE_PART_MISSING");
    assert!(error.value.unwrap() < 3);
    bot.save(&data, 4096, 1).await.unwrap();
    let id = bot.post(file, "", 2).await.unwrap();
    assert_eq!(server.document_bytes(Channel(1), id).unwrap(), data);
}

#[tokio::test]
async fn a_stalled_call_is_never_answered_and_the_connection_lives() {
    let (server, bot) = one_bot().await;
    let id = bot.put(&noise(5000), "").await;
    let document = bot.document(id).await;
    server.inject(Injection::on("upload.getFile", Fault::Stall).of_bot(Bot(1)));
    let call = get_file(&document, 0, 4096);
    let stalled = timeout(Duration::from_millis(300), bot.client.invoke(&call)).await;
    assert!(stalled.is_err());
    bot.range(&document, 0, 4096).await.unwrap();
}

#[tokio::test]
async fn transport_and_server_errors_pass() {
    let (server, bot) = one_bot().await;
    let order = |fault| server.inject(Injection::on("channels.deleteMessages", fault));
    order(Fault::TooMany);
    let refused = bot.delete(&[9]).await;
    assert!(
        matches!(refused, Err(InvocationError::Transport(_))),
        "{refused:?}"
    );
    until_it_works(&bot).await;
    order(Fault::Internal);
    assert_eq!(name_of(bot.delete(&[9]).await), "INTERNAL_SERVER_ERROR");
    order(Fault::Timeout);
    assert_eq!(name_of(bot.delete(&[9]).await), "Timeout");
    order(Fault::SignOut);
    assert_eq!(name_of(bot.delete(&[9]).await), "AUTH_KEY_UNREGISTERED");
    assert_eq!(name_of(bot.delete(&[9]).await), "AUTH_KEY_UNREGISTERED");
}

#[tokio::test]
async fn chances_hit_calls_and_not_the_start_of_a_connection() {
    let (server, _bot) = one_bot().await;
    server.set_faults("flood=100%:3,drop=100%".parse().unwrap());
    let target = Target::of(&server);
    let client = target.connect().await;
    let token = server.token(Bot(1));
    client.bot_sign_in(&token, &target.api_hash).await.unwrap();
    let bot = TestBot {
        channel: _bot.channel,
        client,
    };
    assert_eq!(value_of(bot.delete(&[9]).await), 3);
    server.set_faults("drop=100%,handshake".parse().unwrap());
    server.clear_injections();
    let late = target.clone();
    let started = tokio::spawn(async move { late.connect().await }).await;
    assert!(started.is_err(), "the handshake was dropped");
}
