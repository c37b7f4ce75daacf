//! Tests of the jobs.

use std::sync::Arc;

use super::*;
use crate::ingest::upload_progress::{MeteredBytes, PackEnd};

#[test]
fn a_file_that_changes_while_it_is_sent_is_sent_again() {
    let (jobs, id) = (Jobs::default(), EntryId::random());
    jobs.submit(id);
    assert_eq!(jobs.take(Stage::Content), Some(id));
    jobs.submit(id);
    assert_eq!(jobs.take(Stage::Content), None, "not twice at once");
    jobs.step_done(Stage::Content, id);
    assert_eq!(jobs.take(Stage::Content), Some(id));
    jobs.step_done(Stage::Content, id);
    assert_eq!(jobs.take(Stage::Content), None);
    assert_eq!(
        jobs.finish(id),
        Finished::No,
        "the views are still to be made"
    );
    assert_eq!(jobs.take(Stage::Views), Some(id));
    jobs.step_done(Stage::Views, id);
    assert_eq!(jobs.finish(id), Finished::Yes);
    assert!(!jobs.contains(id));
}

#[tokio::test(start_paused = true)]
async fn a_failed_step_is_tried_again_for_ever_and_says_why() {
    let (jobs, id) = (Jobs::default(), EntryId::random());
    jobs.submit(id);
    for _ in 0..50 {
        assert_eq!(jobs.take(Stage::Content), Some(id));
        jobs.step_failed(Stage::Content, id, "no rights".to_owned());
        assert_eq!(jobs.take(Stage::Content), None, "not before its pause");
        // Success of the other stage does not clear the error.
        if jobs.take(Stage::Views) == Some(id) {
            jobs.step_done(Stage::Views, id);
        }
        let shown = jobs.progress(id).and_then(|job| job.error);
        assert_eq!(shown.as_deref(), Some("no rights"));
        tokio::time::advance(LONGEST_PAUSE).await;
    }
}

#[test]
fn what_waits_is_counted_until_it_is_taken_or_gone() {
    let (jobs, a, b) = (Jobs::default(), EntryId::random(), EntryId::random());
    for id in [a, b] {
        jobs.submit(id);
        jobs.set_unsent(Stage::Content, id, 100);
    }
    jobs.set_unsent(Stage::Views, a, 5);
    assert_eq!(jobs.unsent(), 205);
    jobs.set_unsent(Stage::Content, a, 40);
    assert_eq!(jobs.unsent(), 145);
    jobs.remove(a);
    assert_eq!(jobs.unsent(), 100);
    jobs.set_unsent(Stage::Content, a, 7);
    assert_eq!(jobs.unsent(), 100, "of no job");
}

#[test]
fn the_share_follows_the_parts_and_never_goes_back() {
    let (jobs, id) = (Jobs::default(), EntryId::random());
    let of = FileStage {
        stage: Stage::Content,
        id,
    };
    let shown = || jobs.progress(id).map(|job| (job.step, job.percent));
    jobs.submit(id);
    assert_eq!(jobs.take(Stage::Content), Some(id));
    jobs.begin_upload(of, 1000);
    let pack = MeteredBytes {
        meter: Arc::default(),
        start: 0,
        len: 1000,
    };
    jobs.update_upload(of, |upload| upload.watch(pack.clone()));
    assert_eq!(shown(), Some(("upload", 0)));
    pack.meter.reach(500);
    assert_eq!(shown(), Some(("upload", 49)));
    jobs.update_upload(of, |upload| upload.unwatch(&pack.meter, PackEnd::Failed));
    jobs.step_failed(Stage::Content, id, "refused".to_owned());
    jobs.begin_upload(of, 1000);
    assert_eq!(shown(), Some(("upload", 49)), "the pack is sent again");
    jobs.update_upload(of, |upload| upload.add_stored(1000));
    assert_eq!(shown(), Some(("upload", 98)));
    jobs.submit(id);
    assert_eq!(jobs.take(Stage::Views), Some(id));
    jobs.step_done(Stage::Content, id);
    jobs.take(Stage::Content);
    jobs.step_done(Stage::Content, id);
    jobs.set_progress(Stage::Views, id, "map", 3);
    assert_eq!(
        shown(),
        Some(("map", 98)),
        "a film is mapped behind its upload"
    );
    assert_eq!(jobs.progress(id).and_then(|job| job.step_percent), Some(3));
    jobs.hold(id);
    jobs.submit(id);
    assert_eq!(jobs.take(Stage::Content), Some(id));
    jobs.begin_upload(of, 1000);
    assert_eq!(shown(), Some(("upload", 0)), "other bytes");
}

#[test]
fn submitting_twice_queues_once() {
    let (jobs, id) = (Jobs::default(), EntryId::random());
    jobs.submit(id);
    jobs.submit(id);
    assert_eq!(jobs.take(Stage::Views), Some(id));
    jobs.step_done(Stage::Views, id);
    assert_eq!(jobs.take(Stage::Views), None);
}
