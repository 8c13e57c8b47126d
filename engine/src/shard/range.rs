//! A contiguous part of the ring of doctors, and the number that grows with each change of its owner.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::ids::DoctorId;
use crate::limits::{RANGES, RING_POINTS};

/// A contiguous part of the ring, owned by one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeId(u16);

impl RangeId {
    /// Every range, in ring order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        (0..RANGES).map(Self)
    }

    /// The range that `doctor` falls into. The point on the ring is the first two bytes of the address's SHA-256, so
    /// that any version of any program finds the same one.
    pub fn of(doctor: &DoctorId) -> Self {
        let digest = Sha256::digest(doctor.as_str().as_bytes());
        let point = u16::from_be_bytes([digest[0], digest[1]]);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "there are more points than ranges, see limits.rs"
        )]
        Self(point / (RING_POINTS / RANGES as u32) as u16)
    }

    /// Position on the ring, from 0.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The range at a position, if there is one.
    pub fn from_index(index: usize) -> Option<Self> {
        u16::try_from(index).ok().filter(|index| *index < RANGES).map(Self)
    }
}

impl fmt::Display for RangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{:02}", self.0)
    }
}

/// Grows with each change of a range's owner; every write is conditional on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingEpoch(u64);

impl FencingEpoch {
    /// The first owner's.
    pub const INITIAL: Self = Self(1);

    /// The next owner's.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number as stored.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Reads a stored number; zero is no epoch.
    pub fn from_stored(number: u64) -> Option<Self> {
        (number >= Self::INITIAL.0).then_some(Self(number))
    }
}

impl fmt::Display for FencingEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doctor_falls_into_the_same_range_for_ever() {
        let range = |text| RangeId::of(&DoctorId::parse(text).unwrap()).to_string();
        // Pinned: stored fences depend on it.
        assert_eq!(["a@x.com", "b@x.com", "c@x.com"].map(range), ["r17", "r52", "r01"].map(str::to_owned));
    }

    #[test]
    fn ten_thousand_doctors_spread_over_all_ranges() {
        let mut counts = [0; RANGES as usize];
        for n in 0..10_000 {
            counts[RangeId::of(&DoctorId::parse(&format!("doctor{n}@x.com")).unwrap()).index()] += 1;
        }
        assert!(counts.iter().all(|count| (90..230).contains(count)), "{counts:?}");
    }
}
