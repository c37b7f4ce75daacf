//! Who may do what in a channel.

use grammers_client::tl::{enums, functions, types};
use grammers_session::types::{PeerAuth, PeerRef};
use telegram_sim::{Bot, Channel, ForeignDocument, ForeignPost, Options, Right, Server};

use crate::bot::{Target, TestBot, name_of, noise};

const HOME: Channel = Channel(1);

async fn two_bots() -> (Server, TestBot, TestBot) {
    let server = Server::start(Options {
        bots: 2,
        ..Options::default()
    })
    .await
    .unwrap();
    let target = Target::of(&server);
    let (one, two) = (target.bot(1).await, target.bot(2).await);
    (server, one, two)
}

#[tokio::test]
async fn a_bot_that_is_no_member_sees_nothing() {
    let (server, one, two) = two_bots().await;
    let id = one.text("for members", 1).await.unwrap();
    server.remove_bot(HOME, Bot(2)).unwrap();
    let refused = two
        .messages(vec![types::InputMessageId { id }.into()])
        .await;
    assert_eq!(name_of(refused), "CHANNEL_PRIVATE");
    assert_eq!(name_of(two.text("no", 1).await), "CHANNEL_PRIVATE");
    let by_id = TestBot {
        client: two.client.clone(),
        channel: PeerRef {
            id: two.channel.id,
            auth: PeerAuth::from_hash(0),
        },
    };
    assert_eq!(name_of(by_id.text("no", 2).await), "CHANNEL_INVALID");
    server.add_bot(HOME, Bot(2)).unwrap();
    by_id.text("yes", 3).await.unwrap();
}

#[tokio::test]
async fn a_hash_is_one_bots() {
    let (_server, one, two) = two_bots().await;
    let borrowed = TestBot {
        client: two.client.clone(),
        channel: one.channel,
    };
    assert_eq!(name_of(borrowed.text("no", 1).await), "CHANNEL_INVALID");
}

#[tokio::test]
async fn each_right_allows_one_thing() {
    let (server, one, two) = two_bots().await;
    let mine = two.text("mine", 1).await.unwrap();
    let theirs = one.text("theirs", 1).await.unwrap();
    let take = |right| server.take_right(HOME, Bot(2), right).unwrap();

    take(Right::Delete);
    let refused = name_of(two.delete(&[theirs]).await);
    assert_eq!(refused, "MESSAGE_DELETE_FORBIDDEN");
    assert_eq!(two.delete(&[mine]).await.unwrap(), 1, "its own goes");

    take(Right::Pin);
    assert_eq!(name_of(two.pin(theirs).await), "CHAT_ADMIN_REQUIRED");

    take(Right::Edit);
    let refused = two.edit(theirs, Some("edited"), None).await;
    assert_eq!(name_of(refused), "CHAT_ADMIN_REQUIRED");

    server.give_right(HOME, Bot(2), Right::Pin).unwrap();
    take(Right::Post);
    assert_eq!(name_of(two.text("no", 2).await), "CHAT_ADMIN_REQUIRED");
    take(Right::Pin);
    assert_eq!(name_of(two.text("no", 2).await), "CHAT_WRITE_FORBIDDEN");
    assert!(
        two.message(theirs).await.is_some(),
        "reading needs no right"
    );
}

#[tokio::test]
async fn rights_can_be_read() {
    let (server, one, _two) = two_bots().await;
    server.take_right(HOME, Bot(1), Right::Delete).unwrap();
    let call = functions::channels::GetParticipant {
        channel: one.input_channel(),
        participant: enums::InputPeer::PeerSelf,
    };
    let enums::channels::ChannelParticipant::Participant(found) = one.call(&call).await.unwrap();
    let enums::ChannelParticipant::Admin(found) = found.participant else {
        panic!("no administrator");
    };
    let enums::ChatAdminRights::Rights(rights) = found.admin_rights;
    assert!(rights.post_messages && rights.edit_messages && rights.pin_messages);
    assert!(!rights.delete_messages);
    let call = functions::channels::GetChannels {
        id: vec![one.input_channel()],
    };
    let enums::messages::Chats::Chats(chats) = one.call(&call).await.unwrap() else {
        panic!("a slice of channels");
    };
    let enums::Chat::Channel(channel) = &chats.chats[0] else {
        panic!("no channel");
    };
    assert!(channel.broadcast && channel.username.is_none());
    let enums::ChatAdminRights::Rights(same) = channel.admin_rights.clone().unwrap();
    assert_eq!(same, rights);
}

#[tokio::test]
async fn a_bot_is_told_where_it_was_made_administrator() {
    let server = Server::start(Options {
        channels: 2,
        ..Options::default()
    })
    .await
    .unwrap();
    let bot = Target::of(&server).bot(1).await;
    let missed = async |qts| {
        let call = functions::updates::GetDifference {
            pts: 1,
            pts_limit: None,
            pts_total_limit: None,
            date: 1,
            qts,
            qts_limit: None,
        };
        match bot.call(&call).await.unwrap() {
            enums::updates::Difference::Difference(missed) => missed.other_updates,
            _ => Vec::new(),
        }
    };
    assert!(missed(0).await.is_empty());
    server.remove_bot(Channel(2), Bot(1)).unwrap();
    server.add_bot(Channel(2), Bot(1)).unwrap();
    let all = missed(0).await;
    let [_left, enums::Update::ChannelParticipant(joined)] = &all[..] else {
        panic!("{all:?}");
    };
    let chat_id = format!("-100{}", joined.channel_id);
    assert_eq!(chat_id, server.chat_id(Channel(2)).to_string());
    assert!(matches!(
        joined.new_participant,
        Some(enums::ChannelParticipant::Admin(_))
    ));
    assert_eq!(missed(joined.qts).await, []);
}

#[tokio::test]
async fn posts_of_others_are_there_to_read() {
    let (server, one, _two) = two_bots().await;
    let bytes = noise(700_000);
    let document = ForeignDocument {
        name: "Heat (1995).mkv".into(),
        mime_type: "video/x-matroska".into(),
        bytes: bytes.clone(),
    };
    let post = ForeignPost {
        caption: "a film".into(),
        document: Some(document),
    };
    let id = server.add_foreign_post(HOME, post).unwrap();
    server.pin_post(HOME, id).unwrap();
    let found = one
        .messages(vec![enums::InputMessage::Pinned])
        .await
        .unwrap();
    assert_eq!(found[0].id(), id);
    let document = one.document(id).await;
    assert_eq!(document.mime_type, "video/x-matroska");
    assert!(one.read(&document).await == bytes);
    server.flip_byte(HOME, id, 600_000).unwrap();
    let damaged = one.read(&document).await;
    assert_eq!(damaged[600_000], !bytes[600_000]);
    assert_eq!(damaged[..600_000], bytes[..600_000]);
    let view = server.posts(HOME).unwrap().remove(0);
    assert_eq!(view.document.unwrap().name, "Heat (1995).mkv");
}
