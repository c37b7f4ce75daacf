use std::io::Write;

use super::*;

fn search(bytes: &[u8]) -> Search {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Search::new(file).unwrap()
}

/// Returns bytes without repetition, the same each time.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .collect()
}

#[test]
fn interleaved_tracks_are_found_in_order() {
    let mut file = noise(5000, 1);
    let (mut video, mut audio) = (Vec::new(), Vec::new());
    for index in 0..50 {
        for (list, len) in [(&mut video, 4000), (&mut audio, 200)] {
            file.extend([7, 7, 7]);
            list.push((file.len() as u64, noise(len, 100 + index * 2 + len as u64)));
            file.extend(&list.last().unwrap().1);
        }
    }
    let mut search = search(&file);
    let (mut one, mut two) = (Cursor::default(), Cursor::default());
    for ((video_at, frame), (audio_at, packet)) in video.iter().zip(&audio) {
        assert_eq!(
            search.locate(&mut one, frame).unwrap(),
            SampleLocation::Whole(*video_at)
        );
        assert_eq!(
            search.locate(&mut two, packet).unwrap(),
            SampleLocation::Whole(*audio_at)
        );
        search.prune([&one, &two].into_iter());
    }
    assert!(
        search.read_bytes() < file.len() as u64 * 4,
        "{}",
        search.read_bytes()
    );
}

#[test]
fn stripped_headers_become_a_prefix() {
    let frames: Vec<Vec<u8>> = (0..20)
        .map(|index| [vec![0x0b, 0x77], noise(300, index)].concat())
        .collect();
    let file: Vec<u8> = frames
        .iter()
        .flat_map(|frame| [&[1, 2, 3], &frame[2..]].concat())
        .collect();
    let mut search = search(&file);
    let mut cursor = Cursor::default();
    for (index, frame) in frames.iter().enumerate() {
        let at = index as u64 * 303 + 3;
        assert_eq!(
            search.locate(&mut cursor, frame).unwrap(),
            SampleLocation::Tail { missing: 2, at }
        );
    }
}

#[test]
fn samples_that_are_not_there_cost_a_bounded_amount() {
    let file = noise(1 << 20, 3);
    let mut search = search(&file);
    let mut cursor = Cursor::default();
    for index in 0..500 {
        let sample = noise(700, 1000 + index);
        assert_eq!(
            search.locate(&mut cursor, &sample).unwrap(),
            SampleLocation::Nowhere
        );
    }
    assert!(cursor.dead);
    assert!(search.read_bytes() < 100 * file.len() as u64);
}

#[test]
fn chunks_in_another_order_are_found_within_the_budget() {
    let frames: Vec<Vec<u8>> = (0..30).map(|index| noise(500, index)).collect();
    let file: Vec<u8> = frames.iter().rev().flatten().copied().collect();
    let mut search = search(&file);
    let mut cursor = Cursor::default();
    for (index, frame) in frames.iter().enumerate() {
        let at = (29 - index as u64) * 500;
        assert_eq!(
            search.locate(&mut cursor, frame).unwrap(),
            SampleLocation::Whole(at)
        );
    }
}

#[test]
fn equal_samples_are_found_one_after_the_other() {
    let mut search = search(&[5; 90]);
    let mut cursor = Cursor::default();
    for index in 0..30 {
        assert_eq!(
            search.locate(&mut cursor, &[5; 3]).unwrap(),
            SampleLocation::Whole(index * 3)
        );
    }
}

#[test]
fn claims_join_and_are_walked_over() {
    let mut claims = Claims::default();
    claims.add(10, 20);
    claims.add(30, 40);
    claims.add(20, 30);
    assert_eq!(claims.0.len(), 1);
    assert_eq!(claims.free_from(15), (40, u64::MAX));
    assert_eq!(claims.free_from(0), (0, 10));
    assert!(claims.touches(39, 50) && !claims.touches(40, 50) && !claims.touches(0, 10));
    claims.prune(41);
    assert!(claims.0.is_empty());
}
