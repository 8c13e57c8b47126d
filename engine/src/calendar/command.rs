//! What is asked, and why not. Closed enums: a new feature is a new variant, and every match says so.

use chrono::{NaiveDate, Weekday};

use super::event::Event;
use super::slot::{SlotSet, SlotSpan, SlotStart};
use crate::ids::{IdempotencyKey, UserId};

/// What a caller asks of one doctor's calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Give the user a seat.
    Book {
        /// Who is to hold the seat.
        user: UserId,
        /// The doctor's civil date.
        date: NaiveDate,
        /// The slot.
        start: SlotStart,
        /// Makes a repeat recognisable.
        key: Option<IdempotencyKey>,
    },
    /// Take the user's seat back.
    Cancel {
        /// Who holds the seat.
        user: UserId,
        /// The doctor's civil date.
        date: NaiveDate,
        /// The slot.
        start: SlotStart,
    },
    /// Offer exactly these slots on a weekday.
    SetSlots {
        /// The weekday, every week.
        weekday: Weekday,
        /// What is offered from now on.
        offered: SlotSet,
    },
    /// Offer or withdraw the slots of one span on a weekday, and leave the others.
    UpdateSlot {
        /// The weekday, every week.
        weekday: Weekday,
        /// The slots meant.
        span: SlotSpan,
        /// Whether they are offered from now on.
        available: bool,
    },
}

/// A user's seat in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// Who holds the seat.
    pub user: UserId,
    /// The doctor's civil date.
    pub date: NaiveDate,
    /// The slot.
    pub start: SlotStart,
    /// What the client sent to recognise a repeat.
    pub key: Option<IdempotencyKey>,
}

/// One published row of a weekday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleRow {
    /// What it covers; longer than one slot only in rows of the old platform.
    pub span: SlotSpan,
    /// Whether it is offered.
    pub available: bool,
    /// Whether its key spells midnight as `00:00` where we write `24:00`, as the old platform did: another row.
    pub old_midnight: bool,
}

impl ScheduleRow {
    /// A row as we write it.
    pub const fn plain(span: SlotSpan, available: bool) -> Self {
        Self { span, available, old_midnight: false }
    }

    /// Whether it is a row as we write it, which decides about its slot.
    pub const fn is_plain(&self) -> bool {
        self.span.is_one_slot() && !self.old_midnight
    }
}

/// What the calendar makes of a command that it does not refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Something happens: apply it, and store it before anybody is told.
    Record(Event),
    /// It has happened already under the same idempotency key.
    Repeat(Booking),
}

/// The rules say no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Nobody has this identity in `Doctors`.
    #[error("doctor not found")]
    DoctorNotFound,
    /// The date is not within the booking window.
    #[error("date outside the booking window")]
    OutsideWindow,
    /// The slot has begun.
    #[error("slot has begun")]
    SlotInPast,
    /// The user holds a seat in this slot.
    #[error("user already booked")]
    AlreadyBooked,
    /// The doctor does not offer the slot.
    #[error("slot not offered")]
    SlotUnavailable,
    /// All seats are taken.
    #[error("slot full")]
    SlotFull,
    /// The user holds as many bookings to come with this doctor as one user may.
    #[error("user holds {limit} bookings to come with this doctor, the most that one may")]
    TooManyBookings {
        /// How many one user may hold.
        limit: u16,
    },
    /// The user holds no seat in this slot.
    #[error("booking not found")]
    BookingNotFound,
}
