use super::aead::WrongBytes;
use super::*;
use crate::codec::CodecError;
use crate::model::{BlockIndex, Digest, WriterId};
use crate::remote::{LogKind, LogObject, MAX_WRAP_BYTES};

fn start_of_digest(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()[..16].to_owned()
}

fn object(kind: LogKind, number: u64, writer: u8) -> LogObject {
    LogObject {
        kind,
        number,
        writer: WriterId::from_bytes([writer; 16]),
    }
}

fn place(block: u32, count: u32) -> BlockPlace {
    BlockPlace {
        block: BlockIndex(block),
        count,
    }
}

/// Stored bytes never change within a version. The digests are those of bytes that libsodium and another
/// implementation of BLAKE3 made according to docs/FORMAT.md.
#[test]
fn what_is_encrypted_keeps_its_bytes() {
    let key = MasterKey::sample();
    let wrap = Wrap::sample().encode().unwrap();
    assert_eq!(wrap.len(), 116);
    assert!(wrap.len() <= MAX_WRAP_BYTES);
    assert_eq!(start_of_digest(&wrap), "2582d14cf8a3ddb7");

    let cipher = PackCipher::new(&key, PackId::from_bytes([1; 16]));
    let mut block = b"block".to_vec();
    let tag = cipher.seal(place(3, 4), &mut block).unwrap();
    assert_eq!(
        start_of_digest(&[&block[..], &tag.0].concat()),
        "f3591c31dd6754ac"
    );

    let sealed = seal_log(&key, &wrap, object(LogKind::Manifest, 9, 2), b"manifest").unwrap();
    assert_eq!(&sealed[..10], b"tgfsENC1\x74\0");
    assert_eq!(start_of_digest(&sealed), "361d6de38aa9431f");
}

#[test]
fn a_wrap_opens_with_its_passphrase_only() {
    let wrap = Wrap::sample();
    let again = Wrap::decode(&wrap.encode().unwrap()).unwrap();
    assert_eq!(again, wrap);
    assert_eq!(again.plain_until(), 5);
    let key = again.open(b"correct horse").unwrap();
    assert_eq!(**key.0, **MasterKey::sample().0);
    assert_eq!(format!("{key:?}"), "MasterKey(********)");
    let wrong = wrap.open(b"correct horse ").unwrap_err();
    assert!(matches!(wrong, WrapError::WrongPassphrase));
    // Two wraps of one key have nothing in common that reveals it.
    let new = |passphrase| Wrap::seal(&key, passphrase, KdfCost::NONE, 0).unwrap();
    let (one, other) = (new(b"a"), new(b"a"));
    assert_ne!(one, other);
    assert_eq!(**other.open(b"a").unwrap().0, **key.0);
}

#[test]
fn each_flipped_bit_of_a_wrap_is_noticed() {
    let bytes = Wrap::sample().encode().unwrap();
    let body = 4..bytes.len() - 4;
    for at in body.clone() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert_eq!(Wrap::decode(&bad), Err(CodecError::Checksum), "byte {at}");
        // An attacker can compute a checksum too.
        let crc = crc32fast::hash(&bad[..body.end]).to_le_bytes();
        bad[body.end..].copy_from_slice(&crc);
        let opened = Wrap::decode(&bad).unwrap().open(b"correct horse");
        assert!(opened.is_err(), "byte {at}");
    }
}

/// If the memory were allocated, the test would need 2 GiB, and the passes and lanes would take hours.
#[test]
fn costs_above_the_limits_are_refused_at_once() {
    let costs = [
        (2 * 1024 * 1024, 1, 1),
        (u32::MAX, 1, 1),
        (8, u32::MAX, 1),
        (8 * (1 << 24), 1, 1 << 24),
        (1024, 1, 17),
    ];
    for (memory_kib, passes, lanes) in costs {
        let cost = KdfCost {
            memory_kib,
            passes,
            lanes,
        };
        let wrap = Wrap::sample().with_cost(cost);
        let refused = wrap.open(b"correct horse").unwrap_err();
        assert!(matches!(refused, WrapError::TooCostly { .. }), "{cost:?}");
        assert!(Wrap::seal(&MasterKey::sample(), b"x", cost, 0).is_err());
    }
    let nonsense = Wrap::sample().with_cost(KdfCost {
        memory_kib: 0,
        passes: 0,
        lanes: 0,
    });
    assert!(matches!(nonsense.open(b"x"), Err(WrapError::Derivation(_))));
    let standard = KdfCost::STANDARD;
    assert!(standard.memory_kib >= 64 * 1024 && standard.passes >= 3);
}

