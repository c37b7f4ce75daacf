mod new_field;

use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    number: u32,
    text: String,
}
impl Record for Sample {
    const KIND: Kind = Kind::Row;
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Later {
    number: u32,
    text: String,
    more: Option<u8>,
}
impl Record for Later {
    const KIND: Kind = Kind::Row;
    const SCHEMA: u16 = 2;
}

fn sample() -> Sample {
    Sample {
        number: 7,
        text: "ab".into(),
    }
}

#[test]
fn the_envelope_has_its_documented_bytes() {
    let bytes = encode(&sample()).unwrap();
    let body = [
        0xB7, 12, 1, 0, // magic, kind, schema
        7, 0, 0, 0, // number
        2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b',
    ];
    assert_eq!(bytes[..body.len()], body);
    assert_eq!(bytes[body.len()..], crc32fast::hash(&body).to_le_bytes());
    assert_eq!(decode::<Sample>(&bytes), Ok(sample()));
}

#[test]
fn a_newer_version_is_not_damage() {
    let bytes = encode(&Later {
        number: 7,
        text: "ab".into(),
        more: None,
    })
    .unwrap();
    assert_eq!(
        decode::<Sample>(&bytes),
        Err(CodecError::NewerVersion {
            kind: Kind::Row,
            found: 2,
            known: 1
        })
    );
}

fn sealed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![MAGIC, Kind::Row as u8, 1, 0];
    bytes.extend_from_slice(payload);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn a_hostile_length_is_an_error_and_takes_no_memory() {
    for len in [u64::MAX, 1 << 40, 65 << 20] {
        let mut payload = vec![0; 4];
        payload.extend_from_slice(&len.to_le_bytes());
        assert!(matches!(
            decode::<Sample>(&sealed(&payload)),
            Err(CodecError::Payload { .. })
        ));
    }
}

#[test]
fn bytes_left_over_are_an_error() {
    let mut payload = encode(&sample()).unwrap()[4..18].to_vec();
    payload.push(0);
    assert!(matches!(
        decode::<Sample>(&sealed(&payload)),
        Err(CodecError::Payload { .. })
    ));
}

#[test]
fn each_flipped_bit_and_each_cut_is_noticed() {
    let bytes = encode(&sample()).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << bit;
            assert!(decode::<Sample>(&bad).is_err(), "bit {bit} of byte {at}");
        }
        assert!(decode::<Sample>(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn frames_tell_an_end_from_a_cut() {
    let mut bytes = Vec::new();
    write_frame(&sample(), &mut bytes).unwrap();
    let first = bytes.len();
    write_frame(&sample(), &mut bytes).unwrap();
    for end in 0..bytes.len() {
        let mut input = &bytes[..end];
        let mut seen = 0;
        let outcome = loop {
            match read_record::<Sample>(&mut input) {
                Ok(Some(_)) => seen += 1,
                Ok(None) => break "end",
                Err(_) => break "cut",
            }
        };
        assert_eq!(seen, end / first, "{end}");
        assert_eq!(outcome == "end", end % first == 0, "{end}");
    }
    let mut hostile: &[u8] = &[0xff, 0xff, 0xff, 0x7f, 1, 2, 3];
    assert!(matches!(read_frame(&mut hostile), Err(FrameError::Torn)));
}
