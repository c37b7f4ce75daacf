//! Tests of groups of pictures above the cap, which are encoded again: players must not notice, and
//! everything else stays as it is.

use tgfs::media::build::BuildReport;
use tgfs::media::build::cuts::CutPolicy;
use tgfs::model::{Compat, Oversize, Views};

use super::check::check;
use super::support::*;

const CAP: u64 = 3 << 20;

fn policy(oversize: Oversize, max_chunk_bytes: u64) -> CutPolicy {
    CutPolicy {
        max_chunk_bytes,
        oversize,
        ..CutPolicy::default()
    }
}

fn build_with_cap(name: &str, oversize: Oversize, cap: u64) -> (Built, BuildReport) {
    build_as(&film(name), &policy(oversize, cap), Compat::Off)
}

fn largest(views: &Views) -> u64 {
    let sizes = views.tracks[0].segments.iter().map(|segment| segment.size);
    sizes.max().unwrap()
}

/// Returns times relative to the first picture, so that those of source and segments can be compared.
fn times(list: &[(i64, String)]) -> Vec<i64> {
    let first = list.iter().map(|(at, _)| *at).min().unwrap();
    list.iter().map(|(at, _)| at - first).collect()
}

#[test]
fn large_groups_become_small_and_all_else_stays() {
    let (kept, _) = build_with_cap("large.mkv", Oversize::Keep, CAP);
    assert!(largest(&kept.views) > CAP);
    let (built, account) = build_with_cap("large.mkv", Oversize::Reencode, CAP);
    check(&built);
    assert_eq!(built.views.note, None);
    assert!(largest(&built.views) <= CAP, "{}", largest(&built.views));
    let groups: Vec<_> = account
        .reencoded
        .iter()
        .map(|group| group.samples.clone())
        .collect();
    assert_eq!(groups, [144..288, 432..576], "{account:?}");
    for group in &account.reencoded {
        let likeness = group.likeness.expect("x264 says how like it is");
        assert!(likeness > 0.6 && likeness <= 1.0, "{group:?}");
    }
    assert!(!account.reencoded_segments.is_empty());

    // Every picture comes at its time, without an error of the decoder. Pictures that were not encoded
    // equal the source's.
    let source = pictures(&film("large.mkv"));
    let (mapped, transport) = (built.join("video"), join_transport(&built, "video"));
    for form in [&mapped, &transport] {
        let found = pictures(form);
        assert_eq!(found.len(), source.len(), "{}", form.display());
        for (at, (found, source)) in times(&found).iter().zip(times(&source)).enumerate() {
            // A transport stream counts in steps of 0.1 ms.
            assert!(
                (found - source).abs() <= 9,
                "{}: picture {at}",
                form.display()
            );
        }
        for (at, (found, source)) in found.iter().zip(&source).enumerate() {
            let is_encoded = groups.iter().any(|group| group.contains(&at));
            assert_eq!(
                found.1 != source.1,
                is_encoded,
                "{}: picture {at}",
                form.display()
            );
        }
    }
    // Picture and sound begin at the same times as before.
    for track in ["video", "audio-1"] {
        let (before, after) = (kept.join(track), built.join(track));
        let (before, after) = (first_time(&before, "0"), first_time(&after, "0"));
        assert!(
            (before - after).abs() < 0.000_1,
            "{track}: {before} and {after}"
        );
    }
    whole_playlists_decode(&built);
}

/// Asserts that the playlists decode without errors, read as a player does, from the multivariant one on.
fn whole_playlists_decode(built: &Built) {
    let root = built.lay_out();
    for name in ["master.m3u8", "ts/master.m3u8"] {
        let path = root.join(name);
        assert_eq!(pictures(&path).len(), 576, "{name}");
        let path = path.to_str().unwrap();
        let (_, complaints) = ffmpeg(&["-i", path, "-map", "0:a", "-f", "null", "-"]);
        assert_eq!(complaints, "", "{name}");
    }
}

#[test]
fn the_encoding_looks_like_the_original() {
    let (built, _) = build_with_cap("large.mkv", Oversize::Reencode, CAP);
    let (joined, source) = (built.join("video"), film("large.mkv"));
    let output = std::process::Command::new("ffmpeg")
        .args(["-v", "info", "-nostats", "-i", joined.to_str().unwrap()])
        .args(["-i", source.to_str().unwrap(), "-lavfi"])
        .args([
            "[0:v]settb=1/24,setpts=N[a];[1:v]settb=1/24,setpts=N[b];[a][b]ssim",
            "-f",
            "null",
            "-",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let all = said
        .split("All:")
        .nth(1)
        .unwrap_or_else(|| panic!("{said}"));
    let all: f64 = all.split(' ').next().unwrap().parse().unwrap();
    assert!(all > 0.75, "{all}");
}

/// Times stay the same with pictures that are not reordered, with an edit list, and with odd lengths.
#[test]
fn edit_lists_and_smaller_caps_change_no_time() {
    for (name, cap) in [("editlist.mp4", 2 << 20), ("main.mkv", 1 << 20)] {
        let (built, account) = build_with_cap(name, Oversize::Reencode, cap);
        check(&built);
        assert!(!account.reencoded.is_empty(), "{name}");
        assert_eq!(built.views.note, None, "{name}");
        assert!(
            largest(&built.views) <= cap,
            "{name}: {}",
            largest(&built.views)
        );
        let (kept, _) = build_with_cap(name, Oversize::Keep, cap);
        let (before, after) = (
            pictures(&kept.join("video")),
            pictures(&built.join("video")),
        );
        let times = |list: &[(i64, String)]| list.iter().map(|(at, _)| *at).collect::<Vec<_>>();
        assert_eq!(times(&before), times(&after), "{name}");
    }
}

#[test]
fn what_has_no_place_for_it_is_kept_and_says_so() {
    for (name, cap, why) in [
        ("hevc.mkv", 100 << 10, "only H.264"),
        ("dvb.ts", 1 << 20, "a range of the file"),
        ("padded-dvb.ts", 1 << 20, "parameter sets"),
        ("old.avi", 50 << 10, "only H.264"),
    ] {
        let (kept, _) = build_with_cap(name, Oversize::Keep, cap);
        let (built, account) = build_with_cap(name, Oversize::Reencode, cap);
        assert!(account.reencoded.is_empty(), "{name}");
        let note = built.views.note.clone().unwrap_or_default();
        assert!(
            note.contains("MAX_CHUNK_SIZE") && note.contains(why),
            "{name}: {note}"
        );
        assert_eq!(kept.views.map_digest, built.views.map_digest, "{name}");
    }
}

#[test]
fn without_anything_above_the_cap_nothing_changes() {
    let (kept, _) = build_with_cap("main.mkv", Oversize::Keep, 15 << 20);
    let (built, account) = build_with_cap("main.mkv", Oversize::Reencode, 15 << 20);
    assert!(account.reencoded.is_empty() && account.reencoded_segments.is_empty());
    assert_eq!(kept.views.map_digest, built.views.map_digest);
    assert_eq!(kept.views.note, built.views.note);
}
