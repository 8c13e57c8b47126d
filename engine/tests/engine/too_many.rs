//! The limit on a user's bookings to come with one doctor, while events are in flight.

use chrono::{Datelike, Days};
use engine::{Answer, Command, DoctorId, EngineError, Rejection, SlotStart};
use futures::future::join_all;

use crate::harness::*;

const TOO_MANY: Result<Answer, EngineError> =
    Err(EngineError::Rejected(Rejection::TooManyBookings { limit: 10 }));
const DAY: &str = "2026-12-08";

fn bookings_of(app: &TestEngine, name: &str) -> usize {
    app.store.memory.bookings().iter().filter(|(_, booking)| booking.user == user(name)).count()
}

/// A doctor with whom ada holds the first slots of [`DAY`], from midnight on. All is on one date, so that a reload, which
/// brings only the dates that are asked for, brings all of it.
async fn doctor_of_ada(app: &TestEngine, count: usize) -> DoctorId {
    let doctor = app.doctor("asha").await;
    let offered = SlotStart::all().collect();
    app.doctors.ask(&doctor, Command::SetSlots { weekday: date(DAY).weekday(), offered }).await.unwrap();
    for start in SlotStart::all().take(count) {
        app.book(&doctor, "ada", DAY, &start.to_string()).await.unwrap();
    }
    doctor
}

#[test]
fn thirty_bookings_of_one_user_at_once_get_ten_seats() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let (doctor, other) = (app.doctor("asha").await, app.doctor("ben").await);
        let on = |n| (date("2026-11-24") + Days::new(n)).to_string();
        let seats: Vec<_> = (0..15).flat_map(|n| [(on(n), "10:30"), (on(n), "11:00")]).collect();
        let answers = join_all(seats.iter().map(|(on, at)| app.book(&doctor, "ada", on, at))).await;
        let refused = answers.iter().filter(|answer| **answer == TOO_MANY).count();
        assert_eq!((answers.iter().filter(|answer| answer.is_ok()).count(), refused), (10, 20));
        assert_eq!(bookings_of(&app, "ada"), 10);
        assert!(app.book(&other, "ada", DAY, "10:30").await.is_ok(), "another doctor");
    });
}

#[test]
fn limit_never_rests_on_a_booking_that_is_not_stored_in_the_end() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = doctor_of_ada(&app, 9).await;
        // The tenth is throttled until it gives up, and the eleventh comes meanwhile.
        app.store.next_commits([Fault::Throttle; 12]);
        let (tenth, eleventh) =
            futures::join!(app.book(&doctor, "ada", DAY, "10:30"), app.book(&doctor, "ada", DAY, "11:00"));
        assert_eq!(tenth, Err(EngineError::Unavailable));
        assert!(eleventh.is_ok(), "it waited, and then was the tenth: {eleventh:?}");
        assert_eq!(bookings_of(&app, "ada"), 10);
    });
}

#[test]
fn limit_is_not_heard_of_a_slot_whose_free_seat_is_not_stored_in_the_end() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = doctor_of_ada(&app, 10).await;
        for name in ["a", "b", "c", "d", "e"] {
            app.book(&doctor, name, DAY, "10:30").await.unwrap();
        }
        app.store.next_commits([Fault::Throttle; 12]);
        let (cancelled, booked) =
            futures::join!(app.cancel(&doctor, "a", DAY, "10:30"), app.book(&doctor, "ada", DAY, "10:30"));
        assert_eq!(cancelled, Err(EngineError::Unavailable));
        assert_eq!(booked, Err(EngineError::Rejected(Rejection::SlotFull)));
    });
}

#[test]
fn booking_that_rests_on_a_cancellation_in_flight_shares_its_fate() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = doctor_of_ada(&app, 10).await;
        let both = || {
            let cancel = app.cancel(&doctor, "ada", DAY, "00:00");
            futures::future::join(cancel, app.book(&doctor, "ada", DAY, "10:30"))
        };
        app.store.next_commits([Fault::Throttle; 12]);
        assert_eq!(both().await, (Err(EngineError::Unavailable), TOO_MANY));
        let (cancelled, booked) = both().await;
        assert!(cancelled.is_ok() && booked.is_ok(), "{cancelled:?}, {booked:?}");
        assert_eq!(bookings_of(&app, "ada"), 10);
    });
}
