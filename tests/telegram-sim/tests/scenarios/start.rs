//! How a connection starts: keys, `initConnection`, tokens; and what nonsense gets.

use grammers_client::tl::{self, functions};
use grammers_mtproto::{mtp, transport};
use grammers_mtsender::{InvocationError, Sender, ServerAddr};
use grammers_tl_types::Serializable;
use telegram_sim::{Bot, Options, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bot::{Target, name_of, noise};
use crate::client::{DC, client, make_key};

async fn raw(server: &Server, key: [u8; 256]) -> Sender<transport::Full, mtp::Encrypted> {
    let address = ServerAddr::Tcp {
        address: server.address(),
    };
    let encrypted = mtp::Encrypted::build().finish(key);
    Sender::connect(transport::Full::new(), encrypted, address)
        .await
        .unwrap()
}

fn init(api_id: i32) -> impl tl::RemoteCall {
    first_call(tl::LAYER, api_id, functions::help::GetConfig {})
}

/// Returns the call with which a connection of a client of `layer` begins.
fn first_call<C>(
    layer: i32,
    api_id: i32,
    query: C,
) -> functions::InvokeWithLayer<functions::InitConnection<C>> {
    functions::InvokeWithLayer {
        layer,
        query: functions::InitConnection {
            api_id,
            device_model: "test".into(),
            system_version: "1".into(),
            app_version: "1".into(),
            system_lang_code: "en".into(),
            lang_pack: String::new(),
            lang_code: "en".into(),
            proxy: None,
            params: None,
            query,
        },
    }
}

#[tokio::test]
async fn the_first_call_initializes_the_connection() {
    let server = Server::start(Options::default()).await.unwrap();
    let key = make_key(server.address(), &server.key_pem().unwrap()).await;
    let mut sender = raw(&server, key).await;
    let call = functions::updates::GetState {};
    assert_eq!(name_of(sender.invoke(&call).await), "CONNECTION_NOT_INITED");
    assert_eq!(name_of(sender.invoke(&init(1)).await), "API_ID_INVALID");
    let api_id = server.options().api_id;
    sender.invoke(&init(api_id)).await.unwrap();
    assert_eq!(name_of(sender.invoke(&call).await), "AUTH_KEY_UNREGISTERED");
}

#[tokio::test]
async fn a_client_of_an_older_layer_gets_the_names_of_that_layer() {
    let server = Server::start(Options::default()).await.unwrap();
    let options = server.options().clone();
    let key = make_key(server.address(), &server.key_pem().unwrap()).await;
    let mut sender = raw(&server, key).await;
    let unknown = first_call(100, options.api_id, functions::help::GetConfig {});
    let refused = name_of(sender.invoke(&unknown).await);
    assert_eq!(refused, "CONNECTION_LAYER_INVALID");
    let sign_in = functions::auth::ImportBotAuthorization {
        flags: 0,
        api_id: options.api_id,
        api_hash: options.api_hash.clone(),
        bot_auth_token: server.token(Bot(1)),
    };
    // This client knows the names of the newest layer only, so it says which name it did not expect.
    let older = first_call(224, options.api_id, sign_in.clone());
    let answer = sender.invoke(&older).await.map(|_| ());
    let Err(InvocationError::Deserialize(error)) = answer else {
        panic!("{answer:?}");
    };
    let user_of_224 = 0x3177_4388_u32;
    assert!(
        format!("{error:?}").contains(&user_of_224.to_string()),
        "{error:?}"
    );
    let newest = first_call(tl::LAYER, options.api_id, sign_in);
    sender.invoke(&newest).await.unwrap();
}

#[tokio::test]
async fn wrong_tokens_are_refused() {
    let server = Server::start(Options::default()).await.unwrap();
    let target = Target::of(&server);
    let client = target.connect().await;
    let good = server.token(Bot(1));
    let sign_in = |token: String, hash: &'static str| {
        let client = client.clone();
        async move { name_of(client.bot_sign_in(&token, hash).await) }
    };
    let hash = "0123456789abcdef0123456789abcdef";
    assert_eq!(
        sign_in("nonsense".into(), hash).await,
        "ACCESS_TOKEN_INVALID"
    );
    assert_eq!(
        sign_in(server.token(Bot(7)), hash).await,
        "ACCESS_TOKEN_INVALID",
        "there is no such bot"
    );
    let revoked = format!("{}x", &good[..good.len() - 1]);
    assert_eq!(sign_in(revoked, hash).await, "ACCESS_TOKEN_EXPIRED");
    assert_eq!(sign_in(good.clone(), "wrong").await, "API_ID_INVALID");
    assert_eq!(sign_in(good, hash).await, "no error");
}

