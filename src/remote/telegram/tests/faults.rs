//! Tests of faults of the service: lost answers, waits, stalls, an outage, keys that are forgotten.

use std::time::Duration;

use telegram_sim::{Bot, Channel, Fault, Injection, StatusForm};

use super::*;

#[tokio::test]
async fn a_lost_answer_makes_no_second_post() {
    let bench = Bench::start(unlimited(2)).await;
    let remote = bench.ready().await;
    let before = bench.sim.posts(telegram_sim::Channel(1)).unwrap().len();
    bench
        .sim
        .inject(Injection::on("messages.sendMedia", Fault::DropAfter).times(2));
    let spool = tempfile::tempdir().unwrap();
    let (pack, _) = sealed(&remote, spool.path(), &[3 * BLOCK]);
    store_pack(&remote, &pack).await.unwrap();
    let posts = bench.sim.posts(telegram_sim::Channel(1)).unwrap();
    let documents = posts.iter().filter(|post| post.document.is_some()).count();
    assert_eq!(documents, 1, "{before} {posts:?}");
}

#[tokio::test]
async fn a_bot_that_must_wait_is_passed_over() {
    let bench = Bench::start(unlimited(2)).await;
    let remote = bench.ready().await;
    let hour = Fault::Flood(3600);
    bench.sim.inject(
        Injection::on("upload.saveFilePart", hour)
            .of_bot(telegram_sim::Bot(1))
            .times(100),
    );
    let spool = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let (pack, _) = sealed(&remote, spool.path(), &[3 * BLOCK]);
        let storing = store_pack(&remote, &pack);
        tokio::time::timeout(Duration::from_secs(30), storing)
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn lost_parts_are_sent_again_and_stale_references_asked_for() {
    let bench = Bench::start(unlimited(1)).await;
    let remote = bench.ready().await;
    let spool = tempfile::tempdir().unwrap();
    bench
        .sim
        .inject(Injection::on("messages.sendMedia", Fault::MissingPart).times(3));
    let (pack, expected) = sealed(&remote, spool.path(), &[3 * BLOCK]);
    let stored = store_pack(&remote, &pack).await.unwrap();
    bench.sim.expire_references();
    let bytes = remote
        .get(
            &stored,
            ByteRange::new(0, 3 * BLOCK as u64),
            Urgency::Waited,
        )
        .await
        .unwrap();
    assert!(bytes == expected);
}

#[tokio::test]
async fn a_stalled_call_is_asked_again_of_another_bot() {
    let bench = Bench::start(unlimited(2)).await;
    let remote = bench.ready().await;
    let spool = tempfile::tempdir().unwrap();
    let (pack, _) = sealed(&remote, spool.path(), &[8 * BLOCK]);
    let stored = store_pack(&remote, &pack).await.unwrap();
    let table = fetch_table(&remote, &stored).await.unwrap();
    for round in 0..8 {
        bench
            .sim
            .inject(Injection::on("upload.getFile", Fault::Stall));
        let block = crate::model::BlockIndex(round);
        let reading = fetch_block(&remote, &stored, &table, block);
        tokio::time::timeout(Duration::from_secs(8), reading)
            .await
            .unwrap()
            .unwrap();
    }
}

/// A read whose second try stalls as well must not take as long as the time limit of a call.
#[tokio::test]
async fn a_call_whose_second_try_stalls_is_asked_a_third_time() {
    let bench = Bench::start(unlimited(2)).await;
    let remote = bench.ready().await;
    let spool = tempfile::tempdir().unwrap();
    let (pack, _) = sealed(&remote, spool.path(), &[BLOCK]);
    let stored = store_pack(&remote, &pack).await.unwrap();
    let table = fetch_table(&remote, &stored).await.unwrap();
    for _ in 0..2 {
        let stall = Injection::on("upload.getFile", Fault::Stall);
        bench.sim.inject(stall);
    }
    let reading = fetch_block(&remote, &stored, &table, crate::model::BlockIndex(0));
    tokio::time::timeout(Duration::from_secs(8), reading)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn an_outage_ends_and_all_goes_on() {
    let bench = Bench::start(unlimited(2)).await;
    let remote = bench.ready().await;
    let spool = tempfile::tempdir().unwrap();
    let (pack, _) = sealed(&remote, spool.path(), &[BLOCK]);
    let stored = store_pack(&remote, &pack).await.unwrap();
    bench.sim.stop().await;
    let error = remote
        .get(&stored, ByteRange::new(0, 5), Urgency::Waited)
        .await
        .unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_ne!(error.kind, crate::remote::RemoteErrorKind::NotFound);
    let (second, _) = sealed(&remote, spool.path(), &[BLOCK]);
    let waiting = tokio::spawn({
        let remote = Arc::clone(&remote);
        async move { store_pack(&remote, &second).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    bench.sim.restart().await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_sign_in_that_the_service_forgot_is_made_anew() {
    let bench = Bench::start(unlimited(1)).await;
    let remote = bench.ready().await;
    let spool = tempfile::tempdir().unwrap();
    let (pack, _) = sealed(&remote, spool.path(), &[BLOCK]);
    let stored = store_pack(&remote, &pack).await.unwrap();
    bench.sim.sign_out(telegram_sim::Bot(1)).unwrap();
    remote.size(&stored).await.unwrap();
    bench.sim.forget_keys(telegram_sim::Bot(1)).unwrap();
    assert_eq!(remote.size(&stored).await.unwrap(), stored.len);
}

#[tokio::test]
async fn a_wrong_token_is_told_by_the_bots_number_and_never_printed() {
    let bench = Bench::start(unlimited(1)).await;
    let mut settings = bench.settings();
    settings.bots[0].token = BotToken::new("100000001:AAwrongwrongwrongwrongwrongwrongwro");
    let remote = TelegramRemote::new(
        &settings,
        &(Arc::new(MemoryKeys::default()) as Arc<dyn KeyStore>),
    );
    let error = remote.library().await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("bot 1"), "{text}");
    assert!(text.contains("@BotFather"), "{text}");
    assert!(!text.contains("wrongwrong"), "{text}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_part_that_is_forgotten_is_sent_again_before_long() {
    let bench = Bench::start(unlimited(1)).await;
    let remote = bench.ready().await;
    let spool = tempfile::tempdir().unwrap();
    // The pool has to know the usual time of a part.
    let (pack, _) = sealed(&remote, spool.path(), &[8 * BLOCK]);
    store_pack(&remote, &pack).await.unwrap();
    bench
        .sim
        .inject(Injection::on("upload.saveFilePart", Fault::Stall));
    let (pack, _) = sealed(&remote, spool.path(), &[3 * BLOCK]);
    let storing = store_pack(&remote, &pack);
    tokio::time::timeout(Duration::from_secs(30), storing)
        .await
        .unwrap()
        .unwrap();
}

/// A server may send a transport error alone or in a packet.
#[tokio::test]
async fn a_forgotten_key_is_made_anew_in_whichever_form_the_server_tells_it() {
    for status_form in [StatusForm::Bare, StatusForm::Framed] {
        let bench = Bench::start(Options {
            status_form,
            ..unlimited(1)
        })
        .await;
        let remote = bench.ready().await;
        let spool = tempfile::tempdir().unwrap();
        let (pack, _) = sealed(&remote, spool.path(), &[BLOCK]);
        let stored = store_pack(&remote, &pack).await.unwrap();
        bench.sim.forget_keys(Bot(1)).unwrap();
        let size = remote.size(&stored).await;
        assert_eq!(size.unwrap(), stored.len, "{status_form:?}");
    }
}

/// Access hashes are kept over restarts, and the service may change them.
#[tokio::test]
async fn an_access_hash_that_is_out_of_date_is_asked_for_again_by_a_read() {
    let bench = Bench::start(unlimited(1)).await;
    let remote = bench.ready().await;
    let spool = tempfile::tempdir().unwrap();
    let (pack, expected) = sealed(&remote, spool.path(), &[BLOCK]);
    let stored = store_pack(&remote, &pack).await.unwrap();
    drop(remote);
    let token = bench.sim.token(Bot(1));
    let bot = token.split(':').next().unwrap().to_owned();
    let channel = crate::model::ChannelId::from_chat_id(&bench.sim.chat_id(Channel(1)).to_string());
    let row = format!("bot/{bot}/channel/{}", channel.unwrap().get());
    let spoil = || {
        let known = bench.keys.get(row.as_bytes()).unwrap();
        assert!(known.is_some(), "the row of the hash has another name");
        bench
            .keys
            .put(row.as_bytes(), &7_i64.to_le_bytes())
            .unwrap();
        bench.remote()
    };
    let range = ByteRange::new(0, BLOCK as u64);
    let read = spoil().get(&stored, range, Urgency::Waited).await;
    assert!(read.unwrap()[..] == expected[..BLOCK]);
    spoil().size(&stored).await.unwrap();
    let remote: Arc<dyn Remote> = Arc::new(spoil());
    assert!(remote.library().await.unwrap().is_some());
    bench
        .keys
        .put(row.as_bytes(), &7_i64.to_le_bytes())
        .unwrap();
    let (pack, _) = sealed(&remote, spool.path(), &[BLOCK]);
    remote.put(&pack).await.unwrap();
}

#[tokio::test]
async fn a_service_that_fails_is_asked_ever_less_often_and_the_trouble_is_told() {
    let bench = Bench::start(unlimited(1)).await;
    let remote = bench.ready().await;
    let spool = tempfile::tempdir().unwrap();
    let before = bench.sim.calls("messages.sendMedia");
    bench
        .sim
        .inject(Injection::on("messages.sendMedia", Fault::Internal).times(1000));
    let (pack, _) = sealed(&remote, spool.path(), &[BLOCK]);
    let storing = tokio::spawn({
        let remote = Arc::clone(&remote);
        async move { store_pack(&remote, &pack).await }
    });
    tokio::time::sleep(Duration::from_secs(10)).await;
    let calls = bench.sim.calls("messages.sendMedia") - before;
    assert!((2..=7).contains(&calls), "{calls} calls");
    let troubles = remote.troubles();
    assert!(
        troubles.iter().any(|line| line.contains("bot 1")),
        "{troubles:?}"
    );
    bench.sim.clear_injections();
    tokio::time::timeout(Duration::from_secs(60), storing)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(remote.troubles().is_empty());
}

/// Telegram limits how often a bot signs in.
#[tokio::test]
async fn one_sign_out_leads_to_one_sign_in_however_many_calls_meet_it() {
    let bench = Bench::start(unlimited(1)).await;
    let remote = bench.ready().await;
    let spool = tempfile::tempdir().unwrap();
    let (pack, _) = sealed(&remote, spool.path(), &[16 * BLOCK]);
    let stored = store_pack(&remote, &pack).await.unwrap();
    let everything = ByteRange::new(0, 16 * BLOCK as u64);
    let count = || {
        (
            bench.sim.calls("auth.importBotAuthorization"),
            bench.sim.calls("handshake"),
        )
    };
    for (what, new_keys) in [("signed out", 0), ("key forgotten", 1)] {
        let before = count();
        match new_keys {
            0 => bench.sim.sign_out(Bot(1)).unwrap(),
            _ => bench.sim.forget_keys(Bot(1)).unwrap(),
        }
        let reads = (0..4).map(|_| remote.get(&stored, everything, Urgency::Waited));
        let looks = (0..4).map(|_| remote.list_log(LogKind::Manifest, 0));
        let (reads, looks) = tokio::join!(
            futures_util::future::join_all(reads),
            futures_util::future::join_all(looks)
        );
        for read in reads {
            read.unwrap();
        }
        for look in looks {
            look.unwrap();
        }
        let after = count();
        assert_eq!(after.0 - before.0, 1, "{what}");
        assert_eq!(after.1 - before.1, new_keys, "{what}");
    }
}
