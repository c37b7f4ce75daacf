//! Two data centers: homes, migrations, exported authorizations.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use grammers_client::tl::{enums, functions};
use telegram_sim::{Bot, Channel, Options, Pace, Server};

use crate::bot::{Target, TestBot, get_file, name_of, noise, value_of};
use crate::client::{client, make_key};

const SECOND: i32 = 4;

async fn start() -> Server {
    Server::start(Options {
        bots: 2,
        second_dc: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        second_dc_bots: BTreeSet::from([Bot(2)]),
        export_pace: Pace {
            messages_per_minute: 1.0,
            burst: 1,
        },
        ..Options::default()
    })
    .await
    .unwrap()
}

/// A bot with keys at both, whose client begins at data center 2.
async fn bot(server: &Server, number: u32) -> TestBot {
    let pem = server.key_pem().unwrap();
    let (home, second) = (server.address(), server.second_address().unwrap());
    let centers = [
        (2, home, make_key(home, &pem).await),
        (SECOND, second, make_key(second, &pem).await),
    ];
    let options = server.options();
    let client = client(&centers, options.api_id);
    let token = server.token(Bot(number));
    client.bot_sign_in(&token, &options.api_hash).await.unwrap();
    Target::of(server).settle(client).await
}

#[tokio::test]
async fn a_bot_is_sent_home() {
    let server = start().await;
    bot(&server, 2).await;
    assert_eq!(server.calls("auth.importBotAuthorization"), 2);
    bot(&server, 1).await;
    assert_eq!(server.calls("auth.importBotAuthorization"), 3);
}

#[tokio::test]
async fn documents_live_at_the_home_of_their_uploader() {
    let server = start().await;
    let (one, two) = (bot(&server, 1).await, bot(&server, 2).await);
    let data = noise(300_000);
    let id = two.put(&data, "").await;
    let document = one.document(id).await;
    assert_eq!(document.dc_id, SECOND);
    let moved = one.range(&document, 0, 4096).await;
    assert_eq!(value_of(moved), SECOND as u32);
    let call = get_file(&document, 0, 512 * 1024);
    let strange = one.client.invoke_in_dc(SECOND, &call).await;
    assert_eq!(name_of(strange), "AUTH_KEY_UNREGISTERED");

    let export = functions::auth::ExportAuthorization { dc_id: SECOND };
    let enums::auth::ExportedAuthorization::Authorization(exported) =
        one.call(&export).await.unwrap();
    let import = functions::auth::ImportAuthorization {
        id: exported.id,
        bytes: exported.bytes,
    };
    one.client.invoke_in_dc(SECOND, &import).await.unwrap();
    let enums::upload::File::File(file) = one.client.invoke_in_dc(SECOND, &call).await.unwrap()
    else {
        panic!("sent to a CDN");
    };
    assert_eq!(file.bytes, data);

    let again = one.client.invoke_in_dc(SECOND, &import).await;
    assert_eq!(name_of(again), "AUTH_BYTES_INVALID", "it is good once");
    assert_eq!(name_of(one.call(&export).await), "FLOOD_WAIT");
    let history = functions::channels::GetFullChannel {
        channel: one.input_channel(),
    };
    let elsewhere = one.client.invoke_in_dc(SECOND, &history).await;
    assert_eq!(name_of(elsewhere), "USER_MIGRATE", "only files are foreign");
    assert_eq!(server.posts(Channel(1)).unwrap().len(), 1);
    server.restart().await.unwrap();
    assert!(server.second_address().is_some());
}
