//! The core: one doctor's calendar as a plain value. It takes the time as an argument and knows nothing of actors,
//! storage or HTTP, so that the rules can be read, tested and simulated by themselves.

mod command;
mod dates;
mod day;
mod event;
mod rules;
mod schedule;
mod slot;
mod verdict;
mod view;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc, Weekday};

pub use command::{Booking, Command, Decision, Rejection, ScheduleRow};
pub use dates::{DateSpelling, SpellingSet};
pub use event::{Change, Event, Fact, Item, Scope};
pub use rules::Rules;
pub use schedule::{Clinic, DaySchedule, InvalidZone};
pub use slot::{InvalidSlot, SLOT_MINUTES, SLOTS_PER_DAY, SlotSet, SlotSpan, SlotStart};
pub use verdict::Verdict;
pub use view::{DayView, SlotView};

use day::Day;

use crate::limits::{BOOKING_KEPT_DAYS, SEATS_PER_SLOT};
use crate::store::DateRows;

/// One doctor's schedule and bookings, as far as they are loaded. "Not loaded" is never taken for "empty": `missing`
/// says what a command needs, and the shell loads that before it asks for a [`Verdict`].
#[derive(Debug, Clone)]
pub struct Calendar {
    clinic: Clinic,
    rules: Rules,
    week: [Option<DaySchedule>; 7],
    /// The loaded dates, in order: some sixteen, for which a map would take twice the memory.
    days: Vec<(NaiveDate, Day)>,
}

/// A part of a calendar that is loaded by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The bookings of a date.
    Date(NaiveDate),
    /// The hours of a weekday.
    Hours(Weekday),
}

/// A part as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredPart {
    /// The bookings of a date.
    Date(NaiveDate, DateRows),
    /// The hours of a weekday.
    Hours(Weekday, Vec<ScheduleRow>),
}

impl Calendar {
    /// A calendar of which nothing is loaded.
    pub const fn unloaded(clinic: Clinic, rules: Rules) -> Self {
        Self { clinic, rules, week: [const { None }; 7], days: Vec::new() }
    }

    /// The parts that must be loaded before this command can be decided. A command that is refused by its date alone
    /// needs nothing, so that no caller can make us load what no rule allows.
    pub fn missing(&self, command: &Command, now: DateTime<Utc>) -> Vec<Part> {
        match command {
            Command::Book { date, key, .. } => {
                let repeatable = key.is_some() && self.may_stand(*date, now);
                if self.clinic.in_window(*date, now) || repeatable {
                    self.missing_for(*date)
                } else {
                    Vec::new()
                }
            }
            Command::Cancel { date, start, .. } if self.clinic.has_begun(*date, *start, now) => Vec::new(),
            Command::Cancel { date, .. } => self.without([Part::Date(*date)]),
            Command::SetSlots { weekday, .. } | Command::UpdateSlot { weekday, .. } => {
                self.without([Part::Hours(*weekday)])
            }
        }
    }

    /// Refuses a command that its date alone refuses, whatever the calendar holds.
    pub fn refused_unseen(&self, command: &Command, now: DateTime<Utc>) -> Result<(), Rejection> {
        if self.missing(command, now).is_empty() { self.decide(command, now).map(|_| ()) } else { Ok(()) }
    }

    /// The parts that a view of `date` needs and the calendar does not have.
    pub fn missing_for(&self, date: NaiveDate) -> Vec<Part> {
        self.without([Part::Date(date), Part::Hours(date.weekday())])
    }

    /// Those of the parts that are not loaded.
    fn without<const N: usize>(&self, parts: [Part; N]) -> Vec<Part> {
        let is_missing = |part: &Part| match part {
            Part::Date(date) => self.day(*date).is_none(),
            Part::Hours(weekday) => self.week[weekday_index(*weekday)].is_none(),
        };
        parts.into_iter().filter(is_missing).collect()
    }

    /// Whether a booking of that date may still be in the table.
    fn may_stand(&self, date: NaiveDate, now: DateTime<Utc>) -> bool {
        let today = self.clinic.today(now);
        date <= today
            && date >= today.checked_sub_days(Days::new(BOOKING_KEPT_DAYS)).unwrap_or(NaiveDate::MIN)
    }

    /// Makes all changes of an event true.
    pub fn apply(&mut self, event: &Event) {
        event.changes.iter().for_each(|change| self.apply_change(change));
    }

    /// Makes a change of a loaded part true. Cannot fail; loading a part goes through the same code.
    fn apply_change(&mut self, change: &Change) {
        match change {
            Change::SeatTaken(booking) => {
                if let Some(day) = self.day_mut(booking.date) {
                    day.take_in(booking, SpellingSet::only(DateSpelling::PLAIN));
                    debug_assert!(
                        day.taken(booking.start) <= SEATS_PER_SLOT,
                        "no event of ours raises a slot above five"
                    );
                }
            }
            Change::SeatFreed { booking, .. } => {
                if let Some(day) = self.day_mut(booking.date) {
                    day.remove(&booking.user, booking.start);
                }
            }
            Change::HoursSet { weekday, rows } => self.load_hours(*weekday, rows.clone()),
        }
    }

    /// Takes in a part as stored.
    pub fn load(&mut self, part: StoredPart) {
        match part {
            StoredPart::Date(date, rows) => {
                let day = Day::load(rows);
                match self.index_of(date) {
                    Ok(index) => self.days[index].1 = day,
                    Err(index) => self.days.insert(index, (date, day)),
                }
            }
            StoredPart::Hours(weekday, rows) => self.load_hours(weekday, rows),
        }
    }

    fn load_hours(&mut self, weekday: Weekday, rows: Vec<ScheduleRow>) {
        self.week[weekday_index(weekday)] = Some(DaySchedule::from_rows(rows));
    }

    /// Forgets dates that no command is about any more. Only while nothing is in flight: a forgotten date is loaded
    /// again, and must then be as the store has it.
    pub fn forget_stale_dates(&mut self, now: DateTime<Utc>) {
        let Self { clinic, days, .. } = self;
        days.retain(|(date, _)| clinic.in_window(*date, now));
    }

    /// The dates whose bookings are loaded.
    pub fn loaded_dates(&self) -> impl Iterator<Item = NaiveDate> {
        self.days.iter().map(|(date, _)| *date)
    }

    /// What the public may see of a loaded date.
    pub fn view(&self, date: NaiveDate) -> Option<DayView> {
        let day = self.day(date)?;
        let schedule = self.week[weekday_index(date.weekday())].as_ref()?;
        let mut view = DayView::new(schedule.offered());
        day.starts().for_each(|start| view.add(start));
        Some(view)
    }

    fn hours(&self, weekday: Weekday) -> &DaySchedule {
        static NOTHING: DaySchedule = DaySchedule::NOTHING;
        self.week[weekday_index(weekday)].as_ref().unwrap_or(&NOTHING)
    }

    fn day(&self, date: NaiveDate) -> Option<&Day> {
        let index = self.index_of(date).ok()?;
        Some(&self.days[index].1)
    }

    fn day_mut(&mut self, date: NaiveDate) -> Option<&mut Day> {
        let index = self.index_of(date).ok()?;
        Some(&mut self.days[index].1)
    }

    /// Where the date is, or where it belongs.
    fn index_of(&self, date: NaiveDate) -> Result<usize, usize> {
        self.days.binary_search_by_key(&date, |(loaded, _)| *loaded)
    }
}

fn weekday_index(weekday: Weekday) -> usize {
    weekday.num_days_from_monday() as usize
}
