//! What happened, and which items it changes. Calendar, published view, committer and stores interpret [`Change`] alone:
//! a new feature is a new [`Fact`] over the same few changes.

use chrono::{Datelike, NaiveDate, Weekday};

use super::command::{Booking, ScheduleRow};
use super::dates::SpellingSet;
use super::slot::SlotStart;
use crate::ids::UserId;

/// What a command makes happen. An event is stored as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub fact: Fact,
    /// The items that it changes, no two of them the same.
    pub changes: Vec<Change>,
}

/// What happened, by name: the caller is answered with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A user holds a seat.
    Booked(Booking),
    /// A user holds a seat no more.
    Cancelled(Booking),
    /// A doctor offers other hours on a weekday.
    HoursSet,
}

/// A change of one item: the only thing that changes a calendar, a published view, or what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A seat is taken. On condition that nothing stored says that the user holds it.
    SeatTaken(Booking),
    /// A seat is free again. On condition that each of its rows is there.
    SeatFreed {
        /// The seat.
        booking: Booking,
        /// How the stored rows of this seat spell their date: each must go.
        spellings: SpellingSet,
    },
    /// The rows of a weekday are replaced. Unconditional.
    HoursSet {
        /// The weekday, every week.
        weekday: Weekday,
        /// Every row of that weekday, offered or not.
        rows: Vec<ScheduleRow>,
    },
}

/// The key of an item of one doctor. Two changes of one item never travel in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Item {
    /// A user's seat in a slot.
    Seat(NaiveDate, SlotStart, UserId),
    /// The hours of a weekday.
    Hours(Weekday),
}

/// What a verdict can read of a calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Whether, and how, a user holds a seat in a slot.
    Seat(NaiveDate, SlotStart, &'a UserId),
    /// How many seats of a slot are taken.
    Slot(NaiveDate, SlotStart),
    /// All seats of a user.
    SeatsOf(&'a UserId),
    /// The hours of a weekday.
    Hours(Weekday),
}

impl Event {
    /// A user takes a seat.
    pub fn booked(booking: Booking) -> Self {
        Self { fact: Fact::Booked(booking.clone()), changes: vec![Change::SeatTaken(booking)] }
    }

    /// A user gives up a seat, which is stored under these spellings of its date.
    pub fn cancelled(booking: Booking, spellings: SpellingSet) -> Self {
        let fact = Fact::Cancelled(booking.clone());
        Self { fact, changes: vec![Change::SeatFreed { booking, spellings }] }
    }

    /// A weekday has these rows from now on.
    pub fn hours_set(weekday: Weekday, rows: Vec<ScheduleRow>) -> Self {
        Self { fact: Fact::HoursSet, changes: vec![Change::HoursSet { weekday, rows }] }
    }

    /// Actions that the event takes in a transaction.
    pub fn actions(&self) -> usize {
        self.changes.iter().map(Change::actions).sum()
    }
}

impl Change {
    /// The item that it changes. Nothing else names an item.
    pub fn item(&self) -> Item {
        match self {
            Self::SeatTaken(booking) | Self::SeatFreed { booking, .. } => {
                Item::Seat(booking.date, booking.start, booking.user.clone())
            }
            Self::HoursSet { weekday, .. } => Item::Hours(*weekday),
        }
    }

    /// Actions that it takes in a transaction: one for each stored row.
    pub fn actions(&self) -> usize {
        match self {
            Self::SeatTaken(_) => 1,
            Self::SeatFreed { spellings, .. } => spellings.len(),
            Self::HoursSet { rows, .. } => rows.len(),
        }
    }

    /// Whether it changes what the public sees of `date`.
    pub fn concerns(&self, date: NaiveDate) -> bool {
        match self {
            Self::SeatTaken(booking) | Self::SeatFreed { booking, .. } => booking.date == date,
            Self::HoursSet { weekday, .. } => *weekday == date.weekday(),
        }
    }

    /// Whether it changes what was read.
    pub fn touches(&self, scope: Scope<'_>) -> bool {
        match self {
            Self::SeatTaken(booking) | Self::SeatFreed { booking, .. } => match scope {
                Scope::Seat(date, start, user) => {
                    (booking.date, booking.start, &booking.user) == (date, start, user)
                }
                Scope::Slot(date, start) => (booking.date, booking.start) == (date, start),
                Scope::SeatsOf(user) => booking.user == *user,
                Scope::Hours(_) => false,
            },
            Self::HoursSet { weekday, .. } => scope == Scope::Hours(*weekday),
        }
    }
}
