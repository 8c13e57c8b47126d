//! The limit on a user's bookings to come with one doctor.

use std::num::NonZeroU16;

use super::*;

const SLOTS: [&str; 12] = [
    "10:30", "11:00", "11:30", "12:00", "12:30", "13:00", "13:30", "14:00", "14:30", "15:00", "15:30",
    "16:00",
];
const TUESDAY: &str = "2026-11-24";
const TOO_MANY: Result<(), Rejection> = Err(Rejection::TooManyBookings { limit: 10 });

/// A doctor with whom ada holds ten bookings to come: five today, five tomorrow, those of tomorrow under a key.
fn doctor_of_ada() -> Doctor {
    let mut doctor = Doctor::in_kolkata(&SLOTS);
    for at in &SLOTS[..5] {
        doctor.tell(&book("ada", "2026-11-23", at)).unwrap();
        doctor.tell(&book_with_key("ada", TUESDAY, at, "k1")).unwrap();
    }
    doctor
}

fn seat(name: &str, on: &str, at: &str) -> StoredSeat {
    StoredSeat {
        booking: Booking { user: user(name), date: date(on), start: slot(at), key: None },
        spellings: SpellingSet::only(DateSpelling::PLAIN),
        event: None,
    }
}

#[test]
fn user_with_ten_bookings_to_come_gets_no_eleventh_until_one_is_cancelled() {
    let mut doctor = doctor_of_ada();
    assert_eq!(doctor.outcome(&book("ada", "2026-12-08", "10:30")), TOO_MANY);
    assert_eq!(doctor.outcome(&book("bob", "2026-12-08", "10:30")), Ok(()));
    assert_eq!(doctor.outcome(&cancel("ada", "2026-11-23", "12:30")), Ok(()));
    assert_eq!(doctor.outcome(&book("ada", "2026-12-08", "10:30")), Ok(()));
    assert_eq!(doctor.outcome(&book("ada", "2026-12-08", "11:00")), TOO_MANY);
}

#[test]
fn booking_whose_slot_has_begun_counts_no_longer() {
    let mut doctor = doctor_of_ada();
    doctor.now += chrono::TimeDelta::minutes(30) - chrono::TimeDelta::seconds(1);
    assert_eq!(doctor.outcome(&book("ada", TUESDAY, "16:00")), TOO_MANY);
    doctor.now += chrono::TimeDelta::seconds(1);
    assert_eq!(doctor.outcome(&book("ada", TUESDAY, "16:00")), Ok(()));
    assert_eq!(doctor.outcome(&book("ada", TUESDAY, "15:30")), TOO_MANY);
    // The day after, all five of Monday have passed, and their date may still be loaded.
    doctor.now += chrono::TimeDelta::hours(14);
    let outcomes = SLOTS[..5].iter().map(|at| doctor.outcome(&book("ada", "2026-11-25", at)));
    assert_eq!(outcomes.collect::<Vec<_>>(), [Ok(()), Ok(()), Ok(()), Ok(()), TOO_MANY]);
}

#[test]
fn limit_is_heard_only_where_no_other_rule_refuses() {
    let mut doctor = doctor_of_ada();
    for name in ["a", "b", "c", "d", "e"] {
        doctor.tell(&book(name, TUESDAY, "15:00")).unwrap();
    }
    let k1 = book_with_key("ada", TUESDAY, "10:30", "k1");
    assert!(matches!(doctor.tell(&k1), Ok(Decision::Repeat(_))));
    for (command, rejection) in [
        (book("ada", TUESDAY, "10:30"), Rejection::AlreadyBooked),
        (book_with_key("ada", TUESDAY, "10:30", "k2"), Rejection::AlreadyBooked),
        (book("ada", TUESDAY, "15:00"), Rejection::SlotFull),
        (book("ada", TUESDAY, "20:00"), Rejection::SlotUnavailable),
        (book("ada", "2026-11-23", "10:00"), Rejection::SlotInPast),
        (book("ada", "2026-12-09", "10:30"), Rejection::OutsideWindow),
    ] {
        assert_eq!(doctor.outcome(&command), Err(rejection), "{command:?}");
    }
    assert_eq!(doctor.outcome(&book("ada", TUESDAY, "16:00")), TOO_MANY);
}

#[test]
fn only_loaded_dates_of_the_window_count() {
    let mut doctor = Doctor::in_kolkata(&SLOTS);
    // The old platform booked beyond the window, and cancelling one of its bookings loads their date.
    let far = SLOTS[..9].iter().map(|at| seat("ada", "2026-12-20", at)).collect();
    let far = DateRows { seats: far, unreadable: Vec::new() };
    doctor.calendar.load(StoredPart::Date(date("2026-12-20"), far));
    let near = SLOTS[..9].iter().map(|at| seat("ada", TUESDAY, at)).collect();
    let near = DateRows { seats: near, unreadable: vec![slot("16:00")] };
    assert_eq!(doctor.outcome(&book("ada", "2026-11-25", "10:30")), Ok(()));
    assert_eq!(doctor.outcome(&book("ada", "2026-11-25", "11:00")), Ok(()));
    doctor.calendar.load(StoredPart::Date(date(TUESDAY), near));
    assert_eq!(doctor.outcome(&book("ada", "2026-11-25", "11:30")), TOO_MANY);
}

#[test]
fn limit_is_what_the_deployment_chooses() {
    for bookings_per_doctor in [None, NonZeroU16::new(1), NonZeroU16::new(3)] {
        let mut doctor = Doctor::in_kolkata(&SLOTS);
        doctor.calendar.rules = Rules { bookings_per_doctor };
        let outcomes = SLOTS.iter().map(|at| doctor.outcome(&book("ada", TUESDAY, at)).is_ok());
        let expected = bookings_per_doctor.map_or(SLOTS.len(), |limit| limit.get().into());
        assert_eq!(outcomes.filter(|is_booked| *is_booked).count(), expected);
    }
}
