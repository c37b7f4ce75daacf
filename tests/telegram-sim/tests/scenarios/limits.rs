//! Limits of the service: parts, captions, ids, pace, age, what bots cannot do.

use std::time::Duration;

use grammers_client::tl::{enums, functions, types};
use telegram_sim::{Channel, Duplicates, OldPosts, Options, Pace, Server};

use crate::bot::{Target, document_media, get_file, name_of, noise, value_of};

const HOUR: Duration = Duration::from_secs(3600);
const KIB: usize = 1024;

#[tokio::test]
async fn parts_have_one_size_and_all_are_there() {
    let server = Server::start(Options {
        bots: 2,
        ..Options::default()
    })
    .await
    .unwrap();
    let target = Target::of(&server);
    let (bot, other) = (target.bot(1).await, target.bot(2).await);
    let part = |number, total, bytes: usize| functions::upload::SaveBigFilePart {
        file_id: 5,
        file_part: number,
        file_total_parts: total,
        bytes: vec![0; bytes],
    };
    let refused = async |call| name_of(bot.call(&call).await);
    assert_eq!(
        refused(part(0, 3, 96 * KIB)).await,
        "FILE_PART_SIZE_INVALID"
    );
    assert_eq!(refused(part(0, 3, 513 * KIB)).await, "FILE_PART_TOO_BIG");
    assert_eq!(
        refused(part(0, 4001, 512 * KIB)).await,
        "FILE_PARTS_INVALID"
    );
    assert_eq!(refused(part(0, 3, 128 * KIB)).await, "no error");
    assert_eq!(
        refused(part(1, 3, 256 * KIB)).await,
        "FILE_PART_SIZE_CHANGED"
    );
    assert_eq!(refused(part(2, 3, 77)).await, "no error");
    let file = types::InputFileBig {
        id: 5,
        parts: 3,
        name: "film.bin".into(),
    };
    let missing = bot.post(file.clone(), "", 1).await;
    assert_eq!(name_of(missing), "FILE_PART_MISSING");
    assert_eq!(refused(part(1, 3, 128 * KIB)).await, "no error");
    let foreign = other.post(file.clone(), "", 1).await;
    assert_eq!(name_of(foreign), "FILE_PART_MISSING", "parts are one bot's");
    bot.post(file, "", 2).await.unwrap();
}

#[tokio::test]
async fn a_part_that_is_saved_again_replaces_the_first() {
    let server = Server::start(Options::default()).await.unwrap();
    let bot = Target::of(&server).bot(1).await;
    let data = noise(3 * 4096);
    bot.save(&noise(3 * 4096), 4096, 1).await.unwrap();
    let file = bot.save(&data, 4096, 1).await.unwrap();
    let id = bot.post(file, "", 1).await.unwrap();
    assert_eq!(server.document_bytes(Channel(1), id).unwrap(), data);
}

#[tokio::test]
async fn parts_wait_only_so_long() {
    let server = Server::start(Options {
        part_lifetime: Duration::ZERO,
        ..Options::default()
    })
    .await
    .unwrap();
    let bot = Target::of(&server).bot(1).await;
    let file = bot.save(&noise(4 * KIB), 4 * KIB, 1).await.unwrap();
    assert_eq!(name_of(bot.post(file, "", 1).await), "FILE_PART_MISSING");
}

#[tokio::test]
async fn captions_and_random_ids_are_checked() {
    let server = Server::start(Options::default()).await.unwrap();
    let bot = Target::of(&server).bot(1).await;
    let file = bot.save(&noise(KIB), KIB, 1).await.unwrap();
    // 513 letters of two UTF-16 units each.
    let long = "𝄞".repeat(513);
    let refused = bot.post(file.clone(), &long, 1).await;
    assert_eq!(name_of(refused), "MEDIA_CAPTION_TOO_LONG");
    assert_eq!(
        name_of(bot.post(file.clone(), "", 0).await),
        "RANDOM_ID_EMPTY"
    );
    bot.post(file.clone(), &"𝄞".repeat(512), 1).await.unwrap();
    let again = bot.post(file, "", 1).await;
    assert_eq!(name_of(again), "RANDOM_ID_DUPLICATE");
    assert_eq!(server.posts(Channel(1)).unwrap().len(), 1);
}

