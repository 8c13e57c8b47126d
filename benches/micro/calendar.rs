//! The core alone: a doctor who offers every half hour of every day of the window, and whose seats are taken.

use std::hint::black_box;

use chrono::{DateTime, Days, NaiveDate, TimeZone, Utc, Weekday};
use engine::calendar::{Booking, Calendar, DateSpelling, Event, ScheduleRow, SpellingSet, StoredPart};
use engine::limits::{BOOKING_WINDOW_DAYS, SEATS_PER_SLOT};
use engine::store::{DateRows, StoredSeat};
use engine::{Clinic, Command, IdempotencyKey, Rules, SlotStart, UserId};

use crate::Work;

const WEEK: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

pub(crate) fn clinic() -> Clinic {
    Clinic::compiled_in("Asia/Kolkata").expect("a zone that is compiled in")
}

pub(crate) fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 23, 4, 30, 0).single().expect("a time")
}

/// In the middle of the window.
pub(crate) fn date() -> NaiveDate {
    clinic().today(now()) + Days::new(7)
}

pub(crate) fn user(number: usize) -> UserId {
    UserId::parse(&format!("patient{number}@example.com")).expect("an address")
}

fn start() -> SlotStart {
    SlotStart::parse("15:00").expect("a slot")
}

fn rows(date: NaiveDate, taken: usize) -> DateRows {
    let seats = SlotStart::all().flat_map(|start| (0..taken).map(move |number| (start, user(number))));
    let seats = seats.map(|(start, user)| StoredSeat {
        booking: Booking { user, date, start, key: Some(key()) },
        spellings: SpellingSet::only(DateSpelling::PLAIN),
        event: None,
    });
    DateRows { seats: seats.collect(), unreadable: Vec::new() }
}

fn calendar(taken: usize) -> Calendar {
    let mut calendar = Calendar::unloaded(clinic(), Rules::default());
    for weekday in WEEK {
        let rows = SlotStart::all().map(|slot| ScheduleRow::plain(slot.span(), true)).collect();
        calendar.load(StoredPart::Hours(weekday, rows));
    }
    for day in 0..=BOOKING_WINDOW_DAYS {
        let date = clinic().today(now()) + Days::new(day);
        calendar.load(StoredPart::Date(date, rows(date, taken)));
    }
    calendar
}

fn key() -> IdempotencyKey {
    IdempotencyKey::parse("7f1c3a").expect("a key")
}

fn book(number: usize, key: Option<IdempotencyKey>) -> Command {
    Command::Book { user: user(number), date: date(), start: start(), key }
}

fn decide(calendar: Calendar, command: Command) -> Work {
    let now = now();
    Box::new(move || {
        black_box(calendar.decide(black_box(&command), now)).ok();
    })
}

pub(crate) fn record() -> Work {
    decide(calendar(SEATS_PER_SLOT - 1), book(99, None))
}

pub(crate) fn slot_full() -> Work {
    decide(calendar(SEATS_PER_SLOT), book(99, None))
}

pub(crate) fn repeat() -> Work {
    decide(calendar(SEATS_PER_SLOT), book(SEATS_PER_SLOT - 1, Some(key())))
}

/// Taking a seat and giving it back, so that the calendar stays as it was.
pub(crate) fn apply() -> Work {
    let mut calendar = calendar(SEATS_PER_SLOT - 1);
    let booking = Booking { user: user(99), date: date(), start: start(), key: None };
    let spellings = SpellingSet::only(DateSpelling::PLAIN);
    let (booked, cancelled) = (Event::booked(booking.clone()), Event::cancelled(booking, spellings));
    Box::new(move || {
        calendar.apply(black_box(&booked));
        calendar.apply(black_box(&cancelled));
    })
}

/// The copy of the rows is counted too.
pub(crate) fn load() -> Work {
    let mut calendar = calendar(0);
    let rows = rows(date(), SEATS_PER_SLOT);
    let date = date();
    Box::new(move || calendar.load(StoredPart::Date(date, black_box(&rows).clone())))
}
