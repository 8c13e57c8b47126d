//! The core: one doctor's calendar as a plain value. It takes the time as an argument and knows nothing of actors,
//! storage or HTTP, so that the rules can be read, tested and simulated by themselves.

mod command;
mod dates;
mod day;
mod rules;
mod schedule;
mod slot;
mod view;

#[cfg(test)]
mod tests;

use std::num::NonZeroU16;

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc, Weekday};

pub use command::{Booking, Command, Decision, Event, Rejection, ScheduleRow};
pub use dates::{DateSpelling, SpellingSet};
pub use rules::Rules;
pub use schedule::{Clinic, DaySchedule, InvalidZone};
pub use slot::{InvalidSlot, SLOT_MINUTES, SLOTS_PER_DAY, SlotSet, SlotSpan, SlotStart};
pub use view::{DayView, SlotView};

use day::{Day, Held};

use crate::ids::{IdempotencyKey, UserId};
use crate::limits::{BOOKING_KEPT_DAYS, SEATS_PER_SLOT};
use crate::store::DateRows;

/// One doctor's schedule and bookings, as far as they are loaded. "Not loaded" is never taken for "empty": `missing`
/// says what a command needs, and the shell loads that before it asks `decide`.
#[derive(Debug, Clone)]
pub struct Calendar {
    clinic: Clinic,
    rules: Rules,
    week: [Option<DaySchedule>; 7],
    /// The loaded dates, in order: some sixteen, for which a map would take twice the memory.
    days: Vec<(NaiveDate, Day)>,
}

/// What must be loaded before a command can be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Missing {
    /// This date's bookings.
    pub date: Option<NaiveDate>,
    /// This weekday's schedule.
    pub weekday: Option<Weekday>,
}

impl Missing {
    /// Whether nothing is.
    pub const fn is_nothing(self) -> bool {
        self.date.is_none() && self.weekday.is_none()
    }
}

impl Calendar {
    /// A calendar of which nothing is loaded.
    pub const fn unloaded(clinic: Clinic, rules: Rules) -> Self {
        Self { clinic, rules, week: [const { None }; 7], days: Vec::new() }
    }

    /// What `decide` would need for this command and does not have. A command that is refused by its date alone needs
    /// nothing, so that no caller can make us load what no rule allows.
    pub fn missing(&self, command: &Command, now: DateTime<Utc>) -> Missing {
        match command {
            Command::Book { date, key, .. } => {
                let repeatable = key.is_some() && self.may_stand(*date, now);
                if self.clinic.in_window(*date, now) || repeatable {
                    self.missing_for(*date)
                } else {
                    Missing::default()
                }
            }
            Command::Cancel { date, start, .. } if self.clinic.has_begun(*date, *start, now) => {
                Missing::default()
            }
            Command::Cancel { date, .. } => Missing { weekday: None, ..self.missing_for(*date) },
            Command::SetSlots { weekday, .. } | Command::UpdateSlot { weekday, .. } => {
                Missing { date: None, weekday: self.unless_known(*weekday) }
            }
        }
    }

    /// Refuses a command that its date alone refuses, whatever the calendar holds.
    pub fn refused_unseen(&self, command: &Command, now: DateTime<Utc>) -> Result<(), Rejection> {
        if self.missing(command, now).is_nothing() { self.decide(command, now).map(|_| ()) } else { Ok(()) }
    }

    /// What a view of `date` needs and the calendar does not have.
    pub fn missing_for(&self, date: NaiveDate) -> Missing {
        Missing { date: self.day(date).is_none().then_some(date), weekday: self.unless_known(date.weekday()) }
    }

    fn unless_known(&self, weekday: Weekday) -> Option<Weekday> {
        self.week[weekday_index(weekday)].is_none().then_some(weekday)
    }

    /// Whether a booking of that date may still be in the table.
    fn may_stand(&self, date: NaiveDate, now: DateTime<Utc>) -> bool {
        let today = self.clinic.today(now);
        date <= today
            && date >= today.checked_sub_days(Days::new(BOOKING_KEPT_DAYS)).unwrap_or(NaiveDate::MIN)
    }

