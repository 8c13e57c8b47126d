//! A contiguous part of the ring of doctors, and the number that grows with each change of its owner.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::ids::DoctorId;
use crate::limits::{LANES, RANGES, RANGES_MAX, RING_POINTS};

/// The ring of doctors, and into how many ranges it is cut: the same for every node of a deployment, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    ranges: u16,
}

impl Default for Ring {
    fn default() -> Self {
        Self { ranges: RANGES }
    }
}

impl Ring {
    /// A ring of this many ranges: a power of two, so that they are of one size, no fewer than the committer has lanes,
    /// and no more than [`RANGES_MAX`].
    pub fn new(ranges: u16) -> Option<Self> {
        let possible = ranges.is_power_of_two() && (LANES..=RANGES_MAX.into()).contains(&usize::from(ranges));
        possible.then_some(Self { ranges })
    }

    /// How many ranges there are.
    pub const fn size(self) -> u16 {
        self.ranges
    }

    /// Every range, in ring order.
    pub fn ranges(self) -> impl ExactSizeIterator<Item = RangeId> {
        (0..self.ranges).map(RangeId)
    }

    /// The range at a position, if there is one.
    pub fn range(self, index: usize) -> Option<RangeId> {
        u16::try_from(index).ok().filter(|index| *index < self.ranges).map(RangeId)
    }

    /// The range that `doctor` falls into. The point on the ring is the first two bytes of the address's SHA-256, so
    /// that any version of any program finds the same one.
    pub fn range_of(self, doctor: &DoctorId) -> RangeId {
        let digest = Sha256::digest(doctor.as_str().as_bytes());
        let point = u32::from(u16::from_be_bytes([digest[0], digest[1]]));
        #[expect(clippy::cast_possible_truncation, reason = "less than the number of ranges")]
        RangeId((point / (RING_POINTS / u32::from(self.ranges))) as u16)
    }
}

/// A contiguous part of the ring, owned by one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeId(u16);

impl RangeId {
    /// Position on the ring, from 0.
    pub const fn index(self) -> usize {
        self.0 as usize
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
        let range = |text| Ring::default().range_of(&DoctorId::parse(text).unwrap()).to_string();
        // Pinned: stored fences depend on it.
        assert_eq!(["a@x.com", "b@x.com", "c@x.com"].map(range), ["r17", "r52", "r01"].map(str::to_owned));
    }

    #[test]
    fn ten_thousand_doctors_spread_over_all_ranges() {
        let mut counts = [0; RANGES as usize];
        for n in 0..10_000 {
            let doctor = DoctorId::parse(&format!("doctor{n}@x.com")).unwrap();
            counts[Ring::default().range_of(&doctor).index()] += 1;
        }
        assert!(counts.iter().all(|count| (90..230).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_ring_is_cut_into_ranges_of_one_size() {
        assert_eq!([0, 2, 3, 63, 4097].map(Ring::new), [None; 5]);
        let doctor = DoctorId::parse("b@x.com").unwrap();
        for ranges in [4, 64, 1024, RANGES_MAX] {
            let ring = Ring::new(ranges).unwrap();
            assert_eq!(ring.range_of(&doctor).index(), 53_992 / (65_536 / usize::from(ranges)), "{ranges}");
            assert_eq!((ring.ranges().len(), ring.range(ranges.into())), (ranges.into(), None));
        }
    }
}
