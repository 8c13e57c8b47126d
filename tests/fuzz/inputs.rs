//! Inputs for what reads text or bytes, on stable Rust: the named cases of `corpus/`, and draws from a fixed seed. Each
//! crate takes this file in beside its targets; `guided/` gives the same targets to libFuzzer.

use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// What is fuzzed: a name, texts that are good, and what must hold for every input.
pub(crate) type Target = (&'static str, &'static [&'static str], fn(&[u8]));

/// How many inputs each target is given.
const CASES: u32 = 1_500;

/// What keys, dates, times, amounts, JSON and headers are made of, and what only looks like it.
const PIECES: [&str; 44] = [
    "#",
    "-",
    ":",
    "@",
    ".",
    "/",
    "=",
    ",",
    ";",
    "%",
    "+",
    "_",
    "0",
    "1",
    "9",
    "00",
    "30",
    "24",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "null",
    "e",
    "a",
    "k",
    "Z",
    " ",
    "\t",
    "\r\n",
    "\0",
    "\u{85}",
    "\u{a0}",
    "\u{200b}",
    "\u{feff}",
    "é",
    "अ",
    "１",
    "٣",
    "👩‍⚕️",
];

/// One change of a text: where, how much of it goes, and what comes instead.
fn change() -> impl Strategy<Value = (prop::sample::Index, usize, &'static str)> {
    (any::<prop::sample::Index>(), 0..3_usize, prop::sample::select(&PIECES[..]))
}

fn inputs(seeds: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let changed = (prop::sample::select(seeds), prop::collection::vec(change(), 0..4));
    let changed = changed.prop_map(|(seed, changes)| {
        let mut characters: Vec<char> = seed.chars().collect();
        for (at, gone, piece) in changes {
            let at = at.index(characters.len() + 1);
            let end = (at + gone).min(characters.len());
            characters.splice(at..end, piece.chars());
        }
        characters.into_iter().collect::<String>().into_bytes()
    });
    let made_up = prop::collection::vec(prop::sample::select(&PIECES[..]), 0..24);
    prop_oneof![
        6 => changed,
        3 => made_up.prop_map(|pieces| pieces.concat().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
}

/// Gives every target its named cases and its draws.
pub(crate) fn run(targets: &[Target]) {
    for (name, seeds, target) in targets {
        // Every crate of the workspace lies beside `tests`, and the root package above it.
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root =
            [here, here.parent().unwrap_or(here)].into_iter().find(|root| root.join("tests/fuzz").exists());
        let folder = root.map(|root| root.join("tests/fuzz/corpus").join(name));
        let cases = folder.into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        for case in cases {
            let path = case.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&bytes))) {
                // Beside the panic's own words.
                std::io::stderr().write_all(format!("the case {}\n", path.display()).as_bytes()).unwrap();
                resume_unwind(panic);
            }
        }
        let seed = std::env::var("KOKORO_SEED").map_or(1, |seed| seed.parse().unwrap());
        let cases = std::env::var("KOKORO_FUZZ_CASES").map_or(CASES, |cases| cases.parse().unwrap());
        let config =
            Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() };
        let outcome = TestRunner::new(config).run(&inputs(seeds), |input| {
            target(&input);
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("{name}, as bytes of text: {failure}");
        }
    }
}
