//! Measures how long it takes to choose the cuts of a long film: `plan_time [GROUPS]` prints the number of
//! groups of pictures, the number of segments, and the median in milliseconds. `scripts/bench planner` runs
//! it.

use std::hint::black_box;
use std::time::Instant;

use tgfs::media::build::cuts::{CutPolicy, PictureGroup, choose};

const ROUNDS: usize = 21;

/// Makes groups as a film has them: 0.5 to 4 s at about 8 Mbit/s, and now and then a long one.
fn groups(count: usize) -> Vec<PictureGroup> {
    let mut state = 20_261_125_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    (0..count)
        .map(|number| {
            let seconds = if number % 50 == 49 {
                10.0 + 20.0 * next()
            } else {
                0.5 + 3.5 * next()
            };
            let bytes = seconds * 1e6 * (0.5 + next());
            PictureGroup {
                seconds,
                bytes: bytes as u64,
            }
        })
        .collect()
}

fn main() -> anyhow::Result<()> {
    let count = std::env::args()
        .nth(1)
        .map_or(Ok(10_000), |text| text.parse())?;
    let groups = groups(count);
    let policy = CutPolicy::default();
    let mut took = Vec::new();
    let mut segments = 0;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        segments = black_box(choose(black_box(&groups), &policy)).len();
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    println!("{count} {segments} {:.3}", took[ROUNDS / 2]);
    Ok(())
}
