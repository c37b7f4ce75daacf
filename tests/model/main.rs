//! Tests with random operations on the file system and on a plain model of one. After each batch the whole
//! tree has to be the same, also over restarts. A failure prints its seed and the operations;
//! `TGFS_MODEL_SEED=n` repeats it, and `TGFS_MODEL_STEPS=n` makes runs longer.
#![allow(clippy::unwrap_used)] // A failed step is a failed test.

mod direct;
#[path = "../mount/harness.rs"]
mod harness;
#[path = "../mount/library.rs"]
mod library;
#[path = "../mount/material.rs"]
mod material;

mod mounted;
mod reference;

use std::fmt::Debug;

use material::Random;
use reference::{Fault, Model, Operation, Tree};

/// Operations between two comparisons of the whole tree.
const BATCH: usize = 20;
/// Batches between two restarts.
const BATCHES_A_LIFE: usize = 4;
const STEPS: usize = 240;
const SEEDS: u64 = 4;

/// File system that is compared with the model.
trait Subject {
    /// Does an operation. Returns the bytes of a read, and no bytes for other operations.
    fn apply(&mut self, operation: &Operation) -> Result<Vec<u8>, Fault>;
    /// Returns the whole tree, or a message with the file that cannot be read and the reason.
    fn tree(&mut self) -> Result<Tree, String>;
    fn restart(&mut self);
    /// Returns how exactly the kinds of failures equal those of the model.
    fn precision(&self) -> Precision;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Precision {
    /// The kinds are exact, because the kernel resolves paths and checks kinds.
    ExactFaults,
    /// Without the kernel, another one of several faults may be reported.
    AnyFault,
}

#[test]
fn operations_equal_the_model() {
    each_seed(direct::Direct::new);
}

#[test]
fn operations_through_the_mount_equal_the_model() {
    each_seed(mounted::ThroughMount::new);
}

fn each_seed<S: Subject>(new: impl Fn() -> S) {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let steps = number("TGFS_MODEL_STEPS").map_or(STEPS, |steps| usize::try_from(steps).unwrap());
    match number("TGFS_MODEL_SEED") {
        Some(seed) => run(&mut new(), seed, steps),
        None => (1..=SEEDS).for_each(|seed| run(&mut new(), seed, steps)),
    }
}

fn run(subject: &mut impl Subject, seed: u64, steps: usize) {
    let mut random = Random(seed);
    let mut model = Model::default();
    let mut done: Vec<String> = Vec::new();
    for step in 1..=steps {
        let operation = Operation::random(&mut random);
        done.push(format!("{operation:?}"));
        let expected = model.apply(&operation);
        let found = subject.apply(&operation);
        let same = match (subject.precision(), &expected, &found) {
            (Precision::AnyFault, Err(_), Err(_)) => true,
            _ => expected == found,
        };
        assert!(
            same,
            "{}",
            story(seed, &done, &brief(&expected), &brief(&found))
        );
        if step % BATCH == 0 {
            if step % (BATCH * BATCHES_A_LIFE) == 0 {
                subject.restart();
                done.push("Restart".to_owned());
            }
            let difference = match subject.tree() {
                Ok(found) if &found == model.tree() => continue,
                Ok(found) => reference::difference(model.tree(), &found),
                Err(unreadable) => unreadable,
            };
            panic!("seed {seed}, {difference}; last steps:\n{}", last(&done));
        }
    }
}

fn brief(result: &Result<Vec<u8>, Fault>) -> String {
    match result {
        Ok(bytes) => format!(
            "{} bytes from {:?}",
            bytes.len(),
            bytes.get(..bytes.len().min(16))
        ),
        Err(fault) => format!("{fault:?}"),
    }
}

fn story(seed: u64, done: &[String], expected: &impl Debug, found: &impl Debug) -> String {
    let found = format!("expected {expected:?}, found {found:?}");
    format!("seed {seed}, {found}; last steps:\n{}", last(done))
}

fn last(done: &[String]) -> String {
    done[done.len().saturating_sub(100)..].join("\n")
}
