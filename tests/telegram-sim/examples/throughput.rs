//! How fast one connection goes: starts a server in this process, saves parts over a raw sender with
//! compression off, reads them back with several calls in flight, and prints MB/s and CPU seconds.
//! `cargo run --release -p telegram-sim --example throughput [MEBIBYTES [LANE_MBYTES_PER_S]]`

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use grammers_client::tl::{self, enums, functions, types};
use grammers_mtproto::{mtp, transport};
use grammers_mtsender::{Sender, ServerAddr};
use telegram_sim::{Bot, Channel, Options, Pace, Server, Shape};

#[allow(clippy::unwrap_used)] // It is a test's.
#[path = "../tests/scenarios/client.rs"]
mod client;

const PART: usize = 512 * 1024;

/// CPU seconds of this process so far: client and server together.
fn cpu() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().context("no fields")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

#[tokio::main]
async fn main() -> Result<()> {
    let mebibytes: usize = std::env::args()
        .nth(1)
        .map_or(Ok(512), |text| text.parse())?;
    let lane: Option<f64> = std::env::args()
        .nth(2)
        .map(|text| text.parse())
        .transpose()?;
    let parts = i32::try_from(mebibytes * 2)?;
    let server = Server::start(Options {
        pace: Pace::unlimited(),
        shape: Shape {
            lane_bytes_per_s: lane.map(|megabytes| (megabytes * 1e6) as u64),
            ..Shape::default()
        },
        ..Options::default()
    })
    .await?;
    let options = server.options();
    let key = client::make_key(server.address(), &server.key_pem()?).await;
    let stock = client::client(&[(client::DC, server.address(), key)], options.api_id);
    stock
        .bot_sign_in(&server.token(Bot(1)), &options.api_hash)
        .await?;

    let mut sender = Sender::connect(
        transport::Full::new(),
        mtp::Encrypted::build()
            .compression_threshold(None)
            .finish(key),
        ServerAddr::Tcp {
            address: server.address(),
        },
    )
    .await?;
    sender
        .invoke(&functions::InvokeWithLayer {
            layer: tl::LAYER,
            query: functions::InitConnection {
                api_id: options.api_id,
                device_model: "bench".into(),
                system_version: "1".into(),
                app_version: "1".into(),
                system_lang_code: "en".into(),
                lang_pack: String::new(),
                lang_code: "en".into(),
                proxy: None,
                params: None,
                query: functions::help::GetConfig {},
            },
        })
        .await?;
    let mut part = vec![0; PART];
    getrandom::fill(&mut part).map_err(|error| anyhow::anyhow!("{error}"))?;
    let report = |what: &str, started: Instant, before: f64| -> Result<()> {
        let gigabytes = (mebibytes << 20) as f64 / 1e9;
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{what}: {:.1} MB/s, {:.2} CPU s/GB of client and server",
            gigabytes * 1e3 / seconds,
            (cpu()? - before) / gigabytes
        );
        Ok(())
    };
    let (started, before) = (Instant::now(), cpu()?);
    for number in 0..parts {
        sender
            .invoke(&functions::upload::SaveBigFilePart {
                file_id: 1,
                file_part: number,
                file_total_parts: parts,
                bytes: part.clone(),
            })
            .await?;
    }
    report("saveBigFilePart, 1 in flight", started, before)?;

    let chat = server.chat_id(Channel(1));
    let channel =
        grammers_session::types::PeerId::from_bot_api_dialog_id(chat).context("no channel")?;
    let peer = grammers_session::types::PeerRef {
        id: channel,
        auth: grammers_session::types::PeerAuth::from_hash(0),
    };
    let message = grammers_client::message::InputMessage::new().document(
        grammers_client::media::Uploaded::from_raw(
            types::InputFileBig {
                id: 1,
                parts,
                name: "bench.bin".into(),
            }
            .into(),
        ),
    );
    let sent = stock.send_message(peer, message).await?;
    let Some(grammers_client::media::Media::Document(document)) = sent.media() else {
        anyhow::bail!("no document");
    };
    let Some(enums::Document::Document(document)) = document.raw.document else {
        anyhow::bail!("no document");
    };
    for in_flight in [1, 4] {
        let (started, before) = (Instant::now(), cpu()?);
        let mut readers = tokio::task::JoinSet::new();
        for first in 0..in_flight {
            let stock = stock.clone();
            let document = document.clone();
            readers.spawn(async move {
                for number in (first..i64::from(parts)).step_by(usize::try_from(in_flight)?) {
                    let location = types::InputDocumentFileLocation {
                        id: document.id,
                        access_hash: document.access_hash,
                        file_reference: document.file_reference.clone(),
                        thumb_size: String::new(),
                    };
                    stock
                        .invoke(&functions::upload::GetFile {
                            precise: false,
                            cdn_supported: false,
                            location: location.into(),
                            offset: number * PART as i64,
                            limit: i32::try_from(PART)?,
                        })
                        .await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(reader) = readers.join_next().await {
            reader??;
        }
        report(&format!("getFile, {in_flight} in flight"), started, before)?;
    }
    Ok(())
}