#[tokio::test]
async fn a_random_id_can_answer_with_the_first_message() {
    let server = Server::start(Options {
        duplicates: Duplicates::AnswerFirst,
        ..Options::default()
    })
    .await
    .unwrap();
    let bot = Target::of(&server).bot(1).await;
    let file = bot.save(&noise(KIB), KIB, 1).await.unwrap();
    let first = bot.post(file.clone(), "", 7).await.unwrap();
    assert_eq!(bot.post(file, "", 7).await.unwrap(), first);
    assert_eq!(server.posts(Channel(1)).unwrap().len(), 1);
}

#[tokio::test]
async fn a_channel_takes_a_burst_and_then_asks_to_wait() {
    let server = Server::start(Options {
        bots: 2,
        pace: Pace {
            messages_per_minute: 1.0,
            burst: 3,
        },
        ..Options::default()
    })
    .await
    .unwrap();
    let target = Target::of(&server);
    let (one, two) = (target.bot(1).await, target.bot(2).await);
    let id = one.text("first", 1).await.unwrap();
    two.text("second", 1).await.unwrap();
    one.edit(id, Some("edits count"), None).await.unwrap();
    assert!(value_of(one.text("third", 3).await) > 50);
    assert_eq!(name_of(two.text("third", 3).await), "FLOOD_WAIT");
    one.pin(id).await.unwrap();
    server.set_pace(Pace::unlimited());
    two.text("third", 3).await.unwrap();
}

#[tokio::test]
async fn old_posts_stay() {
    let server = Server::start(Options::default()).await.unwrap();
    let bot = Target::of(&server).bot(1).await;
    let old = bot.text("old", 1).await.unwrap();
    server.set_clock_offset(47 * HOUR);
    let new = bot.text("new", 2).await.unwrap();
    server.set_clock_offset(49 * HOUR);
    assert_eq!(bot.delete(&[old, new, new, 99]).await.unwrap(), 1);
    assert!(bot.message(old).await.is_some());
    bot.edit(old, Some("edited"), None).await.unwrap();
    assert_eq!(bot.message(old).await.unwrap().message, "edited");
}

#[tokio::test]
async fn old_posts_can_be_an_error() {
    let server = Server::start(Options {
        old_posts: OldPosts::Refuse,
        ..Options::default()
    })
    .await
    .unwrap();
    let bot = Target::of(&server).bot(1).await;
    let old = bot.text("old", 1).await.unwrap();
    server.set_clock_offset(49 * HOUR);
    let refused = name_of(bot.delete(&[old]).await);
    assert_eq!(refused, "MESSAGE_DELETE_FORBIDDEN");
}

#[tokio::test]
async fn ids_come_by_the_hundred_and_leave_gaps() {
    let server = Server::start(Options::default()).await.unwrap();
    let bot = Target::of(&server).bot(1).await;
    let by_id = |ids: std::ops::Range<i32>| {
        ids.map(|id| types::InputMessageId { id }.into())
            .collect::<Vec<enums::InputMessage>>()
    };
    assert_eq!(bot.messages(by_id(1..101)).await.unwrap().len(), 100);
    assert_eq!(name_of(bot.messages(by_id(1..102)).await), "LIMIT_INVALID");
    assert_eq!(name_of(bot.messages(Vec::new()).await), "MESSAGE_IDS_EMPTY");
    let first = bot.text("before", 1).await.unwrap();
    server.skip_ids(Channel(1), 50_000).unwrap();
    let second = bot.text("behind", 2).await.unwrap();
    assert_eq!(second, first + 50_001);
    assert!(bot.message(first + 1).await.is_none());
    let ids: Vec<i32> = (1..=101).collect();
    assert_eq!(name_of(bot.delete(&ids).await), "LIMIT_INVALID");
}

