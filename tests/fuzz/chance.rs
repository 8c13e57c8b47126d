//! Draws from a seed.

use std::fmt::Debug;
use std::str::FromStr;

use engine::{Chance, SeededChance};

/// A stream of draws.
pub(crate) struct Dice(SeededChance);

impl Dice {
    /// The stream of one case: a case can be drawn again without those before it.
    pub(crate) fn of_case(case: usize) -> Self {
        let seed = setting("KOKORO_SEED", 1_u64);
        Self(SeededChance::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(case as u64)))
    }

    /// From zero up to, not including, `bound`.
    pub(crate) fn below(&self, bound: usize) -> usize {
        (self.0.bits() % bound as u128) as usize
    }

    /// True `percent` times of a hundred.
    pub(crate) fn percent(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// How many cases a test draws.
pub(crate) fn cases(usual: usize) -> usize {
    setting("KOKORO_FUZZ_CASES", usual)
}

fn setting<T: FromStr<Err: Debug>>(name: &str, default: T) -> T {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}
