//! Latency and bandwidth. A slow network can only be shown to take no less than it must.

use std::time::{Duration, Instant};

use telegram_sim::{Options, Pace, Server, Shape};

use crate::bot::{Target, TestBot, noise};

const HALF_MB: usize = 500_000;
/// Buckets begin a little ahead.
const ALMOST_A_SECOND: Duration = Duration::from_millis(900);

async fn at_full_speed() -> (Server, TestBot) {
    let server = Server::start(Options {
        pace: Pace::unlimited(),
        ..Options::default()
    })
    .await
    .unwrap();
    let bot = Target::of(&server).bot(1).await;
    (server, bot)
}

#[tokio::test]
async fn calls_take_a_round_trip_and_do_not_queue_for_it() {
    let (server, bot) = at_full_speed().await;
    let latency = Duration::from_millis(100);
    server.set_shape(Shape {
        latency,
        ..Shape::default()
    });
    let started = Instant::now();
    bot.delete(&[9]).await.unwrap();
    assert!(started.elapsed() >= latency);
    let started = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (client, channel) = (bot.client.clone(), bot.channel);
        calls.spawn(async move { TestBot { client, channel }.delete(&[9]).await.unwrap() });
    }
    calls.join_all().await;
    assert!(
        started.elapsed() < 50 * latency,
        "a hundred calls at once took {:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_lane_carries_only_so_much_each_way() {
    let (server, bot) = at_full_speed().await;
    server.set_shape(Shape {
        lane_bytes_per_s: Some(500_000),
        ..Shape::default()
    });
    let started = Instant::now();
    let id = bot.put(&noise(HALF_MB), "").await;
    assert!(started.elapsed() >= ALMOST_A_SECOND);
    let document = bot.document(id).await;
    let started = Instant::now();
    bot.read(&document).await;
    assert!(started.elapsed() >= ALMOST_A_SECOND);
}

#[tokio::test]
async fn the_lanes_of_a_bot_share() {
    let server = Server::start(Options {
        bots: 2,
        pace: Pace::unlimited(),
        shape: Shape {
            bot_bytes_per_s: Some(1_000_000),
            ..Shape::default()
        },
        ..Options::default()
    })
    .await
    .unwrap();
    let target = Target::of(&server);
    let (one, same) = (target.bot(1).await, target.bot(1).await);
    let data = noise(HALF_MB);
    let started = Instant::now();
    tokio::join!(one.put(&data, "1"), same.put(&data, "2"));
    assert!(started.elapsed() >= ALMOST_A_SECOND);
}
