//! The calendar against a naive model: sets and the rules as API.md states them, over random commands and times.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use chrono::{Datelike, Days, TimeDelta, Weekday};
use proptest::prelude::*;

use super::*;

/// Minutes by which Kolkata is ahead of UTC, on every day of the year.
const KOLKATA_IS_AHEAD: i64 = 330;

/// The rules, in the words of the contract.
#[derive(Default)]
struct Model {
    /// Bookings to come that a user may hold.
    limit: Option<u16>,
    offered: BTreeMap<u32, BTreeSet<u32>>,
    seats: BTreeMap<(NaiveDate, u32), Vec<Seat>>,
    /// The dates that the calendar has in memory.
    loaded: BTreeSet<NaiveDate>,
}

/// Who, and under which key.
type Seat = (String, Option<String>);

#[derive(Debug, Clone)]
enum Step {
    Book {
        user: u8,
        days_ahead: i64,
        half_hour: u32,
        key: Option<u8>,
    },
    Cancel {
        user: u8,
        days_ahead: i64,
        half_hour: u32,
    },
    SetSlots {
        weekday: u32,
        half_hours: Vec<u32>,
    },
    UpdateSlot {
        weekday: u32,
        half_hour: u32,
        available: bool,
    },
    Wait {
        minutes: i64,
    },
    /// Everything is loaded anew, from what was recorded.
    Reload,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few users, dates and slots, so that they meet.
    let (user, ahead, half_hour) = (0..8_u8, -2..18_i64, prop::sample::select(vec![0_u32, 20, 21, 47]));
    let step = prop_oneof![
        8 => (user.clone(), ahead.clone(), half_hour.clone(), prop::option::of(0..2_u8))
            .prop_map(|(user, days_ahead, half_hour, key)| Step::Book { user, days_ahead, half_hour, key }),
        3 => (user, ahead, half_hour.clone())
            .prop_map(|(user, days_ahead, half_hour)| Step::Cancel { user, days_ahead, half_hour }),
        2 => (0..7_u32, prop::collection::vec(half_hour.clone(), 0..4))
            .prop_map(|(weekday, half_hours)| Step::SetSlots { weekday, half_hours }),
        1 => (0..7_u32, half_hour, any::<bool>())
            .prop_map(|(weekday, half_hour, available)| Step::UpdateSlot { weekday, half_hour, available }),
        2 => (1..3_000_i64).prop_map(|minutes| Step::Wait { minutes }),
        1 => Just(Step::Reload),
    ];
    prop::collection::vec(step, 1..120)
}

impl Model {
    fn book(
        &mut self,
        user: &str,
        date: NaiveDate,
        half_hour: u32,
        key: Option<&str>,
        wall: chrono::NaiveDateTime,
    ) -> Result<(), Rejection> {
        let today = wall.date();
        let starts = starts(date, half_hour);
        if (today..=today + Days::new(15)).contains(&date) {
            self.loaded.insert(date);
        }
        let held_to_come = self.to_come(user, wall);
        let seats = self.seats.entry((date, half_hour)).or_default();
        let held = seats.iter().find(|(holder, _)| holder == user);
        let stands = date + Days::new(7) >= today && date <= today + Days::new(15);
        if let (Some((_, Some(stored))), Some(key), true) = (held, key, stands)
            && stored == key
        {
            return Ok(());
        }
        if date < today || date > today + Days::new(15) {
            return Err(Rejection::OutsideWindow);
        }
        if starts <= wall {
            return Err(Rejection::SlotInPast);
        }
        if held.is_some() {
            return Err(Rejection::AlreadyBooked);
        }
        let weekday = date.weekday().num_days_from_monday();
        if !self.offered.get(&weekday).is_some_and(|slots| slots.contains(&half_hour)) {
            return Err(Rejection::SlotUnavailable);
        }
        if seats.len() >= 5 {
            return Err(Rejection::SlotFull);
        }
        if let Some(limit) = self.limit.filter(|limit| held_to_come >= usize::from(*limit)) {
            return Err(Rejection::TooManyBookings { limit });
        }
        seats.push((user.to_owned(), key.map(str::to_owned)));
        Ok(())
    }

    /// The user's bookings whose slot has not begun, on loaded dates of the booking window.
    fn to_come(&self, user: &str, wall: chrono::NaiveDateTime) -> usize {
        let counts = |date: &NaiveDate| self.loaded.contains(date) && *date <= wall.date() + Days::new(15);
        let ahead = |(date, half_hour): (NaiveDate, u32)| counts(&date) && starts(date, half_hour) > wall;
        let seats = self.seats.iter().filter(|(place, _)| ahead(**place));
        seats.filter(|(_, seats)| seats.iter().any(|(holder, _)| holder == user)).count()
    }

    fn cancel(
        &mut self,
        user: &str,
        date: NaiveDate,
        half_hour: u32,
        wall: chrono::NaiveDateTime,
    ) -> Result<(), Rejection> {
        if starts(date, half_hour) <= wall {
            return Err(Rejection::SlotInPast);
        }
        self.loaded.insert(date);
        let seats = self.seats.entry((date, half_hour)).or_default();
        let before = seats.len();
        seats.retain(|(holder, _)| holder != user);
        if seats.len() < before { Ok(()) } else { Err(Rejection::BookingNotFound) }
    }
}

