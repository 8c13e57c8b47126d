//! Gives libFuzzer the target that `KOKORO_TARGET` names: the same ones that `cargo test` draws inputs for.

#![no_main]

use std::sync::LazyLock;

/// As in `tests/fuzz/inputs.rs`, of which nothing else is wanted here.
mod inputs {
    pub(crate) type Target = (&'static str, &'static [&'static str], fn(&[u8]));
}

#[path = "../identifiers.rs"]
mod identifiers;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let wanted = std::env::var("KOKORO_TARGET").expect("KOKORO_TARGET names a target");
    let targets = identifiers::TARGETS.iter().chain(&persistence::fuzz::TARGETS).chain(&web::fuzz::TARGETS);
    let named = targets.into_iter().find(|(name, _, _)| *name == wanted);
    named.expect("there is a target of that name").2
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET(bytes));
