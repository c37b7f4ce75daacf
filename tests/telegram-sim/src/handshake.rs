//! The making of an auth key: Diffie-Hellman as in core.telegram.org/mtproto/auth_key, the server's side.

use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail, ensure};
use grammers_crypto::{AuthKey, aes, generate_key_data_from_nonce};
use grammers_tl_types::{
    Cursor, Deserializable, Identifiable, Serializable, enums, functions, types,
};
use num_bigint::BigUint;

use crate::digest::{random, sha1};
use crate::key::{left_padded, server_key};

/// The product of two primes that a client factors as its proof of work.
const PRODUCT: u64 = 0x17ED_4894_1A08_F981;

/// The prime that Telegram uses; clients know it and skip their own checks of it.
const PRIME: &str = "C71CAEB9C6B1C9048E6C522F70F13F73980D40238E3E21C14934D037563D930F48198A0AA7C14058229493D22530F4DBFA336F6E0AC925139543AED44CCE7C3720FD51F69458705AC68CD4FE6B6B13ABDC9746512969328454F18FAF8C595F642477FE96BB2A941D5BCD1D4AC8CC49880708FA9B378E3C4F3A9060BEE67CF9A4A4A695811051907E162753B56B0F6B410DBA74D8A84B2A14B3144E0EF1284754FD17ED950D5965B4B9DD46582DB1178D169C6BC465B0D6FF9CA3928FEF5B9AE4E418FC15E83EBEA0F87FA9FF5EED70050DED2849F47BF959D956850CE929851F0D8115F635B105EE2E4E15D04B2454BF6F4FADF034B10403119CD8E3B92FCC5B";
const GENERATOR: u8 = 3;

static DH_PRIME: LazyLock<BigUint> =
    LazyLock::new(|| BigUint::parse_bytes(PRIME.as_bytes(), 16).unwrap_or_default());

/// State of one handshake between two steps.
pub(crate) struct Handshake {
    nonce: [u8; 16],
    server_nonce: [u8; 16],
    new_nonce: Option<[u8; 32]>,
    /// 256 bits are plenty for a server on loopback, and eight times as fast as 2048.
    exponent: BigUint,
}

/// An answer, and the key when it is made.
pub(crate) struct Step {
    pub(crate) answer: Vec<u8>,
    pub(crate) auth_key: Option<[u8; 256]>,
}

impl Step {
    fn answer(object: &impl Serializable) -> Self {
        Self {
            answer: object.to_bytes(),
            auth_key: None,
        }
    }
}

/// Takes one plain message. Whatever is wrong with it ends the connection.
pub(crate) fn step(state: &mut Option<Handshake>, body: &[u8]) -> Result<Step> {
    let (id, rest) = body
        .split_first_chunk::<4>()
        .context("a plain message without a method")?;
    let mut rest = Cursor::from_slice(rest);
    match u32::from_le_bytes(*id) {
        functions::ReqPqMulti::CONSTRUCTOR_ID => {
            begin(state, &functions::ReqPqMulti::deserialize(&mut rest)?)
        }
        functions::ReqDhParams::CONSTRUCTOR_ID => {
            let state = state.as_mut().context("a handshake out of order")?;
            offer(state, &functions::ReqDhParams::deserialize(&mut rest)?)
        }
        functions::SetClientDhParams::CONSTRUCTOR_ID => {
            let state = state.take().context("a handshake out of order")?;
            finish(
                &state,
                functions::SetClientDhParams::deserialize(&mut rest)?,
            )
        }
        other => bail!("method {other:08x} without an auth key"),
    }
}

fn begin(state: &mut Option<Handshake>, request: &functions::ReqPqMulti) -> Result<Step> {
    let begun = Handshake {
        nonce: request.nonce,
        server_nonce: random()?,
        new_nonce: None,
        exponent: BigUint::from_bytes_be(&random::<32>()?),
    };
    let answer = enums::ResPq::Pq(types::ResPq {
        nonce: begun.nonce,
        server_nonce: begun.server_nonce,
        pq: PRODUCT.to_be_bytes().to_vec(),
        server_public_key_fingerprints: vec![server_key().fingerprint()],
    });
    *state = Some(begun);
    Ok(Step::answer(&answer))
}