#[test]
fn a_block_opens_in_its_place_only() {
    let key = MasterKey::sample();
    let pack = |byte| PackCipher::new(&key, PackId::from_bytes([byte; 16]));
    let plain = vec![5; 70_000];
    let mut stored = plain.clone();
    let tag = pack(1).seal(place(3, 9), &mut stored).unwrap();
    assert_eq!(stored.len(), plain.len());
    assert!(!stored.windows(4).any(|window| window == [5; 4]));
    let open = |cipher: &PackCipher, place, stored: &[u8], tag| {
        let mut bytes = stored.to_vec();
        cipher.open(place, &mut bytes, tag).map(|()| bytes)
    };
    assert_eq!(open(&pack(1), place(3, 9), &stored, tag), Ok(plain));
    assert!(open(&pack(2), place(3, 9), &stored, tag).is_err());
    assert!(open(&pack(1), place(4, 9), &stored, tag).is_err());
    assert!(open(&pack(1), place(3, 10), &stored, tag).is_err());
    assert!(open(&pack(1), place(3, 9), &stored[1..], tag).is_err());
    assert!(open(&pack(1), place(3, 9), &[], tag).is_err());
    let other = MasterKey::random().unwrap();
    let other = PackCipher::new(&other, PackId::from_bytes([1; 16]));
    assert!(open(&other, place(3, 9), &stored, tag).is_err());
    let mut flipped = stored.clone();
    flipped[69_999] ^= 0x80;
    assert!(open(&pack(1), place(3, 9), &flipped, tag).is_err());
    // The same bytes in another block have another ciphertext.
    let mut elsewhere = vec![5; 70_000];
    pack(1).seal(place(4, 9), &mut elsewhere).unwrap();
    assert_ne!(elsewhere, stored);
}

#[test]
fn an_object_of_the_log_opens_under_its_name_only() {
    let key = MasterKey::sample();
    let wrap = Wrap::sample().encode().unwrap();
    let own = object(LogKind::Manifest, 9, 2);
    for plain in [&b""[..], b"x", &[7; 100_000]] {
        let sealed = seal_log(&key, &wrap, own, plain).unwrap();
        assert_eq!(seal_log(&key, &wrap, own, plain).unwrap(), sealed);
        let LogForm::Sealed { wrap: found, .. } = log_form(&sealed) else {
            panic!("{:?}", log_form(&sealed));
        };
        assert_eq!(found, wrap);
        assert_eq!(open_log(&key, own, sealed.clone()).unwrap(), plain);
        for other in [
            object(LogKind::Snapshot, 9, 2),
            object(LogKind::Manifest, 10, 2),
            object(LogKind::Manifest, 9, 3),
        ] {
            assert_eq!(open_log(&key, other, sealed.clone()), Err(WrongBytes));
        }
        let stranger = MasterKey::random().unwrap();
        assert_eq!(open_log(&stranger, own, sealed.clone()), Err(WrongBytes));
        for at in (0..sealed.len()).step_by(1 + sealed.len() / 300) {
            let mut bad = sealed.to_vec();
            bad[at] ^= 1;
            assert!(open_log(&key, own, bad.into()).is_err(), "byte {at}");
            assert!(open_log(&key, own, sealed.slice(..at)).is_err(), "cut {at}");
        }
    }
    assert_eq!(log_form(b"tgfsENC2"), LogForm::Newer);
    assert_eq!(log_form(b"tgfsENC1\x74"), LogForm::Torn);
    assert_eq!(log_form(&[0x28, 0xb5, 0x2f, 0xfd]), LogForm::Plain);
}
