//! The grid: a day of 48 half-hour slots, known by their starts on the doctor's wall clock.

use std::fmt;
use std::sync::LazyLock;

/// How long a slot lasts, in minutes.
pub const SLOT_MINUTES: u32 = 30;
/// How many slots a day has.
pub const SLOTS_PER_DAY: u8 = (24 * 60 / SLOT_MINUTES) as u8;

/// Why a text names no slot or span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSlot {
    /// Not `HH:MM`, or no such time.
    #[error("a time is HH:MM, from 00:00 to 23:59")]
    NotATime,
    /// Not on the hour or half hour.
    #[error("a slot starts on the hour or half hour")]
    OffGrid,
    /// An end that is not after its start.
    #[error("a slot ends after it starts")]
    Reversed,
}

/// Reads `HH:MM` as minutes after midnight; `24:00` only where an end may stand.
fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let two_digits = |part: &str| {
        (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<u32>().ok())?
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    (minutes < 60 && (hours < 24 || (hours, minutes) == (24, 0))).then_some(hours * 60 + minutes)
}

/// Writes `HH:MM`.
fn written(minutes: u32) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Every start as it is written: each booking writes some.
static WRITTEN: LazyLock<Vec<String>> =
    LazyLock::new(|| SlotStart::all().map(|start| written(start.minutes())).collect());

/// The start of a slot: `00:00`, `00:30` .. `23:30` on the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotStart(u8);

impl SlotStart {
    /// Parses `HH:MM` on the grid.
    pub fn parse(text: &str) -> Result<Self, InvalidSlot> {
        let minutes = minutes(text).filter(|m| *m < 24 * 60).ok_or(InvalidSlot::NotATime)?;
        Self::from_minutes(minutes)
    }

    /// Every slot of a day, in time order.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..SLOTS_PER_DAY).map(Self)
    }

    fn from_minutes(minutes: u32) -> Result<Self, InvalidSlot> {
        if !minutes.is_multiple_of(SLOT_MINUTES) {
            return Err(InvalidSlot::OffGrid);
        }
        u8::try_from(minutes / SLOT_MINUTES).map(Self).map_err(|_| InvalidSlot::NotATime)
    }

    /// Position in the day, from 0.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Minutes after midnight on the wall clock.
    pub const fn minutes(self) -> u32 {
        self.0 as u32 * SLOT_MINUTES
    }

    /// The half hour that begins here.
    pub const fn span(self) -> SlotSpan {
        SlotSpan { start: self.0, end: self.0 + 1 }
    }
}

impl fmt::Display for SlotStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&WRITTEN[self.index()])
    }
}

/// One or more slots in a row, written `HH:MM-HH:MM`; midnight as an end is `24:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotSpan {
    start: u8,
    end: u8,
}

impl SlotSpan {
    /// Parses both ends; `00:00` as an end means `24:00`.
    pub fn parse(start: &str, end: &str) -> Result<Self, InvalidSlot> {
        let start = SlotStart::parse(start)?;
        let end = match minutes(end).ok_or(InvalidSlot::NotATime)? {
            0 => SLOTS_PER_DAY,
            minutes if !minutes.is_multiple_of(SLOT_MINUTES) => return Err(InvalidSlot::OffGrid),
            minutes => u8::try_from(minutes / SLOT_MINUTES).map_err(|_| InvalidSlot::NotATime)?,
        };
        if end <= start.0 {
            return Err(InvalidSlot::Reversed);
        }
        Ok(Self { start: start.0, end })
    }

    /// The slots that it covers, in time order.
    pub fn slots(self) -> impl DoubleEndedIterator<Item = SlotStart> {
        (self.start..self.end).map(SlotStart)
    }

    /// Where its first slot starts.
    pub const fn start(self) -> SlotStart {
        SlotStart(self.start)
    }

    /// Its end on the wall clock, `24:00` at midnight.
    pub fn end(self) -> String {
        written(u32::from(self.end) * SLOT_MINUTES)
    }

    /// Whether it is exactly one slot.
    pub const fn is_one_slot(self) -> bool {
        self.end == self.start + 1
    }

    /// Whether both cover some slot.
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

impl fmt::Display for SlotSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start(), self.end())
    }
}

/// A set of a day's slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotSet(u64);

impl SlotSet {
    /// No slot.
    pub const EMPTY: Self = Self(0);

    /// Adds or takes out one slot.
    pub const fn set(&mut self, slot: SlotStart, present: bool) {
        if present {
            self.0 |= 1 << slot.0;
        } else {
            self.0 &= !(1 << slot.0);
        }
    }

    /// Whether the slot is in it.
    pub const fn contains(self, slot: SlotStart) -> bool {
        self.0 & (1 << slot.0) != 0
    }

    /// Its slots in time order.
    pub fn iter(self) -> impl Iterator<Item = SlotStart> {
        SlotStart::all().filter(move |slot| self.contains(*slot))
    }
}

impl FromIterator<SlotStart> for SlotSet {
    fn from_iter<I: IntoIterator<Item = SlotStart>>(slots: I) -> Self {
        let mut set = Self::EMPTY;
        for slot in slots {
            set.set(slot, true);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_on_the_grid_of_a_real_day() {
        assert_eq!(SlotStart::parse("00:00").unwrap().to_string(), "00:00");
        assert_eq!(SlotStart::parse("23:30").unwrap().to_string(), "23:30");
        assert_eq!(SlotStart::parse("10:10"), Err(InvalidSlot::OffGrid));
        for text in ["25:99", "24:00", "9:00", "09:0", "", "09:00:00", "+9:00", "٠٩:٠٠", "09:60"] {
            assert_eq!(SlotStart::parse(text), Err(InvalidSlot::NotATime), "{text:?}");
        }
    }

    #[test]
    fn midnight_ends_a_day_under_either_name() {
        let spelled = |end| SlotSpan::parse("23:30", end).map(|span| span.to_string());
        assert_eq!(spelled("24:00").as_deref(), Ok("23:30-24:00"));
        assert_eq!(spelled("00:00").as_deref(), Ok("23:30-24:00"));
    }

    #[test]
    fn a_span_off_the_grid_or_reversed_is_refused() {
        assert_eq!(SlotSpan::parse("10:00", "10:45"), Err(InvalidSlot::OffGrid));
        assert_eq!(SlotSpan::parse("10:15", "10:45"), Err(InvalidSlot::OffGrid));
        assert_eq!(SlotSpan::parse("10:00", "10:00"), Err(InvalidSlot::Reversed));
        assert_eq!(SlotSpan::parse("10:00", "09:30"), Err(InvalidSlot::Reversed));
        assert_eq!(SlotSpan::parse("10:00", "24:30"), Err(InvalidSlot::NotATime));
    }

    #[test]
    fn a_longer_span_is_cut_into_slots() {
        let span = SlotSpan::parse("09:00", "10:30").unwrap();
        let starts: Vec<String> = span.slots().map(|slot| slot.to_string()).collect();
        assert_eq!(starts, ["09:00", "09:30", "10:00"]);
        assert!(!span.is_one_slot());
    }
}
