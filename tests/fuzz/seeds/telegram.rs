//! Seeds of what Telegram sends.

use grammers_tl_types::{Deserializable, Identifiable, Serializable, types};

use super::{keep, part};

/// Constructor of a list.
const VECTOR: u32 = 0x1cb5_c415;

/// Bytes in TL, with constructors by their numbers.
#[derive(Default)]
struct Tl(Vec<u8>);

impl Tl {
    fn put(mut self, value: impl Serializable) -> Self {
        value.serialize(&mut self.0);
        self
    }
}

pub fn answers() {
    let document = |tl: Tl| {
        tl.put(types::MessageMediaDocument::CONSTRUCTOR_ID)
            .put(1_i32)
            .put(types::Document::CONSTRUCTOR_ID)
            .put(0_i32)
            .put(7_i64)
            .put(8_i64)
            .put(vec![1_u8, 2, 3])
            .put(1_700_000_000_i32)
            .put("video/mp4".to_owned())
            .put(1000_i64)
            .put(2_i32)
            .put(VECTOR)
            .put(1_i32)
            .put(types::DocumentAttributeFilename::CONSTRUCTOR_ID)
            .put("film.mp4".to_owned())
    };
    let message = |tl: Tl| {
        document(
            tl.put(types::Message::CONSTRUCTOR_ID)
                .put(1_i32 << 9)
                .put(0_i32)
                .put(5_i32)
                .put(types::PeerChannel::CONSTRUCTOR_ID)
                .put(5_i64)
                .put(1_700_000_000_i32)
                .put("tgfs1 probe".to_owned()),
        )
    };
    let messages = message(
        Tl::default()
            .put(types::messages::Messages::CONSTRUCTOR_ID)
            .put(VECTOR)
            .put(1_i32),
    );
    let nothing = |tl: Tl| tl.put(VECTOR).put(0_i32);
    let messages = nothing(nothing(nothing(messages))).0;
    grammers_tl_types::enums::messages::Messages::from_bytes(&messages).unwrap();
    keep("answers", "messages", &messages);
    let updates = Tl::default()
        .put(types::Updates::CONSTRUCTOR_ID)
        .put(VECTOR)
        .put(1_i32)
        .put(types::UpdateNewChannelMessage::CONSTRUCTOR_ID);
    let updates = message(updates).put(1_i32).put(1_i32);
    let updates = nothing(nothing(updates)).put(1_i32).put(1_i32).0;
    grammers_tl_types::enums::Updates::from_bytes(&updates).unwrap();
    keep("answers", "updates", &updates);
    let chats = Tl::default()
        .put(types::messages::Chats::CONSTRUCTOR_ID)
        .put(VECTOR)
        .put(1_i32)
        .put(types::Channel::CONSTRUCTOR_ID)
        .put(1_i32 << 13)
        .put(0_i32)
        .put(1_i64)
        .put(2_i64)
        .put("Films".to_owned())
        .put(types::ChatPhotoEmpty::CONSTRUCTOR_ID)
        .put(1_700_000_000_i32);
    grammers_tl_types::enums::messages::Chats::from_bytes(&chats.0).unwrap();
    keep("answers", "chats", &chats.0);
    let file = types::upload::File {
        r#type: grammers_tl_types::enums::storage::FileType::FileUnknown,
        mtime: 7,
        bytes: vec![9; 300],
    };
    keep(
        "answers",
        "file",
        &grammers_tl_types::enums::upload::File::File(file).to_bytes(),
    );
    deep();
}

/// Writes values within values.
fn deep() {
    let text = types::TextBold::CONSTRUCTOR_ID.to_le_bytes().repeat(40);
    keep("answers", "texts", &text);
    let page = Tl::default()
        .put(types::messages::Messages::CONSTRUCTOR_ID)
        .put(VECTOR)
        .put(1_i32)
        .put(types::Message::CONSTRUCTOR_ID)
        .put(1_i32 << 9)
        .put(0_i32)
        .put(5_i32)
        .put(types::PeerChannel::CONSTRUCTOR_ID)
        .put(5_i64)
        .put(1_700_000_000_i32)
        .put(String::new())
        .put(types::MessageMediaWebPage::CONSTRUCTOR_ID)
        .put(0_i32)
        .put(types::WebPage::CONSTRUCTOR_ID)
        .put(1_i32 << 10)
        .put(1_i64)
        .put("u".to_owned())
        .put("d".to_owned())
        .put(1_i32)
        .put(types::Page::CONSTRUCTOR_ID)
        .put(0_i32)
        .put("u".to_owned())
        .put(VECTOR)
        .put(1_i32);
    let cover = types::PageBlockCover::CONSTRUCTOR_ID
        .to_le_bytes()
        .repeat(20);
    keep("answers", "page", &[&page.0[..], &cover].concat());
}

