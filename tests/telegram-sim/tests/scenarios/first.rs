//! The shortest way through: key, sign-in, upload, post, read back, delete.

use std::io::Cursor;

use grammers_client::media::Media;
use grammers_client::message::InputMessage;
use grammers_session::types::PeerId;
use telegram_sim::{Bot, Channel, Options, Server};

use crate::client::{DC, client, make_key};

#[tokio::test]
async fn a_document_goes_up_comes_back_and_goes() {
    let server = Server::start(Options::default()).await.unwrap();
    let key = make_key(server.address(), &server.key_pem().unwrap()).await;
    let options = server.options();
    let client = client(&[(DC, server.address(), key)], options.api_id);
    assert!(!client.is_authorized().await.unwrap());
    let me = client
        .bot_sign_in(&server.token(Bot(1)), &options.api_hash)
        .await
        .unwrap();
    assert!(me.is_bot());
    let chat = PeerId::from_bot_api_dialog_id(server.chat_id(Channel(1))).unwrap();
    let peer = client
        .resolve_peer(chat.to_ambient_ref())
        .await
        .unwrap()
        .to_ref()
        .await
        .unwrap()
        .unwrap();
    let mut data = vec![0; 3 * 1024 * 1024 + 777];
    getrandom::fill(&mut data).unwrap();
    let uploaded = client
        .upload_stream(&mut Cursor::new(&data), data.len(), "film.bin".into())
        .await
        .unwrap();
    let message = InputMessage::new().text("caption").document(uploaded);
    let sent = client.send_message(peer, message).await.unwrap();
    assert_eq!(sent.id(), 2, "the channel's creation has id 1");
    let found = client
        .get_messages_by_id(peer, &[sent.id(), 99])
        .await
        .unwrap();
    // Stock grammers shows a messageEmpty as a message without text or media.
    assert!(found[1].as_ref().unwrap().media().is_none());
    let message = found[0].as_ref().unwrap();
    assert_eq!(message.text(), "caption");
    let Some(Media::Document(document)) = message.media() else {
        panic!("no document");
    };
    let mut read = Vec::new();
    let mut download = client.iter_download(&document);
    while let Some(bytes) = download.next().await.unwrap() {
        read.extend(bytes);
    }
    assert!(read == data, "the document came back changed");
    assert_eq!(server.document_bytes(Channel(1), sent.id()).unwrap(), data);
    assert_eq!(server.live_bytes(Channel(1)).unwrap(), data.len() as u64);
    assert_eq!(server.calls("upload.saveFilePart"), 7);
    assert_eq!(client.delete_messages(peer, &[sent.id()]).await.unwrap(), 1);
    assert!(server.posts(Channel(1)).unwrap().is_empty());
}
