//! Tests of the spool.

use super::*;

fn spool(capacity: u64) -> (tempfile::TempDir, Spool) {
    let directory = tempfile::tempdir().unwrap();
    let config = SpoolConfig {
        directory: directory.path().join("spool"),
        capacity,
        reserve: 0,
    };
    (directory, Spool::open(config).unwrap())
}

#[test]
fn files_and_records_survive_a_restart() {
    let (_keep, spool) = spool(1 << 30);
    let file = spool.create().unwrap();
    file.write_all_at(b"film", 0).unwrap();
    spool.write_record(file.id, b"whose").unwrap();
    let again = Spool::open(spool.config.clone()).unwrap();
    assert_eq!(again.ids(), [file.id]);
    let mut bytes = [0; 4];
    again
        .get(file.id)
        .unwrap()
        .read_exact_at(&mut bytes, 0)
        .unwrap();
    assert_eq!(&bytes, b"film");
    assert_eq!(again.read_record(file.id).unwrap(), b"whose");
}

#[test]
fn what_others_give_back_counts_as_free() {
    let directory = tempfile::tempdir().unwrap();
    let config = SpoolConfig {
        directory: directory.path().join("spool"),
        capacity: 1 << 30,
        // No disk has as much, so nothing is free except the lent bytes.
        reserve: 1 << 60,
    };
    let spool = Spool::open(config).unwrap();
    assert_eq!((spool.free(), spool.capacity()), (0, 0));
    spool.count_as_free(|| (1 << 60) + (1 << 20));
    assert!(spool.free() >= 1 << 20 && spool.capacity() >= 1 << 20);
}

/// The text may be stored as the reason of a failed file, where others can read it.
#[test]
fn the_text_about_a_full_disk_names_no_path() {
    let directory = tempfile::tempdir().unwrap();
    let config = SpoolConfig {
        directory: directory.path().join("spool"),
        capacity: 1 << 62,
        reserve: 1 << 60,
    };
    let spool = Spool::open(config).unwrap();
    for text in [spool.explain_full(), spool.explain_too_large()] {
        assert!(text.contains("TGFS_SPOOL_RESERVE"), "{text}");
        assert!(!text.contains(directory.path().to_str().unwrap()), "{text}");
    }
}

#[test]
fn a_discarded_file_is_still_read_by_those_who_have_it() {
    let (_keep, spool) = spool(1 << 30);
    let file = spool.create().unwrap();
    file.write_all_at(b"film", 0).unwrap();
    spool.discard(file.id).unwrap();
    assert!(spool.get(file.id).is_none() && !file.path.exists());
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"film");
}

/// Returns how many files below a directory this process has open.
fn opened_below(directory: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    open.filter_map(|item| std::fs::read_link(item.unwrap().path()).ok())
        .filter(|target| target.starts_with(directory))
        .count()
}

#[test]
fn more_files_than_descriptors_are_written_read_and_discarded() {
    let directory = tempfile::tempdir().unwrap();
    let config = SpoolConfig {
        directory: directory.path().join("spool"),
        capacity: 1 << 30,
        reserve: 0,
    };
    let spool = Spool::open_with(config.clone(), DescriptorPool::new(4)).unwrap();
    let files: Vec<_> = (0..40).map(|_| spool.create().unwrap()).collect();
    for round in 0..3_u8 {
        for (number, file) in files.iter().enumerate() {
            file.write_all_at(&[number as u8, round], u64::from(round) * 2)
                .unwrap();
        }
        assert!(opened_below(directory.path()) <= 4);
    }
    let is_whole = |file: &SpoolFile, number: usize| {
        let mut bytes = [0; 6];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let number = number as u8;
        bytes == [number, 0, number, 1, number, 2]
    };
    for (number, file) in files.iter().enumerate() {
        assert!(is_whole(file, number));
        file.sync().unwrap();
    }
    files[..20]
        .iter()
        .for_each(|file| spool.discard(file.id).unwrap());
    for (number, file) in files.iter().enumerate() {
        assert!(is_whole(file, number), "{number}");
    }
    drop(files);
    assert!(opened_below(directory.path()) <= 4);
    let again = Spool::open_with(config, DescriptorPool::new(4)).unwrap();
    assert!(again.ids().len() == 20 && again.used() > 0);
    assert!(opened_below(directory.path()) <= 4);
}