fn starts(date: NaiveDate, half_hour: u32) -> chrono::NaiveDateTime {
    date.and_hms_opt(0, 0, 0).unwrap() + TimeDelta::minutes(i64::from(half_hour) * 30)
}

/// Addresses of many lengths, for they stand one after another in memory.
fn holder(number: u8) -> UserId {
    user(&"u".repeat(1 + usize::from(number)))
}

fn weekday(number: u32) -> Weekday {
    WEEK[number as usize]
}

fn start(half_hour: u32) -> SlotStart {
    SlotStart::all().nth(half_hour as usize).unwrap()
}

/// A store that keeps what events say, and gives back rows.
#[derive(Default)]
struct Rows {
    seats: Vec<Booking>,
    schedule: BTreeMap<u32, Vec<ScheduleRow>>,
}

impl Rows {
    fn keep(&mut self, event: &Event) {
        for change in &event.changes {
            match change {
                Change::SeatTaken(booking) => self.seats.push(booking.clone()),
                Change::SeatFreed { booking, .. } => self.seats.retain(|seat| seat != booking),
                Change::HoursSet { weekday, rows } => {
                    self.schedule.insert(weekday.num_days_from_monday(), rows.clone());
                }
            }
        }
    }

    fn stored(&self, part: Part) -> StoredPart {
        match part {
            Part::Date(date) => {
                let seats = self.seats.iter().filter(|seat| seat.date == date).map(|seat| StoredSeat {
                    booking: seat.clone(),
                    spellings: SpellingSet::only(DateSpelling::PLAIN),
                    event: None,
                });
                StoredPart::Date(date, DateRows { seats: seats.collect(), unreadable: Vec::new() })
            }
            Part::Hours(weekday) => {
                let rows = self.schedule.get(&weekday.num_days_from_monday()).cloned();
                StoredPart::Hours(weekday, rows.unwrap_or_default())
            }
        }
    }
}

proptest! {
    #[test]
    fn the_calendar_does_what_a_naive_model_does(steps in steps(), limit in prop::option::of(1..4_u16)) {
        let clinic = Clinic::compiled_in("Asia/Kolkata").unwrap();
        let rules = Rules { bookings_per_doctor: limit.and_then(NonZeroU16::new) };
        let (mut calendar, mut rows) = (Calendar::unloaded(clinic.clone(), rules), Rows::default());
        let mut model = Model { limit, ..Model::default() };
        let mut now = monday_morning();
        for step in steps {
            let wall = (now + TimeDelta::minutes(KOLKATA_IS_AHEAD)).naive_utc();
            let (command, expected) = match step {
                Step::Wait { minutes } => { now += TimeDelta::minutes(minutes); continue }
                Step::Reload => {
                    calendar = Calendar::unloaded(clinic.clone(), rules);
                    model.loaded.clear();
                    continue
                }
                Step::Book { user: n, days_ahead, half_hour, key } => {
                    let (name, date) = (holder(n), wall.date() + TimeDelta::days(days_ahead));
                    let text = key.map(|key| format!("key-{key}"));
                    let expected = model.book(name.as_str(), date, half_hour, text.as_deref(), wall);
                    let key = text.map(|text| IdempotencyKey::parse(&text).unwrap());
                    (Command::Book { user: name, date, start: start(half_hour), key }, expected)
                }
                Step::Cancel { user: n, days_ahead, half_hour } => {
                    let (name, date) = (holder(n), wall.date() + TimeDelta::days(days_ahead));
                    let expected = model.cancel(name.as_str(), date, half_hour, wall);
                    (Command::Cancel { user: name, date, start: start(half_hour) }, expected)
                }
                Step::SetSlots { weekday: day, half_hours } => {
                    model.offered.insert(day, half_hours.iter().copied().collect());
                    let offered = half_hours.into_iter().map(start).collect();
                    (Command::SetSlots { weekday: weekday(day), offered }, Ok(()))
                }
                Step::UpdateSlot { weekday: day, half_hour, available } => {
                    let slots = model.offered.entry(day).or_default();
                    if available { slots.insert(half_hour); } else { slots.remove(&half_hour); }
                    let span = start(half_hour).span();
                    (Command::UpdateSlot { weekday: weekday(day), span, available }, Ok(()))
                }
            };
            for part in calendar.missing(&command, now) {
                calendar.load(rows.stored(part));
            }
            let decision = calendar.decide(&command, now);
            if let Ok(Decision::Record(event)) = &decision {
                calendar.apply(event);
                rows.keep(event);
            }
            prop_assert_eq!(decision.map(|_| ()), expected, "{:?} at {}", command, wall);
        }
        for ((date, half_hour), seats) in model.seats {
            prop_assert!(seats.len() <= 5);
            let stored = rows.seats.iter().filter(|seat| seat.date == date && seat.start == start(half_hour));
            prop_assert_eq!(stored.count(), seats.len());
        }
    }
}
