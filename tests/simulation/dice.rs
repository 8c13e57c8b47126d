//! Everything that is left to chance, drawn from the seed.

use std::sync::Arc;
use std::time::Duration;

use engine::{Chance, SeededChance};

/// A stream of draws; clones share it.
#[derive(Clone)]
pub struct Dice(Arc<SeededChance>);

impl Dice {
    /// The stream number `stream` of a seed: what one part draws does not change what another part gets.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(Arc::new(SeededChance::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(stream))))
    }

    /// From zero up to, not including, `bound`.
    pub fn below(&self, bound: usize) -> usize {
        (self.0.bits() % bound as u128) as usize
    }

    /// True `permille` times of a thousand.
    pub fn permille(&self, permille: usize) -> bool {
        self.below(1000) < permille
    }

    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Small numbers far more often than large ones.
    pub fn skewed(&self, bound: usize) -> usize {
        self.below(bound).min(self.below(bound)).min(self.below(bound))
    }

    pub fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below((to - from) as usize + 1) as u64)
    }

    pub fn chance(&self) -> Arc<dyn Chance> {
        self.0.clone()
    }
}