    /// Decides a command whose needs are loaded, and changes nothing. The first of these that applies is the answer:
    ///
    /// - `Book`: a repeat of the user's own booking under its key; the date is outside the window; the slot has begun;
    ///   the user holds a seat in it; the doctor does not offer it; it is full; the user holds too many bookings to
    ///   come ([`Rules::bookings_per_doctor`]). That one is last because a user can change it by cancelling: a user who
    ///   hears of it gives up no booking for a slot that another rule refuses.
    /// - `Cancel`: the slot has begun; the user holds no seat in it. (A date beyond the window is no obstacle: the old
    ///   platform booked there.)
    /// - `SetSlots` and `UpdateSlot` are never refused.
    pub fn decide(&self, command: &Command, now: DateTime<Utc>) -> Result<Decision, Rejection> {
        debug_assert!(self.missing(command, now).is_nothing(), "decided before it was loaded");
        match command {
            Command::Book { user, date, start, key } => {
                let booking = Booking { user: user.clone(), date: *date, start: *start, key: key.clone() };
                self.decide_booking(booking, now)
            }
            Command::Cancel { user, date, start } => {
                if self.clinic.has_begun(*date, *start, now) {
                    return Err(Rejection::SlotInPast);
                }
                let held = self.held_by(user, *date, *start).ok_or(Rejection::BookingNotFound)?;
                // It was parsed before it was kept.
                let key = held.key.and_then(|key| IdempotencyKey::parse(key).ok());
                let booking = Booking { user: user.clone(), date: *date, start: *start, key };
                Ok(Decision::Record(Event::Cancelled { booking, spellings: held.spellings }))
            }
            Command::SetSlots { weekday, offered } => {
                let rows = self.schedule(*weekday).rows_offering(*offered, SlotSet::EMPTY);
                Ok(Decision::Record(Event::ScheduleSet { weekday: *weekday, rows }))
            }
            Command::UpdateSlot { weekday, span, available } => {
                let schedule = self.schedule(*weekday);
                let mut offered = schedule.offered();
                span.slots().for_each(|slot| offered.set(slot, *available));
                let rows = schedule.rows_offering(offered, span.slots().collect());
                Ok(Decision::Record(Event::ScheduleSet { weekday: *weekday, rows }))
            }
        }
    }

    fn decide_booking(&self, booking: Booking, now: DateTime<Utc>) -> Result<Decision, Rejection> {
        let held = self.held_by(&booking.user, booking.date, booking.start);
        if let (Some(held), Some(key)) = (&held, &booking.key)
            && held.key == Some(key.as_str())
        {
            return Ok(Decision::Repeat(booking));
        }
        if !self.clinic.in_window(booking.date, now) {
            return Err(Rejection::OutsideWindow);
        }
        let begins = self.clinic.starts_at(booking.date, booking.start);
        if begins.is_some_and(|begins| begins <= now) {
            return Err(Rejection::SlotInPast);
        }
        if held.is_some() {
            return Err(Rejection::AlreadyBooked);
        }
        let offered = self.schedule(booking.date.weekday()).offered().contains(booking.start);
        // Of a time that daylight saving skips there is no beginning.
        if !offered || begins.is_none() {
            return Err(Rejection::SlotUnavailable);
        }
        if self.day(booking.date).map_or(0, |day| day.taken(booking.start)) >= SEATS_PER_SLOT {
            return Err(Rejection::SlotFull);
        }
        if let Some(limit) = self.rules.bookings_per_doctor.map(NonZeroU16::get)
            && self.holds_at_least(limit.into(), &booking.user, now)
        {
            return Err(Rejection::TooManyBookings { limit });
        }
        Ok(Decision::Record(Event::Booked(booking)))
    }

    /// Whether the user holds so many seats in slots that have not begun. Only loaded dates of the booking window count.
    fn holds_at_least(&self, count: usize, user: &UserId, now: DateTime<Utc>) -> bool {
        let window = self.clinic.window(now);
        let dates = self.days.iter().filter(|(date, _)| window.contains(date));
        let to_come = dates.flat_map(|(date, day)| {
            day.starts_of(user).filter(|start| !self.clinic.has_begun(*date, *start, now))
        });
        to_come.take(count).count() == count
    }