fn said(body: &[u8]) -> Vec<u8> {
    let mut message = (1_i64 << 33 | 1).to_le_bytes().to_vec();
    message.extend(1_i32.to_le_bytes());
    message.extend(i32::try_from(body.len()).unwrap().to_le_bytes());
    message.extend(body);
    message
}

/// Messages of the protocol itself.
struct Service {
    bad: [Vec<u8>; 3],
    salt: Vec<u8>,
    salts: Vec<u8>,
    session: Vec<u8>,
    pong: Vec<u8>,
    error: Vec<u8>,
}

fn word(word: u32) -> Vec<u8> {
    word.to_le_bytes().to_vec()
}

fn service() -> Service {
    let bad = [16, 32, 64].map(|code: i32| {
        [
            &word(0xa7ef_f811)[..],
            b"\0CALLID\0",
            &1_i32.to_le_bytes(),
            &code.to_le_bytes(),
        ]
        .concat()
    });
    let salt = [
        &word(0xedab_447b)[..],
        b"\0CALLID\0",
        &1_i32.to_le_bytes(),
        &48_i32.to_le_bytes(),
        &9_i64.to_le_bytes(),
    ]
    .concat();
    let salts = types::FutureSalts {
        req_msg_id: 1,
        now: 1_700_000_000,
        salts: grammers_tl_types::RawVec(vec![
            types::FutureSalt {
                valid_since: 1_700_000_000,
                valid_until: 1_700_001_000,
                salt: 3,
            };
            3
        ]),
    };
    let salts = grammers_tl_types::enums::FutureSalts::Salts(salts).to_bytes();
    let session = [&word(0x9ec2_0908)[..], &[1; 24]].concat();
    let pong = [&word(0x3477_73c5)[..], b"\0CALLID\0", &[1; 8]].concat();
    let error = [
        &word(0x2144_ca19)[..],
        &420_i32.to_le_bytes(),
        b"\x0cFLOOD_WAIT_3\0\0\0",
    ]
    .concat();
    Service {
        bad,
        salt,
        salts,
        session,
        pong,
        error,
    }
}

pub fn dialogues() {
    let answer = |body: &[u8]| [&word(0xf35c_6d01)[..], b"\0CALLID\0", body].concat();
    let zipped = {
        use std::io::Write as _;
        let fast = flate2::Compression::fast();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), fast);
        encoder.write_all(&answer(&word(1)).repeat(20)).unwrap();
        let mut object = word(0x3072_cfa1);
        encoder.finish().unwrap().serialize(&mut object);
        object
    };
    let state = types::updates::State {
        pts: 1,
        qts: 2,
        date: 3,
        seq: 4,
        unread_count: 5,
    };
    let state = grammers_tl_types::enums::updates::State::State(state).to_bytes();
    let Service {
        bad,
        salt,
        salts,
        session,
        pong,
        error,
    } = service();
    let container = |bodies: &[&[u8]]| {
        let count = u32::try_from(bodies.len()).unwrap();
        let mut body = [word(0x73f1_f8dc), word(count)].concat();
        bodies.iter().for_each(|inner| body.extend(said(inner)));
        body
    };
    let answered = answer(&state);
    let failed = answer(&error);
    let nested = container(&[&container(&[&zipped]), &answered]);
    for (name, bodies) in [
        ("answers", vec![&answered, &failed, &pong]),
        ("zipped", vec![&zipped, &answer(&zipped)]),
        ("salts", vec![&session, &salt, &salts, &pong]),
        ("bad", vec![&bad[0], &bad[1], &bad[2]]),
        (
            "containers",
            vec![&container(&[&session, &pong, &answered]), &nested],
        ),
    ] {
        let parts: Vec<u8> = bodies.iter().flat_map(|body| part(&said(body))).collect();
        keep("dialogue", name, &parts);
    }
    let raw = [
        part(&[]),
        part(&(-404_i32).to_le_bytes()),
        part(&[12, 0, 0, 0]),
    ]
    .concat();
    keep("dialogue", "raw", &raw);
}
