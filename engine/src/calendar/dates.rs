//! How stored keys spell a date. The old platform did not insist on leading zeros, so `2026-12-1` and `2026-12-01`
//! are two keys of one day, and both hold bookings.

use chrono::{Datelike, NaiveDate};

/// One way to write a date: month and day each with or without its leading zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateSpelling(u8);

const SHORT_DAY: u8 = 1;
const SHORT_MONTH: u8 = 2;

impl DateSpelling {
    /// `YYYY-MM-DD`, the one that is written.
    pub const PLAIN: Self = Self(0);

    /// Every way in which this date can be written: one, two or four.
    pub fn of(date: NaiveDate) -> impl Iterator<Item = Self> {
        let useful =
            (if date.day() < 10 { SHORT_DAY } else { 0 }) | (if date.month() < 10 { SHORT_MONTH } else { 0 });
        (0..=SHORT_DAY | SHORT_MONTH).filter(move |spelling| spelling & !useful == 0).map(Self)
    }

    /// The date in this spelling.
    pub fn write(self, date: NaiveDate) -> String {
        let width = |short| if self.0 & short == 0 { 2 } else { 1 };
        let (month, day) = (width(SHORT_MONTH), width(SHORT_DAY));
        format!("{:04}-{:0month$}-{:0day$}", date.year(), date.month(), date.day())
    }
}

/// A set of spellings, in a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpellingSet(u8);

impl SpellingSet {
    /// The set of one.
    pub const fn only(spelling: DateSpelling) -> Self {
        Self(1 << spelling.0)
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Its members.
    pub fn iter(self) -> impl Iterator<Item = DateSpelling> {
        (0..4).filter(move |spelling| self.0 & (1 << spelling) != 0).map(DateSpelling)
    }

    /// How many.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spellings(year: i32, month: u32, day: u32) -> Vec<String> {
        let date = NaiveDate::from_ymd_opt(year, month, day).unwrap();
        DateSpelling::of(date).map(|spelling| spelling.write(date)).collect()
    }

    #[test]
    fn a_date_is_looked_up_under_every_spelling_it_can_have() {
        assert_eq!(spellings(2026, 12, 10), ["2026-12-10"]);
        assert_eq!(spellings(2026, 12, 1), ["2026-12-01", "2026-12-1"]);
        assert_eq!(spellings(2027, 1, 10), ["2027-01-10", "2027-1-10"]);
        assert_eq!(spellings(2027, 1, 2), ["2027-01-02", "2027-01-2", "2027-1-02", "2027-1-2"]);
    }
}