#[tokio::test]
async fn pins_are_service_posts_and_can_be_found() {
    let server = Server::start(Options::default()).await.unwrap();
    let bot = Target::of(&server).bot(1).await;
    let pinned = || vec![enums::InputMessage::Pinned];
    let none = bot.messages(pinned()).await.unwrap().remove(0);
    assert!(matches!(none, enums::Message::Empty(_)));
    let first = bot.text("first", 1).await.unwrap();
    bot.pin(first).await.unwrap();
    let second = bot.text("second", 2).await.unwrap();
    assert_eq!(second, first + 2, "the pin has an id of its own");
    let notice = types::InputMessageId { id: first + 1 }.into();
    let notice = bot.messages(vec![notice]).await.unwrap().remove(0);
    assert!(matches!(notice, enums::Message::Service(_)));
    bot.pin(second).await.unwrap();
    let found = bot.messages(pinned()).await.unwrap().remove(0);
    assert_eq!(found.id(), second);
    let call = functions::channels::GetFullChannel {
        channel: bot.input_channel(),
    };
    let enums::messages::ChatFull::Full(full) = bot.call(&call).await.unwrap();
    let enums::ChatFull::ChannelFull(full) = full.full_chat else {
        panic!("no channel");
    };
    assert_eq!(full.pinned_msg_id, Some(second));
    assert_eq!(name_of(bot.pin(second).await), "CHAT_NOT_MODIFIED");
    server.delete_post(Channel(1), second).unwrap();
    assert_eq!(server.pinned(Channel(1)).unwrap(), Some(first));
}

#[tokio::test]
async fn an_edit_can_bring_another_document() {
    let server = Server::start(Options::default()).await.unwrap();
    let bot = Target::of(&server).bot(1).await;
    let id = bot.put(&noise(40 * KIB), "old").await;
    let old = bot.document(id).await;
    let new = noise(9 * KIB);
    let file = bot.save(&new, 512 * KIB, 9).await.unwrap();
    let media = document_media(file.into());
    bot.edit(id, Some("new"), Some(media)).await.unwrap();
    let document = bot.document(id).await;
    assert_eq!(bot.read(&document).await, new);
    let gone = name_of(bot.range(&old, 0, 4096).await);
    assert_eq!(gone, "FILE_REFERENCE_EXPIRED");
    let same = bot.edit(id, Some("new"), None).await;
    assert_eq!(name_of(same), "MESSAGE_NOT_MODIFIED");
    assert_eq!(server.live_bytes(Channel(1)).unwrap(), 9 * KIB as u64);
}

#[tokio::test]
async fn ranges_lie_in_one_block_and_are_aligned() {
    let server = Server::start(Options::default()).await.unwrap();
    let bot = Target::of(&server).bot(1).await;
    let data = noise(1536 * KIB + 100);
    let id = bot.put(&data, "").await;
    let document = bot.document(id).await;
    let refused = async |offset, limit| name_of(bot.range(&document, offset, limit).await);
    assert_eq!(refused(1024, 4096).await, "OFFSET_INVALID");
    assert_eq!(refused(-4096, 4096).await, "OFFSET_INVALID");
    assert_eq!(refused(0, 0).await, "LIMIT_INVALID");
    assert_eq!(refused(0, -4096).await, "LIMIT_INVALID");
    assert_eq!(refused(0, 12 * 1024).await, "LIMIT_INVALID");
    assert_eq!(refused(0, 2048 * 1024).await, "LIMIT_INVALID");
    assert_eq!(refused(768 * 1024, 512 * 1024).await, "LIMIT_INVALID");
    let far_behind = bot.range(&document, i64::MAX - 4095, 4096).await;
    assert!(far_behind.unwrap().is_empty());
    let mut precise = get_file(&document, 1024, 3 * 1024);
    precise.precise = true;
    let enums::upload::File::File(file) = bot.call(&precise).await.unwrap() else {
        panic!("sent to a CDN");
    };
    assert_eq!(file.bytes, data[1024..4 * 1024]);
    let tail = bot.range(&document, 1536 * 1024, 4096).await.unwrap();
    assert_eq!(tail, data[1536 * KIB..], "short only at the end");
}

#[tokio::test]
async fn bots_cannot_read_history() {
    let server = Server::start(Options::default()).await.unwrap();
    let bot = Target::of(&server).bot(1).await;
    let history = functions::messages::GetHistory {
        peer: bot.input_peer(),
        offset_id: 0,
        offset_date: 0,
        add_offset: 0,
        limit: 100,
        max_id: 0,
        min_id: 0,
        hash: 0,
    };
    assert_eq!(name_of(bot.call(&history).await), "BOT_METHOD_INVALID");
    let unknown = functions::account::GetAuthorizations {};
    let refused = name_of(bot.call(&unknown).await);
    assert!(refused.starts_with("INPUT_METHOD_INVALID"), "{refused}");
}
