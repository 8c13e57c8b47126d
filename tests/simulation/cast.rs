//! Who takes part: doctors, users, dates and slots, each known by a number.

use chrono::{Days, NaiveDate};
use engine::calendar::Booking;
use engine::{DoctorId, SlotStart, UserId};

use crate::history::Place;

/// All but the last share a lane of the committer, and so transactions; the first and the third share a range too.
const DOCTORS_NAMED: [&str; 4] =
    ["d87@clinic.example", "d150@clinic.example", "d94@clinic.example", "d59@clinic.example"];
pub const DOCTORS: usize = DOCTORS_NAMED.len();
/// At this one the old platform writes as well: there, nobody can promise what rests on memory.
pub const SHARED_DOCTOR: usize = 2;
pub const USERS: usize = 12;
/// The last is a week after the one before it: the same weekday.
pub const DATES: [u64; 3] = [0, 1, 8];
pub const SLOTS: [&str; 3] = ["10:30", "11:00", "23:30"];

pub fn doctor(number: usize) -> DoctorId {
    DoctorId::parse(DOCTORS_NAMED[number]).unwrap()
}

pub fn user(number: usize) -> UserId {
    UserId::parse(&format!("u{number}@x.com")).unwrap()
}

pub fn slot(number: usize) -> SlotStart {
    SlotStart::parse(SLOTS[number]).unwrap()
}

/// Monday.
fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 23).unwrap()
}

pub fn date(number: usize) -> NaiveDate {
    today() + Days::new(DATES[number])
}

/// Which dates lie on a weekday, known by its first date.
pub fn weekday_of(date_number: usize) -> usize {
    if date_number == 0 { 0 } else { 1 }
}

/// Which seat a row is about.
pub fn seat_of(of: &DoctorId, booking: &Booking) -> (Place, usize) {
    let number = |found: Option<usize>| found.expect("a row that nobody asked for");
    let place = Place {
        doctor: number((0..DOCTORS).find(|n| doctor(*n) == *of)),
        date: number((0..DATES.len()).find(|n| date(*n) == booking.date)),
        slot: number((0..SLOTS.len()).find(|n| slot(*n) == booking.start)),
    };
    (place, number((0..USERS).find(|n| user(*n) == booking.user)))
}
