//! Runs a target over its corpus and over seeded inputs, in the ordinary tests.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// A reproducible stream of numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Bytes that decoders of this project look for.
const TELLING: &[u8] = b"\x00\x01\x02\x06\x0e\x1f\x20\x22\x32\x42\x7f\x80\xf8\xfe\xff :.[]$\"=\n";

/// Runs `target` over every file of `corpus` (which must not be empty), then over `rounds`
/// inputs made from `seed` and from the corpus. Reports the input that fails.
pub fn check(corpus: impl AsRef<Path>, seed: u64, rounds: usize, target: fn(&[u8])) {
    let corpus = corpus.as_ref();
    let mut paths: Vec<_> = std::fs::read_dir(corpus)
        .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    // The order of a directory is no part of the seed.
    paths.sort();
    let mut inputs = Vec::new();
    for path in &paths {
        let input = std::fs::read(path).unwrap();
        one(target, &input, &path.display().to_string());
        inputs.push(input);
    }
    assert!(!inputs.is_empty(), "{} is empty", corpus.display());
    let mut random = Random(seed);
    for round in 0..rounds {
        let input = if round % 4 == 0 {
            fresh(&mut random)
        } else {
            mutated(&mut random, &inputs)
        };
        one(target, &input, &format!("seed {seed}, round {round}"));
    }
}

fn one(target: fn(&[u8]), input: &[u8], name: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{name}: the target fails with {} bytes: {hex}", input.len());
        resume_unwind(panic);
    }
}

fn fresh(random: &mut Random) -> Vec<u8> {
    let length = match random.below(8) {
        0 => random.below(2048),
        1..3 => random.below(256),
        _ => random.below(48),
    };
    let telling = random.below(3);
    (0..length)
        .map(|_| match random.below(3) {
            kind if kind < telling => TELLING[random.below(TELLING.len())],
            _ => random.next() as u8,
        })
        .collect()
}

fn mutated(random: &mut Random, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut input = inputs[random.below(inputs.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        match random.below(7) {
            0 => input.truncate(at),
            1 => input.insert(at, TELLING[random.below(TELLING.len())]),
            2 => input.insert(at, random.next() as u8),
            3 if at < input.len() => input[at] ^= 1 << random.below(8),
            4 if at < input.len() => {
                input.drain(at..(at + 1 + random.below(8)).min(input.len()));
            }
            5 => {
                let end = (at + random.below(32)).min(input.len());
                let piece = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            _ => {
                let other = &inputs[random.below(inputs.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input.truncate(4096);
    input
}