fn offer(state: &mut Handshake, request: &functions::ReqDhParams) -> Result<Step> {
    let opened = server_key().decrypt(&request.encrypted_data)?;
    let mut cursor = Cursor::from_slice(&opened.data);
    let inner = enums::PQInnerData::deserialize(&mut cursor)?;
    opened.verify(cursor.pos())?;
    let (nonce, server_nonce, new_nonce) = match inner {
        enums::PQInnerData::Data(data) => (data.nonce, data.server_nonce, data.new_nonce),
        enums::PQInnerData::Dc(data) => (data.nonce, data.server_nonce, data.new_nonce),
        _ => bail!("a temporary key, which is not offered here"),
    };
    ensure!(
        nonce == state.nonce && server_nonce == state.server_nonce,
        "another handshake's nonce"
    );
    state.new_nonce = Some(new_nonce);
    let public = BigUint::from(GENERATOR).modpow(&state.exponent, &DH_PRIME);
    let inner = enums::ServerDhInnerData::Data(types::ServerDhInnerData {
        nonce,
        server_nonce,
        g: i32::from(GENERATOR),
        dh_prime: DH_PRIME.to_bytes_be(),
        g_a: left_padded(&public)?.to_vec(),
        server_time: i32::try_from(UNIX_EPOCH.elapsed()?.as_secs())?,
    });
    let (key, iv) = generate_key_data_from_nonce(&server_nonce, &new_nonce);
    Ok(Step::answer(&enums::ServerDhParams::Ok(
        types::ServerDhParamsOk {
            nonce,
            server_nonce,
            encrypted_answer: sealed(&inner.to_bytes(), &key, &iv),
        },
    )))
}

fn finish(state: &Handshake, request: functions::SetClientDhParams) -> Result<Step> {
    let new_nonce = state.new_nonce.context("a handshake out of order")?;
    ensure!(
        request.nonce == state.nonce && request.server_nonce == state.server_nonce,
        "another handshake's nonce"
    );
    let mut inner = request.encrypted_data;
    ensure!(
        inner.len() >= 32 && inner.len().is_multiple_of(16),
        "inner data of a wrong size"
    );
    let (key, iv) = generate_key_data_from_nonce(&state.server_nonce, &new_nonce);
    aes::ige_decrypt(&mut inner, &key, &iv);
    let enums::ClientDhInnerData::Data(data) = enums::ClientDhInnerData::from_bytes(&inner[20..])?;
    let theirs = BigUint::from_bytes_be(&data.g_b);
    let one = BigUint::from(1_u8);
    ensure!(
        theirs > one && theirs < &*DH_PRIME - one,
        "a public value that gives the key away"
    );
    let auth_key = left_padded(&theirs.modpow(&state.exponent, &DH_PRIME))?;
    let answer = enums::SetClientDhParamsAnswer::DhGenOk(types::DhGenOk {
        nonce: state.nonce,
        server_nonce: state.server_nonce,
        new_nonce_hash1: AuthKey::from_bytes(auth_key).calc_new_nonce_hash(&new_nonce, 1),
    });
    Ok(Step {
        answer: answer.to_bytes(),
        auth_key: Some(auth_key),
    })
}

/// `SHA1(inner) + inner + padding`, encrypted.
fn sealed(inner: &[u8], key: &[u8; 32], iv: &[u8; 32]) -> Vec<u8> {
    let mut data = sha1(&[inner]).to_vec();
    data.extend(inner);
    data.resize(data.len().next_multiple_of(16), 0);
    aes::ige_encrypt(&mut data, key, iv);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_and_a_wrong_order_are_errors() {
        let mut state = None;
        assert!(step(&mut state, b"").is_err());
        assert!(step(&mut state, &[9; 40]).is_err());
        let early = functions::SetClientDhParams {
            nonce: [0; 16],
            server_nonce: [0; 16],
            encrypted_data: vec![0; 64],
        };
        assert!(step(&mut state, &early.to_bytes()).is_err());
        let begun = step(
            &mut state,
            &functions::ReqPqMulti { nonce: [1; 16] }.to_bytes(),
        );
        assert!(begun.is_ok_and(|step| step.auth_key.is_none()));
        assert!(step(&mut state, &early.to_bytes()).is_err());
    }
}