#[test]
fn what_the_disk_refused_is_told_after_the_file_was_closed_for_others() {
    let directory = tempfile::tempdir().unwrap();
    let config = SpoolConfig {
        directory: directory.path().join("spool"),
        capacity: 1 << 30,
        reserve: 0,
    };
    let spool = Spool::open_with(config, DescriptorPool::new(1)).unwrap();
    let file = spool.create().unwrap();
    file.write_all_at(b"film", 0).unwrap();
    file.damage();
    spool.create().unwrap().write_all_at(b"other", 0).unwrap();
    assert!(file.sync().is_err());
}

#[test]
fn a_disk_that_failed_once_is_never_success_again() {
    let (_keep, spool) = spool(1 << 30);
    let file = spool.create().unwrap();
    file.write_all_at(b"film", 0).unwrap();
    file.sync().unwrap();
    file.damage();
    assert!(file.sync().is_err() && file.sync().is_err());
}

#[test]
fn a_removal_is_noted_for_one_file_only() {
    let (_keep, spool) = spool(1 << 30);
    let (file, entry) = (spool.create().unwrap(), EntryId::random());
    assert!(!spool.was_removed(file.id, entry));
    spool.note_removed(file.id, entry).unwrap();
    assert!(spool.was_removed(file.id, entry));
    assert!(!spool.was_removed(file.id, EntryId::random()));
    spool.discard(file.id).unwrap();
    assert!(!spool.was_removed(file.id, entry));
}

#[tokio::test(start_paused = true)]
async fn a_full_spool_waits_while_it_drains_and_refuses_when_it_does_not() {
    let (_keep, spool) = spool(1000);
    spool.used.store(1000, Ordering::Relaxed);
    let deadline = Duration::from_secs(300);
    assert_eq!(
        spool.wait_for_space(1, deadline, || Draining::No).await,
        SpaceGrant::Full
    );
    let freeing = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        spool.used.store(0, Ordering::Relaxed);
        spool.freed.notify_waiters();
    };
    let waiting = spool.wait_for_space(1, deadline, || Draining::Yes);
    let (space, ()) = tokio::join!(waiting, freeing);
    assert_eq!(space, SpaceGrant::Granted);
}

/// Whoever can put something into the directory can neither hold a start up nor lead it elsewhere.
#[test]
fn nothing_but_regular_files_is_opened() {
    let (keep, spool) = spool(1 << 30);
    let file = spool.create().unwrap();
    let elsewhere = keep.path().join("elsewhere");
    std::fs::write(&elsewhere, b"kept").unwrap();
    let fifo = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let link = |path: &Path| std::os::unix::fs::symlink(&elsewhere, path).unwrap();
    let (piped, linked) = (BlobId::random(), BlobId::random());
    fifo(&spool.directory().join(piped.to_string()));
    link(&spool.directory().join(linked.to_string()));
    link(&spool.record_path(file.id));
    fifo(&spool.note_path(EntryId::random()));
    link(&spool.new_record_path(file.id));
    let again = Spool::open(spool.config.clone()).unwrap();
    assert_eq!(again.ids(), [file.id]);
    assert!(again.notes().unwrap().is_empty());
    again.read_record(file.id).unwrap_err();
    again.begin_record(file.id, b"lost").unwrap_err();
    again.write_record(file.id, b"lost").unwrap_err();
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"kept");
    // A file whose place was taken after the start.
    std::fs::remove_file(&file.path).unwrap();
    link(&file.path);
    let taken = again.get(file.id).unwrap();
    taken.write_all_at(b"lost", 0).unwrap_err();
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"kept");
}

/// The kernel tells a failed write-back once. A later sync has to say the same.
#[test]
fn a_file_that_the_disk_had_no_room_for_says_so_at_each_sync() {
    let (_keep, spool) = spool(1 << 30);
    let file = spool.create().unwrap();
    file.fail_with(io::ErrorKind::StorageFull);
    for _ in 0..2 {
        let error = crate::model::FsError::from(file.sync().unwrap_err());
        assert_eq!(error.kind, crate::model::ErrorKind::NoSpace);
    }
}
