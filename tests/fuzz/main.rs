//! Runs the fuzz targets on the stable toolchain, over the kept corpus and mutations of it. The same
//! numbers give the same inputs, so a failure comes again. `TGFS_FUZZ_ROUNDS` sets the mutations of each
//! target, `TGFS_FUZZ_FIRST` the number of the first.

#![allow(clippy::unwrap_used)]

mod mutate;
mod seeds;
#[path = "../../fuzz/targets.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use mutate::Mutator;
use targets::TARGETS;

/// Mutations of each target in CI; all together take less than a minute.
const ROUNDS: u64 = 4000;
/// Times that one mutation of a target takes that opens files or an index.
const SLOW: [(&str, u64); 2] = [("opening", 10), ("replay", 80)];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory.join(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{name} has no seeds");
    paths
        .into_iter()
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect()
}

/// Runs a target on one input. An input that breaks a promise is kept, and named.
fn try_one(name: &str, target: fn(&[u8]), what: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.input"));
        std::fs::write(&kept, input).unwrap();
        panic!("{name} fails on {what}; the input is in {}", kept.display());
    }
}

fn run(name: &str) {
    let (_, target) = *TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    let slow = SLOW.iter().find(|(known, _)| *known == name);
    let usual = ROUNDS / slow.map_or(1, |(_, times)| *times);
    let first = number("TGFS_FUZZ_FIRST").unwrap_or(0);
    let rounds = number("TGFS_FUZZ_ROUNDS").unwrap_or(usual);
    let seeds = corpus(name);
    for (path, seed) in &seeds {
        try_one(name, target, path, seed);
    }
    try_one(name, target, "no bytes", &[]);
    let seeds: Vec<Vec<u8>> = seeds.into_iter().map(|(_, seed)| seed).collect();
    for round in first..first + rounds {
        let input = Mutator::new(round).input(&seeds);
        try_one(name, target, &format!("round {round}"), &input);
    }
}

macro_rules! targets_of {
    ($($name:ident)*) => {
        $(#[test] fn $name() { run(stringify!($name)); })*

        #[test]
        fn every_target_runs_here_and_under_libfuzzer() {
            let here = [$(stringify!($name)),*];
            let all: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(all, here);
            let manifest = include_str!("../../fuzz/Cargo.toml");
            for name in here {
                assert!(manifest.contains(&format!("fuzz_targets/{name}.rs")), "{name}");
            }
        }
    };
}

targets_of!(answers caption control dialogue dotenv envelope fragments log map opening range records replay request sniff subtitles table transport views);
