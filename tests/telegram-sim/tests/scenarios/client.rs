//! A stock client that was given its auth key: grammers knows only Telegram's own RSA keys, so the
//! handshake with another key is made here, out of its public parts.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use grammers_client::sender::SenderPool;
use grammers_client::{Client, tl};
use grammers_crypto::{AuthKey, aes, factorize, generate_key_data_from_nonce, rsa};
use grammers_mtproto::{mtp, transport};
use grammers_mtsender::{ConnectionParams, NoRetries, Sender, ServerAddr};
use grammers_session::SessionData;
use grammers_session::storages::MemorySession;
use grammers_session::types::DcOption;
use grammers_tl_types::{Deserializable, Serializable};
use num_bigint::BigUint;
use pkcs1::RsaPublicKey;
use pkcs1::der::{Decode, SecretDocument};
use sha1::Digest;
use tl::{enums, functions, types};

pub const DC: i32 = 2;

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

fn trimmed(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

fn padded(number: &BigUint) -> [u8; 256] {
    let bytes = number.to_bytes_be();
    let mut out = [0; 256];
    out[256 - bytes.len()..].copy_from_slice(&bytes);
    out
}

/// Modulus and exponent of a PKCS#1 PEM, in decimal.
fn public_key(pem: &str) -> rsa::Key {
    let (_, document) = SecretDocument::from_pem(pem).unwrap();
    let key = RsaPublicKey::from_der(document.as_bytes()).unwrap();
    let decimal = |bytes| BigUint::from_bytes_be(bytes).to_string();
    rsa::Key::new(
        &decimal(key.modulus.as_bytes()),
        &decimal(key.public_exponent.as_bytes()),
    )
    .unwrap()
}

/// Makes an auth key with the server at `address`.
pub async fn make_key(address: SocketAddr, pem: &str) -> [u8; 256] {
    let server = ServerAddr::Tcp { address };
    let mut sender = Sender::connect(transport::Full::new(), mtp::Plain::new(), server)
        .await
        .unwrap();
    let nonce = random();
    let enums::ResPq::Pq(begun) = sender
        .invoke(&functions::ReqPqMulti { nonce })
        .await
        .unwrap();
    let server_nonce = begun.server_nonce;
    let (p, q) = factorize(u64::from_be_bytes(begun.pq[..].try_into().unwrap()));
    let new_nonce = random();
    let inner = enums::PQInnerData::Data(types::PQInnerData {
        pq: begun.pq,
        p: trimmed(p),
        q: trimmed(q),
        nonce,
        server_nonce,
        new_nonce,
    });
    let offer = functions::ReqDhParams {
        nonce,
        server_nonce,
        p: trimmed(p),
        q: trimmed(q),
        public_key_fingerprint: begun.server_public_key_fingerprints[0],
        encrypted_data: rsa::encrypt_hashed(&inner.to_bytes(), &public_key(pem), &random()),
    };
    let enums::ServerDhParams::Ok(mut offered) = sender.invoke(&offer).await.unwrap() else {
        panic!("the server refuses the handshake");
    };
    let (key, iv) = generate_key_data_from_nonce(&server_nonce, &new_nonce);
    aes::ige_decrypt(&mut offered.encrypted_answer, &key, &iv);
    let enums::ServerDhInnerData::Data(theirs) =
        enums::ServerDhInnerData::from_bytes(&offered.encrypted_answer[20..]).unwrap();
    let prime = BigUint::from_bytes_be(&theirs.dh_prime);
    let exponent = BigUint::from_bytes_be(&random::<256>());
    let public = BigUint::from(theirs.g.unsigned_abs()).modpow(&exponent, &prime);
    let auth_key = padded(&BigUint::from_bytes_be(&theirs.g_a).modpow(&exponent, &prime));
    let inner = enums::ClientDhInnerData::Data(types::ClientDhInnerData {
        nonce,
        server_nonce,
        retry_id: 0,
        g_b: public.to_bytes_be(),
    })
    .to_bytes();
    let mut encrypted_data = sha1::Sha1::digest(&inner).to_vec();
    encrypted_data.extend(inner);
    encrypted_data.resize(encrypted_data.len().next_multiple_of(16), 0);
    aes::ige_encrypt(&mut encrypted_data, &key, &iv);
    let finish = functions::SetClientDhParams {
        nonce,
        server_nonce,
        encrypted_data,
    };
    let enums::SetClientDhParamsAnswer::DhGenOk(done) = sender.invoke(&finish).await.unwrap()
    else {
        panic!("the server refuses the key");
    };
    let proof = AuthKey::from_bytes(auth_key).calc_new_nonce_hash(&new_nonce, 1);
    assert_eq!(done.new_nonce_hash1, proof);
    auth_key
}

/// A client with a key of its own for each data center, the first of them its home.
pub fn client(centers: &[(i32, SocketAddr, [u8; 256])], api_id: i32) -> Client {
    let mut data = SessionData {
        home_dc: centers[0].0,
        ..SessionData::default()
    };
    data.dc_options.clear();
    for (id, address, key) in centers {
        let port = address.port();
        let SocketAddr::V4(ipv4) = *address else {
            panic!("the tests speak IPv4");
        };
        let option = DcOption {
            id: *id,
            ipv4,
            ipv6: SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0),
            auth_key: Some(*key),
        };
        data.dc_options.insert(*id, option);
    }
    // No second tries of the client's own: the tests see each error once.
    let parameters = ConnectionParams {
        retry_policy: Box::new(NoRetries),
        ..ConnectionParams::default()
    };
    let session = Arc::new(MemorySession::from(data));
    let SenderPool { runner, handle, .. } =
        SenderPool::with_configuration(session, api_id, parameters);
    tokio::spawn(runner.run());
    Client::new(handle)
}