    /// Makes an event of a loaded date true. Cannot fail; loading a date goes through the same code.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Booked(booking) => {
                if let Some(day) = self.day_mut(booking.date) {
                    day.take_in(booking, SpellingSet::only(DateSpelling::PLAIN));
                    debug_assert!(
                        day.taken(booking.start) <= SEATS_PER_SLOT,
                        "no event of ours raises a slot above five"
                    );
                }
            }
            Event::Cancelled { booking, .. } => {
                if let Some(day) = self.day_mut(booking.date) {
                    day.remove(&booking.user, booking.start);
                }
            }
            Event::ScheduleSet { weekday, rows } => self.load_weekday(*weekday, rows.clone()),
        }
    }

    /// Takes in a date as stored.
    pub fn load_date(&mut self, date: NaiveDate, rows: DateRows) {
        let day = Day::load(rows);
        match self.index_of(date) {
            Ok(index) => self.days[index].1 = day,
            Err(index) => self.days.insert(index, (date, day)),
        }
    }

    /// Takes in a weekday as stored.
    pub fn load_weekday(&mut self, weekday: Weekday, rows: Vec<ScheduleRow>) {
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

    fn schedule(&self, weekday: Weekday) -> &DaySchedule {
        static NOTHING: DaySchedule = DaySchedule::NOTHING;
        self.week[weekday_index(weekday)].as_ref().unwrap_or(&NOTHING)
    }

    fn held_by(&self, user: &UserId, date: NaiveDate, start: SlotStart) -> Option<Held<'_>> {
        self.day(date)?.held_by(user, start)
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

/// Whether an answer would rest on an event that is staged but not yet stored, so that it may still prove false.
pub fn rests_on(verdict: &Result<Decision, Rejection>, command: &Command, in_flight: &Event) -> bool {
    let (Command::Book { user, date, start, .. } | Command::Cancel { user, date, start }) = command else {
        return false;
    };
    let same_slot = |booking: &Booking| booking.date == *date && booking.start == *start;
    let same_seat = |booking: &Booking| same_slot(booking) && booking.user == *user;
    match (verdict, in_flight) {
        (Ok(Decision::Repeat(_)) | Err(Rejection::AlreadyBooked), Event::Booked(booking)) => {
            same_seat(booking)
        }
        (Err(Rejection::SlotFull), Event::Booked(booking)) => same_slot(booking),
        // It counts, whatever its date and slot.
        (Err(Rejection::TooManyBookings { .. }), Event::Booked(booking)) => booking.user == *user,
        // Without the cancellation, whoever holds a seat would be told of that first.
        (
            Err(Rejection::BookingNotFound | Rejection::SlotUnavailable | Rejection::SlotFull),
            Event::Cancelled { booking, .. },
        ) => same_seat(booking),
        // Too many is told of a slot with a free seat only. Without the cancellation, the slot may be full.
        (Err(Rejection::TooManyBookings { .. }), Event::Cancelled { booking, .. }) => same_slot(booking),
        // Full and too many are told of what is offered only.
        (
            Err(Rejection::SlotUnavailable | Rejection::SlotFull | Rejection::TooManyBookings { .. }),
            Event::ScheduleSet { weekday, .. },
        ) => *weekday == date.weekday(),
        (
            Ok(Decision::Record(_) | Decision::Repeat(_))
            | Err(
                Rejection::DoctorNotFound
                | Rejection::OutsideWindow
                | Rejection::SlotInPast
                | Rejection::AlreadyBooked
                | Rejection::SlotUnavailable
                | Rejection::BookingNotFound,
            ),
            Event::Booked(_) | Event::Cancelled { .. } | Event::ScheduleSet { .. },
        ) => false,
    }
}

fn weekday_index(weekday: Weekday) -> usize {
    weekday.num_days_from_monday() as usize
}