#[tokio::test]
async fn an_unknown_key_is_a_transport_error() {
    let server = Server::start(Options::default()).await.unwrap();
    let mut sender = raw(&server, [9; 256]).await;
    let refused = sender.invoke(&init(server.options().api_id)).await;
    let Err(InvocationError::Transport(error)) = refused else {
        panic!("no transport error");
    };
    assert_eq!(error, transport::Error::BadStatus { status: 404 });
}

#[tokio::test]
async fn a_forgotten_key_can_be_made_anew_and_a_signed_out_one_signed_in() {
    let server = Server::start(Options::default()).await.unwrap();
    let target = Target::of(&server);
    let bot = target.bot(1).await;
    server.sign_out(Bot(1)).unwrap();
    assert_eq!(name_of(bot.delete(&[9]).await), "AUTH_KEY_UNREGISTERED");
    let token = server.token(Bot(1));
    let hash = &server.options().api_hash;
    bot.client.bot_sign_in(&token, hash).await.unwrap();
    assert_eq!(bot.delete(&[9]).await.unwrap(), 0);
    server.forget_keys(Bot(1)).unwrap();
    assert!(bot.delete(&[9]).await.is_err());
    assert_eq!(target.bot(1).await.delete(&[9]).await.unwrap(), 0);
    assert_eq!(server.calls("handshake"), 2);
}

#[tokio::test]
async fn a_key_serves_several_connections_and_sessions() {
    let server = Server::start(Options::default()).await.unwrap();
    let key = make_key(server.address(), &server.key_pem().unwrap()).await;
    let options = server.options();
    let first = client(&[(DC, server.address(), key)], options.api_id);
    let token = server.token(Bot(1));
    first.bot_sign_in(&token, &options.api_hash).await.unwrap();
    let second = client(&[(DC, server.address(), key)], options.api_id);
    assert!(second.is_authorized().await.unwrap());
    assert!(first.is_authorized().await.unwrap());
}

/// Sends bytes, and reads until the server closes.
async fn closes(server: &Server, bytes: &[u8]) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    // The server may have closed before all was written.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

/// A packet of the full transport with this payload.
fn packet(payload: &[u8]) -> Vec<u8> {
    let mut packet = (payload.len() as u32 + 12).to_le_bytes().to_vec();
    packet.extend([0; 4]);
    packet.extend(payload);
    packet.extend(crc32fast::hash(&packet).to_le_bytes());
    packet
}

#[tokio::test]
async fn nonsense_costs_a_connection_and_nothing_else() {
    let server = Server::start(Options::default()).await.unwrap();
    let target = Target::of(&server);
    let bot = target.bot(1).await;
    closes(&server, b"GET / HTTP/1.1\r\n\r\n").await;
    closes(&server, &[0xef; 100]).await;
    closes(&server, &[0xff; 100]).await;
    closes(&server, &[16, 0, 0, 0]).await;
    for length in [0, 1, 4, 7, 8, 20, 24, 100, 5000] {
        closes(&server, &packet(&vec![0; length])).await;
        closes(&server, &packet(&noise(length))).await;
        let mut wrong_sum = packet(&noise(length));
        *wrong_sum.last_mut().unwrap() ^= 1;
        closes(&server, &wrong_sum).await;
    }
    for method in [
        functions::ReqPqMulti { nonce: [1; 16] }.to_bytes(),
        vec![0xbe, 0xe4, 0x12, 0xd7, 1, 2, 3],
    ] {
        let mut plain = vec![0; 16];
        plain.extend((method.len() as u32).to_le_bytes());
        plain.extend(method);
        closes(&server, &packet(&plain)).await;
    }
    assert_eq!(bot.delete(&[9]).await.unwrap(), 0, "others go on");
}
