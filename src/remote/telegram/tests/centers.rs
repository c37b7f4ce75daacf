//! Tests of documents in another data centre than the home of the bots that read them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use telegram_sim::{Bot, Channel, Fault, Injection};

use super::*;

const SECOND: i32 = 4;

/// Returns options in which bot 1 is at home in data centre 2, and bot 2 and its documents are in 4. A bot
/// may export its authorization once a minute.
fn two_centres() -> Options {
    Options {
        second_dc: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        second_dc_bots: BTreeSet::from([Bot(2)]),
        export_pace: telegram_sim::Pace {
            messages_per_minute: 1.0,
            burst: 1,
        },
        ..unlimited(2)
    }
}

#[tokio::test]
async fn a_bot_reads_what_lies_in_another_data_centre() {
    let bench = Bench::start(two_centres()).await;
    let remote = bench.ready().await;
    let spool = tempfile::tempdir().unwrap();
    let busy = Injection::on("upload.saveFilePart", Fault::Flood(3600));
    bench.sim.inject(busy.of_bot(Bot(1)).times(100));
    let (pack, bytes) = sealed(&remote, spool.path(), &[3 * BLOCK + 7]);
    let mut stored = store_pack(&remote, &pack).await.unwrap();
    let PackAddress::Telegram(address) = &mut stored.address else {
        panic!("{:?}", stored.address);
    };
    assert_eq!(address.dc, SECOND);
    // The record names the wrong data centre.
    address.dc = 2;

    bench.sim.remove_bot(Channel(1), Bot(2)).unwrap();
    let whole = ByteRange::new(0, bytes.len() as u64);
    for round in 0..3 {
        // Each round is another start. It finds the key of the first one.
        let remote = bench.remote();
        let read = remote.get(&stored, whole, Urgency::Waited).await.unwrap();
        assert!(read == bytes, "round {round}");
    }
    assert_eq!(bench.sim.calls("auth.exportAuthorization"), 1);
    assert_eq!(bench.sim.calls("auth.importAuthorization"), 1);
}

#[tokio::test]
async fn a_wait_for_another_data_centre_delays_and_fails_nothing() {
    let bench = Bench::start(two_centres()).await;
    let remote = bench.ready().await;
    let spool = tempfile::tempdir().unwrap();
    let busy = Injection::on("upload.saveFilePart", Fault::Flood(3600));
    bench.sim.inject(busy.of_bot(Bot(1)).times(100));
    let wait = Injection::on("auth.exportAuthorization", Fault::Flood(2));
    bench.sim.inject(wait);
    // The pack is read back by bot 1, which has to wait.
    let (pack, _) = sealed(&remote, spool.path(), &[BLOCK]);
    store_pack(&remote, &pack).await.unwrap();
}

#[tokio::test]
async fn data_centres_that_name_each_other_are_an_error_and_no_loop() {
    let bench = Bench::start(two_centres()).await;
    let remote = bench.ready().await;
    let spool = tempfile::tempdir().unwrap();
    let (pack, bytes) = sealed(&remote, spool.path(), &[BLOCK]);
    let stored = store_pack(&remote, &pack).await.unwrap();
    let before = bench.sim.calls("upload.getFile");
    bench
        .sim
        .inject(Injection::on("upload.getFile", Fault::Elsewhere).times(10_000));
    let whole = ByteRange::new(0, bytes.len() as u64);
    let read = remote.get(&stored, whole, Urgency::Waited);
    let error = tokio::time::timeout(Duration::from_secs(60), read)
        .await
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("data centre"), "{error}");
    // A few for each bot and each piece of the range.
    let asked = bench.sim.calls("upload.getFile") - before;
    assert!(asked <= 50, "{asked} calls");
}
