//! Agreement on an authorization key with a data centre
//! (<https://core.telegram.org/mtproto/auth_key>).
//!
//! With the service, grammers makes all steps, since it holds the keys of the service. It accepts no other
//! key. For a server of one's own the second step is therefore made here from its parts.

use std::net::SocketAddr;
use std::time::Duration;

use grammers_crypto::two_factor_auth::check_p_and_g;
use grammers_crypto::{AuthKey, aes, factorize, generate_key_data_from_nonce, rsa};
use grammers_mtproto::{authentication, mtp};
use grammers_tl_types::{
    Cursor, Deserializable, RemoteCall, Serializable, enums, functions, types,
};
use num_bigint::BigUint;
use sha1::{Digest, Sha1};

use super::auth_key::AuthKeyBytes;
use super::call_error::CallError;
use super::connection::{Wire, connect};
use super::packets::Packets;
use super::product;
use crate::remote::telegram::server::{ServerKey, TelegramServer};

/// Time limit of all steps together.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(20);
/// Bits of the prime that a server must offer. Any other size is an attack or a mistake.
const PRIME_BITS: u64 = 2048;
/// The exponents of both sides must lie this many bits from either end of the range
/// (<https://core.telegram.org/mtproto/auth_key>, checks on g_a and g_b).
const SAFETY_BITS: u32 = 2048 - 64;

/// Agrees on a new key, which only the server and this program know.
///
/// # Errors
/// When the server cannot be reached, has another key, or sends unsafe numbers.
pub async fn agree(
    server: &TelegramServer,
    address: SocketAddr,
) -> Result<AuthKeyBytes, CallError> {
    let server = server.clone();
    let work = async move {
        let stream = connect(address).await?;
        let mut wire = Wire::new(stream, Packets::plain());
        match &server {
            TelegramServer::Telegram => agree_with_service(&mut wire).await,
            TelegramServer::Own { key, .. } => agree_with_own(&mut wire, key).await,
        }
    };
    // The protocol may panic over odd bytes. In a task of its own that ends the exchange, and not its caller.
    let mut task = AbortOnDrop(tokio::spawn(work));
    match tokio::time::timeout(HANDSHAKE_LIMIT, &mut task.0).await {
        Ok(ended) => ended.unwrap_or_else(|error| Err(unexpected(error))),
        Err(_) => Err(CallError::TimedOut(HANDSHAKE_LIMIT)),
    }
}

