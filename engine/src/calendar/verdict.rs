//! The booking rules: what a calendar makes of a command. Everything that a rule reads of the calendar goes through
//! [`Reading`], which notes it. So a new rule is a few lines here, and an answer that rests on what may still prove false
//! waits by itself.

use std::num::NonZeroU16;

use chrono::{DateTime, Datelike, NaiveDate, Utc, Weekday};

use super::Calendar;
use super::command::{Booking, Command, Decision, Rejection};
use super::day::Held;
use super::event::{Change, Event, Scope};
use super::schedule::DaySchedule;
use super::slot::{SlotSet, SlotStart};
use crate::ids::{IdempotencyKey, UserId};
use crate::limits::SEATS_PER_SLOT;

/// A decision, or a refusal, and what it was read from.
#[derive(Debug)]
pub struct Verdict<'c> {
    /// What the rules say.
    pub decision: Result<Decision, Rejection>,
    read: Vec<Scope<'c>>,
}

impl Verdict<'_> {
    /// Whether this verdict would be answered at once although it was read from `change`, which is staged and may still
    /// not be stored. What is to be recorded is no answer yet: it is stored after the changes that it rests on, or not at
    /// all.
    pub fn rests_on(&self, change: &Change) -> bool {
        match &self.decision {
            Ok(Decision::Record(_)) => false,
            Ok(Decision::Repeat(_)) | Err(_) => self.read.iter().any(|scope| change.touches(*scope)),
        }
    }
}

/// A calendar that is read for one command.
struct Reading<'a, 'c> {
    calendar: &'a Calendar,
    now: DateTime<Utc>,
    read: Vec<Scope<'c>>,
}

impl Calendar {
    /// What the rules make of a command whose parts are loaded. Changes nothing.
    ///
    /// The first of these that applies is the answer:
    ///
    /// - `Book`: a repeat of the user's own booking under its key; the date is outside the window; the slot has begun;
    ///   the user holds a seat in it; the doctor does not offer it; it is full; the user holds too many bookings to
    ///   come ([`super::Rules::bookings_per_doctor`]). That one is last because a user can change it by cancelling: a
    ///   user who hears of it gives up no booking for a slot that another rule refuses.
    /// - `Cancel`: the slot has begun; the user holds no seat in it. (A date beyond the window is no obstacle: the old
    ///   platform booked there.)
    /// - `SetSlots` and `UpdateSlot` are never refused.
    pub fn verdict<'c>(&self, command: &'c Command, now: DateTime<Utc>) -> Verdict<'c> {
        debug_assert!(self.missing(command, now).is_empty(), "decided before it was loaded");
        let mut reading = Reading { calendar: self, now, read: Vec::new() };
        let decision = reading.decide(command);
        Verdict { decision, read: reading.read }
    }

    /// [`Self::verdict`], for callers that have nothing in flight.
    ///
    /// # Errors
    /// The rule that refuses the command.
    pub fn decide(&self, command: &Command, now: DateTime<Utc>) -> Result<Decision, Rejection> {
        self.verdict(command, now).decision
    }
}

impl<'a, 'c> Reading<'a, 'c> {
    fn decide(&mut self, command: &'c Command) -> Result<Decision, Rejection> {
        match command {
            Command::Book { user, date, start, key } => self.book(user, *date, *start, key.as_ref()),
            Command::Cancel { user, date, start } => self.cancel(user, *date, *start),
            Command::SetSlots { weekday, offered } => {
                let rows = self.hours(*weekday).rows_offering(*offered, SlotSet::EMPTY);
                Ok(Decision::Record(Event::hours_set(*weekday, rows)))
            }
            Command::UpdateSlot { weekday, span, available } => {
                let hours = self.hours(*weekday);
                let mut offered = hours.offered();
                span.slots().for_each(|slot| offered.set(slot, *available));
                let rows = hours.rows_offering(offered, span.slots().collect());
                Ok(Decision::Record(Event::hours_set(*weekday, rows)))
            }
        }
    }

    fn book(
        &mut self,
        user: &'c UserId,
        date: NaiveDate,
        start: SlotStart,
        key: Option<&'c IdempotencyKey>,
    ) -> Result<Decision, Rejection> {
        let booking = || Booking { user: user.clone(), date, start, key: key.cloned() };
        if let Some(key) = key
            && self.seat_of(user, date, start).is_some_and(|held| held.key == Some(key.as_str()))
        {
            return Ok(Decision::Repeat(booking()));
        }
        let clinic = &self.calendar.clinic;
        if !clinic.in_window(date, self.now) {
            return Err(Rejection::OutsideWindow);
        }
        let begins = clinic.starts_at(date, start);
        if begins.is_some_and(|begins| begins <= self.now) {
            return Err(Rejection::SlotInPast);
        }
        if self.seat_of(user, date, start).is_some() {
            return Err(Rejection::AlreadyBooked);
        }
        // Of a time that daylight saving skips there is no beginning.
        if begins.is_none() || !self.hours(date.weekday()).offered().contains(start) {
            return Err(Rejection::SlotUnavailable);
        }
        if self.seats_taken(date, start) >= SEATS_PER_SLOT {
            return Err(Rejection::SlotFull);
        }
        if let Some(limit) = self.calendar.rules.bookings_per_doctor.map(NonZeroU16::get)
            && self.holds_at_least(limit.into(), user)
        {
            return Err(Rejection::TooManyBookings { limit });
        }
        Ok(Decision::Record(Event::booked(booking())))
    }

    fn cancel(&mut self, user: &'c UserId, date: NaiveDate, start: SlotStart) -> Result<Decision, Rejection> {
        if self.calendar.clinic.has_begun(date, start, self.now) {
            return Err(Rejection::SlotInPast);
        }
        let held = self.seat_of(user, date, start).ok_or(Rejection::BookingNotFound)?;
        // It was parsed before it was kept.
        let key = held.key.and_then(|key| IdempotencyKey::parse(key).ok());
        let booking = Booking { user: user.clone(), date, start, key };
        Ok(Decision::Record(Event::cancelled(booking, held.spellings)))
    }

    /// The user's seat in a slot.
    fn seat_of(&mut self, user: &'c UserId, date: NaiveDate, start: SlotStart) -> Option<Held<'a>> {
        self.read.push(Scope::Seat(date, start, user));
        self.calendar.day(date)?.held_by(user, start)
    }

    /// Seats of a slot that somebody holds.
    fn seats_taken(&mut self, date: NaiveDate, start: SlotStart) -> usize {
        self.read.push(Scope::Slot(date, start));
        self.calendar.day(date).map_or(0, |day| day.taken(start))
    }

    /// Whether the user holds so many seats in slots that have not begun. Only loaded dates of the booking window count.
    fn holds_at_least(&mut self, count: usize, user: &'c UserId) -> bool {
        self.read.push(Scope::SeatsOf(user));
        let Calendar { clinic, days, .. } = self.calendar;
        let window = clinic.window(self.now);
        let dates = days.iter().filter(|(date, _)| window.contains(date));
        let to_come = dates.flat_map(|(date, day)| {
            day.starts_of(user).filter(|start| !clinic.has_begun(*date, *start, self.now))
        });
        to_come.take(count).count() == count
    }

    fn hours(&mut self, weekday: Weekday) -> &'a DaySchedule {
        self.read.push(Scope::Hours(weekday));
        self.calendar.hours(weekday)
    }
}
