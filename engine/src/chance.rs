//! The only file that draws random bits: identifiers and the jitter of retries.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;

/// Where random bits come from.
pub trait Chance: Send + Sync + 'static {
    /// 128 fresh bits.
    fn bits(&self) -> u128;

    /// A duration drawn evenly from zero up to `ceiling` ("full jitter").
    fn jitter(&self, ceiling: Duration) -> Duration {
        #[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are what is wanted")]
        let draw = self.bits() as u32;
        ceiling.mul_f64(f64::from(draw) / f64::from(u32::MAX))
    }
}

/// A generator for secrets on each thread, which the operating system seeds: to ask that for each number costs as much as
/// the rest of a small answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemChance;

impl Chance for SystemChance {
    fn bits(&self) -> u128 {
        rand::rng().random()
    }
}

/// A sequence that depends on its seed only (SplitMix64, Steele et al. 2014): not for secrets.
#[derive(Debug)]
pub struct SeededChance {
    state: Mutex<u64>,
}

impl SeededChance {
    /// The sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { state: Mutex::new(seed) }
    }

    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Chance for SeededChance {
    fn bits(&self) -> u128 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (u128::from(Self::next(&mut state)) << 64) | u128::from(Self::next(&mut state))
    }
}