/// A task that ends with its handle.
struct AbortOnDrop(tokio::task::JoinHandle<Result<AuthKeyBytes, CallError>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn call<R: RemoteCall>(
    wire: &mut Wire<mtp::Plain>,
    request: &R,
) -> Result<R::Return, CallError> {
    let body = wire.exchange(&request.to_bytes()).await?;
    R::Return::from_bytes(&body).map_err(unexpected)
}

fn unexpected(error: impl std::fmt::Display) -> CallError {
    CallError::Unexpected(error.to_string())
}

async fn agree_with_service(wire: &mut Wire<mtp::Plain>) -> Result<AuthKeyBytes, CallError> {
    let (request, state) = authentication::step1().map_err(unexpected)?;
    let answer = call(wire, &request).await?;
    let enums::ResPq::Pq(offer) = &answer;
    product::check(&offer.pq)?;
    let (request, state) = authentication::step2(state, answer).map_err(unexpected)?;
    let answer = call(wire, &request).await?;
    let (request, state) = authentication::step3(state, answer).map_err(unexpected)?;
    let answer = call(wire, &request).await?;
    let finished = authentication::create_key(state, answer).map_err(unexpected)?;
    Ok(finished.auth_key)
}

async fn agree_with_own(
    wire: &mut Wire<mtp::Plain>,
    key: &ServerKey,
) -> Result<AuthKeyBytes, CallError> {
    let rsa_key = rsa::Key::new(&key.modulus, &key.exponent)
        .ok_or_else(|| CallError::Unexpected("the server's key is no RSA key".into()))?;
    let fingerprint = fingerprint(key)?;
    let nonce = random::<16>()?;
    let enums::ResPq::Pq(offer) = call(wire, &functions::ReqPqMulti { nonce }).await?;
    if offer.nonce != nonce {
        return Err(CallError::Unexpected("another nonce came back".into()));
    }
    if !offer.server_public_key_fingerprints.contains(&fingerprint) {
        return Err(CallError::Misfit(
            "the server has another key than the one in TELEGRAM_SERVER_KEY: get its public key \
             again, or check TELEGRAM_SERVER"
                .into(),
        ));
    }
    let (p, q) = factorize(product::check(&offer.pq)?);
    let new_nonce = random::<32>()?;
    let inner = enums::PQInnerData::Data(types::PQInnerData {
        pq: offer.pq.clone(),
        p: shortest(p),
        q: shortest(q),
        nonce,
        server_nonce: offer.server_nonce,
        new_nonce,
    });
    let request = functions::ReqDhParams {
        nonce,
        server_nonce: offer.server_nonce,
        p: shortest(p),
        q: shortest(q),
        public_key_fingerprint: fingerprint,
        encrypted_data: rsa::encrypt_hashed(&inner.to_bytes(), &rsa_key, &random::<224>()?),
    };
    let enums::ServerDhParams::Ok(answer) = call(wire, &request).await? else {
        return Err(CallError::Unexpected(
            "the server refuses the key exchange".into(),
        ));
    };
    let parameters = open_parameters(&answer, &offer, &new_nonce)?;
    finish(wire, &parameters, &offer, &new_nonce).await
}

/// Decrypts and checks the server's answer to the second step.
fn open_parameters(
    answer: &types::ServerDhParamsOk,
    offer: &types::ResPq,
    new_nonce: &[u8; 32],
) -> Result<types::ServerDhInnerData, CallError> {
    let mut text = answer.encrypted_answer.clone();
    if text.len() < SHA1_BYTES || !text.len().is_multiple_of(16) {
        return Err(CallError::Unexpected("a short answer".into()));
    }
    let (key, vector) = generate_key_data_from_nonce(&offer.server_nonce, new_nonce);
    aes::ige_decrypt(&mut text, &key, &vector);
    let mut cursor = Cursor::from_slice(&text[SHA1_BYTES..]);
    let enums::ServerDhInnerData::Data(inner) =
        enums::ServerDhInnerData::deserialize(&mut cursor).map_err(unexpected)?;
    let end = SHA1_BYTES + cursor.pos();
    let intact = sha1(&text[SHA1_BYTES..end]) == text[..SHA1_BYTES];
    if !intact || inner.nonce != offer.nonce || inner.server_nonce != offer.server_nonce {
        return Err(CallError::Unexpected(
            "the answer is not for this exchange".into(),
        ));
    }
    Ok(inner)
}

async fn finish(
    wire: &mut Wire<mtp::Plain>,
    parameters: &types::ServerDhInnerData,
    offer: &types::ResPq,
    new_nonce: &[u8; 32],
) -> Result<AuthKeyBytes, CallError> {
    let prime = BigUint::from_bytes_be(&parameters.dh_prime);
    let theirs = BigUint::from_bytes_be(&parameters.g_a);
    let base = u32::try_from(parameters.g).map_err(unexpected)?;
    // Before any arithmetic with it: a prime of zero ends in a panic.
    if prime.bits() != PRIME_BITS || !check_p_and_g(&parameters.dh_prime, &parameters.g) {
        return Err(unsafe_numbers());
    }
    let secret = BigUint::from_bytes_be(&random::<256>()?);
    let ours = BigUint::from(base).modpow(&secret, &prime);
    let low = BigUint::from(2_u8).pow(SAFETY_BITS);
    let in_range = |number: &BigUint| *number > low && *number < &prime - &low;
    if !in_range(&theirs) || !in_range(&ours) {
        return Err(unsafe_numbers());
    }
    let key = padded(&theirs.modpow(&secret, &prime))?;
    let inner = enums::ClientDhInnerData::Data(types::ClientDhInnerData {
        nonce: offer.nonce,
        server_nonce: offer.server_nonce,
        retry_id: 0,
        g_b: ours.to_bytes_be(),
    })
    .to_bytes();
    let mut text = sha1(&inner).to_vec();
    text.extend_from_slice(&inner);
    let padding = text.len().next_multiple_of(16) - text.len();
    text.extend_from_slice(&random::<16>()?[..padding]);
    let (cipher_key, vector) = generate_key_data_from_nonce(&offer.server_nonce, new_nonce);
    aes::ige_encrypt(&mut text, &cipher_key, &vector);
    let request = functions::SetClientDhParams {
        nonce: offer.nonce,
        server_nonce: offer.server_nonce,
        encrypted_data: text,
    };
    match call(wire, &request).await? {
        enums::SetClientDhParamsAnswer::DhGenOk(done)
            if done.new_nonce_hash1
                == AuthKey::from_bytes(key).calc_new_nonce_hash(new_nonce, 1) =>
        {
            Ok(key)
        }
        _ => Err(CallError::Unexpected("the key exchange failed".into())),
    }
}

fn unsafe_numbers() -> CallError {
    CallError::Unexpected("unsafe numbers in the key exchange".into())
}

const SHA1_BYTES: usize = 20;

fn sha1(bytes: &[u8]) -> [u8; SHA1_BYTES] {
    Sha1::digest(bytes).into()
}

/// Returns the low 64 bits of the SHA-1 of the key's bare TL form.
///
/// # Errors
/// When the key is no number.
pub fn fingerprint(key: &ServerKey) -> Result<i64, CallError> {
    let number = |text: &str| {
        BigUint::parse_bytes(text.as_bytes(), 10)
            .ok_or_else(|| CallError::Unexpected("the server's key is no number".into()))
    };
    let mut bytes = number(&key.modulus)?.to_bytes_be().to_bytes();
    bytes.extend(number(&key.exponent)?.to_bytes_be().to_bytes());
    let digest = sha1(&bytes);
    let mut low = [0; 8];
    low.copy_from_slice(&digest[SHA1_BYTES - 8..]);
    Ok(i64::from_le_bytes(low))
}

/// Returns big endian bytes without leading zeros, as TL writes numbers in byte strings.
fn shortest(number: u64) -> Vec<u8> {
    number
        .to_be_bytes()
        .into_iter()
        .skip_while(|byte| *byte == 0)
        .collect()
}

fn padded(number: &BigUint) -> Result<AuthKeyBytes, CallError> {
    let bytes = number.to_bytes_be();
    let mut key = [0; 256];
    let start = key
        .len()
        .checked_sub(bytes.len())
        .ok_or_else(|| CallError::Unexpected("the key is too long".into()))?;
    key[start..].copy_from_slice(&bytes);
    Ok(key)
}

fn random<const N: usize>() -> Result<[u8; N], CallError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(unexpected)?;
    Ok(bytes)
}
